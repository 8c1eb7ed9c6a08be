//! Load that grows by what is answered: a batch is sent when every request of the one before has had its responses or has ended, and
//! nothing is waited for that cannot come.

use crate::script::{serve, serve_and_drain};
use crate::trial::{Ended, Trial};
use crate::truth::{quick, sim, slow};
use crate::words::{document, prompt, stream};
use std::sync::atomic::{AtomicUsize, Ordering};
use streamgauge_core::clock::Nanos;
use streamgauge_core::load::{Growth, Load};
use streamgauge_core::record::{Outcome, Record};
use streamgauge_load::Control;

fn growing(start: u32, end: u32, step: u32, responses: u32) -> Load {
    Load::Growing(Growth { start, end, step, responses })
}

/// When a request had so many responses, or ended with fewer.
fn reached(record: &Record, responses: usize) -> Nanos {
    record.chunks.get(responses - 1).map_or(record.end, |chunk| chunk.at)
}

/// The requests in the order of their numbers, each taken up after all of the batches before its own had their responses.
fn keeps_to(ended: &Ended, load: &Load) -> Vec<Record> {
    let Load::Growing(growth) = *load else { panic!("{load}") };
    let mut records: Vec<Record> = ended.records().into_iter().cloned().collect();
    records.sort_by_key(|record| record.seq);
    for (place, record) in records.iter().enumerate() {
        assert_eq!((record.seq, record.due, record.turnaround), (place as u64, None, None));
        let before = &records[..growth.opens_after(place as u32) as usize];
        let last = before.iter().map(|before| reached(before, growth.responses as usize)).max();
        assert!(last.is_none_or(|last| record.issued >= last), "request {place} of {load} came before its time");
    }
    records
}

#[test]
fn batches_follow_the_responses_of_the_ones_before() {
    let sim = sim(slow(), &[]);
    for threads in [1, 2, 4] {
        for load in [growing(2, 6, 2, 3), growing(1, 7, 3, 5), growing(3, 3, 1, 1)] {
            let trial = Trial::at(sim.addr()).load(load.clone()).threads(threads).prompts(vec![prompt(20)]);
            let ended = trial.endless().run();
            let most = load.most().unwrap();
            ended.all_ok(most.into());
            let records = keeps_to(&ended, &load);
            let mut slots: Vec<u32> = records.iter().map(|record| record.slot).collect();
            slots.sort_unstable();
            assert!(slots.into_iter().eq(0..most), "each slot has one");
            assert_eq!(ended.facts.connections_opened, u64::from(most));
        }
    }
}

#[test]
fn a_batch_is_sent_while_the_ones_before_go_on() {
    // What has had one response gets no more before all requests are there.
    let arrived = std::sync::Arc::new(AtomicUsize::new(0));
    let server = serve(move |peer| {
        while peer.request().is_some() {
            arrived.fetch_add(1, Ordering::SeqCst);
            let answer = stream(&["a", "b"]);
            let second = answer.rfind("\"b\"").and_then(|at| answer[..at].rfind("data:")).unwrap();
            peer.send(&answer[..second]);
            while arrived.load(Ordering::SeqCst) < 5 {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            peer.send(&answer[second..]);
        }
    });
    let load = growing(1, 5, 2, 1);
    let ended = Trial::at(server.addr()).load(load.clone()).threads(2).endless().run();
    ended.all_ok(5);
    let records = keeps_to(&ended, &load);
    assert!(records.iter().all(|record| record.chunks[1].at >= records[4].sent.unwrap()));
}

#[test]
fn requests_that_end_sooner_are_not_waited_for() {
    // Too few responses, none at all, or a refusal.
    for (answer, ok) in [
        (stream(&["a", "b"]), true),
        (stream(&[]), true),
        (document(503, "application/json", r#"{"error":{"message":"busy"}}"#), false),
    ] {
        let server = serve(move |peer| {
            while peer.request().is_some() {
                peer.send(&answer);
            }
        });
        let load = growing(1, 7, 2, 1_000);
        let ended = Trial::at(server.addr()).load(load.clone()).threads(2).endless().run();
        let records = keeps_to(&ended, &load);
        assert_eq!(records.iter().map(|record| record.outcome == Outcome::Ok).collect::<Vec<_>>(), [ok; 7]);
    }
}

#[test]
fn what_ends_the_run_ends_the_wait_for_a_batch() {
    let control = Control::default();
    let server = serve_and_drain(&control);
    let ended = Trial::at(server.addr()).load(growing(1, 9, 4, 2)).threads(2).control(&control).endless().run();
    ended.all_ok(1);
    // A time or a count that is up before the last batch.
    let sim = sim(quick(), &[]);
    let load = growing(1, 9, 4, 2);
    let ended = Trial::at(sim.addr()).load(load.clone()).threads(2).requests(3).run();
    ended.all_ok(3);
    keeps_to(&ended, &load);
    let slow = crate::truth::sim(slow(), &[]);
    let long = Trial::at(slow.addr()).load(growing(1, 3, 1, 1_000)).threads(2).prompts(vec![prompt(200)]);
    let ended = long.duration(Nanos::from_millis(300)).run();
    assert_eq!(ended.finished.len(), 1);
}

#[test]
fn a_warm_up_grows_by_itself() {
    let sim = sim(quick(), &[]);
    let load = growing(1, 4, 1, 3);
    let ended = Trial::at(sim.addr()).load(load.clone()).threads(2).warmup(10).endless().run();
    ended.all_ok(4);
    keeps_to(&ended, &load);
    assert_eq!(ended.warmup.len(), 4, "each slot sends one");
}
