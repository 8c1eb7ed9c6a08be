//! Requests of HTTP/1.1, as far as a benchmark's client uses the protocol. The parser is hand-written over stamped streams, because this
//! server must know when the last byte of a request arrived.

use super::carrier::PREFACE;
use crate::refusal::Refusal;
use std::io;
use std::ops::Range;
use streamgauge_core::clock::Nanos;
use streamgauge_net::{Receipt, StampedStream};

/// The maximum length of a head.
const MAX_HEAD: usize = 64 * 1024;
/// The maximum number of header fields.
const MAX_FIELDS: usize = 96;
/// The maximum length of a body.
const MAX_BODY: usize = 64 * 1024 * 1024;
/// The initial size of a connection's buffer, to which it returns after a long request.
const INBOX: usize = 16 * 1024;

/// A complete request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// When its last byte came.
    pub(crate) received: Nanos,
    pub(crate) kernel_stamp: bool,
    /// Whether the client wants the connection closed after the answer.
    pub(crate) close: bool,
    /// The number of bytes of the body that are JSON, if others follow.
    pub(crate) json: Option<usize>,
    pub(crate) method: Method,
    /// The path, without its query.
    pub(crate) path: Box<str>,
    /// The position of the body in the connection's buffer; the next request follows it.
    pub(crate) body: Range<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Other,
    Post,
}

/// The result of reading from a connection.
#[derive(Debug)]
pub(crate) enum Incoming {
    Closed,
    Http2,
    Refused(Refusal),
    Whole(Message),
}

/// Bytes that have come and are not yet dealt with.
#[derive(Debug)]
pub(crate) struct Inbox {
    /// The buffer: `filled` bytes have arrived, the rest is free.
    pub(crate) bytes: Vec<u8>,
    pub(crate) filled: usize,
    /// The newest read.
    pub(crate) receipt: Receipt,
}

impl Default for Inbox {
    fn default() -> Inbox {
        Inbox { bytes: Vec::new(), filled: 0, receipt: Receipt { len: 0, at: Nanos::ZERO, lag: None } }
    }
}

impl Inbox {
    /// Waits for the next request; gives up when nothing comes for `close_idle`.
    pub(crate) async fn next(&mut self, io: &mut StampedStream, close_idle: Option<Nanos>) -> io::Result<Incoming> {
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
            path: head.path,
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
    pub(crate) fn drop_to(&mut self, end: usize) {
        self.bytes.copy_within(end..self.filled, 0);
        self.filled -= end;
        if self.bytes.len() > 64 * INBOX && self.filled <= INBOX {
            self.bytes.truncate(INBOX);
            self.bytes.shrink_to_fit();
        }
    }
}

/// The parts of a head that matter here.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    len: usize,
    body: usize,
    json: Option<usize>,
    method: Method,
    path: Box<str>,
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
    let target = request.path.unwrap_or_default();
    let path = target.split_once('?').map_or(target, |(path, _)| path).into();
    let mut head = Head { len, body: 0, json: None, method, path, close: false, wants_continue: false };
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
            path: "/v1/completions".into(),
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
