//! One request, from the moment a slot takes it up until it is done, failed, given up or cut off.

mod drains;
mod watchdog;

use crate::connection::{Acks, BodyStep, Channels, Connection, State};
use crate::control::LocalEnd;
use crate::failure::{self, Ended};
use crate::job::{Finished, Job, Prepared};
use crate::notes::Notes;
use crate::pacing::Ticket;
use crate::phase::GrowthPlace;
use crate::request::Outgoing;
use crate::said::Texts;
use drains::{Drains, rest_of_body};
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use streamgauge_core::clock::{Clock, Nanos};
use streamgauge_core::plan::{Acknowledge, ExportLevel};
use streamgauge_core::received::Received;
use streamgauge_core::record::{BodyEnd, Failure, FailureClass, Outcome, Phase, RawPiece, Record, Stage};
use streamgauge_core::stamp::ReceiveStamp;
use streamgauge_core::tensor::Tensor;
use streamgauge_wire::{AnswerTo, Decoder, Tag, Unpacker, server_message};
use tokio::sync::SemaphorePermit;
use watchdog::{Limit, Watchdog};

/// Bytes of an error answer that are kept for its message.
const ERROR_BODY_LIMIT: usize = 64 * 1024;

/// What a piece of an answer whose bytes are kept takes beside its bytes.
const RAW_PIECE: u64 = 64;

/// What a slot's first request allocates besides its connection's buffers, about. The memory is taken from the system before load,
/// and given back to the allocator as the slot begins: the first events of many streams come together, and each would have
/// to wait until the heap has grown for all before it.
const FIRST_REQUEST: usize = 4 * 1024;

/// A connection to each server, and at most one request on one of them.
pub(crate) struct Slot {
    job: Arc<Job>,
    thread: u16,
    number: u32,
    /// By the server's index.
    connections: Vec<Option<Connection>>,
    previous_end: Option<Nanos>,
    /// See [`FIRST_REQUEST`].
    spare: Vec<u8>,
    watchdog: Watchdog,
    tally: Rc<Tally>,
    /// Which the thread's slots may share, and its place among them.
    channels: Rc<Channels>,
    seat: u32,
    acks: Acks,
    /// End as soon as the server has shown that it answers; for the probe.
    first_output_is_enough: bool,
    /// Where the last answer leads, if it was a redirect; for the probe.
    location: Option<String>,
}

/// What the slots of one load thread count together.
#[derive(Default)]
pub(crate) struct Tally {
    pub opened: Cell<u64>,
    pub replaced: Cell<u64>,
    /// Some connection had no kernel stamps.
    pub unstamped: Cell<bool>,
    /// Where connections go whose answers were complete before their bodies ended.
    pub drains: Rc<Drains>,
}

/// What is left of a request that was due and that no slot had taken up when the run ended: nothing but its due time.
pub(crate) fn never_sent(job: &Job, thread: u16, ticket: &Ticket<'_>, phase: Phase) -> Finished {
    let mut draft = Draft::new(job, ticket, phase);
    draft.notes.record.thread = thread;
    draft.set_target(job.balancer.by_number(ticket.seq));
    draft.finish(Outcome::CutOff, ticket.issued)
}

impl Slot {
    pub fn new(
        job: Arc<Job>,
        thread: u16,
        number: u32,
        end: Rc<LocalEnd>,
        tally: Rc<Tally>,
        channels: Rc<Channels>,
    ) -> Slot {
        let watchdog = Watchdog::new(job.clock, job.plan.transport.timeouts, end);
        let connections = (0..job.routes.len()).map(|_| None).collect();
        let acks = match job.plan.transport.acknowledge {
            Acknowledge::AtOnce => Acks::AtOnce,
            Acknowledge::Delayed => Acks::Untold,
        };
        Slot {
            job,
            thread,
            number,
            connections,
            previous_end: None,
            spare: Vec::new(),
            watchdog,
            tally,
            seat: channels.take_seat(),
            channels,
            acks,
            first_output_is_enough: false,
            location: None,
        }
    }

    /// Ends requests at their first output.
    pub fn stop_at_first_output(&mut self) {
        self.first_output_is_enough = true;
    }

    /// What the kernel is told about acknowledgements on connections that are opened from now on.
    pub fn set_acks(&mut self, acks: Acks) {
        self.acks = acks;
    }

    /// Where the last answer leads, if it was a redirect.
    pub fn take_location(&mut self) -> Option<String> {
        self.location.take()
    }

