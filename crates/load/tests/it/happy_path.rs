//! Runs in which nothing goes wrong.

use crate::trial::{Trial, in_order};
use crate::truth::{quick, sim, slow};
use crate::words::prompt;
use std::collections::BTreeSet;
use streamgauge_core::clock::Nanos;
use streamgauge_core::event::{OutputKind, Usage};
use streamgauge_core::plan::{EndpointKind, Stamps};
use streamgauge_core::record::{Outcome, Phase};

#[test]
fn a_stream_leaves_a_chunk_for_each_token() {
    for kind in [EndpointKind::Chat, EndpointKind::Completions] {
        let sim = sim(quick(), &[]);
        let ended = Trial::at(sim.addr()).kind(kind).prompts(vec![prompt(7), prompt(3)]).requests(4).run();
        ended.all_ok(4);
        for (record, log) in ended.records().into_iter().zip(sim.stop().unwrap()) {
            let tokens = [7, 3][record.seq as usize % 2];
            assert_eq!(record.prompt, (record.seq % 2) as u32);
            assert_eq!((record.input_tokens, record.requested_output_tokens), (3, Some(tokens)));
            assert_eq!((record.chunks.len() as u32, log.output_tokens), (tokens, tokens));
            assert!(record.chunks.iter().all(|chunk| chunk.kind == OutputKind::Text));
            assert_eq!((record.status, record.finish.as_deref()), (Some(200), Some("length")));
            let usage = Usage {
                prompt_tokens: Some(u64::from(log.prompt_tokens)),
                completion_tokens: Some(u64::from(tokens)),
                ..Usage::default()
            };
            assert_eq!(record.usage, Some(usage));
            assert_eq!((record.retries, record.due, record.text_tokens), (0, None, None));
            assert_eq!((record.thread, record.slot), (0, 0));
        }
    }
}

#[test]
fn a_whole_answer_is_one_chunk() {
    for kind in [EndpointKind::Chat, EndpointKind::Completions] {
        let sim = sim(quick(), &[]);
        let ended = Trial::at(sim.addr()).kind(kind).streaming(false).prompts(vec![prompt(9)]).requests(2).run();
        ended.all_ok(2);
        for finished in &ended.finished {
            let record = &finished.record;
            assert_eq!(record.chunks.len(), 1);
            assert_eq!(record.chunks[0].at, record.end);
            assert_eq!(record.usage.unwrap().completion_tokens, Some(9));
            assert_eq!(record.finish.as_deref(), Some("length"));
            assert_eq!(finished.received.texts.len(), 1);
            assert!(finished.received.raw.is_empty());
        }
    }
}

#[test]
fn connections_are_opened_ahead_and_kept() {
    let sim = sim(quick(), &[]);
    let ended = Trial::at(sim.addr()).slots(3).requests(30).run();
    ended.all_ok(30);
    assert_eq!((ended.facts.connections_opened, ended.facts.connections_replaced), (3, 0));
    let connections: BTreeSet<u64> = sim.stop().unwrap().iter().map(|request| request.connection).collect();
    assert_eq!(connections.len(), 3);
    for slot in 0..3 {
        let records: Vec<_> = ended.records().into_iter().filter(|record| record.slot == slot).collect();
        assert!(!records.is_empty());
        assert!(records.iter().all(|record| record.connect.is_none()));
        assert_eq!(records[0].turnaround, None);
        for pair in records.windows(2) {
            assert_eq!(pair[1].turnaround, Some(pair[1].sent.unwrap() - pair[0].end));
            assert!(pair[1].turnaround.unwrap() >= Nanos::ZERO && pair[1].issued >= pair[0].end);
        }
    }
}

#[test]
fn warm_up_comes_first_and_counts_for_itself() {
    let sim = sim(slow(), &[]);
    let ended = Trial::at(sim.addr()).slots(3).warmup(7).requests(6).run();
    ended.all_ok(6);
    assert_eq!(ended.warmup.iter().map(|warm| warm.record.seq).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5, 6]);
    assert!(ended.warmup.iter().all(|warm| warm.record.phase == Phase::Warmup));
    assert!(ended.records().iter().all(|record| record.issued >= ended.facts.started));
    assert_eq!((ended.facts.connections_opened, ended.facts.connections_replaced), (3, 0));
    // Each slot goes on as it would within the measured part.
    for slot in 0..3 {
        let warm = ended.warmup.iter().map(|warm| &warm.record).filter(|record| record.slot == slot);
        let last = warm.map(|record| record.end).max().unwrap();
        if let Some(first) = ended.records().into_iter().find(|record| record.slot == slot) {
            assert_eq!(first.turnaround, Some(first.sent.unwrap() - last));
        }
    }
    assert_eq!(sim.stop().unwrap().len(), 13);
}

