"""LLM deployments: GenAI-Perf's command lines over gRPC, and the generate extension."""
import os

from gauge import case, equal

TTFT_NS = float(os.environ.get("TTFT_MS", 0)) * 1e6
ITL_NS = float(os.environ.get("ITL_MS", 0)) * 1e6
PARTS = {"preprocessing", "tensorrt_llm", "postprocessing"}
# Requests and tokens of most runs.
COUNT, TOKENS = 24, 8
LOAD = ["--isl", 20, "--osl", TOKENS, "--num-prompts", 6]


def outputs(request):
    """The text of each response of a request in profile_export.json."""
    return [each["text_output"] for each in request["response_outputs"]]


def check_streams(done, count=COUNT, tokens=TOKENS):
    """Every request has a response for each token that was asked for, and none came before the model can have sent it."""
    records = done.records()
    equal(len(records), count, "records")
    for record in records:
        equal(record["outcome"], "ok", f"outcome of request {record['seq']}")
        equal(record["want_out"], tokens, "tokens that were asked for")
        equal(len(record["at_ns"]), tokens, f"output events of request {record['seq']}")
        first, last = record["at_ns"][0], record["at_ns"][-1]  # counted from `sent_ns`
        assert first >= TTFT_NS, f"a first token came {first} ns after its request"
        assert last >= TTFT_NS + (tokens - 1) * ITL_NS, f"a reply was over after {last} ns, sooner than its tokens take"
        assert record["end_ns"] - record["sent_ns"] >= last
    return records


def check_summary(done, records, tokens=TOKENS):
    summary = done.json("profile_export_genai_perf.json")
    equal(summary["request_count"]["avg"], float(len(records)), "Request Count")
    ours = [record["text_tokens"] for record in records]
    lengths = summary["output_sequence_length"]
    equal((lengths["min"], lengths["max"]), (min(ours), max(ours)), "Output Sequence Length")
    firsts = [record["at_ns"][0] / 1e6 for record in records]
    equal(round(summary["time_to_first_token"]["max"], 3), round(max(firsts), 3), "Time To First Token")
    last = max(record["sent_ns"] + record["at_ns"][-1] for record in records)
    span = (last - min(record["sent_ns"] for record in records)) / 1e9
    equal(round(summary["output_token_throughput"]["avg"], 3), round(sum(ours) / span, 3), "Output Token Throughput")
    return summary


def check_snapshots(done, model, count, apart=0):
    """What the run's facts say the server counted over the measured part, which may be so much apart from `count`."""
    facts = next(line["run"] for line in done.lines() if "run" in line)["server"]
    first, last = facts["snapshots"][0], facts["snapshots"][-1]
    of = lambda snapshot: {each["name"]: each for each in snapshot["models"]}  # noqa: E731
    seen = of(last)[model]["success"]["count"] - of(first)[model]["success"]["count"]
    assert abs(seen - count) <= apart, f"{model}'s successes in the run's facts: {seen}, not {count}"
    return facts


