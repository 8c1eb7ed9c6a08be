//! Failures: each has its stage, class and message, and none of them ends the run.

use crate::script::{Peer, nobody, serve};
use crate::trial::{Ended, Trial, failure};
use crate::truth::{quick, sim};
use crate::words::{DONE, LAST_CHUNK, STREAM_HEAD, chunk, document, finish, prompt, stream, token};
use streamgauge_core::clock::Nanos;
use streamgauge_core::plan::Target;
use streamgauge_core::plan::{Header, HeaderValue};
use streamgauge_core::prompt::Content;
use streamgauge_core::record::{FailureClass, Record, Stage, Unreadable};

const EVENTS: &str = "text/event-stream";
const JSON: &str = "application/json";

/// One request that is answered by `wrong`, on a connection that then ends, and one that is answered well.
fn spoilt(streaming: bool, wrong: impl Fn(&mut Peer) + Send + Sync + 'static) -> Ended {
    let good = r#"{"choices":[{"index":0,"message":{"content":"a"},"finish_reason":"stop"}]}"#;
    let server = serve(move |peer| {
        while peer.request().is_some() {
            match (peer.number, streaming) {
                (0, _) => return wrong(peer),
                (_, true) => peer.send(&stream(&["a"])),
                (_, false) => peer.send(&document(200, JSON, good)),
            }
        }
    });
    let ended = Trial::at(server.addr()).streaming(streaming).requests(2).run();
    assert_eq!(ended.finished.len(), 2);
    assert!(ended.records()[1].is_ok(), "{:?}", ended.records()[1]);
    ended
}

/// The record of the one request of a run in which every request is answered so, on a connection that stays.
fn answered(streaming: bool, answer: String) -> Record {
    let server = serve(move |peer| {
        while peer.request().is_some() {
            peer.send(&answer);
        }
    });
    Trial::at(server.addr()).streaming(streaming).run().only().record.clone()
}

fn first(ended: &Ended) -> (Stage, FailureClass, &str) {
    failure(ended.records()[0])
}

/// The body of a stream after its head.
fn body(text: &str) -> String {
    format!("{STREAM_HEAD}{}{LAST_CHUNK}", chunk(text))
}

#[test]
fn nobody_listens() {
    let (_kept, addr) = nobody();
    let ended = Trial::at(addr).requests(3).run();
    let records = ended.records();
    assert_eq!(records.len(), 3);
    for record in &records {
        let (stage, class, message) = failure(record);
        assert_eq!((stage, class), (Stage::Connect, FailureClass::Refused));
        assert!(message.contains("refused"), "{message}");
        assert!(record.connect.is_some() && record.sent.is_none() && record.turnaround.is_none());
        assert!(record.end >= record.issued + record.connect.unwrap());
    }
    for pair in records.windows(2) {
        assert!(pair[1].issued >= pair[0].end + Nanos::from_millis(100), "no pause after a refusal");
    }
    assert_eq!((ended.facts.connections_opened, ended.facts.connections_replaced), (0, 0));
}

#[test]
fn a_name_that_is_none() {
    let target = Target { tls: false, host: "no such host.invalid".to_owned(), port: 80 };
    let failure = Trial::to(target).routes().err().unwrap().failure;
    assert_eq!((failure.stage, failure.class), (Stage::Dns, FailureClass::Unresolved));
}

