//! Questions to a KServe v2 server, and its answers.

mod replies;

pub use replies::{KserveError, model_info, model_info_of_metadata, ready, server_info, statistics};

use crate::kserve::proto::log_settings_request::SettingValue;
use crate::kserve::proto::log_settings_request::setting_value::ParameterChoice;
use crate::kserve::proto::{self, trace_setting_request};
use prost::Message;
use serde_json::{Value, json};
use streamgauge_core::text::percent_encoded;

/// How a server is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// By gRPC calls.
    Grpc,
    /// By HTTP requests.
    Http,
}

/// A question to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call<'a> {
    /// Whether it is live.
    ServerLive,
    /// Whether it is ready.
    ServerReady,
    /// What it is.
    ServerMetadata,
    /// Whether a model is ready.
    ModelReady {
        /// The model.
        model: &'a str,
        /// Its version. `None` leaves the choice to the server.
        version: Option<&'a str>,
    },
    /// A model's inputs and outputs.
    ModelMetadata {
        /// The model.
        model: &'a str,
        /// Its version. `None` leaves the choice to the server.
        version: Option<&'a str>,
    },
    /// A model's configuration.
    ModelConfig {
        /// The model.
        model: &'a str,
        /// Its version. `None` leaves the choice to the server.
        version: Option<&'a str>,
    },
    /// What the server has counted.
    ModelStatistics {
        /// The model. `None` asks for all models.
        model: Option<&'a str>,
        /// Its version. `None` asks for all versions.
        version: Option<&'a str>,
    },
    /// Names a part of a POSIX shared memory object as a region.
    RegisterSystemMemory {
        /// The region's name from now on.
        region: &'a str,
        /// The object's name, with its slash.
        key: &'a str,
        /// Where the region begins in it, in bytes.
        offset: u64,
        /// The region's length in bytes.
        bytes: u64,
    },
    /// Forgets a region.
    UnregisterSystemMemory {
        /// Its name. `None` forgets all regions.
        region: Option<&'a str>,
    },
    /// Changes what is traced.
    TraceSettings {
        /// The model. `None` changes the setting for all models.
        model: Option<&'a str>,
        /// Names and values; without a value a setting goes back to its default.
        settings: &'a [(String, Vec<String>)],
    },
    /// Changes what is logged.
    LogSettings {
        /// Names and values. Values that look like Booleans or numbers are sent as such.
        settings: &'a [(String, String)],
    },
}

