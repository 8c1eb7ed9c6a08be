//! Runs that are ended: by hopelessness, by a drain, by an interrupt.

use crate::script::{Peer, serve, serve_and_drain, settle};
use crate::trial::{Trial, failure};
use crate::words::{LIMIT, STREAM_HEAD, chunk, document, stream, token};
use std::sync::atomic::{AtomicUsize, Ordering};
use streamgauge_core::arrival::{Arrival, Rate};
use streamgauge_core::clock::Nanos;
use streamgauge_core::load::{Load, Places, Ramp, RampShape};
use streamgauge_core::record::{FailureClass, Outcome, Record};
use streamgauge_core::{EarlyEnd, Satisfied};
use streamgauge_load::Control;

const REFUSAL: &str = r#"{"error":{"message":"overloaded"}}"#;

fn fail(peer: &mut Peer) {
    peer.send(&document(503, "application/json", REFUSAL));
}

#[test]
fn a_run_that_begins_with_failures_only_ends_early() {
    let server = serve(|peer| {
        while peer.request().is_some() {
            fail(peer)
        }
    });
    let ended = Trial::at(server.addr()).slots(2).requests(10_000_000).run();
    let Some(EarlyEnd::AllFailed { requests }) = ended.facts.ended_early else { panic!("{:?}", ended.facts) };
    let count = requests as usize;
    assert!(count >= 20);
    assert!(ended.finished.len() >= count);
    assert!(!ended.facts.interrupted);
    let cut = ended.records().into_iter().filter(|record| record.outcome == Outcome::CutOff).count();
    assert!(cut <= 2);
    for record in ended.records().into_iter().filter(|record| record.outcome != Outcome::CutOff) {
        assert_eq!(failure(record).1, FailureClass::Status);
    }
}

#[test]
fn as_many_failures_as_there_are_streams_are_needed() {
    let requests = AtomicUsize::new(0);
    let server = serve(move |peer| {
        while peer.request().is_some() {
            match requests.fetch_add(1, Ordering::SeqCst) {
                0..29 => fail(peer),
                _ => {
                    // The watch has time to misjudge.
                    std::thread::sleep(std::time::Duration::from_millis(60));
                    peer.send(&stream(&["a"]));
                }
            }
        }
    });
    let ended = Trial::at(server.addr()).slots(30).requests(90).run();
    assert_eq!(ended.facts.ended_early, None);
    assert_eq!(ended.finished.len(), 90);
    assert_eq!(ended.records().iter().filter(|record| record.is_ok()).count(), 61);
}

#[test]
fn few_requests_that_all_fail_are_no_early_end() {
    let server = serve(|peer| {
        while peer.request().is_some() {
            fail(peer)
        }
    });
    let ended = Trial::at(server.addr()).requests(19).run();
    assert_eq!((ended.finished.len(), ended.facts.ended_early), (19, None));
}

/// Fails every third request.
fn fail_every_third() -> impl Fn(&mut Peer) + Send + Sync + 'static {
    let requests = AtomicUsize::new(0);
    move |peer| {
        while peer.request().is_some() {
            if requests.fetch_add(1, Ordering::SeqCst).is_multiple_of(3) {
                fail(peer)
            } else {
                peer.send(&stream(&["a"]))
            }
        }
    }
}

#[test]
fn a_run_over_its_error_budget_ends_and_says_so() {
    let server = serve(fail_every_third());
    let ended = Trial::at(server.addr()).slots(3).threads(2).failed_share(0.25).requests(10_000_000).run();
    let Some(EarlyEnd::OverBudget(over)) = ended.facts.ended_early else { panic!("{:?}", ended.facts) };
    assert!(over.failed as f64 > 0.25 * over.finished as f64 && over.finished >= 20, "{over:?}");
    assert_eq!(over.allowed, 0.25);
    assert!(ended.finished.len() as u64 >= over.finished, "all records are kept");
    assert!(!ended.facts.interrupted && ended.facts.satisfied.is_none());
}

#[test]
fn a_run_within_its_error_budget_goes_on() {
    let server = serve(fail_every_third());
    let ended = Trial::at(server.addr()).slots(3).failed_share(0.5).requests(900).run();
    assert_eq!((ended.finished.len(), ended.facts.ended_early), (900, None));
}

