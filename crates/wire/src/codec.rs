//! The codec of an endpoint: prompts to request bodies, bytes of answers to events.

use crate::answer::{failure_message, read};
use crate::chat::{self, ChatChoice};
use crate::completions::{self, CompletionsChoice};
use crate::encoded::{Dressed, EncodeError, Encoded, SharedPlace, Tag};
use crate::grpc;
use crate::sse::{MAX_EVENT, SseEvent, SseParser};
use crate::template::Template;
use serde_json::{Map, Value, json};
use streamgauge_core::plan::{Endpoint, EndpointKind};
use streamgauge_core::tensor::Tensor;
use streamgauge_core::{Event, Prompt};

/// The longest answer that is not a stream, in bytes.
pub const MAX_BODY: usize = 64 << 20;

/// How much of malformed bytes is shown, in characters.
const EXCERPT: usize = 120;

/// What a decoder must know of the request that is answered, and of the answer's head.
#[derive(Clone, Copy, Debug, Default)]
pub struct AnswerTo<'a> {
    /// The request's id, which answers over gRPC must repeat.
    pub id: u64,
    /// What outputs must be, byte for byte.
    pub expected: &'a [Tensor],
    /// The answer's `Inference-Header-Content-Length`.
    pub header_length: Option<usize>,
    /// The answer's `grpc-encoding`.
    pub encoding: Option<&'a str>,
}

/// How an endpoint is spoken to.
#[derive(Clone, Debug)]
pub struct Codec {
    kind: EndpointKind,
    streaming: bool,
    ask_usage: bool,
    output_exact: bool,
    extra: Map<String, Value>,
}

impl Codec {
    /// The codec of `endpoint`. With `output_exact`, a request that asks for an output length asks for exactly that.
    pub fn new(endpoint: &Endpoint, output_exact: bool) -> Codec {
        Codec {
            kind: endpoint.kind,
            streaming: endpoint.streaming,
            ask_usage: endpoint.ask_usage,
            output_exact,
            extra: endpoint.extra.clone(),
        }
    }

    /// The body of the request for `prompt`. Its members stand in the order in which GenAI-Perf writes them, ours after
    /// them; those that the user added come last, or in the place of the one they replace.
    ///
    /// This is what a request says, for files; what is sent is [`Codec::encode`]'s.
    pub fn shown(&self, prompt: &Prompt) -> Value {
        let mut body = match self.kind {
            EndpointKind::Chat => chat::opening(prompt),
            EndpointKind::Completions => completions::opening(prompt),
            EndpointKind::Generate | EndpointKind::KserveGrpc | EndpointKind::KserveHttp => Map::new(),
        };
        if self.streaming {
            body.insert("stream".into(), true.into());
        }
        if let Some(length) = prompt.want_out {
            body.insert("max_tokens".into(), length.into());
            if self.output_exact {
                body.insert("min_tokens".into(), length.into());
                body.insert("ignore_eos".into(), true.into());
            }
        }
        if self.streaming && self.ask_usage {
            body.insert("stream_options".into(), json!({"include_usage": true}));
        }
        body.extend(self.extra.clone());
        Value::Object(body)
    }

    /// The request for `prompt`.
    ///
    /// # Errors
    /// When the endpoint cannot be sent such a prompt.
    pub fn encode(&self, prompt: &Prompt) -> Result<Encoded, EncodeError> {
        let body = self.shown(prompt).to_string().into_bytes();
        let json = body.len();
        Ok(Encoded { body, json })
    }

    /// The request for `prompt`, whose tensors lie in shared memory at `place`. Of endpoints without tensors, as
    /// [`Codec::encode`].
    ///
    /// # Errors
    /// As [`Codec::encode`].
    pub fn encode_shared(&self, prompt: &Prompt, place: &SharedPlace) -> Result<Encoded, EncodeError> {
        let _ = place;
        self.encode(prompt)
    }

    /// The bytes of one sending; none where they are the encoded body as it is.
    pub fn dress(&self, encoded: &Encoded, tag: &Tag) -> Option<Dressed> {
        let _ = tag;
        match self.kind {
            EndpointKind::KserveGrpc => Some(Dressed { body: grpc::framed(&encoded.body), json: 0 }),
            _ => None,
        }
    }

    /// The `Content-Type` of requests. Of KServe v2 over HTTP it is that of requests with binary tensors where the plan wants
    /// them.
    pub fn content_type(&self) -> &'static str {
        match self.kind {
            EndpointKind::KserveGrpc => "application/grpc",
            _ => "application/json",
        }
    }

    /// A decoder for one answer with this `Content-Type`: an event stream, or else a whole JSON body; with gRPC the bytes of its
    /// messages.
    pub fn decoder(&self, content_type: Option<&str>, answer: AnswerTo<'_>) -> Decoder {
        let _ = answer;
        let media_type = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
        let body = if media_type.eq_ignore_ascii_case("text/event-stream") {
            Body::Events(SseParser::default())
        } else {
            Body::Whole(Vec::new())
        };
        Decoder { body, reader: Reader { kind: self.kind, template: Template::default(), stopped: false } }
    }
}

