//! The embeddings endpoint against a server that answers by a script, held against GenAI-Perf's files.

use crate::context::TestContext;
use crate::scripted::{Request, Scripted, document};
use serde_json::{Value, json};

const GOLDEN: &str = include_str!("../../../report/tests/golden/embeddings/profile_export_genai_perf.json");
const GOLDEN_TABLE: &str = include_str!("../../../report/tests/golden/embeddings/console.txt");
const GOLDEN_INPUTS: &str = include_str!("../../../report/tests/golden/embeddings/inputs.json");

/// The command that made the golden files.
const RUN: &str = "-m tinychat --endpoint-type embeddings --tokenizer cl100k_base --batch-size-text 2 --concurrency 2 \
                   --request-count 8 --num-dataset-entries 4 --isl 20";

/// One embedding for each text, in base64 where the request asks for that.
fn embeddings(request: &Request) -> Option<String> {
    let body = request.json();
    let vector = match body["encoding_format"] == "base64" {
        true => json!("AACAPwAAAEA="),
        false => json!([1.0, 2.0]),
    };
    let texts = body["input"].as_array().map_or(0, Vec::len);
    let data: Vec<Value> =
        (0..texts).map(|index| json!({"object": "embedding", "index": index, "embedding": vector})).collect();
    let usage = json!({"prompt_tokens": 40, "total_tokens": 40});
    let answer = json!({"object": "list", "data": data, "model": "tinychat", "usage": usage});
    Some(document("200 OK", "", &answer.to_string()))
}

/// The names of the rows of a table.
fn rows(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.strip_prefix('│')?.split('│').next()).map(str::trim).collect()
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn requests_and_files_are_genai_perfs() {
    let server = Scripted::serve(embeddings);
    let context = TestContext::new();
    let run = context.run(context.command_to(&server.url(), RUN)).expect(0);
    // What is sent is what `inputs.json` says, byte for byte, in the layout of the real file.
    let (bodies, golden): (_, Value) = (run.bodies(), serde_json::from_str(GOLDEN_INPUTS).unwrap());
    assert_eq!(bodies.len(), golden["data"].as_array().unwrap().len());
    let shown: Vec<String> = bodies.iter().map(Value::to_string).collect();
    for request in server.seen() {
        assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/v1/embeddings"));
        let body = String::from_utf8(request.body).unwrap();
        assert!(shown.contains(&body), "{body}");
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(keys(&body), keys(&golden["data"][0]["payload"][0]));
        assert_eq!(body["input"].as_array().unwrap().len(), 2);
    }
    // The table has the rows of the real one and no row of tokens.
    let titled = run.stdout.lines().nth(3).unwrap().trim();
    assert_eq!(titled, "Streamgauge | Embeddings Metrics");
    assert_eq!(rows(&run.stdout), rows(GOLDEN_TABLE));
    assert!(!run.stdout.contains("tokens by"), "{}", run.stdout);
    // So has the JSON file, up to the first member that only we have.
    let (summary, golden): (_, Value) = (run.summary(), serde_json::from_str(GOLDEN).unwrap());
    let until_config = |value: &Value| -> Vec<String> {
        keys(value).into_iter().map(str::to_owned).take_while(|key| key != "input_config").collect()
    };
    assert_eq!(until_config(&summary), until_config(&golden));
    let (ours, theirs) = (&summary["input_config"], &golden["input_config"]);
    assert_eq!(keys(ours), keys(theirs));
    assert_eq!(ours["input"], theirs["input"]);
    for key in ["backend", "custom", "type", "streaming", "service_kind", "output_format"] {
        assert_eq!(ours["endpoint"][key], theirs["endpoint"][key], "{key}");
    }
    assert!(run.dir().ends_with("tinychat-openai-embeddings-concurrency2"), "{:?}", run.dir());
    assert!(["input_sequence_length", "time_to_first_token"].iter().all(|key| summary.get(key).is_none()));
    // An answer is one response, and each of its embeddings an output of the record.
    let export = run.json("profile_export.json");
    let requests = export["experiments"][0]["requests"].as_array().unwrap();
    assert_eq!(requests.len(), 8);
    assert!(requests.iter().all(|request| request["response_timestamps"].as_array().unwrap().len() == 1));
    assert!(run.records().of_phase("profiling").iter().all(|record| record["outcome"] == "ok"));
}

#[test]
fn embeddings_in_base64_are_outputs_too() {
    let server = Scripted::serve(embeddings);
    let context = TestContext::new();
    let args = format!("{RUN} --extra-inputs encoding_format:base64");
    let run = context.run(context.command_to(&server.url(), &args)).expect(0);
    assert_eq!(run.summary()["request_count"]["avg"], 8.0);
    assert!(server.seen().iter().all(|request| request.json()["encoding_format"] == "base64"));
}

#[test]
fn what_embeddings_do_not_have_is_refused_by_name() {
    let context = TestContext::new();
    for (flag, reason) in [
        ("--streaming", "--streaming: embeddings answers in one piece"),
        ("--osl 8", "--osl: a request to embeddings has no output length"),
        ("--no-usage", "--no-usage belongs to chat and completions"),
        ("--token-count usage", "--token-count: embeddings answers without text"),
    ] {
        let args = format!("-m m --endpoint-type embeddings {flag}");
        let run = context.run(context.command_to("http://127.0.0.1:9", &args)).expect(2);
        assert!(run.stderr.contains(reason), "{flag}: {}", run.stderr);
    }
}

#[test]
fn the_simulated_server_answers_embeddings() {
    let context = TestContext::new();
    let args = "profile --sim --ui none --endpoint-type embeddings --batch-size-text 3 --concurrency 2 --request-count 8 --isl 20";
    let run = context.run(context.bare(args)).expect(0);
    assert_eq!(run.summary()["request_count"]["avg"], 8.0);
    let records = run.records();
    let profiled = records.of_phase("profiling");
    assert_eq!(profiled.len(), 8);
    assert!(profiled.iter().all(|record| record["outcome"] == "ok" && record["status"] == 200));
}
