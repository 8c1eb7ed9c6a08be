//! KServe v2: what a plan says of it beyond what all endpoints have, and what a server says of its models.

use crate::clock::Nanos;
use crate::tensor::TensorSpec;
use serde::{Deserialize, Serialize};

/// What a plan for a KServe v2 endpoint says beyond what all endpoints have.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Kserve {
    /// Version of the model; none leaves it to the server.
    pub version: Option<String>,
    /// Whether the model may answer a request by any number of responses, as its configuration says.
    pub decoupled: bool,
    /// The output whose BYTES are the text that is counted in tokens; none has no text.
    pub text_output: Option<String>,
    /// The inputs as an LLM backend wants them, where prompts are made for one.
    pub backend: Option<Backend>,
    /// Parameters of every request.
    pub parameters: Vec<RequestParameter>,
    /// How messages are compressed; gRPC only.
    pub compression: Compression,
    /// Slots that share a connection, at least 1; gRPC only.
    pub streams_per_channel: u32,
    /// How often an idle connection is asked whether it lives; gRPC only.
    pub keep_alive: Option<KeepAlive>,
    /// How inputs are written; HTTP only.
    pub input_format: TensorFormat,
    /// How outputs are asked for; HTTP only.
    pub output_format: TensorFormat,
    /// Names of the outputs asked for; none asks for what the server sends by itself.
    pub outputs: Vec<String>,
    /// Inputs and outputs are handed over in memory that the server shares.
    pub shared_memory: Option<SharedMemory>,
    /// Requests of a stateful model belong to sequences.
    pub sequences: Option<Sequences>,
}

/// An LLM backend of Triton and the inputs that it wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// TensorRT-LLM: `text_input`, `max_tokens`, ..
    TensorrtLlm,
    /// vLLM: `text_input`, `sampling_parameters`, ..
    Vllm,
}

/// A parameter of every request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestParameter {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: ParameterValue,
}

/// What a parameter may be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ParameterValue {
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Text.
    String(String),
}

/// How gRPC messages are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// As the `gzip` encoding.
    Gzip,
    /// As the `deflate` encoding, which is zlib's format.
    Deflate,
}

/// Pings on an otherwise idle connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeepAlive {
    /// Between two pings.
    pub every: Nanos,
    /// How long the answer may take before the connection is given up.
    pub timeout: Nanos,
}

/// How tensors are written over HTTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TensorFormat {
    /// As bytes behind the JSON.
    #[default]
    Binary,
    /// As JSON numbers and strings.
    Json,
}

/// System shared memory for tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedMemory {
    /// Room for each output of a request, in bytes.
    pub output_bytes: u64,
}

/// Requests that belong to sequences, as stateful models want them. See [`crate::sequence`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sequences {
    /// Sequences at once where a rate is kept; in a closed loop there is one a slot.
    pub live: u32,
    /// Requests of a sequence.
    pub length: u32,
    /// By how much that varies, evenly to both sides: 0.2 is a fifth.
    pub variation: f64,
    /// The first id.
    pub first_id: u64,
    /// One past the last id; none has no bound.
    pub end_id: Option<u64>,
    /// A sequence has at most one request in flight.
    pub serial: bool,
}

/// What a request says of the sequence that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequenceTag {
    /// The sequence.
    pub id: u64,
    /// It is the first of it.
    pub start: bool,
    /// It is the last of it.
    pub end: bool,
}

/// What a server says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerInfo {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Extensions of the protocol that it has, `statistics` among them.
    pub extensions: Vec<String>,
}

/// What a server says of a model, from its metadata and its configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelInfo {
    /// Its name.
    pub name: String,
    /// Versions that are served.
    pub versions: Vec<String>,
    /// What it runs on.
    pub platform: String,
    /// Largest batch; 0 means that tensors have no dimension for a batch.
    pub max_batch_size: u32,
    /// Whether it may answer a request by any number of responses.
    pub decoupled: bool,
    /// Whether its requests belong to sequences.
    pub sequence_batching: bool,
    /// Whether answers may come from the server's cache.
    pub response_cache: bool,
    /// Inputs, their shapes without the batch.
    pub inputs: Vec<TensorSpec>,
    /// Outputs, likewise.
    pub outputs: Vec<TensorSpec>,
    /// The models that an ensemble is composed of, each with its version; -1 leaves that to the server.
    pub composing: Vec<(String, i64)>,
    /// The server tells no configuration (it is not Triton), so that all of this is its metadata's, and what only a
    /// configuration says is taken to be the simplest.
    pub without_config: bool,
}

/// A model whose statistics are looked at, with the models that it is composed of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Watched {
    /// Its name.
    pub name: String,
    /// Its version; none takes the one that had requests.
    pub version: Option<String>,
    /// Whether its answers may come from the server's cache.
    pub cached: bool,
    /// The models of an ensemble, or those that business logic calls.
    pub composing: Vec<Watched>,
}

impl Watched {
    /// Whether the model of that name is it, or one that it is composed of.
    pub fn has(&self, model: &str) -> bool {
        self.name == model || self.composing.iter().any(|part| part.has(model))
    }
}

/// How often something took place and how long it took together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Spent {
    /// How often.
    pub count: u64,
    /// Nanoseconds of all of them.
    pub ns: u64,
}

/// What a server has counted for a model since it started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ModelStatistics {
    /// The model.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Inferences, each element of a batch counted.
    pub inference_count: u64,
    /// Executions, each of a batch.
    pub execution_count: u64,
    /// Requests that were answered.
    pub success: Spent,
    /// Requests that failed.
    pub fail: Spent,
    /// Waiting for a place.
    pub queue: Spent,
    /// Preparing inputs.
    pub compute_input: Spent,
    /// Running the model.
    pub compute_infer: Spent,
    /// Handing outputs on.
    pub compute_output: Spent,
    /// Answers from the cache.
    pub cache_hit: Spent,
    /// Looks into the cache in vain, and putting answers there.
    pub cache_miss: Spent,
}
