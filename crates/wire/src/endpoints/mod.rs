//! The endpoints that can be measured: one file for each, and the list of them.
//!
//! A file holds an [`EndpointSpec`]: the names of the endpoint, where servers offer it, what it can do, and how its requests are made and
//! its answers read. Other crates ask for a capability by its name and never compare kinds.

mod chat;
mod completions;
mod embeddings;
mod generate;
mod kserve_grpc;
mod kserve_http;

use crate::objects::ObjectForm;
use crate::options::{BodyOptions, TextForm};
use serde_json::{Map, Value};
use streamgauge_core::Prompt;
use streamgauge_core::plan::{Endpoint, EndpointKind};

/// The endpoint of that kind.
pub fn spec(kind: EndpointKind) -> &'static EndpointSpec {
    match kind {
        EndpointKind::Chat => &chat::SPEC,
        EndpointKind::Completions => &completions::SPEC,
        EndpointKind::Embeddings => &embeddings::SPEC,
        EndpointKind::Generate => &generate::SPEC,
        EndpointKind::KserveGrpc => &kserve_grpc::SPEC,
        EndpointKind::KserveHttp => &kserve_http::SPEC,
    }
}

/// All endpoints, in the order in which they are listed for people.
pub fn all() -> impl Iterator<Item = &'static EndpointSpec> {
    EndpointKind::ALL.into_iter().map(spec)
}

/// The properties of an endpoint.
#[derive(Debug)]
pub struct EndpointSpec {
    /// Its name in a plan.
    pub kind: EndpointKind,
    /// What it is, in a few words for a list of endpoints.
    pub summary: &'static str,
    /// Further names on the command line.
    pub aliases: &'static [&'static str],
    /// Whether users can choose it by its name. Otherwise only a face with its own flags chooses it.
    pub has_public_name: bool,
    /// Where servers offer it.
    pub path: PathRule,
    /// What requests travel over.
    pub transport: TransportKind,
    /// What it can do.
    pub capabilities: Capabilities,
    /// What GenAI-Perf calls it.
    pub genai: GenaiNames,
    /// How requests are made and answers read.
    pub(crate) protocol: Protocol,
}

impl EndpointSpec {
    /// The name on the command line and in the names of directories.
    pub fn name(&self) -> &'static str {
        self.kind.name()
    }

    /// Whether requests travel over gRPC.
    pub fn is_grpc(&self) -> bool {
        self.transport == TransportKind::Grpc
    }

    /// The part of an OpenAI endpoint's path after the version of the API (`/v1`).
    pub fn path_behind_version(&self) -> Option<&'static str> {
        match self.path {
            PathRule::Fixed { whole, .. } => whole.strip_prefix("/v1"),
            PathRule::Model { .. } => None,
        }
    }

    /// Where servers offer it for a model. `version` is the version of the model and matters to KServe's paths only.
    pub fn default_path(&self, model: &str, version: Option<&str>, streaming: bool) -> String {
        match self.path {
            PathRule::Fixed { whole, stream } => if streaming { stream } else { whole }.to_owned(),
            PathRule::Model { whole, stream } => {
                let version = version.map(|version| format!("/versions/{version}")).unwrap_or_default();
                format!("/v2/models/{model}{version}{}", if streaming { stream } else { whole })
            }
        }
    }
}

/// Whether the requests of `endpoint` go over `ModelStreamInfer`, one stream for each slot: where answers are to come as streams, and
/// where the model takes no other call.
pub fn calls_stream(endpoint: &Endpoint) -> bool {
    spec(endpoint.kind).is_grpc() && (endpoint.streaming || endpoint.kserve.decoupled)
}

/// Where servers offer an endpoint. A stream may have another path than a whole answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathRule {
    /// The same path for all models.
    Fixed {
        /// The path for whole answers.
        whole: &'static str,
        /// The path for streams.
        stream: &'static str,
    },
    /// Behind the path of the model in KServe v2: `/v2/models/MODEL` or `/v2/models/MODEL/versions/VERSION`.
    Model {
        /// What follows it for whole answers.
        whole: &'static str,
        /// What follows it for streams.
        stream: &'static str,
    },
}

/// What requests travel over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransportKind {
    /// HTTP/1.1.
    Http1,
    /// gRPC over HTTP/2.
    Grpc,
}

/// What an endpoint can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Answers can come as streams.
    pub streams: bool,
    /// A request can hold several texts that are answered separately.
    pub batches: bool,
    /// A stream can be asked for the server's token counts, which come in a chunk of their own (`stream_options`).
    pub usage: bool,
    /// Answers consist of text, whose tokens are counted.
    pub text: bool,
    /// A request can hold images and other parts beside text.
    pub media: bool,
    /// The member of a request's body that may hold a prompt as the ids of its tokens instead of text.
    pub token_ids: Option<&'static str>,
    /// A request and its answer are the tensors of a model, each with a name. Otherwise they are JSON bodies.
    pub tensors: bool,
    /// The server describes its models and counts their requests, as KServe v2 says.
    pub describes_models: bool,
    /// How a request asks for an output length.
    pub output_length: OutputLength,
}

impl Capabilities {
    /// Of an endpoint that sends the tensors of a KServe v2 model, and answers in one piece.
    const OF_TENSORS: Capabilities = Capabilities {
        streams: false,
        batches: false,
        usage: false,
        text: true,
        media: false,
        token_ids: None,
        tensors: true,
        describes_models: true,
        output_length: OutputLength::Backend,
    };
}

/// How a request asks for an output length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputLength {
    /// Not at all.
    Never,
    /// In the way of the model's backend.
    Backend,
    /// By a member of the body whose name can be chosen.
    Member,
    /// By such a member, and servers differ in the name that they take.
    MemberOfEitherName,
}

