//! The record: what one request left behind. Every table, file and figure is a fold over records, so whatever a report
//! needs is here, and nothing here is computed from another field.
//!
//! Times are on the run's clock ([`crate::clock`]). A time is absent when the thing did not happen.

use crate::clock::Nanos;
use crate::ending::{EarlyEnd, Satisfied};
use crate::event::{OutputKind, Usage};
use crate::kserve::{ModelStatistics, SequenceTag, Watched};
use crate::prompt::History;
use crate::text::one_line;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The version of the record's serialized form; it grows when a field changes its meaning or goes away.
pub const SCHEMA: u32 = 1;

/// The record of one request. It is serialized with the keys of `records.jsonl`, in which the chunks have a compact form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Number of the request in its phase, in the order of issue, from 0.
    pub seq: u64,
    /// Warm-up requests are in no figure.
    pub phase: Phase,
    /// The load thread that drove it.
    pub thread: u16,
    /// The slot that sent the request, counted over all threads. A slot has one request at a time. It is 0 for a request that was due and
    /// that no slot had taken when the run ended.
    pub slot: u32,
    /// Index of the prompt in `inputs.json`.
    pub prompt: u32,
    /// Index of its server in the plan.
    #[serde(default, skip_serializing_if = "is_first")]
    pub target: u16,
    /// Tokens of the prompt by our tokenizer, without special tokens.
    pub input_tokens: u32,
    /// The output length that the request asks for, in tokens. Its key in records is `want_out`, as published.
    #[serde(rename = "want_out")]
    pub requested_output_tokens: Option<u32>,
    /// When an open loop's schedule wanted it sent.
    #[serde(rename = "due_ns")]
    pub due: Option<Nanos>,
    /// When the slot took it up: before connecting, if it had to, and after the wait for a place under a cap. In an open loop
    /// never before it was due.
    #[serde(rename = "issued_ns")]
    pub issued: Nanos,
    /// How long opening a connection took, when this request had to.
    #[serde(rename = "connect_ns")]
    pub connect: Option<Nanos>,
    /// Just before the request's first byte was handed to the kernel, for the first time where it was sent again.
    #[serde(rename = "sent_ns")]
    pub sent: Option<Nanos>,
    /// When the kernel had all of the request, for the last time where it was sent again.
    #[serde(rename = "written_ns", default, skip_serializing_if = "Option::is_none")]
    pub written: Option<Nanos>,
    /// Receive stamp of the answer's first byte, headers included.
    #[serde(rename = "first_byte_ns")]
    pub first_byte: Option<Nanos>,
    /// Receive stamp of the first event of the answer's body, whatever it said.
    #[serde(rename = "first_event_ns")]
    pub first_event: Option<Nanos>,
    /// Output events in order. Role-only and empty ones are not output.
    #[serde(skip)]
    pub chunks: Vec<Chunk>,
    /// Receive stamp of the last byte, or when the request was given up.
    #[serde(rename = "end_ns")]
    pub end: Nanos,
    /// From the end of this slot's previous reply to `sent`: what the client itself took in between. Where the slot had to wait
    /// for a place, from when it got it.
    #[serde(rename = "turnaround_ns")]
    pub turnaround: Option<Nanos>,
    /// Attempts that a dying kept connection cost before this one.
    #[serde(default)]
    pub retries: u8,
    /// HTTP status of the answer.
    pub status: Option<u16>,
    /// Why the server stopped, in its word.
    pub finish: Option<String>,
    /// The server's own count.
    pub usage: Option<Usage>,
    /// Output tokens by our tokenizer on the whole text, without special tokens.
    pub text_tokens: Option<u32>,
    /// Body bytes received.
    pub bytes: u64,
    /// The parts of the answer that could not be read and were skipped.
    #[serde(default, skip_serializing_if = "Unreadable::is_none")]
    pub unreadable: Unreadable,
    /// How the answer's body went on after the answer had said that it was complete, where it did not end then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_end: Option<BodyEnd>,
    /// The sequence it belonged to, of a stateful model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<SequenceTag>,
    /// Its turn in a conversation, where conversations have several turns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation: Option<ConversationTurn>,
    /// How it ended.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// The place of a request in a conversation whose requests are made from the answers before them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConversationTurn {
    /// The number of the conversation in its phase, from 0, in the order in which they begin.
    pub number: u64,
    /// The number of the turn in the conversation, from 0.
    pub turn: u32,
    /// How many turns the conversation has when each is answered.
    pub turns: u32,
    /// The messages before its own words. Absent if these are all messages that were exchanged before it.
    #[serde(default, skip_serializing_if = "History::is_everything")]
    pub history: History,
    /// Tokens of the prompts and answers before it, which are part of its prompt, by our tokenizer. Absent until they are counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history_tokens: Option<u64>,
}

