//! Requests of stateful models: the server sees whole sequences, and records what they say of them.

use crate::grpc::{calls, prompt, streams};
use crate::grpc_server::{Call, GrpcServer, answer_all, serve_grpc, text};
use crate::trial::{Trial, in_flight, most_at_once};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use streamgauge_core::arrival::Arrival;
use streamgauge_core::kserve::{SequenceTag, Sequences};
use streamgauge_core::record::Outcome;
use streamgauge_wire::proto::ModelInferRequest;
use streamgauge_wire::proto::infer_parameter::ParameterChoice;

/// What the server was told, in the order in which it came.
type Told = Arc<Mutex<Vec<(SequenceTag, String)>>>;

fn rule(live: u32, length: u32) -> Sequences {
    Sequences { live, length, variation: 0.0, first_id: 7, end_id: None, serial: false }
}

fn tag(request: &ModelInferRequest) -> SequenceTag {
    let parameter = |name: &str| request.parameters.get(name).and_then(|value| value.parameter_choice.clone());
    let id = match parameter("sequence_id") {
        Some(ParameterChoice::Int64Param(id)) => id as u64,
        Some(ParameterChoice::Uint64Param(id)) => id,
        other => panic!("{other:?}"),
    };
    let flag = |name: &str| parameter(name) == Some(ParameterChoice::BoolParam(true));
    SequenceTag { id, start: flag("sequence_start"), end: flag("sequence_end") }
}

/// Answers calls after `pause`, and puts down what they say.
fn listener(pause: Duration) -> (GrpcServer, Told) {
    let told = Told::default();
    let heard = told.clone();
    let server = serve_grpc(move |mut call: Call| {
        let heard = heard.clone();
        async move {
            let Some(request) = call.request().await else { return };
            heard.lock().unwrap().push((tag(&request), request.id.clone()));
            tokio::time::sleep(pause).await;
            call.message(&text(&request.id, "a"));
            call.end("0", "");
        }
    });
    (server, told)
}

/// Each sequence has one start and one end; how long each is.
fn are_closed(told: &Told) -> BTreeMap<u64, usize> {
    let mut sequences = BTreeMap::<u64, Vec<SequenceTag>>::new();
    for (tag, _) in told.lock().unwrap().iter() {
        sequences.entry(tag.id).or_default().push(*tag);
    }
    for tags in sequences.values() {
        let count = |said: fn(&SequenceTag) -> bool| tags.iter().filter(|tag| said(tag)).count();
        assert_eq!((count(|tag| tag.start), count(|tag| tag.end)), (1, 1), "{tags:?}");
    }
    sequences.into_iter().map(|(id, tags)| (id, tags.len())).collect()
}

/// Each sequence begins with its start, ends with its end, and says neither in between.
fn are_whole(told: &Told) -> BTreeMap<u64, usize> {
    let mut sequences = BTreeMap::<u64, Vec<SequenceTag>>::new();
    for (tag, _) in told.lock().unwrap().iter() {
        sequences.entry(tag.id).or_default().push(*tag);
    }
    for tags in sequences.values() {
        let last = tags.len() - 1;
        for (step, tag) in tags.iter().enumerate() {
            assert_eq!((tag.start, tag.end), (step == 0, step == last), "{tags:?}");
        }
    }
    sequences.into_iter().map(|(id, tags)| (id, tags.len())).collect()
}

fn in_sequences(mut trial: Trial, rule: Sequences) -> Trial {
    trial.plan.load.sequences = Some(rule);
    trial
}

#[test]
fn each_slot_has_one_sequence_after_another_and_the_last_is_closed() {
    let (server, told) = listener(Duration::ZERO);
    let ended = in_sequences(calls(&server), rule(9, 3)).slots(2).requests(8).run();
    ended.all_ok(8);
    // Those that the requests left open were closed by requests that are in no record.
    let lengths = are_whole(&told);
    let closing = told.lock().unwrap().len() - 8;
    assert!(closing <= 2, "{told:?}");
    assert!(lengths.keys().eq(&(7..7 + lengths.len() as u64).collect::<Vec<_>>()), "{lengths:?}");
    assert!(lengths.values().all(|length| (2..=3).contains(length)), "{lengths:?}");
    let mut seen: Vec<SequenceTag> = ended.records().iter().map(|record| record.sequence.unwrap()).collect();
    let numbers: Vec<String> = (0..8).map(|seq| seq.to_string()).collect();
    let mut heard: Vec<SequenceTag> =
        told.lock().unwrap().iter().filter(|(_, id)| numbers.contains(id)).map(|(tag, _)| *tag).collect();
    let by_step = |tag: &SequenceTag| (tag.id, !tag.start, tag.end);
    seen.sort_by_key(by_step);
    heard.sort_by_key(by_step);
    assert_eq!(seen, heard);
}

