//! Shapes and counts of answers, held against what a real server sent.

use crate::client::{CHAT, COMPLETIONS, Client, chat, events, instant, start, tokenizer};
use serde_json::Value;
use std::io::{Read, Write};
use std::path::Path;
use streamgauge_core::seed::Seed;
use streamgauge_sim::{Lengths, SimConfig, TEMPLATE_TOKENS};

/// The body of a captured answer.
pub fn captured(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    let text = std::fs::read_to_string(path).unwrap().replace("\r\n", "\n");
    text.split_once("\n\n").unwrap().1.to_owned()
}

/// Keys in their order, all the way down; of a list, its first element's.
pub fn shape(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let members: Vec<String> = members.iter().map(|(key, value)| format!("{key}{}", shape(value))).collect();
            format!("{{{}}}", members.join(","))
        }
        Value::Array(items) => format!("[{}]", items.first().map(shape).unwrap_or_default()),
        _ => String::new(),
    }
}

/// Shapes of a stream's events, equal neighbours counted once.
pub fn shapes(body: &str) -> Vec<String> {
    let mut shapes: Vec<String> = events(body)
        .iter()
        .map(|data| serde_json::from_str(data).map_or_else(|_| data.clone(), |value| shape(&value)))
        .collect();
    shapes.dedup();
    shapes
}

