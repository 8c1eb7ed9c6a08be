//! Warm-ups with a load of their own: other slots, other modes, an end by time; and none of it in what is measured. How slots
//! go over to what is measured is in `handover`.

use crate::open_loop::unsent;
use crate::script::{Peer, serve};
use crate::trial::{Ended, Trial, in_flight, most_at_once};
use crate::truth::{quick, sim, slow};
use crate::words::stream;
use std::sync::atomic::{AtomicUsize, Ordering};
use streamgauge_core::arrival::{Arrival, Rate};
use streamgauge_core::clock::Nanos;
use streamgauge_core::load::{Arrivals, Load, Places};
use streamgauge_core::record::Outcome;
use streamgauge_core::schedule::Schedule;
use streamgauge_core::seed::Seed;

fn open(rate: f64, cap: Option<u32>) -> Load {
    let arrivals = Arrivals::steady(Rate::try_new(rate).unwrap(), Arrival::Poisson);
    Load::Open { arrivals, cap: cap.map(Places::all) }
}

/// All of the warm-up is over when the measured phase starts.
fn warmup_is_before(ended: &Ended) {
    assert!(ended.warmup.iter().all(|finished| finished.record.end <= ended.facts.started));
    starts_with_the_first(ended);
}

/// No measured request was issued before the measured phase started.
fn starts_with_the_first(ended: &Ended) {
    assert!(ended.records().iter().all(|record| record.issued >= ended.facts.started));
}

#[test]
fn a_warm_up_has_as_many_slots_as_its_load_and_no_more() {
    let sim = sim(slow(), &[]);
    for (warm, measured) in [(1, 4), (4, 1), (2, 3)] {
        for threads in [1, 2] {
            let trial = Trial::at(sim.addr()).slots(measured).threads(threads);
            let ended = trial.warmup_load(Load::concurrency(warm), 20).requests(30).run();
            ended.all_ok(30);
            if warm > measured {
                warmup_is_before(&ended)
            } else {
                starts_with_the_first(&ended)
            }
            assert_eq!(ended.warmup.len(), 20);
            assert!(ended.warmup.iter().all(|finished| finished.record.slot < warm));
            assert!(ended.records().iter().all(|record| record.slot < measured));
            let at_once = most_at_once(ended.warmup.iter().map(|finished| in_flight(&finished.record)));
            assert_eq!(at_once, warm as usize);
            assert_eq!(most_at_once(ended.records().into_iter().map(in_flight)), measured as usize);
            assert_eq!(ended.facts.connections_opened, u64::from(warm.max(measured)));
        }
    }
}

#[test]
fn any_load_may_go_before_any() {
    let sim = sim(quick(), &[]);
    let users = Load::Users { users: 3, rate: Rate::try_new(300.0).unwrap() };
    let loads = [Load::concurrency(3), open(500.0, None), open(f64::INFINITY, Some(2)), users];
    for warm in &loads {
        for measured in &loads {
            let trial = Trial::at(sim.addr()).load(measured.clone()).warmup_load(warm.clone(), 25);
            let ended = trial.threads(2).requests(40).run();
            ended.all_ok(40);
            let both_closed = [warm, measured].iter().all(|load| matches!(load, Load::Concurrency(_)));
            if both_closed {
                starts_with_the_first(&ended)
            } else {
                warmup_is_before(&ended)
            }
            assert_eq!(ended.warmup.len(), 25, "{warm} before {measured}");
            let dues = ended.records().into_iter().map(|record| record.due.map(|due| due - ended.facts.started));
            match measured {
                Load::Concurrency(_) | Load::Growing(_) => assert!(dues.into_iter().all(|due| due.is_none())),
                Load::Users { .. } => assert!(dues.into_iter().all(|due| due.is_some())),
                Load::Open { arrivals, .. } => {
                    let planned = Schedule::new(arrivals, Seed(0), "arrivals").map(|due| Some(due.at));
                    assert!(dues.eq(planned.take(40)), "{warm} before {measured}");
                }
            }
        }
    }
}

