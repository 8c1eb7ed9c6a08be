//! A KServe v2 server's answers to questions, in both protocols.

use super::Protocol;
use crate::json::not_json;
use crate::json::object::Object;
use crate::kserve::proto;
use crate::kserve::proto::model_config::SchedulingChoice;
use crate::kserve::proto::model_metadata_response::TensorMetadata;
use prost::Message;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use streamgauge_core::kserve::{ModelInfo, ModelStatistics, ServerInfo, Spent};
use streamgauge_core::tensor::{Datatype, TensorSpec};
use thiserror::Error;

/// Why an answer cannot be used.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum KserveError {
    /// It does not have the expected form.
    #[error("not {what}: {reason}")]
    Malformed {
        /// What it should be.
        what: &'static str,
        /// Why it is not.
        reason: String,
    },
    /// A datatype that the protocol does not have.
    #[error("{tensor} of model {model} has the datatype `{datatype}`, which KServe v2 does not have")]
    Datatype {
        /// The model.
        model: String,
        /// Its input or output.
        tensor: String,
        /// The type.
        datatype: String,
    },
    /// A tensor without a dimension for the batch, of a model whose tensors must have one.
    #[error("{tensor} of model {model} has no dimension for the batch, though max_batch_size is {max_batch_size}")]
    NoBatch {
        /// The model.
        model: String,
        /// Its input or output.
        tensor: String,
        /// Its largest batch.
        max_batch_size: u32,
    },
}

/// What the server says about itself, from the answer to [`Call::ServerMetadata`].
///
/// # Errors
/// When it is anything else.
///
/// [`Call::ServerMetadata`]: super::Call::ServerMetadata
pub fn server_info(protocol: Protocol, answer: &[u8]) -> Result<ServerInfo, KserveError> {
    const WHAT: &str = "a server's metadata";
    match protocol {
        Protocol::Grpc => {
            let proto::ServerMetadataResponse { name, version, extensions } = message(WHAT, answer)?;
            Ok(ServerInfo { name, version, extensions })
        }
        Protocol::Http => {
            let ServerBody { name, version, extensions } = body(WHAT, answer)?;
            Ok(ServerInfo { name, version, extensions })
        }
    }
}

/// What the server says about a model, from the answers to [`Call::ModelMetadata`] and [`Call::ModelConfig`].
///
/// # Errors
/// When they are anything else, name a datatype that the protocol does not have, or contradict each other.
///
/// [`Call::ModelMetadata`]: super::Call::ModelMetadata
/// [`Call::ModelConfig`]: super::Call::ModelConfig
pub fn model_info(protocol: Protocol, metadata: &[u8], config: &[u8]) -> Result<ModelInfo, KserveError> {
    const METADATA: &str = "a model's metadata";
    const CONFIG: &str = "a model's configuration";
    let (metadata, config) = match protocol {
        Protocol::Grpc => {
            let config: proto::ModelConfigResponse = message(CONFIG, config)?;
            let Some(config) = config.config else {
                return Err(KserveError::Malformed { what: CONFIG, reason: "there is none in it".to_owned() });
            };
            (message::<proto::ModelMetadataResponse>(METADATA, metadata)?.into(), config.into())
        }
        Protocol::Http => (body::<MetadataBody>(METADATA, metadata)?, body::<ConfigBody>(CONFIG, config)?),
    };
    assemble(metadata, config)
}

/// What the server says about a model, from the answer to [`Call::ModelMetadata`] alone: a server without Triton's extensions has no
/// configurations. Shapes are then those of a request, with the dimension of a batch, and the model is assumed to answer each request
/// once.
///
/// # Errors
/// As [`model_info`].
///
/// [`Call::ModelMetadata`]: super::Call::ModelMetadata
pub fn model_info_of_metadata(protocol: Protocol, metadata: &[u8]) -> Result<ModelInfo, KserveError> {
    const METADATA: &str = "a model's metadata";
    let metadata = match protocol {
        Protocol::Grpc => message::<proto::ModelMetadataResponse>(METADATA, metadata)?.into(),
        Protocol::Http => body::<MetadataBody>(METADATA, metadata)?,
    };
    Ok(ModelInfo { without_config: true, ..assemble(metadata, ConfigBody::default())? })
}

/// What the server has counted, from the answer to [`Call::ModelStatistics`].
///
/// # Errors
/// When it is anything else.
///
/// [`Call::ModelStatistics`]: super::Call::ModelStatistics
pub fn statistics(protocol: Protocol, answer: &[u8]) -> Result<Vec<ModelStatistics>, KserveError> {
    const WHAT: &str = "the statistics of models";
    match protocol {
        Protocol::Grpc => {
            let answer: proto::ModelStatisticsResponse = message(WHAT, answer)?;
            Ok(answer.model_stats.into_iter().map(counted).collect())
        }
        Protocol::Http => {
            let answer: StatisticsBody = body(WHAT, answer)?;
            Ok(answer.model_stats.into_iter().map(|Object(model)| model.counted()).collect())
        }
    }
}

