//! `records.jsonl`: all that a run left behind, one line a request, and the source of everything else that is written.
//!
//! The first line says what wrote it, under which schema, and what the plan was; the last holds what belongs to no
//! single request. In between each line is a record. Times are nanoseconds on the run's clock; the stamps of the output
//! events are counted from `sent_ns`, which keeps them short, and stand in parallel arrays:
//!
//! | member | meaning |
//! | --- | --- |
//! | `at_ns` | receive stamps of the output events, from `sent_ns` (from `issued_ns` when it was never sent) |
//! | `lag_ns` | how much later than the kernel each was read; absent without kernel stamps |
//! | `shared` | indices of those that came in the same read as the one before; absent when there are none |
//! | `kinds` | one letter each: `t` text, `r` reasoning, `c` tool call; absent when all are text |
//!
//! A member that would hold nothing is absent. A killed process leaves at most its last line torn, and the reader
//! gives everything before it.

use crate::compact::{push_int, push_string, push_value};
use serde::Deserialize;
use serde_json::{Value, json};
use std::io::{self, BufRead, Write};
use streamgauge_core::plan::RunPlan;
use streamgauge_core::record::{RunFacts, SCHEMA};
use streamgauge_core::{Chunk, Nanos, Outcome, OutputKind, Phase, Record, Usage};

/// Writes records, one after the other. Its memory is one line.
pub struct RecordWriter<W> {
    out: W,
    line: Vec<u8>,
}

impl<W: Write> RecordWriter<W> {
    /// Begins the file. `anchor_wall` is the wall-clock time of the run's clock's zero, in nanoseconds since 1970.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn new(mut out: W, plan: &RunPlan, anchor_wall: i64) -> io::Result<RecordWriter<W>> {
        let header = json!({
            "streamgauge": env!("CARGO_PKG_VERSION"),
            "schema": SCHEMA,
            "anchor_wall_ns": anchor_wall,
            "plan": serde_json::to_value(plan)?,
        });
        writeln!(out, "{header}")?;
        Ok(RecordWriter { out, line: Vec::new() })
    }

    /// Adds a record, whatever its phase and outcome.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn write(&mut self, record: &Record) -> io::Result<()> {
        self.line.clear();
        push_record(&mut self.line, record);
        self.line.push(b'\n');
        self.out.write_all(&self.line)
    }

    /// Hands what was written to the system, so that it outlives this process.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Ends the file.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn finish(mut self, facts: &RunFacts) -> io::Result<()> {
        writeln!(self.out, "{}", json!({"run": serde_json::to_value(facts)?}))?;
        self.out.flush()
    }
}

fn push_record(line: &mut Vec<u8>, record: &Record) {
    line.extend_from_slice(b"{\"seq\":");
    push_int(line, record.seq);
    line.extend_from_slice(match record.phase {
        Phase::Profiling => b",\"phase\":\"profiling\"",
        Phase::Warmup => b",\"phase\":\"warmup\"",
    });
    member(line, "thread", Some(i64::from(record.thread)));
    member(line, "slot", Some(i64::from(record.slot)));
    member(line, "prompt", Some(i64::from(record.prompt)));
    member(line, "target", (record.target > 0).then_some(i64::from(record.target)));
    member(line, "input_tokens", Some(i64::from(record.input_tokens)));
    member(line, "want_out", record.want_out.map(i64::from));
    member(line, "due_ns", record.due.map(|at| at.0));
    member(line, "issued_ns", Some(record.issued.0));
    member(line, "connect_ns", record.connect.map(|span| span.0));
    member(line, "sent_ns", record.sent.map(|at| at.0));
    member(line, "first_byte_ns", record.first_byte.map(|at| at.0));
    member(line, "first_event_ns", record.first_event.map(|at| at.0));
    push_chunks(line, &record.chunks, origin(record.sent, record.issued));
    member(line, "end_ns", Some(record.end.0));
    member(line, "turnaround_ns", record.turnaround.map(|span| span.0));
    member(line, "retries", (record.retries > 0).then_some(i64::from(record.retries)));
    member(line, "status", record.status.map(i64::from));
    if let Some(finish) = &record.finish {
        key(line, "finish");
        push_string(line, finish);
    }
    if let Some(usage) = &record.usage {
        push_usage(line, usage);
    }
    member(line, "text_tokens", record.text_tokens.map(i64::from));
    key(line, "bytes");
    push_int(line, record.bytes);
    push_outcome(line, &record.outcome);
    line.push(b'}');
}

