//! Several servers: who gets which request, and what becomes of the others when one does not answer.

use crate::script::{Peer, Server, nobody, serve, settle};
use crate::trial::{Trial, failure};
use crate::words::stream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use streamgauge_core::EarlyEnd;
use streamgauge_core::arrival::Arrival;
use streamgauge_core::clock::Nanos;
use streamgauge_core::plan::{Balance, ConnectionPolicy};
use streamgauge_core::record::{FailureClass, Record, Stage};

fn answer(peer: &mut Peer) {
    peer.send(&stream(&["a", " b"]));
}

/// A server that answers everything, and the heads of the requests it got.
fn talker() -> (Server, Arc<Mutex<Vec<String>>>) {
    let heads = Arc::<Mutex<Vec<String>>>::default();
    let seen = heads.clone();
    let server = serve(move |peer| {
        while let Some(request) = peer.request() {
            seen.lock().unwrap().push(request.head);
            answer(peer);
        }
    });
    (server, heads)
}

/// Waits until `count` has come to `least`.
fn wait_for(count: &AtomicUsize, least: usize) {
    while count.load(Ordering::SeqCst) < least {
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn targets(records: &[&Record]) -> Vec<u16> {
    records.iter().map(|record| record.target).collect()
}

#[test]
fn in_turn_each_server_gets_every_third_request_by_its_own_name() {
    let servers = [talker(), talker(), talker()];
    let [first, second, third] = [0, 1, 2].map(|index: usize| servers[index].0.addr());
    let ended = Trial::at(first).and_at(&[second, third]).slots(2).threads(2).requests(12).warmup(4).run();
    ended.all_ok(12);
    assert_eq!(targets(&ended.records()), [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2]);
    assert_eq!(ended.warmup.iter().map(|finished| finished.record.target).collect::<Vec<_>>(), [0, 1, 2, 0]);
    for ((server, heads), all) in servers.iter().zip([6, 5, 5]) {
        let heads = heads.lock().unwrap();
        let host = format!("host: {}\r\n", server.addr());
        assert_eq!((heads.len(), heads.iter().filter(|head| head.contains(&host)).count()), (all, all));
        // Opened ahead by each slot.
        assert_eq!(server.accepted(), 2);
    }
    assert_eq!(ended.facts.connections_opened, 6);
    assert!(ended.records().iter().all(|record| record.connect.is_none()));
}

#[test]
fn each_server_has_connections_of_its_own_to_rotate() {
    let (one, other) = (talker().0, talker().0);
    let trial = Trial::at(one.addr()).and_at(&[other.addr()]).connections(ConnectionPolicy::Rotate(2));
    let ended = trial.requests(9).run();
    ended.all_ok(9);
    // Five requests and four.
    assert_eq!((one.accepted(), other.accepted(), ended.facts.connections_opened), (3, 2, 5));
}

#[test]
fn the_least_busy_server_gets_all_that_a_stalled_one_would_have_had() {
    let served = Arc::new(AtomicUsize::new(0));
    let (count, seen) = (served.clone(), served.clone());
    let stalled = serve(move |peer| {
        while peer.request().is_some() {
            wait_for(&seen, 19);
            answer(peer);
        }
    });
    let quick = serve(move |peer| {
        while peer.request().is_some() {
            count.fetch_add(1, Ordering::SeqCst);
            answer(peer);
        }
    });
    for threads in [1, 2] {
        served.store(0, Ordering::SeqCst);
        let trial = Trial::at(stalled.addr()).and_at(&[quick.addr()]).balance(Balance::LeastInFlight);
        let ended = trial.slots(2).threads(threads).requests(20).run();
        ended.all_ok(20);
        let targets = targets(&ended.records());
        assert_eq!(targets.iter().filter(|target| **target == 0).count(), 1, "{targets:?}");
        assert_eq!(served.load(Ordering::SeqCst), 19);
    }
}

#[test]
fn with_one_server_down_the_others_get_their_part() {
    let (up, _) = talker();
    let (_kept, down) = nobody();
    let ended = Trial::at(up.addr()).and_at(&[down]).requests(60).run();
    let records = ended.records();
    // Nobody waits before asking the other server: not each time, however slow the machine is.
    let pause = Nanos::from_millis(100);
    assert!(records.windows(2).any(|pair| !pair[0].is_ok() && pair[1].issued - pair[0].end < pause));
    for record in ended.records() {
        assert_eq!(u64::from(record.target), record.seq % 2);
        if record.target == 0 {
            assert!(record.is_ok(), "{record:?}");
        } else {
            assert_eq!((failure(record).0, failure(record).1), (Stage::Connect, FailureClass::Refused));
        }
    }
    assert_eq!((ended.records().len(), ended.facts.ended_early, ended.facts.connections_opened), (60, None, 1));
}

#[test]
fn a_server_that_is_down_is_not_the_least_busy() {
    let (up, _) = talker();
    let (_kept, down) = nobody();
    let trial = Trial::at(up.addr()).and_at(&[down]).balance(Balance::LeastInFlight);
    let ended = trial.slots(3).requests(60).run();
    let failed = ended.records().iter().filter(|record| !record.is_ok()).count();
    // Opening ahead has shown it; every five seconds one request or a few find out whether it is back.
    assert!(failed < 15, "{failed} of 60 went to nobody");
    assert!(ended.records().iter().all(|record| record.is_ok() == (record.target == 0)));
    assert_eq!(ended.facts.ended_early, None);
}

#[test]
fn quick_failures_of_one_server_are_no_reason_to_give_up_a_slow_one() {
    let came = Arc::new(AtomicUsize::new(0));
    let count = came.clone();
    let slow = serve(move |peer| {
        while peer.request().is_some() {
            count.fetch_add(1, Ordering::SeqCst);
            wait_for(&count, 70);
            // The other's failures are in, and the run's watch has seen them.
            settle();
            answer(peer);
        }
    });
    let (_kept, down) = nobody();
    let ended = Trial::at(slow.addr()).and_at(&[down]).rate(f64::INFINITY, Arrival::Constant, None).requests(140).run();
    assert_eq!(ended.facts.ended_early, None);
    assert_eq!(ended.records().iter().filter(|record| record.is_ok()).count(), 70);
}

#[test]
fn when_all_servers_are_down_the_run_ends_as_with_one() {
    let ((_kept, one), (_too, other)) = (nobody(), nobody());
    let ended = Trial::at(one).and_at(&[other]).slots(4).requests(10_000).run();
    assert!(matches!(ended.facts.ended_early, Some(EarlyEnd::AllFailed { .. })), "{:?}", ended.facts);
    assert!(ended.finished.len() < 10_000);
}
