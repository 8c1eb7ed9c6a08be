"""Checks the artifacts of a run at the raw level against the llama.cpp server that answered it.

usage: check.py RUN_DIRECTORY SERVER_URL

- Every record's output count, which the figures use, is the server's own usage.
- The server's prompt tokens exceed ours by the same number in every request: the chat template (none for completions).
- Our tokenizer's count of each reply's text is what the server's /tokenize counts for that text, which is a stronger
  statement than that it equals usage: a random model writes tokens that no tokenizer would split its text into.
"""
import json
import pathlib
import sys
import urllib.request


def ask(url, body):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    return json.load(urllib.request.urlopen(request))


def text(exchange):
    body = "".join(part["response"] for part in exchange["response_outputs"])
    if body.startswith("{"):
        answers = [json.loads(body)]
    else:
        events = [event[6:] for event in body.split("\n\n") if event.startswith("data: {")]
        answers = [json.loads(event) for event in events]
    choices = [choice for answer in answers for choice in answer["choices"]]
    said = [choice.get("text") or (choice.get("delta") or choice.get("message") or {}).get("content") for choice in choices]
    return "".join(piece or "" for piece in said)


def main():
    run, server = pathlib.Path(sys.argv[1]), sys.argv[2]
    lines = [json.loads(line) for line in (run / "records.jsonl").read_text().splitlines()]
    records = [line for line in lines if line.get("phase") == "profiling"]
    exchanges = json.loads((run / "profile_export.json").read_text())["experiments"][0]["requests"]
    summary = json.loads((run / "profile_export_genai_perf.json").read_text())
    assert len(records) == len(exchanges) == 40, (len(records), len(exchanges))
    assert all(record["outcome"] == "ok" for record in records)

    asked = {record["usage"]["completion_tokens"] for record in records}
    lengths = summary["output_sequence_length"]
    assert (lengths["min"], lengths["max"]) == (min(asked), max(asked)), (lengths, asked)

    template = {record["usage"]["prompt_tokens"] - record["input_tokens"] for record in records}
    assert len(template) == 1, template
    chat = summary["input_config"]["endpoint"]["type"] == "chat"
    assert (template != {0}) == chat, template

    equal = valid = 0
    for record, exchange in zip(records, exchanges):
        said = text(exchange)
        ours, theirs = record["text_tokens"], len(ask(f"{server}/tokenize", {"content": said})["tokens"])
        assert ours == theirs, (said, ours, theirs)
        if "\ufffd" not in said:
            valid += 1
            equal += ours == record["usage"]["completion_tokens"]
    print(f"{run.parent.name}: {len(records)} requests, output counts equal to the server's usage, template of "
          f"{template.pop()} tokens, all recounts equal to the server's; of {valid} replies in valid UTF-8, {equal} "
          "are split again as the model wrote them")


main()
