//! What becomes of kept connections that end.

use crate::script::{Peer, serve, settle};
use crate::trial::{Trial, failure, now};
use crate::words::{STREAM_HEAD, chunk, document, stream, token};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Barrier, Mutex};
use streamgauge_core::arrival::Arrival;
use streamgauge_core::clock::SystemClock;
use streamgauge_core::plan::{ConnectionPolicy, Target};
use streamgauge_core::record::{FailureClass, Record, Stage};

/// Answers the request that waits on `peer`; false when there is none.
fn answer(peer: &mut Peer) -> bool {
    let came = peer.request().is_some();
    if came {
        peer.send(&stream(&["a", " b"]));
    }
    came
}

/// The script of a server that closes its first connection while that is idle: the second slot's warm-up takes longer.
pub fn close_the_first_while_idle() -> impl Fn(&mut Peer) + Send + Sync + 'static {
    let both_asked = Barrier::new(2);
    move |peer| {
        if peer.number > 1 {
            while answer(peer) {}
            return;
        }
        peer.request().unwrap();
        both_asked.wait();
        if peer.number == 0 {
            peer.send(&stream(&["a", " b"]));
            peer.say_goodbye();
            return;
        }
        settle();
        peer.send(&stream(&["a", " b"]));
        while answer(peer) {}
    }
}

/// Checks a run of two warm-up and two measured requests against [`close_the_first_while_idle`]. The slot whose warm-up request
/// ends first waits for the other one, so its connection is idle for a while.
pub fn was_replaced(trial: Trial) {
    let mut trial = trial.slots(2).warmup(2).requests(2);
    trial.plan.load.warmup.as_mut().unwrap().hands_over = false;
    let ended = trial.run();
    ended.all_ok(2);
    assert!(ended.records().iter().all(|record| record.retries == 0 && record.chunks.len() == 2));
    assert_eq!((ended.facts.connections_opened, ended.facts.connections_replaced), (3, 1));
    let opened: Vec<&Record> = ended.records().into_iter().filter(|record| record.connect.is_some()).collect();
    assert_eq!(opened.len(), 1);
    assert_eq!(opened[0].turnaround, None);
}

#[test]
fn one_that_was_closed_while_idle_is_replaced_before_anything_is_written() {
    let server = serve(close_the_first_while_idle());
    was_replaced(Trial::at(server.addr()));
    assert_eq!(server.accepted(), 3);
}

#[test]
fn a_server_that_announces_the_end_is_taken_at_its_word() {
    let server = serve(|peer| {
        peer.request().unwrap();
        let head = STREAM_HEAD.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n");
        peer.send(&stream(&["a"]).replace(STREAM_HEAD, &head));
        settle();
    });
    let ended = Trial::at(server.addr()).requests(3).run();
    ended.all_ok(3);
    assert_eq!((ended.facts.connections_opened, ended.facts.connections_replaced), (3, 0));
    assert!(ended.records().iter().all(|record| record.retries == 0 && record.turnaround.is_none()));
    assert!(ended.records()[1..].iter().all(|record| record.connect.is_some()));
}

/// Answers one request a connection and leaves the second, once it has been read, by closing or resetting.
fn die_at_the_second(reset: bool) -> impl Fn(&mut Peer) + Send + Sync + 'static {
    move |peer| {
        if answer(peer) && peer.request().is_some() && reset {
            peer.reset_at_end();
        }
    }
}

#[test]
fn a_kept_one_that_dies_before_any_byte_costs_one_retry() {
    for reset in [false, true] {
        let server = serve(die_at_the_second(reset));
        let ended = Trial::at(server.addr()).requests(4).run_as_races();
        ended.all_ok(4);
        let retries: Vec<u8> = ended.records().iter().map(|record| record.retries).collect();
        assert_eq!(retries, [0, 1, 1, 1]);
        assert!(ended.records()[1..].iter().all(|record| record.connect.is_some() && record.turnaround.is_none()));
        assert_eq!((ended.facts.connections_opened, ended.facts.connections_replaced), (4, 0));
        assert_eq!(server.accepted(), 4);
    }
}

#[test]
fn a_kept_one_that_dies_while_the_server_works_is_a_failure() {
    for reset in [false, true] {
        let server = serve(move |peer| {
            if answer(peer) && peer.request().is_some() {
                settle();
                if reset {
                    peer.reset_at_end();
                }
            }
        });
        let ended = Trial::at(server.addr()).requests(5).run();
        let records = ended.records();
        let expected = if reset { FailureClass::Reset } else { FailureClass::Truncated };
        for record in &records {
            assert_eq!(record.retries, 0);
            match record.seq % 2 {
                0 => assert!(record.is_ok()),
                _ => assert_eq!((failure(record).0, failure(record).1), (Stage::FirstByte, expected)),
            }
        }
        assert_eq!(server.accepted(), 3);
    }
}