impl Record {
    /// Whether the answer came whole.
    pub fn is_ok(&self) -> bool {
        self.outcome == Outcome::Ok
    }

    /// Whether the answer came whole and is empty: the model ended it before any output. It took its time and has no tokens.
    pub fn is_empty_reply(&self) -> bool {
        self.is_ok() && self.chunks.is_empty() && self.finish.is_some()
    }
}

/// Parts of an answer that could not be read and were passed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Unreadable {
    /// The parts that may have contained output: chunks, or the members of chunks that carry output.
    pub output: u32,
    /// Any others: counts of tokens, indices, characters that are none, data that are no object.
    pub other: u32,
}

impl Unreadable {
    /// Whether everything could be read.
    pub fn is_none(&self) -> bool {
        *self == Unreadable::default()
    }

    /// Counts one part in.
    pub fn add(&mut self, may_be_output: bool) {
        let count = if may_be_output { &mut self.output } else { &mut self.other };
        *count = count.saturating_add(1);
    }
}

/// One output event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// Receive stamp: the kernel's where it gives one, else the time of the read.
    pub at: Nanos,
    /// How much later than the kernel we read it; absent without kernel stamps.
    pub lag: Option<Nanos>,
    /// Whether it came in the same read as the chunk before it, and so shares its stamp.
    pub shared: bool,
    /// The kind of output.
    pub kind: OutputKind,
}

/// Some bytes of an answer's body, as they came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawPiece {
    /// Receive stamp.
    pub at: Nanos,
    /// The bytes, cut wherever the network cut them.
    pub bytes: Vec<u8>,
}

/// The part of the run to which a request belongs.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// In the figures.
    Profiling,
    /// Sent before, in no figure.
    Warmup,
}

/// For serde: the only server, where there is one, need not be said.
fn is_first(target: &u16) -> bool {
    *target == 0
}

/// For serde: a count of nothing need not be said.
fn is_none(count: &u64) -> bool {
    *count == 0
}

/// How the body of an answer went on after the answer had said that it was complete (`[DONE]`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BodyEnd {
    /// The connection was closed without the end that its framing promised.
    Cut,
    /// It had not ended two milliseconds later.
    Late,
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// Given up on purpose, as the plan wanted: neither a success nor a failure.
    Cancelled,
    /// Unfinished when the run was over.
    CutOff,
    /// It failed.
    Failed(Failure),
    /// The whole answer came.
    Ok,
}

impl Record {
    /// A request of the measured phase that was issued at `issued`, of which nothing else is known. As long as nothing more comes, it ends
    /// at that time and is cut off.
    pub fn issued(issued: Nanos) -> Record {
        Record {
            seq: 0,
            phase: Phase::Profiling,
            thread: 0,
            slot: 0,
            prompt: 0,
            target: 0,
            input_tokens: 0,
            requested_output_tokens: None,
            due: None,
            issued,
            connect: None,
            sent: None,
            written: None,
            first_byte: None,
            first_event: None,
            chunks: Vec::new(),
            end: issued,
            turnaround: None,
            retries: 0,
            status: None,
            finish: None,
            usage: None,
            text_tokens: None,
            bytes: 0,
            unreadable: Unreadable::default(),
            body_end: None,
            conversation: None,
            sequence: None,
            outcome: Outcome::CutOff,
        }
    }
}

/// A failure: its stage and its class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The stage that the request had reached.
    pub stage: Stage,
    /// The class of the failure.
    pub class: FailureClass,
    /// The server's message or the system's, for people.
    pub message: String,
}

/// A stage of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Finding the address.
    Dns,
    /// Opening the TCP connection.
    Connect,
    /// Agreeing on keys.
    Tls,
    /// Handing the request to the kernel.
    Send,
    /// Waiting for the answer's first byte.
    FirstByte,
    /// Reading the answer.
    Body,
}

/// A class of failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// The name has no address.
    Unresolved,
    /// Nobody listens there.
    Refused,
    /// This machine had no port or descriptor left.
    Exhausted,
    /// The certificate or the handshake was bad.
    Tls,
    /// Nothing arrived for too long.
    Timeout,
    /// The connection was reset.
    Reset,
    /// The answer ended before it was complete.
    Truncated,
    /// The status was not a success.
    Status,
    /// An error inside an answer that began well.
    InBand,
    /// Bytes that the protocol does not allow, or an answer of which nothing could be read.
    Malformed,
    /// A well-formed answer without any output that the model did not end itself.
    Empty,
    /// Any other error of the system.
    Io,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::Dns => "dns",
            Stage::Connect => "connect",
            Stage::Tls => "tls",
            Stage::Send => "send",
            Stage::FirstByte => "first byte",
            Stage::Body => "body",
        })
    }
}

