//! KServe v2 over HTTP: shapes, counts and refusals, held against what Triton sent.

use crate::client::{Client, events, faulty, instant, paced, start};
use crate::shapes::{captured, shape, shapes};
use serde_json::{Value, json};
use std::io::Write;
use streamgauge_core::clock::Nanos;
use streamgauge_core::plan::EndpointKind;
use streamgauge_sim::SimConfig;

/// A request for sum and difference.
const ADD_SUB: &str = r#"{"id":"r1","inputs":[{"name":"INPUT0","shape":[1,4],"datatype":"FP32","data":[1,2,3,4]},
    {"name":"INPUT1","shape":[1,4],"datatype":"FP32","data":[[1,1,1,1]]}]}"#;
const INFER: &str = "/v2/models/add_sub/infer";
const GENERATE: &str = "/v2/models/ensemble/generate";
const STREAM: &str = "/v2/models/ensemble/generate_stream";
/// A request for four tokens, one an event.
const FOUR: &str = r#"{"text_input":"the cat","max_tokens":4,"stream":true}"#;

/// Status line, type and body of a captured answer.
fn head_of(name: &str) -> (u16, String, String) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    let text = std::fs::read_to_string(path).unwrap().replace("\r\n", "\n");
    let (head, body) = text.split_once("\n\n").unwrap();
    let kind = head.lines().find_map(|line| line.strip_prefix("Content-Type: ")).unwrap();
    (head[9..12].parse().unwrap(), kind.to_owned(), body.trim_end().to_owned())
}

#[test]
fn pages_have_the_shapes_of_triton() {
    let sim = start(instant());
    let mut client = Client::connect(&sim);
    client.post(STREAM, FOUR);
    let mut same = |path: &str, capture: &str| {
        let ours = client.ask("GET", path, "").json();
        let theirs: Value = serde_json::from_str(&captured(capture)).unwrap();
        assert_eq!(shape(&ours), shape(&theirs), "{path}");
        ours
    };
    let server = same("/v2", "triton-server.txt");
    assert_eq!((&server["name"], &server["version"]), (&json!("triton"), &json!("2.51.0")));
    let model = same("/v2/models/ensemble", "triton-model.txt");
    assert_eq!(model["inputs"][0], json!({"name": "text_input", "datatype": "BYTES", "shape": [-1, 1]}));
    let stats = same("/v2/models/tensorrt_llm/stats", "triton-stats.txt");
    assert_eq!(stats["model_stats"][0]["inference_stats"]["success"]["count"], 1);
    let config = client.ask("GET", "/v2/models/ensemble/config", "").json();
    let theirs: Value = serde_json::from_str(&captured("triton-model-config.txt")).unwrap();
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&config), keys(&theirs));
    for place in ["input", "output"] {
        assert_eq!(shape(&config[place]), shape(&theirs[place]));
    }
    for (ours, theirs) in [&config, &theirs].map(|config| &config["ensemble_scheduling"]["step"]).iter().zip([&theirs])
    {
        assert_eq!(ours[0], theirs["ensemble_scheduling"]["step"][0]);
    }
    let index = client.post("/v2/repository/index", "").json();
    assert_eq!(shape(&index), shape(&serde_json::from_str(&captured("triton-repository-index.txt")).unwrap()));
    for path in
        ["/v2/health/live", "/v2/health/ready", "/v2/models/ensemble/ready", "/v2/models/add_sub/versions/1/ready"]
    {
        let answer = client.ask("GET", path, "");
        assert_eq!((answer.status, answer.body.as_str()), (200, ""), "{path}");
    }
    assert_eq!(client.ask("GET", "/v2/models/stats", "").json()["model_stats"].as_array().unwrap().len(), 12);
    for (path, status) in
        [("/v2/models/nope/ready", 400), ("/v2/nope", 404), (INFER, 405), ("/v2/repository/index", 405)]
    {
        assert_eq!(client.ask("GET", path, "").status, status, "{path}");
    }
    assert_eq!(
        client.ask("GET", "/v2/models/nope/stats", "").body,
        r#"{"error":"requested model 'nope' is not available"}"#
    );
    assert_eq!(client.post("/v2/trace/setting", "{}").json()["trace_mode"], "triton");
    assert_eq!(client.ask("GET", "/v2/logging", "").json()["log_format"], "default");
}

