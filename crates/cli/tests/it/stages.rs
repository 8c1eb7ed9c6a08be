//! Every place at which a request can fail, and everything that can go wrong there, through the real binary: what its records,
//! its summary, its table and its report make of it. (`faults` has what the simulated server can do wrong.)

use crate::context::{Run, TestContext};
use crate::report::comes_out_again;
use crate::script::{Peer, Server, serve, settle, start};
use crate::tls::server_config;
use crate::words::{DONE, LAST_CHUNK, STREAM_HEAD, chunk, document, finish, stream, token};
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use std::time::Duration;

const SMALL: &str = "--streaming --isl 10 --osl 6 -m any --no-probe";

/// What a failed request is: stage and class in the record, both in the table, and the beginning of the message.
#[derive(Clone, Copy)]
struct Expected<'a> {
    stage: &'a str,
    class: &'a str,
    shown: &'a str,
    message: &'a str,
}

const fn expected<'a>(stage: &'a str, class: &'a str, shown: &'a str, message: &'a str) -> Expected<'a> {
    Expected { stage, class, shown, message }
}

fn url(scheme: &str, server: &Server) -> String {
    format!("{scheme}://{}", server.addr())
}

/// A script that does `wrong` on the first connection, and answers well on all others.
fn first_wrong(wrong: impl Fn(&mut Peer) + Send + Sync + 'static) -> impl Fn(&mut Peer) + Send + Sync + 'static {
    move |peer| if peer.number == 0 { wrong(peer) } else { answer_all(peer) }
}

/// Answers whatever is asked, until the client goes.
fn answer_all(peer: &mut Peer) {
    while peer.request().is_some() {
        peer.send(&stream(&["a", " b", " c"]));
    }
}

/// A run of four requests of which the first fails so and the others are well: in the records, in the summary, in the table,
/// and in the report that is made from them again.
#[track_caller]
fn fails_once(context: &TestContext, url: &str, args: &str, expected: Expected<'_>) -> Run {
    let run = context.run(context.command_to(url, &format!("{SMALL} --request-count 4 {args}")));
    let run = run.expect(0);
    fails(context, &run, &[expected], 3);
    run
}

/// These requests failed, one each, and `ok` were well.
#[track_caller]
fn fails(context: &TestContext, run: &Run, expected: &[Expected<'_>], ok: usize) {
    let (records, summary) = (run.records(), run.summary());
    let failed = records.ended("failed");
    assert_eq!((failed.len(), records.ended("ok").len()), (expected.len(), ok), "{failed:?}");
    for Expected { stage, class, shown, message } in expected {
        let found = failed.iter().find(|record| record["stage"] == *stage && record["class"] == *class);
        let record = found.unwrap_or_else(|| panic!("no {class} at {stage} in {failed:?}"));
        let said = record["message"].as_str().unwrap();
        assert!(said.starts_with(message), "{said}");
        assert_eq!(record["sent_ns"].is_null(), ["connect", "tls"].contains(stage), "{record}");
        let entry = json!([1, stage, class, said]);
        let errors = summary["errors"].as_array().unwrap();
        let entries =
            errors.iter().map(|error| json!([error["count"], error["stage"], error["class"], error["sample"]]));
        assert!(entries.collect::<Vec<_>>().contains(&entry), "{errors:?}");
        let sentence = format!("1 x {shown}, after ");
        assert!(run.stdout.contains(&sentence), "`{sentence}` is not in: {}", run.stdout);
    }
    let counts = [&summary["requests"]["ok"], &summary["requests"]["failed"], &summary["requests"]["cut_off"]];
    assert_eq!(counts, [&json!(ok), &json!(expected.len()), &json!(0)]);
    let said = format!("Requests: {ok} ok, {} failed", expected.len());
    assert!(run.stdout.contains(&said), "{}", run.stdout);
    assert_eq!(run.fidelity_row("failed_requests").unwrap()["grade"], "invalid");
    crate::figures::verify(run);
    comes_out_again(context, run);
}

#[test]
fn before_the_first_byte() {
    const LIMIT: &str = "--first-byte-timeout 2s";
    let silent = "the answer's first byte took longer than 2 s";
    type Wrong = fn(&mut Peer);
    let cases: [(&str, Expected<'_>, Wrong); 5] = [
        ("", expected("first_byte", "malformed", "malformed answer (first byte)", "invalid HTTP"), |peer| {
            peer.request();
            peer.send("SSH-2.0-OpenSSH\r\n\r\n");
        }),
        ("", expected("first_byte", "truncated", "truncated answer (first byte)", "connection closed"), |peer| {
            peer.request();
        }),
        ("", expected("first_byte", "reset", "connection reset (first byte)", "Connection reset"), |peer| {
            peer.request();
            peer.reset_at_end();
        }),
        (LIMIT, expected("first_byte", "timeout", "timeout (first byte)", silent), |peer| peer.hang()),
        // A head that does not end is still no answer.
        (LIMIT, expected("first_byte", "timeout", "timeout (first byte)", silent), |peer| {
            peer.request();
            peer.send("HTTP/1.1 200 OK\r\ncontent-");
            peer.hang();
        }),
    ];
    for (args, expected, wrong) in cases {
        let server = serve(first_wrong(wrong));
        let context = TestContext::new();
        let run = fails_once(&context, &url("http", &server), args, expected);
        assert_eq!(run.records().run["connections_opened"], 2, "one for the first request, one for all others");
        assert_eq!(server.accepted(), 2);
    }
}

#[test]
fn in_the_answer() {
    type Wrong = fn(&mut Peer);
    let cases: [(&str, Expected<'_>, u64, Wrong); 7] = [
        ("", expected("body", "empty", "empty answer (body)", "the answer holds no output"), 0, |peer| {
            peer.send(&format!("{STREAM_HEAD}{}{LAST_CHUNK}", chunk(DONE)));
            answer_all(peer);
        }),
        ("", expected("body", "truncated", "truncated answer (body)", "the answer ended without"), 1, |peer| {
            peer.send(&format!("{STREAM_HEAD}{}{LAST_CHUNK}", chunk(&token("a"))));
            answer_all(peer);
        }),
        ("", expected("body", "truncated", "truncated answer (body)", ""), 2, |peer| {
            peer.send(&format!("{STREAM_HEAD}{}{}40\r\ndata: {{", chunk(&token("a")), chunk(&token("b"))));
        }),
        ("", expected("body", "malformed", "malformed answer (body)", ""), 1, |peer| {
            peer.send(&format!("{STREAM_HEAD}{}no length\r\n", chunk(&token("a"))));
            peer.hang();
        }),
        ("", expected("body", "reset", "connection reset (body)", "Connection reset"), 1, |peer| {
            peer.send(&format!("{STREAM_HEAD}{}", chunk(&token("a"))));
            settle();
            peer.reset_at_end();
        }),
        ("", expected("body", "status", "error status (body)", "429: slow down"), 0, |peer| {
            peer.send(&document(429, "application/json", r#"{"error":{"message":"slow down"}}"#));
            answer_all(peer);
        }),
        // The peer is there no more and nobody says so.
        (
            "--idle-timeout 2s",
            expected("body", "timeout", "timeout (body)", "the next piece of the answer took longer than 2 s"),
            1,
            |peer| {
                peer.send(&format!("{STREAM_HEAD}{}", chunk(&token("a"))));
                peer.hang();
            },
        ),
    ];
    for (args, expected, events, wrong) in cases {
        let server = serve(first_wrong(move |peer| {
            peer.request();
            wrong(peer);
        }));
        let context = TestContext::new();
        let run = fails_once(&context, &url("http", &server), args, expected);
        // What had come is kept.
        let records = run.records();
        let kept = records.ended("failed")[0]["at_ns"].as_array().map_or(0, Vec::len);
        assert_eq!(kept as u64, events, "{} {}", expected.stage, expected.class);
    }
}

#[test]
fn an_answer_that_the_model_ended_at_once_is_an_answer_of_length_zero() {
    let server = serve(first_wrong(|peer| {
        peer.request();
        let usage = r#"{"choices":[],"usage":{"prompt_tokens":0,"completion_tokens":1}}"#;
        let events = format!("{}data: {usage}\n\n{DONE}", finish(0, "stop"));
        peer.send(&format!("{STREAM_HEAD}{}{LAST_CHUNK}", chunk(&events)));
        answer_all(peer);
    }));
    let context = TestContext::new();
    let args = format!("{SMALL} --request-count 4 --goodput time_to_first_token:100000");
    let run = context.run(context.command_to(&url("http", &server), &args)).expect(0);
    let summary = run.summary();
    assert_eq!((&summary["requests"]["ok"], &summary["requests"]["failed"]), (&json!(4), &json!(0)));
    assert_eq!(summary["output_sequence_length"]["min"], 0.0);
    let samples = |key: &str| summary["samples"][key]["count"].clone();
    assert_eq!((samples("request_latency"), samples("time_to_first_token")), (json!(4), json!(3)));
    // No template has fewer tokens than none.
    assert!(summary.get("template_tokens").is_none());
    let row = run.fidelity_row("empty_replies").unwrap();
    assert_eq!((&row["grade"], &row["value"]), (&json!("degraded"), &json!("1 of 4 successful requests")));
    crate::figures::verify(&run);
    comes_out_again(&context, &run);
}

#[test]
fn a_server_that_does_not_read_on_is_a_failure_of_sending() {
    let server = serve(|peer| match peer.number {
        // It takes nothing, and keeps the connection.
        0 => std::thread::sleep(Duration::from_secs(100)),
        // It takes a little, and goes.
        1 => {
            peer.glance();
            peer.reset_at_end();
        }
        _ => answer_all(peer),
    });
    let context = TestContext::new();
    // More bytes than the buffers of both sockets hold, so that the request cannot be handed over whole.
    let args = "--streaming -m any --no-probe --isl 2500000 --num-prompts 1 --request-count 4 --first-byte-timeout 5s";
    let run = context.run(context.command_to(&url("http", &server), args)).expect(0);
    let timeout = expected("send", "timeout", "timeout (send)", "the answer's first byte took longer than 5 s");
    fails(&context, &run, &[timeout, expected("send", "reset", "connection reset (send)", "")], 2);
    assert!(run.records().ended("failed").iter().all(|record| record["first_byte_ns"].is_null()));
}

#[test]
fn a_kept_connection_whose_peer_has_vanished_costs_one_request() {
    // It answers one request and then neither answers nor goes: what is left of a machine that lost its power.
    let server = serve(|peer| {
        let mut answered = false;
        while peer.request().is_some() {
            if peer.number == 0 && std::mem::replace(&mut answered, true) {
                return peer.hang();
            }
            peer.send(&stream(&["a", " b", " c"]));
        }
    });
    let context = TestContext::new();
    let silent =
        expected("first_byte", "timeout", "timeout (first byte)", "the answer's first byte took longer than 2 s");
    let run = fails_once(&context, &url("http", &server), "--first-byte-timeout 2s", silent);
    assert_eq!(run.records().ended("failed")[0]["seq"], 1);
    assert_eq!(run.summary()["requests"]["retried"], 0);
    assert_eq!(server.accepted(), 2);
}

#[test]
fn in_tls() {
    type Wrong = fn(&mut Peer);
    let cases: [(Expected<'_>, Wrong); 4] = [
        // Gone in the middle of a stream without the goodbye that TLS asks for.
        (expected("body", "truncated", "truncated answer (body)", ""), |peer| {
            peer.request();
            peer.send(&format!("{STREAM_HEAD}{}", chunk(&token("a"))));
        }),
        (expected("body", "tls", "TLS failure (body)", ""), |peer| {
            peer.request();
            peer.send(&format!("{STREAM_HEAD}{}", chunk(&token("a"))));
            settle();
            peer.garble();
            peer.hang();
        }),
        (expected("first_byte", "tls", "TLS failure (first byte)", ""), |peer| {
            peer.request();
            peer.garble();
            peer.hang();
        }),
        (expected("body", "reset", "connection reset (body)", "Connection reset"), |peer| {
            peer.request();
            peer.send(&format!("{STREAM_HEAD}{}", chunk(&token("a"))));
            settle();
            peer.reset_at_end();
        }),
    ];
    for (expected, wrong) in cases {
        let context = TestContext::new();
        let config = server_config(context.path(), false);
        let server = start(Ipv4Addr::LOCALHOST.into(), Some(config), first_wrong(wrong)).unwrap();
        fails_once(&context, &url("https", &server), "--ca-file ca.pem", expected);
    }
}

#[test]
fn a_certificate_that_we_do_not_have_is_missed_by_the_server() {
    let context = TestContext::new();
    let config = server_config(context.path(), true);
    let server = start(Ipv4Addr::LOCALHOST.into(), Some(config), |peer| assert!(peer.request().is_none())).unwrap();
    let args = format!("{SMALL} --ca-file ca.pem --request-count 3");
    let run = context.run(context.command_to(&url("https", &server), &args)).expect(1);
    // The handshake is over on our side when the server says so, and its end may come before its word is read.
    let (records, known) = (run.records(), ["tls", "reset", "truncated"].map(Value::from));
    let failed = records.ended("failed");
    assert!(failed.iter().all(|failed| known.contains(&failed["class"])), "{failed:?}");
    let said = |failed: &&&Value| failed["message"].as_str().unwrap().contains("CertificateRequired");
    assert!(failed.iter().filter(said).any(|failed| failed["class"] == "tls"), "{failed:?}");
    assert_eq!(run.records().ended("failed").len(), 3);
    assert!(run.stdout.contains("TLS failure ("), "{}", run.stdout);
    crate::figures::verify(&run);
}

#[test]
fn a_handshake_that_is_not_answered() {
    let server = serve(Peer::hang);
    let context = TestContext::new();
    let args = format!("{SMALL} --insecure --request-count 2 --connect-timeout 300ms");
    let run = context.run(context.command_to(&url("https", &server), &args)).expect(1);
    let limit = "opening the connection took longer than 0.3 s";
    assert_eq!(run.records().ended("failed").len(), 2);
    for failed in run.records().ended("failed") {
        assert_eq!((&failed["class"], &failed["message"]), (&json!("timeout"), &json!(limit)), "{failed}");
        assert!(failed["sent_ns"].is_null());
    }
    assert!(run.stdout.contains("2 x timeout (connect), after "), "{}", run.stdout);
    // No time is told for what never was.
    assert!(run.stdout.contains("Requests: 0 ok, 2 failed, 0 cut off, 0 retried\n"), "{}", run.stdout);
    comes_out_again(&context, &run);
}

#[test]
#[cfg(target_os = "linux")]
fn a_connection_that_nobody_takes_and_one_that_cannot_be() {
    let context = TestContext::new();
    let args = format!("{SMALL} --request-count 2 --connect-timeout 300ms");
    // The system itself says no: it opens no connection to everyone.
    let run = context.run(context.command_to("http://255.255.255.255:9", &args)).expect(1);
    assert_eq!(run.records().ended("failed").len(), 2);
    assert!(run.records().ended("failed").iter().all(|failed| failed["stage"] == "connect" && failed["class"] == "io"));
    assert!(run.stdout.contains("2 x I/O error (connect), after "), "{}", run.stdout);
    comes_out_again(&context, &run);

    let Some(queue) = streamgauge_testing::FullQueue::new().unwrap() else {
        println!("skipped: this system takes connections beyond the queue");
        return;
    };
    let run = context.run(context.command_to(&format!("http://{}", queue.addr()), &args)).expect(1);
    assert!(run.stdout.contains("2 x timeout (connect), after "), "{}", run.stdout);
    crate::figures::verify(&run);
    comes_out_again(&context, &run);
}
