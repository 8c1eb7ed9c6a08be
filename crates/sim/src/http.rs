//! HTTP/1.1, as much of it as a benchmark's client speaks: kept connections, bodies with a length, answers in chunks.
//! Written by hand over stamped streams, because the instants at which bytes come and go are what this server is for.

use crate::answer::{Room, Wish, answer};
use crate::carrier::PREFACE;
use crate::channel;
use crate::faults::FaultKind;
use crate::kserve::Target;
use crate::request::{Refusal, Shape};
use crate::server::Server;
use std::io;
use std::ops::Range;
use std::rc::Rc;
use streamgauge_core::clock::Nanos;
use streamgauge_net::{Receipt, StampedStream};

/// Longest head of a request.
const MAX_HEAD: usize = 64 * 1024;
/// Most header fields.
const MAX_FIELDS: usize = 96;
/// Longest body of a request.
const MAX_BODY: usize = 64 * 1024 * 1024;
/// What a connection's buffer begins with, and goes back to after a long request.
const INBOX: usize = 16 * 1024;

/// A request that has come whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// When its last byte came.
    pub(crate) received: Nanos,
    pub(crate) kernel_stamp: bool,
    /// Whether the client wants the connection closed after the answer.
    pub(crate) close: bool,
    /// Of the body, the bytes that are JSON, where others follow.
    pub(crate) json: Option<usize>,
    method: Method,
    route: Route,
    /// Where in the connection's buffer the body lies; it is followed by the next request.
    body: Range<usize>,
}