    /// Phase number `phase` of the run begins for this slot. What lay before it is no turnaround, unless the slot goes on from
    /// the phase before without a pause.
    pub fn begin_phase(&mut self, phase: usize, goes_on: bool) {
        self.watchdog.begin_phase(phase);
        self.spare = Vec::new();
        self.previous_end = self.previous_end.filter(|_| goes_on);
    }

    /// Opens the connections before load. Where that fails, the first request will try again and say why.
    pub async fn open_ahead(&mut self) {
        for target in 0..self.connections.len() {
            self.watchdog.start(self.job.clock.now());
            self.connections[target] = self.open(target).await.ok();
            if let Some(connection) = &mut self.connections[target] {
                connection.turn().await;
            }
        }
        // Not zeros, which the system would promise and not give.
        self.spare = vec![1; FIRST_REQUEST];
    }

    /// Its number, counted over all threads.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Sends a request and reads its answer.
    pub async fn request(&mut self, ticket: &Ticket<'_>, phase: Phase) -> Finished {
        let job = self.job.clone();
        self.watchdog.start(ticket.issued);
        // Boxed, so that the states of the task's nested futures lie near each other: they are visited on every event.
        let mut draft = Box::new(Draft::new(&job, ticket, phase));
        draft.notes.record.thread = self.thread;
        draft.notes.record.slot = self.number;
        let seat = job.seat(ticket.seq);
        draft.set_target(seat.target);
        let cancel = job.plan.load.cancel.filter(|_| phase == Phase::Profiling);
        draft.cancel =
            cancel.filter(|cancel| cancel.picks(job.plan.prompts.seed, ticket.seq)).map(|cancel| cancel.delay);
        let outcome = match self.attempts(job.input(ticket.seq, ticket.turn).1, &mut draft).await {
            Outcome::Failed(failure) => {
                if phase == Phase::Profiling {
                    job.balancer.note_failure(seat.target);
                }
                Outcome::Failed(Failure { message: job.scrub(failure.message), ..failure })
            }
            outcome => outcome,
        };
        let record = &mut draft.notes.record;
        // In an open loop the time between two requests of a slot is the schedule's.
        let previous_end = self.previous_end.filter(|_| record.connect.is_none() && record.due.is_none());
        // What it waited for a place is the plan's pause, and ends where it was issued.
        let previous_end = previous_end.map(|end| if ticket.waited { end.max(record.issued) } else { end });
        record.turnaround = previous_end.zip(record.sent).map(|(end, sent)| sent - end);
        let finished = draft.finish(outcome, job.clock.now());
        self.previous_end = Some(finished.record.end);
        finished
    }

    /// Tries on the kept connection, and once more on a new one if the server was closing it as the request left. Latencies count from
    /// the first write of both.
    async fn attempts(&mut self, input: &Prepared, draft: &mut Draft<'_>) -> Outcome {
        loop {
            let kept = match self.usable_connection(draft).await {
                Ok(kept) => kept,
                Err(ended) => return ended.into(),
            };
            match self.exchange(input, draft).await {
                Ok(()) => return Outcome::Ok,
                Err(Ended::Failed(failure)) if kept && draft.is_unanswered() && self.fits_race(&failure, draft) => {
                    match draft.notes.record.sent {
                        // It died before anything was written: the same as if we had seen it idle.
                        None => self.tally.replaced.update(|n| n + 1),
                        Some(_) => draft.notes.record.retries += 1,
                    }
                }
                Err(ended) => return ended.into(),
            }
        }
    }

    fn fits_race(&self, failure: &Failure, draft: &Draft<'_>) -> bool {
        let race = self.job.closing_race + draft.round_trip;
        failure::may_be_sent_again(failure, draft.notes.record.written, self.job.clock.now(), race)
    }

    /// Makes sure that there is a connection; whether it has served before.
    async fn usable_connection(&mut self, draft: &mut Draft<'_>) -> Result<bool, Ended> {
        let target = draft.target();
        if let Some(connection) = &mut self.connections[target] {
            let state = connection.state().await;
            if matches!(state, State::Renewed | State::Lost) {
                self.tally.replaced.update(|n| n + 1);
            }
            if matches!(state, State::Usable | State::Renewed) {
                return Ok(connection.is_kept());
            }
            self.connections[target] = None;
        }
        if let Some(spare) = self.tally.drains.spare(target).await {
            self.connections[target] = Some(spare);
            return Ok(true);
        }
        let begun = self.job.clock.now();
        let opened = self.open(target).await;
        draft.notes.record.connect = Some(self.job.clock.now() - begun);
        self.connections[target] = Some(opened?);
        Ok(false)
    }