impl OutputLength {
    /// Whether the name of the member can be chosen.
    pub fn has_member(self) -> bool {
        matches!(self, OutputLength::Member | OutputLength::MemberOfEitherName)
    }
}

/// What GenAI-Perf calls an endpoint, and how it writes what belongs to it.
#[derive(Debug)]
pub struct GenaiNames {
    /// The kind of service.
    pub service_kind: &'static str,
    /// The format of the answers. `None` is the name of the model's backend.
    pub output_format: Option<&'static str>,
    /// The title of its table, after the name of the tool.
    pub title: &'static str,
    /// The member of the body whose texts its files hold as a list, also where one text is sent as such.
    pub listed_member: Option<&'static str>,
    /// The form of an answer with a text in its export. `None` for answers that are not JSON bodies with a text.
    pub response: Option<ResponseForms>,
}

impl GenaiNames {
    /// Of an endpoint that sends the tensors of a KServe v2 model.
    const OF_TENSORS: GenaiNames = GenaiNames {
        service_kind: "triton",
        output_format: None,
        title: "LLM Metrics",
        listed_member: None,
        response: None,
    };
}

/// The shortest answers in which GenAI-Perf's parser finds a text.
#[derive(Clone, Copy, Debug)]
pub struct ResponseForms {
    /// An event of a stream.
    pub stream: ResponseForm,
    /// A whole answer.
    pub whole: ResponseForm,
}

/// An answer around its text, which stands inside a JSON string.
#[derive(Clone, Copy, Debug)]
pub struct ResponseForm {
    /// The part before the text.
    pub before: &'static str,
    /// The part after the text.
    pub after: &'static str,
}

/// How the requests of an endpoint are made and its answers read.
#[derive(Debug)]
pub(crate) enum Protocol {
    /// Requests are JSON bodies, answers JSON objects.
    Json(JsonProtocol),
    /// Messages of KServe v2 over gRPC.
    InferMessages,
    /// Documents of KServe v2 over HTTP.
    InferDocuments,
}

/// Requests and answers in JSON.
#[derive(Debug)]
pub(crate) struct JsonProtocol {
    /// The members of a body, in the order in which GenAI-Perf writes them, ours after them.
    pub(crate) body: fn(&BodyOptions, &Prompt, TextForm) -> Map<String, Value>,
    /// How many outputs a body asks for; 0 if that is not known.
    pub(crate) outputs: fn(&Value) -> u32,
    /// How an object of an answer is read.
    pub(crate) objects: ObjectForm,
    /// Whether a stream says that it is complete, so that one that ends without that was cut off.
    pub(crate) says_done: bool,
}

/// The number of texts that are the member `name` of a body: one text, a list of texts, or the same as token ids.
fn texts(body: &Value, name: &str) -> u32 {
    match body.get(name) {
        Some(Value::String(_)) => 1,
        Some(Value::Array(list)) if list.first().is_some_and(Value::is_number) => 1,
        Some(Value::Array(list)) => u32::try_from(list.len()).unwrap_or(u32::MAX),
        _ => 0,
    }
}

/// How many outputs a body asks for with each text.
fn outputs_of_each(body: &Value) -> u32 {
    let n = body.get("n").and_then(Value::as_u64).unwrap_or(1);
    u32::try_from(n).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_kind_leads_to_its_own_entry_and_no_name_is_taken_twice() {
        let mut names = Vec::new();
        for kind in EndpointKind::ALL {
            assert_eq!(spec(kind).kind, kind);
            assert_eq!(spec(kind).capabilities.describes_models, kind.is_kserve());
            names.push(kind.name());
            names.extend(spec(kind).aliases);
        }
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn a_body_says_how_many_outputs_it_asks_for() {
        let outputs = |kind: EndpointKind, body: Value| match &spec(kind).protocol {
            Protocol::Json(json) => (json.outputs)(&body),
            Protocol::InferMessages | Protocol::InferDocuments => 0,
        };
        for (kind, body, expected) in [
            (EndpointKind::Chat, json!({"messages": []}), 1),
            (EndpointKind::Chat, json!({"messages": [], "n": 3}), 3),
            (EndpointKind::Completions, json!({"prompt": "a"}), 1),
            (EndpointKind::Completions, json!({"prompt": ["a", "b"]}), 2),
            (EndpointKind::Completions, json!({"prompt": ["a", "b"], "n": 2}), 4),
            (EndpointKind::Completions, json!({"prompt": [5, 6, 7]}), 1),
            (EndpointKind::Completions, json!({"prompt": [[5, 6], [7]]}), 2),
            (EndpointKind::Completions, json!({}), 0),
            (EndpointKind::Embeddings, json!({"input": ["a", "b", "c"]}), 3),
            (EndpointKind::Embeddings, json!({"input": {"text": "a"}}), 0),
            (EndpointKind::Generate, json!({"text_input": "a"}), 0),
        ] {
            assert_eq!(outputs(kind, body.clone()), expected, "{kind:?} {body}");
        }
    }

    #[test]
    fn paths_name_the_model_where_the_protocol_does() {
        let path = |kind, version, streaming| spec(kind).default_path("m", version, streaming);
        assert_eq!(path(EndpointKind::Chat, Some("3"), true), "/v1/chat/completions");
        assert_eq!(path(EndpointKind::Generate, None, true), "/v2/models/m/generate_stream");
        assert_eq!(path(EndpointKind::KserveHttp, Some("3"), false), "/v2/models/m/versions/3/infer");
        assert_eq!(path(EndpointKind::KserveGrpc, None, false), "/inference.GRPCInferenceService/ModelInfer");
    }
}