/// What the stamps of output events are counted from.
fn origin(sent: Option<Nanos>, issued: Nanos) -> i64 {
    sent.unwrap_or(issued).0
}

fn push_chunks(line: &mut Vec<u8>, chunks: &[Chunk], origin: i64) {
    if chunks.is_empty() {
        return;
    }
    array(line, "at_ns", chunks, |line, chunk| push_int(line, chunk.at.0.wrapping_sub(origin)));
    if chunks.iter().any(|chunk| chunk.lag.is_some()) {
        array(line, "lag_ns", chunks, |line, chunk| match chunk.lag {
            Some(lag) => push_int(line, lag.0),
            None => line.extend_from_slice(b"null"),
        });
    }
    if chunks.iter().any(|chunk| chunk.shared) {
        let shared = (0u64..).zip(chunks).filter(|(_, chunk)| chunk.shared).map(|(index, _)| index);
        array(line, "shared", shared, push_int);
    }
    if chunks.iter().any(|chunk| chunk.kind != OutputKind::Text) {
        key(line, "kinds");
        line.push(b'"');
        line.extend(chunks.iter().map(|chunk| match chunk.kind {
            OutputKind::Text => b't',
            OutputKind::Reasoning => b'r',
            OutputKind::ToolCall => b'c',
        }));
        line.push(b'"');
    }
}

fn push_usage(line: &mut Vec<u8>, usage: &Usage) {
    key(line, "usage");
    line.push(b'{');
    for (name, count) in [
        ("prompt_tokens", usage.prompt_tokens),
        ("completion_tokens", usage.completion_tokens),
        ("reasoning_tokens", usage.reasoning_tokens),
        ("cached_tokens", usage.cached_tokens),
    ] {
        if let Some(count) = count {
            key(line, name);
            push_int(line, count);
        }
    }
    line.push(b'}');
}

fn push_outcome(line: &mut Vec<u8>, outcome: &Outcome) {
    key(line, "outcome");
    match outcome {
        Outcome::Ok => line.extend_from_slice(b"\"ok\""),
        Outcome::Cancelled => line.extend_from_slice(b"\"cancelled\""),
        Outcome::CutOff => line.extend_from_slice(b"\"cut_off\""),
        Outcome::Failed(failure) => {
            line.extend_from_slice(b"\"failed\"");
            key(line, "stage");
            push_value(line, &json!(failure.stage));
            key(line, "class");
            push_value(line, &json!(failure.class));
            key(line, "message");
            push_string(line, &failure.message);
        }
    }
}

/// Begins a member of an object; the names are ours and need no escape.
fn key(line: &mut Vec<u8>, name: &str) {
    if line.last() != Some(&b'{') {
        line.push(b',');
    }
    line.push(b'"');
    line.extend_from_slice(name.as_bytes());
    line.extend_from_slice(b"\":");
}

fn member(line: &mut Vec<u8>, name: &str, value: Option<i64>) {
    if let Some(value) = value {
        key(line, name);
        push_int(line, value);
    }
}

fn array<T>(line: &mut Vec<u8>, name: &str, items: impl IntoIterator<Item = T>, mut push: impl FnMut(&mut Vec<u8>, T)) {
    key(line, name);
    line.push(b'[');
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            line.push(b',');
        }
        push(line, item);
    }
    line.push(b']');
}

