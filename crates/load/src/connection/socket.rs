//! The stamped stream below HTTP, and the stamps that it takes as bytes pass.

use crate::tasks;
use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use streamgauge_core::clock::{Clock, Nanos, SystemClock};
use streamgauge_core::stamp::ReceiveStamp;
use streamgauge_net::{Idle, StampedStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::client::TlsStream;

/// Bytes one read may bring.
const READ_SIZE: usize = 64 * 1024;

/// The bytes of a new buffer that are written to while there is nothing to read. The first write to a page makes the kernel provide
/// it, which takes longer than the work on a first event, and the first events of many streams arrive together.
const FIRST_TOUCH: usize = 1024;

/// The stamps of a connection: those of its reads and, for HTTP/1.1, those of the request and the answer in progress.
#[derive(Debug)]
pub struct ExchangeStamps {
    sent: Cell<Option<Nanos>>,
    written: Cell<Option<Nanos>>,
    first: Cell<Option<Nanos>>,
    newest: Cell<ReceiveStamp>,
    /// For HTTP/2: whether the socket may be read.
    gate: Cell<Gate>,
    /// The next read asks the kernel, although the runtime has not reported that there is something to read.
    eager: Cell<bool>,
}

impl ExchangeStamps {
    fn new(opened: Nanos) -> ExchangeStamps {
        ExchangeStamps {
            sent: Cell::default(),
            written: Cell::default(),
            first: Cell::default(),
            newest: Cell::new(ReceiveStamp { at: opened, lag: None, read: 0 }),
            gate: Cell::default(),
            eager: Cell::default(),
        }
    }

    /// Forgets the previous exchange, so that the next write is the first one of the next request.
    pub fn arm(&self) {
        self.sent.set(None);
        self.written.set(None);
        self.first.set(None);
    }

    /// The time just before the first byte of the request was handed to the kernel.
    pub fn sent(&self) -> Option<Nanos> {
        self.sent.get()
    }

    /// The time at which the kernel had all of the request.
    pub fn written(&self) -> Option<Nanos> {
        self.written.get()
    }

    /// The receive stamp of the first byte of the answer.
    pub fn first_byte(&self) -> Option<Nanos> {
        self.first.get()
    }

    /// The stamp of the newest read that brought bytes. Before the first one it has the number 0 and the time at which the
    /// connection was opened.
    pub fn newest(&self) -> ReceiveStamp {
        self.newest.get()
    }

    /// Records that the newest read brought bytes of HTTP. After the request has been sent, such bytes belong to the answer. Bytes on the
    /// socket alone do not: TLS sends bytes of its own, such as session tickets after the handshake.
    fn note_http(&self) {
        if self.sent.get().is_some() && self.first.get().is_none() {
            self.first.set(Some(self.newest.get().at));
        }
    }
}

/// The stamps of sending one request on a connection that other requests may share.
#[derive(Debug, Default)]
pub struct Sending {
    sent: Cell<Option<Nanos>>,
    written: Cell<Option<Nanos>>,
    whole: Cell<bool>,
}

impl Sending {
    /// Records that HTTP has been given all of the request.
    pub fn is_whole(&self) {
        self.whole.set(true);
    }

    /// The time of the first write after the first frame of the request was queued.
    pub fn sent(&self) -> Option<Nanos> {
        self.sent.get()
    }

    /// The time at which the kernel had all of the request.
    pub fn written(&self) -> Option<Nanos> {
        self.written.get()
    }
}

/// A stream for TLS and HTTP that takes the stamps as bytes pass.
pub struct StampingIo(Rc<StampedSocket>);

/// A stream and its stamps. They lie next to each other, because with a thousand streams on a thread most of the cost of an event is in the
/// number of cache lines that it touches.
pub struct StampedSocket {
    stream: RefCell<StampedStream>,
    stamps: ExchangeStamps,
    clock: SystemClock,
    /// For HTTP/2: the requests that are not completely written yet.
    sendings: RefCell<Vec<Rc<Sending>>>,
    /// The kernel did not take the last write.
    blocked: Cell<bool>,
    /// How the kernel acknowledges what arrives after each request.
    acks: Cell<Acks>,
    /// For HTTP/2: something was written in this turn.
    wrote: Cell<bool>,
    /// How long the connection took to open, which is a round trip or a little more.
    round_trip: Nanos,
}

/// How the kernel acknowledges data that arrives after a request has been written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Acks {
    /// As for an ordinary client.
    #[default]
    SystemDefault,
    /// At once.
    AtOnce,
    /// Late, also on a new connection, on which it would otherwise acknowledge at once.
    Delayed,
}

