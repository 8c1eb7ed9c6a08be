//! KServe v2: how a model is asked and its answers are read, and what a server reports about itself and its models.

use crate::clock::Nanos;
use crate::tensor::TensorSpec;
use serde::{Deserialize, Serialize};

/// How a model of a KServe v2 server is asked and how its answers are read: what the codec of its endpoints needs. How connections are
/// used is in [`crate::plan::Transport`], and how requests belong to sequences in [`crate::plan::LoadPlan`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kserve {
    /// The version of the model. `None` leaves the choice to the server.
    pub version: Option<String>,
    /// Whether the model may answer a request by any number of responses, as its configuration says.
    pub decoupled: bool,
    /// The output whose BYTES are the text that is counted in tokens. `None` if no output is text.
    pub text_output: Option<String>,
    /// The LLM backend for whose inputs prompts are made. `None` if inputs are not made from prompts.
    pub backend: Option<Backend>,
    /// The parameters of every request.
    pub parameters: Vec<RequestParameter>,
    /// How messages are compressed; gRPC only.
    pub compression: Compression,
    /// How inputs are encoded; HTTP only.
    pub input_format: TensorFormat,
    /// How outputs are to be encoded; HTTP only.
    pub output_format: TensorFormat,
    /// The names of the requested outputs. With none, the server chooses what it sends.
    pub outputs: Vec<String>,
    /// The shared memory in which inputs and outputs are handed over. `None` if they are part of the messages.
    pub shared_memory: Option<SharedMemory>,
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

/// The value of a parameter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ParameterValue {
    /// A Boolean value.
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
    /// They are not compressed.
    #[default]
    None,
    /// With the `gzip` encoding.
    Gzip,
    /// With the `deflate` encoding, which is zlib's format.
    Deflate,
}

/// How the slots of a load thread use gRPC connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Channels {
    /// The number of slots that share a connection, at least 1.
    pub streams_per_channel: u32,
    /// Pings on an idle connection. `None` if there are none.
    pub keep_alive: Option<KeepAlive>,
}

impl Default for Channels {
    fn default() -> Channels {
        Channels { streams_per_channel: 1, keep_alive: None }
    }
}

/// Pings on a connection that is otherwise idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeepAlive {
    /// The time between two pings.
    pub every: Nanos,
    /// How long the answer to a ping may take before the connection is closed.
    pub timeout: Nanos,
}

/// How tensors are encoded over HTTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TensorFormat {
    /// As bytes after the JSON.
    #[default]
    Binary,
    /// As JSON numbers and strings.
    Json,
}

/// System shared memory for tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedMemory {
    /// The space for each output of a request, in bytes.
    pub output_bytes: u64,
}

/// How requests belong to sequences, as stateful models require. See [`crate::sequence`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sequences {
    /// The number of sequences at once in an open loop. In a closed loop each slot has one.
    pub live: u32,
    /// The mean number of requests in a sequence.
    pub length: u32,
    /// By which share of the mean the length varies at most, uniformly to both sides: 0.2 is a fifth.
    pub variation: f64,
    /// The first sequence id.
    pub first_id: u64,
    /// One past the last sequence id. `None` if there is no bound.
    pub end_id: Option<u64>,
    /// Whether a sequence has at most one request in flight.
    pub serial: bool,
}

/// What a request tells the server about the sequence that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequenceTag {
    /// The id of the sequence.
    pub id: u64,
    /// Whether the request is the first of the sequence.
    pub start: bool,
    /// Whether the request is the last of the sequence.
    pub end: bool,
}

/// What a server reports about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerInfo {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Extensions of the protocol that it has, `statistics` among them.
    pub extensions: Vec<String>,
}

/// What a server reports about a model, in its metadata and its configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelInfo {
    /// Its name.
    pub name: String,
    /// Versions that are served.
    pub versions: Vec<String>,
    /// The platform or backend that runs it.
    pub platform: String,
    /// Largest batch; 0 means that tensors have no dimension for a batch.
    pub max_batch_size: u32,
    /// Whether it may answer a request by any number of responses.
    pub decoupled: bool,
    /// Whether its requests belong to sequences.
    pub sequence_batching: bool,
    /// Whether answers may come from the server's cache.
    pub response_cache: bool,
    /// The inputs; their shapes do not include the batch.
    pub inputs: Vec<TensorSpec>,
    /// The outputs, in the same way.
    pub outputs: Vec<TensorSpec>,
    /// The models that an ensemble is composed of, each with its version; -1 leaves that to the server.
    pub composing: Vec<(String, i64)>,
    /// Whether the server has no configuration for the model, because it is not Triton. All of this then comes from its metadata, and what
    /// only a configuration says has its simplest value.
    pub without_config: bool,
}

/// A model whose statistics are read, with the models that it is composed of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Watched {
    /// Its name.
    pub name: String,
    /// Its version. `None` is the version that had requests.
    pub version: Option<String>,
    /// Whether its answers may come from the server's cache.
    pub cached: bool,
    /// The models of an ensemble, or those that business logic calls.
    pub composing: Vec<Watched>,
}

impl Watched {
    /// Whether this is the model of that name, or is composed of it.
    pub fn has(&self, model: &str) -> bool {
        self.name == model || self.composing.iter().any(|part| part.has(model))
    }
}

/// How often something happened, and how long all of it took together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Spent {
    /// The number of times.
    pub count: u64,
    /// The time of all of them together, in nanoseconds.
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
    /// The number of inferences; each element of a batch counts as one.
    pub inference_count: u64,
    /// The number of executions; an execution serves one batch.
    pub execution_count: u64,
    /// Requests that were answered.
    pub success: Spent,
    /// Requests that failed.
    pub fail: Spent,
    /// Waiting in the queue.
    pub queue: Spent,
    /// Preparing inputs.
    pub compute_input: Spent,
    /// Running the model.
    pub compute_infer: Spent,
    /// Processing outputs.
    pub compute_output: Spent,
    /// Cache hits.
    pub cache_hit: Spent,
    /// Cache misses: the lookup, and the insertion of the answer.
    pub cache_miss: Spent,
}
