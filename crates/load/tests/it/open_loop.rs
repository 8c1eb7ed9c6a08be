//! Open loops: every request of the schedule is there with its due time, none leaves before it, and nothing but a cap makes
//! one wait for another.

use crate::script::{Peer, serve, settle};
use crate::trial::{Ended, Trial, in_flight, most_at_once};
use crate::truth::{quick, sim};
use crate::words::stream;
use std::collections::BTreeSet;
use std::sync::{Arc, Barrier};
use streamgauge_core::EarlyEnd;
use streamgauge_core::arrival::{Arrival, Rate};
use streamgauge_core::clock::Nanos;
use streamgauge_core::load::Arrivals;
use streamgauge_core::record::{Outcome, Record};
use streamgauge_core::schedule::Schedule;
use streamgauge_core::seed::Seed;
use streamgauge_load::Control;

const INF: f64 = f64::INFINITY;

fn bursts() -> Arrival {
    Arrival::Gamma { shape: 0.25.try_into().unwrap() }
}

/// When the measured requests of a plan without a seed are due, on the run's clock.
fn planned(ended: &Ended, rate: f64, arrival: Arrival) -> impl Iterator<Item = Nanos> {
    let start = ended.facts.started;
    Schedule::new(&Arrivals::steady(Rate::try_new(rate).unwrap(), arrival), Seed(0), "arrivals")
        .map(move |due| start + due.at)
}

/// The records are those of the schedule, one for one, and none was taken up or sent before it was due.
fn keeps_to(ended: &Ended, rate: f64, arrival: Arrival) {
    for (record, due) in ended.records().into_iter().zip(planned(ended, rate, arrival)) {
        assert_eq!(record.due, Some(due), "{record:?}");
        assert!(record.issued >= due, "{record:?}");
        assert!(record.sent.is_none_or(|sent| sent >= record.issued));
        assert_eq!(record.turnaround, None, "the schedule's pauses are not the client's");
    }
}

/// It was due, and then there was no more time for it.
pub fn unsent(record: &Record) -> bool {
    record.outcome == Outcome::CutOff && record.sent.is_none()
}

#[test]
fn requests_are_the_schedules_one_for_one() {
    let sim = sim(quick(), &[]);
    for arrival in [Arrival::Constant, Arrival::Poisson, bursts()] {
        for threads in [1, 3] {
            let ended = Trial::at(sim.addr()).rate(300.0, arrival, None).threads(threads).requests(100).run();
            keeps_to(ended.all_ok(100), 300.0, arrival);
            for record in ended.records() {
                assert_eq!(u64::from(record.thread), record.seq % u64::from(threads), "every n-th is the thread's");
            }
        }
    }
}

#[test]
fn a_slot_has_one_request_at_a_time_and_idle_ones_are_used_again() {
    let sim = sim(quick(), &[]);
    let ended = Trial::at(sim.addr()).rate(400.0, Arrival::Poisson, None).threads(2).requests(200).run();
    ended.all_ok(200);
    let slots: BTreeSet<u32> = ended.records().iter().map(|record| record.slot).collect();
    for slot in &slots {
        let mine: Vec<&Record> = ended.records().into_iter().filter(|record| record.slot == *slot).collect();
        assert!(mine.is_sorted_by(|one, other| one.end <= other.issued), "slot {slot}");
    }
    // 64 are open ahead; what more there were each opened a connection once.
    assert_eq!(ended.facts.connections_replaced, 0);
    assert_eq!(ended.facts.connections_opened, 64 + slots.iter().filter(|slot| **slot >= 64).count() as u64);
}

#[test]
fn an_infinite_rate_is_all_due_at_the_start() {
    let sim = sim(quick(), &[]);
    let ended = Trial::at(sim.addr()).rate(INF, Arrival::Poisson, None).threads(2).requests(150).run();
    ended.all_ok(150);
    assert!(ended.records().iter().all(|record| record.due == Some(ended.facts.started)));
}

/// A server that answers nothing until `count` requests are with it at once.
fn answers_all_at_once(count: usize) -> impl Fn(&mut Peer) + Send + Sync + 'static {
    let all_here = Arc::new(Barrier::new(count));
    move |peer| {
        while peer.request().is_some() {
            all_here.wait();
            peer.send(&stream(&["a"]));
        }
    }
}

#[test]
fn a_server_that_stalls_holds_up_no_request() {
    // More at once than are opened ahead (80 of one second, 64 of a burst): without new ones this would never end.
    for (rate, arrival, count) in [(80.0, Arrival::Constant, 100), (80.0, bursts(), 100), (INF, Arrival::Constant, 150)]
    {
        let server = serve(answers_all_at_once(count));
        let ended = Trial::at(server.addr()).rate(rate, arrival, None).threads(2).requests(count as u64).run();
        keeps_to(ended.all_ok(count as u64), rate, arrival);
        let records = ended.records();
        let first_end = records.iter().map(|record| record.end).min().unwrap();
        assert!(records.iter().all(|record| record.sent.unwrap() < first_end), "sent while the server stalled");
        assert_eq!(records.iter().map(|record| record.slot).collect::<BTreeSet<_>>().len(), count);
        assert_eq!((server.accepted(), ended.facts.connections_opened), (count, count as u64));
    }
}

