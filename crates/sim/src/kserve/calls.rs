//! Calls over gRPC: requests taken from their streams, answers queued on them.

use super::grpc;
use super::session::{Over, Response, Session, Sink};
use crate::faults::{FaultKind, Place};
use crate::http::carrier::{Logged, Traffic};
use crate::kserve::ID_PREFIX;
use crate::state::{Arrival, Begun, Server};
use crate::triton::problem::Problem;
use crate::triton::repository::Ask;
use crate::writes::{SPLIT_PAUSE, WRITE, cuts};
use bytes::Bytes;
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, HeaderValue, Request};
use rand::Rng;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use streamgauge_core::clock::Nanos;
use streamgauge_core::kserve::Compression;
use streamgauge_core::plan::EndpointKind;
use streamgauge_wire::grpc::{Messages, compressed, encoding_name, framed};
use tokio::sync::Mutex;
use tokio::task::JoinSet;

/// Bytes that may be queued on a stream before its requests wait for the client.
const QUEUE: u64 = 4 * WRITE as u64;

/// A call that has arrived.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) server: Rc<Server>,
    pub(crate) connection: u64,
    pub(crate) traffic: Rc<Traffic>,
    pub(crate) request: Request<RecvStream>,
    pub(crate) respond: SendResponse<Bytes>,
}

/// How a call goes on after one of its requests.
#[derive(Debug)]
enum Onward {
    /// With the next.
    Next,
    /// It ends, in this way.
    End(Result<(), Problem>),
    /// It ends with the connection.
    Reset,
}

/// Takes a call. Faults of the connection end it.
pub(crate) async fn serve_call(call: Call) {
    let Call { server, connection, traffic, request, respond } = call;
    let stream = u32::from(request.body().stream_id());
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let asked = header("grpc-encoding");
    let known = [Compression::Gzip, Compression::Deflate];
    let compression = known.into_iter().find(|each| encoding_name(*each) == asked).unwrap_or_default();
    let messages = Messages::new(asked);
    let path = request.uri().path().to_owned();
    let outlet = Outlet {
        stream,
        traffic: traffic.clone(),
        compression,
        turn: Mutex::new(()),
        side: RefCell::new(Side::Head(respond)),
    };
    let inbound = Inbound {
        body: request.into_body(),
        messages,
        ready: VecDeque::new(),
        stream,
        offset: 0,
        traffic: traffic.clone(),
    };
    let desk = Rc::new(Desk { server, connection, traffic: traffic.clone(), outlet });
    // The connection's own task sees the error that this one ends on.
    let _ = match path.strip_prefix(grpc::SERVICE) {
        Some("ModelStreamInfer") => desk.clone().stream(inbound).await,
        Some("ModelInfer") => desk.infer(inbound).await,
        method => desk.question(method.unwrap_or_default(), inbound).await,
    };
    traffic.forget(stream, matches!(*desk.outlet.side.borrow(), Side::Ended));
}

/// The state that the requests of a call share.
#[derive(Debug)]
struct Desk {
    server: Rc<Server>,
    connection: u64,
    traffic: Rc<Traffic>,
    outlet: Outlet,
}

/// A complete message.
#[derive(Debug)]
struct Message {
    bytes: Vec<u8>,
    received: Nanos,
    kernel_stamp: bool,
}

impl Desk {
    /// A call that is no request for output.
    async fn question(&self, method: &str, mut inbound: Inbound) -> io::Result<()> {
        let message = inbound.only().await?;
        let answer = message.and_then(|message| grpc::answer(&self.server, method, &message.bytes));
        match answer {
            Ok(answer) => {
                self.outlet.send_unlogged(framed(&answer))?;
                self.outlet.end(Ok(()), None)
            }
            Err(problem) => self.outlet.end(Err(problem), None),
        }
    }

