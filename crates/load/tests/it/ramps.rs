//! Load that grows, changes or is listed: slots and places come when the ramp says, requests when the schedule does.

use crate::script::serve_and_drain;
use crate::trial::{Ended, Trial, in_flight, most_at_once};
use crate::truth::{quick, sim, slow};
use std::collections::BTreeSet;
use streamgauge_core::arrival::{Arrival, Rate};
use streamgauge_core::clock::Nanos;
use streamgauge_core::load::{Arrivals, Load, Places, Ramp, RampShape, RatePoint};
use streamgauge_core::record::Record;
use streamgauge_core::schedule::Schedule;
use streamgauge_core::seed::Seed;
use streamgauge_load::Control;

const HOUR: i64 = 3_600_000;

fn ramp(millis: i64, shape: RampShape) -> Option<Ramp> {
    Some(Ramp { time: Nanos::from_millis(millis), shape })
}

/// Places that are open at `at`, on the run's clock.
fn open_at(places: Places, started: Nanos, at: Nanos) -> usize {
    (0..places.most).filter(|place| started + places.opens(*place) <= at).count()
}

/// Whenever a request was taken up, no more were in flight with it than there were places.
fn keeps_to(ended: &Ended, places: Places) {
    let records = ended.records();
    for record in &records {
        let with_it = records.iter().filter(|other| other.issued <= record.issued && record.issued < other.end);
        let places = open_at(places, ended.facts.started, record.issued);
        assert!(with_it.count() <= places, "more than {places} with {record:?}");
    }
}

#[test]
fn slots_join_when_their_places_open() {
    let sim = sim(slow(), &[]);
    for shape in [RampShape::Linear, RampShape::Exponential] {
        for threads in [1, 2] {
            let places = Places { most: 5, ramp: ramp(300, shape) };
            let trial = Trial::at(sim.addr()).load(Load::Concurrency(places)).threads(threads);
            let ended = trial.duration(Nanos::from_millis(1_200)).run();
            ended.all_ok(ended.finished.len() as u64);
            keeps_to(&ended, places);
            for slot in 0..5 {
                let mine: Vec<&Record> = ended.records().into_iter().filter(|record| record.slot == slot).collect();
                assert!(mine[0].issued >= ended.facts.started + places.opens(slot), "slot {slot}");
                assert_eq!(mine[0].turnaround, None, "the wait for its place is not the client's");
                assert!(mine.len() < 2 || mine[1].turnaround.is_some());
            }
            assert_eq!(ended.facts.connections_opened, 5);
        }
    }
}

#[test]
fn a_count_that_is_used_up_ends_the_ramp_on_all_threads() {
    let sim = sim(quick(), &[]);
    let load = Load::Concurrency(Places { most: 4, ramp: ramp(HOUR, RampShape::Linear) });
    for threads in [1, 2, 4] {
        let ended = Trial::at(sim.addr()).load(load.clone()).threads(threads).warmup(3).requests(5).run();
        ended.all_ok(5);
        assert!(ended.records().iter().all(|record| record.slot == 0));
    }
}

#[test]
fn a_place_that_would_open_after_the_time_is_up_is_not_waited_for() {
    let sim = sim(quick(), &[]);
    let load = Load::Concurrency(Places { most: 3, ramp: ramp(HOUR, RampShape::Exponential) });
    let ended = Trial::at(sim.addr()).load(load).threads(2).duration(Nanos::from_millis(100)).run();
    ended.all_ok(ended.finished.len() as u64);
    assert!(ended.records().iter().all(|record| record.slot == 0));
}

#[test]
fn a_drain_ends_the_wait_for_a_place() {
    let load = Load::Concurrency(Places { most: 3, ramp: ramp(HOUR, RampShape::Linear) });
    let capped = Load::Open {
        arrivals: Arrivals::steady(Rate::try_new(f64::INFINITY).unwrap(), Arrival::Constant),
        cap: Some(Places { most: 3, ramp: ramp(HOUR, RampShape::Linear) }),
    };
    for load in [load, capped] {
        let control = Control::default();
        let server = serve_and_drain(&control);
        let ended = Trial::at(server.addr()).load(load).threads(2).requests(50).control(&control).run();
        assert_eq!(ended.records().iter().filter(|record| record.sent.is_some()).count(), 1);
    }
}