/// Answers nothing on the first so many requests, and everything after them.
fn hang_at_first(count: usize) -> impl Fn(&mut Peer) + Send + Sync + 'static {
    let requests = AtomicUsize::new(0);
    move |peer| {
        while peer.request().is_some() {
            if requests.fetch_add(1, Ordering::SeqCst) < count {
                return peer.hang();
            }
            peer.send(&stream(&["a"]));
        }
    }
}

#[test]
fn a_warm_up_by_time_is_cut_off_after_its_grace_and_the_measured_phase_is_not() {
    let (span, grace) = (Nanos::from_millis(100), Nanos::from_millis(150));
    for threads in [1, 2] {
        let server = serve(hang_at_first(2));
        let trial = Trial::at(server.addr()).slots(2).threads(threads).requests(20);
        let ended = trial.warmup_time(Load::concurrency(2), span, grace).run();
        ended_well(&ended);
        starts_with_the_first(&ended);
        assert_eq!(ended.warmup.len(), 2);
        for finished in &ended.warmup {
            let record = &finished.record;
            assert_eq!(record.outcome, Outcome::CutOff);
            assert!(record.end >= record.issued + grace, "the grace is theirs: {record:?}");
        }
        // The span begins with the phase, and a slot takes up its request a moment later: half of the span is left for that moment.
        let first_issued = ended.warmup.iter().map(|finished| finished.record.issued).min().unwrap();
        assert!(ended.facts.started >= first_issued + Nanos(span.0 / 2) + grace);
        // One slot may have sent all that was measured before the other came to its turn.
        assert!((3..=4).contains(&ended.facts.connections_opened), "what was cut off lost its connection");
    }
}

/// Twenty measured requests, all well.
fn ended_well(ended: &Ended) {
    let records = ended.records();
    assert_eq!(records.iter().map(|record| record.seq).collect::<Vec<_>>(), (0..20).collect::<Vec<_>>());
    assert!(records.iter().all(|record| record.is_ok()), "{records:?}");
    assert_eq!((ended.facts.interrupted, ended.facts.ended_early.as_ref()), (false, None));
}

#[test]
fn a_backlog_of_the_warm_up_is_put_down_and_does_not_go_on() {
    let (span, grace) = (Nanos::from_millis(100), Nanos::from_millis(100));
    let users = Load::Users { users: 2, rate: Rate::try_new(100.0).unwrap() };
    let arrivals = Arrivals::steady(Rate::try_new(100.0).unwrap(), Arrival::Constant);
    let capped = Load::Open { arrivals, cap: Some(Places::all(2)) };
    for warm in [users, capped] {
        let server = serve(hang_at_first(2));
        let trial = Trial::at(server.addr()).slots(2).threads(2).requests(20);
        let ended = trial.warmup_time(warm.clone(), span, grace).run();
        ended_well(&ended);
        assert_eq!(
            ended.warmup.iter().map(|finished| finished.record.seq).collect::<Vec<_>>(),
            [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
        );
        assert_eq!(ended.warmup.iter().filter(|finished| unsent(&finished.record)).count(), 8, "{warm}");
        assert!(ended.warmup.iter().all(|finished| finished.record.outcome == Outcome::CutOff));
    }
}

#[test]
fn a_warm_up_by_time_whose_requests_end_waits_for_no_grace() {
    let sim = sim(quick(), &[]);
    let trial = Trial::at(sim.addr()).slots(2).requests(20);
    // An hour's grace: nothing is in flight when the time is up.
    let ended = trial.warmup_time(Load::concurrency(2), Nanos::from_millis(100), Nanos::from_millis(3_600_000)).run();
    ended.all_ok(20);
    starts_with_the_first(&ended);
    assert!(ended.warmup.iter().all(|finished| finished.record.is_ok()));
}

#[test]
fn a_run_by_time_after_a_warm_up_has_its_own_time() {
    let sim = sim(quick(), &[]);
    let span = Nanos::from_millis(200);
    let trial = Trial::at(sim.addr()).rate(200.0, Arrival::Constant, None).duration(span).threads(2);
    let ended = trial.warmup_time(Load::concurrency(3), Nanos::from_millis(300), Nanos::from_millis(100)).run();
    assert_eq!(ended.finished.len(), 40);
    warmup_is_before(&ended);
}
