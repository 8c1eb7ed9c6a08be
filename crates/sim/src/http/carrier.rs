//! The bytes of an HTTP/2 connection between the kernel and the protocol library, with the times at which they arrive and leave.
//!
//! The library reads and writes when it likes, so times are taken here: the frames that pass are followed, and the payload of each stream
//! is counted. A message that is queued leaves a mark at its last byte and is stamped by the write that carries that byte; the last byte
//! of a request is looked up among the reads.

use crate::log::{RequestLog, Write};
use crate::state::Server;
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use streamgauge_core::clock::{Clock, Nanos, SystemClock};
use streamgauge_net::{Receipt, StampedStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

/// The beginning of an HTTP/2 connection as clients send it.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection as the library sees it.
#[derive(Debug)]
pub(crate) struct Carrier {
    /// There until the connection is reset.
    io: Option<StampedStream>,
    /// The data that was read before it was recognised as HTTP/2, and its time.
    early: Vec<u8>,
    receipt: Receipt,
    traffic: Rc<Traffic>,
}

/// The state of the bytes of a connection.
#[derive(Debug)]
pub(crate) struct Traffic {
    clock: SystemClock,
    streams: RefCell<Streams>,
    /// Bytes were written.
    pub(crate) written: Notify,
    /// The connection should end.
    pub(crate) over: Notify,
    reset: Cell<bool>,
    /// Answers that are written, and those it ends after.
    served: Cell<u32>,
    close_after: Option<u32>,
    /// Requests that are not answered.
    pub(crate) pending: Rc<Cell<u32>>,
    /// When the latest bytes came or went.
    pub(crate) latest: Cell<Nanos>,
}

#[derive(Debug)]
struct Streams {
    inbound: Frames,
    outbound: Frames,
    arrivals: HashMap<u32, Arrivals>,
    sendings: HashMap<u32, Sending>,
}

/// The received data of a stream.
#[derive(Debug, Default)]
struct Arrivals {
    total: u64,
    /// For each read the total after it, its stamp, and whether that is the kernel's.
    reads: VecDeque<(u64, Nanos, bool)>,
}

/// The data to send on a stream.
#[derive(Debug, Default)]
struct Sending {
    queued: u64,
    written: u64,
    marks: VecDeque<Mark>,
}

/// The end of a message.
#[derive(Debug)]
struct Mark {
    /// The total at which it ends; `None` is the end of the stream.
    end: Option<u64>,
    events: u32,
    last: bool,
    request: Rc<Logged>,
}

/// The log entry of a request, to which several tasks write. It reaches the log however the request ends.
#[derive(Debug)]
pub(crate) struct Logged {
    server: Rc<Server>,
    /// The connection's. Not the connection's traffic itself, which has these entries in its marks.
    pending: Rc<Cell<u32>>,
    request: RefCell<Option<RequestLog>>,
}

impl Logged {
    pub(crate) fn new(server: Rc<Server>, traffic: &Traffic, request: RequestLog) -> Rc<Logged> {
        let pending = traffic.pending.clone();
        pending.set(pending.get() + 1);
        Rc::new(Logged { server, pending, request: RefCell::new(Some(request)) })
    }

    pub(crate) fn note(&self, change: impl FnOnce(&mut RequestLog)) {
        if let Some(request) = &mut *self.request.borrow_mut() {
            change(request);
        }
    }
}

impl Drop for Logged {
    fn drop(&mut self) {
        self.pending.set(self.pending.get() - 1);
        if let Some(request) = self.request.take() {
            if request.complete {
                self.server.count(Some(&request));
            }
            self.server.log.push(request);
        }
    }
}

impl Traffic {
    pub(crate) fn new(clock: SystemClock, close_after: Option<u32>) -> Rc<Traffic> {
        let streams = Streams {
            inbound: Frames { skip: PREFACE.len(), ..Frames::default() },
            outbound: Frames::default(),
            arrivals: HashMap::new(),
            sendings: HashMap::new(),
        };
        Rc::new(Traffic {
            clock,
            streams: RefCell::new(streams),
            written: Notify::new(),
            over: Notify::new(),
            reset: Cell::new(false),
            served: Cell::new(0),
            close_after,
            pending: Rc::default(),
            latest: Cell::new(clock.now()),
        })
    }

    /// When the byte of a stream's payload came that makes `total`, and whether that is the kernel's stamp.
    pub(crate) fn received(&self, stream: u32, total: u64) -> (Nanos, bool) {
        let mut streams = self.streams.borrow_mut();
        let Some(arrivals) = streams.arrivals.get_mut(&stream) else { return (self.clock.now(), false) };
        while arrivals.reads.front().is_some_and(|(end, ..)| *end < total) {
            arrivals.reads.pop_front();
        }
        arrivals.reads.front().map_or_else(|| (self.clock.now(), false), |(_, at, stamped)| (*at, *stamped))
    }

    /// Queues this many more bytes of a stream's payload, which end what `request` logs as a write of `events`; with the `last`, the
    /// request is answered.
    pub(crate) fn queue(&self, stream: u32, bytes: usize, events: u32, last: bool, request: &Rc<Logged>) {
        let mut streams = self.streams.borrow_mut();
        let sending = streams.sendings.entry(stream).or_default();
        sending.queued += bytes as u64;
        sending.marks.push_back(Mark { end: Some(sending.queued), events, last, request: request.clone() });
    }

    /// Queues this many more bytes that are not logged.
    pub(crate) fn queue_unlogged(&self, stream: u32, bytes: usize) {
        self.streams.borrow_mut().sendings.entry(stream).or_default().queued += bytes as u64;
    }

    /// The end of a stream is queued, and answers `request`.
    pub(crate) fn queue_end(&self, stream: u32, request: &Rc<Logged>) {
        let mut streams = self.streams.borrow_mut();
        let mark = Mark { end: None, events: 0, last: true, request: request.clone() };
        streams.sendings.entry(stream).or_default().marks.push_back(mark);
    }

    /// Bytes of a stream that are queued and not written.
    pub(crate) fn unsent(&self, stream: u32) -> u64 {
        self.streams.borrow().sendings.get(&stream).map_or(0, |sending| sending.queued - sending.written)
    }

    /// Nobody asks for a stream's reads any more; and where it was not `ended`, what is queued on it will not be written.
    pub(crate) fn forget(&self, stream: u32, ended: bool) {
        let mut streams = self.streams.borrow_mut();
        streams.arrivals.remove(&stream);
        let abandoned = if ended { None } else { streams.sendings.remove(&stream) };
        drop(streams);
        // Its entries go to the log.
        drop(abandoned);
    }

    /// Ends the connection with a reset.
    pub(crate) fn reset(&self) {
        self.reset.set(true);
        self.over.notify_one();
    }

    fn arrived(&self, bytes: &[u8], receipt: Receipt) {
        self.latest.set(self.clock.now());
        let Streams { inbound, arrivals, .. } = &mut *self.streams.borrow_mut();
        inbound.follow(bytes, |stream, data, _| {
            let arrivals = arrivals.entry(stream).or_default();
            arrivals.total += data as u64;
            match arrivals.reads.back_mut() {
                Some((end, at, _)) if *at == receipt.at => *end = arrivals.total,
                _ => arrivals.reads.push_back((arrivals.total, receipt.at, receipt.lag.is_some())),
            }
        });
    }

    fn left<'b>(&self, parts: impl Iterator<Item = &'b [u8]>, mut len: usize, at: Nanos) {
        self.latest.set(at);
        let mut stamped = Vec::new();
        let Streams { outbound, sendings, .. } = &mut *self.streams.borrow_mut();
        for part in parts {
            let part = &part[..part.len().min(len)];
            len -= part.len();
            outbound.follow(part, |stream, data, end| {
                let Some(sending) = sendings.get_mut(&stream) else { return };
                sending.written += data as u64;
                let written = sending.written;
                while sending.marks.front().is_some_and(|mark| mark.end.map_or(end, |end| end <= written)) {
                    stamped.extend(sending.marks.pop_front());
                }
                if end {
                    sendings.remove(&stream);
                }
            });
        }
        for Mark { events, last, request, .. } in stamped {
            request.note(|request| {
                match request.writes.last_mut() {
                    Some(write) if write.at == at => write.events += events,
                    _ => request.writes.push(Write { at, events }),
                }
                request.complete |= last;
            });
            self.served.set(self.served.get() + u32::from(last));
        }
        if self.close_after.is_some_and(|most| self.served.get() >= most) {
            self.over.notify_one();
        }
        self.written.notify_waiters();
    }
}

