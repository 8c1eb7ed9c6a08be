//! Bytes of one answer to events.

use crate::answer::{failure_message, read};
use crate::chat::ChatChoice;
use crate::codec::AnswerTo;
use crate::completions::CompletionsChoice;
use crate::generate;
use crate::grpc::Messages;
use crate::infer::answer::OutputReader;
use crate::infer::document::Document;
use crate::infer::message::{InferMessage, StreamMessage};
use crate::sse::{MAX_EVENT, SseEvent, SseParser};
use crate::template::Template;
use streamgauge_core::Event;
use streamgauge_core::kserve::Kserve;
use streamgauge_core::plan::EndpointKind;

/// The longest answer that is not a stream, and the longest message of one, in bytes.
pub const MAX_BODY: usize = 64 << 20;

/// What is wrong with any bytes behind the last response.
const AFTER_THE_LAST: &str = "a response after the last one";

/// How much of malformed bytes is shown, in characters.
const EXCERPT: usize = 4_096;

/// Reads one answer. After [`Event::Malformed`] it reports nothing more.
#[derive(Debug)]
pub struct Decoder {
    body: Body,
    reader: Reader,
}

/// What the bytes of a body are.
#[derive(Debug)]
pub(crate) enum Body {
    Events(SseParser),
    Messages(Messages),
    Whole(Vec<u8>),
}

impl Decoder {
    pub(crate) fn new(body: Body, reader: Reader) -> Decoder {
        Decoder { body, reader }
    }

    /// Whether the answer says of itself when it is complete, so that one that ended without that was cut off. Any other is
    /// complete when its framing is; so are the streams of Triton's generate extension.
    pub fn says_when_complete(&self) -> bool {
        match self.body {
            Body::Events(_) => self.reader.kind != EndpointKind::Generate,
            Body::Messages(_) => self.reader.streaming,
            Body::Whole(_) => false,
        }
    }