#[test]
#[cfg(target_os = "linux")]
fn kernel_stamps_come_with_a_lag() {
    let sim = sim(slow(), &[]);
    // The kernel begins to stamp a moment after the first socket has asked for it: in the warm-up here.
    let ended = Trial::at(sim.addr()).warmup(5).requests(3).run();
    ended.all_ok(3);
    assert!(ended.facts.kernel_stamps);
    for record in ended.records() {
        assert!(record.chunks.iter().all(|chunk| chunk.lag.is_some_and(|lag| lag >= Nanos::ZERO)), "{record:?}");
    }
}

#[test]
fn user_stamps_have_no_lag() {
    let sim = sim(quick(), &[]);
    let mut trial = Trial::at(sim.addr()).requests(3);
    trial.plan.transport.stamps = Stamps::User;
    let ended = trial.run();
    ended.all_ok(3);
    assert!(!ended.facts.kernel_stamps);
    assert!(ended.records().iter().all(|record| record.chunks.iter().all(|chunk| chunk.lag.is_none())));
}

#[test]
fn threads_share_the_numbers_and_nothing_else() {
    let sim = sim(quick(), &[]);
    let ended = Trial::at(sim.addr()).slots(6).threads(3).warmup(6).requests(120).run();
    ended.all_ok(120);
    assert_eq!(ended.warmup.len(), 6);
    assert_eq!(ended.facts.threads.len(), 3);
    assert_eq!(ended.facts.connections_opened, 6);
    for record in ended.records() {
        assert_eq!(u32::from(record.thread), record.slot % 3);
    }
    let threads: BTreeSet<u16> = ended.records().iter().map(|record| record.thread).collect();
    assert_eq!(threads.len(), 3);
    assert!(ended.facts.threads.iter().all(|thread| thread.wall > Nanos::ZERO && thread.cpu >= Nanos::ZERO));
}

#[test]
fn more_threads_than_slots_are_not_started() {
    let sim = sim(quick(), &[]);
    let ended = Trial::at(sim.addr()).slots(2).threads(8).requests(4).run();
    ended.all_ok(4);
    assert_eq!(ended.facts.threads.len(), 2);
}

#[test]
fn more_slots_than_requests_idle() {
    let sim = sim(quick(), &[]);
    let ended = Trial::at(sim.addr()).slots(5).requests(2).run();
    ended.all_ok(2);
    assert_eq!(ended.facts.connections_opened, 5);
    assert_eq!(sim.stop().unwrap().len(), 2);
}

#[test]
fn facts_frame_the_run() {
    let sim = sim(quick(), &[]);
    let trial = Trial::at(sim.addr()).slots(2).requests(10);
    let clock = trial.clock;
    let ended = trial.run();
    ended.all_ok(10);
    let facts = &ended.facts;
    assert_eq!((facts.interrupted, facts.ended_early.as_ref()), (false, None));
    assert_eq!(facts.anchor_wall, streamgauge_core::clock::Clock::anchor_wall(&clock));
    let records = ended.records();
    assert!(records.iter().all(|record| facts.started <= record.issued && record.end <= facts.ended));
}

#[test]
fn a_run_by_time_issues_nothing_after_it() {
    let sim = sim(slow(), &[]);
    let span = Nanos::from_millis(400);
    let ended = Trial::at(sim.addr()).slots(4).duration(span).run();
    let count = ended.finished.len() as u64;
    assert!(count >= 4, "{count}");
    ended.all_ok(count);
    let deadline = ended.facts.started + span;
    for record in ended.records() {
        assert!(record.issued < deadline, "{record:?}");
        in_order(record);
    }
    assert_eq!(sim.stop().unwrap().len() as u64, count);
    assert!(ended.records().iter().all(|record| record.outcome == Outcome::Ok));
}