impl Call<'_> {
    /// The call's path, and its message without a prefix.
    pub fn grpc(&self) -> (&'static str, Vec<u8>) {
        let named = |name: &str| name.to_owned();
        let of = |version: Option<&str>| version.unwrap_or_default().to_owned();
        match *self {
            Call::ServerLive => ("/inference.GRPCInferenceService/ServerLive", Vec::new()),
            Call::ServerReady => ("/inference.GRPCInferenceService/ServerReady", Vec::new()),
            Call::ServerMetadata => ("/inference.GRPCInferenceService/ServerMetadata", Vec::new()),
            Call::ModelReady { model, version } => {
                let request = proto::ModelReadyRequest { name: named(model), version: of(version) };
                ("/inference.GRPCInferenceService/ModelReady", request.encode_to_vec())
            }
            Call::ModelMetadata { model, version } => {
                let request = proto::ModelMetadataRequest { name: named(model), version: of(version) };
                ("/inference.GRPCInferenceService/ModelMetadata", request.encode_to_vec())
            }
            Call::ModelConfig { model, version } => {
                let request = proto::ModelConfigRequest { name: named(model), version: of(version) };
                ("/inference.GRPCInferenceService/ModelConfig", request.encode_to_vec())
            }
            Call::ModelStatistics { model, version } => {
                let request = proto::ModelStatisticsRequest { name: of(model), version: of(version) };
                ("/inference.GRPCInferenceService/ModelStatistics", request.encode_to_vec())
            }
            Call::RegisterSystemMemory { region, key, offset, bytes } => {
                let (name, key) = (named(region), named(key));
                let request = proto::SystemSharedMemoryRegisterRequest { name, key, offset, byte_size: bytes };
                ("/inference.GRPCInferenceService/SystemSharedMemoryRegister", request.encode_to_vec())
            }
            Call::UnregisterSystemMemory { region } => {
                let request = proto::SystemSharedMemoryUnregisterRequest { name: of(region) };
                ("/inference.GRPCInferenceService/SystemSharedMemoryUnregister", request.encode_to_vec())
            }
            Call::TraceSettings { model, settings } => {
                let value = |value: &Vec<String>| trace_setting_request::SettingValue { value: value.clone() };
                let settings = settings.iter().map(|(name, values)| (name.clone(), value(values))).collect();
                let request = proto::TraceSettingRequest { settings, model_name: of(model) };
                ("/inference.GRPCInferenceService/TraceSetting", request.encode_to_vec())
            }
            Call::LogSettings { settings } => {
                let settings = settings.iter().map(|(name, value)| (name.clone(), log_setting(value))).collect();
                ("/inference.GRPCInferenceService/LogSettings", proto::LogSettingsRequest { settings }.encode_to_vec())
            }
        }
    }

    /// Method, path with query, and body.
    pub fn http(&self) -> (&'static str, String, Option<Vec<u8>>) {
        let get = |path: String| ("GET", path, None);
        let post = |path: String, body: Value| ("POST", path, Some(body.to_string().into_bytes()));
        match *self {
            Call::ServerLive => get("/v2/health/live".into()),
            Call::ServerReady => get("/v2/health/ready".into()),
            Call::ServerMetadata => get("/v2".into()),
            Call::ModelReady { model, version } => get(format!("{}/ready", model_path(model, version))),
            Call::ModelMetadata { model, version } => get(model_path(model, version)),
            Call::ModelConfig { model, version } => get(format!("{}/config", model_path(model, version))),
            Call::ModelStatistics { model: None, .. } => get("/v2/models/stats".into()),
            Call::ModelStatistics { model: Some(model), version } => {
                get(format!("{}/stats", model_path(model, version)))
            }
            Call::RegisterSystemMemory { region, key, offset, bytes } => post(
                format!("/v2/systemsharedmemory/region/{}/register", percent_encoded(region)),
                json!({"key": key, "offset": offset, "byte_size": bytes}),
            ),
            Call::UnregisterSystemMemory { region: None } => {
                post("/v2/systemsharedmemory/unregister".into(), json!({}))
            }
            Call::UnregisterSystemMemory { region: Some(region) } => {
                post(format!("/v2/systemsharedmemory/region/{}/unregister", percent_encoded(region)), json!({}))
            }
            Call::TraceSettings { model, settings } => {
                let of_model = model.map(|model| format!("/models/{}", percent_encoded(model))).unwrap_or_default();
                let settings = settings.iter().map(|(name, values)| (name.clone(), trace_setting(name, values)));
                post(format!("/v2{of_model}/trace/setting"), Value::Object(settings.collect()))
            }
            Call::LogSettings { settings } => {
                let settings = settings.iter().map(|(name, value)| (name.clone(), json_log_setting(value)));
                post("/v2/logging".into(), Value::Object(settings.collect()))
            }
        }
    }
}

/// The path of a model, or of one version of it.
fn model_path(model: &str, version: Option<&str>) -> String {
    let version = version.map(|version| format!("/versions/{}", percent_encoded(version))).unwrap_or_default();
    format!("/v2/models/{}{version}", percent_encoded(model))
}

/// Triton wants levels as a list and anything else as a text; null goes back to the default.
fn trace_setting(name: &str, values: &[String]) -> Value {
    match values {
        [] => Value::Null,
        [value] if name != "trace_level" => value.as_str().into(),
        _ => values.into(),
    }
}

fn json_log_setting(value: &str) -> Value {
    let number = || value.parse::<u32>().ok().map(Value::from);
    value.parse::<bool>().ok().map(Value::from).or_else(number).unwrap_or_else(|| value.into())
}

fn log_setting(value: &str) -> SettingValue {
    let parameter = match json_log_setting(value) {
        Value::Bool(value) => ParameterChoice::BoolParam(value),
        Value::Number(_) => ParameterChoice::Uint32Param(value.parse().unwrap_or_default()),
        _ => ParameterChoice::StringParam(value.to_owned()),
    };
    SettingValue { parameter_choice: Some(parameter) }
}

#[cfg(test)]
mod tests;
