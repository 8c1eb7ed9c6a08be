//! gRPC over a channel: either one call per request, or one call whose stream carries the requests of a slot one after another.

use super::channel::{Channel, Rule};
use super::socket::{Sending, StampedSocket};
use super::{Answer, BodyStep, Piece, State};
use crate::failure::Failed;
use crate::request::Outgoing;
use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, StatusCode};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use streamgauge_core::clock::Nanos;
use streamgauge_core::record::{Failure, FailureClass, Stage};
use streamgauge_net::Idle;
use streamgauge_wire::grpc::grpc_status;

/// A slot's part of a channel.
pub struct Grpc {
    channel: Channel,
    rule: Rule,
    call: Option<Call>,
    sending: Rc<Sending>,
    first_byte: Option<Nanos>,
    /// The data that arrived with the beginning of the answer.
    ahead: Option<Result<Piece, Failure>>,
}

/// One call under way.
struct Call {
    /// The part of the request for which HTTP/2 has no window yet.
    unsent: Bytes,
    send: SendStream<Bytes>,
    answer: Reply,
    streaming: bool,
}

/// How far the answer to a call is.
enum Reply {
    Awaited(ResponseFuture),
    Begun { status: StatusCode, headers: HeaderMap, body: RecvStream },
}

impl Grpc {
    /// Calls over `channel`.
    pub fn new(channel: Channel, rule: Rule) -> Grpc {
        Grpc { channel, rule, call: None, sending: Rc::default(), first_byte: None, ahead: None }
    }

    pub fn socket(&self) -> &Rc<StampedSocket> {
        self.channel.socket()
    }

    pub fn sending(&self) -> &Rc<Sending> {
        &self.sending
    }

    /// Receive stamp of the answer's beginning: its headers, and on a stream its first message.
    pub fn first_byte(&self) -> Option<Nanos> {
        self.first_byte
    }

    /// Whether one call carries request after request.
    pub fn is_streaming(&self) -> bool {
        self.rule.streaming
    }

    /// Whether the next request can go out. Looks at the socket itself, and at what the server did to the open stream meanwhile.
    pub async fn state(&mut self) -> State {
        if self.socket().idle() == Idle::Closed {
            return self.lost();
        }
        self.turn().await;
        if self.channel.has_ended() {
            return self.lost();
        }
        let ended = self.call.as_mut().is_some_and(|call| match call.poll_piece(&mut quiet()) {
            Poll::Pending => false,
            Poll::Ready(Ok(Some(bytes))) => {
                // No request is in flight. The next answer would begin with these bytes, and it fails because of them.
                self.ahead = Some(Ok(Piece { bytes, stamp: self.channel.socket().stamps().newest() }));
                false
            }
            Poll::Ready(_) => true,
        });
        if ended {
            self.call = None;
            self.turn().await;
        }
        // An open stream goes on when the server wants no new ones.
        if self.call.is_none() && matches!(self.channel.sender.poll_ready(&mut quiet()), Poll::Ready(Err(_))) {
            return self.lost();
        }
        if ended { State::Renewed } else { State::Usable }
    }

    fn lost(&self) -> State {
        if self.channel.mark_lost() { State::Lost } else { State::KnownLost }
    }

    /// Sends a request and waits for the beginning of its answer: the headers, on a stream its first message.
    ///
    /// # Errors
    /// At the stage of sending or of the first byte.
    pub async fn answer(&mut self, outgoing: Outgoing<'_>) -> Result<Answer, Failed> {
        let answered = self.begin(outgoing).await;
        answered.map_err(|why| {
            let stage = if self.sending.written().is_some() { Stage::FirstByte } else { Stage::Send };
            self.explained(why).at(stage)
        })
    }

    async fn begin(&mut self, outgoing: Outgoing<'_>) -> Result<Answer, Failed> {
        self.first_byte = None;
        self.socket().clone().expect(&self.sending);
        match &mut self.call {
            Some(call) => call.unsent = outgoing.body,
            None => self.call = Some(self.open(outgoing).await?),
        }
        poll_fn(|cx| self.poll_begin(cx)).await
    }

    async fn open(&mut self, outgoing: Outgoing<'_>) -> Result<Call, Failed> {
        let fail = |error: h2::Error| Failed::of_stream(Stage::Send, &error);
        poll_fn(|cx| {
            self.channel.turn(cx);
            self.channel.sender.poll_ready(cx)
        })
        .await
        .map_err(fail)?;
        let request = outgoing.head.request(outgoing.method, outgoing.uri.clone());
        let (answer, send) = self.channel.sender.send_request(request, false).map_err(fail)?;
        Ok(Call { unsent: outgoing.body, send, answer: Reply::Awaited(answer), streaming: self.rule.streaming })
    }

    fn poll_begin(&mut self, cx: &mut Context<'_>) -> Poll<Result<Answer, Failed>> {
        let Some(call) = &mut self.call else { return Poll::Ready(Err(no_call().into())) };
        if self.channel.is_shared() {
            call.push(&self.sending, cx);
            ready!(call.poll_head(cx))?;
        } else {
            // The call makes progress in the connection's turn, and the connection's waker is this task's.
            call.push(&self.sending, &mut quiet());
            self.channel.turn(cx);
            call.push(&self.sending, &mut quiet());
            ready!(call.poll_head(&mut quiet()))?;
        }
        if self.rule.streaming && self.ahead.is_none() {
            let piece = if self.channel.is_shared() { call.poll_piece(cx) } else { call.poll_piece(&mut quiet()) };
            match ready!(piece) {
                Ok(bytes) => {
                    let stamp = self.channel.socket().stamps().newest();
                    self.ahead = bytes.map(|bytes| Ok(Piece { bytes, stamp }));
                }
                // The whole of an answer.
                Err(why) if why.failure.class == FailureClass::Status => self.ahead = Some(Err(why.failure)),
                Err(why) => return Poll::Ready(Err(why)),
            }
        }
        self.first_byte = Some(self.channel.socket().stamps().newest().at);
        let Reply::Begun { status, headers, .. } = &call.answer else { return Poll::Ready(Err(no_call().into())) };
        Poll::Ready(Ok(Answer { status: *status, headers: headers.clone(), ends_connection: false }))
    }

