//! The figures of conversations, from records in any order and in parts.

use crate::support::{config, facts, failure, stream, summary_of};
use proptest::collection::vec;
use proptest::prelude::*;
use streamgauge_core::prompt::History;
use streamgauge_core::record::ConversationTurn;
use streamgauge_core::{FailureClass, Outcome, Record, Stage};
use streamgauge_stats::conversations::MOST_TURNS;
use streamgauge_stats::{Accumulator, Repeats};

fn turn(record: Record, number: u64, turn: u32, turns: u32) -> Record {
    let history = History::default();
    let conversation = Some(ConversationTurn { number, turn, turns, history, history_tokens: None });
    Record { conversation, input_tokens: turn.saturating_add(1).saturating_mul(10), ..record }
}

#[test]
fn each_turn_and_each_end_is_counted() {
    let failed = failure(4, 300, Stage::Connect, FailureClass::Refused, "");
    let cut_off = Record { outcome: Outcome::CutOff, ..stream(5, 0, 10, 1) };
    let records = [
        // Complete in 100 ms and in 200 ms.
        turn(stream(0, 0, 10, 4), 0, 0, 2),
        turn(stream(1, 60, 10, 4), 0, 1, 2),
        turn(stream(2, 0, 50, 2), 1, 0, 2),
        turn(stream(3, 180, 5, 4), 1, 1, 2),
        turn(failed, 2, 0, 2),
        turn(cut_off, 3, 0, 2),
        // Its second turn never came.
        turn(stream(6, 0, 10, 1), 4, 0, 2),
    ];
    let figures = *summary_of(config(), &facts(), &records).conversations.unwrap();
    assert_eq!((figures.begun, figures.completed, figures.failed, figures.cut_off), (5, 2, 1, 2));
    let answered = figures.answered_turns.unwrap();
    assert_eq!((answered.count, answered.mean, answered.max), (5, 1.0, 2.0));
    let duration = figures.duration.unwrap();
    assert_eq!((duration.count, duration.mean, duration.max), (2, 150.0, 200.0));
    let [first, second] = &figures.turns[..] else { panic!("{:?}", figures.turns) };
    assert_eq!((first.ok, first.failed, first.unfinished), (3, 1, 1));
    assert_eq!((second.ok, second.failed, second.unfinished), (2, 0, 0));
    let latency = first.request_latency.unwrap();
    assert_eq!((latency.avg, latency.max), (50.0, 100.0));
    assert!((latency.p50 - 40.0).abs() < 0.5 && (latency.p99 - 100.0).abs() < 1.0, "{latency:?}");
    let ttft = second.time_to_first_token.unwrap();
    assert_eq!((ttft.avg, ttft.max), (7.5, 10.0));
    assert_eq!((first.input_tokens.unwrap().mean, second.input_tokens.unwrap().mean), (10.0, 20.0));
    assert_eq!((second.output_tokens.unwrap().mean, second.output_tokens.unwrap().max), (4.0, 4.0));
    // Requests that are no turns have no such figures.
    assert_eq!(summary_of(config(), &facts(), &[stream(0, 0, 10, 4)]).conversations, None);
}

#[test]
fn late_turns_are_counted_together() {
    let records: Vec<_> = (0..40).map(|number| turn(stream(number.into(), 0, 10, 2), 0, number, 40)).collect();
    let figures = *summary_of(config(), &facts(), &records).conversations.unwrap();
    assert_eq!(figures.turns.len(), MOST_TURNS);
    assert_eq!(figures.turns[MOST_TURNS - 1].ok, 40 - MOST_TURNS as u64 + 1);
    assert_eq!(figures.completed, 1);
    // A number from a damaged file takes no memory.
    let odd = turn(stream(0, 0, 10, 2), u64::MAX, u32::MAX, u32::MAX);
    assert_eq!(summary_of(config(), &facts(), &[odd]).conversations.unwrap().cut_off, 1);
}

#[test]
fn prompts_are_counted_unless_there_are_too_many() {
    let sent = |prompts: &[u32]| {
        let records: Vec<_> =
            (0..).zip(prompts).map(|(seq, prompt)| Record { prompt: *prompt, ..stream(seq, 0, 10, 2) }).collect();
        summary_of(config(), &facts(), &records).repeats
    };
    assert_eq!(sent(&[0, 1, 3, 1]), Some(Repeats { prompts: 3, least: 1, most: 2 }));
    assert_eq!(sent(&[0, u32::MAX]), None);
    assert_eq!(sent(&[]), None);
}

proptest! {
    #[test]
    fn parts_and_order_make_no_difference(
        conversations in vec((1..5_u32, 0..6_u32, any::<bool>()), 1..12),
        (parts, order) in (vec(0..3_usize, 60), any::<prop::sample::Index>()),
    ) {
        let mut records = Vec::new();
        for (number, (turns, fails_at, cut)) in (0..).zip(conversations) {
            for index in 0..turns.min(fails_at.saturating_add(1)) {
                let seq = records.len() as u64;
                let made = match (index == fails_at, cut) {
                    (false, _) => stream(seq, i64::from(index) * 50, 5, 3),
                    (true, false) => failure(seq, 100, Stage::Body, FailureClass::Reset, ""),
                    (true, true) => Record { outcome: Outcome::CutOff, ..stream(seq, 0, 10, 1) },
                };
                records.push(Record { prompt: index, ..turn(made, number, index, turns) });
            }
        }
        let whole = summary_of(config(), &facts(), &records);
        let at = order.index(records.len());
        records.rotate_left(at);
        let mut merged = Accumulator::new(config());
        for part in 0..3 {
            let mut folded = Accumulator::new(config());
            let of_part = records.iter().zip(&parts).filter(|(_, known)| **known == part);
            of_part.for_each(|(record, _)| folded.add(record));
            merged.merge(folded).unwrap();
        }
        let merged = merged.close(&facts());
        prop_assert_eq!(merged.conversations, whole.conversations);
        prop_assert_eq!(merged.repeats, whole.repeats);
    }
}