#[test]
fn what_is_given_up_or_cut_off_is_in_no_error_budget() {
    let requests = AtomicUsize::new(0);
    let server = serve(move |peer| {
        while peer.request().is_some() {
            if requests.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) {
                return peer.hang();
            }
            fail(peer);
        }
    });
    let trial = Trial::at(server.addr()).cancel(1.0, Nanos::from_millis(30)).failed_share(0.9);
    let ended = trial.requests(300).run();
    // Half of all requests failed, but all of those that were not given up.
    assert!(
        matches!(&ended.facts.ended_early, Some(EarlyEnd::OverBudget(over)) if over.allowed == 0.9),
        "{:?}",
        ended.facts
    );
    let failed = ended.finished.iter().filter(|finished| matches!(finished.record.outcome, Outcome::Failed(_))).count();
    assert!(failed >= 20 && failed * 10 < ended.finished.len() * 9);
}

#[test]
fn a_run_that_is_satisfied_drains_and_says_why() {
    let (control, requests) = (Control::default(), AtomicUsize::new(0));
    let remote = control.clone();
    let server = serve(move |peer| {
        while peer.request().is_some() {
            if requests.fetch_add(1, Ordering::SeqCst) == 9 {
                remote.satisfy(Satisfied::Stored("known well enough".to_owned()));
                remote.satisfy(Satisfied::Stored("again".to_owned()));
                settle();
            }
            peer.send(&stream(&["a"]));
        }
    });
    let ended = Trial::at(server.addr()).slots(2).warmup(3).endless().control(&control).run();
    ended.all_ok(ended.finished.len() as u64);
    assert_eq!(ended.facts.satisfied, Some(Satisfied::Stored("known well enough".to_owned())));
    assert!(!ended.facts.interrupted && ended.facts.ended_early.is_none());
    assert_eq!(control.started(), Some(ended.facts.started));
    // The first slot that found the warm-up used up began the measured part; the other may still have been at it.
    assert!(ended.warmup.iter().any(|finished| finished.record.end <= ended.facts.started));
}

#[test]
fn a_drain_lets_requests_in_flight_end() {
    let (control, requests) = (Control::default(), AtomicUsize::new(0));
    let remote = control.clone();
    let server = serve(move |peer| {
        while peer.request().is_some() {
            if requests.fetch_add(1, Ordering::SeqCst) == 9 {
                remote.drain();
                settle();
            }
            peer.send(&stream(&["a", " b"]));
        }
    });
    let ended = Trial::at(server.addr()).slots(4).endless().control(&control).run();
    let count = ended.finished.len() as u64;
    assert!((10..=13).contains(&count), "{count}");
    ended.all_ok(count);
    assert!(!ended.facts.interrupted && ended.facts.ended_early.is_none());
}