/// Whether the server is live or ready, or a model is ready, from the answer to [`Call::ServerLive`], [`Call::ServerReady`] or
/// [`Call::ModelReady`]. `status` is that of HTTP: a server says no by a status of 4xx, or by 503.
///
/// # Errors
/// When it is anything else.
///
/// [`Call::ServerLive`]: super::Call::ServerLive
/// [`Call::ServerReady`]: super::Call::ServerReady
/// [`Call::ModelReady`]: super::Call::ModelReady
pub fn ready(protocol: Protocol, status: u16, answer: &[u8]) -> Result<bool, KserveError> {
    const WHAT: &str = "an answer to whether something is ready";
    match (protocol, status) {
        // The three answers have the same form.
        (Protocol::Grpc, _) => message::<proto::ModelReadyResponse>(WHAT, answer).map(|answer| answer.ready),
        (Protocol::Http, 200..=299) => Ok(true),
        (Protocol::Http, 400..=499 | 503) => Ok(false),
        (Protocol::Http, status) => {
            let message = crate::server_message(answer).map(|message| format!(", {message}")).unwrap_or_default();
            Err(KserveError::Malformed { what: WHAT, reason: format!("status {status}{message}") })
        }
    }
}

fn message<M: Message + Default>(what: &'static str, bytes: &[u8]) -> Result<M, KserveError> {
    M::decode(bytes).map_err(|error| KserveError::Malformed { what, reason: error.to_string() })
}

fn body<B: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<B, KserveError> {
    match serde_json::from_slice(bytes) {
        Ok(Object(body)) => Ok(body),
        Err(error) => Err(KserveError::Malformed { what, reason: not_json(&error) }),
    }
}

/// Combines metadata and configuration.
fn assemble(metadata: MetadataBody, config: ConfigBody) -> Result<ModelInfo, KserveError> {
    // A negative size does not count as a size.
    let max_batch_size = u32::try_from(config.max_batch_size).unwrap_or(0);
    let model = metadata.name;
    let specs = |tensors: Vec<Object<TensorBody>>, configured: &[Object<ConfiguredTensor>]| {
        let spec = |Object(tensor)| spec(&model, max_batch_size, tensor, configured);
        tensors.into_iter().map(spec).collect::<Result<Vec<_>, _>>()
    };
    let inputs = specs(metadata.inputs, &config.input)?;
    let outputs = specs(metadata.outputs, &config.output)?;
    let steps = config.ensemble_scheduling.into_iter().flat_map(|Object(ensemble)| ensemble.step);
    Ok(ModelInfo {
        versions: metadata.versions,
        platform: metadata.platform,
        max_batch_size,
        decoupled: config.model_transaction_policy.is_some_and(|Object(policy)| policy.decoupled),
        sequence_batching: config.sequence_batching.is_some(),
        response_cache: config.response_cache.is_some_and(|Object(cache)| cache.enable),
        inputs,
        outputs,
        composing: steps.map(|Object(step)| (step.model_name, step.model_version)).collect(),
        without_config: false,
        name: model,
    })
}

fn spec(
    model: &str,
    max_batch_size: u32,
    tensor: TensorBody,
    configured: &[Object<ConfiguredTensor>],
) -> Result<TensorSpec, KserveError> {
    let TensorBody { name, datatype, mut shape } = tensor;
    let Some(datatype) = Datatype::of_name(&datatype) else {
        return Err(KserveError::Datatype { model: model.to_owned(), tensor: name, datatype });
    };
    if max_batch_size > 0 {
        if shape.is_empty() {
            return Err(KserveError::NoBatch { model: model.to_owned(), tensor: name, max_batch_size });
        }
        shape.remove(0);
    }
    let configured = configured.iter().map(|Object(tensor)| tensor).find(|tensor| tensor.name == name);
    Ok(TensorSpec {
        datatype,
        shape,
        optional: configured.is_some_and(|tensor| tensor.optional),
        is_shape: configured.is_some_and(|tensor| tensor.is_shape_tensor),
        name,
    })
}

#[derive(Deserialize)]
struct ServerBody {
    name: String,
    version: String,
    #[serde(default)]
    extensions: Vec<String>,
}

#[derive(Deserialize)]
struct MetadataBody {
    name: String,
    #[serde(default)]
    versions: Vec<String>,
    #[serde(default)]
    platform: String,
    /// Servers whose models take any inputs name none.
    #[serde(default)]
    inputs: Vec<Object<TensorBody>>,
    #[serde(default)]
    outputs: Vec<Object<TensorBody>>,
}

#[derive(Deserialize)]
struct TensorBody {
    name: String,
    datatype: String,
    shape: Vec<i64>,
}

impl From<proto::ModelMetadataResponse> for MetadataBody {
    fn from(metadata: proto::ModelMetadataResponse) -> MetadataBody {
        let tensor = |TensorMetadata { name, datatype, shape }| Object(TensorBody { name, datatype, shape });
        MetadataBody {
            name: metadata.name,
            versions: metadata.versions,
            platform: metadata.platform,
            inputs: metadata.inputs.into_iter().map(tensor).collect(),
            outputs: metadata.outputs.into_iter().map(tensor).collect(),
        }
    }
}

