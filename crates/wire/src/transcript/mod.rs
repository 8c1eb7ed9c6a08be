//! From the pieces of an answer to the record of its request.
//!
//! A [`Transcript`] is fed what a connection hands out: the status of an answer, pieces of its body with their receive stamps, and how the
//! body ended. It decompresses and decodes them, keeps the texts and the server's token counts, and says at the end whether the
//! request succeeded. It knows no socket and no clock, so that everything that an answer does to a record can be tested without either.

mod events;
mod texts;
mod usage;

use crate::body::unpack::Unpacker;
use crate::decoder::Decoder;
use crate::error_body::server_message;
use events::Events;
use std::collections::BTreeSet;
use streamgauge_core::clock::Nanos;
use streamgauge_core::record::{BodyEnd, Failure, FailureClass, Outcome, RawPiece, Record, Stage};
use streamgauge_core::{ReceiveStamp, Received};
use texts::Texts;

/// Bytes of an error answer that are kept for its message.
const ERROR_BODY_LIMIT: usize = 64 * 1024;

/// The approximate memory of a kept piece of the body beside its bytes.
const RAW_PIECE: u64 = 64;

/// What of an answer is kept beside the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// The bytes of the body, piece by piece.
    pub raw: bool,
    /// How the output events divide the texts.
    pub text_parts: bool,
    /// How many bytes of an answer are read at most. A longer answer fails.
    pub longest_answer: u64,
}

/// The head of an answer, as far as a transcript needs it.
#[derive(Debug)]
pub struct AnswerHead {
    /// The HTTP status.
    pub status: u16,
    /// How the body is compressed, if it is; an error names a compression that is not supported.
    pub unpacker: Result<Option<Unpacker>, String>,
    /// What the head of an error answer adds to its message, such as ` (Retry-After: 5)`; empty otherwise.
    pub advice: String,
}

/// The record of a request while its answer is read.
#[derive(Debug)]
pub struct Transcript {
    decoder: Option<Decoder>,
    /// Decompresses the body, if it is compressed.
    unpacker: Option<Unpacker>,
    /// The beginning of the body, if the status was not a success.
    error_body: Option<Vec<u8>>,
    advice: String,
    keep: Keep,
    raw: Vec<RawPiece>,
    /// Whether the body has ended as its framing promised.
    is_whole: bool,
    /// How many outputs the request asks for; 0 if that is not known.
    expected_outputs: u32,
    events: Events,
}

impl Transcript {
    /// A transcript of an answer that has not begun; `record` holds what is known of its request.
    pub fn new(record: Record, keep: Keep) -> Transcript {
        Transcript {
            decoder: None,
            unpacker: None,
            error_body: None,
            advice: String::new(),
            keep,
            raw: Vec::new(),
            is_whole: false,
            expected_outputs: 0,
            events: Events::new(record, keep.text_parts),
        }
    }

    /// The transcript of an answer that must hold `outputs` outputs to be a success; 0 if their number is not known.
    pub fn expecting(mut self, outputs: u32) -> Transcript {
        self.expected_outputs = outputs;
        self.events.ended = (outputs > 1).then(BTreeSet::new);
        self
    }

    /// The record so far.
    pub fn record(&self) -> &Record {
        &self.events.record
    }

    /// The record so far, in which the sender of the request enters what it knows.
    pub fn record_mut(&mut self) -> &mut Record {
        &mut self.events.record
    }

    /// How many output events have come.
    pub fn outputs(&self) -> usize {
        self.events.record.chunks.len()
    }

    /// Whether the request has failed, so that reading on would change nothing.
    pub fn has_failed(&self) -> bool {
        self.events.fault.is_some()
    }

    /// Whether the answer has said that it is complete, by a finish reason or by `[DONE]`.
    pub fn is_complete(&self) -> bool {
        self.events.is_complete
    }

    /// Whether the answer has said that nothing more belongs to it, by `[DONE]` or by a final response.
    pub fn is_done(&self) -> bool {
        self.events.is_done
    }

    /// Whether the body has ended as its framing promised.
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// The answer begins with `head`; `decoder` reads its body if the status is a success.
    pub fn begin(&mut self, head: AnswerHead, decoder: Decoder) {
        let AnswerHead { status, unpacker, advice } = head;
        let is_success = (200..300).contains(&status);
        self.events.record.status = Some(status);
        self.advice = advice;
        match unpacker {
            Ok(unpacker) if is_success => (self.unpacker, self.decoder) = (unpacker, Some(decoder)),
            Ok(unpacker) => (self.unpacker, self.error_body) = (unpacker, Some(Vec::new())),
            Err(why) if is_success => self.events.fail(FailureClass::Malformed, &why),
            Err(why) => self.events.fail(FailureClass::Status, &format!("{status}: {why}")),
        }
    }