impl Carrier {
    /// Over `io`, of which `early` has been read already, at `receipt`.
    pub(crate) fn new(io: StampedStream, early: Vec<u8>, receipt: Receipt, traffic: Rc<Traffic>) -> Carrier {
        Carrier { io: Some(io), early, receipt, traffic }
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        if let Some(io) = self.io.take().filter(|_| self.traffic.reset.get()) {
            // It ends either way.
            let _ = io.reset();
        }
    }
}

impl AsyncRead for Carrier {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.early.is_empty() {
            let len = this.early.len().min(buf.remaining());
            this.traffic.arrived(&this.early[..len], this.receipt);
            buf.put_slice(&this.early[..len]);
            this.early.drain(..len);
            return Poll::Ready(Ok(()));
        }
        let Some(io) = &mut this.io else { return Poll::Ready(Ok(())) };
        let receipt = ready!(io.poll_receive(cx, buf.initialize_unfilled()))?;
        this.traffic.arrived(&buf.initialize_unfilled()[..receipt.len], receipt);
        buf.advance(receipt.len);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Carrier {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let Some(io) = &mut this.io else { return Poll::Ready(Err(io::ErrorKind::NotConnected.into())) };
        let at = this.traffic.clock.now();
        let len = ready!(io.poll_send(cx, parts))?;
        this.traffic.left(parts.iter().map(|part| &**part), len, at);
        Poll::Ready(Ok(len))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.as_mut().map_or(Poll::Ready(Ok(())), |io| io.poll_shutdown(cx))
    }
}

