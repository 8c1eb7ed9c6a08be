//! Reads the bytes of one answer and reports its events.

use crate::body::opening::{Opening, Shape};
use crate::body::sse::{MAX_EVENT, SseEvent, SseParser};
use crate::endpoints::{EndpointSpec, Protocol};
use crate::kserve::framing::Messages;
use crate::kserve::generate;
use crate::kserve::infer::document::Document;
use crate::kserve::infer::message::{InferMessage, StreamMessage};
use crate::kserve::infer::outputs::OutputReader;
use crate::limits::MAX_BODY;
use crate::objects::{ObjectForm, Objects, excerpt};
use crate::openai::choices::failure_message;
use streamgauge_core::Event;
use streamgauge_core::kserve::Kserve;
use streamgauge_core::tensor::Tensor;

/// The message about bytes after the last response.
const AFTER_THE_LAST: &str = "a response after the last one";

/// What a decoder needs to know about the request and about the head of its answer.
#[derive(Clone, Copy, Debug, Default)]
pub struct AnswerContext<'a> {
    /// The number of the request, which answers over gRPC must repeat.
    pub id: u64,
    /// The outputs that are expected, byte for byte.
    pub expected: &'a [Tensor],
    /// The header `Inference-Header-Content-Length` of the answer.
    pub header_length: Option<usize>,
    /// The header `grpc-encoding` of the answer.
    pub encoding: Option<&'a str>,
}

/// Reads one answer. After [`Event::Malformed`] it reports nothing more.
#[derive(Debug)]
pub struct Decoder {
    body: Body,
    reader: Reader,
}

/// The parser of a body's bytes.
#[derive(Debug)]
pub(crate) enum Body {
    /// The first bytes have not shown yet what the body is.
    Unknown(Opening),
    Events(SseParser),
    Messages(Messages),
    Whole(Vec<u8>),
}

impl Decoder {
    pub(crate) fn new(body: Body, reader: Reader) -> Decoder {
        Decoder { body, reader }
    }

    /// Whether the answer itself says when it is complete, so that an answer that ended without that was cut off. Any other answer is
    /// complete when its framing is, such as a stream of Triton's generate extension.
    pub fn says_when_complete(&self) -> bool {
        match &self.body {
            Body::Unknown(opening) => opening.is_promised() && self.reader.says_done,
            Body::Events(_) => self.reader.says_done,
            Body::Messages(_) => self.reader.streaming,
            Body::Whole(_) => false,
        }
    }