    /// Reads `bytes` of the body, which arrived at `stamp`.
    pub fn piece(&mut self, bytes: &[u8], stamp: ReceiveStamp) {
        if bytes.is_empty() {
            return;
        }
        let record = &mut self.events.record;
        record.bytes += bytes.len() as u64;
        record.end = stamp.at;
        if record.bytes + self.raw.len() as u64 * RAW_PIECE > self.keep.longest_answer {
            return self.give_up();
        }
        match self.unpacker.take() {
            None => self.plain(bytes, stamp),
            Some(mut unpacker) => {
                let fed = unpacker.feed(bytes, &mut |plain| self.plain(plain, stamp));
                self.unpacker = Some(unpacker);
                if let Err(why) = fed {
                    self.events.fail(FailureClass::Malformed, &why);
                }
            }
        }
    }

    /// Reads bytes of the body after decompression.
    fn plain(&mut self, bytes: &[u8], stamp: ReceiveStamp) {
        if self.keep.raw {
            self.raw.push(RawPiece { at: stamp.at, bytes: bytes.to_vec() });
        }
        if let Some(body) = &mut self.error_body {
            let room = ERROR_BODY_LIMIT.saturating_sub(body.len());
            body.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
        if let Some(decoder) = &mut self.decoder {
            decoder.feed(bytes, &mut |event| self.events.add(event, stamp));
        }
    }

    /// Fails an answer that is longer than any answer of a model. Its texts are dropped, because their tokens are not counted.
    fn give_up(&mut self) {
        (self.decoder, self.raw, self.events.texts) = (None, Vec::new(), Texts::default());
        let message = format!("the answer is longer than {} MiB", self.keep.longest_answer >> 20);
        self.events.fail(FailureClass::Malformed, &message);
    }

    /// The body has ended as its framing promised, or the answer has ended in a stream of several; the end arrived at `stamp`.
    pub fn end(&mut self, stamp: ReceiveStamp) {
        self.is_whole = true;
        self.events.record.end = stamp.at;
        if let Some(decoder) = &mut self.decoder {
            // The events of such a stream say whether it is complete.
            let is_cut = self.unpacker.as_ref().is_some_and(|unpacker| !unpacker.is_complete());
            if is_cut && !decoder.says_when_complete() {
                return self.events.fail(FailureClass::Truncated, "the compressed answer ends in the middle");
            }
            decoder.finish(&mut |event| self.events.add(event, stamp));
        }
    }

    /// The body of an answer that is done has ended behind the answer: as its framing promised, or else as `end` says.
    pub fn end_behind_answer(&mut self, end: Option<BodyEnd>) {
        self.is_whole = end.is_none();
        self.events.record.body_end = end;
    }

    /// Whether the answer that has been read is a success.
    ///
    /// # Errors
    /// Why it is not. The failure is moved out, so that this is called once.
    pub fn verdict(&mut self) -> Result<(), Failure> {
        let failed = |class, message: String| Err(Failure { stage: Stage::Body, class, message });
        if let Some(body) = &self.error_body {
            let status = self.events.record.status.unwrap_or_default();
            let message = server_message(body).unwrap_or_else(|| "no message".to_owned());
            return failed(FailureClass::Status, format!("{status}{}: {message}", self.advice));
        }
        if let Some((class, message)) = self.events.fault.take() {
            return failed(class, message);
        }
        // In an answer without output, the output was most likely in what could not be read.
        if self.is_whole
            && self.outputs() == 0
            && let Some(message) = self.events.unreadable.take()
        {
            return failed(FailureClass::Malformed, message);
        }
        let must_say_so = self.decoder.as_ref().is_some_and(Decoder::says_when_complete);
        if self.is_whole && must_say_so && !self.events.is_complete {
            return failed(FailureClass::Truncated, "the answer ended without a finish reason or [DONE]".to_owned());
        }
        if self.outputs() == 0 && !self.events.is_empty_answer() {
            return failed(FailureClass::Empty, self.events.without_output());
        }
        if self.expected_outputs > 1 && (self.is_whole || self.is_done()) {
            let (found, expected) = (self.events.answered(self.expected_outputs), self.expected_outputs);
            if found < expected {
                let message = format!("the answer holds {found} of the {expected} outputs that the request asks for");
                return failed(FailureClass::Malformed, self.events.unreadable.take().unwrap_or(message));
            }
        }
        Ok(())
    }

    /// The record of the request, which ended as `outcome` says, and what is kept beside it. Only a successful request ends with its last
    /// byte; any other ends `now`.
    pub fn finish(self, outcome: Outcome, now: Nanos) -> (Record, Received) {
        let Events { mut record, texts, usage, .. } = self.events;
        if outcome != Outcome::Ok {
            record.end = now;
        }
        record.usage = usage.total();
        record.outcome = outcome;
        let (texts, parts) = texts.into_parts();
        (record, Received { texts, parts, raw: self.raw })
    }
}
