//! The state that the events of an answer lead to.

use super::texts::Texts;
use super::usage::UsageFold;
use std::collections::BTreeSet;
use streamgauge_core::event::Event;
use streamgauge_core::record::{Chunk, FailureClass, Record};
use streamgauge_core::stamp::ReceiveStamp;

/// The finish reasons that say that the model ended its answer itself: OpenAI's word, and those of Text Generation Inference and
/// of gateways to other vendors' models.
const ENDED_BY_THE_MODEL: [&str; 5] = ["stop", "eos_token", "eos", "end_turn", "stop_sequence"];

/// The state after the events of an answer so far.
#[derive(Debug)]
pub(super) struct Events {
    /// The record, as far as it is known.
    pub record: Record,
    /// The texts of the output.
    pub texts: Texts,
    /// The number of the read that brought the newest chunk.
    chunk_read: u64,
    /// The server's token counts.
    pub usage: UsageFold,
    /// The choices that have ended, if that is kept.
    pub ended: Option<BTreeSet<u32>>,
    /// Whether the answer has said that it is complete.
    pub is_complete: bool,
    /// Whether the answer has said that nothing more belongs to it.
    pub is_done: bool,
    /// Why the request has failed.
    pub fault: Option<(FailureClass, String)>,
    /// The first part of the answer that could not be read.
    pub unreadable: Option<String>,
}

impl Events {
    /// The state before the first event. With `text_parts` it keeps how the events divide the texts.
    pub fn new(record: Record, text_parts: bool) -> Events {
        Events {
            record,
            texts: if text_parts { Texts::with_parts() } else { Texts::default() },
            chunk_read: 0,
            usage: UsageFold::default(),
            ended: None,
            is_complete: false,
            is_done: false,
            fault: None,
            unreadable: None,
        }
    }

    /// Adds an event, whose last bytes arrived at `stamp`.
    pub fn add(&mut self, event: Event<'_>, stamp: ReceiveStamp) {
        self.record.first_event.get_or_insert(stamp.at);
        match event {
            Event::Output { kind, choice, text } => {
                let shared = !self.record.chunks.is_empty() && self.chunk_read == stamp.read;
                self.chunk_read = stamp.read;
                self.record.chunks.push(Chunk { at: stamp.at, lag: stamp.lag, shared, kind });
                self.texts.append(choice, kind, text);
            }
            Event::Empty => {}
            Event::Finish { choice, reason } => {
                self.is_complete = true;
                self.usage.end(choice);
                if let Some(ended) = &mut self.ended {
                    ended.insert(choice);
                }
                self.record.finish.get_or_insert_with(|| reason.to_owned());
            }
            Event::Usage { usage, alone } => self.usage.add(usage, alone),
            Event::Done => (self.is_complete, self.is_done) = (true, true),
            Event::Error { message } => self.fail(FailureClass::InBand, message),
            Event::Unreadable { message, may_be_output } => {
                self.record.unreadable.add(may_be_output);
                self.unreadable.get_or_insert_with(|| message.to_owned());
            }
            Event::Malformed { message } => self.fail(FailureClass::Malformed, message),
        }
    }

    /// Whether an answer without output is a valid answer of length zero: the model ended it and made no token except the one that
    /// ends it, or the only token that it was to make shows no text.
    pub fn is_empty_answer(&self) -> bool {
        let tokens = self.usage.total().and_then(|usage| usage.completion_tokens);
        match self.record.finish.as_deref() {
            Some(reason) if ENDED_BY_THE_MODEL.iter().any(|known| reason.eq_ignore_ascii_case(known)) => {
                tokens.is_none_or(|tokens| tokens <= 1)
            }
            Some(reason) if reason.eq_ignore_ascii_case("length") => tokens == Some(1),
            _ => false,
        }
    }

    /// How many of the first `outputs` choices have output, or have ended without any.
    pub fn answered(&self, outputs: u32) -> u32 {
        let mut choices: Vec<u32> = self.texts.choices().chain(self.ended.iter().flatten().copied()).collect();
        choices.sort_unstable();
        choices.dedup();
        let count = choices.iter().filter(|choice| **choice < outputs).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// The message for an answer without output.
    pub fn without_output(&self) -> String {
        let reason = self.record.finish.as_ref().map(|reason| format!("finish reason `{reason}`"));
        let tokens = self.usage.total().and_then(|usage| usage.completion_tokens);
        let tokens = tokens.map(|tokens| format!("{tokens} tokens by the server's count"));
        let known: Vec<String> = reason.into_iter().chain(tokens).collect();
        let known = if known.is_empty() { String::new() } else { format!(" ({})", known.join(", ")) };
        format!("the answer holds no output{known}")
    }

    /// Notes that the request has failed. The first reason is kept.
    pub fn fail(&mut self, class: FailureClass, message: &str) {
        self.fault.get_or_insert_with(|| (class, message.to_owned()));
    }
}