/// Why a file of records cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file does not begin as one of ours.
    #[error(
        "this is not a records file: its first line does not give a `streamgauge` version, a `schema` and a `plan`"
    )]
    NoHeader,
    /// It was written by a later version.
    #[error("the records have schema {0}; this version reads up to {SCHEMA}")]
    Newer(u32),
    /// The plan is not one that this version knows.
    #[error("the plan in the first line of the records cannot be read by this version: {0}")]
    Plan(serde_json::Error),
    /// A line in the middle is not a record.
    #[error("line {line} of the records is not a record: {reason}")]
    Line {
        /// Its number, from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// The file cannot be read.
    #[error("the records cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// The first line of a file of records.
#[derive(Clone, Debug)]
pub struct Header {
    /// The version that wrote it.
    pub streamgauge: String,
    /// The version of the records' form.
    pub schema: u32,
    /// Wall-clock time of the run's clock's zero, nanoseconds since 1970.
    pub anchor_wall_ns: i64,
    /// The plan, without its secrets.
    pub plan: RunPlan,
}

/// The first line as it is read: whether this version knows the plan's form is asked after whether it knows the schema.
#[derive(Deserialize)]
struct FirstLine {
    streamgauge: String,
    schema: u32,
    anchor_wall_ns: i64,
    plan: Value,
}

/// Reads records back, one after the other. Once it has given the last, [`RecordReader::facts`] and
/// [`RecordReader::torn`] say how the file ended.
pub struct RecordReader<R> {
    input: R,
    header: Header,
    line: Vec<u8>,
    number: u64,
    facts: Option<RunFacts>,
    torn: Option<u64>,
    failed: bool,
}

impl<R: BufRead> RecordReader<R> {
    /// Reads the first line.
    ///
    /// # Errors
    /// When the input cannot be read, is no file of records, or is one of a later schema or with an unknown plan.
    pub fn new(mut input: R) -> Result<RecordReader<R>, ReadError> {
        let mut line = Vec::new();
        input.read_until(b'\n', &mut line)?;
        let first: FirstLine = serde_json::from_slice(&line).map_err(|_| ReadError::NoHeader)?;
        let FirstLine { streamgauge, schema, anchor_wall_ns, plan } = first;
        if schema > SCHEMA {
            return Err(ReadError::Newer(schema));
        }
        let plan = serde_json::from_value(plan).map_err(ReadError::Plan)?;
        let header = Header { streamgauge, schema, anchor_wall_ns, plan };
        Ok(RecordReader { input, header, line, number: 1, facts: None, torn: None, failed: false })
    }

    /// What the first line says.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// What belongs to no single request; absent when the run was killed before its end.
    pub fn facts(&self) -> Option<&RunFacts> {
        self.facts.as_ref()
    }

    /// The number of the last line when only its beginning is there: the process was killed while writing it.
    pub fn torn(&self) -> Option<u64> {
        self.torn
    }

    fn read(&mut self) -> Result<Option<Record>, ReadError> {
        self.line.clear();
        if self.facts.is_some() || self.torn.is_some() || self.input.read_until(b'\n', &mut self.line)? == 0 {
            return Ok(None);
        }
        self.number += 1;
        let error = match serde_json::from_slice::<Flat>(&self.line) {
            Ok(flat) => return flat.unfold().map(Some).map_err(|reason| self.refusal(reason)),
            Err(error) => error,
        };
        if let Ok(LastLine { run }) = serde_json::from_slice(&self.line) {
            self.facts = Some(run);
        } else if self.line.last() != Some(&b'\n') {
            self.torn = Some(self.number);
        } else {
            return Err(self.refusal(error.to_string()));
        }
        Ok(None)
    }

    fn refusal(&self, reason: String) -> ReadError {
        ReadError::Line { line: self.number, reason }
    }
}

impl<R: BufRead> Iterator for RecordReader<R> {
    type Item = Result<Record, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let item = self.read().transpose();
        self.failed = matches!(item, Some(Err(_)));
        item
    }
}

/// The line after the records.
#[derive(Deserialize)]
struct LastLine {
    run: RunFacts,
}

/// A record as its line has it.
#[derive(Deserialize)]
struct Flat {
    seq: u64,
    phase: Phase,
    thread: u16,
    slot: u32,
    prompt: u32,
    #[serde(default)]
    target: u16,
    input_tokens: u32,
    want_out: Option<u32>,
    due_ns: Option<Nanos>,
    issued_ns: Nanos,
    connect_ns: Option<Nanos>,
    sent_ns: Option<Nanos>,
    first_byte_ns: Option<Nanos>,
    first_event_ns: Option<Nanos>,
    #[serde(default)]
    at_ns: Vec<i64>,
    lag_ns: Option<Vec<Option<Nanos>>>,
    #[serde(default)]
    shared: Vec<usize>,
    kinds: Option<String>,
    end_ns: Nanos,
    turnaround_ns: Option<Nanos>,
    #[serde(default)]
    retries: u8,
    status: Option<u16>,
    finish: Option<String>,
    usage: Option<Usage>,
    text_tokens: Option<u32>,
    bytes: u64,
    #[serde(flatten)]
    outcome: Outcome,
}

