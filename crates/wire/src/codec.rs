//! The codec of an endpoint: prompts to request bodies, bytes of answers to events.

use crate::body::opening::Opening;
use crate::body::sse::SseParser;
use crate::decoder::{AnswerTo, Body, Decoder, Reader};
use crate::encoded::{Dressed, EncodeError, Encoded, SharedPlace, Tag};
use crate::kserve::framing::Messages;
use crate::kserve::generate;
use crate::kserve::infer::request;
use crate::openai::{chat, completions};
use serde_json::{Map, Value, json};
use streamgauge_core::Prompt;
use streamgauge_core::kserve::{Kserve, TensorFormat};
use streamgauge_core::plan::{Endpoint, EndpointKind, LengthField};
use streamgauge_core::prompt::Payload;

/// How an endpoint is spoken to.
#[derive(Clone, Debug)]
pub struct Codec {
    kind: EndpointKind,
    streaming: bool,
    ask_usage: bool,
    continuous_usage: bool,
    length_field: LengthField,
    output_exact: bool,
    extra: Map<String, Value>,
    kserve: Box<Kserve>,
}

impl Codec {
    /// The codec of `endpoint`. With `output_exact`, a request that asks for an output length asks for exactly that.
    pub fn new(endpoint: &Endpoint, output_exact: bool) -> Codec {
        Codec {
            kind: endpoint.kind,
            // A decoupled model is called over a stream whether or not one was asked for.
            streaming: endpoint.streaming || endpoint.calls_stream(),
            ask_usage: endpoint.ask_usage,
            continuous_usage: endpoint.continuous_usage,
            length_field: endpoint.length_field,
            output_exact,
            extra: endpoint.extra.clone(),
            kserve: endpoint.kserve.clone().unwrap_or_default(),
        }
    }

    /// What the request for `prompt` says, as GenAI-Perf's files show it; what is sent is [`Codec::encode`]'s.
    ///
    /// Of a JSON body its members stand in the order in which GenAI-Perf writes them, ours after them; those that the user
    /// added come last, or in the place of the one they replace. The prompt of a completion is a list, as GenAI-Perf's parser
    /// wants it, also where it is sent as a plain text. Of tensors it is the model and the inputs, in their order.
    pub fn shown(&self, prompt: &Prompt) -> Value {
        if matches!(self.kind, EndpointKind::KserveGrpc | EndpointKind::KserveHttp) {
            return Value::Object(request::shown(prompt));
        }
        self.body(prompt, completions::listed)
    }

    /// The JSON body of the request for `prompt`, whose texts `texts` makes the prompt of a completion.
    fn body(&self, prompt: &Prompt, texts: fn(&[String]) -> Value) -> Value {
        let mut body = match (&prompt.payload, self.kind) {
            (Payload::Body(Value::Object(body)), _) => body.clone(),
            // No object has room for added members.
            (Payload::Body(body), _) => return body.clone(),
            (_, EndpointKind::Generate) => {
                generate::body(prompt, self.kserve.backend, self.streaming, self.output_exact)
            }
            (_, EndpointKind::Chat) => self.with_wishes(chat::opening(prompt), prompt),
            (_, _) => self.with_wishes(completions::opening(prompt, texts), prompt),
        };
        body.extend(self.extra.clone());
        // What belongs to one request says more than what belongs to all.
        if let Payload::Members(members) = &prompt.payload {
            body.extend(members.clone());
        }
        Value::Object(body)
    }

    /// What requests of all OpenAI-style endpoints ask for.
    fn with_wishes(&self, mut body: Map<String, Value>, prompt: &Prompt) -> Map<String, Value> {
        if self.streaming {
            body.insert("stream".into(), true.into());
        }
        if let Some(length) = prompt.requested_output_tokens {
            body.insert(self.length_field.name().into(), length.into());
            if self.output_exact {
                body.insert("min_tokens".into(), length.into());
                body.insert("ignore_eos".into(), true.into());
            }
        }
        if self.streaming && self.ask_usage {
            let mut options = json!({"include_usage": true});
            if self.continuous_usage {
                options["continuous_usage_stats"] = true.into();
            }
            body.insert("stream_options".into(), options);
        }
        body
    }

    /// The request for `prompt`.
    ///
    /// # Errors
    /// When the endpoint cannot be sent such a prompt.
    pub fn encode(&self, prompt: &Prompt) -> Result<Encoded, EncodeError> {
        self.encode_at(prompt, None)
    }

    /// The request for `prompt`, whose tensors lie in shared memory at `place`. Of endpoints without tensors, as
    /// [`Codec::encode`].
    ///
    /// # Errors
    /// As [`Codec::encode`], and when outputs that go to shared memory are to be compared.
    pub fn encode_shared(&self, prompt: &Prompt, place: &SharedPlace) -> Result<Encoded, EncodeError> {
        self.encode_at(prompt, Some(place))
    }

    fn encode_at(&self, prompt: &Prompt, place: Option<&SharedPlace>) -> Result<Encoded, EncodeError> {
        match self.kind {
            EndpointKind::KserveGrpc => request::message(prompt, &self.kserve, self.streaming, place),
            EndpointKind::KserveHttp => request::document(prompt, &self.kserve, place),
            EndpointKind::Chat | EndpointKind::Completions | EndpointKind::Generate => {
                let body = self.body(prompt, completions::sole).to_string().into_bytes();
                let json = body.len();
                Ok(Encoded { body, json })
            }
        }
    }

    /// The bytes of one sending; none where they are the encoded body as it is.
    pub fn dress(&self, encoded: &Encoded, tag: &Tag) -> Option<Dressed> {
        match self.kind {
            EndpointKind::KserveGrpc => Some(request::dressed_message(&encoded.body, self.kserve.compression, tag)),
            EndpointKind::KserveHttp => tag.sequence.map(|sequence| request::dressed_document(encoded, sequence)),
            EndpointKind::Chat | EndpointKind::Completions | EndpointKind::Generate => None,
        }
    }

    /// The `Content-Type` of requests.
    pub fn content_type(&self) -> &'static str {
        match self.kind {
            EndpointKind::KserveGrpc => "application/grpc",
            EndpointKind::KserveHttp if self.kserve.input_format == TensorFormat::Binary => "application/octet-stream",
            _ => "application/json",
        }
    }

    /// A decoder for one answer with this `Content-Type`: an event stream, or else a whole body; of gRPC the bytes of its
    /// messages, for one request of a stream that has many.
    ///
    /// Where a stream was asked for, or is promised by the `Content-Type`, the body's first bytes decide: servers send streams
    /// under other types or none, and whole answers for streams.
    pub fn decoder(&self, content_type: Option<&str>, answer: AnswerTo<'_>) -> Decoder {
        let media_type = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
        let is_promised = media_type.eq_ignore_ascii_case("text/event-stream");
        let body = match self.kind {
            EndpointKind::KserveGrpc => Body::Messages(Messages::new(answer.encoding)),
            EndpointKind::KserveHttp if is_promised => Body::Events(SseParser::default()),
            EndpointKind::KserveHttp => Body::Whole(Vec::new()),
            _ if is_promised || self.streaming => Body::Unknown(Opening::new(is_promised)),
            _ => Body::Whole(Vec::new()),
        };
        Decoder::new(body, Reader::new(self.kind, self.streaming, &self.kserve, &answer))
    }
}

#[cfg(test)]
mod odd_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vendor_tests;
