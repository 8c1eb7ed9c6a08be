//! Each fault, as it shows on the wire.

use crate::client::{CHAT, COMPLETIONS, Client, chat, faulty, instant, paced, start, tokenizer};
use std::io::ErrorKind;
use streamgauge_core::clock::{Clock, Nanos};
use streamgauge_sim::SimConfig;

#[test]
fn a_status_hits_every_third() {
    let sim = faulty(&["status=503:every=3"]);
    let mut client = Client::connect(&sim);
    let answers: Vec<_> = (0..6).map(|_| client.post(CHAT, &chat(2, true, ""))).collect();
    assert_eq!(answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), [200, 200, 503, 200, 200, 503]);
    assert_eq!(answers[2].json()["error"]["message"], "simulated fault: status 503");
    let log = sim.stop().unwrap();
    assert_eq!((log[2].status, log[2].faults.as_slice()), (503, &["status"][..]));
    assert_eq!((log[3].status, log[3].faults.len()), (200, 0));
}

#[test]
fn a_reset_comes_before_the_head_or_in_mid_stream() {
    let sim = faulty(&["reset-headers"]);
    let mut client = Client::connect(&sim);
    client.send("POST", CHAT, &chat(4, true, ""));
    let (text, ended) = client.rest();
    assert_eq!((text.as_str(), ended.unwrap_err().kind()), ("", ErrorKind::ConnectionReset));
    assert_eq!(sim.stop().unwrap()[0].status, 0);

    for stream in [true, false] {
        let sim = faulty(&["reset-stream"]);
        let mut client = Client::connect(&sim);
        client.send("POST", CHAT, &chat(4, stream, ""));
        let (text, ended) = client.rest();
        assert_eq!(ended.unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert!(!text.ends_with("metrics\":null}") && !text.contains("[DONE]"));
        let log = sim.stop().unwrap();
        assert_eq!(log[0].writes.iter().map(|write| write.events).sum::<u32>(), if stream { 2 } else { 0 });
    }
}

#[test]
fn a_stall_holds_back_the_first_byte_or_the_second_half() {
    let wait = Nanos::from_millis(40);
    for stream in [true, false] {
        let sim = faulty(&["stall-first=40ms"]);
        let mut client = Client::connect(&sim);
        client.post(CHAT, &chat(4, stream, ""));
        let request = &sim.log()[0];
        assert_eq!(request.writes.len(), 1);
        assert!(request.writes[0].at - request.received >= wait);

        let sim = faulty(&["stall-stream=40ms"]);
        let mut client = Client::connect(&sim);
        assert_eq!(client.post(CHAT, &chat(4, stream, "")).status, 200);
        let request = &sim.log()[0];
        let events: Vec<u32> = request.writes.iter().map(|write| write.events).collect();
        assert_eq!(events, if stream { [2, 2] } else { [0, 1] });
        assert!(request.writes[1].at - request.writes[0].at >= wait);
    }
}

#[test]
fn a_truncated_answer_ends_in_order_but_early() {
    for (stream, tokens) in [(true, 4), (true, 1), (false, 4)] {
        let sim = faulty(&["truncate"]);
        let mut client = Client::connect(&sim);
        client.send("POST", CHAT, &chat(tokens, stream, ""));
        let error = client.receive().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        let text = error.to_string();
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"));
        assert!(!text.contains("[DONE]") && !text.ends_with("0\r\n\r\n"));
        assert!(sim.stop().unwrap()[0].complete);
    }
}

#[test]
fn a_malformed_event_is_no_json() {
    let sim = faulty(&["malformed"]);
    let mut client = Client::connect(&sim);
    let data = client.post(CHAT, &chat(4, true, "")).data();
    let broken: Vec<usize> =
        (0..data.len()).filter(|at| serde_json::from_str::<serde_json::Value>(&data[*at]).is_err()).collect();
    // After the role and two of four tokens; and the mark of the end.
    assert_eq!((broken, data.len()), (vec![3, 6], 7));
    let whole = client.post(CHAT, &chat(4, false, ""));
    assert!(serde_json::from_str::<serde_json::Value>(&whole.body).is_err());
}

#[test]
fn an_error_comes_inside_a_good_answer() {
    let sim = faulty(&["error-event"]);
    let mut client = Client::connect(&sim);
    let answer = client.post(CHAT, &chat(4, true, ""));
    assert_eq!(answer.status, 200);
    let events = answer.events();
    assert_eq!(events.len(), 4);
    assert_eq!(events[3]["error"]["message"], "simulated fault: the engine died");
    assert_eq!(answer.data()[4], "[DONE]");
    let whole = client.post(CHAT, &chat(4, false, ""));
    assert_eq!((whole.status, &whole.json()["error"]["code"]), (200, &500.into()));
}

#[test]
fn slow_headers_come_byte_by_byte() {
    let sim = faulty(&["slow-headers=0.1ms"]);
    let mut client = Client::connect(&sim);
    let answer = client.post(CHAT, &chat(2, true, ""));
    let request = &sim.log()[0];
    assert_eq!(request.writes.len(), answer.head.len() + 1);
    assert!(client.reads.len() > 10);
    assert_eq!(answer.text(0).split(' ').count(), 3);
    assert_eq!(request.writes.last().unwrap().events, 2);
}

#[test]
fn split_writes_cut_events_inside_characters() {
    let config = paced(Nanos::ZERO, Nanos::from_millis(2));
    let sim = start(SimConfig { faults: vec!["split-writes".parse().unwrap()], ..config });
    let mut client = Client::connect(&sim);
    let answer = client.post(CHAT, &chat(60, true, r#","stream_options":{"include_usage":true}"#));
    assert!(!answer.text(0).is_ascii());
    assert_eq!(tokenizer().count(&answer.text(0)), 60);
    assert!(client.reads.iter().any(|read| str::from_utf8(read).is_err()), "no read ended inside a character");
    let request = &sim.log()[0];
    assert_eq!(request.writes.iter().map(|write| write.events).sum::<u32>(), 60);
    assert_eq!(request.writes.len(), 4 * 60);
}

#[test]
fn connections_close_after_their_requests_without_a_word() {
    let sim = faulty(&["close-after=2"]);
    let mut client = Client::connect(&sim);
    for _ in 0..2 {
        assert!(!client.post(CHAT, &chat(2, true, "")).head.contains("close"));
    }
    let (text, ended) = client.rest();
    ended.unwrap();
    assert_eq!(text, "");
}

#[test]
fn idle_connections_close_without_a_word() {
    let sim = faulty(&["close-idle=30ms"]);
    let mut client = Client::connect(&sim);
    assert!(!client.post(CHAT, &chat(2, true, "")).head.contains("close"));
    let answered = sim.clock().now();
    let (text, ended) = client.rest();
    ended.unwrap();
    assert_eq!(text, "");
    assert!(sim.clock().now() - answered >= Nanos::from_millis(20));
}

#[test]
fn stream_options_are_refused_by_name() {
    let sim = faulty(&["reject-stream-options"]);
    let mut client = Client::connect(&sim);
    let answer = client.post(CHAT, &chat(2, true, r#","stream_options":{"include_usage":true}"#));
    assert_eq!(answer.status, 400);
    assert!(answer.json()["error"]["message"].as_str().unwrap().contains("`stream_options`"));
    assert_eq!(client.post(CHAT, &chat(2, true, "")).status, 200);
}

#[test]
fn usage_is_wrong_on_purpose() {
    for (fault, expected) in
        [("bad-usage=zero", [0, 0, 0]), ("bad-usage=-3", [10, 14, 4]), ("bad-usage=-9", [10, 10, 0])]
    {
        let sim = faulty(&[fault]);
        let mut client = Client::connect(&sim);
        let usage = client.post(CHAT, &chat(7, false, "")).json()["usage"].clone();
        let counts = ["prompt_tokens", "total_tokens", "completion_tokens"].map(|key| usage[key].as_u64().unwrap());
        assert_eq!(counts, expected, "{fault}");
    }
}

#[test]
fn the_last_output_is_missing() {
    let sim = faulty(&["missing-output"]);
    let mut client = Client::connect(&sim);
    let whole = client.post(COMPLETIONS, r#"{"prompt":["a","b"],"max_tokens":3}"#).json();
    assert_eq!(whole["choices"].as_array().unwrap().len(), 1);
    let streamed = client.post(COMPLETIONS, r#"{"prompt":["a","b"],"max_tokens":3,"stream":true}"#);
    assert!(streamed.events().iter().all(|event| event["choices"][0]["index"] == 0));
    let vectors = client.post("/v1/embeddings", r#"{"input":["a","b","c"]}"#).json();
    assert_eq!(vectors["data"].as_array().unwrap().len(), 2);
    // The only output of an answer can be missing too.
    assert_eq!(client.post(CHAT, &chat(2, false, "")).json()["choices"], serde_json::json!([]));
    assert_eq!(client.post("/v1/embeddings", r#"{"input":"a"}"#).json()["data"], serde_json::json!([]));
    assert!(client.post(CHAT, &chat(2, true, "")).status == 200);
}

#[test]
fn events_carry_several_tokens() {
    let sim = faulty(&["multi-token=3"]);
    let mut client = Client::connect(&sim);
    let answer = client.post(COMPLETIONS, r#"{"prompt":"a","max_tokens":7,"stream":true}"#);
    let texts: Vec<u32> =
        answer.events().iter().map(|event| tokenizer().count(event["choices"][0]["text"].as_str().unwrap())).collect();
    assert_eq!(texts, [3, 3, 1]);
}

#[test]
fn the_length_asked_is_ignored() {
    let sim = faulty(&["ignore-length"]);
    let mut client = Client::connect(&sim);
    let asked = r#","ignore_eos":true,"min_tokens":7"#;
    let whole = client.post(CHAT, &chat(7, false, asked)).json();
    let tokens = whole["usage"]["completion_tokens"].as_u64().unwrap();
    assert!((32..=96).contains(&tokens), "{tokens}");
}

#[test]
fn a_share_hits_some_by_the_seed() {
    let run = || {
        let sim = faulty(&["status=500:0.3"]);
        let mut client = Client::connect(&sim);
        (0..40).map(|_| client.post(CHAT, &chat(1, false, "")).status).collect::<Vec<_>>()
    };
    let statuses = run();
    assert_eq!(statuses, run());
    let hit = statuses.iter().filter(|status| **status == 500).count();
    assert!((4..=20).contains(&hit), "{hit}");
}

#[test]
fn a_bad_configuration_is_refused() {
    let config = SimConfig { models: Vec::new(), ..instant() };
    let error = streamgauge_sim::Sim::start(config, std::net::SocketAddr::from(([127, 0, 0, 1], 0))).unwrap_err();
    assert_eq!(error.to_string(), "the simulated server needs the name of at least one model");
    let taken = start(instant());
    let error = streamgauge_sim::Sim::start(instant(), taken.addr()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
}
