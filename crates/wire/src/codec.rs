//! The codec of an endpoint makes request bodies from prompts, and events from the bytes of answers.

use crate::body::opening::Opening;
use crate::body::sse::SseParser;
use crate::decoder::{AnswerContext, Body, Decoder, Reader};
use crate::encoded::{EncodeError, Encoded, SharedPlace, Tag, TaggedRequest};
use crate::endpoints::{self, EndpointSpec, JsonProtocol, Protocol};
use crate::kserve::framing::Messages;
use crate::kserve::infer::request;
use crate::options::{BodyOptions, TextForm};
use serde_json::{Map, Value};
use streamgauge_core::Prompt;
use streamgauge_core::kserve::{Kserve, TensorFormat};
use streamgauge_core::plan::Endpoint;
use streamgauge_core::prompt::{Content, Part, Payload};

/// Makes the requests of an endpoint and reads its answers.
#[derive(Clone, Debug)]
pub struct Codec {
    spec: &'static EndpointSpec,
    options: BodyOptions,
    extra: Map<String, Value>,
    kserve: Kserve,
}

impl Codec {
    /// The codec of `endpoint`. With `output_exact`, a request that asks for an output length asks for exactly that length.
    pub fn new(endpoint: &Endpoint, output_exact: bool) -> Codec {
        let kserve = endpoint.kserve.clone();
        Codec {
            spec: endpoints::spec(endpoint.kind),
            options: BodyOptions {
                // A decoupled model is called over a stream whether or not one was asked for.
                streaming: endpoint.streaming || endpoints::calls_stream(endpoint),
                ask_usage: endpoint.ask_usage,
                continuous_usage: endpoint.continuous_usage,
                length_field: endpoint.length_field,
                output_exact,
                backend: kserve.backend,
            },
            extra: endpoint.extra.clone(),
            kserve,
        }
    }

    /// The endpoint that it is for.
    pub fn spec(&self) -> &'static EndpointSpec {
        self.spec
    }

    /// The input of the request for `prompt`, as GenAI-Perf's files list it. What is sent is made by [`Codec::encode`].
    ///
    /// Of a JSON body its members stand in the order in which GenAI-Perf writes them, ours after them; those that the user
    /// added come last, or in the place of the one they replace. The prompt of a completion is a list, as GenAI-Perf's parser
    /// wants it, also where it is sent as a plain text. Of tensors it is the model and the inputs, in their order.
    pub fn listed_input(&self, prompt: &Prompt) -> Value {
        match &self.spec.protocol {
            Protocol::Json(json) => self.body(json, prompt, TextForm::Listed),
            Protocol::InferMessages | Protocol::InferDocuments => Value::Object(request::listed_input(prompt)),
        }
    }

    /// The JSON body of the request for `prompt`.
    fn body(&self, json: &JsonProtocol, prompt: &Prompt, form: TextForm) -> Value {
        let mut body = match &prompt.payload {
            Payload::Body(Value::Object(body)) => body.clone(),
            // A body that is not an object has no room for added members.
            Payload::Body(body) => return body.clone(),
            Payload::FromContent | Payload::Members(_) | Payload::Tensors { .. } => {
                (json.body)(&self.options, prompt, form)
            }
        };
        body.extend(self.extra.clone());
        // The members of one request take precedence over those of all requests.
        if let Payload::Members(members) = &prompt.payload {
            body.extend(members.clone());
        }
        Value::Object(body)
    }

    /// The request for `prompt`.
    ///
    /// # Errors
    /// When the endpoint cannot be sent such a prompt.
    pub fn encode(&self, prompt: &Prompt) -> Result<Encoded, EncodeError> {
        self.encode_at(prompt, None)
    }

    /// The request for `prompt`, whose tensors are in shared memory at `place`. For endpoints without tensors this is
    /// [`Codec::encode`].
    ///
    /// # Errors
    /// As [`Codec::encode`], and when outputs that go to shared memory are to be compared.
    pub fn encode_shared(&self, prompt: &Prompt, place: &SharedPlace) -> Result<Encoded, EncodeError> {
        self.encode_at(prompt, Some(place))
    }

    fn encode_at(&self, prompt: &Prompt, place: Option<&SharedPlace>) -> Result<Encoded, EncodeError> {
        if !self.spec.capabilities.media && has_media(prompt) {
            return Err(EncodeError::NoMedia(self.spec.name()));
        }
        match &self.spec.protocol {
            Protocol::InferMessages => request::message(prompt, &self.kserve, self.options.streaming, place),
            Protocol::InferDocuments => request::document(prompt, &self.kserve, place),
            Protocol::Json(json) => {
                let body = self.body(json, prompt, TextForm::Sent);
                let outputs = (json.outputs)(&body);
                let body = body.to_string().into_bytes();
                Ok(Encoded { json: body.len(), body, outputs })
            }
        }
    }

    /// The request with its tag. `None` if the encoded body is sent as it is.
    pub fn with_tag(&self, encoded: &Encoded, tag: &Tag) -> Option<TaggedRequest> {
        match self.spec.protocol {
            Protocol::InferMessages => Some(request::tagged_message(&encoded.body, self.kserve.compression, tag)),
            Protocol::InferDocuments => tag.sequence.map(|sequence| request::tagged_document(encoded, sequence)),
            Protocol::Json(_) => None,
        }
    }

    /// The `Content-Type` of requests.
    pub fn content_type(&self) -> &'static str {
        match self.spec.protocol {
            Protocol::InferMessages => "application/grpc",
            Protocol::InferDocuments if self.kserve.input_format == TensorFormat::Binary => "application/octet-stream",
            Protocol::InferDocuments | Protocol::Json(_) => "application/json",
        }
    }

    /// A decoder for one answer with this `Content-Type`: an event stream or a whole body. For gRPC it reads the bytes of the messages that
    /// answer one request of a stream.
    ///
    /// If a stream was requested, or the `Content-Type` promises one, the first bytes of the body decide: some servers send streams under
    /// other types or none, and whole answers instead of streams.
    pub fn decoder(&self, content_type: Option<&str>, answer: AnswerContext<'_>) -> Decoder {
        let media_type = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
        let is_promised = media_type.eq_ignore_ascii_case("text/event-stream");
        let streaming = self.options.streaming;
        let body = match self.spec.protocol {
            Protocol::InferMessages => Body::Messages(Messages::new(answer.encoding)),
            Protocol::InferDocuments if is_promised => Body::Events(SseParser::default()),
            Protocol::Json(_) if is_promised || streaming => Body::Unknown(Opening::new(is_promised)),
            Protocol::InferDocuments | Protocol::Json(_) => Body::Whole(Vec::new()),
        };
        Decoder::new(body, Reader::new(self.spec, streaming, &self.kserve, &answer))
    }
}

/// Whether a prompt has parts that are not text. A body that was given as a whole is sent as it is.
fn has_media(prompt: &Prompt) -> bool {
    let Content::Messages(messages) = &prompt.content else { return false };
    let is_whole = matches!(prompt.payload, Payload::Body(_));
    !is_whole && messages.iter().flat_map(|message| &message.parts).any(|part| matches!(part, Part::Other(_)))
}

#[cfg(test)]
mod odd_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vendor_tests;