#[test]
fn a_cap_opens_place_by_place() {
    let sim = sim(slow(), &[]);
    for threads in [1, 2] {
        let places = Places { most: 4, ramp: ramp(300, RampShape::Linear) };
        let arrivals = Arrivals::steady(Rate::try_new(f64::INFINITY).unwrap(), Arrival::Constant);
        let load = Load::Open { arrivals, cap: Some(places) };
        let ended = Trial::at(sim.addr()).load(load).threads(threads).requests(120).run();
        ended.all_ok(120);
        keeps_to(&ended, places);
        assert_eq!(most_at_once(ended.records().into_iter().map(in_flight)), 4);
    }
}

#[test]
fn requests_of_a_rate_that_changes_are_the_schedules() {
    let sim = sim(quick(), &[]);
    let point = |at, per_second| RatePoint { at: Nanos::from_millis(at), per_second };
    let rate = Rate::try_new(400.0).unwrap();
    for arrival in [Arrival::Constant, Arrival::Poisson] {
        for arrivals in [
            Arrivals::Rate { rate, arrival, ramp: ramp(400, RampShape::Linear) },
            Arrivals::Rate { rate, arrival, ramp: ramp(400, RampShape::Exponential) },
            Arrivals::Series { points: vec![point(0, 0.0), point(200, 500.0), point(300, 100.0)], arrival },
        ] {
            let ended = Trial::at(sim.addr()).arrivals(arrivals.clone()).threads(2).requests(80).run();
            ended.all_ok(80);
            is_the_schedule(&ended, &arrivals);
        }
    }
}

fn is_the_schedule(ended: &Ended, arrivals: &Arrivals) {
    let dues = Schedule::new(arrivals, Seed(0), "arrivals");
    for (record, due) in ended.records().into_iter().zip(dues) {
        assert_eq!(record.due, Some(ended.facts.started + due.at), "{record:?}");
        assert!(record.issued >= ended.facts.started + due.at);
    }
}

#[test]
fn a_schedule_with_an_end_is_the_run_s() {
    let sim = sim(quick(), &[]);
    let dues = [0, 0, 0, 40, 90, 90, 200].map(Nanos::from_millis);
    let trace = Arrivals::Trace { file: "trace".into(), speedup: 1.0, dues: dues.into() };
    let point = |at, per_second| RatePoint { at: Nanos::from_millis(at), per_second };
    let falling = Arrivals::Series { points: vec![point(0, 200.0), point(300, 0.0)], arrival: Arrival::Constant };
    for (arrivals, count) in [(trace, 7), (falling, 30)] {
        for threads in [1, 3] {
            let ended = Trial::at(sim.addr()).arrivals(arrivals.clone()).threads(threads).endless().run();
            is_the_schedule(ended.all_ok(count), &arrivals);
        }
    }
}

#[test]
fn intervals_are_gone_through_again_until_the_count() {
    let sim = sim(quick(), &[]);
    let gaps = [0, 5, 20].map(Nanos::from_millis);
    let arrivals = Arrivals::Intervals { file: "gaps".into(), gaps: gaps.into() };
    let ended = Trial::at(sim.addr()).arrivals(arrivals).threads(2).requests(9).run();
    let dues: Vec<i64> = ended.all_ok(9).records().iter().map(|record| record.due.unwrap().0).collect();
    let expected = [0, 5, 25, 25, 30, 50, 50, 55, 75].map(|at| (ended.facts.started + Nanos::from_millis(at)).0);
    assert_eq!(dues, expected);
    assert_eq!(ended.records().iter().map(|record| record.thread).collect::<BTreeSet<_>>().len(), 2);
}
