//! What goes out is what was planned.

use crate::script::{Request, serve};
use crate::trial::Trial;
use crate::words::{prompt, stream};
use std::sync::{Arc, Mutex};
use streamgauge_core::plan::{EndpointKind, Header, HeaderValue};
use streamgauge_core::prompt::Content;
use streamgauge_load::{Input, Job, Routes};
use streamgauge_wire::{Codec, Encoded};

/// The requests of a run as a server got them.
fn caught(change: impl FnOnce(Trial) -> Trial) -> (Vec<Request>, u16) {
    let requests = Arc::new(Mutex::new(Vec::new()));
    let seen = requests.clone();
    let server = serve(move |peer| {
        while let Some(request) = peer.request() {
            seen.lock().unwrap().push(request);
            peer.send(&stream(&["a"]));
        }
    });
    let trial = change(Trial::at(server.addr()));
    let count = trial.plan.load.stop.requests.unwrap();
    trial.run().all_ok(count);
    let requests = std::mem::take(&mut *requests.lock().unwrap());
    (requests, server.addr().port())
}

fn header(name: &str, value: HeaderValue) -> Header {
    Header { name: name.to_owned(), value }
}

/// The lines of a head, sorted after the first.
fn lines(request: &Request) -> Vec<&str> {
    let mut lines: Vec<&str> = request.head.trim_end().split("\r\n").collect();
    lines[1..].sort_unstable();
    lines
}

#[test]
fn head_and_body_arrive_as_planned() {
    let (requests, port) = caught(|mut trial| {
        trial.plan.endpoint.headers = vec![
            header("Authorization", HeaderValue::Secret("Bearer k".to_owned())),
            header("X-Extra", HeaderValue::Plain("1".to_owned())),
        ];
        trial.prompts(vec![prompt(5), prompt(6)]).requests(3)
    });
    assert_eq!(requests.len(), 3);
    for (number, request) in requests.iter().enumerate() {
        let length = format!("content-length: {}", request.body.len());
        let host = format!("host: 127.0.0.1:{port}");
        let agent = concat!("user-agent: streamgauge/", env!("CARGO_PKG_VERSION"));
        let mut expected = [
            "POST /v1/chat/completions HTTP/1.1",
            "accept: text/event-stream",
            "authorization: Bearer k",
            &length,
            "content-type: application/json",
            &host,
            agent,
            "x-extra: 1",
        ];
        expected[1..].sort_unstable();
        assert_eq!(lines(request), expected);
        let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
        let expected = serde_json::json!({
            "model": "sim-model",
            "messages": [{"role": "user", "content": "the quick fox"}],
            "stream": true,
            "max_tokens": 5 + number % 2,
            "stream_options": {"include_usage": true},
        });
        assert_eq!(body, expected);
    }
}

#[test]
fn a_header_of_the_users_replaces_ours() {
    let (requests, _) = caught(|mut trial| {
        trial.plan.endpoint.headers = vec![header("user-agent", HeaderValue::Plain("mine".to_owned()))];
        trial
    });
    let agents: Vec<_> = lines(&requests[0]).into_iter().filter(|line| line.starts_with("user-agent")).collect();
    assert_eq!(agents, ["user-agent: mine"]);
}

#[test]
fn a_header_given_twice_is_sent_twice() {
    let (requests, _) = caught(|mut trial| {
        let given = ["a", "b"].map(|value| header("x-tag", HeaderValue::Plain(value.to_owned())));
        trial.plan.endpoint.headers = given.to_vec();
        trial
    });
    let tags: Vec<_> = lines(&requests[0]).into_iter().filter(|line| line.starts_with("x-tag")).collect();
    assert_eq!(tags, ["x-tag: a", "x-tag: b"]);
}

#[test]
fn another_path_is_kept_with_its_query() {
    let (requests, _) = caught(|mut trial| {
        trial = trial.kind(EndpointKind::Chat);
        trial.plan.endpoint.path = "/proxy/v1/chat/completions?key=a%20b".to_owned();
        trial
    });
    assert_eq!(lines(&requests[0])[0], "POST /proxy/v1/chat/completions?key=a%20b HTTP/1.1");
}

#[test]
fn a_long_body_arrives_whole() {
    let text = "word ".repeat(200_000);
    let (requests, _) = caught(|trial| {
        let mut long = prompt(5);
        long.content = Content::Texts(vec![text.clone()]);
        trial.prompts(vec![long]).requests(2)
    });
    for request in requests {
        let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
        assert_eq!(body["messages"][0]["content"], text);
    }
}

/// An empty request.
fn nothing() -> Input {
    let encoded = Encoded { body: "{}".into(), json: 2, outputs: 0 };
    Input { encoded, expected: Vec::new(), tokens: 1, requested_output_tokens: None, dialogue: None, listed: None }
}

#[test]
fn a_header_that_http_does_not_allow_is_refused_by_name() {
    let mut trial = Trial::at(([127, 0, 0, 1], 1).into());
    trial.plan.endpoint.headers = vec![header("x-bad", HeaderValue::Secret("a\nb".to_owned()))];
    let codec = Codec::new(&trial.plan.endpoint, false);
    let routes = Routes::find(&trial.plan.endpoint, &trial.plan.transport).unwrap();
    let input = nothing();
    let error = Job::new(Arc::new(trial.plan), codec, vec![input], routes, trial.clock).err().unwrap().to_string();
    assert!(error.starts_with("header `x-bad` cannot be sent: ") && !error.contains("a\nb"), "{error}");
}

#[test]
fn a_job_without_inputs_is_refused() {
    let trial = Trial::at(([127, 0, 0, 1], 1).into());
    let codec = Codec::new(&trial.plan.endpoint, false);
    let routes = Routes::find(&trial.plan.endpoint, &trial.plan.transport).unwrap();
    let error = Job::new(Arc::new(trial.plan), codec, Vec::new(), routes, trial.clock).err().unwrap();
    assert_eq!(error.to_string(), "there is nothing to send");
}

#[test]
fn more_servers_than_a_record_can_tell_apart_are_refused() {
    let at = |port| ([127, 0, 0, 1], port).into();
    let trial = Trial::at(at(1)).and_at(&vec![at(2); 65_535]);
    let codec = Codec::new(&trial.plan.endpoint, false);
    let routes = Routes::find(&trial.plan.endpoint, &trial.plan.transport).unwrap();
    let input = nothing();
    let error = Job::new(Arc::new(trial.plan), codec, vec![input], routes, trial.clock).err().unwrap();
    assert_eq!(error.to_string(), "--url: 65536 servers; give at most 65535");
}