    /// Reads on in the answer until its next piece, or until the call has ended with the status OK.
    ///
    /// # Errors
    /// When the call ended in any other way.
    pub fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<BodyStep, Failure>> {
        if let Some(ahead) = self.ahead.take() {
            return Poll::Ready(ahead.map(BodyStep::Piece));
        }
        let Some(call) = &mut self.call else { return Poll::Ready(Ok(BodyStep::End(self.socket().stamps().newest()))) };
        let piece = if self.channel.is_shared() {
            call.push(&self.sending, cx);
            ready!(call.poll_piece(cx))
        } else {
            match call.poll_piece(&mut quiet()) {
                Poll::Ready(piece) => piece,
                Poll::Pending => {
                    call.push(&self.sending, &mut quiet());
                    self.channel.turn(cx);
                    ready!(call.poll_piece(&mut quiet()))
                }
            }
        };
        if !matches!(piece, Ok(Some(_))) {
            self.call = None;
        }
        let stamp = self.socket().stamps().newest();
        Poll::Ready(match piece {
            Ok(bytes) => Ok(BodyStep::new(bytes, stamp)),
            Err(why) => Err(self.explained(why).failure),
        })
    }

    /// Errors that the channel knows in more detail than its streams.
    fn explained(&self, why: Failed) -> Failed {
        match self.channel.why() {
            Some(known) if self.channel.has_ended() => Failed::from(known).at(why.failure.stage),
            _ => why,
        }
    }

    /// Resets the call under way. Whether the channel lives.
    pub async fn abandon(&mut self) -> bool {
        self.socket().clone().forget(&self.sending);
        (self.call, self.ahead) = (None, None);
        self.turn().await;
        !self.channel.has_ended()
    }

    /// See [`Channel::close`]. A stream is ended as one that has no more requests.
    pub async fn close(mut self) {
        if let Some(mut call) = self.call.take() {
            // If sending fails, the receiver no longer exists.
            let _ = call.send.send_data(Bytes::new(), true);
            drop(call);
        }
        self.channel.close().await;
    }

    /// Lets the channel make progress without waiting.
    pub async fn turn(&mut self) {
        poll_fn(|cx| {
            self.channel.turn(cx);
            Poll::Ready(())
        })
        .await
    }
}

impl Call {
    /// Hands over as much of the request as there is room for.
    fn push(&mut self, sending: &Sending, cx: &mut Context<'_>) {
        while !self.unsent.is_empty() {
            self.send.reserve_capacity(self.unsent.len());
            let room = self.send.capacity();
            if room == 0 {
                match self.send.poll_capacity(cx) {
                    Poll::Ready(Some(Ok(room))) if room > 0 => continue,
                    Poll::Ready(Some(Ok(_))) | Poll::Pending => return,
                    // Why it takes no more, the answer says.
                    Poll::Ready(Some(Err(_)) | None) => return self.unsent = Bytes::new(),
                }
            }
            let piece = self.unsent.split_to(room.min(self.unsent.len()));
            let is_last = self.unsent.is_empty();
            if self.send.send_data(piece, is_last && !self.streaming).is_err() {
                return self.unsent = Bytes::new();
            }
            if is_last {
                sending.is_whole();
            }
        }
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        if let Reply::Awaited(answer) = &mut self.answer {
            let answer =
                ready!(Pin::new(answer).poll(cx)).map_err(|error| Failed::of_stream(Stage::FirstByte, &error))?;
            let (parts, body) = answer.into_parts();
            self.answer = Reply::Begun { status: parts.status, headers: parts.headers, body };
        }
        Poll::Ready(Ok(()))
    }

    /// Returns the next piece, or `None` if the call ended successfully or there was none.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Failed>> {
        let fail = |error: &h2::Error| Failed::of_stream(Stage::Body, error);
        let Reply::Begun { status, headers, body } = &mut self.answer else { return Poll::Pending };
        if let Some(piece) = ready!(body.poll_data(cx)) {
            let piece = piece.map_err(|error| fail(&error))?;
            // More than came is never given back.
            let _ = body.flow_control().release_capacity(piece.len());
            return Poll::Ready(Ok(Some(piece)));
        }
        let trailers = ready!(body.poll_trailers(cx)).map_err(|error| fail(&error))?;
        if !status.is_success() {
            return Poll::Ready(Ok(None));
        }
        // An answer without a body has its trailers in its head.
        let said = trailers.as_ref().unwrap_or(headers);
        let of = |name: &str| said.get(name).and_then(|value| value.to_str().ok());
        let ended = |class, message| Err(Failure { stage: Stage::Body, class, message }.into());
        Poll::Ready(match grpc_status(of) {
            Err(message) => ended(FailureClass::Status, message),
            Ok(()) if self.streaming => {
                let message = "the server ended the stream before its final response".to_owned();
                ended(FailureClass::Truncated, message)
            }
            Ok(()) => Ok(None),
        })
    }
}

/// A waker for polls that need no wake-up.
fn quiet() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

fn no_call() -> Failure {
    let message = "no call".to_owned();
    Failure { stage: Stage::Send, class: FailureClass::Io, message }
}