impl Flat {
    fn unfold(self) -> Result<Record, String> {
        Ok(Record {
            chunks: self.chunks()?,
            seq: self.seq,
            phase: self.phase,
            thread: self.thread,
            slot: self.slot,
            prompt: self.prompt,
            target: self.target,
            input_tokens: self.input_tokens,
            want_out: self.want_out,
            due: self.due_ns,
            issued: self.issued_ns,
            connect: self.connect_ns,
            sent: self.sent_ns,
            first_byte: self.first_byte_ns,
            first_event: self.first_event_ns,
            end: self.end_ns,
            turnaround: self.turnaround_ns,
            retries: self.retries,
            status: self.status,
            finish: self.finish,
            usage: self.usage,
            text_tokens: self.text_tokens,
            bytes: self.bytes,
            outcome: self.outcome,
        })
    }

    fn chunks(&self) -> Result<Vec<Chunk>, String> {
        let origin = origin(self.sent_ns, self.issued_ns);
        let chunk =
            |&at: &i64| Chunk { at: Nanos(origin.wrapping_add(at)), lag: None, shared: false, kind: OutputKind::Text };
        let mut chunks: Vec<Chunk> = self.at_ns.iter().map(chunk).collect();
        if let Some(lags) = &self.lag_ns {
            same_length("lag_ns", lags.len(), chunks.len())?;
            chunks.iter_mut().zip(lags).for_each(|(chunk, &lag)| chunk.lag = lag);
        }
        for &index in &self.shared {
            chunks.get_mut(index).ok_or("`shared` points beyond `at_ns`")?.shared = true;
        }
        if let Some(kinds) = &self.kinds {
            same_length("kinds", kinds.len(), chunks.len())?;
            for (chunk, letter) in chunks.iter_mut().zip(kinds.chars()) {
                chunk.kind = kind(letter)?;
            }
        }
        Ok(chunks)
    }
}

fn same_length(name: &str, length: usize, expected: usize) -> Result<(), String> {
    if length == expected { Ok(()) } else { Err(format!("`{name}` has {length} entries and `at_ns` {expected}")) }
}

fn kind(letter: char) -> Result<OutputKind, String> {
    match letter {
        't' => Ok(OutputKind::Text),
        'r' => Ok(OutputKind::Reasoning),
        'c' => Ok(OutputKind::ToolCall),
        _ => Err(format!("`kinds` has the letter `{letter}`; known are t, r and c")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{facts, plan, record, secret_header};
    use proptest::collection::vec;
    use proptest::option::of;
    use proptest::prelude::*;
    use streamgauge_core::plan::EndpointKind;
    use streamgauge_core::{Failure, FailureClass, Stage};

    fn written(records: &[Record]) -> Vec<u8> {
        let mut plan = plan(EndpointKind::Chat);
        plan.endpoint.headers = vec![secret_header()];
        plan.goodput = vec![("request_latency".into(), 0.1 + 0.2)];
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
        fn records()(
            (seq, warmup, thread, slot, prompt, target, input_tokens) in
                any::<(u64, bool, u16, u32, u32, u16, u32)>(),
            (want_out, text_tokens, status, finish) in any::<(Option<u32>, Option<u32>, Option<u16>, Option<String>)>(),
            (due, connect, sent, first_byte, first_event, turnaround) in
                (nanos(), nanos(), nanos(), nanos(), nanos(), nanos()),
            (issued, end, retries, bytes) in any::<(i64, i64, u8, u64)>(),
            usage in of(any::<[Option<u64>; 4]>()),
            chunks in vec(chunks(), 0..6),
            outcome in outcomes(),
        ) -> Record {
            Record {
                seq, thread, slot, prompt, target, input_tokens, want_out, text_tokens, status, finish, due, connect, sent,
                first_byte, first_event, turnaround, retries, bytes, chunks, outcome,
                phase: if warmup { Phase::Warmup } else { Phase::Profiling },
                issued: Nanos(issued),
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
}
