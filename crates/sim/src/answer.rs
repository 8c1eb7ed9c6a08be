//! One answer on the wire: the reply's events at their times, the faults that hit it, and the stamps before its writes.

use crate::faults::{FaultKind, Place};
use crate::http::{End, JSON, Message, close_line, document, document_with, status_line};
use crate::kserve::InferPath;
use crate::log::{self, Log, RequestLog};
use crate::reply::{Answer, AnswerParts, Reply, Word};
use crate::request::{Ask, Refusal, Shape};
use crate::server::Server;
use rand::{Rng, RngExt};
use std::io::{self, Write as _};
use streamgauge_core::clock::{Clock, Nanos};
use streamgauge_core::plan::EndpointKind;
use streamgauge_net::StampedStream;

/// Events that are due at once go out together in writes of about this many bytes.
pub(crate) const WRITE: usize = 16 * 1024;
/// Between the pieces of an event that is split on purpose: long enough for a reader to take them apart.
pub(crate) const SPLIT_PAUSE: Nanos = Nanos(200_000);

/// Answers a request for output that has come on `io`.
pub(crate) async fn answer(
    server: &Server,
    io: &mut StampedStream,
    room: &mut Room,
    connection: u64,
    wish: Wish<'_>,
    message: &Message,
    body: &[u8],
) -> io::Result<End> {
    let number = server.next_request();
    let mut chance = server.chance(number);
    let faults = server.faults(number, &mut chance);
    let request = RequestLog {
        number,
        connection,
        kind: wish.kind(),
        received: message.received,
        kernel_stamp: message.kernel_stamp,
        prompt_tokens: 0,
        output_tokens: 0,
        status: 0,
        faults: faults.iter().map(|fault| fault.name()).collect(),
        writes: Vec::new(),
        complete: false,
    };
    let entry = Entry { log: &server.log, request: Some(request) };
    let mut exchange = Exchange { server, io, room, entry, faults, close: message.close, number, chance };
    let end = match wish {
        Wish::Output(shape) => exchange.run(shape, message.received, body).await?,
        Wish::Infer(path) => exchange.infer(path, message.received, message.json, body).await?,
    };
    exchange.entry.note(|request| request.complete = true);
    server.count(exchange.entry.request.as_ref());
    Ok(end)
}

/// What a request for output is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wish<'a> {
    /// For a reply of an OpenAI endpoint.
    Output(Shape),
    /// For the outputs of a model of KServe v2.
    Infer(&'a InferPath),
}

impl Wish<'_> {
    fn kind(self) -> EndpointKind {
        match self {
            Wish::Output(shape) => shape.kind(),
            Wish::Infer(path) => path.kind(),
        }
    }
}

/// Buffers that outlive a request.
#[derive(Debug, Default)]
pub(crate) struct Room {
    /// Events.
    pub(crate) payload: Vec<u8>,
    /// What goes to the kernel.
    pub(crate) frame: Vec<u8>,
}

/// The log's entry for a request. It reaches the log however the request ends.
pub(crate) struct Entry<'a> {
    log: &'a Log,
    request: Option<RequestLog>,
}

impl Entry<'_> {
    pub(crate) fn note(&mut self, change: impl FnOnce(&mut RequestLog)) {
        if let Some(request) = &mut self.request {
            change(request);
        }
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        if let Some(request) = self.request.take() {
            self.log.push(request);
        }
    }
}

/// One request on its way to its answer.
pub(crate) struct Exchange<'a, R> {
    pub(crate) server: &'a Server,
    io: &'a mut StampedStream,
    pub(crate) room: &'a mut Room,
    pub(crate) entry: Entry<'a>,
    pub(crate) faults: Vec<FaultKind>,
    pub(crate) close: bool,
    number: u64,
    pub(crate) chance: R,
}