    /// A request with one answer.
    async fn infer(&self, mut inbound: Inbound) -> io::Result<()> {
        let message = match inbound.only().await? {
            Ok(message) => message,
            Err(problem) => return self.outlet.end(Err(problem), None),
        };
        let (faults, request, chance) = self.begin(&message);
        let mut sink = Single { desk: self, request: &request, faults: &faults, payload: Vec::new(), events: 0 };
        match self.run(&message, &faults, chance, Some("ModelInfer RPC"), &mut sink).await? {
            Over::Reset => self.traffic.reset(),
            Over::Done | Over::Truncated => self.outlet.end(Ok(()), Some(&request))?,
            Over::Failed(problem) => {
                request.note(|request| request.status = problem.status);
                self.outlet.end(Err(problem), Some(&request))?;
            }
        }
        Ok(())
    }

    /// Requests one after another or at once, with any number of answers each.
    async fn stream(self: Rc<Desk>, mut inbound: Inbound) -> io::Result<()> {
        let mut requests = JoinSet::new();
        let mut open = true;
        loop {
            if !open && requests.is_empty() {
                return self.outlet.end(Ok(()), None);
            }
            tokio::select! {
                message = inbound.next(), if open => match message? {
                    None => open = false,
                    Some(Err(problem)) => return self.outlet.end(Err(problem), None),
                    Some(Ok(message)) => drop(requests.spawn_local(self.clone().one(message))),
                },
                Some(onward) = requests.join_next(), if !requests.is_empty() => match onward.map_err(io::Error::other)?? {
                    Onward::Next => {}
                    Onward::End(status) => return self.outlet.end(status, None),
                    Onward::Reset => {
                        self.traffic.reset();
                        return Ok(());
                    }
                },
                () = self.outlet.cancelled() => return Ok(()),
            }
        }
    }

    /// One request of a stream.
    async fn one(self: Rc<Desk>, message: Message) -> io::Result<Onward> {
        let (faults, request, chance) = self.begin(&message);
        let split = faults.contains(&FaultKind::SplitWrites);
        let mut sink = Streamed { desk: &self, request: &request, split, payload: Vec::new(), events: 0 };
        let over = self.run(&message, &faults, chance, None, &mut sink).await?;
        let problem = match over {
            Over::Done => return Ok(Onward::Next),
            Over::Reset => return Ok(Onward::Reset),
            Over::Truncated => {
                self.complete(&request);
                return Ok(Onward::End(Ok(())));
            }
            Over::Failed(problem) => problem,
        };
        request.note(|request| request.status = problem.status);
        if faults.iter().any(|fault| matches!(fault, FaultKind::Status(_))) {
            self.complete(&request);
            return Ok(Onward::End(Err(problem)));
        }
        let ask = grpc::heading(&message.bytes);
        sink.put_bytes(&grpc::stream_error(&problem, &ask.model, &ask.id));
        sink.flush(true).await?;
        Ok(Onward::Next)
    }

    /// The call's end answers the request.
    fn complete(&self, request: &Rc<Logged>) {
        self.traffic.queue_end(self.outlet.stream, request);
    }

    /// The faults of a request, its log entry and its other random values.
    fn begin(&self, message: &Message) -> (Vec<FaultKind>, Rc<Logged>, impl Rng + use<>) {
        let server = &self.server;
        let Begun { request, faults, chance } = server.begin(Arrival {
            connection: self.connection,
            kind: EndpointKind::KserveGrpc,
            id_prefix: ID_PREFIX,
            received: message.received,
            kernel_stamp: message.kernel_stamp,
        });
        (faults, Logged::new(server.clone(), &self.traffic, request), chance)
    }

    /// Takes a request through the engine.
    async fn run(
        &self,
        message: &Message,
        faults: &[FaultKind],
        chance: impl Rng,
        undivided: Option<&'static str>,
        sink: &mut impl Sink,
    ) -> io::Result<Over> {
        let server = &self.server;
        if faults.contains(&FaultKind::Reset(Place::Start)) {
            return Ok(Over::Reset);
        }
        let status =
            faults.iter().find_map(|fault| if let FaultKind::Status(code) = fault { Some(*code) } else { None });
        if let Some(status) = status {
            return Ok(Over::Failed(Problem::simulated(status)));
        }
        let ask: Ask = match grpc::ask(&message.bytes, &server.triton.memory.borrow()) {
            Ok(ask) => ask,
            Err(problem) => return Ok(Over::Failed(problem)),
        };
        Session { server, ask: &ask, received: message.received, faults, chance, undivided }.run(sink).await
    }
}

