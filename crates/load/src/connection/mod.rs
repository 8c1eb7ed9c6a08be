//! A connection to a server: HTTP/1.1, or a channel for gRPC. Modules above this one do not depend on which it is.

mod channel;
mod grpc;
mod http1;
mod socket;

pub use channel::{Channel, Channels, Rule};
pub use grpc::Grpc;
pub use http1::Http1;
pub use socket::{Acks, Sending, StampedSocket, StampingIo, Transport};

use crate::failure::Failed;
use crate::request::Outgoing;
use bytes::Bytes;
use http::header::CONTENT_ENCODING;
use http::{HeaderMap, StatusCode};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use streamgauge_core::clock::Nanos;
use streamgauge_core::plan::ConnectionPolicy;
use streamgauge_core::record::Failure;
use streamgauge_core::secrets::shown_url;
use streamgauge_core::stamp::ReceiveStamp;
use streamgauge_core::text::clip;
use streamgauge_wire::Unpacker;

/// Longest part of a header's value that a message repeats, in characters.
const LONGEST_VALUE: usize = 100;

/// The head of an answer.
pub struct Answer {
    /// HTTP's status.
    pub status: StatusCode,
    /// Its headers; of an answer on a gRPC stream those that the stream began with.
    pub headers: HeaderMap,
    /// Whether the server said that the connection ends with it.
    pub ends_connection: bool,
}

impl Answer {
    /// The target of a redirect: the `Location` header of a status from 300 to 399.
    pub fn location(&self) -> Option<String> {
        let location = self.status.is_redirection().then(|| self.header("location")).flatten()?;
        Some(location.to_owned())
    }

    /// How the body is compressed, if it is.
    ///
    /// # Errors
    /// When it is compressed in a way that is not read: a sentence that names it.
    pub fn unpacker(&self) -> Result<Option<Unpacker>, String> {
        let values = self.headers.get_all(CONTENT_ENCODING);
        // A header value that is not text is not the name of an encoding.
        Unpacker::new(values.iter().map(|value| value.to_str().unwrap_or("not a text")))
    }

    /// Headers of a refusal that its message repeats: when to retry, and where to go instead.
    pub fn advice(&self) -> String {
        let said = |name: &str| Some(clip(self.header(&name.to_ascii_lowercase())?.to_owned(), LONGEST_VALUE));
        let retry = said("Retry-After").map(|value| format!("Retry-After: {value}"));
        let location = said("Location").map(|value| format!("Location: {}", shown_url(&value)));
        let parts: Vec<String> = retry.into_iter().chain(location).collect();
        if parts.is_empty() { String::new() } else { format!(" ({})", parts.join("; ")) }
    }

    /// A header as text, if it is there and is text; the first of several.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// Bytes of an answer's body and when they arrived.
pub struct Piece {
    /// The bytes, cut wherever the network or the framing cut them.
    pub bytes: Bytes,
    /// The stamp of the read that brought them.
    pub stamp: ReceiveStamp,
}

/// The next event of an answer's body.
pub enum BodyStep {
    /// More data.
    Piece(Piece),
    /// Its end, which the read with this stamp brought.
    End(ReceiveStamp),
}

impl BodyStep {
    fn new(bytes: Option<Bytes>, stamp: ReceiveStamp) -> BodyStep {
        match bytes {
            Some(bytes) => BodyStep::Piece(Piece { bytes, stamp }),
            None => BodyStep::End(stamp),
        }
    }
}

/// The state of a connection that has served a request before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It can be used.
    Usable,
    /// It can be used, but the server ended the gRPC stream of its requests, so that a new one is opened.
    Renewed,
    /// It is lost, and no other slot that shares it has noticed that yet.
    Lost,
    /// It is lost, and another slot has noticed that before.
    KnownLost,
}

/// When the request in progress was written. It can be read while the connection is in use.
pub enum Written {
    /// For HTTP/1.1.
    Socket(Rc<StampedSocket>),
    /// For HTTP/2.
    Sending(Rc<Sending>),
}

impl Written {
    /// The time at which the kernel had the whole request; `None` before that.
    pub fn at(&self) -> Option<Nanos> {
        match self {
            Written::Socket(socket) => socket.stamps().written(),
            Written::Sending(sending) => sending.written(),
        }
    }
}

/// One connection, or a slot's part of a shared one: at most one request at a time.
pub struct Connection {
    inside: Inside,
    served: u64,
}

enum Inside {
    Http1(Http1),
    Grpc(Box<Grpc>),
}

impl From<Http1> for Connection {
    fn from(http1: Http1) -> Connection {
        Connection { inside: Inside::Http1(http1), served: 0 }
    }
}

impl From<Grpc> for Connection {
    fn from(grpc: Grpc) -> Connection {
        Connection { inside: Inside::Grpc(Box::new(grpc)), served: 0 }
    }
}