/// What becomes of a connection after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Close,
    /// It speaks another protocol from here on.
    Http2,
    Keep,
    Reset,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Get,
    Other,
    Post,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Route {
    Health,
    Kserve(Target),
    Metrics,
    Models,
    Output(Shape),
    Unknown,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection {
    server: Rc<Server>,
    io: StampedStream,
    number: u64,
    inbox: Inbox,
    room: Room,
}

impl Connection {
    pub(crate) fn new(server: Rc<Server>, io: StampedStream, number: u64) -> Connection {
        Connection { server, io, number, inbox: Inbox::default(), room: Room::default() }
    }

    /// Answers requests until either side has had enough. Errors of the socket end it: the client is gone.
    pub(crate) async fn serve(mut self) {
        let faults = self.server.connection_faults(self.number);
        let close_idle = faults.iter().find_map(|fault| match fault {
            FaultKind::CloseIdle(span) => Some(*span),
            _ => None,
        });
        let close_after = faults.iter().find_map(|fault| match fault {
            FaultKind::CloseAfter(requests) => Some(*requests),
            _ => None,
        });
        let mut served = 0;
        loop {
            let end = self.exchange(close_idle).await.unwrap_or(End::Close);
            if end == End::Http2 {
                let Inbox { mut bytes, filled, receipt } = self.inbox;
                bytes.truncate(filled);
                return channel::serve(self.server, self.io, self.number, bytes, receipt, &faults).await;
            }
            served += 1;
            match end {
                End::Keep if close_after.is_none_or(|most| served < most) => {}
                End::Reset => {
                    let _ = self.io.reset();
                    return;
                }
                End::Close | End::Keep | End::Http2 => return,
            }
        }
    }

    async fn exchange(&mut self, close_idle: Option<Nanos>) -> io::Result<End> {
        let message = match self.inbox.next(&mut self.io, close_idle).await? {
            Incoming::Closed => return Ok(End::Close),
            Incoming::Http2 => return Ok(End::Http2),
            Incoming::Refused(refusal) => {
                self.io.send_all(&document(refusal.status, JSON, &refusal.body(), true)).await?;
                return Ok(End::Close);
            }
            Incoming::Whole(message) => message,
        };
        let body = &self.inbox.bytes[message.body.clone()];
        let wish = match (&message.route, message.method) {
            (Route::Output(shape), Method::Post) => Some(Wish::Output(*shape)),
            (Route::Kserve(Target::Infer(path)), Method::Post) => Some(Wish::Infer(path)),
            _ => None,
        };
        let end = match wish {
            Some(wish) => answer(&self.server, &mut self.io, &mut self.room, self.number, wish, &message, body).await?,
            None => {
                let page = self.page(&message, body);
                self.io.send_all(&page).await?;
                if message.close { End::Close } else { End::Keep }
            }
        };
        self.inbox.drop_to(message.body.end);
        Ok(end)
    }

    /// The answer to anything that is not a request for output.
    fn page(&self, message: &Message, body: &[u8]) -> Vec<u8> {
        let close = message.close;
        let refused = |status, class, message: String| {
            document(status, JSON, &Refusal { status, class, message, param: None }.body(), close)
        };
        match (&message.route, message.method) {
            (Route::Kserve(Target::Page(page)), Method::Get) => page.answer(&self.server, None, close),
            (Route::Kserve(Target::Page(page)), Method::Post) => page.answer(&self.server, Some(body), close),
            (Route::Kserve(Target::Unknown), _) => document(404, "text/plain", br#"{"error":"Not Found"}"#, close),
            (Route::Kserve(_), _) => document(405, JSON, br#"{"error":"Method Not Allowed"}"#, close),
            (Route::Health, Method::Get) => document(200, JSON, b"", close),
            (Route::Metrics, Method::Get) => document(200, "text/plain; version=0.0.4", &self.server.metrics(), close),
            (Route::Models, Method::Get) => document(200, JSON, &self.server.models(), close),
            (Route::Unknown, _) => refused(404, "NotFoundError", "there is nothing at this path".to_owned()),
            (Route::Output(_), _) => refused(405, "MethodNotAllowed", "this path takes POST only".to_owned()),
            (Route::Health | Route::Metrics | Route::Models, _) => {
                refused(405, "MethodNotAllowed", "this path takes GET only".to_owned())
            }
        }
    }
}

pub(crate) const JSON: &str = "application/json";

/// A whole answer with a known length.
pub(crate) fn document(status: u16, content_type: &str, body: &[u8], close: bool) -> Vec<u8> {
    document_with(status, content_type, "", body, close)
}

/// The same with more fields in its head, each with its end of line.
pub(crate) fn document_with(status: u16, content_type: &str, fields: &str, body: &[u8], close: bool) -> Vec<u8> {
    let (first, close, len) = (status_line(status), close_line(close), body.len());
    let head = format!("{first}content-type: {content_type}\r\n{fields}content-length: {len}\r\n{close}\r\n");
    let mut out = head.into_bytes();
    out.extend_from_slice(body);
    out
}

/// The status line, and the line that says who answers.
pub(crate) fn status_line(status: u16) -> String {
    let reason = match status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        411 => "Length Required",
        413 => "Content Too Large",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "Error",
    };
    format!("HTTP/1.1 {status} {reason}\r\nserver: streamgauge-sim\r\n")
}

/// The line that announces the end of the connection, where it ends.
pub(crate) fn close_line(close: bool) -> &'static str {
    if close { "connection: close\r\n" } else { "" }
}

/// What a connection brought.
#[derive(Debug)]
enum Incoming {
    Closed,
    Http2,
    Refused(Refusal),
    Whole(Message),
}

/// Bytes that have come and are not yet dealt with.
#[derive(Debug)]
struct Inbox {
    /// The buffer: `filled` bytes of it have come, the rest is room.
    bytes: Vec<u8>,
    filled: usize,
    /// The newest.
    receipt: Receipt,
}

impl Default for Inbox {
    fn default() -> Inbox {
        Inbox { bytes: Vec::new(), filled: 0, receipt: Receipt { len: 0, at: Nanos::ZERO, lag: None } }
    }
}

impl Inbox {
    /// Waits for the next request; gives up when nothing comes for `close_idle`.
    async fn next(&mut self, io: &mut StampedStream, close_idle: Option<Nanos>) -> io::Result<Incoming> {
        let head = loop {
            let bytes = &self.bytes[..self.filled];
            let preface = PREFACE.iter().zip(bytes).all(|(a, b)| a == b);
            if preface && self.filled >= PREFACE.len() {
                return Ok(Incoming::Http2);
            }
            // What may yet become that is not read as anything else.
            let parsed = if preface { Ok(None) } else { parse(bytes) };
            match parsed {
                Ok(Some(head)) => break head,
                Ok(None) if self.filled > MAX_HEAD => return Ok(Incoming::Refused(too_long())),
                Ok(None) => {}
                Err(refusal) => return Ok(Incoming::Refused(refusal)),
            }
            let len = match close_idle.filter(|_| self.filled == 0) {
                None => self.receive(io, INBOX).await?,
                Some(span) => match tokio::time::timeout(span.to_duration(), self.receive(io, INBOX)).await {
                    Ok(len) => len?,
                    Err(_) => 0,
                },
            };
            if len == 0 {
                return Ok(Incoming::Closed);
            }
        };
        let end = head.len + head.body;
        if head.wants_continue && self.filled < end {
            io.send_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        while self.filled < end {
            if self.receive(io, end).await? == 0 {
                return Ok(Incoming::Closed);
            }
        }
        Ok(Incoming::Whole(Message {
            received: self.receipt.at,
            kernel_stamp: self.receipt.lag.is_some(),
            close: head.close,
            json: head.json,
            method: head.method,
            route: head.route,
            body: head.len..end,
        }))
    }

    /// Takes what has come, into a buffer that grows by doubling and, up to `wanted` bytes, no further than that.
    async fn receive(&mut self, io: &mut StampedStream, wanted: usize) -> io::Result<usize> {
        if self.filled == self.bytes.len() {
            let doubled = (self.filled * 2).max(INBOX);
            let room = if wanted > self.filled { doubled.min(wanted.max(INBOX)) } else { doubled };
            self.bytes.resize(room, 0);
        }
        let receipt = io.receive(&mut self.bytes[self.filled..]).await?;
        self.filled += receipt.len;
        if receipt.len > 0 {
            self.receipt = receipt;
        }
        Ok(receipt.len)
    }

    /// Forgets the first `end` bytes.
    fn drop_to(&mut self, end: usize) {
        self.bytes.copy_within(end..self.filled, 0);
        self.filled -= end;
        if self.bytes.len() > 64 * INBOX && self.filled <= INBOX {
            self.bytes.truncate(INBOX);
            self.bytes.shrink_to_fit();
        }
    }
}

/// What a head says, as far as it matters here.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    len: usize,
    body: usize,
    json: Option<usize>,
    method: Method,
    route: Route,
    close: bool,
    wants_continue: bool,
}

/// `None` while the head is not complete.
fn parse(bytes: &[u8]) -> Result<Option<Head>, Refusal> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    let len = match request.parse(bytes) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(too_long()),
        Err(error) => return Err(protocol(400, format!("this is not HTTP: {error}"))),
    };
    if request.version != Some(1) {
        return Err(protocol(505, "this server speaks HTTP/1.1 only".to_owned()));
    }
    let method = match request.method {
        Some("GET") => Method::Get,
        Some("POST") => Method::Post,
        _ => Method::Other,
    };
    let mut head =
        Head { len, body: 0, json: None, method, route: route(request.path), close: false, wants_continue: false };
    for field in request.headers.iter() {
        if field.name.eq_ignore_ascii_case("content-length") {
            head.body = body_len(field.value)?;
        } else if field.name.eq_ignore_ascii_case("inference-header-content-length") {
            head.json = Some(body_len(field.value)?);
        } else if field.name.eq_ignore_ascii_case("connection") {
            head.close |= has_token(field.value, b"close");
        } else if field.name.eq_ignore_ascii_case("expect") {
            head.wants_continue |= field.value.eq_ignore_ascii_case(b"100-continue");
        } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(protocol(411, "this server takes bodies with a Content-Length only".to_owned()));
        }
    }
    Ok(Some(head))
}

