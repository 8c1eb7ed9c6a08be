//! What is written is read back, and what is no records file is refused.

use super::writer::push_record;
use super::*;
use crate::testing::{facts, plan, record, secret_header};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use streamgauge_core::kserve::SequenceTag;
use streamgauge_core::plan::EndpointKind;
use streamgauge_core::prompt::{Follows, History};
use streamgauge_core::record::{BodyEnd, ConversationTurn, SCHEMA, Unreadable};
use streamgauge_core::{Chunk, Failure, FailureClass, Outcome, OutputKind, Phase, Record, Stage, Usage};

fn written(records: &[Record]) -> Vec<u8> {
    let mut plan = plan(EndpointKind::Chat);
    plan.endpoint.headers = vec![secret_header()];
    plan.measure.goodput = vec![("request_latency".into(), 0.1 + 0.2)];
    let mut out = Vec::new();
    let mut writer = RecordWriter::new(&mut out, &plan, 77).unwrap();
    records.iter().for_each(|record| writer.write(record).unwrap());
    writer.finish(&facts()).unwrap();
    out
}

fn kinds() -> impl Strategy<Value = OutputKind> {
    prop_oneof![Just(OutputKind::Text), Just(OutputKind::Reasoning), Just(OutputKind::ToolCall)]
}

fn outcomes() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        Just(Outcome::Ok),
        Just(Outcome::CutOff),
        Just(Outcome::Cancelled),
        any::<String>().prop_map(|message| {
            Outcome::Failed(Failure { stage: Stage::FirstByte, class: FailureClass::InBand, message })
        }),
    ]
}

fn nanos() -> impl Strategy<Value = Option<Nanos>> {
    of(any::<i64>().prop_map(Nanos))
}

prop_compose! {
    fn chunks()(at: i64, lag in nanos(), shared: bool, kind in kinds()) -> Chunk {
        Chunk { at: Nanos(at), lag, shared, kind }
    }
}

prop_compose! {
    fn histories()(turn in of(of(any::<u32>())), recorded_answer: bool) -> History {
        let follows = turn.map_or(Follows::Previous, |turn| turn.map_or(Follows::Nothing, Follows::Turn));
        History { follows, recorded_answer }
    }
}

prop_compose! {
    fn records()(
        (seq, warmup, thread, slot, prompt, target, input_tokens) in
            any::<(u64, bool, u16, u32, u32, u16, u32)>(),
        (requested_output_tokens, text_tokens, status, finish) in any::<(Option<u32>, Option<u32>, Option<u16>, Option<String>)>(),
        (due, connect, sent, first_byte, first_event, turnaround) in
            (nanos(), nanos(), nanos(), nanos(), nanos(), nanos()),
        (issued, end, retries, bytes) in any::<(i64, i64, u8, u64)>(),
        usage in of(any::<[Option<u64>; 4]>()),
        chunks in vec(chunks(), 0..6),
        (written, sequence, unreadable) in (of(any::<i64>()), of(any::<(u64, bool, bool)>()), any::<(u32, u32)>()),
        conversation in of((any::<(u64, u32, u32, Option<u64>)>(), histories())),
        body_end in of(prop_oneof![Just(BodyEnd::Cut), Just(BodyEnd::Late)]),
        outcome in outcomes(),
    ) -> Record {
        Record {
            seq, thread, slot, prompt, target, input_tokens, requested_output_tokens, text_tokens, status, finish, due, connect, sent,
            first_byte, first_event, turnaround, retries, bytes, body_end, chunks, outcome,
            phase: if warmup { Phase::Warmup } else { Phase::Profiling },
            issued: Nanos(issued),
            unreadable: Unreadable { output: unreadable.0, other: unreadable.1 },
            written: written.map(Nanos),
            sequence: sequence.map(|(id, start, end)| SequenceTag { id, start, end }),
            conversation: conversation.map(|((number, turn, turns, history_tokens), history)| ConversationTurn {
                number, turn, turns, history, history_tokens,
            }),
            end: Nanos(end),
            usage: usage.map(|[prompt_tokens, completion_tokens, reasoning_tokens, cached_tokens]| Usage {
                prompt_tokens, completion_tokens, reasoning_tokens, cached_tokens,
            }),
        }
    }
}

proptest! {
    #[test]
    fn records_read_back_as_they_were(expected in vec(records(), 0..4)) {
        let out = written(&expected);
        let mut reader = RecordReader::new(&out[..]).unwrap();
        let read: Vec<Record> = reader.by_ref().map(Result::unwrap).collect();
        prop_assert_eq!(read, expected);
        prop_assert_eq!(reader.facts(), Some(&facts()));
        prop_assert_eq!(reader.torn(), None);
    }

    #[test]
    fn whatever_was_whole_before_a_kill_is_read(expected in vec(records(), 1..4), lost in 1usize..400) {
        let out = written(&expected);
        let header = out.iter().position(|&byte| byte == b'\n').unwrap() + 1;
        let left = &out[..out.len().saturating_sub(lost).max(header)];
        let mut reader = RecordReader::new(left).unwrap();
        let read: Vec<Record> = reader.by_ref().map(Result::unwrap).collect();
        prop_assert_eq!(&read[..], &expected[..read.len()]);
        let lines = left[header..].iter().filter(|&&byte| byte == b'\n').count();
        let whole = read.len() + usize::from(reader.facts().is_some());
        // The last line may be whole but for its newline.
        let unended = left.last() != Some(&b'\n');
        let only_newline_lost = unended && left.ends_with(b"}");
        prop_assert!(whole == lines || (only_newline_lost && whole == lines + 1));
        prop_assert_eq!(reader.torn().is_some(), unended && whole == lines);
    }
}