    /// Reads the next bytes of the body, cut anywhere, and reports what they complete.
    pub fn feed(&mut self, bytes: &[u8], on: &mut impl FnMut(Event<'_>)) {
        if let Body::Unknown(opening) = &mut self.body {
            let is_endless = opening.len() + bytes.len() > MAX_BODY;
            let Some(shape) = opening.read(bytes).or(is_endless.then_some(Shape::Whole)) else { return };
            let head = opening.take();
            self.body = shape.into();
            self.read(&head, on);
        }
        self.read(bytes, on);
    }

    /// Reads the next bytes of a body whose kind is known.
    fn read(&mut self, bytes: &[u8], on: &mut impl FnMut(Event<'_>)) {
        if self.reader.stopped {
            return;
        }
        match &mut self.body {
            Body::Unknown(_) => {}
            Body::Events(parser) => parser.feed(bytes, &mut |event| self.reader.event(event, on)),
            Body::Messages(messages) => {
                let fed = messages.feed(bytes, &mut |message| self.reader.message(message, on));
                let is_cut = fed.is_err() || !messages.is_between();
                match fed {
                    _ if self.reader.stopped => {}
                    // Further bytes of a stream belong to another answer, which has a decoder of its own.
                    _ if self.reader.over && is_cut => self.reader.stop(AFTER_THE_LAST, on),
                    Err(why) => self.reader.stop(&why, on),
                    Ok(()) => {}
                }
            }
            Body::Whole(kept) if kept.len() + bytes.len() > MAX_BODY => {
                *kept = Vec::new();
                self.reader.stop(&format!("the answer is longer than {} MiB", MAX_BODY >> 20), on);
            }
            Body::Whole(kept) => kept.extend_from_slice(bytes),
        }
    }

    /// Ends the body. Call this only when the body ended as its framing promised, and a gRPC call with the status OK: the rest of a body
    /// that was cut off is missing, not malformed.
    pub fn finish(&mut self, on: &mut impl FnMut(Event<'_>)) {
        if let Body::Unknown(opening) = &mut self.body {
            let (head, shape) = (opening.take(), opening.shape_at_end());
            self.body = shape.into();
            self.read(&head, on);
        }
        if self.reader.stopped {
            return;
        }
        match &mut self.body {
            Body::Unknown(_) => {}
            Body::Events(parser) => {
                self.reader.ending = true;
                parser.finish(&mut |event| self.reader.event(event, on));
            }
            Body::Messages(messages) if !messages.is_between() => {
                self.reader.stop("the answer ends inside a message", on)
            }
            Body::Messages(_) if !self.reader.streaming && !self.reader.over => {
                self.reader.stop("the answer is empty", on)
            }
            Body::Messages(_) => {}
            Body::Whole(kept) if kept.trim_ascii().is_empty() => self.reader.stop("the answer is empty", on),
            Body::Whole(kept) => self.reader.whole(kept, on),
        }
        self.reader.stopped = true;
    }
}

impl From<Shape> for Body {
    fn from(shape: Shape) -> Body {
        match shape {
            Shape::Events => Body::Events(SseParser::default()),
            Shape::Whole => Body::Whole(Vec::new()),
        }
    }
}

/// Reads the data of events, messages and whole bodies.
#[derive(Debug)]
pub(crate) struct Reader {
    spec: &'static EndpointSpec,
    streaming: bool,
    /// Whether a stream says that it is complete.
    says_done: bool,
    objects: Objects,
    outputs: OutputReader,
    /// The number of the request, which answers over gRPC repeat.
    id: String,
    /// Whether a response that does not say whether it is the last one counts as the last one.
    final_by_default: bool,
    /// The length of the JSON of an answer, in bytes, where binary tensors follow it.
    header: Option<usize>,
    /// Whether the last response has arrived.
    over: bool,
    /// Whether the body has ended, so that the data ended with it and not as an event does.
    ending: bool,
    /// Whether nothing more is reported.
    stopped: bool,
}

impl Reader {
    pub(crate) fn new(
        spec: &'static EndpointSpec,
        streaming: bool,
        kserve: &Kserve,
        answer: &AnswerContext<'_>,
    ) -> Reader {
        let (form, says_done) = match &spec.protocol {
            Protocol::Json(json) => (json.objects, json.says_done),
            // These answers are not read as JSON objects of this kind.
            Protocol::InferMessages | Protocol::InferDocuments => (ObjectForm::Generated, true),
        };
        let text = kserve.text_output.clone();
        let member = text.clone().unwrap_or_else(|| generate::TEXT_OUTPUT.to_owned());
        Reader {
            spec,
            streaming,
            says_done,
            objects: Objects::new(spec.name(), form, says_done, member),
            outputs: OutputReader { text, expected: answer.expected.to_vec(), shared: kserve.shared_memory.is_some() },
            id: if spec.is_grpc() { answer.id.to_string() } else { String::new() },
            final_by_default: !kserve.decoupled || !streaming,
            header: answer.header_length,
            over: false,
            ending: false,
            stopped: false,
        }
    }

    fn event(&mut self, event: SseEvent<'_>, on: &mut impl FnMut(Event<'_>)) {
        if self.stopped {
            return;
        }
        match event {
            SseEvent::Comment => on(Event::Empty),
            SseEvent::Message { name: b"error", data } => on(Event::Error { message: &failure_message(data) }),
            SseEvent::Message { data, .. } => {
                let mut is_done = false;
                self.data(data, &mut |event| {
                    is_done |= matches!(event, Event::Done);
                    on(event);
                });
                // Further bytes do not belong to the answer, wherever the network cuts them.
                self.stopped |= is_done;
            }
            SseEvent::TooLong => self.stop(&format!("an event longer than {} MiB", MAX_EVENT >> 20), on),
        }
    }

    fn data(&mut self, data: &[u8], on: &mut impl FnMut(Event<'_>)) {
        let read = match self.spec.protocol {
            // Answers of KServe v2 are not streams of events. If one is, each event may still be a document.
            Protocol::InferMessages | Protocol::InferDocuments => match data.trim_ascii() {
                b"" => return on(Event::Empty),
                b"[DONE]" => return on(Event::Done),
                _ => return self.document(data, None, on),
            },
            Protocol::Json(_) => self.objects.data(data, self.ending, on),
        };
        if let Err(why) = read {
            self.stop(&why, on);
        }
    }

    /// Reads a whole body.
    fn whole(&mut self, body: &[u8], on: &mut impl FnMut(Event<'_>)) {
        let read = match self.spec.protocol {
            Protocol::InferMessages | Protocol::InferDocuments => return self.document(body, self.header, on),
            Protocol::Json(_) => self.objects.whole(body, on),
        };
        if let Err(why) = read {
            self.stop(&why, on);
        }
    }

    /// Reads an answer of HTTP inference.
    fn document(&mut self, body: &[u8], header: Option<usize>, on: &mut impl FnMut(Event<'_>)) {
        let document = match Document::read(body, header) {
            Ok(document) => document,
            Err(why) => return self.refuse(&why, body, on),
        };
        if document.is_error {
            return on(Event::Error { message: &failure_message(document.json) });
        }
        match self.outputs.report(&document, on) {
            Ok(true) => {}
            Ok(false) => on(Event::Empty),
            Err(why) => self.refuse(&why, body, on),
        }
    }

    /// Reads a message of gRPC inference. Returns whether to go on.
    fn message(&mut self, bytes: &[u8], on: &mut impl FnMut(Event<'_>)) -> bool {
        if self.over {
            self.stop(AFTER_THE_LAST, on);
            return false;
        }
        let message = match self.streaming {
            true => StreamMessage::read(bytes),
            false => InferMessage::read(bytes).map(|response| StreamMessage { error: "", response: Some(response) }),
        };
        match message.and_then(|message| self.response(&message, on)) {
            Ok(()) => {}
            Err(why) => self.refuse(&why, bytes, on),
        }
        !self.stopped
    }

    fn response(&mut self, message: &StreamMessage<'_>, on: &mut impl FnMut(Event<'_>)) -> Result<(), String> {
        let id = message.response.as_ref().map(|response| response.id).unwrap_or_default();
        // A failure that was found before the request could be read has no id.
        let is_anonymous_failure = id.is_empty() && !message.error.is_empty();
        if id != self.id && !is_anonymous_failure {
            return Err(format!("a response to request `{id}`, and this is request `{}`", self.id));
        }
        if !message.error.is_empty() {
            on(Event::Error { message: message.error });
        }
        let Some(response) = &message.response else { return Ok(()) };
        let has_outputs = self.outputs.report(response, on)?;
        if !has_outputs && message.error.is_empty() {
            on(Event::Empty);
        }
        if response.is_final.unwrap_or(self.final_by_default) {
            self.over = true;
            if self.streaming {
                on(Event::Done);
            }
        }
        Ok(())
    }

    fn refuse(&mut self, why: &str, bytes: &[u8], on: &mut impl FnMut(Event<'_>)) {
        let what = if self.spec.is_grpc() { "response" } else { "answer" };
        self.stop(&format!("not a {} {what}: {why}: {}", self.spec.name(), excerpt(bytes)), on);
    }

    fn stop(&mut self, message: &str, on: &mut impl FnMut(Event<'_>)) {
        self.stopped = true;
        on(Event::Malformed { message });
    }
}