impl<R: Rng> Exchange<'_, R> {
    async fn run(&mut self, shape: Shape, received: Nanos, body: &[u8]) -> io::Result<End> {
        if self.has(FaultKind::Reset(Place::Start)) {
            return Ok(End::Reset);
        }
        let server = self.server;
        let ask = match self.refused().map_or_else(|| server.reader.read(shape, body), Err) {
            Ok(ask) if ask.has_stream_options && self.has(FaultKind::RejectStreamOptions) => {
                let message = "Unknown field `stream_options`: extra fields are not permitted";
                return self.refuse(&Refusal::bad("stream_options", message), received).await;
            }
            Ok(ask) => ask,
            Err(refusal) => return self.refuse(&refusal, received).await,
        };
        let (_seat, begun) =
            server.engine.admit(u32::try_from(ask.prompts.len()).unwrap_or(u32::MAX), received).await?;
        let words = server.words(self.has(FaultKind::SplitWrites));
        let replies = self.replies(&ask, words);
        let parts = AnswerParts {
            ask: &ask,
            number: self.number,
            created: server.engine.clock.wall(received) / 1_000_000_000,
            model: &server.reader.models[ask.model],
            words,
            replies,
            tokens_per_event: self.tokens_per_event(),
            bad_usage: self.fault(|fault| if let FaultKind::BadUsage(by) = fault { Some(by) } else { None }),
        };
        let answer = Answer::new(parts);
        self.entry.note(|request| {
            request.status = 200;
            request.prompt_tokens = ask.prompt_tokens();
            request.output_tokens = answer.tokens();
        });
        let due = begun + server.engine.service.prefill(u64::from(ask.prompt_tokens()), &mut self.chance);
        let due = due + self.stall(Place::Start).unwrap_or_default();
        if ask.stream { self.stream(answer, due).await } else { self.whole(answer, due).await }
    }

    fn replies(&mut self, ask: &Ask, words: &[Word]) -> Vec<Reply> {
        let mut asked = ask.length;
        if self.has(FaultKind::IgnoreLength) {
            asked = Default::default();
        }
        let reply = |tokens: &u32| {
            let length = self.server.lengths.draw(asked, *tokens, &mut self.chance);
            let start = self.chance.random_range(0..words.len());
            Reply::plan(words, start, length, &ask.stop, asked.least)
        };
        ask.prompts.iter().map(reply).collect()
    }

    /// The reply's events, each when it is due, and what goes wrong half-way.
    async fn stream(&mut self, mut answer: Answer<'_>, mut due: Nanos) -> io::Result<End> {
        let server = self.server;
        let mut mishaps: Vec<FaultKind> = self.faults.iter().copied().filter(|fault| is_midway(*fault)).collect();
        let (steps, mut step, mut over) = (answer.steps(), 0, false);
        let middle = (steps / 2).max(1);
        self.begin_stream();
        while !over {
            server.engine.sleep_until(due).await?;
            if step == 0 {
                answer.begin(&mut self.room.payload);
            }
            let stop_at = if mishaps.is_empty() { steps } else { middle };
            let mut events = 0;
            while step < stop_at {
                events += answer.step(&mut self.room.payload);
                step += 1;
                if !server.engine.service.is_saturated() || self.room.payload.len() >= WRITE {
                    break;
                }
            }
            if step == steps && mishaps.is_empty() {
                answer.end(&mut self.room.payload);
                over = true;
            }
            self.send_chunk(over, events).await?;
            due = server.engine.next_due(due, &mut self.chance);
            if step == middle {
                for mishap in std::mem::take(&mut mishaps) {
                    if let Some(end) = self.mishap(mishap, &mut due).await? {
                        return Ok(end);
                    }
                }
            }
        }
        Ok(self.end())
    }

    /// Something goes wrong in the middle of a stream; where that ends it, how.
    async fn mishap(&mut self, mishap: FaultKind, due: &mut Nanos) -> io::Result<Option<End>> {
        match mishap {
            FaultKind::Stall(_, span) => *due = (*due).max(self.server.engine.clock.now()) + span,
            FaultKind::Reset(_) => return Ok(Some(End::Reset)),
            FaultKind::Truncate => return Ok(Some(End::Close)),
            FaultKind::Malformed => {
                self.room
                    .payload
                    .extend_from_slice(b"data: {\"id\":\"chatcmpl-broken\",\"choices\":[{\"index\":0,\"del\n\n");
                self.send_chunk(false, 0).await?;
            }
            _ => {
                self.room.payload.extend_from_slice(b"data: ");
                self.room.payload.extend_from_slice(&failure().body());
                self.room.payload.extend_from_slice(b"\n\ndata: [DONE]\n\n");
                self.send_chunk(true, 0).await?;
                return Ok(Some(self.end()));
            }
        }
        Ok(None)
    }

    /// The answer in one piece, once its last token is due.
    async fn whole(&mut self, mut answer: Answer<'_>, mut due: Nanos) -> io::Result<End> {
        let engine = &self.server.engine;
        for _ in 1..answer.steps() {
            engine.sleep_until(due).await?;
            due = engine.next_due(due, &mut self.chance);
        }
        engine.sleep_until(due).await?;
        let failed = self.has(FaultKind::ErrorEvent);
        let body = if failed { failure().body() } else { answer.whole() };
        self.send_whole(JSON, "", body, answer.replies()).await
    }

    /// An answer that is no stream, with these fields in its head beside the usual ones, and what goes wrong with it half-way.
    pub(crate) async fn send_whole(
        &mut self,
        content_type: &str,
        fields: &str,
        mut body: Vec<u8>,
        events: u32,
    ) -> io::Result<End> {
        let engine = &self.server.engine;
        if self.has(FaultKind::Malformed) {
            body.truncate(body.len() / 2);
        }
        self.room.frame.extend_from_slice(&document_with(200, content_type, fields, &body, self.close));
        let half = self.room.frame.len() - body.len() / 2;
        let rest = self.room.frame.split_off(half);
        for mishap in self.faults.clone() {
            match mishap {
                FaultKind::Stall(Place::Middle, span) => {
                    self.send(0).await?;
                    engine.pause(span).await?;
                }
                FaultKind::Reset(Place::Middle) | FaultKind::Truncate => {
                    self.send(0).await?;
                    return Ok(if mishap == FaultKind::Truncate { End::Close } else { End::Reset });
                }
                _ => {}
            }
        }
        self.room.frame.extend_from_slice(&rest);
        self.send(events).await?;
        Ok(self.end())
    }

    async fn refuse(&mut self, refusal: &Refusal, received: Nanos) -> io::Result<End> {
        self.entry.note(|request| request.status = refusal.status);
        if let Some(span) = self.stall(Place::Start) {
            self.server.engine.sleep_until(received + span).await?;
        }
        self.room.frame.extend_from_slice(&document(refusal.status, "application/json", &refusal.body(), self.close));
        self.send(0).await?;
        Ok(self.end())
    }

    pub(crate) fn begin_stream(&mut self) {
        self.room.payload.clear();
        let frame = &mut self.room.frame;
        frame.clear();
        frame.extend_from_slice(status_line(200).as_bytes());
        frame.extend_from_slice(b"content-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n");
        frame.extend_from_slice(close_line(self.close).as_bytes());
        frame.extend_from_slice(b"\r\n");
    }

    /// Sends the payload as one chunk of the body, after whatever the frame holds already; `last` closes the body.
    pub(crate) async fn send_chunk(&mut self, last: bool, events: u32) -> io::Result<()> {
        let Room { payload, frame } = &mut *self.room;
        if !payload.is_empty() {
            write!(frame, "{:x}\r\n", payload.len())?;
            frame.append(payload);
            frame.extend_from_slice(b"\r\n");
        }
        if last {
            frame.extend_from_slice(b"0\r\n\r\n");
        }
        self.send(events).await
    }

    /// Sends the frame, in as many writes as the faults want.
    pub(crate) async fn send(&mut self, events: u32) -> io::Result<()> {
        let mut frame = std::mem::take(&mut self.room.frame);
        let mut rest = frame.as_slice();
        if let Some(pause) =
            self.fault(|fault| if let FaultKind::SlowHeaders(span) = fault { Some(span) } else { None })
        {
            let head = if rest.starts_with(b"HTTP/") { head_len(rest) } else { 0 };
            for byte in 0..head {
                self.write(&rest[byte..=byte], 0).await?;
                self.server.engine.pause(pause).await?;
            }
            rest = &rest[head..];
        }
        if self.has(FaultKind::SplitWrites) {
            for cut in cuts(rest) {
                let (piece, after) = rest.split_at(cut);
                self.write(piece, 0).await?;
                self.server.engine.pause(SPLIT_PAUSE).await?;
                rest = after;
            }
        }
        if !rest.is_empty() {
            self.write(rest, events).await?;
        }
        frame.clear();
        self.room.frame = frame;
        Ok(())
    }

    async fn write(&mut self, bytes: &[u8], events: u32) -> io::Result<()> {
        let at = self.server.engine.clock.now();
        self.entry.note(|request| request.writes.push(log::Write { at, events }));
        self.io.send_all(bytes).await
    }

    pub(crate) fn end(&self) -> End {
        if self.close { End::Close } else { End::Keep }
    }

    pub(crate) fn has(&self, fault: FaultKind) -> bool {
        self.faults.contains(&fault)
    }

    pub(crate) fn fault<T>(&self, pick: impl Fn(FaultKind) -> Option<T>) -> Option<T> {
        self.faults.iter().find_map(|fault| pick(*fault))
    }

    pub(crate) fn stall(&self, place: Place) -> Option<Nanos> {
        self.fault(|fault| match fault {
            FaultKind::Stall(at, span) if at == place => Some(span),
            _ => None,
        })
    }

    fn tokens_per_event(&self) -> u32 {
        let several = self.fault(|fault| if let FaultKind::MultiToken(n) = fault { Some(n) } else { None });
        several.unwrap_or(self.server.engine.service.tokens_per_event).max(1)
    }

    /// The refusal that a fault wants.
    fn refused(&self) -> Option<Refusal> {
        let status = self.fault(|fault| if let FaultKind::Status(code) = fault { Some(code) } else { None })?;
        let message = format!("simulated fault: status {status}");
        Some(Refusal { status, class: "SimulatedError", message, param: None })
    }
}