    /// Reads the next bytes of the body, cut anywhere, and reports what they complete.
    pub fn feed(&mut self, bytes: &[u8], on: &mut impl FnMut(Event<'_>)) {
        if self.reader.stopped {
            return;
        }
        match &mut self.body {
            Body::Events(parser) => parser.feed(bytes, &mut |event| self.reader.event(event, on)),
            Body::Messages(messages) => {
                let fed = messages.feed(bytes, &mut |message| self.reader.message(message, on));
                let is_cut = fed.is_err() || !messages.is_between();
                match fed {
                    _ if self.reader.stopped => {}
                    // Whatever it is: what follows on a stream is for another decoder, and must not begin here.
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

    /// Ends the body. To be called only when it ended as its framing promised, and a gRPC call with status OK: of a body that was
    /// cut off, the rest is not malformed but missing.
    pub fn finish(&mut self, on: &mut impl FnMut(Event<'_>)) {
        if self.reader.stopped {
            return;
        }
        match &mut self.body {
            Body::Events(parser) => parser.finish(&mut |event| self.reader.event(event, on)),
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

/// Whether an object is a part of an answer or all of it.
#[derive(Clone, Copy)]
enum Extent {
    Chunk,
    Whole,
}

/// Reads the data of events, messages, and whole bodies.
#[derive(Debug)]
pub(crate) struct Reader {
    kind: EndpointKind,
    streaming: bool,
    template: Template,
    outputs: OutputReader,
    /// The request's id, which gRPC's answers repeat.
    id: String,
    /// A response that does not say whether it is the last one is.
    final_by_default: bool,
    /// Bytes of an answer's JSON, where there is more.
    header: Option<usize>,
    /// The last response has come.
    over: bool,
    /// Nothing more is reported.
    stopped: bool,
}

impl Reader {
    pub(crate) fn new(kind: EndpointKind, streaming: bool, kserve: &Kserve, answer: &AnswerTo<'_>) -> Reader {
        let text = match (kind, &kserve.text_output) {
            (EndpointKind::Generate, None) => Some(generate::TEXT_OUTPUT.to_owned()),
            (_, text) => text.clone(),
        };
        Reader {
            kind,
            streaming,
            template: Template::default(),
            outputs: OutputReader { text, expected: answer.expected.to_vec(), shared: kserve.shared_memory.is_some() },
            id: if kind == EndpointKind::KserveGrpc { answer.id.to_string() } else { String::new() },
            final_by_default: !kserve.decoupled || !streaming,
            header: answer.header_length,
            over: false,
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

    /// Reads a whole body.
    fn whole(&mut self, body: &[u8], on: &mut impl FnMut(Event<'_>)) {
        match self.kind {
            EndpointKind::KserveHttp => self.document(body, self.header, on),
            _ => self.object(body, Extent::Whole, on),
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
            EndpointKind::Generate => {
                generate::read(text, self.outputs.text.as_deref().unwrap_or_default(), template, on)
            }
            // No such answer is a stream of objects; one that is may still be a document each.
            EndpointKind::KserveGrpc | EndpointKind::KserveHttp => return self.document(bytes, None, on),
        };
        if let Err(error) = result {
            self.refuse(extent, &error.to_string(), bytes, on);
        }
    }

    /// Reads an answer of HTTP inference.
    fn document(&mut self, body: &[u8], header: Option<usize>, on: &mut impl FnMut(Event<'_>)) {
        let document = match Document::read(body, header) {
            Ok(document) => document,
            Err(why) => return self.refuse(Extent::Whole, &why, body, on),
        };
        if document.is_error {
            return on(Event::Error { message: &failure_message(document.json) });
        }
        match self.outputs.report(&document, on) {
            Ok(true) => {}
            Ok(false) => on(Event::Empty),
            Err(why) => self.refuse(Extent::Whole, &why, body, on),
        }
    }

    /// Reads a message of gRPC inference; whether to go on.
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
            Err(why) => self.refuse(Extent::Chunk, &why, bytes, on),
        }
        !self.stopped
    }

    fn response(&mut self, message: &StreamMessage<'_>, on: &mut impl FnMut(Event<'_>)) -> Result<(), String> {
        let id = message.response.as_ref().map(|response| response.id).unwrap_or_default();
        // A failure that was found before the request could be read has none.
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

    fn refuse(&mut self, extent: Extent, why: &str, bytes: &[u8], on: &mut impl FnMut(Event<'_>)) {
        let what = match (self.kind, extent) {
            (EndpointKind::KserveGrpc, _) => "response",
            (_, Extent::Chunk) => "chunk",
            (_, Extent::Whole) => "answer",
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
mod tests {
    use super::*;
    use streamgauge_core::OutputKind;

    #[test]
    fn a_steady_stream_is_read_by_the_template() {
        for (kind, before, after, more) in [
            (
                EndpointKind::Chat,
                r#"{"id":"a","choices":[{"index":0,"delta":{"content":"#,
                r#"},"finish_reason":null}]}"#,
                [
                    r#"{"choices":[{"delta":{"content":"x"},"finish_reason":"stop"}]}"#,
                    r#"{"choices":[{"delta":{"content":"x"}}]}"#,
                ],
            ),
            (
                EndpointKind::Generate,
                r#"{"model_name":"m","text_output":"#,
                r#","sequence_length":1}"#,
                [r#"{"text_output":"x","finish_reason":"stop"}"#, r#"{"text_output":"x"}"#],
            ),
        ] {
            let mut reader = Reader::new(kind, true, &Kserve::default(), &AnswerTo::default());
            let chunk = |text: &str| format!("{before}\"{text}\"{after}").into_bytes();
            reader.data(&chunk("one"), &mut |_| {});
            assert_eq!(reader.template.read(&chunk("two")), Some((OutputKind::Text, 0, "two")));
            // Neither an escaped text nor a chunk that says more than its text makes it forget.
            reader.data(&chunk("\\n"), &mut |_| {});
            reader.data(more[0].as_bytes(), &mut |_| {});
            assert_eq!(reader.template.read(&chunk("two")), Some((OutputKind::Text, 0, "two")));
            // Another chunk with a text alone is learnt instead.
            reader.data(more[1].as_bytes(), &mut |_| {});
            assert_eq!(reader.template.read(&chunk("two")), None);
        }
    }
}