#[test]
fn an_error_status_brings_the_servers_message() {
    for (status, text, message) in [
        (400, r#"{"error":{"message":"too long"}}"#, "400: too long"),
        (404, r#"{"detail":"Not Found"}"#, "404: Not Found"),
        (422, r#"{"detail":[{"loc":["body","n"],"msg":"bad"}]}"#, "422: body.n: bad"),
        (503, "busy", "503: busy"),
        (500, "", "500: no message"),
        (302, "", "302: no message"),
    ] {
        let ended = spoilt(true, move |peer| peer.send(&document(status, JSON, text)));
        assert_eq!(first(&ended), (Stage::Body, FailureClass::Status, message));
        let record = ended.records()[0];
        assert_eq!((record.status, record.bytes, record.chunks.len()), (Some(status), text.len() as u64, 0));
        assert!(record.first_byte.is_some() && record.first_event.is_none());
    }
}

#[test]
fn an_error_status_keeps_the_connection() {
    let sim = sim(quick(), &["status=429:every=2"]);
    let ended = Trial::at(sim.addr()).requests(6).run();
    for record in ended.records() {
        match record.seq % 2 {
            0 => assert!(record.is_ok()),
            _ => assert_eq!(failure(record), (Stage::Body, FailureClass::Status, "429: simulated fault: status 429")),
        }
        assert!(record.connect.is_none());
    }
    assert_eq!((ended.facts.connections_opened, ended.facts.ended_early), (1, None));
}

#[test]
fn a_long_error_is_clipped() {
    let ended = spoilt(true, |peer| peer.send(&document(500, "text/html", &"x".repeat(200_000))));
    let (_, class, message) = first(&ended);
    assert_eq!((class, ended.records()[0].bytes), (FailureClass::Status, 200_000));
    assert!(message.chars().count() <= 310, "{}", message.len());
}

#[test]
fn an_error_inside_an_answer() {
    let error = "data: {\"error\":{\"message\":\"out of memory\",\"code\":500}}\n\n";
    let ended = spoilt(true, move |peer| peer.send(&body(&format!("{}{error}{DONE}", token("a")))));
    assert_eq!(first(&ended), (Stage::Body, FailureClass::InBand, "out of memory"));
    let record = ended.records()[0];
    assert_eq!((record.status, record.chunks.len()), (Some(200), 1));
    let ended = spoilt(false, |peer| peer.send(&document(200, JSON, r#"{"error":{"message":"no"}}"#)));
    assert_eq!(first(&ended), (Stage::Body, FailureClass::InBand, "no"));
}

#[test]
fn a_stream_cut_in_its_framing() {
    let beginnings =
        [chunk(&token("a")), format!("{}40\r\ndata: {{", chunk(&token("a"))), format!("{}4", chunk(&token("a")))];
    for beginning in beginnings {
        let ended = spoilt(true, move |peer| peer.send(&format!("{STREAM_HEAD}{beginning}")));
        let (stage, class, message) = first(&ended);
        assert_eq!((stage, class), (Stage::Body, FailureClass::Truncated), "{message}");
        assert_eq!(ended.records()[0].chunks.len(), 1);
    }
    let ended = spoilt(false, |peer| {
        peer.send("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{\"choices\"");
    });
    let (stage, class, message) = first(&ended);
    assert_eq!((stage, class), (Stage::Body, FailureClass::Truncated), "{message}");
}

#[test]
fn a_reset_in_the_middle() {
    let ended = spoilt(true, |peer| {
        peer.send(&format!("{STREAM_HEAD}{}", chunk(&token("a"))));
        crate::script::settle();
        peer.reset_at_end();
    });
    let (stage, class, message) = first(&ended);
    assert_eq!((stage, class), (Stage::Body, FailureClass::Reset), "{message}");
    let record = ended.records()[0];
    assert_eq!((record.chunks.len(), record.status, record.retries), (1, Some(200), 0));
}

#[test]
fn a_request_that_was_not_taken_whole() {
    let server = serve(|peer| match peer.number {
        0 => {
            peer.glance();
            peer.reset_at_end();
        }
        _ => {
            while peer.request().is_some() {
                peer.send(&stream(&["a"]));
            }
        }
    });
    let mut long = prompt(5);
    // More bytes than the buffers of both sockets hold.
    long.content = Content::Texts(vec!["word ".repeat(4_000_000)]);
    let ended = Trial::at(server.addr()).prompts(vec![long]).requests(2).run();
    let (stage, class, message) = first(&ended);
    assert_eq!((stage, class), (Stage::Send, FailureClass::Reset), "{message}");
    assert!(ended.records()[0].sent.is_some() && ended.records()[1].is_ok());
}

#[test]
fn bytes_that_are_no_answer() {
    // Nothing of the answer can be read.
    for wrong in [format!("data: {{\"choices\":[oops\n\n{DONE}"), format!("data: <html>\n\n{DONE}")] {
        let ended = spoilt(true, move |peer| peer.send(&body(&wrong)));
        let (stage, class, message) = first(&ended);
        assert_eq!((stage, class, ended.records()[0].chunks.len()), (Stage::Body, FailureClass::Malformed, 0));
        assert!(message.starts_with("not a chat chunk: "), "{message}");
    }
    // Something can, but the answer does not end.
    let ended = spoilt(true, |peer| peer.send(&body(&format!("{}data: {{\"choices\":[oops\n\n", token("a")))));
    let (stage, class, _) = first(&ended);
    assert_eq!((stage, class, ended.records()[0].chunks.len()), (Stage::Body, FailureClass::Truncated, 1));
    let ended = spoilt(false, |peer| peer.send(&document(200, "text/html", "<html>")));
    let (_, class, message) = first(&ended);
    assert_eq!(class, FailureClass::Malformed);
    assert!(message.starts_with("not a chat answer: "), "{message}");
    let ended = spoilt(false, |peer| peer.send(&document(200, JSON, "")));
    assert_eq!(first(&ended), (Stage::Body, FailureClass::Malformed, "the answer is empty"));
}

#[test]
fn a_part_that_cannot_be_read_costs_itself_and_is_counted() {
    let odd = [
        ("data: {\"choices\":[oops\n\n", Unreadable { output: 1, other: 0 }),
        ("data: <html>\n\n", Unreadable { output: 0, other: 1 }),
        ("data: {\"choices\":[],\"usage\":{\"completion_tokens\":-3}}\n\n", Unreadable { output: 0, other: 1 }),
        ("data: null\n\n", Unreadable::default()),
    ];
    for (part, unreadable) in odd {
        let text = format!("{}{part}{}{}{DONE}", token("a"), token("b"), finish(0, "stop"));
        let record = answered(true, body(&text));
        assert_eq!((record.is_ok(), record.chunks.len(), record.unreadable), (true, 2, unreadable), "{part}");
        assert_eq!(record.usage, None);
    }
}

#[test]
fn bytes_that_are_no_http() {
    let ended = spoilt(true, |peer| peer.send("SSH-2.0-OpenSSH\r\n\r\n"));
    let (stage, class, message) = first(&ended);
    assert_eq!((stage, class), (Stage::FirstByte, FailureClass::Malformed), "{message}");
    let ended = spoilt(true, |peer| peer.send(&format!("{STREAM_HEAD}{}oops\r\n", chunk(&token("a")))));
    let (stage, class, message) = first(&ended);
    assert_eq!((stage, class), (Stage::Body, FailureClass::Malformed), "{message}");
}

#[test]
fn an_answer_without_output() {
    let usage = |count: u32| format!("data: {{\"choices\":[],\"usage\":{{\"completion_tokens\":{count}}}}}\n\n");
    let none = "the answer holds no output";
    let texts = [
        (DONE.to_owned(), String::new()),
        (format!("{}{DONE}", token("")), String::new()),
        (format!("{}{DONE}", finish(0, "content_filter")), " (finish reason `content_filter`)".to_owned()),
        (format!("{}{DONE}", finish(0, "length")), " (finish reason `length`)".to_owned()),
        // What the server made and did not show is missing.
        (
            format!("{}{}{DONE}", finish(0, "stop"), usage(64)),
            " (finish reason `stop`, 64 tokens by the server's count)".to_owned(),
        ),
    ];
    for (text, more) in texts {
        let ended = spoilt(true, move |peer| peer.send(&body(&text)));
        assert_eq!(first(&ended), (Stage::Body, FailureClass::Empty, &*format!("{none}{more}")));
        assert!(ended.records()[0].first_event.is_some());
    }
    let empty = r#"{"choices":[{"index":0,"message":{"content":""}}]}"#;
    let ended = spoilt(false, |peer| peer.send(&document(200, JSON, empty)));
    assert_eq!(first(&ended), (Stage::Body, FailureClass::Empty, none));
}

#[test]
fn an_answer_that_the_model_ended_at_once_has_length_zero() {
    let usage = |count: u32| format!("data: {{\"choices\":[],\"usage\":{{\"completion_tokens\":{count}}}}}\n\n");
    for text in [
        format!("{}{DONE}", finish(0, "stop")),
        format!("{}{}{}", token(""), finish(0, "eos_token"), usage(0)),
        format!("{}{}{DONE}", finish(0, "STOP"), usage(1)),
        // The only token shows no text.
        format!("{}{}{DONE}", finish(0, "length"), usage(1)),
    ] {
        let record = answered(true, body(&text));
        assert!(record.is_empty_reply(), "{record:?}");
    }
    let empty = r#"{"choices":[{"index":0,"message":{"content":null},"finish_reason":"stop"}]}"#;
    assert!(answered(false, document(200, JSON, empty)).is_empty_reply());
}

#[test]
fn a_stream_that_ends_without_saying_so() {
    let missing = "the answer ended without a finish reason or [DONE]";
    let ended = spoilt(true, |peer| peer.send(&body(&token("a"))));
    assert_eq!(first(&ended), (Stage::Body, FailureClass::Truncated, missing));
    assert_eq!(ended.records()[0].chunks.len(), 1);
    let ended = spoilt(true, |peer| peer.send(&document(200, EVENTS, "")));
    assert_eq!(first(&ended), (Stage::Body, FailureClass::Truncated, missing));
}

#[test]
fn a_whole_answer_needs_no_finish_reason() {
    let server = serve(|peer| {
        while peer.request().is_some() {
            peer.send(&document(200, JSON, r#"{"choices":[{"index":0,"message":{"content":"a"}}]}"#));
        }
    });
    Trial::at(server.addr()).streaming(false).requests(2).run().all_ok(2);
}

#[test]
fn a_secret_that_the_server_repeats_is_not_kept() {
    let ended =
        spoilt(false, |peer| peer.send(&document(401, JSON, r#"{"error":{"message":"bad key sk-hush, sk-hush!"}}"#)));
    assert_eq!(first(&ended).2, "401: bad key sk-hush, sk-hush!");
    let server = serve(|peer| {
        while peer.request().is_some() {
            peer.send(&document(401, JSON, r#"{"error":{"message":"bad key sk-hush, sk-hush!"}}"#));
        }
    });
    let mut trial = Trial::at(server.addr()).requests(1);
    let value = HeaderValue::Secret("Bearer sk-hush".to_owned());
    trial.plan.endpoint.headers = vec![Header { name: "Authorization".to_owned(), value }];
    assert_eq!(first(&trial.run()).2, "401: bad key <hidden>, <hidden>!");
}

#[test]
fn either_a_finish_reason_or_done_is_an_end() {
    // A byte order mark first, and no blank line after the last event: some servers do both.
    let with_reason = format!("\u{feff}{}{}", token("a"), finish(0, "stop").trim_end());
    for text in [with_reason, format!("{}{DONE}", token("a"))] {
        let server = serve(move |peer| {
            while peer.request().is_some() {
                peer.send(&body(&text));
            }
        });
        let ended = Trial::at(server.addr()).requests(2).run();
        ended.all_ok(2);
        assert!(ended.records().iter().all(|record| record.chunks.len() == 1));
        assert_eq!(ended.facts.connections_opened, 1);
    }
}

#[test]
fn an_answer_that_ends_with_its_connection() {
    let server = serve(|peer| {
        peer.request().unwrap();
        let events = format!("{}{}{DONE}", token("a"), finish(0, "stop"));
        peer.send(&format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n{events}"));
    });
    let ended = Trial::at(server.addr()).requests(3).run();
    ended.all_ok(3);
    assert_eq!((ended.facts.connections_opened, ended.facts.connections_replaced), (3, 0));
}

#[test]
fn the_simulated_servers_faults_are_told_apart() {
    for (fault, stage, class, connections) in [
        ("truncate", Stage::Body, FailureClass::Truncated, 3),
        ("error-event", Stage::Body, FailureClass::InBand, 3),
        ("reset-stream", Stage::Body, FailureClass::Reset, 3),
        ("status=500", Stage::Body, FailureClass::Status, 1),
    ] {
        let sim = sim(quick(), &[&format!("{fault}:every=2")]);
        let ended = Trial::at(sim.addr()).requests(5).run();
        for record in ended.records() {
            match record.seq % 2 {
                0 => assert!(record.is_ok(), "{fault}: {record:?}"),
                _ => {
                    let (at, what, message) = failure(record);
                    assert_eq!((at, what), (stage, class), "{fault}: {message}");
                }
            }
        }
        assert_eq!(ended.facts.connections_opened, connections, "{fault}");
        assert!(ended.records().iter().all(|record| record.retries == 0));
    }
}

#[test]
fn the_simulated_servers_broken_chunk_costs_a_stream_nothing_and_a_whole_answer_all() {
    for streaming in [true, false] {
        let sim = sim(quick(), &["malformed:every=2"]);
        let ended = Trial::at(sim.addr()).streaming(streaming).requests(4).run();
        for record in ended.records() {
            match (record.seq % 2, streaming) {
                (0, _) => assert!(record.is_ok() && record.unreadable.is_none(), "{record:?}"),
                (_, true) => assert!(record.is_ok() && record.unreadable.output == 1, "{record:?}"),
                (_, false) => assert_eq!(failure(record).1, FailureClass::Malformed),
            }
        }
    }
}