impl Connection {
    fn socket(&self) -> &Rc<StampedSocket> {
        match &self.inside {
            Inside::Http1(http1) => http1.socket(),
            Inside::Grpc(grpc) => grpc.socket(),
        }
    }

    /// Sets how the kernel acknowledges what arrives after each request from now on.
    pub fn set_acks(&self, acks: Acks) {
        self.socket().set_acks(acks);
    }

    /// Tells when the request has been written. It keeps the socket open as long as it exists.
    pub fn written(&self) -> Written {
        match &self.inside {
            Inside::Http1(http1) => Written::Socket(http1.socket().clone()),
            Inside::Grpc(grpc) => Written::Sending(grpc.sending().clone()),
        }
    }

    /// The time just before the first byte of the request was handed to the kernel.
    pub fn sent(&self) -> Option<Nanos> {
        match &self.inside {
            Inside::Http1(http1) => http1.socket().stamps().sent(),
            Inside::Grpc(grpc) => grpc.sending().sent(),
        }
    }

    /// The time at which the kernel had all of the request.
    pub fn written_at(&self) -> Option<Nanos> {
        match &self.inside {
            Inside::Http1(http1) => http1.socket().stamps().written(),
            Inside::Grpc(grpc) => grpc.sending().written(),
        }
    }

    /// The receive stamp of the first byte of the answer.
    pub fn first_byte(&self) -> Option<Nanos> {
        match &self.inside {
            Inside::Http1(http1) => http1.socket().stamps().first_byte(),
            Inside::Grpc(grpc) => grpc.first_byte(),
        }
    }

    /// Whether an exchange has ended on it before.
    pub fn is_kept(&self) -> bool {
        self.served > 0
    }

    /// Whether answers end where they say so themselves, because one body holds several.
    pub fn goes_on(&self) -> bool {
        match &self.inside {
            Inside::Http1(_) => false,
            Inside::Grpc(grpc) => grpc.is_streaming(),
        }
    }

    /// The approximate round-trip time to the server.
    pub fn round_trip(&self) -> Nanos {
        self.socket().round_trip()
    }

    /// Whether reads carry the kernel's stamps.
    pub fn kernel_stamps(&self) -> bool {
        self.socket().kernel_stamps()
    }

    /// Whether the next request can be sent on it.
    pub async fn state(&mut self) -> State {
        match &mut self.inside {
            Inside::Http1(http1) => {
                if http1.is_usable().await {
                    State::Usable
                } else {
                    State::Lost
                }
            }
            Inside::Grpc(grpc) => grpc.state().await,
        }
    }

    /// Sends a request and waits for the beginning of its answer.
    ///
    /// # Errors
    /// At the stage of sending or of the first byte.
    pub async fn answer(&mut self, outgoing: Outgoing<'_>) -> Result<Answer, Failed> {
        match &mut self.inside {
            Inside::Http1(http1) => Ok(http1.answer(outgoing).await?),
            Inside::Grpc(grpc) => grpc.answer(outgoing).await,
        }
    }

    /// Waits for the next piece of the answer's body, or for its end.
    ///
    /// # Errors
    /// When the connection fails, or the body is not what its framing promises.
    pub async fn piece(&mut self) -> Result<BodyStep, Failure> {
        poll_fn(|cx| self.poll_piece(cx)).await
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<BodyStep, Failure>> {
        match &mut self.inside {
            Inside::Http1(http1) => http1.poll_piece(cx),
            Inside::Grpc(grpc) => grpc.poll_piece(cx),
        }
    }

    /// Counts an exchange that has ended as it should.
    pub fn finish(&mut self) {
        self.served += 1;
    }

    /// Gives up the exchange in progress. Returns whether the connection can still be used.
    pub async fn abandon(&mut self) -> bool {
        match &mut self.inside {
            Inside::Http1(_) => false,
            Inside::Grpc(grpc) => grpc.abandon().await,
        }
    }

    /// Whether it has had all the requests that `policy` allows a connection.
    pub fn is_spent(&self, policy: ConnectionPolicy) -> bool {
        match policy {
            ConnectionPolicy::Reuse => false,
            ConnectionPolicy::New => true,
            ConnectionPolicy::Rotate(requests) => self.served >= u64::from(requests),
        }
    }

    /// Closes the connection in order, as far as that needs no waiting. A shared connection stays open for the other slots.
    pub async fn close(self) {
        match self.inside {
            Inside::Http1(http1) => http1.close().await,
            Inside::Grpc(grpc) => grpc.close().await,
        }
    }

    /// Drives the connection as far as possible without waiting. The first time this allocates its buffers.
    pub async fn turn(&mut self) {
        match &mut self.inside {
            Inside::Http1(http1) => http1.turn().await,
            Inside::Grpc(grpc) => grpc.turn().await,
        }
    }
}
