//! One HTTP/1.1 connection, driven by the task that uses it: hyper's connection future is polled here and not spawned, so
//! that a chunk reaches its reader without a second wake-up, and so that the newest read is the one a chunk came in.

use bytes::Bytes;
use http::header;
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use streamgauge_core::clock::{Clock, Nanos, SystemClock};
use streamgauge_core::plan::ConnectionPolicy;
use streamgauge_net::{Idle, Receipt, StampedStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::client::TlsStream;

/// Bytes one read may bring.
const READ_SIZE: usize = 64 * 1024;

/// Of a buffer that nothing has been read into yet, so much is written to while there is nothing to read: memory that the
/// system has yet to give costs more than a first event's work, and first events of many streams come together.
const FIRST_TOUCH: usize = 1024;

/// What the socket noted while hyper worked: the stamps of the request and answer under way.
#[derive(Debug, Default)]
pub struct Marks {
    sent: Cell<Option<Nanos>>,
    written: Cell<Option<Nanos>>,
    first: Cell<Option<Nanos>>,
    last: Cell<Option<Receipt>>,
    reads: Cell<u64>,
}

impl Marks {
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

    /// Whether all of the request was handed to the kernel.
    pub fn is_sent_whole(&self) -> bool {
        self.written.get().is_some()
    }

    /// Receive stamp of the answer's first byte.
    pub fn first_byte(&self) -> Option<Nanos> {
        self.first.get()
    }

    /// The newest read.
    pub fn last(&self) -> Option<Receipt> {
        self.last.get()
    }

    /// How many reads brought bytes, over the connection's life: two chunks with the same number share a stamp.
    pub fn reads(&self) -> u64 {
        self.reads.get()
    }

    /// Bytes of HTTP have come out of the newest read. Once the request is sent they are the answer's, which bytes on the
    /// socket need not be: TLS says things of its own there, such as session tickets after the handshake.
    fn note_http(&self) {
        if self.sent.get().is_some() && self.first.get().is_none() {
            self.first.set(self.last.get().map(|receipt| receipt.at));
        }
    }
}

/// A stamped stream that notes the stamps in [`Marks`], as a tokio stream for TLS and hyper.
pub struct Noted(Rc<Line>);

/// A socket and its marks, side by side: with a thousand streams on a thread, what an event costs is mostly the places in
/// memory that it has to visit.
struct Line {
    socket: RefCell<StampedStream>,
    marks: Marks,
    clock: SystemClock,
}

impl Noted {
    /// Notes what passes over `socket` in fresh marks.
    pub fn new(socket: StampedStream) -> Noted {
        let clock = socket.clock();
        Noted(Rc::new(Line { socket: RefCell::new(socket), marks: Marks::default(), clock }))
    }
}

thread_local! {
    /// Bytes are read here and copied into the caller's buffer: the copy costs less than clearing a buffer that is mostly
    /// not used, and one thread needs one.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_SIZE]);
}

impl AsyncRead for Noted {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let room = buf.remaining().min(READ_SIZE);
            let receipt = match self.0.socket.borrow_mut().poll_receive(cx, &mut scratch[..room]) {
                Poll::Ready(receipt) => receipt?,
                Poll::Pending => {
                    if self.0.marks.reads.get() == 0 {
                        buf.initialize_unfilled_to(room.min(FIRST_TOUCH));
                    }
                    return Poll::Pending;
                }
            };
            buf.put_slice(&scratch[..receipt.len]);
            if receipt.len > 0 {
                let marks = &self.0.marks;
                // Each stamp is placed by readings of two clocks of its own, so two stamps of nearly the same moment can
                // come out in the wrong order by what passed between the readings.
                let at = marks.last.get().map_or(receipt.at, |before| before.at.max(receipt.at));
                marks.last.set(Some(Receipt { at, ..receipt }));
                marks.reads.set(marks.reads.get() + 1);
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
        if self.0.marks.sent.get().is_none() {
            self.0.marks.sent.set(Some(self.0.clock.now()));
        }
        self.0.socket.borrow_mut().poll_send(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Asked for by hyper, and by TLS in between, only once they hold nothing back: a request's first flush is where the kernel
    /// has all of it.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Line { marks, clock, .. } = &*self.0;
        if marks.written.get().is_none() && marks.sent.get().is_some() {
            marks.written.set(Some(clock.now()));
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
    fn noted(&self) -> &Noted {
        match self {
            Transport::Plain(noted) => noted,
            Transport::Tls(stream) => stream.get_ref().0,
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
            transport.noted().0.marks.note_http();
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

/// Whether the server said with this answer that the connection ends with it.
pub fn is_last<B>(answer: &http::Response<B>) -> bool {
    let headers = answer.headers();
    let says = |option: &str| {
        let values = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|said| said.trim().eq_ignore_ascii_case(option))
    };
    let framed = headers.contains_key(header::CONTENT_LENGTH) || headers.contains_key(header::TRANSFER_ENCODING);
    says("close") || !framed || (answer.version() == http::Version::HTTP_10 && !says("keep-alive"))
}

/// When the exchange under way was written, to be looked at while the connection is at work.
pub struct Written(Rc<Line>);

impl Written {
    /// When the kernel had the whole request; none before.
    pub fn at(&self) -> Option<Nanos> {
        self.0.marks.written.get()
    }
}

/// One HTTP/1.1 connection and the future that moves it.
pub struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    /// Gone once hyper has ended the connection.
    motor: Option<Box<http1::Connection<TokioIo<Transport>, Full<Bytes>>>>,
    line: Rc<Line>,
    served: u64,
}

impl Connection {
    /// Speaks HTTP/1.1 over an open transport.
    ///
    /// # Errors
    /// hyper's.
    pub async fn new(transport: Transport) -> hyper::Result<Connection> {
        let line = transport.noted().0.clone();
        let (sender, motor) = http1::handshake(TokioIo::new(transport)).await?;
        Ok(Connection { sender, motor: Some(Box::new(motor)), line, served: 0 })
    }

    /// The stamps of the exchange under way.
    pub fn marks(&self) -> &Marks {
        &self.line.marks
    }

    /// A look at when the request is written. It keeps the socket open as long as it lives.
    pub fn written(&self) -> Written {
        Written(self.line.clone())
    }

    /// Whether an exchange has ended on it before.
    pub fn is_kept(&self) -> bool {
        self.served > 0
    }

    /// Whether reads carry the kernel's stamps.
    pub fn kernel_stamps(&self) -> bool {
        self.line.socket.borrow().kernel_stamps()
    }

    /// Whether the next request can go out on it. Looks at the socket itself, so that a connection which the server closed
    /// while it was idle is found out before anything is written.
    pub async fn is_usable(&mut self) -> bool {
        match self.line.socket.borrow_mut().idle() {
            Idle::Closed => return false,
            // TLS sends session tickets unasked, and says goodbye before it closes: hyper must read them to know.
            Idle::Pending | Idle::Quiet => {}
        }
        self.turn().await;
        self.motor.is_some() && self.sender.is_ready()
    }

    /// Starts an exchange. Drive the future, and the body after it, with [`Connection::drive`].
    pub fn send(
        &mut self,
        request: http::Request<Full<Bytes>>,
    ) -> impl Future<Output = hyper::Result<http::Response<hyper::body::Incoming>>> + use<> {
        self.line.marks.arm();
        self.sender.send_request(request)
    }

    /// Notes that an exchange has ended well.
    pub fn finish(&mut self) {
        self.served += 1;
    }

    /// Whether it has had all the requests that `policy` allows a connection.
    pub fn is_spent(&self, policy: ConnectionPolicy) -> bool {
        match policy {
            ConnectionPolicy::Reuse => false,
            ConnectionPolicy::New => true,
            ConnectionPolicy::Rotate(requests) => self.served >= u64::from(requests),
        }
    }

    /// Ends it in order: over TLS with its goodbye, then the end of the stream. It waits for nobody; what cannot be
    /// said at once is left to the kernel.
    pub async fn close(self) {
        let Connection { sender, motor, .. } = self;
        // hyper closes a connection that can get no more requests.
        drop(sender);
        if let Some(mut motor) = motor {
            poll_fn(|cx| {
                let _ = Pin::new(&mut *motor).poll(cx);
                Poll::Ready(())
            })
            .await;
        }
    }

    /// Moves the connection until `work` is done.
    pub async fn drive<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        poll_fn(|cx| {
            self.poll_motor(cx);
            work.as_mut().poll(cx)
        })
        .await
    }

    /// Lets the connection do whatever it can without waiting. The first time it makes its buffers.
    pub async fn turn(&mut self) {
        poll_fn(|cx| {
            self.poll_motor(cx);
            Poll::Ready(())
        })
        .await
    }

    fn poll_motor(&mut self, cx: &mut Context<'_>) {
        // How the connection ended, whoever waits for an answer learns through it.
        if self.motor.as_mut().is_some_and(|motor| Pin::new(&mut **motor).poll(cx).is_ready()) {
            self.motor = None;
        }
    }
}