/// Whether the socket may be read. HTTP/2 reads as long as there is data, and its output must belong to the newest read. So if a read may
/// have left data unread, the next read waits for the next turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Gate {
    /// Any number of reads is allowed.
    #[default]
    None,
    /// One read, or another after one that emptied the socket.
    Open,
    /// Not before the next turn.
    Shut,
}

impl StampedSocket {
    /// The stamps taken so far.
    pub fn stamps(&self) -> &ExchangeStamps {
        &self.stamps
    }

    /// The run's clock.
    pub fn clock(&self) -> SystemClock {
        self.clock
    }

    /// The approximate round-trip time to the server.
    pub fn round_trip(&self) -> Nanos {
        self.round_trip
    }

    /// Whether reads carry the kernel's stamps.
    pub fn kernel_stamps(&self) -> bool {
        self.stream.borrow().kernel_stamps()
    }

    /// The state of the connection while no answer is expected.
    pub fn idle(&self) -> Idle {
        let idle = self.stream.borrow_mut().idle();
        self.stamps.eager.set(idle == Idle::Pending);
        idle
    }

    /// Sets how the kernel acknowledges what arrives after each request from now on.
    pub fn set_acks(&self, acks: Acks) {
        self.acks.set(acks);
    }

    /// Applies the rule of acknowledgements. Each write of a request makes the kernel delay acknowledgements again, so the rule is applied
    /// after each write. On a lost connection this fails, which has no effect.
    fn apply_acks(&self) {
        match self.acks.get() {
            Acks::SystemDefault => {}
            acks => _ = self.stream.borrow().acknowledge_at_once(acks == Acks::AtOnce),
        }
    }

    /// Begins a turn: one read is allowed, and another one if the first emptied the socket.
    pub fn begin_turn(&self) {
        self.stamps.gate.set(Gate::Open);
    }

    /// Ends a turn: if nothing is left to write, every completely queued request has been written.
    pub fn end_turn(&self) {
        if self.wrote.take() {
            self.apply_acks();
        }
        if !self.blocked.get() {
            self.sendings.borrow_mut().retain(|sending| sending.written.get().is_none());
        }
    }

    /// Prepares for the first frame of a request, which is queued next.
    pub fn expect(&self, sending: &Rc<Sending>) {
        self.forget(sending);
        sending.sent.set(None);
        sending.written.set(None);
        sending.whole.set(false);
        self.sendings.borrow_mut().push(sending.clone());
    }

    /// Stops taking stamps for this request.
    pub fn forget(&self, sending: &Rc<Sending>) {
        self.sendings.borrow_mut().retain(|other| !Rc::ptr_eq(other, sending));
    }
}

impl StampingIo {
    /// Records the times of data that passes over `stream`. Opening the connection took `round_trip`.
    pub fn new(stream: StampedStream, round_trip: Nanos) -> StampingIo {
        let clock = stream.clock();
        StampingIo(Rc::new(StampedSocket {
            stream: RefCell::new(stream),
            stamps: ExchangeStamps::new(clock.now()),
            clock,
            sendings: RefCell::default(),
            blocked: Cell::new(false),
            acks: Cell::default(),
            wrote: Cell::new(false),
            round_trip,
        }))
    }
}

