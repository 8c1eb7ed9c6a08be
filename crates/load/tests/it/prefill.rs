//! A cap on requests without a first output: never exceeded, given back at that output or at the request's end, and a wait that
//! is the plan's in a closed loop and latency from due in an open one.

use crate::script::{Peer, serve, settle};
use crate::trial::{Trial, in_flight, most_at_once};
use crate::truth::{quick, sim, slow};
use crate::words::{document, prompt, stream};
use streamgauge_core::arrival::Arrival;
use streamgauge_core::clock::Nanos;
use streamgauge_core::load::{Places, Ramp, RampShape};
use streamgauge_core::record::{Outcome, Record};
use streamgauge_load::Control;

/// From when a request was taken up until its first output, or its end where it had none.
fn without_output(record: &Record) -> (Nanos, Nanos) {
    (record.issued, record.chunks.first().map_or(record.end, |chunk| chunk.at))
}

#[test]
fn a_closed_loop_has_no_more_without_output_than_allowed_and_more_in_flight() {
    let sim = sim(slow(), &[]);
    for (threads, most) in [(1, 1), (1, 2), (2, 2), (3, 3)] {
        let trial = Trial::at(sim.addr()).slots(8).prefill(Places::all(most)).threads(threads);
        let ended = trial.prompts(vec![prompt(25)]).requests(60).run();
        ended.all_ok(60);
        assert_eq!(most_at_once(ended.records().into_iter().map(without_output)), most as usize);
        assert!(most_at_once(ended.records().into_iter().map(in_flight)) > most as usize);
    }
}

#[test]
fn an_open_loop_sends_them_in_the_order_in_which_they_are_due() {
    let sim = sim(slow(), &[]);
    for cap in [None, Some(4)] {
        let trial = Trial::at(sim.addr()).rate(f64::INFINITY, Arrival::Constant, cap).prefill(Places::all(1));
        let ended = trial.prompts(vec![prompt(25)]).requests(30).run();
        ended.all_ok(30);
        let records = ended.records();
        assert!(records.is_sorted_by_key(|record| record.sent));
        assert!(records.iter().all(|record| record.due == Some(ended.facts.started)));
        assert_eq!(most_at_once(records.iter().map(|record| without_output(record))), 1);
        let at_once = most_at_once(records.iter().map(|record| in_flight(record)));
        assert!(at_once > 1 && cap.is_none_or(|cap| at_once <= cap as usize), "{at_once}");
    }
}

#[test]
fn places_come_with_their_ramp() {
    let sim = sim(slow(), &[]);
    let ramp = Some(Ramp { time: Nanos::from_millis(300), shape: RampShape::Linear });
    let places = Places { most: 3, ramp };
    let ended = Trial::at(sim.addr()).slots(6).threads(2).prefill(places).duration(Nanos::from_millis(900)).run();
    ended.all_ok(ended.finished.len() as u64);
    let records = ended.records();
    for record in &records {
        let spans = records.iter().map(|other| without_output(other));
        let with_it = spans.filter(|(from, to)| *from <= record.issued && record.issued < *to).count();
        let open = (0..3).filter(|place| ended.facts.started + places.opens(*place) <= record.issued).count();
        assert!(with_it <= open, "{with_it} with {record:?}, {open} places");
    }
    assert_eq!(most_at_once(records.iter().map(|record| without_output(record))), 3);
}

/// Lets each request wait, and then answers it at once.
fn slow_to_begin(peer: &mut Peer) {
    while peer.request().is_some() {
        settle();
        peer.send(&stream(&["a"]));
    }
}

#[test]
fn a_closed_loop_s_wait_for_a_place_is_neither_latency_nor_turnaround() {
    let server = serve(slow_to_begin);
    let ended = Trial::at(server.addr()).slots(2).prefill(Places::all(1)).requests(5).run();
    ended.all_ok(5);
    let records = ended.records();
    for pair in records.windows(2) {
        assert!(pair[1].issued >= pair[0].chunks[0].at, "its place is the one before's");
    }
    for record in &records[2..] {
        assert_eq!(record.turnaround, Some(record.sent.unwrap() - record.issued), "{record:?}");
    }
}

#[test]
fn a_request_without_output_gives_its_place_back() {
    let server = serve(|peer| {
        while peer.request().is_some() {
            peer.send(&document(503, "application/json", "{}"));
        }
    });
    let ended = Trial::at(server.addr()).slots(3).prefill(Places::all(1)).threads(2).requests(19).run();
    assert_eq!(ended.finished.len(), 19);
    assert!(ended.records().iter().all(|record| record.status == Some(503)));
}

#[test]
fn an_abort_ends_the_wait_for_a_place() {
    for open in [false, true] {
        let control = Control::default();
        let remote = control.clone();
        let server = serve(move |peer| {
            peer.request();
            settle();
            remote.abort();
            peer.hang();
        });
        let trial = Trial::at(server.addr()).slots(3).prefill(Places::all(1)).threads(2).control(&control);
        let trial = if open { trial.rate(f64::INFINITY, Arrival::Constant, Some(3)) } else { trial };
        let ended = trial.requests(6).run();
        let sent = ended.records().iter().filter(|record| record.sent.is_some()).count();
        // In a closed loop nothing was due.
        assert_eq!((sent, ended.finished.len()), (1, if open { 6 } else { 1 }));
        assert!(ended.records().iter().all(|record| record.outcome == Outcome::CutOff));
    }
}

#[test]
fn with_places_for_all_nothing_changes() {
    let sim = sim(quick(), &[]);
    let ended = Trial::at(sim.addr()).slots(3).prefill(Places::all(3)).requests(30).run();
    ended.all_ok(30);
    for slot in 0..3 {
        let mine: Vec<&Record> = ended.records().into_iter().filter(|record| record.slot == slot).collect();
        for pair in mine.windows(2) {
            assert_eq!(pair[1].turnaround, Some(pair[1].sent.unwrap() - pair[0].end), "the client's own time counts");
        }
    }
}
