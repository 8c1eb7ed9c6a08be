//! Requests that are prepared while the run goes on: the same requests with the same numbers as if all had been kept in memory.

use crate::conversations::{messages, said, server, turns};
use crate::trial::{Ended, Trial};
use std::sync::atomic::Ordering;
use streamgauge_core::arrival::Arrival;
use streamgauge_core::clock::Nanos;
use streamgauge_core::load::Load;
use streamgauge_core::record::Outcome;

fn prompts(ended: &Ended) -> Vec<(u64, u32)> {
    ended.records().iter().map(|record| (record.seq, record.prompt)).collect()
}

#[test]
fn conversations_come_in_the_order_of_their_source_and_go_round() {
    let (server, bodies) = server();
    let trial = Trial::at(server.addr()).prompts(turns(&["a", "b", "c"])).requests(5);
    let ended = trial.run_streamed(&[1, 2], |_, _| true);
    ended.all_ok(5);
    let expected = [&["a"][..], &["b"], &["b", "answer 1", "c"], &["a"], &["b"]];
    assert_eq!(bodies.lock().unwrap().iter().map(said).collect::<Vec<_>>(), expected.map(messages));
    assert_eq!(prompts(&ended), [(0, 0), (1, 1), (2, 2), (3, 0), (4, 1)]);
    assert_eq!(ended.facts.prompt_waits.map(|waits| waits.total >= waits.longest), Some(true));
}

#[test]
fn they_are_the_same_on_several_threads_as_if_they_were_kept() {
    let texts = ["a", "b", "c", "d", "e", "f"];
    let run = |is_streamed| {
        let (server, bodies) = server();
        let trial = Trial::at(server.addr()).prompts(turns(&texts)).slots(5).threads(2).requests(40).warmup(7);
        let ended = match is_streamed {
            true => trial.run_streamed(&[2, 1, 3], |_, _| true),
            false => trial.run_in_conversations(&[2, 1, 3], Nanos::ZERO),
        };
        ended.all_ok(40);
        let mut sent: Vec<_> = bodies.lock().unwrap().iter().map(|body| format!("{:?}", said(body))).collect();
        sent.sort();
        let warmup: Vec<_> = ended.warmup.iter().map(|finished| finished.record.seq).collect();
        (sent, prompts(&ended), warmup)
    };
    assert_eq!(run(true), run(false));
}

#[test]
fn an_open_loop_has_its_dues_and_ends_with_the_count_of_requests() {
    let (server, _bodies) = server();
    let trial = Trial::at(server.addr()).prompts(turns(&["a", "b"])).rate(200.0, Arrival::Constant, None);
    let ended = trial.requests(9).threads(2).run_streamed(&[2], |_, _| true);
    ended.all_ok(9);
    let starts: Vec<Nanos> = ended.finished.iter().step_by(2).filter_map(|finished| finished.record.due).collect();
    assert!(starts.windows(2).all(|pair| pair[1] - pair[0] == Nanos::from_millis(5)), "{starts:?}");
    assert_eq!(starts.len(), 5);
}

#[test]
fn a_source_that_ends_by_an_error_ends_the_run_and_loses_nothing() {
    for load in
        [Load::concurrency(3), Trial::at(([127, 0, 0, 1], 1).into()).rate(500.0, Arrival::Poisson, None).plan.load.mode]
    {
        let (server, _bodies) = server();
        let trial = Trial::at(server.addr()).prompts(turns(&["a", "b"])).load(load).endless().threads(2);
        let ended = trial.run_streamed(&[1, 1], |number, _| number < 12);
        ended.all_ok(12);
    }
}

#[test]
fn a_prompt_that_is_not_ready_makes_its_request_wait_and_is_counted() {
    let (server, _bodies) = server();
    let trial = Trial::at(server.addr()).prompts(turns(&["a"])).requests(3);
    let ended = trial.run_streamed(&[1], |number, seen| {
        if number == 2 {
            // A slot asks for its next request before the record of the last one leaves its thread.
            seen.wait_until(|seen| seen.records.load(Ordering::Relaxed) == 2);
        }
        true
    });
    ended.all_ok(3);
    let waits = ended.facts.prompt_waits.unwrap();
    assert!((1..=3).contains(&waits.count), "{waits:?}");
    assert!(waits.longest > Nanos::ZERO && waits.total >= waits.longest);
    assert!(ended.finished[2].record.turnaround.unwrap() > Nanos::ZERO, "it is the client that was late");
}

#[test]
fn requests_that_were_due_and_never_sent_are_recorded_without_their_prompts() {
    let (server, bodies) = server();
    // Nothing that comes after the first prompt is ever prepared.
    let trial = Trial::at(server.addr()).prompts(turns(&["a"])).duration(Nanos::from_millis(300));
    let trial = trial.rate(100.0, Arrival::Constant, None).grace(Nanos::from_millis(50));
    let ended = trial.run_streamed(&[1], |number, seen| {
        if number == 1 {
            seen.wait_until(|seen| seen.is_over.load(Ordering::Relaxed));
        }
        true
    });
    assert_eq!(bodies.lock().unwrap().len(), 1);
    let records = ended.records();
    assert_eq!(records.iter().map(|record| record.seq).collect::<Vec<_>>(), (0..30).collect::<Vec<_>>());
    assert!(records[0].is_ok() && records[1..].iter().all(|record| record.outcome == Outcome::CutOff));
    assert!(records[1..].iter().all(|record| record.sent.is_none() && record.input_tokens == 0));
}