/// Whether a fault strikes in the middle of a stream.
pub(crate) fn is_midway(fault: FaultKind) -> bool {
    matches!(
        fault,
        FaultKind::Stall(Place::Middle, _)
            | FaultKind::Reset(Place::Middle)
            | FaultKind::Truncate
            | FaultKind::Malformed
            | FaultKind::ErrorEvent
    )
}

/// The error inside an answer that began well.
fn failure() -> Refusal {
    let message = "simulated fault: the engine died".to_owned();
    Refusal { status: 500, class: "InternalServerError", message, param: None }
}

/// Bytes of the head, its empty line included.
fn head_len(frame: &[u8]) -> usize {
    frame.windows(4).position(|window| window == b"\r\n\r\n").map_or(frame.len(), |at| at + 4)
}

/// Where a frame is cut on purpose, as lengths of the pieces before the last: within its first line, inside a character
/// if there is one of several bytes (else in the middle), and between the two ends of line that close it.
pub(crate) fn cuts(frame: &[u8]) -> Vec<usize> {
    let inside = frame.iter().position(|byte| (*byte & 0xc0) == 0x80).unwrap_or(frame.len() / 2);
    let mut places = [1, inside, frame.len().saturating_sub(1)];
    places.sort_unstable();
    let mut cut = 0;
    let pieces = places.into_iter().filter_map(|place| {
        let piece = place.checked_sub(cut).filter(|piece| *piece > 0)?;
        cut = place;
        Some(piece)
    });
    pieces.filter(|piece| *piece < frame.len()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_cut_inside_a_character() {
        let pieces = |frame: &[u8]| {
            let mut rest = frame;
            let mut pieces: Vec<Vec<u8>> = Vec::new();
            for cut in cuts(frame) {
                pieces.push(rest[..cut].to_vec());
                rest = &rest[cut..];
            }
            pieces.push(rest.to_vec());
            pieces
        };
        assert_eq!(pieces("ab é\r\n".as_bytes()), [&b"a"[..], b"b \xc3", b"\xa9\r", b"\n"]);
        assert_eq!(pieces(b"abcdef"), [&b"a"[..], b"bc", b"de", b"f"]);
        assert_eq!(pieces(b"a"), [b"a"]);
        assert_eq!(pieces(b""), [b""]);
    }

    #[test]
    fn a_head_ends_with_its_empty_line() {
        assert_eq!(head_len(b"HTTP/1.1 200 OK\r\na: b\r\n\r\n5\r\nhello"), 25);
    }
}
