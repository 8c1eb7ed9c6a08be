//! Time-outs: each limit ends what it is a limit of, and says so.

use crate::script::{Peer, serve, settle};
use crate::trial::{Trial, failure};
use crate::words::{STREAM_HEAD, chunk, stream, token};
use std::time::Duration;
use streamgauge_core::clock::Nanos;
use streamgauge_core::plan::{ExportLevel, Trust};
use streamgauge_core::record::{FailureClass, Outcome, Record, Stage};

/// A limit for requests that never get an answer.
const SHORT: Nanos = Nanos::from_millis(200);
/// A limit that is also one of requests that are answered at once, which may take a while on a busy machine.
const LONG: Nanos = Nanos::from_millis(2_000);

/// The record is a time-out at `stage` with this message, not before the limit.
fn ran_out(record: &Record, limit: Nanos, stage: Stage, message: &str) {
    assert_eq!(failure(record), (stage, FailureClass::Timeout, message));
    assert!(record.end >= record.issued + limit, "{record:?}");
}

/// Does `wrong` on the first connection, answers on all others.
fn first_wrong(wrong: impl Fn(&mut Peer) + Send + Sync + 'static) -> impl Fn(&mut Peer) + Send + Sync + 'static {
    move |peer| {
        while peer.request().is_some() {
            if peer.number == 0 { wrong(peer) } else { peer.send(&stream(&["a"])) }
        }
    }
}

#[test]
fn an_answer_that_does_not_begin() {
    let server = serve(first_wrong(Peer::hang));
    let ended = Trial::at(server.addr()).requests(2).timeouts(|limits| limits.first_byte = LONG).run();
    let records = ended.records();
    ran_out(records[0], LONG, Stage::FirstByte, "the answer's first byte took longer than 2 s");
    assert!(records[0].sent.is_some() && records[0].first_byte.is_none());
    assert!(records[1].is_ok() && records[1].connect.is_some());
    assert_eq!(ended.facts.connections_replaced, 0);
}

#[test]
fn a_stream_that_stops() {
    let server = serve(first_wrong(|peer| {
        peer.send(&format!("{STREAM_HEAD}{}", chunk(&token("a"))));
        settle();
        peer.send(&chunk(&token("b")));
        peer.hang();
    }));
    let ended = Trial::at(server.addr()).requests(2).timeouts(|limits| limits.idle = LONG).run();
    let records = ended.records();
    ran_out(records[0], LONG, Stage::Body, "the next piece of the answer took longer than 2 s");
    assert_eq!((records[0].status, records[0].chunks.len()), (Some(200), 2));
    assert!(records[0].end >= records[0].chunks[1].at + LONG);
    assert!(records[1].is_ok());
}

#[test]
fn a_request_that_never_ends() {
    let server = serve(first_wrong(|peer| {
        peer.send(STREAM_HEAD);
        for _ in 0..200 {
            peer.send(&chunk(&token("a")));
            std::thread::sleep(Duration::from_millis(50));
        }
    }));
    let ended = Trial::at(server.addr()).requests(2).timeouts(|limits| limits.total = LONG).run();
    let records = ended.records();
    ran_out(records[0], LONG, Stage::Body, "the request took longer than 2 s");
    assert!(records[0].chunks.len() >= 2);
    assert!(records[1].is_ok());
}

#[test]
fn a_total_limit_before_the_first_byte() {
    let server = serve(first_wrong(Peer::hang));
    let ended = Trial::at(server.addr()).requests(2).timeouts(|limits| limits.total = LONG).run();
    let records = ended.records();
    ran_out(records[0], LONG, Stage::FirstByte, "the request took longer than 2 s");
    assert!(records[1].is_ok());
}

#[test]
fn a_handshake_that_does_not_end() {
    // TCP connects, TLS is never answered.
    let server = serve(Peer::hang);
    let trial = Trial::to(server.https("localhost")).trust(Trust::Insecure).timeouts(|limits| limits.connect = SHORT);
    let ended = trial.run();
    ran_out(&ended.only().record, SHORT, Stage::Connect, "opening the connection took longer than 0.2 s");
    assert!(ended.only().record.connect.unwrap() >= SHORT && ended.only().record.sent.is_none());
    assert_eq!(ended.facts.connections_opened, 0);
}

#[test]
#[cfg(target_os = "linux")]
fn a_connection_that_nobody_takes() {
    let Some(queue) = streamgauge_testing::FullQueue::new().unwrap() else {
        println!("skipped: this system takes connections beyond the queue");
        return;
    };
    let ended = Trial::at(queue.addr()).timeouts(|limits| limits.connect = SHORT).run();
    ran_out(&ended.only().record, SHORT, Stage::Connect, "opening the connection took longer than 0.2 s");
}

#[test]
fn a_slow_answer_within_its_limits_is_no_failure() {
    // Every pause is longer than the pauses before the last limit was armed, and shorter than the limit.
    let server = serve(|peer| {
        while peer.request().is_some() {
            std::thread::sleep(Duration::from_millis(120));
            peer.send(STREAM_HEAD);
            for _ in 0..4 {
                std::thread::sleep(Duration::from_millis(60));
                peer.send(&chunk(&token("a")));
            }
            peer.send(&stream(&["b"])[STREAM_HEAD.len()..]);
        }
    });
    let trial = Trial::at(server.addr()).requests(3).timeouts(|limits| {
        (limits.first_byte, limits.idle) = (Nanos::from_millis(30_000), Nanos::from_millis(5_000));
    });
    let ended = trial.run();
    ended.all_ok(3);
    assert!(ended.records().iter().all(|record| record.chunks.len() == 5));
}

#[test]
fn a_limit_ends_a_request_under_any_flood() {
    let beginnings = [
        ("", "HTTP/1.1 100 Continue\r\n\r\n".to_owned()),
        (STREAM_HEAD, chunk(": still here\n\n")),
        (STREAM_HEAD, chunk(&token("a"))),
    ];
    for (beginning, flood) in beginnings {
        let begins = !beginning.is_empty();
        let server = serve(first_wrong(move |peer| {
            peer.send(beginning);
            peer.flood(&flood);
        }));
        let ended = Trial::at(server.addr())
            .requests(2)
            .timeouts(|limits| if begins { limits.total = SHORT } else { limits.first_byte = SHORT })
            .run();
        let records = ended.records();
        match begins {
            true => ran_out(records[0], SHORT, Stage::Body, "the request took longer than 0.2 s"),
            false => ran_out(records[0], SHORT, Stage::FirstByte, "the answer's first byte took longer than 0.2 s"),
        }
    }
}

#[test]
fn the_end_of_a_run_comes_under_a_flood_too() {
    let server = serve(|peer| {
        peer.request().unwrap();
        peer.send(STREAM_HEAD);
        peer.flood(&chunk(&token("a")));
    });
    let ended = Trial::at(server.addr()).duration(SHORT).grace(SHORT).run();
    assert_eq!(ended.only().record.outcome, Outcome::CutOff);
}

#[test]
fn an_answer_of_any_kind_has_a_longest_length() {
    for text in [token("a"), ": still here\n\n".to_owned()] {
        let server = serve(move |peer| {
            peer.request().unwrap();
            peer.send(STREAM_HEAD);
            peer.flood(&chunk(&text));
        });
        for export in [ExportLevel::Records, ExportLevel::Raw] {
            let trial = Trial::at(server.addr()).export(export).requests(1);
            let ended = trial.run_job(|job| job.with_longest_reply(1 << 20));
            let only = ended.only();
            let said = (Stage::Body, FailureClass::Malformed, "the answer is longer than 1 MiB");
            assert_eq!(failure(&only.record), said);
            assert!(only.received.texts.is_empty() && only.received.raw.is_empty() && only.record.bytes < 2 << 20);
        }
    }
}