#[test]
fn latency_counts_from_the_first_time_that_a_request_was_sent() {
    let clock = SystemClock::start();
    let lost = Arc::new(Mutex::new(Vec::new()));
    let noted = lost.clone();
    let server = serve(move |peer| {
        if answer(peer) && peer.request().is_some() {
            settle();
            noted.lock().unwrap().push(now(&clock));
        }
    });
    let ended = Trial::at(server.addr()).clock(clock).requests(3).run_as_races();
    ended.all_ok(3);
    let lost = lost.lock().unwrap();
    for (record, lost) in ended.records()[1..].iter().zip(lost.iter()) {
        assert_eq!(record.retries, 1);
        assert!(record.sent.unwrap() < *lost && *lost <= record.written.unwrap(), "{record:?}");
    }
}

#[test]
fn dying_again_is_a_failure() {
    let server = serve(|peer| match peer.number {
        0 => drop(answer(peer) && peer.request().is_some()),
        1 => drop(peer.request()),
        _ => while answer(peer) {},
    });
    let ended = Trial::at(server.addr()).requests(3).run_as_races();
    let records = ended.records();
    assert!(records[0].is_ok() && records[2].is_ok());
    let (stage, class, _) = failure(records[1]);
    assert_eq!((stage, class, records[1].retries), (Stage::FirstByte, FailureClass::Truncated, 1));
    assert!(records[1].first_byte.is_none() && records[1].status.is_none() && records[1].chunks.is_empty());
    assert_eq!((ended.facts.connections_opened, server.accepted()), (3, 3));
}

#[test]
fn a_first_use_that_dies_is_a_failure_at_once() {
    for reset in [false, true] {
        let server = serve(move |peer| match peer.number {
            0 => {
                peer.request().unwrap();
                if reset {
                    peer.reset_at_end();
                }
            }
            _ => while answer(peer) {},
        });
        let ended = Trial::at(server.addr()).requests(2).run();
        let records = ended.records();
        let expected = if reset { FailureClass::Reset } else { FailureClass::Truncated };
        let (stage, class, message) = failure(records[0]);
        assert_eq!((stage, class, records[0].retries), (Stage::FirstByte, expected, 0), "{message}");
        assert!(records[0].sent.is_some() && records[1].is_ok() && records[1].connect.is_some());
        assert_eq!((ended.facts.connections_opened, ended.facts.connections_replaced), (2, 0));
    }
}

#[test]
fn a_kept_one_that_dies_after_a_byte_is_never_retried() {
    let beginnings = ["H".to_owned(), STREAM_HEAD.to_owned(), format!("{STREAM_HEAD}{}", chunk(&token("x")))];
    for (beginning, stage) in beginnings.into_iter().zip([Stage::FirstByte, Stage::Body, Stage::Body]) {
        let server = serve(move |peer| match peer.number {
            0 => {
                answer(peer);
                peer.request().unwrap();
                peer.send(&beginning);
            }
            _ => while answer(peer) {},
        });
        let ended = Trial::at(server.addr()).requests(3).run();
        let records = ended.records();
        assert!(records[0].is_ok() && records[2].is_ok());
        let (at, class, message) = failure(records[1]);
        assert_eq!((at, class, records[1].retries), (stage, FailureClass::Truncated, 0), "{message}");
        assert!(records[1].first_byte.is_some());
        assert_eq!(server.accepted(), 2);
    }
}

#[test]
fn a_name_with_an_address_where_nobody_listens_is_no_obstacle() {
    // Where the machine gives this name an IPv6 address too, that one refuses.
    let server = serve(|peer| while answer(peer) {});
    let target = Target { tls: false, host: "localhost".to_owned(), port: server.addr().port() };
    let ended = Trial::to(target).slots(2).requests(6).run();
    ended.all_ok(6);
    assert_eq!(ended.facts.connections_opened, 2);
}

#[test]
fn ipv6_is_an_address_like_any_other() {
    let heads = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = heads.clone();
    let script = move |peer: &mut Peer| {
        while let Some(request) = peer.request() {
            seen.lock().unwrap().push(request.head);
            peer.send(&stream(&["a"]));
        }
    };
    let Ok(server) = crate::script::start(std::net::Ipv6Addr::LOCALHOST.into(), None, script) else {
        println!("skipped: this machine has no IPv6");
        return;
    };
    Trial::at(server.addr()).requests(2).run().all_ok(2);
    let host = format!("host: [::1]:{}\r\n", server.addr().port());
    assert!(heads.lock().unwrap().iter().all(|head| head.contains(&host)));
}