thread_local! {
    /// Bytes are read into this buffer and copied into the caller's. The copy costs less than clearing a large buffer that is mostly
    /// unused, and a thread needs only one.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_SIZE]);
}

impl AsyncRead for StampingIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let socket = &*self.0;
        if socket.stamps.gate.get() == Gate::Shut || !tasks::may_read() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        SCRATCH.with_borrow_mut(|scratch| {
            let eager = socket.stamps.eager.take();
            let room = buf.remaining().min(READ_SIZE);
            let receipt = match socket.stream.borrow_mut().poll_receive(cx, &mut scratch[..room]) {
                Poll::Ready(receipt) => receipt?,
                Poll::Pending => {
                    if socket.stamps.newest.get().read == 0 {
                        buf.initialize_unfilled_to(room.min(FIRST_TOUCH));
                    }
                    return Poll::Pending;
                }
            };
            buf.put_slice(&scratch[..receipt.len]);
            if receipt.len > 0 {
                let stamps = &socket.stamps;
                // Each stamp is converted with readings of two clocks that are a moment apart, so two stamps of nearly the same
                // time could come out in the wrong order.
                let before = stamps.newest.get();
                let at = if before.read == 0 { receipt.at } else { before.at.max(receipt.at) };
                stamps.newest.set(ReceiveStamp { at, lag: receipt.lag, read: before.read + 1 });
                if socket.stamps.gate.get() == Gate::Open && (eager || receipt.len == room) {
                    socket.stamps.gate.set(Gate::Shut);
                }
            }
            Poll::Ready(Ok(()))
        })
    }
}

impl AsyncWrite for StampingIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let socket = &*self.0;
        if socket.stamps.sent.get().is_none() {
            socket.stamps.sent.set(Some(socket.clock.now()));
        }
        let sendings = socket.sendings.borrow();
        if sendings.iter().any(|sending| sending.sent.get().is_none()) {
            let now = socket.clock.now();
            let unsent = sendings.iter().filter(|sending| sending.sent.get().is_none());
            unsent.for_each(|sending| sending.sent.set(Some(now)));
        }
        let sent = socket.stream.borrow_mut().poll_send(cx, bytes);
        socket.blocked.set(sent.is_pending());
        socket.wrote.set(true);
        sent
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// hyper and TLS flush only when they hold nothing back, so the kernel has the whole request at the first flush. HTTP/2 flushes after
    /// every frame that fills its buffer, so there the last flush of a turn counts.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let StampedSocket { stamps, clock, sendings, .. } = &*self.0;
        if stamps.written.get().is_none() && stamps.sent.get().is_some() {
            stamps.written.set(Some(clock.now()));
            // For HTTP/2 the rule is applied at the end of the turn.
            if stamps.gate.get() == Gate::None {
                self.0.apply_acks();
            }
        }
        for sending in sendings.borrow().iter().filter(|sending| sending.whole.get() && sending.sent.get().is_some()) {
            sending.written.set(Some(clock.now()));
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.stream.borrow_mut().poll_shutdown(cx)
    }
}

/// The transport below HTTP.
pub enum Transport {
    /// TCP without TLS.
    Plain(StampingIo),
    /// TLS over TCP. Its stamps are those of the encrypted bytes.
    Tls(Box<TlsStream<StampingIo>>),
}

impl Transport {
    /// The socket and its stamps.
    pub fn socket(&self) -> &Rc<StampedSocket> {
        match self {
            Transport::Plain(stream) => &stream.0,
            Transport::Tls(stream) => &stream.get_ref().0.0,
        }
    }
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let (transport, before) = (self.get_mut(), buf.filled().len());
        let read = match transport {
            Transport::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Transport::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        };
        if buf.filled().len() > before {
            transport.socket().stamps.note_http();
        }
        read
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Transport::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Transport::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Transport::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bytes),
            Transport::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bytes),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