#[test]
fn a_cap_is_kept_by_all_threads_together_and_every_request_is_sent_in_the_end() {
    let sim = sim(quick(), &[]);
    for (threads, cap) in [(1, 1), (1, 4), (2, 3), (3, 3)] {
        for rate in [INF, 5_000.0] {
            let trial = Trial::at(sim.addr()).rate(rate, Arrival::Poisson, Some(cap)).threads(threads);
            let ended = trial.warmup(10).requests(90).run();
            keeps_to(ended.all_ok(90), rate, Arrival::Poisson);
            assert_eq!(most_at_once(ended.records().into_iter().map(in_flight)), cap as usize);
            if threads == 1 {
                assert_eq!(ended.facts.connections_opened, u64::from(cap));
            }
        }
    }
}

#[test]
fn a_capped_backlog_is_sent_in_the_order_in_which_it_was_due() {
    let sim = sim(quick(), &[]);
    let ended = Trial::at(sim.addr()).rate(INF, Arrival::Constant, Some(1)).requests(30).run();
    ended.all_ok(30);
    assert!(ended.records().is_sorted_by_key(|record| record.sent));
}

#[test]
fn what_is_due_after_the_time_is_up_is_not_issued() {
    let sim = sim(quick(), &[]);
    let span = Nanos::from_millis(300);
    for arrival in [Arrival::Constant, Arrival::Poisson] {
        let ended = Trial::at(sim.addr()).rate(200.0, arrival, None).threads(2).duration(span).run();
        let count = planned(&ended, 200.0, arrival).take_while(|due| *due < ended.facts.started + span).count();
        keeps_to(ended.all_ok(count as u64), 200.0, arrival);
    }
}

#[test]
fn a_warm_up_has_arrivals_of_its_own() {
    let sim = sim(quick(), &[]);
    let ended = Trial::at(sim.addr()).rate(300.0, Arrival::Poisson, None).threads(2).warmup(30).requests(30).run();
    keeps_to(ended.all_ok(30), 300.0, Arrival::Poisson);
    assert_eq!(ended.warmup.len(), 30);
    let warmup: Vec<Nanos> = ended.warmup.iter().map(|finished| finished.record.due.unwrap()).collect();
    assert!(warmup.is_sorted() && warmup[29] < ended.facts.started);
    let gaps: Vec<Nanos> = ended.records().windows(2).map(|two| two[1].due.unwrap() - two[0].due.unwrap()).collect();
    assert_ne!(warmup.windows(2).map(|two| two[1] - two[0]).collect::<Vec<_>>(), gaps);
    let ends = ended.warmup.iter().map(|finished| finished.record.end);
    assert!(ends.max().unwrap() < ended.facts.started, "the warm-up has ended before");
}

#[test]
fn a_drain_does_not_wait_for_what_is_not_yet_due() {
    let control = Control::default();
    let remote = control.clone();
    let server = serve(move |peer| {
        while peer.request().is_some() {
            peer.send(&stream(&["a"]));
            remote.drain();
        }
    });
    // The second would be due in a quarter of an hour.
    let trial = Trial::at(server.addr()).rate(1e-3, Arrival::Constant, None).requests(5).control(&control);
    trial.run().all_ok(1);
}

#[test]
fn what_was_due_and_never_sent_is_put_down_as_cut_off() {
    let control = Control::default();
    let remote = control.clone();
    let server = serve(move |peer| {
        while peer.request().is_some() {
            remote.drain();
            settle();
            peer.send(&stream(&["a"]));
        }
    });
    let trial = Trial::at(server.addr()).rate(INF, Arrival::Constant, Some(1)).requests(20).control(&control);
    let ended = trial.run();
    let records = ended.records();
    assert_eq!(records.iter().map(|record| record.seq).collect::<Vec<_>>(), (0..20).collect::<Vec<_>>());
    assert!(records[0].is_ok());
    assert!(records[1..].iter().all(|record| unsent(record) && record.due == records[0].due));
}

#[test]
fn the_end_of_the_grace_period_is_the_end_of_a_backlog_too() {
    let server = serve(Peer::hang);
    let (span, grace) = (Nanos::from_millis(100), Nanos::from_millis(200));
    let trial = Trial::at(server.addr()).rate(100.0, Arrival::Constant, Some(2)).threads(2);
    let ended = trial.duration(span).grace(grace).run();
    let records = ended.records();
    assert_eq!(records.iter().map(|record| record.seq).collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
    assert!(records.iter().all(|record| record.outcome == Outcome::CutOff));
    assert_eq!(records.iter().filter(|record| record.sent.is_some()).count(), 2);
    assert!(records.iter().all(|record| record.end >= ended.facts.started + span + grace));
}

#[test]
fn an_abort_while_waiting_ends_the_run() {
    for cap in [None, Some(2)] {
        let control = Control::default();
        let remote = control.clone();
        let server = serve(move |peer| {
            peer.request();
            remote.abort();
            peer.hang();
        });
        let trial = Trial::at(server.addr()).rate(0.01, Arrival::Poisson, cap).threads(2).control(&control);
        let ended = trial.requests(10).run();
        let records = ended.records();
        assert!(records[0].sent.is_some() && records[0].outcome == Outcome::CutOff);
        assert!(records[1..].iter().all(|record| unsent(record)));
    }
}

#[test]
fn a_server_that_is_not_there_ends_the_run_early() {
    let (_socket, addr) = crate::script::nobody();
    let ended = Trial::at(addr).rate(2_000.0, Arrival::Constant, None).requests(1_000_000).run();
    assert!(matches!(ended.facts.ended_early, Some(EarlyEnd::AllFailed { .. })), "{:?}", ended.facts);
}