/// A configuration. Servers may leave out members that have their default value.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ConfigBody {
    max_batch_size: i64,
    input: Vec<Object<ConfiguredTensor>>,
    output: Vec<Object<ConfiguredTensor>>,
    model_transaction_policy: Option<Object<TransactionPolicy>>,
    sequence_batching: Option<serde_json::Value>,
    ensemble_scheduling: Option<Object<Ensemble>>,
    response_cache: Option<Object<ResponseCache>>,
}

#[derive(Deserialize)]
struct ConfiguredTensor {
    name: String,
    #[serde(default)]
    optional: bool,
    #[serde(default)]
    is_shape_tensor: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct TransactionPolicy {
    decoupled: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ResponseCache {
    enable: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Ensemble {
    step: Vec<Object<EnsembleStep>>,
}

#[derive(Deserialize)]
struct EnsembleStep {
    model_name: String,
    #[serde(default)]
    model_version: i64,
}

impl From<proto::ModelConfig> for ConfigBody {
    fn from(config: proto::ModelConfig) -> ConfigBody {
        let input = |tensor: proto::ModelInput| {
            let proto::ModelInput { name, optional, is_shape_tensor, .. } = tensor;
            Object(ConfiguredTensor { name, optional, is_shape_tensor })
        };
        let output = |tensor: proto::ModelOutput| {
            let proto::ModelOutput { name, is_shape_tensor, .. } = tensor;
            Object(ConfiguredTensor { name, optional: false, is_shape_tensor })
        };
        let policy = |policy: proto::ModelTransactionPolicy| Object(TransactionPolicy { decoupled: policy.decoupled });
        let (sequence_batching, ensemble_scheduling) = match config.scheduling_choice {
            Some(SchedulingChoice::SequenceBatching(_)) => (Some(serde_json::Value::Bool(true)), None),
            Some(SchedulingChoice::EnsembleScheduling(ensemble)) => (None, Some(Object(ensemble.into()))),
            Some(SchedulingChoice::DynamicBatching(_)) | None => (None, None),
        };
        ConfigBody {
            max_batch_size: config.max_batch_size.into(),
            input: config.input.into_iter().map(input).collect(),
            output: config.output.into_iter().map(output).collect(),
            model_transaction_policy: config.model_transaction_policy.map(policy),
            sequence_batching,
            ensemble_scheduling,
            response_cache: config.response_cache.map(|cache| Object(ResponseCache { enable: cache.enable })),
        }
    }
}

impl From<proto::ModelEnsembling> for Ensemble {
    fn from(ensemble: proto::ModelEnsembling) -> Ensemble {
        let step = |step: proto::model_ensembling::Step| {
            Object(EnsembleStep { model_name: step.model_name, model_version: step.model_version })
        };
        Ensemble { step: ensemble.step.into_iter().map(step).collect() }
    }
}

#[derive(Deserialize)]
struct StatisticsBody {
    model_stats: Vec<Object<StatisticsOfModel>>,
}

#[derive(Deserialize)]
struct StatisticsOfModel {
    name: String,
    #[serde(default)]
    version: String,
    #[serde(default)]
    inference_count: u64,
    #[serde(default)]
    execution_count: u64,
    inference_stats: Option<Object<InferenceStatistics>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct InferenceStatistics {
    success: Spent,
    fail: Spent,
    queue: Spent,
    compute_input: Spent,
    compute_infer: Spent,
    compute_output: Spent,
    cache_hit: Spent,
    cache_miss: Spent,
}

impl StatisticsOfModel {
    fn counted(self) -> ModelStatistics {
        let Object(stats) = self.inference_stats.unwrap_or(Object(InferenceStatistics::default()));
        ModelStatistics {
            name: self.name,
            version: self.version,
            inference_count: self.inference_count,
            execution_count: self.execution_count,
            success: stats.success,
            fail: stats.fail,
            queue: stats.queue,
            compute_input: stats.compute_input,
            compute_infer: stats.compute_infer,
            compute_output: stats.compute_output,
            cache_hit: stats.cache_hit,
            cache_miss: stats.cache_miss,
        }
    }
}

fn counted(model: proto::ModelStatistics) -> ModelStatistics {
    let stats = model.inference_stats.unwrap_or_default();
    let spent = |duration: Option<proto::StatisticDuration>| {
        duration.map_or(Spent::default(), |duration| Spent { count: duration.count, ns: duration.ns })
    };
    ModelStatistics {
        name: model.name,
        version: model.version,
        inference_count: model.inference_count,
        execution_count: model.execution_count,
        success: spent(stats.success),
        fail: spent(stats.fail),
        queue: spent(stats.queue),
        compute_input: spent(stats.compute_input),
        compute_infer: spent(stats.compute_infer),
        compute_output: spent(stats.compute_output),
        cache_hit: spent(stats.cache_hit),
        cache_miss: spent(stats.cache_miss),
    }
}