/// Follows the frames that go by in one direction (RFC 9113, section 4.1), however they are cut.
#[derive(Debug, Default)]
struct Frames {
    /// Bytes before the first frame.
    skip: usize,
    header: [u8; 9],
    /// Bytes of the header that are known.
    known: usize,
    /// The bytes of the payload that are still to come.
    left: usize,
    /// The padding among them; unknown until its length was read.
    padding: Option<usize>,
}

impl Frames {
    /// Calls `on` with the stream, the bytes of its payload that went by, and whether its last frame has.
    fn follow(&mut self, mut bytes: &[u8], mut on: impl FnMut(u32, usize, bool)) {
        const DATA: u8 = 0;
        const HEADERS: u8 = 1;
        const END_STREAM: u8 = 1;
        const PADDED: u8 = 8;
        let skipped = self.skip.min(bytes.len());
        self.skip -= skipped;
        bytes = &bytes[skipped..];
        loop {
            if self.known < self.header.len() {
                let len = bytes.len().min(self.header.len() - self.known);
                self.header[self.known..self.known + len].copy_from_slice(&bytes[..len]);
                self.known += len;
                bytes = &bytes[len..];
                if self.known < self.header.len() {
                    return;
                }
                self.left =
                    usize::from(self.header[0]) << 16 | usize::from(self.header[1]) << 8 | usize::from(self.header[2]);
                self.padding = None;
            }
            let (kind, flags) = (self.header[3], self.header[4]);
            let id = &self.header[5..9];
            let stream = u32::from_be_bytes([id[0] & 0x7f, id[1], id[2], id[3]]);
            if kind == DATA && flags & PADDED != 0 && self.padding.is_none() && self.left > 0 {
                let Some((length, rest)) = bytes.split_first() else { return };
                self.left -= 1;
                self.padding = Some(usize::from(*length).min(self.left));
                bytes = rest;
            }
            let len = bytes.len().min(self.left);
            if kind == DATA && len > 0 {
                on(stream, len.min(self.left - self.padding.unwrap_or(0).min(self.left)), false);
            }
            self.left -= len;
            bytes = &bytes[len..];
            if self.left > 0 {
                return;
            }
            self.known = 0;
            if matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0 {
                on(stream, 0, true);
            }
            if bytes.is_empty() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        frame.extend_from_slice(&[kind, flags]);
        frame.extend_from_slice(&stream.to_be_bytes());
        frame.extend_from_slice(payload);
        frame
    }

    #[test]
    fn frames_are_followed_wherever_they_are_cut() {
        let mut bytes = PREFACE.to_vec();
        bytes.extend(frame(4, 0, 0, &[0; 12]));
        bytes.extend(frame(1, 4, 1, b"headers"));
        bytes.extend(frame(0, 0, 1, b"hello"));
        bytes.extend(frame(0, 8, 3, b"\x02ab\0\0"));
        bytes.extend(frame(0, 1, 1, b""));
        bytes.extend(frame(1, 5, 3, b"trailers"));
        for size in 1..bytes.len() {
            let mut frames = Frames { skip: PREFACE.len(), ..Frames::default() };
            let (mut totals, mut ends) = ([0; 4], Vec::new());
            for piece in bytes.chunks(size) {
                frames.follow(piece, |stream, data, end| {
                    totals[stream as usize] += data;
                    if end {
                        ends.push(stream);
                    }
                });
            }
            assert_eq!((totals, ends), ([0, 5, 0, 2], vec![1, 3]), "{size}");
        }
    }
}