    async fn open(&mut self, target: usize) -> Result<Connection, Ended> {
        self.watchdog.expect(Limit::Connect)?;
        let opened = self.job.routes.to(target).connect(self.job.clock, target, self.seat, &self.channels);
        let (connection, is_new) = self.watchdog.guard(Box::pin(opened)).await??;
        self.tally.opened.update(|n| n + u64::from(is_new));
        connection.set_acks(self.acks);
        if !connection.kernel_stamps() {
            self.tally.unstamped.set(true);
        }
        Ok(connection)
    }

    /// One request and its answer on the connection to its server, which is kept unless the server said that it ends or the
    /// plan wants it closed. If it ended all the same, the next request finds out.
    async fn exchange(&mut self, input: &Prepared, draft: &mut Draft<'_>) -> Result<(), Ended> {
        let target = draft.target();
        let Some(mut connection) = self.connections[target].take() else {
            return Err(
                Failure { stage: Stage::Connect, class: FailureClass::Io, message: "no connection".into() }.into()
            );
        };
        let job = self.job.clone();
        let outgoing = job.outgoing(target, input, &draft.tag);
        self.watchdog.cancel(draft.cancel.map(|delay| (delay, connection.written())));
        let read = self.read_answer(outgoing, &input.expected, &mut connection, draft).await;
        self.watchdog.cancel(None);
        let record = &mut draft.notes.record;
        record.sent = record.sent.or(connection.sent());
        record.first_byte = connection.first_byte();
        record.written = connection.written_at();
        draft.round_trip = connection.round_trip();
        if draft.notes.record.body_end == Some(BodyEnd::Late) {
            connection.finish();
            let serves_again = !draft.ends_connection && !connection.is_spent(self.job.plan.transport.connections);
            self.tally.drains.take(target, connection, serves_again);
            return draft.verdict();
        }
        // What a stream brought beyond its answer would be the next one's.
        let is_clean = draft.body_is_whole && (draft.notes.fault.is_none() || !connection.goes_on());
        if is_clean && !draft.ends_connection {
            connection.finish();
            if connection.is_spent(self.job.plan.transport.connections) {
                connection.close().await;
            } else {
                self.connections[target] = Some(connection);
            }
        } else if !draft.ends_connection && connection.abandon().await {
            self.connections[target] = Some(connection);
        }
        read?;
        draft.verdict()
    }

    async fn read_answer(
        &mut self,
        outgoing: Outgoing<'_>,
        expected: &[Tensor],
        connection: &mut Connection,
        draft: &mut Draft<'_>,
    ) -> Result<(), Ended> {
        self.watchdog.expect(Limit::FirstByte).map_err(|ended| ended.at(Stage::Send))?;
        let answer = self.watchdog.guard(connection.answer(outgoing)).await;
        let answer = answer.map_err(|ended| {
            let written = connection.written_at().is_some();
            ended.at(if written { Stage::FirstByte } else { Stage::Send })
        })??;
        draft.ends_connection = answer.ends_connection;
        if !answer.status.is_success() {
            draft.advice = answer.advice();
        }
        let header_length = answer.header("inference-header-content-length").and_then(|text| text.parse().ok());
        let to = AnswerTo { id: draft.tag.id, expected, header_length, encoding: answer.header("grpc-encoding") };
        if answer.status.is_redirection() {
            self.location = answer.location();
        }
        let decoder = self.job.codec.decoder(answer.header("content-type"), to);
        draft.begin_body(answer.status, decoder, answer.unpacker());
        if draft.is_settled(false) {
            return Ok(());
        }
        // The head lies in the connection's read buffer, and while it is there the next read needs another.
        drop(answer);
        loop {
            self.watchdog.expect(Limit::Idle)?;
            let piece = match self.watchdog.guard(connection.piece()).await?? {
                BodyStep::Piece(piece) => piece,
                BodyStep::End(stamp) => {
                    draft.end_body(stamp);
                    return Ok(());
                }
            };
            draft.data(&piece.bytes, piece.stamp);
            if draft.is_settled(self.first_output_is_enough) {
                return Ok(());
            }
            if draft.notes.complete && connection.goes_on() {
                draft.end_body(piece.stamp);
                return Ok(());
            }
            if draft.notes.is_done && !connection.goes_on() {
                self.end_of_body(connection, draft).await;
                return Ok(());
            }
        }
    }

