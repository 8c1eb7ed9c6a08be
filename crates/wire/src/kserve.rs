//! Questions to a KServe v2 server, and its answers.

use streamgauge_core::kserve::{ModelInfo, ModelStatistics, ServerInfo};
use thiserror::Error;

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
    /// Whether it lives.
    ServerLive,
    /// Whether it serves.
    ServerReady,
    /// What it is.
    ServerMetadata,
    /// Whether a model is served.
    ModelReady {
        /// The model.
        model: &'a str,
        /// Its version; none leaves it to the server.
        version: Option<&'a str>,
    },
    /// A model's inputs and outputs.
    ModelMetadata {
        /// The model.
        model: &'a str,
        /// Its version; none leaves it to the server.
        version: Option<&'a str>,
    },
    /// A model's configuration.
    ModelConfig {
        /// The model.
        model: &'a str,
        /// Its version; none leaves it to the server.
        version: Option<&'a str>,
    },
    /// What the server has counted.
    ModelStatistics {
        /// The model; none asks for all.
        model: Option<&'a str>,
        /// Its version; none asks for all.
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
        /// Its name; none forgets all.
        region: Option<&'a str>,
    },
    /// Changes what is traced.
    TraceSettings {
        /// Of this model; none is of all.
        model: Option<&'a str>,
        /// Names and values; without a value a setting goes back to its default.
        settings: &'a [(String, Vec<String>)],
    },
    /// Changes what is logged.
    LogSettings {
        /// Names and values, which are sent as truth values and numbers where they look like it.
        settings: &'a [(String, String)],
    },
}

impl Call<'_> {
    /// The call's path, and its message without a prefix.
    pub fn grpc(&self) -> (&'static str, Vec<u8>) {
        ("", Vec::new())
    }

    /// Method, path with query, and body.
    pub fn http(&self) -> (&'static str, String, Option<Vec<u8>>) {
        ("GET", String::new(), None)
    }
}

/// Why an answer says nothing.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum KserveError {
    /// It is not of the promised shape.
    #[error("not {what}: {reason}")]
    Malformed {
        /// What it should be.
        what: &'static str,
        /// Why it is not.
        reason: String,
    },
}

/// What the server says of itself, from the answer to [`Call::ServerMetadata`].
///
/// # Errors
/// When it is anything else.
pub fn server_info(protocol: Protocol, answer: &[u8]) -> Result<ServerInfo, KserveError> {
    let _ = (protocol, answer);
    Ok(ServerInfo::default())
}

/// What the server says of a model, from the answers to [`Call::ModelMetadata`] and [`Call::ModelConfig`].
///
/// # Errors
/// When they are anything else, or name a datatype that the protocol does not have.
pub fn model_info(protocol: Protocol, metadata: &[u8], config: &[u8]) -> Result<ModelInfo, KserveError> {
    let _ = (protocol, metadata, config);
    Ok(ModelInfo::default())
}

/// What the server has counted, from the answer to [`Call::ModelStatistics`].
///
/// # Errors
/// When it is anything else.
pub fn statistics(protocol: Protocol, answer: &[u8]) -> Result<Vec<ModelStatistics>, KserveError> {
    let _ = (protocol, answer);
    Ok(Vec::new())
}

/// Whether the server lives, serves, or serves a model, from the answer to [`Call::ServerLive`], [`Call::ServerReady`] or
/// [`Call::ModelReady`]. `status` is that of HTTP.
///
/// # Errors
/// When it is anything else.
pub fn ready(protocol: Protocol, status: u16, answer: &[u8]) -> Result<bool, KserveError> {
    let _ = (protocol, answer);
    Ok(status == 200)
}
