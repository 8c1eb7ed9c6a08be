//! The stamped stream below HTTP, and what it notes as bytes pass.

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

/// Of a buffer that nothing has been read into yet, so much is written to while there is nothing to read: memory that the
/// system has yet to give costs more than a first event's work, and first events of many streams come together.
const FIRST_TOUCH: usize = 1024;

/// What the socket noted while HTTP worked: its reads, and of HTTP/1.1 the stamps of the request and answer under way.
#[derive(Debug)]
pub struct Marks {
    sent: Cell<Option<Nanos>>,
    written: Cell<Option<Nanos>>,
    first: Cell<Option<Nanos>>,
    newest: Cell<ReceiveStamp>,
    /// Of HTTP/2: what a read may do.
    gate: Cell<Gate>,
    /// The next read asks the kernel though nothing said that there is something.
    eager: Cell<bool>,
}

impl Marks {
    fn new(opened: Nanos) -> Marks {
        Marks {
            sent: Cell::default(),
            written: Cell::default(),
            first: Cell::default(),
            newest: Cell::new(ReceiveStamp { at: opened, lag: None, read: 0 }),
            gate: Cell::default(),
            eager: Cell::default(),
        }
    }

    /// Forgets the exchange before, so that the next write is the next request's first.
    pub fn arm(&self) {
        self.sent.set(None);
        self.written.set(None);
        self.first.set(None);
    }

    /// Just before the request's first byte was handed to the kernel.
    pub fn sent(&self) -> Option<Nanos> {
        self.sent.get()
    }

    /// When the kernel had all of the request.
    pub fn written(&self) -> Option<Nanos> {
        self.written.get()
    }

    /// Receive stamp of the answer's first byte.
    pub fn first_byte(&self) -> Option<Nanos> {
        self.first.get()
    }

    /// The stamp of the newest read that brought bytes. Before the first one it has the number 0 and the time at which the
    /// connection was opened.
    pub fn newest(&self) -> ReceiveStamp {
        self.newest.get()
    }

    /// Bytes of HTTP have come out of the newest read. Once the request is sent they are the answer's, which bytes on the
    /// socket need not be: TLS says things of its own there, such as session tickets after the handshake.
    fn note_http(&self) {
        if self.sent.get().is_some() && self.first.get().is_none() {
            self.first.set(Some(self.newest.get().at));
        }
    }
}

/// What is noted of one request where others may share its connection.
#[derive(Debug, Default)]
pub struct Sending {
    sent: Cell<Option<Nanos>>,
    written: Cell<Option<Nanos>>,
    whole: Cell<bool>,
}

impl Sending {
    /// HTTP has all of the request now.
    pub fn is_whole(&self) {
        self.whole.set(true);
    }

    /// The first write after the request's first frame was queued.
    pub fn sent(&self) -> Option<Nanos> {
        self.sent.get()
    }

    /// When the kernel had all of the request.
    pub fn written(&self) -> Option<Nanos> {
        self.written.get()
    }
}

/// A stamped stream that notes the stamps in its line, as a tokio stream for TLS and HTTP.
pub struct Noted(Rc<Line>);

/// A socket and its marks, side by side: with a thousand streams on a thread, what an event costs is mostly the places in
/// memory that it has to visit.
pub struct Line {
    socket: RefCell<StampedStream>,
    marks: Marks,
    clock: SystemClock,
    /// Of HTTP/2: requests that are not written whole yet.
    sendings: RefCell<Vec<Rc<Sending>>>,
    /// The last write took less than it was given.
    blocked: Cell<bool>,
    /// What the kernel is told about acknowledgements after each request.
    acks: Cell<Acks>,
    /// Of HTTP/2: something was written in this turn.
    wrote: Cell<bool>,
    /// How long the connection took to open, which is a round trip or a little more.
    round_trip: Nanos,
}

/// What the kernel is told about acknowledgements once a request is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Acks {
    /// Nothing: it does as with an ordinary client.
    #[default]
    Untold,
    /// To acknowledge at once.
    AtOnce,
    /// To wait, on a new connection too, where it would otherwise not do so yet.
    Held,
}

/// Whether the socket may be read. HTTP/2 reads as long as there is something, and what comes out of it must belong to the newest
/// read: so when one may have left something unread, the next waits for the next turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Gate {
    /// As often as one likes.
    #[default]
    None,
    /// One read, or another after one that emptied the socket.
    Open,
    /// Not before the next turn.
    Shut,
}

impl Line {
    /// What was noted.
    pub fn marks(&self) -> &Marks {
        &self.marks
    }

    /// The run's clock.
    pub fn clock(&self) -> SystemClock {
        self.clock
    }

    /// About a round trip to the other side.
    pub fn round_trip(&self) -> Nanos {
        self.round_trip
    }

    /// Whether reads carry the kernel's stamps.
    pub fn kernel_stamps(&self) -> bool {
        self.socket.borrow().kernel_stamps()
    }

    /// What became of the connection while nothing was expected.
    pub fn idle(&self) -> Idle {
        let idle = self.socket.borrow_mut().idle();
        self.marks.eager.set(idle == Idle::Pending);
        idle
    }