    /// The answer has said that it is complete, which is its end. Most bodies end with it, or with a write right behind it; that is
    /// waited for a moment, so that the connection can serve again.
    async fn end_of_body(&mut self, connection: &mut Connection, draft: &mut Draft<'_>) {
        let rest = match self.watchdog.expect(Limit::BodyEnd) {
            Ok(()) => self.watchdog.guard(rest_of_body(connection)).await,
            Err(over) => Err(over),
        };
        let (whole, end) = match rest {
            Ok(Ok(())) => (true, None),
            Ok(Err(failure)) if failure.class != FailureClass::Malformed => (false, Some(BodyEnd::Cut)),
            Ok(Err(_)) | Err(_) => (false, Some(BodyEnd::Late)),
        };
        draft.body_is_whole = whole;
        draft.notes.record.body_end = end;
    }
}

/// A record in the making: the decoder of the answer, and what it has told so far.
struct Draft<'a> {
    /// What only this sending of its input says.
    tag: Tag,
    /// How long after it was sent the request is given up, if it is to be.
    cancel: Option<Nanos>,
    /// Its place among requests without a first output, as long as it has none.
    prefill: Option<SemaphorePermit<'a>>,
    /// Its place in a load that grows, until it has had the responses that this waits for.
    growth: Option<GrowthPlace<'a>>,
    decoder: Option<Decoder>,
    /// Of a compressed answer.
    unpacker: Option<Unpacker>,
    /// The answer's beginning, when its status was not a success.
    error_body: Option<Vec<u8>>,
    /// What the head of such an answer says beside its status.
    advice: String,
    /// Bytes of the answer that are read at most.
    longest_reply: u64,
    keep_raw: bool,
    raw: Vec<RawPiece>,
    body_is_whole: bool,
    ends_connection: bool,
    /// Of its connection.
    round_trip: Nanos,
    notes: Notes,
}