/// Requests as they come.
#[derive(Debug)]
struct Inbound {
    body: RecvStream,
    messages: Messages,
    ready: VecDeque<Message>,
    stream: u32,
    /// Bytes of the body that came.
    offset: u64,
    traffic: Rc<Traffic>,
}

impl Inbound {
    /// The next message, or `None` when the client has sent all. The future may be dropped while it waits.
    async fn next(&mut self) -> io::Result<Option<Result<Message, Problem>>> {
        loop {
            if let Some(message) = self.ready.pop_front() {
                return Ok(Some(Ok(message)));
            }
            let Some(bytes) = self.body.data().await else {
                let whole = self.messages.is_between();
                return Ok((!whole).then(|| Err(Problem::internal("the stream ended within a message"))));
            };
            let bytes = bytes.map_err(io::Error::other)?;
            self.body.flow_control().release_capacity(bytes.len()).map_err(io::Error::other)?;
            self.offset += bytes.len() as u64;
            let (received, kernel_stamp) = self.traffic.received(self.stream, self.offset);
            let ready = &mut self.ready;
            let fed = self.messages.feed(&bytes, &mut |message: &[u8]| {
                ready.push_back(Message { bytes: message.to_vec(), received, kernel_stamp });
                true
            });
            if let Err(error) = fed {
                return Ok(Some(Err(Problem::internal(error))));
            }
        }
    }

    /// The only message of a call with one, which is over with it.
    async fn only(&mut self) -> io::Result<Result<Message, Problem>> {
        let message = self.next().await?;
        Ok(message.unwrap_or_else(|| Err(Problem::internal("the call has no message"))))
    }
}

/// Our side of a call.
#[derive(Debug)]
struct Outlet {
    stream: u32,
    traffic: Rc<Traffic>,
    /// How answers are compressed: as requests are.
    compression: Compression,
    /// Keeps the pieces of a message together.
    turn: Mutex<()>,
    side: RefCell<Side>,
}

enum Side {
    Head(SendResponse<Bytes>),
    Body(SendStream<Bytes>),
    Ended,
}

impl std::fmt::Debug for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Side::Head(_) => "Head",
            Side::Body(_) => "Body",
            Side::Ended => "Ended",
        })
    }
}