#[test]
fn a_line_is_as_documented() {
    let chunk = |at, shared, kind| Chunk { at: Nanos(at), lag: Some(Nanos(3)), shared, kind };
    let record = Record {
        sent: Some(Nanos(100)),
        written: None,
        first_byte: Some(Nanos(110)),
        chunks: vec![chunk(120, false, OutputKind::Reasoning), chunk(120, true, OutputKind::Text)],
        status: Some(200),
        usage: Some(Usage { prompt_tokens: Some(31), ..Usage::default() }),
        ..record()
    };
    let mut line = Vec::new();
    push_record(&mut line, &record);
    let expected = concat!(
        r#"{"seq":0,"phase":"profiling","thread":0,"slot":0,"prompt":0,"input_tokens":20,"want_out":8,"#,
        r#""issued_ns":0,"sent_ns":100,"first_byte_ns":110,"at_ns":[20,20],"lag_ns":[3,3],"shared":[1],"#,
        r#""kinds":"rt","end_ns":0,"status":200,"usage":{"prompt_tokens":31},"bytes":0,"outcome":"ok"}"#,
    );
    assert_eq!(String::from_utf8(line).unwrap(), expected);
}

#[test]
fn the_header_names_version_schema_and_plan_without_secrets() {
    let out = written(&[]);
    let reader = RecordReader::new(&out[..]).unwrap();
    assert_eq!(reader.header().streamgauge, env!("CARGO_PKG_VERSION"));
    assert_eq!((reader.header().schema, reader.header().anchor_wall_ns), (SCHEMA, 77));
    assert_eq!(reader.header().plan.endpoint.models, ["tinychat"]);
    // What was read is written as it was: secrets hidden, everything else to the last bit.
    let mut again = Vec::new();
    drop(RecordWriter::new(&mut again, &reader.header().plan, 77).unwrap());
    assert!(out.starts_with(&again) && !again.is_empty());
    assert!(!String::from_utf8(out).unwrap().contains("sk-secret"));
}

/// Members that plans and facts got after records were first written.
#[test]
fn records_of_a_plan_without_the_newer_members_are_read() {
    let out = String::from_utf8(written(&[record()])).unwrap();
    let mut lines: Vec<serde_json::Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut remove = |line: usize, parent: &str, names: &[&str]| {
        let object = lines[line].pointer_mut(parent).unwrap().as_object_mut().unwrap();
        names.iter().for_each(|name| assert!(object.remove(*name).is_some(), "{name}"));
    };
    remove(0, "/plan", &["prefill", "warmup", "cancel", "connections", "acknowledge", "steady_state"]);
    remove(0, "/plan/endpoint", &["others", "balance", "continuous_usage", "length_field"]);
    remove(0, "/plan/prompts", &["tokenizer_revision"]);
    remove(0, "/plan/stop", &["failed_share", "stability", "confidence"]);
    remove(2, "/run", &["satisfied", "window", "connections_replaced"]);
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let mut reader = RecordReader::new(text.as_bytes()).unwrap();
    assert_eq!(reader.by_ref().map(Result::unwrap).collect::<Vec<_>>(), [record()]);
    assert_eq!(reader.facts(), Some(&facts()));
    let plan = &reader.header().plan;
    let original = plan_json(&crate::testing::plan(EndpointKind::Chat));
    assert_eq!((plan_json(plan)["stop"].clone(), plan.output.record_formats.len()), (original["stop"].clone(), 2));
    assert_eq!(plan.transport.acknowledge, streamgauge_core::plan::Acknowledge::Delayed);
}

fn plan_json(plan: &streamgauge_core::RunPlan) -> serde_json::Value {
    serde_json::to_value(plan).unwrap()
}

#[test]
fn other_files_are_refused_in_a_sentence() {
    let refusal = |text: &str| match RecordReader::new(text.as_bytes()) {
        Err(error) => error.to_string(),
        Ok(reader) => reader.last().unwrap().unwrap_err().to_string(),
    };
    assert!(refusal("").starts_with("this is not a records file"));
    assert!(refusal("{\"data\":[]}\n").starts_with("this is not a records file"));
    let header = |schema| format!(r#"{{"streamgauge":"9","schema":{schema},"anchor_wall_ns":0,"plan":{{}}}}"#);
    assert_eq!(refusal(&header(2)), "the records have schema 2; this version reads up to 1");
    let plan_refusal = refusal(&header(1));
    assert!(plan_refusal.contains("cannot be read by this version: missing field"), "{plan_refusal}");
    let whole = String::from_utf8(written(&[])).unwrap();
    let bad = format!("{}\n{{\"seq\":\"x\"}}\n", whole.lines().next().unwrap());
    assert!(refusal(&bad).starts_with("line 2 of the records is not a record: invalid type"), "{}", refusal(&bad));
}