impl fmt::Display for FailureClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FailureClass::Unresolved => "name not found",
            FailureClass::Refused => "connection refused",
            FailureClass::Exhausted => "no port or descriptor left here",
            FailureClass::Tls => "TLS failure",
            FailureClass::Timeout => "timeout",
            FailureClass::Reset => "connection reset",
            FailureClass::Truncated => "truncated answer",
            FailureClass::Status => "error status",
            FailureClass::InBand => "error inside the answer",
            FailureClass::Malformed => "malformed answer",
            FailureClass::Empty => "empty answer",
            FailureClass::Io => "I/O error",
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.class, self.stage, one_line(&self.message))
    }
}

/// The facts of a run that belong to no single request. A fact that is missing in an older file has its default value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunFacts {
    /// When load started: warm-up over, first measured request about to be issued.
    pub started: Nanos,
    /// When the last measured request had ended.
    pub ended: Nanos,
    /// Wall-clock time of the clock's zero, nanoseconds since 1970.
    pub anchor_wall: i64,
    /// Whether receive stamps are the kernel's.
    pub kernel_stamps: bool,
    /// Whether the run was ended from outside.
    pub interrupted: bool,
    /// Why the run ended before its plan, when it did.
    pub ended_early: Option<EarlyEnd>,
    /// The figure that ended the run according to its plan, if one did: windows that agree, or a figure that is precise enough.
    pub satisfied: Option<Satisfied>,
    /// The windows that the figures cover, if the run was divided into windows.
    pub window: Option<WindowFacts>,
    /// Each load thread's use of its processor over the measured part.
    pub threads: Vec<ThreadFacts>,
    /// Connections opened, warm-up included.
    pub connections_opened: u64,
    /// Kept connections that the server had closed while they were idle, and that were replaced before a request was written.
    pub connections_replaced: u64,
    /// Connections that were closed because the body of a complete answer did not end, warm-up included.
    #[serde(skip_serializing_if = "is_none")]
    pub bodies_abandoned: u64,
    /// How much later first events come to clients that acknowledge late, where requests before load showed that they do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delayed_acks: Option<DelayedAcks>,
    /// Measured requests whose prompts were not ready when they were to be sent. Only a run that prepares its prompts while it goes on has
    /// this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_waits: Option<Waited>,
    /// What became of the conversations of the measured phase, if conversations have several turns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversations: Option<ConversationFacts>,
    /// The server's own counters, if it was asked for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<ServerFacts>,
}

/// What became of the conversations of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConversationFacts {
    /// Conversations whose first turn was sent.
    pub begun: u64,
    /// Those of them whose last turn was answered.
    pub finished: u64,
    /// Those that ended with a turn that failed.
    pub failed: u64,
    /// Turns that were not sent because of that.
    pub unsent_turns: u64,
    /// How long making the later turns took: joining the history and encoding it.
    pub making: Waited,
    /// Later turns that were sent late because making them took longer than the pause before them and a millisecond.
    pub made_late: u64,
}

impl ConversationFacts {
    /// The conversations of both.
    pub fn merged(self, other: ConversationFacts) -> ConversationFacts {
        ConversationFacts {
            begun: self.begun.saturating_add(other.begun),
            finished: self.finished.saturating_add(other.finished),
            failed: self.failed.saturating_add(other.failed),
            unsent_turns: self.unsent_turns.saturating_add(other.unsent_turns),
            making: self.making.merged(other.making),
            made_late: self.made_late.saturating_add(other.made_late),
        }
    }
}

/// How often and for how long something was waited for, or took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waited {
    /// How many waits there were.
    pub count: u64,
    /// The longest of them.
    pub longest: Nanos,
    /// All of them together.
    pub total: Nanos,
}

impl Waited {
    /// These waits and one more of that length.
    pub fn and(self, time: Nanos) -> Waited {
        self.merged(Waited { count: 1, longest: time, total: time })
    }

    /// The waits of both.
    pub fn merged(self, other: Waited) -> Waited {
        Waited {
            count: self.count.saturating_add(other.count),
            longest: self.longest.max(other.longest),
            total: self.total + other.total,
        }
    }
}

/// Times from the head of an answer to its first event, as requests before load found them: medians.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DelayedAcks {
    /// The time if the client's kernel delayed the acknowledgement of the head.
    pub late: Nanos,
    /// The time if the head was acknowledged at once.
    pub at_once: Nanos,
}

/// The counters of a server during the run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServerFacts {
    /// The model that was measured, and those that it is composed of.
    pub watched: Watched,
    /// Its counters, in the order of their times: at the measured part's start and end, and at each window's.
    pub snapshots: Vec<Snapshot>,
    /// The samples of the server's metrics page.
    pub gpus: Vec<GpuSample>,
}

