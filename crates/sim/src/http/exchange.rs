//! One request on its way to its answer: the stamps before its writes, and the faults that hit it.

use super::response::{End, close_line, document_with, status_line};
use crate::faults::{FaultKind, Place};
use crate::log::{self, Log, RequestLog};
use crate::state::Server;
use crate::writes::{SPLIT_PAUSE, cuts};
use rand::Rng;
use std::io::{self, Write as _};
use streamgauge_core::clock::{Clock, Nanos};
use streamgauge_net::StampedStream;

/// Buffers that are reused between requests.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    /// Events.
    pub(crate) payload: Vec<u8>,
    /// The bytes for the kernel.
    pub(crate) frame: Vec<u8>,
}

/// The log entry of a request. It reaches the log however the request ends.
pub(crate) struct Entry<'a> {
    pub(crate) log: &'a Log,
    pub(crate) request: Option<RequestLog>,
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
    pub(crate) io: &'a mut StampedStream,
    pub(crate) buffers: &'a mut Buffers,
    pub(crate) entry: Entry<'a>,
    pub(crate) faults: Vec<FaultKind>,
    pub(crate) close: bool,
    pub(crate) number: u64,
    pub(crate) chance: R,
}

impl<R: Rng> Exchange<'_, R> {
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
        self.buffers.frame.extend_from_slice(&document_with(200, content_type, fields, &body, self.close));
        let half = self.buffers.frame.len() - body.len() / 2;
        let rest = self.buffers.frame.split_off(half);
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
        self.buffers.frame.extend_from_slice(&rest);
        self.send(events).await?;
        Ok(self.end())
    }

    pub(crate) fn begin_stream(&mut self) {
        self.buffers.payload.clear();
        let frame = &mut self.buffers.frame;
        frame.clear();
        frame.extend_from_slice(status_line(200).as_bytes());
        frame.extend_from_slice(b"content-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n");
        frame.extend_from_slice(close_line(self.close).as_bytes());
        frame.extend_from_slice(b"\r\n");
    }

    /// Sends the payload as one chunk of the body, after whatever the frame holds already; `last` closes the body.
    pub(crate) async fn send_chunk(&mut self, last: bool, events: u32) -> io::Result<()> {
        let Buffers { payload, frame } = &mut *self.buffers;
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
        let mut frame = std::mem::take(&mut self.buffers.frame);
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
        self.buffers.frame = frame;
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
}

/// Bytes of the head, its empty line included.
fn head_len(frame: &[u8]) -> usize {
    frame.windows(4).position(|window| window == b"\r\n\r\n").map_or(frame.len(), |at| at + 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_with_its_empty_line() {
        assert_eq!(head_len(b"HTTP/1.1 200 OK\r\na: b\r\n\r\n5\r\nhello"), 25);
    }
}