def check_statistics(done, counted, model, *composing):
    """What the JSON says of the server against what the server counted, where nothing else was counted."""
    statistics = done.json("profile_export_genai_perf.json")["server_statistics"]
    said = {each["model"]: each for each in [statistics, *statistics["composing_models"]]}
    equal(set(said), {model, *composing}, "models in server_statistics")
    for name, each in said.items():
        difference = counted[name]
        count = difference.count("success")
        equal((each["success_count"], each["inference_count"], each["execution_count"]),
              (count, difference.inferences, difference.executions), f"{name}'s counts")
        for part in ("queue", "compute_input", "compute_infer", "compute_output"):
            equal(each[f"{part}_us"], difference.ns(part) // count // 1000, f"{name}'s {part}")
        equal(each["request_us"], difference.mean_us("success"), f"{name}'s request")
        whole = sum(each[f"{part}_us"] for part in ("queue", "compute_input", "compute_infer", "compute_output", "rest"))
        assert whole >= each["request_us"] - 5, f"{name}'s parts are {whole} of {each['request_us']} us"


@case
def tensorrtllm_stream(bench):
    with bench.counted() as counted:
        done = bench.profile("ensemble", "--backend", "tensorrtllm", "--streaming", "--concurrency", 4, "--request-count", COUNT, *LOAD,
                             "--no-probe", "--export-level", "raw")
    records = check_streams(done)
    check_summary(done, records)
    equal(counted["ensemble"].count("success"), COUNT, "the ensemble's successes")
    equal(counted["ensemble"].inferences, COUNT, "the ensemble's inferences")
    equal(counted["tensorrt_llm"].count("success"), COUNT, "the engine's successes")
    equal(counted["postprocessing"].count("success"), COUNT * TOKENS, "postprocessing, once a token")
    equal(counted.touched(), PARTS | {"ensemble"}, "models that were asked")
    check_statistics(done, counted, "ensemble", *PARTS)
    facts = check_snapshots(done, "ensemble", COUNT)
    equal({each["name"] for each in facts["watched"]["composing"]}, PARTS, "composing models")
    check_snapshots(done, "postprocessing", COUNT * TOKENS)

    requests = done.experiments()[0]["requests"]
    equal(len(requests), COUNT, "requests in profile_export.json")
    for request, record in zip(requests, records):
        sent = request["request_inputs"]
        equal(sent["max_tokens"], TOKENS, "max_tokens")
        equal(sent["stream"], True, "stream")
        equal(set(sent), {"text_input", "max_tokens", "stream", "exclude_input_in_output"}, "inputs")
        equal(len(request["response_timestamps"]), TOKENS, "response stamps")
        equal([each["sequence_length"] for each in request["response_outputs"]], [1] * TOKENS, "sequence lengths")
        # The engine's tokens are the words' codes and how many there were: what it writes follows from what it was sent.
        equal(outputs(request), expected_words(sent["text_input"]), "the reply")
    equal(done.json("profile_export.json")["service_kind"], "triton", "service_kind")
    rows = done.json("inputs.json")["data"]
    equal(len(rows), 6, "entries of inputs.json")
    equal(set(rows[0]), {"model", "text_input", "max_tokens", "exclude_input_in_output", "stream"}, "members of inputs.json")
    assert "ensemble-triton-tensorrtllm-concurrency4" in str(done.file("records.jsonl")), "the directory's name"


WORDS = ("the quick brown fox jumps over a lazy dog while seven "
         "ünïcode 漢字 words wait \"quoted\" and new\nline too").split(" ")


def expected_words(text, tokens=TOKENS):
    ids = [sum(word) % 32000 for word in text.encode().split()] or [1]
    return [" " + WORDS[(ids[i % len(ids)] + i) % len(WORDS)] for i in range(tokens)]


@case
def tensorrtllm_minimum_and_extra_inputs(bench):
    done = bench.profile("ensemble", "--backend", "tensorrtllm", "--streaming", "--concurrency", 2, "--request-count", 6, *LOAD,
                         "--output-tokens-mean-deterministic", "--extra-inputs", "temperature:0.5", "top_k:1", "--no-probe",
                         "--export-level", "raw")
    check_streams(done, 6)
    for request in done.experiments()[0]["requests"]:
        sent = request["request_inputs"]
        equal((sent["min_length"], sent["temperature"], sent["top_k"]), (TOKENS, 0.5, 1), "min_length, temperature, top_k")


@case
def tensorrtllm_whole_answers(bench):
    """A decoupled model that is asked for no stream answers once; it takes ModelStreamInfer all the same."""
    with bench.counted() as counted:
        done = bench.profile("ensemble", "--backend", "tensorrtllm", "--concurrency", 2, "--request-count", 8, *LOAD, "--no-probe",
                             "--export-level", "raw")
    for record in done.records():
        equal((record["outcome"], len(record["at_ns"])), ("ok", 1), "outcome and responses")
    equal(counted["postprocessing"].count("success"), 8, "postprocessing, once a request")
    for request in done.experiments()[0]["requests"]:
        equal(request["response_outputs"][0]["sequence_length"], TOKENS, "tokens of the answer")
        equal(outputs(request), ["".join(expected_words(request["request_inputs"]["text_input"]))], "the answer")


@case
def vllm_stream(bench):
    with bench.counted() as counted:
        done = bench.profile("vllm_model", "--backend", "vllm", "--streaming", "--concurrency", 3, "--request-count", COUNT, *LOAD,
                             "--no-probe", "--export-level", "raw")
    check_summary(done, check_streams(done))
    equal(counted["vllm_model"].count("success"), COUNT, "the model's successes")
    check_statistics(done, counted, "vllm_model")
    check_snapshots(done, "vllm_model", COUNT)
    for request in done.experiments()[0]["requests"]:
        equal(request["request_inputs"]["sampling_parameters"], f'{{"max_tokens":"{TOKENS}"}}', "sampling_parameters")
        said = outputs(request)
        equal(len(said), TOKENS, "responses")
        words = len(request["request_inputs"]["text_input"].split())
        equal(said, [" " + WORDS[(words + i) % len(WORDS)] for i in range(TOKENS)], "the reply")


@case
def business_logic_stream(bench):
    with bench.counted() as counted:
        done = bench.profile("tensorrt_llm_bls", "--streaming", "--concurrency", 2, "--request-count", 12, *LOAD, "--no-probe",
                             "--bls-composing-models", "preprocessing,tensorrt_llm,postprocessing")
    check_streams(done, 12)
    equal(counted["tensorrt_llm_bls"].count("success"), 12, "the model's successes")
    equal(counted["postprocessing"].count("success"), 12 * TOKENS, "postprocessing, once a token")
    check_statistics(done, counted, "tensorrt_llm_bls", *PARTS)
    facts = check_snapshots(done, "tensorrt_llm_bls", 12)
    equal({each["name"] for each in facts["watched"]["composing"]}, PARTS, "composing models")
    check_snapshots(done, "postprocessing", 12 * TOKENS)


@case
def probe_and_warmup_stay_out_of_the_figures(bench):
    with bench.counted() as counted:
        done = bench.profile("vllm_model", "--backend", "vllm", "--streaming", "--concurrency", 2, "--request-count", 10,
                             "--warmup-request-count", 4, *LOAD)
    check_streams(done, 10)
    equal(len(done.all_records()), 14, "records")
    # Load does not wait for the counters between the warm-up and what is measured.
    check_snapshots(done, "vllm_model", 10, apart=2)
    asked = counted["vllm_model"].count("success") + counted["vllm_model"].count("fail")
    assert asked in (14, 15), f"the server counted {asked} requests: 10, 4 before them, and the probe if it was not cancelled"


@case
def open_loop(bench):
    with bench.counted() as counted:
        done = bench.profile("ensemble", "--streaming", "--request-rate", 20, "--request-count", 30, *LOAD, "--no-probe")
    records = check_streams(done, 30)
    equal(counted["ensemble"].count("success"), 30, "the ensemble's successes")
    due = sorted(record["due_ns"] for record in records)
    equal({later - earlier for earlier, later in zip(due, due[1:])}, {50_000_000}, "gaps between dues")
    assert all(record["sent_ns"] >= record["due_ns"] for record in records)


@case
def shared_channel_compression_and_keep_alive(bench):
    for algorithm in ("gzip", "deflate"):
        done = bench.profile("ensemble", "--streaming", "--concurrency", 6, "--streams-per-channel", 3, "--grpc-keepalive-time", "1s",
                             "--grpc-compression-algorithm", algorithm, "--request-count", COUNT, *LOAD, "--no-probe",
                             "--export-level", "raw")
        check_streams(done)
        for request in done.experiments()[0]["requests"]:
            equal(outputs(request), expected_words(request["request_inputs"]["text_input"]), f"the reply with {algorithm}")


@case
def generate_stream(bench):
    with bench.counted() as counted:
        done = bench.profile("ensemble", "--endpoint-type", "generate", "--streaming", "--concurrency", 4, "--request-count", COUNT,
                             *LOAD, "--no-probe", "--export-level", "raw", url=bench.server.http)
    check_summary(done, check_streams(done))
    equal(counted["ensemble"].count("success"), COUNT, "the ensemble's successes")
    equal(counted["postprocessing"].count("success"), COUNT * TOKENS, "postprocessing, once a token")


@case
def generate_whole(bench):
    with bench.counted() as counted:
        done = bench.profile("ensemble", "--endpoint-type", "generate", "--concurrency", 4, "--request-count", COUNT, *LOAD,
                             "--no-probe", url=bench.server.http)
    equal([(record["outcome"], record["status"]) for record in done.records()], [("ok", 200)] * COUNT, "outcomes")
    equal(counted["ensemble"].count("success"), COUNT, "the ensemble's successes")
    equal(counted["postprocessing"].count("success"), COUNT, "postprocessing, once a request")


@case
def a_run_is_reported_again(bench):
    done = bench.profile("ensemble", "--streaming", "--concurrency", 2, "--request-count", 8, *LOAD, "--no-probe")
    again = bench.run("report", done.file("records.jsonl").parent, "--artifact-dir", "again")
    equal(again.json("profile_export_genai_perf.json")["request_latency"], done.json("profile_export_genai_perf.json")["request_latency"],
          "Request Latency of the report made again")


@case
def cancelled_requests_are_cancelled_at_the_server(bench):
    with bench.counted() as counted:
        done = bench.profile("vllm_model", "--backend", "vllm", "--streaming", "--concurrency", 2, "--request-count", 12, "--isl", 20,
                             "--osl", 200, "--request-cancellation-rate", 50, "--request-cancellation-delay", "100ms", "--no-probe")
        ends = [record["outcome"] for record in done.records()]
        equal((len(ends), set(ends)), (12, {"ok", "cancelled"}), "outcomes")
        for record in done.records():
            assert (len(record.get("at_ns", [])) == 200) == (record["outcome"] == "ok"), record["outcome"]
    # Whatever was cancelled is gone from the server too, or its replies would keep it from ending in time.
    counts = counted["vllm_model"]
    assert counts.count("success") + counts.count("fail") <= 12, "requests at the server"