    /// What the kernel is to be told about acknowledgements after each request that follows.
    pub fn set_acks(&self, acks: Acks) {
        self.acks.set(acks);
    }

    /// Tells the kernel about acknowledgements. Writing a request makes the kernel wait for the next write that could carry them,
    /// so that it has to be told after each. A connection that is dead does not care.
    fn tell_acks(&self) {
        match self.acks.get() {
            Acks::Untold => {}
            acks => _ = self.socket.borrow().acknowledge_at_once(acks == Acks::AtOnce),
        }
    }

    /// What follows may read once, and once more where that shows that there is no more.
    pub fn begin_turn(&self) {
        self.marks.gate.set(Gate::Open);
    }

    /// HTTP/2 has done what it could. Where the socket took everything, whoever was whole is written.
    pub fn end_turn(&self) {
        if self.wrote.take() {
            self.tell_acks();
        }
        if !self.blocked.get() {
            self.sendings.borrow_mut().retain(|sending| sending.written.get().is_none());
        }
    }

    /// Before a request's first frame is queued.
    pub fn expect(&self, sending: &Rc<Sending>) {
        self.forget(sending);
        sending.sent.set(None);
        sending.written.set(None);
        sending.whole.set(false);
        self.sendings.borrow_mut().push(sending.clone());
    }

    /// No more is noted of this request.
    pub fn forget(&self, sending: &Rc<Sending>) {
        self.sendings.borrow_mut().retain(|other| !Rc::ptr_eq(other, sending));
    }
}

impl Noted {
    /// Notes what passes over `socket` in fresh marks. The connection took `round_trip` to open.
    pub fn new(socket: StampedStream, round_trip: Nanos) -> Noted {
        let clock = socket.clock();
        Noted(Rc::new(Line {
            socket: RefCell::new(socket),
            marks: Marks::new(clock.now()),
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
    /// Bytes are read here and copied into the caller's buffer: the copy costs less than clearing a buffer that is mostly
    /// not used, and one thread needs one.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_SIZE]);
}

impl AsyncRead for Noted {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let line = &*self.0;
        if line.marks.gate.get() == Gate::Shut || !tasks::may_read() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        SCRATCH.with_borrow_mut(|scratch| {
            let eager = line.marks.eager.take();
            let room = buf.remaining().min(READ_SIZE);
            let receipt = match line.socket.borrow_mut().poll_receive(cx, &mut scratch[..room]) {
                Poll::Ready(receipt) => receipt?,
                Poll::Pending => {
                    if line.marks.newest.get().read == 0 {
                        buf.initialize_unfilled_to(room.min(FIRST_TOUCH));
                    }
                    return Poll::Pending;
                }
            };
            buf.put_slice(&scratch[..receipt.len]);
            if receipt.len > 0 {
                let marks = &line.marks;
                // Each stamp is converted with readings of two clocks that are a moment apart, so two stamps of nearly the same
                // time could come out in the wrong order.
                let before = marks.newest.get();
                let at = if before.read == 0 { receipt.at } else { before.at.max(receipt.at) };
                marks.newest.set(ReceiveStamp { at, lag: receipt.lag, read: before.read + 1 });
                if line.marks.gate.get() == Gate::Open && (eager || receipt.len == room) {
                    line.marks.gate.set(Gate::Shut);
                }
            }
            Poll::Ready(Ok(()))
        })
    }
}

impl AsyncWrite for Noted {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let line = &*self.0;
        if line.marks.sent.get().is_none() {
            line.marks.sent.set(Some(line.clock.now()));
        }
        let sendings = line.sendings.borrow();
        if sendings.iter().any(|sending| sending.sent.get().is_none()) {
            let now = line.clock.now();
            let unsent = sendings.iter().filter(|sending| sending.sent.get().is_none());
            unsent.for_each(|sending| sending.sent.set(Some(now)));
        }
        let sent = line.socket.borrow_mut().poll_send(cx, bytes);
        line.blocked.set(sent.is_pending());
        line.wrote.set(true);
        sent
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Asked for by hyper, and by TLS in between, only once they hold nothing back: a request's first flush is where the kernel
    /// has all of it. HTTP/2 asks for it after every frame that fills its buffer; there the last one of a turn is it.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Line { marks, clock, sendings, .. } = &*self.0;
        if marks.written.get().is_none() && marks.sent.get().is_some() {
            marks.written.set(Some(clock.now()));
            // HTTP/2 is not done with its turn; it tells the kernel at the turn's end.
            if marks.gate.get() == Gate::None {
                self.0.tell_acks();
            }
        }
        for sending in sendings.borrow().iter().filter(|sending| sending.whole.get() && sending.sent.get().is_some()) {
            sending.written.set(Some(clock.now()));
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.socket.borrow_mut().poll_shutdown(cx)
    }
}

/// What HTTP runs over.
pub enum Transport {
    /// TCP alone.
    Plain(Noted),
    /// TLS over it; its stamps are those of the records' bytes.
    Tls(Box<TlsStream<Noted>>),
}

impl Transport {
    /// What is noted of it.
    pub fn line(&self) -> &Rc<Line> {
        match self {
            Transport::Plain(noted) => &noted.0,
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
            transport.line().marks.note_http();
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
