//! How slots go from the warm-up to the measured requests: one by one, each as its own last warm-up request ends.

use crate::script::{Peer, serve};
use crate::trial::{Ended, Trial, in_flight, most_at_once};
use crate::truth::{sim, slow};
use crate::words::{prompt, stream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;
use streamgauge_core::arrival::{Arrival, Rate};
use streamgauge_core::clock::Nanos;
use streamgauge_core::load::{Load, Places, Ramp, RampShape};
use streamgauge_core::record::{Outcome, Record};
use streamgauge_core::stop::{StabilityRule, Window};
use streamgauge_load::Control;

/// Counts requests over all connections, and lets a connection wait until there have been so many.
#[derive(Clone, Default)]
struct Count(Arc<(Mutex<usize>, Condvar)>);

impl Count {
    /// The next request's number, from 0.
    fn next(&self) -> usize {
        let mut count = self.0.0.lock().unwrap();
        *count += 1;
        self.0.1.notify_all();
        *count - 1
    }

    /// Waits for the request with that number; false when it does not come for ten seconds.
    fn wait_for(&self, number: usize) -> bool {
        let count = self.0.0.lock().unwrap();
        let (count, _) = self.0.1.wait_timeout_while(count, Duration::from_secs(10), |count| *count <= number).unwrap();
        *count > number
    }
}

/// Holds the answer to request number 0, over all connections, until number 1 is there, so that two slots have one each; that to
/// number 1 until number `until` is there; and answers all others at once.
fn hold_the_second(until: usize) -> impl Fn(&mut Peer) + Send + Sync + 'static {
    let count = Count::default();
    move |peer| {
        while peer.request().is_some() {
            let awaited = match count.next() {
                0 => 1,
                1 => until,
                _ => 0,
            };
            if !count.wait_for(awaited) {
                return;
            }
            peer.send(&stream(&["a"]));
        }
    }
}

fn warm(ended: &Ended) -> Vec<&Record> {
    ended.warmup.iter().map(|finished| &finished.record).collect()
}

/// When the last warm-up request of a slot ended.
fn handed_over(ended: &Ended, slot: u32) -> Option<Nanos> {
    warm(ended).into_iter().filter(|record| record.slot == slot).map(|record| record.end).max()
}

#[test]
fn a_slot_goes_on_while_another_is_still_at_its_warm_up() {
    for threads in [1, 2] {
        // One of the two warm-up requests is answered only when the other slot has sent five measured ones.
        let server = serve(hold_the_second(6));
        let ended = Trial::at(server.addr()).slots(2).threads(threads).warmup(2).requests(20).run();
        ended.all_ok(20);
        assert_eq!(ended.warmup.len(), 2);
        let ends: Vec<Nanos> = (0..2).filter_map(|slot| handed_over(&ended, slot)).collect();
        let (first, last) = (ends[0].min(ends[1]), ends[0].max(ends[1]));
        assert!(ended.facts.started >= first && ended.facts.started < last);
        assert!(ended.records().iter().filter(|record| record.issued < last).count() >= 5);
        for slot in 0..2 {
            let measured: Vec<&Record> = ended.records().into_iter().filter(|record| record.slot == slot).collect();
            assert!(measured.iter().all(|record| Some(record.issued) >= handed_over(&ended, slot)), "{slot}");
        }
    }
}

#[test]
fn slots_are_never_more_than_the_load_s_and_a_larger_load_begins_with_the_rest() {
    let sim = sim(slow(), &[]);
    for (before, slots) in [(4, 4), (2, 4), (1, 3)] {
        let trial = Trial::at(sim.addr()).slots(slots).threads(2).requests(40);
        let ended = trial.warmup_load(Load::concurrency(before), 12).run();
        ended.all_ok(40);
        assert_eq!(ended.warmup.len(), 12);
        let all = ended.records().into_iter().chain(warm(&ended)).map(in_flight);
        assert_eq!(most_at_once(all), slots as usize);
        let mut first: Vec<&Record> = ended.records();
        first.sort_by_key(|record| record.issued);
        let fresh = first.iter().filter(|record| record.slot >= before).take((slots - before) as usize);
        assert!(fresh.clone().all(|record| record.turnaround.is_none()), "they had nothing before");
        assert_eq!(fresh.count(), (slots - before) as usize);
    }
}