impl Outlet {
    /// Queues bytes, after the headers where these have not been sent.
    fn push(&self, bytes: Vec<u8>) -> io::Result<()> {
        let side = &mut *self.side.borrow_mut();
        if let Side::Head(respond) = side {
            *side = Side::Body(respond.send_response(self.head(), false).map_err(io::Error::other)?);
        }
        match side {
            Side::Body(body) => body.send_data(bytes.into(), false).map_err(io::Error::other),
            Side::Head(_) | Side::Ended => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn head(&self) -> http::Response<()> {
        let mut head = http::Response::new(());
        let headers = head.headers_mut();
        headers.insert("content-type", HeaderValue::from_static("application/grpc"));
        headers.insert("grpc-accept-encoding", HeaderValue::from_static("identity, deflate, gzip"));
        if let Some(name) = encoding_name(self.compression) {
            headers.insert("grpc-encoding", HeaderValue::from_static(name));
        }
        head
    }

    fn send_unlogged(&self, bytes: Vec<u8>) -> io::Result<()> {
        self.traffic.queue_unlogged(self.stream, bytes.len());
        self.push(bytes)
    }

    /// Queues bytes of a request's answer, in pieces if they are to be split, and waits while the client is behind.
    async fn send(&self, bytes: Vec<u8>, events: u32, last: bool, split: bool, request: &Rc<Logged>) -> io::Result<()> {
        let turn = self.turn.lock().await;
        let mut rest = bytes;
        if split {
            for cut in cuts(&rest) {
                let after = rest.split_off(cut);
                self.traffic.queue(self.stream, rest.len(), 0, false, request);
                self.push(rest)?;
                rest = after;
                tokio::time::sleep(SPLIT_PAUSE.to_duration()).await;
            }
        }
        self.traffic.queue(self.stream, rest.len(), events, last, request);
        self.push(rest)?;
        drop(turn);
        while !last && self.traffic.unsent(self.stream) > QUEUE {
            self.traffic.written.notified().await;
        }
        Ok(())
    }

    /// Ends the call; `request` is answered by that.
    fn end(&self, status: Result<(), Problem>, request: Option<&Rc<Logged>>) -> io::Result<()> {
        let mut trailers = HeaderMap::new();
        let code = status.as_ref().map_or_else(Problem::code, |()| 0);
        trailers.insert("grpc-status", code.into());
        if let Err(problem) = &status {
            let message = HeaderValue::from_str(&grpc::percent_encoded(&problem.message));
            trailers.insert("grpc-message", message.map_err(io::Error::other)?);
        }
        if let Some(request) = request {
            self.traffic.queue_end(self.stream, request);
        }
        match std::mem::replace(&mut *self.side.borrow_mut(), Side::Ended) {
            Side::Head(mut respond) => {
                let mut head = self.head();
                head.headers_mut().extend(trailers);
                respond.send_response(head, true).map(drop).map_err(io::Error::other)
            }
            Side::Body(mut body) => body.send_trailers(trailers).map_err(io::Error::other),
            Side::Ended => Ok(()),
        }
    }

    /// Returns when the client has given the call up.
    async fn cancelled(&self) {
        std::future::poll_fn(|cx| match &mut *self.side.borrow_mut() {
            Side::Head(respond) => respond.poll_reset(cx).map(drop),
            Side::Body(body) => body.poll_reset(cx).map(drop),
            Side::Ended => std::task::Poll::Pending,
        })
        .await;
    }
}

/// The responses to a request of a stream.
struct Streamed<'a> {
    desk: &'a Desk,
    request: &'a Rc<Logged>,
    split: bool,
    payload: Vec<u8>,
    events: u32,
}

impl Streamed<'_> {
    fn put_bytes(&mut self, message: &[u8]) {
        self.payload.extend_from_slice(&compressed(message, self.desk.outlet.compression));
    }
}

impl Sink for Streamed<'_> {
    fn accept(&mut self, prompt_tokens: u32, output_tokens: u32) {
        accept(self.request, prompt_tokens, output_tokens);
    }

    fn put(&mut self, response: &Response<'_>) {
        self.put_bytes(&grpc::stream_response(response));
        self.events += u32::from(!response.outputs.is_empty());
    }

    fn put_malformed(&mut self) {
        self.put_bytes(grpc::MALFORMED);
    }

    fn held(&self) -> usize {
        self.payload.len()
    }

    async fn flush(&mut self, last: bool) -> io::Result<()> {
        let (payload, events) = (std::mem::take(&mut self.payload), std::mem::take(&mut self.events));
        self.desk.outlet.send(payload, events, last, self.split, self.request).await
    }
}

/// The response to a request with one.
struct Single<'a> {
    desk: &'a Desk,
    request: &'a Rc<Logged>,
    faults: &'a [FaultKind],
    payload: Vec<u8>,
    events: u32,
}

impl Sink for Single<'_> {
    fn accept(&mut self, prompt_tokens: u32, output_tokens: u32) {
        accept(self.request, prompt_tokens, output_tokens);
    }

    fn put(&mut self, response: &Response<'_>) {
        self.payload.extend_from_slice(&compressed(&grpc::response(response), self.desk.outlet.compression));
        self.events += 1;
    }

    fn put_malformed(&mut self) {
        self.payload.extend_from_slice(&compressed(grpc::MALFORMED, self.desk.outlet.compression));
    }

    fn held(&self) -> usize {
        self.payload.len()
    }

    /// The end of the call is what answers the request.
    async fn flush(&mut self, _: bool) -> io::Result<()> {
        let (payload, events) = (std::mem::take(&mut self.payload), std::mem::take(&mut self.events));
        let split = self.faults.contains(&FaultKind::SplitWrites);
        self.desk.outlet.send(payload, events, false, split, self.request).await
    }
}

fn accept(request: &Logged, prompt_tokens: u32, output_tokens: u32) {
    request.note(|request| {
        request.status = 200;
        request.prompt_tokens = prompt_tokens;
        request.output_tokens = output_tokens;
    });
}
