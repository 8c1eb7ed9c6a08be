//! One HTTP/1.1 connection, driven by the task that uses it. hyper's connection future is polled here instead of being spawned, so that a
//! chunk reaches its reader without a second wake-up, and the newest read is the one that contained the chunk.

use super::socket::{StampedSocket, Transport};
use super::{Answer, BodyStep};
use crate::failure;
use crate::request::Outgoing;
use bytes::Bytes;
use http::header;
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use streamgauge_core::record::{Failure, Stage};
use streamgauge_net::Idle;

/// One HTTP/1.1 connection and the future that drives it.
pub struct Http1 {
    sender: http1::SendRequest<Full<Bytes>>,
    /// `None` when hyper has ended the connection.
    driver: Option<Box<http1::Connection<TokioIo<Transport>, Full<Bytes>>>>,
    /// The body of the answer in progress.
    body: Option<Incoming>,
    socket: Rc<StampedSocket>,
}

impl Http1 {
    /// Speaks HTTP/1.1 over an open transport.
    ///
    /// # Errors
    /// When hyper cannot use the transport.
    pub async fn new(transport: Transport) -> Result<Http1, Failure> {
        let socket = transport.socket().clone();
        let handshake = http1::handshake(TokioIo::new(transport)).await;
        let (sender, driver) = handshake.map_err(|error| failure::from_hyper(Stage::Connect, &error))?;
        Ok(Http1 { sender, driver: Some(Box::new(driver)), body: None, socket })
    }

    pub fn socket(&self) -> &Rc<StampedSocket> {
        &self.socket
    }

    /// Whether the next request can be sent on the connection. The socket itself is checked, so that a connection that the server closed
    /// while it was idle is noticed before anything is written.
    pub async fn is_usable(&mut self) -> bool {
        match self.socket.idle() {
            Idle::Closed => return false,
            // TLS sends session tickets without being asked, and an alert before it closes. hyper must read them.
            Idle::Pending | Idle::Quiet => {}
        }
        self.turn().await;
        self.driver.is_some() && self.sender.is_ready()
    }

    /// Sends a request and waits for the head of its answer.
    ///
    /// # Errors
    /// At the stage of sending or of the first byte.
    pub async fn answer(&mut self, outgoing: Outgoing<'_>) -> Result<Answer, Failure> {
        self.socket.stamps().arm();
        self.body = None;
        let answer = self.sender.send_request(outgoing.whole());
        let answer = self.drive(answer).await.map_err(|error| {
            let written = self.socket.stamps().written().is_some();
            failure::from_hyper(if written { Stage::FirstByte } else { Stage::Send }, &error)
        })?;
        let ends_connection = is_last(&answer);
        let (parts, body) = answer.into_parts();
        self.body = Some(body);
        Ok(Answer { status: parts.status, headers: parts.headers, ends_connection })
    }

    /// Reads the answer's body up to its next piece or its end.
    ///
    /// # Errors
    /// When the connection fails, or the body does not match its framing.
    pub fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<BodyStep, Failure>> {
        self.poll_connection(cx);
        let stamp = self.socket.stamps().newest();
        let Some(body) = &mut self.body else { return Poll::Ready(Ok(BodyStep::End(stamp))) };
        loop {
            let frame = match ready!(Pin::new(&mut *body).poll_frame(cx)) {
                Some(frame) => frame.map_err(|error| failure::from_hyper(Stage::Body, &error))?,
                None => break,
            };
            if let Ok(data) = frame.into_data() {
                return Poll::Ready(Ok(BodyStep::new(Some(data), stamp)));
            }
        }
        self.body = None;
        Poll::Ready(Ok(BodyStep::End(stamp)))
    }

    /// Closes the connection in order: over TLS with its closing alert, then the end of the stream. It does not wait; what cannot be
    /// written at once is left to the kernel.
    pub async fn close(self) {
        let Http1 { sender, driver, .. } = self;
        // hyper closes a connection that can get no more requests.
        drop(sender);
        if let Some(mut driver) = driver {
            poll_fn(|cx| {
                let _ = Pin::new(&mut *driver).poll(cx);
                Poll::Ready(())
            })
            .await;
        }
    }

    /// Drives the connection as far as possible without waiting. The first time this allocates its buffers.
    pub async fn turn(&mut self) {
        poll_fn(|cx| {
            self.poll_connection(cx);
            Poll::Ready(())
        })
        .await
    }

    /// Drives the connection until `work` is done.
    async fn drive<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        poll_fn(|cx| {
            self.poll_connection(cx);
            work.as_mut().poll(cx)
        })
        .await
    }

    fn poll_connection(&mut self, cx: &mut Context<'_>) {
        // Why the connection ended is reported by the answer that is waited for.
        if self.driver.as_mut().is_some_and(|driver| Pin::new(&mut **driver).poll(cx).is_ready()) {
            self.driver = None;
        }
    }
}

/// Whether the server said with this answer that the connection ends with it.
fn is_last<B>(answer: &http::Response<B>) -> bool {
    let headers = answer.headers();
    let says = |option: &str| {
        let values = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|said| said.trim().eq_ignore_ascii_case(option))
    };
    let framed = headers.contains_key(header::CONTENT_LENGTH) || headers.contains_key(header::TRANSFER_ENCODING);
    says("close") || !framed || (answer.version() == http::Version::HTTP_10 && !says("keep-alive"))
}