impl ServerFacts {
    /// The samples of the counters that are nearest to the two ends of a time span. Returns `None` if there are not two. A span that is
    /// shorter than one reading gets the samples around it.
    pub fn around(&self, from: Nanos, to: Nanos) -> Option<(&Snapshot, &Snapshot)> {
        let (_, all_but_last) = self.snapshots.split_last()?;
        let nearest = |moment: Nanos| move |snapshot: &&Snapshot| snapshot.at.0.abs_diff(moment.0);
        let before = all_but_last.iter().min_by_key(nearest(from))?;
        let after = self.snapshots.iter().filter(|snapshot| snapshot.at > before.at).min_by_key(nearest(to))?;
        Some((before, after))
    }

    /// Forgets the counters that are around none of these times.
    pub fn keep(&mut self, times: &[(Nanos, Nanos)]) {
        let around = times.iter().filter_map(|(from, to)| self.around(*from, *to));
        let wanted: Vec<Nanos> = around.flat_map(|(before, after)| [before.at, after.at]).collect();
        self.snapshots.retain(|snapshot| wanted.contains(&snapshot.at));
    }
}

/// A server's counters at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// When they were asked for, on the run's clock.
    pub at: Nanos,
    /// The models' counters.
    pub models: Vec<ModelStatistics>,
}

/// One GPU in a sample of a metrics page.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GpuSample {
    /// When it was asked for, on the run's clock.
    pub at: Nanos,
    /// The GPU.
    pub uuid: String,
    /// `nv_gpu_utilization`, from 0 to 1.
    pub utilization: Option<f64>,
    /// `nv_gpu_power_usage`, in watts.
    pub power: Option<f64>,
    /// `nv_gpu_memory_used_bytes`.
    pub memory_used: Option<f64>,
    /// `nv_gpu_memory_total_bytes`.
    pub memory_total: Option<f64>,
}

/// The last windows of a run that was divided into windows, on the run's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowFacts {
    /// The beginning of the first of them.
    pub from: Nanos,
    /// The end of the last of them.
    pub to: Nanos,
    /// Windows that there were in all.
    pub windows: u32,
    /// Whether they agree.
    pub stable: bool,
}

/// One load thread's use of its processor over the measured part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadFacts {
    /// Time on a processor.
    pub cpu: Nanos,
    /// Time that passed.
    pub wall: Nanos,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_those_around_a_time() {
        let at = |at| Snapshot { at: Nanos(at), models: Vec::new() };
        let facts =
            |times: &[i64]| ServerFacts { snapshots: times.iter().copied().map(at).collect(), ..Default::default() };
        let around = |facts: &ServerFacts, from, to| {
            facts.around(Nanos(from), Nanos(to)).map(|(before, after)| (before.at.0, after.at.0))
        };
        let server = facts(&[0, 100, 200, 300]);
        assert_eq!(around(&server, 95, 310), Some((100, 300)));
        assert_eq!(around(&server, 5, 6), Some((0, 100)), "shorter than it takes to ask");
        assert_eq!(around(&server, 290, 300), Some((200, 300)));
        assert_eq!(around(&facts(&[7]), 0, 9), None);
        assert_eq!(around(&facts(&[]), 0, 9), None);
        let mut kept = server;
        kept.keep(&[(Nanos(0), Nanos(300)), (Nanos(201), Nanos(290))]);
        assert_eq!(kept, facts(&[0, 200, 300]));
    }

    #[test]
    fn outcome_lies_flat_in_the_record() {
        let failure = Failure { stage: Stage::Body, class: FailureClass::InBand, message: "engine died".into() };
        let json = serde_json::to_value(Outcome::Failed(failure.clone())).unwrap();
        assert_eq!(json["outcome"], "failed");
        assert_eq!(json["stage"], "body");
        assert_eq!(json["class"], "in_band");
        assert_eq!(serde_json::from_value::<Outcome>(json).unwrap(), Outcome::Failed(failure));
        assert_eq!(serde_json::to_value(Outcome::CutOff).unwrap()["outcome"], "cut_off");
    }

    #[test]
    fn the_requested_output_length_keeps_its_published_key() {
        let record: Record = serde_json::from_value(serde_json::json!({
            "seq": 0, "phase": "profiling", "thread": 0, "slot": 0, "prompt": 0, "input_tokens": 20, "want_out": 8,
            "due_ns": null, "issued_ns": 0, "connect_ns": null, "sent_ns": null, "written_ns": null, "first_byte_ns": null,
            "first_event_ns": null, "turnaround_ns": null, "end_ns": 0, "retries": 0, "status": null, "finish": null,
            "usage": null, "text_tokens": null, "bytes": 0, "unreadable": {"output": 0, "other": 0}, "body_end": null,
            "outcome": "ok",
        }))
        .unwrap();
        assert_eq!(record.requested_output_tokens, Some(8));
        assert_eq!(serde_json::to_value(&record).unwrap()["want_out"], 8);
    }
}
