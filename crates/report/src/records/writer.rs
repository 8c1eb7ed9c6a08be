//! Lines out of records.

use super::origin;
use crate::text::compact::{push_int, push_string, push_value};
use serde_json::{Value, json};
use std::io::{self, Write};
use std::ops::Range;
use streamgauge_core::kserve::SequenceTag;
use streamgauge_core::plan::RunPlan;
use streamgauge_core::record::{BodyEnd, ConversationTurn, RunFacts, SCHEMA, Unreadable};
use streamgauge_core::{Chunk, Outcome, OutputKind, Phase, Record, Usage};

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
        writeln!(out, "{}", header(plan, anchor_wall)?)?;
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

    /// Passes the written data to the operating system, so that it outlives this process.
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

/// The first line of a file of records.
pub(crate) fn header(plan: &RunPlan, anchor_wall: i64) -> io::Result<Value> {
    Ok(json!({
        "streamgauge": env!("CARGO_PKG_VERSION"),
        "schema": SCHEMA,
        "anchor_wall_ns": anchor_wall,
        "plan": serde_json::to_value(plan)?,
    }))
}

/// Writes a member with a whole number behind another member, if there is a value. The name and its punctuation are one literal, so that
/// they are copied at once.
macro_rules! member {
    ($line:expr, $name:literal, $value:expr) => {
        if let Some(value) = $value {
            $line.extend_from_slice(concat!(",\"", $name, "\":").as_bytes());
            push_int($line, value);
        }
    };
}

pub(super) fn push_record(line: &mut Vec<u8>, record: &Record) {
    line.extend_from_slice(b"{\"seq\":");
    push_int(line, record.seq);
    line.extend_from_slice(match record.phase {
        Phase::Profiling => b",\"phase\":\"profiling\"",
        Phase::Warmup => b",\"phase\":\"warmup\"",
    });
    member!(line, "thread", Some(i64::from(record.thread)));
    member!(line, "slot", Some(i64::from(record.slot)));
    member!(line, "prompt", Some(i64::from(record.prompt)));
    member!(line, "target", (record.target > 0).then_some(i64::from(record.target)));
    member!(line, "input_tokens", Some(i64::from(record.input_tokens)));
    member!(line, "want_out", record.requested_output_tokens.map(i64::from));
    member!(line, "due_ns", record.due.map(|at| at.0));
    member!(line, "issued_ns", Some(record.issued.0));
    member!(line, "connect_ns", record.connect.map(|span| span.0));
    member!(line, "sent_ns", record.sent.map(|at| at.0));
    member!(line, "written_ns", record.written.map(|at| at.0));
    member!(line, "first_byte_ns", record.first_byte.map(|at| at.0));
    member!(line, "first_event_ns", record.first_event.map(|at| at.0));
    push_chunks(line, &record.chunks, origin(record.sent, record.issued));
    member!(line, "end_ns", Some(record.end.0));
    member!(line, "turnaround_ns", record.turnaround.map(|span| span.0));
    member!(line, "retries", (record.retries > 0).then_some(i64::from(record.retries)));
    member!(line, "status", record.status.map(i64::from));
    if let Some(finish) = &record.finish {
        key(line, "finish");
        push_string(line, finish);
    }
    if let Some(usage) = &record.usage {
        push_usage(line, usage);
    }
    member!(line, "text_tokens", record.text_tokens.map(i64::from));
    key(line, "bytes");
    push_int(line, record.bytes);
    if !record.unreadable.is_none() {
        let Unreadable { output, other } = record.unreadable;
        // Writing to memory cannot fail.
        let _ = write!(line, r#","unreadable":{{"output":{output},"other":{other}}}"#);
    }
    if let Some(end) = record.body_end {
        line.extend_from_slice(match end {
            BodyEnd::Cut => b",\"body_end\":\"cut\"",
            BodyEnd::Late => b",\"body_end\":\"late\"",
        });
    }
    if let Some(SequenceTag { id, start, end }) = record.sequence {
        // Writing to memory cannot fail.
        let _ = write!(line, r#","sequence":{{"id":{id},"start":{start},"end":{end}}}"#);
    }
    if let Some(ConversationTurn { number, turn, turns, history, history_tokens }) = record.conversation {
        // Writing to memory cannot fail.
        let _ = write!(line, r#","conversation":{{"number":{number},"turn":{turn},"turns":{turns}"#);
        if !history.is_everything() {
            let _ = write!(line, r#","history":{}"#, serde_json::json!(history));
        }
        if let Some(tokens) = history_tokens {
            let _ = write!(line, r#","history_tokens":{tokens}"#);
        }
        line.push(b'}');
    }
    push_outcome(line, &record.outcome);
    line.push(b'}');
}

fn push_chunks(line: &mut Vec<u8>, chunks: &[Chunk], origin: i64) {
    if chunks.is_empty() {
        return;
    }
    let mut repeated = Repeated::default();
    array(line, "at_ns", chunks, |line, chunk| repeated.push(line, chunk.at.0.wrapping_sub(origin)));
    if chunks.iter().any(|chunk| chunk.lag.is_some()) {
        let mut repeated = Repeated::default();
        array(line, "lag_ns", chunks, |line, chunk| match chunk.lag {
            Some(lag) => repeated.push(line, lag.0),
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
        line.extend(chunks.iter().map(|chunk| letter(chunk.kind)));
        line.push(b'"');
    }
}

/// The letter of a kind of output.
pub(crate) fn letter(kind: OutputKind) -> u8 {
    match kind {
        OutputKind::Text => b't',
        OutputKind::Reasoning => b'r',
        OutputKind::ToolCall => b'c',
        OutputKind::Tensors => b'o',
    }
}

/// Numbers of a list, in which those of events that came in one read are the same: their digits are copied.
#[derive(Default)]
struct Repeated {
    newest: Option<i64>,
    digits: Range<usize>,
}

impl Repeated {
    fn push(&mut self, line: &mut Vec<u8>, value: i64) {
        if self.newest == Some(value) {
            return line.extend_from_within(self.digits.clone());
        }
        let from = line.len();
        push_int(line, value);
        *self = Repeated { newest: Some(value), digits: from..line.len() };
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
