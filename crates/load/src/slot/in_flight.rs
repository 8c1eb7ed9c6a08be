//! A request in flight: its transcript, and the permits that it holds until its answer has come far enough.

use crate::job::{Finished, Job};
use crate::pacing::Ticket;
use crate::phase::GrowthPlace;
use http::HeaderValue;
use std::sync::Arc;
use streamgauge_core::ReceiveStamp;
use streamgauge_core::clock::Nanos;
use streamgauge_core::plan::ExportLevel;
use streamgauge_core::record::{Outcome, Phase, Record};
use streamgauge_wire::{Keep, Tag, Transcript};
use tokio::sync::SemaphorePermit;

/// The number of output events for which memory is reserved if a request asks for no output length.
const USUAL_EVENTS: usize = 16;

/// The output events for which memory is reserved at most.
const MOST_EVENTS: u32 = 4096;

/// A request from the moment at which a slot takes it until its end.
pub(super) struct InFlight<'a> {
    /// The part of the content that only this request has.
    pub tag: Tag,
    /// What names its conversation, where a header does.
    pub named: Option<HeaderValue>,
    /// How long after it was written the request is cancelled, if the plan wants that.
    pub cancel: Option<Nanos>,
    /// Its permit among requests that have no output yet, while it has none.
    prefill: Option<SemaphorePermit<'a>>,
    /// Its place in a growing load, until it has had the responses that the next batch waits for.
    growth: Option<GrowthPlace<'a>>,
    /// The server said that the connection ends with this answer.
    pub ends_connection: bool,
    /// About a round trip on its connection.
    pub round_trip: Nanos,
    /// The part of the answer that has been read.
    pub transcript: Transcript,
    /// The input as files show it.
    listed: Option<Arc<str>>,
}

impl<'a> InFlight<'a> {
    /// The request of `ticket`, which is not sent yet.
    pub fn new(job: &Job, ticket: &Ticket<'a>, phase: Phase) -> InFlight<'a> {
        let (prompt, input) = ticket.input(&job.supply);
        let requested_output_tokens = input.and_then(|input| input.requested_output_tokens);
        let sequence = ticket.turn.map(|turn| turn.tag);
        let events = requested_output_tokens.map_or(USUAL_EVENTS, |tokens| tokens.min(MOST_EVENTS) as usize);
        let record = Record {
            seq: ticket.seq,
            phase,
            prompt,
            input_tokens: input.map_or(0, |input| input.tokens),
            requested_output_tokens,
            due: ticket.due,
            chunks: Vec::with_capacity(events),
            sequence,
            conversation: ticket.conversation,
            ..Record::issued(ticket.issued)
        };
        let output = &job.plan.output;
        let keep = Keep {
            raw: output.export == ExportLevel::Raw,
            text_parts: output.needs_event_texts(),
            longest_answer: job.longest_reply,
        };
        InFlight {
            tag: Tag { id: ticket.seq, sequence },
            named: job.conversation_name(phase, ticket.conversation_number),
            cancel: None,
            prefill: ticket.take_prefill(),
            growth: ticket.take_growth(),
            ends_connection: false,
            round_trip: Nanos::ZERO,
            transcript: Transcript::new(record, keep).expecting(input.map_or(0, |input| input.outputs)),
            listed: input.and_then(|input| input.listed.clone()),
        }
    }

    /// The record so far.
    pub fn record(&mut self) -> &mut Record {
        self.transcript.record_mut()
    }

    /// Sends the request to server number `target`. No run has more servers than the record's number holds.
    pub fn set_target(&mut self, target: usize) {
        self.record().target = target as u16;
    }

    /// The number of its server.
    pub fn target(&self) -> usize {
        usize::from(self.transcript.record().target)
    }

    /// Whether nothing of an answer has arrived, and the request has not been sent a second time.
    pub fn is_unanswered(&self) -> bool {
        let record = self.transcript.record();
        record.first_byte.is_none() && record.retries == 0
    }

    /// Reads `bytes` of the answer, which arrived at `stamp`, and gives back what the request need not hold any more.
    pub fn piece(&mut self, bytes: &[u8], stamp: ReceiveStamp) {
        self.transcript.piece(bytes, stamp);
        let outputs = self.transcript.outputs();
        if self.prefill.is_some() && outputs > 0 {
            self.prefill = None;
        }
        if self.growth.as_ref().is_some_and(|place| outputs >= place.responses()) {
            self.growth = None;
        }
    }

    /// The request has ended `now`, as `outcome` says.
    pub fn finish(self, outcome: Outcome, now: Nanos) -> Finished {
        let (record, received) = self.transcript.finish(outcome, now);
        Finished { record, received, listed: self.listed }
    }
}