fn route(path: Option<&str>) -> Route {
    let path = path.unwrap_or_default();
    match path.split_once('?').map_or(path, |(path, _)| path) {
        "/health" => Route::Health,
        "/metrics" => Route::Metrics,
        "/v1/chat/completions" => Route::Output(Shape::Chat),
        "/v1/completions" => Route::Output(Shape::Completions),
        "/v1/models" => Route::Models,
        path if path == "/v2" || path.starts_with("/v2/") => Route::Kserve(Target::of(path)),
        _ => Route::Unknown,
    }
}

fn body_len(value: &[u8]) -> Result<usize, Refusal> {
    let digits = str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    match digits.and_then(|digits| digits.parse().ok()) {
        Some(len) if len <= MAX_BODY => Ok(len),
        Some(_) => Err(protocol(413, format!("a body may have {MAX_BODY} bytes at most"))),
        None => Err(protocol(400, "the length of the body is not a number".to_owned())),
    }
}

fn has_token(value: &[u8], token: &[u8]) -> bool {
    value.split(|byte| *byte == b',').any(|item| item.trim_ascii().eq_ignore_ascii_case(token))
}

fn too_long() -> Refusal {
    protocol(431, format!("a head may have {MAX_HEAD} bytes and {MAX_FIELDS} fields at most"))
}

fn protocol(status: u16, message: String) -> Refusal {
    Refusal { status, class: "BadRequestError", message, param: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Result<Option<Head>, u16> {
        parse(text.as_bytes()).map_err(|refusal| refusal.status)
    }

    #[test]
    fn a_head_is_read_when_it_is_complete() {
        let text = "POST /v1/completions?x=1 HTTP/1.1\r\nhost: a\r\nContent-Length: 12\r\nExpect: 100-Continue\r\n\
                    Connection: keep-alive, Close\r\n\r\n{\"prompt\"";
        let end = text.find('{').unwrap();
        assert!((0..end).all(|len| head(&text[..len]) == Ok(None)));
        let expected = Head {
            len: end,
            body: 12,
            json: None,
            method: Method::Post,
            route: Route::Output(Shape::Completions),
            close: true,
            wants_continue: true,
        };
        assert_eq!(head(text), Ok(Some(expected)));
    }

    #[test]
    fn what_is_not_spoken_here_is_refused() {
        assert_eq!(head("GET / HTTP/1.0\r\n\r\n"), Err(505));
        assert_eq!(head("\u{0}\u{1}"), Err(400));
        assert_eq!(head("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n"), Err(411));
        assert_eq!(head("POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n"), Err(400));
        assert_eq!(head("POST / HTTP/1.1\r\ncontent-length: 67108865\r\n\r\n"), Err(413));
        assert_eq!(head(&format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(97))), Err(431));
    }
}