#[test]
fn bytes_that_nobody_asked_for_end_a_kept_connection_and_nothing_else() {
    // As servers do that say 408 to an idle client before they close.
    let both_asked = Barrier::new(2);
    let server = serve(move |peer| {
        if peer.number > 1 {
            while answer(peer) {}
            return;
        }
        peer.request().unwrap();
        both_asked.wait();
        if peer.number == 1 {
            settle();
        }
        peer.send(&stream(&["a", " b"]));
        if peer.number == 0 {
            std::thread::sleep(std::time::Duration::from_millis(20));
            peer.send(&document(408, "text/plain", "too slow"));
        } else {
            while answer(peer) {}
        }
    });
    was_replaced(Trial::at(server.addr()));
}

/// What a connection had: its number, its answered requests, and whether the client left it in order.
pub type Had = (usize, usize, bool);

/// The script of a server that answers `most` requests a connection, and what it tells of each.
pub fn counting(most: usize) -> (impl Fn(&mut Peer) + Send + Sync + 'static, Receiver<Had>) {
    let (tell, told) = channel();
    let script = move |peer: &mut Peer| {
        let answered = (0..most).take_while(|_| answer(peer)).count();
        // The client may have gone before the last of them.
        let in_order = answered < most || peer.is_left_in_order();
        let _ = tell.send((peer.number, answered, in_order));
    };
    (script, told)
}

/// What each connection had, in the order in which they were opened.
pub fn counts(told: &Receiver<Had>, connections: usize) -> Vec<usize> {
    let mut all: Vec<_> = told.iter().take(connections).collect();
    all.sort_unstable();
    assert!(all.iter().all(|(_, _, in_order)| *in_order), "{all:?}");
    all.into_iter().map(|(_, answered, _)| answered).collect()
}

#[test]
fn a_new_one_for_each_request_is_opened_before_it_is_sent_and_closed_after_it() {
    let (script, told) = counting(1);
    let server = serve(script);
    let ended = Trial::at(server.addr()).connections(ConnectionPolicy::New).requests(5).run();
    ended.all_ok(5);
    assert_eq!((ended.facts.connections_opened, ended.facts.connections_replaced), (5, 0));
    assert_eq!(counts(&told, 5), [1; 5]);
    // The first was opened ahead of load.
    let opened: Vec<bool> = ended.records().iter().map(|record| record.connect.is_some()).collect();
    assert_eq!(opened, [false, true, true, true, true]);
    assert!(ended.records().iter().all(|record| record.turnaround.is_none() && record.retries == 0));
    assert_eq!(server.accepted(), 5);
}

#[test]
fn a_rotated_one_is_closed_after_its_requests() {
    let (script, told) = counting(3);
    let server = serve(script);
    let ended = Trial::at(server.addr()).connections(ConnectionPolicy::Rotate(3)).requests(7).run();
    ended.all_ok(7);
    assert_eq!((ended.facts.connections_opened, ended.facts.connections_replaced), (3, 0));
    assert_eq!(counts(&told, 3), [3, 3, 1]);
    let opened: Vec<u64> =
        ended.records().iter().filter(|record| record.connect.is_some()).map(|record| record.seq).collect();
    assert_eq!(opened, [3, 6]);
    let kept: Vec<u64> =
        ended.records().iter().filter(|record| record.turnaround.is_some()).map(|record| record.seq).collect();
    assert_eq!(kept, [1, 2, 4, 5]);
}

#[test]
fn one_that_the_server_ends_first_is_not_used_until_it_is_spent() {
    let server = serve(|peer| {
        peer.request().unwrap();
        let head = STREAM_HEAD.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n");
        peer.send(&stream(&["a"]).replace(STREAM_HEAD, &head));
    });
    let ended = Trial::at(server.addr()).connections(ConnectionPolicy::Rotate(3)).requests(3).run();
    ended.all_ok(3);
    assert_eq!((ended.facts.connections_opened, ended.facts.connections_replaced), (3, 0));
}

#[test]
fn in_an_open_loop_opening_is_part_of_the_time_from_due() {
    let (script, told) = counting(1);
    let server = serve(script);
    let trial = Trial::at(server.addr()).rate(500.0, Arrival::Constant, Some(1));
    let ended = trial.connections(ConnectionPolicy::New).requests(6).run();
    ended.all_ok(6);
    assert_eq!(counts(&told, 6), [1; 6]);
    for record in &ended.records()[1..] {
        let (due, connect, sent) = (record.due.unwrap(), record.connect.unwrap(), record.sent.unwrap());
        assert!(due + connect <= sent, "{record:?}");
    }
}

#[test]
fn a_new_one_that_dies_under_its_request_is_a_failure() {
    let server = serve(|peer| {
        let came = if peer.number == 1 { peer.request().is_some() } else { answer(peer) && peer.is_left_in_order() };
        assert!(came);
    });
    let ended = Trial::at(server.addr()).connections(ConnectionPolicy::New).requests(3).run();
    let records = ended.records();
    assert!(records[0].is_ok() && records[2].is_ok());
    assert_eq!((failure(records[1]).0, records[1].retries), (Stage::FirstByte, 0));
    assert_eq!((ended.facts.connections_opened, server.accepted()), (3, 3));
}