#[test]
fn a_limit_on_first_outputs_holds_over_both_parts() {
    let without_output = |record: &Record| (record.issued, record.chunks.first().map_or(record.end, |chunk| chunk.at));
    let sim = sim(slow(), &[]);
    for most in [1, 2] {
        let mut trial = Trial::at(sim.addr()).slots(6).threads(2).prefill(Places::all(most)).warmup(8).requests(30);
        trial.plan.load.warmup.as_mut().unwrap().prefill = Some(Places::all(most));
        assert!(trial.plan.hands_over());
        let ended = trial.prompts(vec![prompt(25)]).run();
        ended.all_ok(30);
        let all = ended.records().into_iter().chain(warm(&ended)).map(without_output);
        assert_eq!(most_at_once(all), most as usize);
    }
}

#[test]
fn a_straggler_of_the_warm_up_is_cut_off_after_its_grace_and_nothing_measured_is() {
    let (span, grace) = (Nanos::from_millis(50), Nanos::from_millis(100));
    for threads in [1, 2] {
        // The first request is never answered. Number 60 comes at least 60 ms later, so it is a measured one, and it is answered
        // when the first one's connection is closed: it is in flight while that is cut off.
        let (count, left) = (Count::default(), Count::default());
        let server = serve(move |peer: &mut Peer| {
            while peer.request().is_some() {
                let number = count.next();
                if number == 0 {
                    peer.hang();
                    left.next();
                    return;
                }
                std::thread::sleep(Duration::from_millis(1));
                if number == 60 && !left.wait_for(0) {
                    return;
                }
                peer.send(&stream(&["a"]));
            }
        });
        let trial = Trial::at(server.addr()).slots(2).threads(threads).requests(100);
        let ended = trial.warmup_time(Load::concurrency(2), span, grace).run();
        assert!(ended.finished.len() == 100 && ended.records().iter().all(|record| record.is_ok()));
        let cut: Vec<&Record> = warm(&ended).into_iter().filter(|record| !record.is_ok()).collect();
        let [straggler] = cut.as_slice() else { panic!("{cut:?}") };
        assert_eq!(straggler.outcome, Outcome::CutOff);
        assert!(straggler.end >= straggler.issued + grace);
        assert!(ended.facts.started < straggler.end, "the other slot did not wait for it");
    }
}

#[test]
fn an_end_in_the_warm_up_is_an_end_before_the_measured_part() {
    let control = Control::default();
    let (remote, count) = (control.clone(), Count::default());
    let server = serve(move |peer: &mut Peer| {
        while peer.request().is_some() {
            if count.next() == 1 {
                remote.interrupt();
            }
            peer.send(&stream(&["a"]));
        }
    });
    let ended = Trial::at(server.addr()).slots(2).threads(2).warmup(1_000_000).requests(5).control(&control).run();
    assert!(ended.finished.is_empty() && !ended.warmup.is_empty());
    assert!(ended.facts.interrupted && ended.facts.started == ended.facts.ended);
}

/// Plans whose slots do not go over, and that say so, run drained: nothing is measured before the last warm-up request has ended.
#[test]
fn parts_that_cannot_follow_each_other_are_kept_apart() {
    let sim = sim(slow(), &[]);
    let trial = || Trial::at(sim.addr()).slots(3).threads(2).requests(12).warmup(6);
    let ramp = Some(Ramp { time: Nanos::from_millis(50), shape: RampShape::Linear });
    let mut windows = trial();
    let window = Window::Requests(4);
    windows.plan.load.stop.stability = Some(StabilityRule { window, within: 10.0, percentile: None, most: 10 });
    let mut limited = trial();
    limited.plan.load.prefill = Some(Places::all(2));
    let mut drained = trial();
    drained.plan.load.warmup.as_mut().unwrap().hands_over = false;
    let rate = Load::rate(Rate::try_new(500.0).unwrap(), Arrival::Constant);
    let cases = [
        trial().warmup_load(Load::concurrency(4), 8),
        trial().warmup_load(Load::concurrency(3), 2),
        trial().load(Load::Concurrency(Places { most: 3, ramp })),
        trial().load(rate.clone()),
        trial().warmup_load(rate, 6),
        windows,
        limited,
        drained,
    ];
    for (case, trial) in cases.into_iter().enumerate() {
        assert!(!trial.plan.hands_over(), "{case}");
        let ended = trial.run();
        ended.all_ok(12);
        let started = ended.facts.started;
        assert!(warm(&ended).iter().all(|record| record.end <= started), "{case}");
        assert!(ended.records().iter().all(|record| record.issued >= started), "{case}");
    }
}