#[test]
fn streams_have_the_shapes_of_vllm() {
    let sim = start(instant());
    let mut client = Client::connect(&sim);
    let usage = r#","stream_options":{"include_usage":true}"#;
    let always = r#","stream_options":{"include_usage":true,"continuous_usage_stats":true}"#;
    for (more, capture) in [
        ("", "vllm-chat-stream.txt"),
        (usage, "vllm-chat-stream-usage.txt"),
        (always, "vllm-chat-stream-continuous.txt"),
    ] {
        let answer = client.post(CHAT, &chat(8, true, more));
        assert_eq!(shapes(&answer.body), shapes(&captured(capture)), "{capture}");
        assert!(answer.head.contains("content-type: text/event-stream; charset=utf-8\r\n"));
    }
    for (more, capture) in [("", "vllm-completions-stream.txt"), (usage, "vllm-completions-stream-usage.txt")] {
        let answer = client.post(COMPLETIONS, &format!(r#"{{"prompt":"a","max_tokens":8,"stream":true{more}}}"#));
        assert_eq!(shapes(&answer.body), shapes(&captured(capture)), "{capture}");
    }
}

#[test]
fn whole_answers_have_the_shapes_of_vllm() {
    let sim = start(instant());
    let mut client = Client::connect(&sim);
    let same = |ours: &str, capture: &str| {
        let (ours, theirs) = (serde_json::from_str(ours).unwrap(), serde_json::from_str(&captured(capture)).unwrap());
        assert_eq!(shape(&ours), shape(&theirs), "{capture}");
    };
    same(&client.post(CHAT, &chat(8, false, "")).body, "vllm-chat.txt");
    same(&client.post(COMPLETIONS, r#"{"prompt":"a","max_tokens":8}"#).body, "vllm-completions.txt");
    let refused = client.post(CHAT, &chat(8, false, r#","model":"none""#));
    assert_eq!(refused.status, 404);
    same(&refused.body, "vllm-err-bad-model.txt");
    let models = client.ask("GET", "/v1/models", "").json();
    let theirs: Value = serde_json::from_str(&captured("vllm-models.txt")).unwrap();
    let keys = |list: &Value| list["data"][0].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&models), keys(&theirs));
    assert_eq!((&models["object"], &models["data"][0]["id"]), (&"list".into(), &"sim-model".into()));
}

#[test]
fn counts_are_the_tokenizers() {
    let sim = start(instant());
    let mut client = Client::connect(&sim);
    let tokenizer = tokenizer();
    for tokens in [1, 2, 77, 1000] {
        let answer = client.post(CHAT, &chat(tokens, true, r#","stream_options":{"include_usage":true}"#));
        assert_eq!(tokenizer.count(&answer.text(0)), tokens);
        let events = answer.events();
        let usage = &events.last().unwrap()["usage"];
        let prompt = tokenizer.count("the cat") + TEMPLATE_TOKENS;
        assert_eq!(
            *usage,
            serde_json::json!({
                "prompt_tokens": prompt, "total_tokens": prompt + tokens, "completion_tokens": tokens,
            })
        );
        assert_eq!(answer.data().last().unwrap(), "[DONE]");
        // The role, an event a token, the usage.
        assert_eq!(events.len() as u32, tokens + 2);
        let finished: Vec<&Value> =
            events.iter().filter(|event| event["choices"][0]["finish_reason"].is_string()).collect();
        assert_eq!(finished, [&events[events.len() - 2]]);
        assert_eq!(finished[0]["choices"][0]["finish_reason"], "length");

        let whole = client.post(COMPLETIONS, &format!(r#"{{"prompt":"the cat","max_tokens":{tokens}}}"#)).json();
        assert_eq!(tokenizer.count(whole["choices"][0]["text"].as_str().unwrap()), tokens);
        assert_eq!(
            (&whole["usage"]["prompt_tokens"], &whole["usage"]["completion_tokens"]),
            (&2.into(), &tokens.into())
        );
    }
}

#[test]
fn a_batch_of_prompts_gives_a_reply_each() {
    let sim = start(instant());
    let mut client = Client::connect(&sim);
    let body = r#"{"prompt":["the cat","a"],"max_tokens":3,"stream":true,"stream_options":{"include_usage":true}}"#;
    let answer = client.post(COMPLETIONS, body);
    let count = |index| tokenizer().count(&answer.text(index));
    assert_eq!((count(0), count(1)), (3, 3));
    assert_eq!(answer.events().last().unwrap()["usage"]["total_tokens"], 9);
    let whole = client.post(COMPLETIONS, r#"{"prompt":[[1,2,3],[4]],"max_tokens":3}"#).json();
    let indices: Vec<&Value> = whole["choices"].as_array().unwrap().iter().map(|choice| &choice["index"]).collect();
    assert_eq!(indices, [0, 1]);
    assert_eq!(whole["usage"]["prompt_tokens"], 4);
}

#[test]
fn lengths_are_honoured() {
    let lengths = Lengths { natural: 10, early_stop: 1.0, ..Lengths::default() };
    let sim = start(SimConfig { lengths, ..instant() });
    let mut client = Client::connect(&sim);
    let mut reply = |members: &str| {
        let body = format!(r#"{{"prompt":"a"{members}}}"#);
        let reply = client.post(COMPLETIONS, &body).json();
        let tokens = reply["usage"]["completion_tokens"].as_u64().unwrap();
        (tokens, reply["choices"][0]["finish_reason"].as_str().unwrap().to_owned())
    };
    assert_eq!(reply(r#","max_tokens":40,"ignore_eos":true,"min_tokens":40"#), (40, "length".to_owned()));
    assert_eq!(reply(r#","max_tokens":40,"min_tokens":39"#), (39, "stop".to_owned()));
    let (tokens, finish) = reply("");
    assert!((5..=15).contains(&tokens) && finish == "stop", "{tokens} {finish}");
}

#[test]
fn a_stop_text_ends_the_reply() {
    let sim = start(instant());
    let mut client = Client::connect(&sim);
    let answer = client.post(CHAT, &chat(2000, true, r#","stop":[" the "],"stream_options":{"include_usage":true}"#));
    let text = answer.text(0);
    assert!(!text.contains(" the "));
    let events = answer.events();
    let last = &events[events.len() - 2]["choices"][0];
    assert_eq!((&last["finish_reason"], &last["stop_reason"]), (&"stop".into(), &" the ".into()));
    let produced = events.last().unwrap()["usage"]["completion_tokens"].as_u64().unwrap();
    // The stop text's two words were produced, and not shown.
    assert_eq!(produced, u64::from(tokenizer().count(&text)) + 2);
}

#[test]
fn the_same_seed_says_the_same() {
    let texts = |seed| {
        let sim = start(SimConfig { seed: Seed(seed), ..instant() });
        let mut client = Client::connect(&sim);
        [0, 1].map(|_| client.post(CHAT, &chat(20, true, "")).text(0))
    };
    let (first, second, other) = (texts(1), texts(1), texts(2));
    assert_eq!(first, second);
    assert_ne!(first, other);
    assert_ne!(first[0], first[1]);
}

#[test]
fn other_paths_and_methods() {
    let sim = start(instant());
    let mut client = Client::connect(&sim);
    let mut status = |method, path| client.ask(method, path, "").status;
    assert_eq!(status("GET", "/health"), 200);
    assert_eq!(status("GET", "/v1/nothing"), 404);
    assert_eq!(status("GET", CHAT), 405);
    assert_eq!(status("POST", "/v1/models"), 405);
    assert_eq!(status("POST", CHAT), 400);
    let answer = client.ask("GET", "/v1/nothing", "").json();
    assert_eq!(answer["error"]["code"], 404);
}

#[test]
fn the_metrics_page_adds_up() {
    let sim = start(instant());
    let mut client = Client::connect(&sim);
    client.post(CHAT, &chat(5, true, ""));
    client.post(CHAT, &chat(6, false, ""));
    client.post(CHAT, &chat(6, false, r#","n":3"#));
    let page = client.ask("GET", "/metrics", "").body;
    let samples: Vec<&str> = page.lines().filter(|line| !line.starts_with('#') && !line.starts_with("nv_")).collect();
    assert_eq!(
        samples,
        [
            "vllm:num_requests_running 0",
            "vllm:num_requests_waiting 0",
            "vllm:prompt_tokens_total 20",
            "vllm:generation_tokens_total 11",
            "sim:requests_total{status=\"200\"} 2",
            "sim:requests_total{status=\"400\"} 1",
            "sim:prefix_cache_resets_total 0",
        ]
    );
}

#[test]
fn requests_come_in_pieces_and_connections_last() {
    let sim = start(instant());
    let mut client = Client::connect(&sim);
    let body = format!(r#"{{"prompt":"{}","max_tokens":2}}"#, "the cat ".repeat(200_000 / 8));
    let head = format!("POST {COMPLETIONS} HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n", body.len());
    for byte in head.as_bytes() {
        client.tcp.write_all(&[*byte]).unwrap();
    }
    let mut go_on = [0; 25];
    client.tcp.read_exact(&mut go_on).unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    for piece in body.as_bytes().chunks(50_000) {
        client.tcp.write_all(piece).unwrap();
    }
    assert_eq!(client.receive().unwrap().status, 200);
    for _ in 0..3 {
        assert_eq!(client.post(CHAT, &chat(2, true, "")).status, 200);
    }
    assert!(sim.log().iter().all(|request| request.connection == 0));
    client.tcp.write_all(b"GET /health HTTP/1.1\r\nconnection: close\r\n\r\n").unwrap();
    let (text, ended) = client.rest();
    ended.unwrap();
    assert!(text.contains("connection: close\r\n"));
}

#[test]
fn what_is_not_http_is_refused_and_closed() {
    let sim = start(instant());
    for (request, status) in [
        ("nonsense\r\n\r\n", "400"),
        ("GET /health HTTP/1.0\r\n\r\n", "505"),
        ("POST /v1/completions HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n", "411"),
        ("POST /v1/completions HTTP/1.1\r\ncontent-length: 99999999999\r\n\r\n", "413"),
    ] {
        let mut client = Client::connect(&sim);
        client.tcp.write_all(request.as_bytes()).unwrap();
        assert_eq!(client.rest().0[9..12], *status, "{request}");
    }
}