/// Reads one answer. After [`Event::Malformed`] it reports nothing more.
#[derive(Debug)]
pub struct Decoder {
    body: Body,
    reader: Reader,
}

#[derive(Debug)]
enum Body {
    Events(SseParser),
    Whole(Vec<u8>),
}

impl Decoder {
    /// Whether the body is a stream of events, which says of itself when it is complete; any other body is complete when
    /// its framing is.
    pub fn is_stream(&self) -> bool {
        matches!(self.body, Body::Events(_))
    }

    /// Whether the body says of itself when it is complete, so that one whose framing ended without that was cut off.
    pub fn says_when_complete(&self) -> bool {
        self.is_stream()
    }

    /// Reads the next bytes of the body, cut anywhere, and reports what they complete.
    pub fn feed(&mut self, bytes: &[u8], on: &mut impl FnMut(Event<'_>)) {
        if self.reader.stopped {
            return;
        }
        match &mut self.body {
            Body::Events(parser) => parser.feed(bytes, &mut |event| self.reader.event(event, on)),
            Body::Whole(kept) if kept.len() + bytes.len() > MAX_BODY => {
                *kept = Vec::new();
                self.reader.stop(&format!("the answer is longer than {} MiB", MAX_BODY >> 20), on);
            }
            Body::Whole(kept) => kept.extend_from_slice(bytes),
        }
    }

    /// Ends the body. To be called only when it ended as its framing promised: of a body that was cut off, the rest is
    /// not malformed but missing.
    pub fn finish(&mut self, on: &mut impl FnMut(Event<'_>)) {
        if self.reader.stopped {
            return;
        }
        match &mut self.body {
            Body::Events(parser) => parser.finish(&mut |event| self.reader.event(event, on)),
            Body::Whole(kept) if kept.trim_ascii().is_empty() => self.reader.stop("the answer is empty", on),
            Body::Whole(kept) => self.reader.object(kept, Extent::Whole, on),
        }
        self.reader.stopped = true;
    }
}

/// Whether an object is a part of an answer or all of it.
#[derive(Clone, Copy)]
enum Extent {
    Chunk,
    Whole,
}

/// Reads the data of events, and whole bodies.
#[derive(Debug)]
struct Reader {
    kind: EndpointKind,
    template: Template,
    /// Nothing more is reported.
    stopped: bool,
}

impl Reader {
    fn event(&mut self, event: SseEvent<'_>, on: &mut impl FnMut(Event<'_>)) {
        if self.stopped {
            return;
        }
        match event {
            SseEvent::Comment => on(Event::Empty),
            SseEvent::Message { name: b"error", data } => on(Event::Error { message: &failure_message(data) }),
            SseEvent::Message { data, .. } => self.data(data, on),
            SseEvent::TooLong => self.stop(&format!("an event longer than {} MiB", MAX_EVENT >> 20), on),
        }
    }

    fn data(&mut self, data: &[u8], on: &mut impl FnMut(Event<'_>)) {
        if let Some((kind, choice, text)) = self.template.read(data) {
            return on(Event::Output { kind, choice, text });
        }
        match data.trim_ascii() {
            b"" => on(Event::Empty),
            b"[DONE]" => on(Event::Done),
            _ => self.object(data, Extent::Chunk, on),
        }
    }

    fn object(&mut self, bytes: &[u8], extent: Extent, on: &mut impl FnMut(Event<'_>)) {
        // Checked as a whole: the JSON parser looks only at the strings that somebody wants.
        let Ok(text) = std::str::from_utf8(bytes) else {
            return self.refuse(extent, "invalid UTF-8", bytes, on);
        };
        let template = match extent {
            Extent::Chunk => Some(&mut self.template),
            Extent::Whole => None,
        };
        let result = match self.kind {
            EndpointKind::Chat => read::<ChatChoice<'_>>(text, template, on),
            EndpointKind::Completions => read::<CompletionsChoice<'_>>(text, template, on),
            EndpointKind::Generate | EndpointKind::KserveGrpc | EndpointKind::KserveHttp => Ok(()),
        };
        if let Err(error) = result {
            self.refuse(extent, &error.to_string(), bytes, on);
        }
    }

    fn refuse(&mut self, extent: Extent, why: &str, bytes: &[u8], on: &mut impl FnMut(Event<'_>)) {
        let what = match extent {
            Extent::Chunk => "chunk",
            Extent::Whole => "answer",
        };
        self.stop(&format!("not a {} {what}: {why}: {}", self.kind.name(), excerpt(bytes)), on);
    }

    fn stop(&mut self, message: &str, on: &mut impl FnMut(Event<'_>)) {
        self.stopped = true;
        on(Event::Malformed { message });
    }
}

/// The beginning of some bytes, for people; escaped where they are not text.
fn excerpt(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.chars().take(EXCERPT).collect(),
        Err(_) => bytes.escape_ascii().take(EXCERPT).map(char::from).collect(),
    }
}

#[cfg(test)]
mod tests;