#[test]
fn refusals_are_tritons() {
    let sim = start(instant());
    let mut client = Client::connect(&sim);
    let one = r#"{"inputs":[{"name":"INPUT0","shape":[1,4],"datatype":"FP32","data":[1,2,3,4]}]}"#;
    let short = r#"{"inputs":[{"name":"INPUT0","shape":[1,4],"datatype":"FP32","data":[1,2,3]}]}"#;
    let fail = r#"{"inputs":[{"name":"text_input","shape":[1],"datatype":"BYTES","data":["fail"]}]}"#;
    for (method, path, body, capture) in [
        ("GET", "/v2/models/nope", "", "triton-err-bad-model.txt"),
        ("POST", GENERATE, r#"{"text_input":"a","max_tokens":"x"}"#, "triton-err-generate-type.txt"),
        ("POST", "/v2/models/echo_text/infer", fail, "triton-err-infer-backend.txt"),
        ("POST", "/v2/models/ensemble/infer", one, "triton-err-infer-decoupled.txt"),
        ("POST", INFER, one, "triton-err-infer-missing.txt"),
        ("POST", INFER, short, "triton-err-infer-shape.txt"),
        ("POST", "/v2/models/add_sub/versions/9/infer", one, "triton-err-infer-version.txt"),
        ("POST", GENERATE, FOUR, "triton-generate-many-responses.txt"),
    ] {
        let (status, kind, expected) = head_of(capture);
        let answer = client.ask(method, path, body);
        assert_eq!((answer.status, answer.body.as_str()), (status, expected.as_str()), "{capture}");
        assert!(answer.head.contains(&format!("content-type: {kind}\r\n")), "{capture}: {}", answer.head);
    }
    let bad = |answer: crate::client::Answer| (answer.status, answer.json()["error"].as_str().unwrap().to_owned());
    let (status, message) = bad(client.post(GENERATE, "oops"));
    assert!(status == 500 && message.starts_with("failed to parse the request JSON buffer: "), "{message}");
    assert_eq!(
        bad(client.post(INFER, r#"{"inputs":{}}"#)).1,
        "Unable to parse 'inputs': attempt to access JSON non-array as array"
    );
    let (status, message) = bad(client.post(GENERATE, r#"{"text_input":"a"}"#));
    assert!(status == 400 && message.contains("missing required input(s) ['max_tokens']"), "{message}");
    assert_eq!(
        bad(client.post(GENERATE, r#"{"text_input":"a","max_tokens":0}"#)),
        (400, "in ensemble 'ensemble', request_output_len must be > 0".to_owned())
    );
}

#[test]
fn inference_answers_have_the_shapes_of_triton() {
    let sim = start(instant());
    let mut client = Client::connect(&sim);
    let answer = client.post(INFER, ADD_SUB);
    assert_eq!(shape(&answer.json()), shape(&serde_json::from_str(&captured("triton-infer.txt")).unwrap()));
    let expected = r#"{"id":"r1","model_name":"add_sub","model_version":"2","outputs":[{"name":"OUTPUT0","datatype":"FP32","shape":[1,4],"data":[2.0,3.0,4.0,5.0]},{"name":"OUTPUT1","datatype":"FP32","shape":[1,4],"data":[0.0,1.0,2.0,3.0]}]}"#;
    assert_eq!(answer.body, expected);
    let generated =
        client.post(GENERATE, r#"{"text_input":["the cat"],"max_tokens":[4],"id":"x","nonsense":1}"#).json();
    assert_eq!(generated["sequence_length"], 4);
    let mut theirs: Value = serde_json::from_str(&captured("triton-generate.txt")).unwrap();
    theirs["id"] = json!("x");
    let sorted = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<std::collections::BTreeSet<_>>();
    assert_eq!(sorted(&generated), sorted(&theirs));
    assert!(generated.as_object().unwrap().keys().is_sorted());
    let log = sim.log();
    assert_eq!((log[0].kind, log[1].kind), (EndpointKind::KserveHttp, EndpointKind::Generate));
    assert_eq!((log[1].prompt_tokens, log[1].output_tokens, log[1].writes[0].events), (2, 4, 1));
}

#[test]
fn tensors_may_be_bytes_behind_the_json() {
    let sim = start(instant());
    let mut client = Client::connect(&sim);
    let json = r#"{"inputs":[{"name":"INPUT0","shape":[1,4],"datatype":"FP32","parameters":{"binary_data_size":16}},
        {"name":"INPUT1","shape":[1,4],"datatype":"FP32","data":[1,1,1,1]}],
        "outputs":[{"name":"OUTPUT0","parameters":{"binary_data":true}}]}"#;
    // The sum is two, whose bytes are text, as the client wants it.
    let mut body = json.as_bytes().to_vec();
    body.extend([1.0_f32; 4].map(f32::to_le_bytes).concat());
    let mut send = |header: usize, body: &[u8]| {
        let head = format!(
            "POST {INFER} HTTP/1.1\r\nInference-Header-Content-Length: {header}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        client.tcp.write_all(&[head.as_bytes(), body].concat()).unwrap();
        client.receive().unwrap()
    };
    let answer = send(json.len(), &body);
    assert!(answer.head.contains("content-type: application/octet-stream\r\n"), "{}", answer.head);
    let ours = r#"{"model_name":"add_sub","model_version":"2","outputs":[{"name":"OUTPUT0","datatype":"FP32","shape":[1,4],"parameters":{"binary_data_size":16}}]}"#;
    assert!(answer.head.contains(&format!("inference-header-content-length: {}\r\n", ours.len())), "{}", answer.head);
    let (header, data) = answer.body.split_at(ours.len());
    assert_eq!((header, data.as_bytes()), (ours, &*[2.0_f32; 4].map(f32::to_le_bytes).concat()));
    let fixture = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/triton-infer-binary-out.txt");
    let theirs = std::fs::read(fixture).unwrap();
    assert!(theirs.windows(ours.len()).any(|window| window == ours.as_bytes()));
    assert_eq!(send(json.len(), &body[..body.len() - 1]).status, 400);
    body.push(0);
    assert_eq!(send(json.len(), &body).body, r#"{"error":"unexpected additional input data for model 'add_sub'"}"#);
    assert_eq!(send(body.len() + 1, &body).status, 400);
}

#[test]
fn streams_of_the_generate_extension_have_the_shapes_of_triton() {
    let sim = start(instant());
    let mut client = Client::connect(&sim);
    let sorted = |body: &str| {
        let keys = |data: String| {
            let event: Value = serde_json::from_str(&data).unwrap();
            let keys: std::collections::BTreeSet<String> = event.as_object().unwrap().keys().cloned().collect();
            keys
        };
        events(body.trim_end()).into_iter().map(keys).collect::<Vec<_>>()
    };
    let answer = client.post(STREAM, FOUR);
    assert_eq!(sorted(&answer.body), sorted(&captured("triton-generate-stream.txt")));
    assert!(answer.head.contains("content-type: text/event-stream; charset=utf-8\r\n"));
    assert!(answer.events().iter().all(|event| event["text_output"].as_str().is_some_and(|text| !text.is_empty())));
    let vllm = "/v2/models/vllm_model/generate_stream";
    let answer = client.post(
        vllm,
        r#"{"text_input":"a","stream":true,"parameters":{"sampling_parameters":"{\"max_tokens\":4}"},
           "return_finish_reason":true,"return_num_input_tokens":true,"return_num_output_tokens":true}"#,
    );
    assert_eq!(shapes(&answer.body), shapes(captured("triton-vllm-generate-stream.txt").trim_end()));
    assert_eq!(answer.events()[3]["finish_reason"], "length");
    let failing = r#"{"text_input":"a","stream":true,"sampling_parameters":"{\"max_tokens\":9,\"fail_after\":2}"}"#;
    let answer = client.post(vllm, failing);
    assert_eq!((answer.status, shapes(&answer.body)), (200, shapes(captured("triton-err-midstream.txt").trim_end())));
    assert_eq!(answer.events()[2]["error"], "engine failed after 2 tokens");
    let whole = client.post("/v2/models/vllm_model/generate", r#"{"text_input":"say this"}"#).json();
    assert!(whole["text_output"].as_str().unwrap().starts_with("say this"), "{whole}");
}

#[test]
fn shared_memory_is_registered_over_http_too() {
    let sim = start(instant());
    let mut client = Client::connect(&sim);
    let register = "/v2/systemsharedmemory/region/r/register";
    let answer = client.post(register, r#"{"key":"/streamgauge-no-such-region","byte_size":16}"#);
    let expected = r#"{"error":"Unable to open shared memory region: '/streamgauge-no-such-region'"}"#;
    assert_eq!((answer.status, answer.body.as_str()), (500, expected));
    assert_eq!(client.post(register, "{}").status, 400);
    assert_eq!(client.ask("GET", "/v2/systemsharedmemory/status", "").body, "[]");
    assert_eq!(client.post("/v2/systemsharedmemory/unregister", "").status, 200);
    assert_eq!(client.ask("GET", "/v2/systemsharedmemory/region/r/status", "").status, 404);
}

#[test]
fn tokens_come_when_they_are_due() {
    let (ttft, itl) = (Nanos::from_millis(5), Nanos::from_millis(3));
    let sim = start(paced(ttft, itl));
    let mut client = Client::connect(&sim);
    assert_eq!(client.post(STREAM, FOUR).events().len(), 4);
    client.post(GENERATE, r#"{"text_input":"the cat","max_tokens":4}"#);
    client.post(INFER, ADD_SUB);
    let log = sim.log();
    assert_eq!(log[0].writes.iter().map(|write| write.events).collect::<Vec<_>>(), [1, 1, 1, 1]);
    for (token, write) in log[0].writes.iter().enumerate() {
        assert!(write.at >= log[0].received + ttft + Nanos(itl.0 * token as i64), "token {token} came early");
    }
    assert!(log[1].writes[0].at >= log[1].received + ttft + Nanos(itl.0 * 3));
    assert!(log[2].writes[0].at >= log[2].received + ttft);
}

#[test]
fn faults_hit_kserve_over_http() {
    let with = |fault: &str, path: &str, body: &str| {
        let sim = faulty(&[fault]);
        let mut client = Client::connect(&sim);
        client.send("POST", path, body);
        client.receive()
    };
    let answer = with("status=503", INFER, ADD_SUB).unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (503, r#"{"error":"simulated fault: status 503"}"#));
    assert_eq!(with("error-event", INFER, ADD_SUB).unwrap().status, 500);
    let answer = with("error-event", STREAM, FOUR).unwrap();
    assert_eq!((answer.status, answer.events().len()), (200, 3));
    let answer = with("malformed", STREAM, FOUR).unwrap();
    assert_eq!(answer.data().iter().filter(|data| serde_json::from_str::<Value>(data).is_err()).count(), 1);
    assert!(serde_json::from_str::<Value>(&with("malformed", INFER, ADD_SUB).unwrap().body).is_err());
    for fault in ["truncate", "reset-stream", "reset-headers"] {
        assert!(with(fault, STREAM, FOUR).is_err() && with(fault, INFER, ADD_SUB).is_err(), "{fault}");
    }
    // What only gRPC has.
    for fault in ["no-final", "unknown-id", "extra-response", "split-writes", "slow-headers=1ms"] {
        assert_eq!(with(fault, STREAM, FOUR).unwrap().events().len(), 4, "{fault}");
    }
    assert_eq!(with("multi-token=2", STREAM, FOUR).unwrap().events().len(), 2);
}

#[test]
fn the_metrics_page_has_tritons_names() {
    let sim = start(SimConfig { gpus: 2, ..instant() });
    let mut client = Client::connect(&sim);
    client.post(STREAM, FOUR);
    client.post(INFER, ADD_SUB);
    let page = client.ask("GET", "/metrics", "").body;
    for line in [
        r#"nv_inference_request_success{model="ensemble",version="1"} 1"#,
        r#"nv_inference_exec_count{model="postprocessing",version="1"} 4"#,
        r#"nv_inference_count{model="add_sub",version="2"} 1"#,
        r#"nv_gpu_power_usage{gpu_uuid="GPU-00000001-0000-0000-0000-000000000000"} 150.000000"#,
    ] {
        assert!(page.lines().any(|each| each == line), "{line}");
    }
}