impl<'a> Draft<'a> {
    fn new(job: &Job, ticket: &Ticket<'a>, phase: Phase) -> Draft<'a> {
        let (prompt, input) = job.input(ticket.seq, ticket.turn);
        let sequence = ticket.turn.map(|turn| turn.tag);
        let record = Record {
            seq: ticket.seq,
            phase,
            thread: 0,
            slot: 0,
            prompt,
            target: 0,
            input_tokens: input.tokens,
            requested_output_tokens: input.requested_output_tokens,
            due: ticket.due,
            issued: ticket.issued,
            connect: None,
            sent: None,
            written: None,
            first_byte: None,
            first_event: None,
            chunks: Vec::with_capacity(input.requested_output_tokens.map_or(16, |tokens| tokens.min(4096) as usize)),
            end: ticket.issued,
            turnaround: None,
            retries: 0,
            status: None,
            finish: None,
            usage: None,
            text_tokens: None,
            bytes: 0,
            unreadable: Default::default(),
            body_end: None,
            sequence,
            outcome: Outcome::CutOff,
        };
        Draft {
            tag: Tag { id: ticket.seq, sequence },
            cancel: None,
            prefill: ticket.take_prefill(),
            growth: ticket.take_growth(),
            decoder: None,
            unpacker: None,
            error_body: None,
            advice: String::new(),
            longest_reply: job.longest_reply,
            keep_raw: job.plan.output.export == ExportLevel::Raw,
            raw: Vec::new(),
            body_is_whole: false,
            ends_connection: false,
            round_trip: Nanos::ZERO,
            notes: Notes::new(record, job.plan.output.export),
        }
    }

    /// Gives the request its server. No run has more servers than the number holds.
    fn set_target(&mut self, target: usize) {
        self.notes.record.target = target as u16;
    }

    fn target(&self) -> usize {
        usize::from(self.notes.record.target)
    }

    fn is_unanswered(&self) -> bool {
        self.notes.record.first_byte.is_none() && self.notes.record.retries == 0
    }

    /// Whether reading on would bring nothing more to know.
    fn is_settled(&self, first_output_is_enough: bool) -> bool {
        self.notes.fault.is_some() || (first_output_is_enough && !self.notes.record.chunks.is_empty())
    }

    fn begin_body(&mut self, status: http::StatusCode, decoder: Decoder, unpacker: Result<Option<Unpacker>, String>) {
        self.notes.record.status = Some(status.as_u16());
        match unpacker {
            Ok(unpacker) if status.is_success() => (self.unpacker, self.decoder) = (unpacker, Some(decoder)),
            Ok(unpacker) => (self.unpacker, self.error_body) = (unpacker, Some(Vec::new())),
            Err(why) if status.is_success() => self.notes.fail(FailureClass::Malformed, &why),
            Err(why) => self.notes.fail(FailureClass::Status, &format!("{}: {why}", status.as_u16())),
        }
    }

    /// Takes in bytes that arrived at `stamp`.
    fn data(&mut self, data: &[u8], stamp: ReceiveStamp) {
        if data.is_empty() {
            return;
        }
        self.notes.record.bytes += data.len() as u64;
        self.notes.record.end = stamp.at;
        if self.notes.record.bytes + self.raw.len() as u64 * RAW_PIECE > self.longest_reply {
            return self.give_up_reading();
        }
        match self.unpacker.take() {
            None => self.plain(data, stamp),
            Some(mut unpacker) => {
                let fed = unpacker.feed(data, &mut |plain| self.plain(plain, stamp));
                self.unpacker = Some(unpacker);
                if let Err(why) = fed {
                    self.notes.fail(FailureClass::Malformed, &why);
                }
            }
        }
        if self.prefill.is_some() && !self.notes.record.chunks.is_empty() {
            self.prefill = None;
        }
        if self.growth.as_ref().is_some_and(|place| self.notes.record.chunks.len() >= place.responses()) {
            self.growth = None;
        }
    }

    /// Takes down bytes of the body as the server meant them.
    fn plain(&mut self, data: &[u8], stamp: ReceiveStamp) {
        if self.keep_raw {
            self.raw.push(RawPiece { at: stamp.at, bytes: data.to_vec() });
        }
        if let Some(body) = &mut self.error_body {
            let room = ERROR_BODY_LIMIT.saturating_sub(body.len());
            body.extend_from_slice(&data[..data.len().min(room)]);
        }
        if let Some(decoder) = &mut self.decoder {
            decoder.feed(data, &mut |event| self.notes.event(event, stamp));
        }
    }

    /// The answer is longer than any that a model gives. What it said is let go of: nobody counts its tokens.
    fn give_up_reading(&mut self) {
        (self.decoder, self.raw, self.notes.texts) = (None, Vec::new(), Texts::default());
        let message = format!("the answer is longer than {} MiB", self.longest_reply >> 20);
        self.notes.fail(FailureClass::Malformed, &message);
    }

    /// The body has ended; its end arrived at `stamp`.
    fn end_body(&mut self, stamp: ReceiveStamp) {
        self.body_is_whole = true;
        self.notes.record.end = stamp.at;
        if let Some(decoder) = &mut self.decoder {
            // A stream that says when it is complete does so in its events.
            let is_cut = self.unpacker.as_ref().is_some_and(|unpacker| !unpacker.is_complete());
            if is_cut && !decoder.says_when_complete() {
                return self.notes.fail(FailureClass::Truncated, "the compressed answer ends in the middle");
            }
            decoder.finish(&mut |event| self.notes.event(event, stamp));
        }
    }

    /// What became of a request whose answer was read as far as it made sense.
    fn verdict(&mut self) -> Result<(), Ended> {
        let failed = |class, message: String| Err(Failure { stage: Stage::Body, class, message }.into());
        if let Some(body) = &self.error_body {
            let status = self.notes.record.status.unwrap_or_default();
            let message = server_message(body).unwrap_or_else(|| "no message".to_owned());
            return failed(FailureClass::Status, format!("{status}{}: {message}", self.advice));
        }
        if let Some((class, message)) = self.notes.fault.take() {
            return failed(class, message);
        }
        // Without any output, what could not be read is the likeliest place of it.
        if self.body_is_whole
            && self.notes.record.chunks.is_empty()
            && let Some(message) = self.notes.unreadable.take()
        {
            return failed(FailureClass::Malformed, message);
        }
        let must_say_so = self.decoder.as_ref().is_some_and(Decoder::says_when_complete);
        if self.body_is_whole && must_say_so && !self.notes.complete {
            return failed(FailureClass::Truncated, "the answer ended without a finish reason or [DONE]".to_owned());
        }
        if self.notes.record.chunks.is_empty() && !self.notes.is_empty_reply() {
            return failed(FailureClass::Empty, self.notes.without_output());
        }
        Ok(())
    }

    fn finish(self, outcome: Outcome, now: Nanos) -> Finished {
        let Notes { mut record, texts, usage, .. } = self.notes;
        if outcome != Outcome::Ok {
            record.end = now;
        }
        record.usage = usage.total();
        record.outcome = outcome;
        let (texts, parts) = texts.into_parts();
        Finished { record, received: Received { texts, parts, raw: self.raw } }
    }
}
