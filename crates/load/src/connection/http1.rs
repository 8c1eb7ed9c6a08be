//! One HTTP/1.1 connection, driven by the task that uses it: hyper's connection future is polled here and not spawned, so
//! that a chunk reaches its reader without a second wake-up, and so that the newest read is the one a chunk came in.

use super::line::{Line, Transport};
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

/// One HTTP/1.1 connection and the future that moves it.
pub struct Http1 {
    sender: http1::SendRequest<Full<Bytes>>,
    /// Gone once hyper has ended the connection.
    motor: Option<Box<http1::Connection<TokioIo<Transport>, Full<Bytes>>>>,
    /// Of the answer under way.
    body: Option<Incoming>,
    line: Rc<Line>,
}

impl Http1 {
    /// Speaks HTTP/1.1 over an open transport.
    ///
    /// # Errors
    /// hyper's.
    pub async fn new(transport: Transport) -> Result<Http1, Failure> {
        let line = transport.line().clone();
        let hands = http1::handshake(TokioIo::new(transport)).await;
        let (sender, motor) = hands.map_err(|error| failure::from_hyper(Stage::Connect, &error))?;
        Ok(Http1 { sender, motor: Some(Box::new(motor)), body: None, line })
    }

    pub fn line(&self) -> &Rc<Line> {
        &self.line
    }

    /// Whether the next request can go out on it. Looks at the socket itself, so that a connection which the server closed
    /// while it was idle is found out before anything is written.
    pub async fn is_usable(&mut self) -> bool {
        match self.line.idle() {
            Idle::Closed => return false,
            // TLS sends session tickets unasked, and says goodbye before it closes: hyper must read them to know.
            Idle::Pending | Idle::Quiet => {}
        }
        self.turn().await;
        self.motor.is_some() && self.sender.is_ready()
    }

    /// Sends a request and waits for the head of its answer.
    ///
    /// # Errors
    /// At the stage of sending or of the first byte.
    pub async fn answer(&mut self, outgoing: Outgoing<'_>) -> Result<Answer, Failure> {
        self.line.marks().arm();
        self.body = None;
        let answer = self.sender.send_request(outgoing.whole());
        let answer = self.drive(answer).await.map_err(|error| {
            let written = self.line.marks().written().is_some();
            failure::from_hyper(if written { Stage::FirstByte } else { Stage::Send }, &error)
        })?;
        let ends_connection = is_last(&answer);
        let (parts, body) = answer.into_parts();
        self.body = Some(body);
        Ok(Answer { status: parts.status, headers: parts.headers, ends_connection })
    }

    /// Reads on in the answer's body until its next piece or its end.
    ///
    /// # Errors
    /// When the connection fails, or the body is not what its framing promises.
    pub fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<BodyStep, Failure>> {
        self.poll_motor(cx);
        let stamp = self.line.marks().newest();
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

    /// Ends it in order: over TLS with its goodbye, then the end of the stream. It waits for nobody; what cannot be
    /// said at once is left to the kernel.
    pub async fn close(self) {
        let Http1 { sender, motor, .. } = self;
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

    /// Lets the connection do whatever it can without waiting. The first time it makes its buffers.
    pub async fn turn(&mut self) {
        poll_fn(|cx| {
            self.poll_motor(cx);
            Poll::Ready(())
        })
        .await
    }

    /// Moves the connection until `work` is done.
    async fn drive<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        poll_fn(|cx| {
            self.poll_motor(cx);
            work.as_mut().poll(cx)
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