/// Answers, but for the requests from the fifth on: they get two tokens each and then nothing. `at_fifth` is called
/// once the client has had time to read them.
fn hang_from_the_fifth(at_fifth: impl Fn() + Send + Sync + 'static) -> impl Fn(&mut Peer) + Send + Sync + 'static {
    let requests = AtomicUsize::new(0);
    move |peer| {
        while peer.request().is_some() {
            let number = requests.fetch_add(1, Ordering::SeqCst);
            if number < 4 {
                peer.send(&stream(&["a", " b"]));
                continue;
            }
            peer.send(&format!("{STREAM_HEAD}{}", chunk(&format!("{}{}", token("a"), token("b")))));
            if number == 5 {
                settle();
                at_fifth();
            }
            peer.hang();
        }
    }
}

/// The first four ended well, the two in flight are cut off with what they had; when the earliest of those ended.
fn four_and_two(records: &[&Record]) -> Nanos {
    assert_eq!(records.len(), 6);
    // Not the first four by number: two requests of the same moment reach the server in either order.
    let (ok, rest): (Vec<&Record>, Vec<&Record>) = records.iter().partition(|record| record.is_ok());
    assert_eq!((ok.len(), rest.len()), (4, 2));
    for record in &rest {
        assert_eq!(record.outcome, Outcome::CutOff);
        assert_eq!((record.status, record.chunks.len(), record.finish.as_deref()), (Some(200), 2, None));
        assert!(record.sent.is_some() && record.first_byte.is_some() && record.bytes > 0);
        crate::trial::in_order(record);
    }
    rest.iter().map(|record| record.end).min().unwrap()
}

#[test]
fn what_is_left_after_the_grace_period_is_cut_off() {
    let control = Control::default();
    let (remote, drained) = (control.clone(), std::sync::Arc::new(std::sync::Mutex::new(None)));
    let (noted, clock) = (drained.clone(), streamgauge_core::SystemClock::start());
    let server = serve(hang_from_the_fifth(move || {
        *noted.lock().unwrap() = Some(crate::trial::now(&clock));
        remote.drain();
    }));
    let grace = Nanos::from_millis(200);
    let ended = Trial::at(server.addr()).slots(2).endless().grace(grace).clock(clock).control(&control).run();
    let cut = four_and_two(&ended.records());
    assert!(cut >= drained.lock().unwrap().unwrap() + grace);
    assert!(!ended.facts.interrupted && ended.facts.ended_early.is_none());
}

#[test]
fn a_run_by_time_cuts_off_after_its_grace_period() {
    let server = serve(hang_from_the_fifth(|| {}));
    let (span, grace) = (Nanos::from_millis(300), Nanos::from_millis(200));
    let ended = Trial::at(server.addr()).slots(2).duration(span).grace(grace).run();
    let cut = four_and_two(&ended.records());
    assert!(cut >= ended.facts.started + span + grace);
}

#[test]
fn the_second_interrupt_cuts_off_at_once() {
    let control = Control::default();
    let remote = control.clone();
    let server = serve(hang_from_the_fifth(move || {
        remote.interrupt();
        remote.interrupt();
    }));
    // Its grace period is longer than the limit on the request, which would be a failure.
    let ended = Trial::at(server.addr()).slots(2).endless().control(&control).run();
    four_and_two(&ended.records());
    assert!(ended.facts.interrupted && ended.facts.ended_early.is_none());
}

#[test]
fn one_interrupt_is_a_drain() {
    let control = Control::default();
    let remote = control.clone();
    let server = serve(move |peer| {
        peer.request().unwrap();
        remote.interrupt();
        settle();
        peer.send(&stream(&["a"]));
        peer.hang();
    });
    let ended = Trial::at(server.addr()).endless().control(&control).run();
    ended.all_ok(1);
    assert!(ended.facts.interrupted);
}

#[test]
fn being_cut_off_is_not_failing() {
    // As many requests as make a run hopeless, none of them answered: that was the user's choice.
    let (control, requests) = (Control::default(), AtomicUsize::new(0));
    let remote = control.clone();
    let server = serve(move |peer| {
        if peer.request().is_some() && requests.fetch_add(1, Ordering::SeqCst) == 24 {
            remote.abort();
        }
        peer.hang();
    });
    let ended = Trial::at(server.addr()).slots(25).endless().control(&control).run();
    assert_eq!(ended.finished.len(), 25);
    assert!(ended.records().iter().all(|record| record.outcome == Outcome::CutOff && record.sent.is_some()));
    assert_eq!(ended.facts.ended_early, None);
}

#[test]
fn a_drain_during_warm_up_leaves_no_measured_request() {
    let inf = Rate::try_new(f64::INFINITY).unwrap();
    let ramp = Some(Ramp { time: LIMIT, shape: RampShape::Linear });
    for load in [
        Load::concurrency(1),
        Load::Concurrency(Places { most: 3, ramp }),
        Load::rate(inf, Arrival::Constant),
        Load::Users { users: 2, rate: Rate::try_new(1_000.0).unwrap() },
    ] {
        let control = Control::default();
        let server = serve_and_drain(&control);
        let trial = Trial::at(server.addr()).load(load).warmup_load(Load::concurrency(1), 50).requests(5);
        let ended = trial.control(&control).run();
        assert_eq!((ended.warmup.len(), ended.finished.len()), (1, 0));
        assert_eq!(ended.facts.started, ended.facts.ended);
    }
}

#[test]
fn an_abort_before_the_start_is_a_run_without_records() {
    let control = Control::default();
    control.abort();
    let server = serve(Peer::hang);
    let ended = Trial::at(server.addr()).slots(3).endless().control(&control).run();
    assert!(ended.finished.is_empty() && ended.warmup.is_empty());
}