#[test]
fn at_a_rate_requests_go_round_the_live_sequences() {
    let (server, told) = listener(Duration::ZERO);
    let trial = Trial::rate(in_sequences(calls(&server), rule(3, 4)), 100.0, Arrival::Constant, None);
    let ended = trial.requests(10).threads(2).run();
    ended.all_ok(10);
    // Four requests of each place at most, so that only the first place came to its end by itself.
    assert_eq!(are_closed(&told).values().sum::<usize>(), told.lock().unwrap().len());
    assert_eq!(told.lock().unwrap().len(), 12, "the two that were left open are closed");
    for record in ended.records() {
        let place = ended.records()[(record.seq % 3) as usize].sequence.unwrap().id;
        assert!(record.seq >= 9 || record.sequence.unwrap().id == place, "{record:?}");
    }
}

#[test]
fn a_serial_sequence_waits_for_its_answer_and_others_do_not() {
    let (server, told) = listener(Duration::from_millis(80));
    let serial = Sequences { serial: true, ..rule(2, 100) };
    let trial = Trial::rate(in_sequences(calls(&server), serial), 100.0, Arrival::Constant, None);
    let ended = trial.requests(8).run();
    ended.all_ok(8);
    are_whole(&told);
    for place in 0..2 {
        let mine = || ended.records().into_iter().filter(move |record| record.seq % 2 == place);
        assert_eq!(most_at_once(mine().map(in_flight)), 1);
        assert!(mine().all(|record| record.due.unwrap() <= record.issued));
    }
    // Both at once, and late ones.
    assert_eq!(most_at_once(ended.records().into_iter().map(in_flight)), 2);
}

#[test]
fn a_request_that_waits_for_its_sequence_when_the_run_ends_is_put_down() {
    let (server, told) = listener(Duration::from_millis(400));
    let serial = Sequences { serial: true, ..rule(1, 100) };
    let trial = Trial::rate(in_sequences(calls(&server), serial), 50.0, Arrival::Constant, None);
    let control = trial.control.clone();
    let stop = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        control.drain();
    });
    let ended = trial.requests(500).run();
    stop.join().unwrap();
    let records = ended.records();
    let count = records.len() as u64;
    assert_eq!(records.iter().map(|record| record.seq).collect::<Vec<_>>(), (0..count).collect::<Vec<_>>());
    let unsent = records.iter().filter(|record| record.sent.is_none());
    assert!(unsent.clone().count() >= 1 && unsent.clone().all(|record| record.outcome == Outcome::CutOff));
    assert_eq!(told.lock().unwrap().last().map(|(tag, _)| tag.end), Some(true));
}

#[test]
fn a_sequence_sends_the_inputs_of_its_stream() {
    let (server, _told) = listener(Duration::ZERO);
    let prompts = ["a", "b", "c", "d", "e"].map(prompt).to_vec();
    let trial = in_sequences(calls(&server), rule(1, 9)).prompts(prompts).requests(8);
    let ended = trial.run_job(|job| job.in_streams(vec![2, 3]));
    ended.all_ok(8);
    let sent: Vec<(u32, u64)> =
        ended.records().iter().map(|record| (record.prompt, record.sequence.unwrap().id)).collect();
    assert_eq!(sent, [(0, 7), (1, 7), (2, 8), (3, 8), (4, 8), (0, 9), (1, 9), (2, 10)]);
}

#[test]
fn without_sequences_nothing_is_said_of_them() {
    let server = serve_grpc(answer_all);
    let ended = streams(&server).requests(2).run();
    ended.all_ok(2);
    assert!(ended.records().iter().all(|record| record.sequence.is_none()));
}
