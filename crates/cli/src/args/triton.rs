//! Arguments that belong to Triton and other KServe v2 servers.

use crate::args::choice::{COMPRESSION, one_of};
use crate::args::values::{limit, whole};
use clap::Args;
use std::path::PathBuf;
use streamgauge_core::clock::Nanos;
use streamgauge_core::kserve::{Backend, Compression, ParameterValue, RequestParameter};

/// Arguments that belong to Triton and other KServe v2 servers.
#[derive(Args, Debug)]
pub struct TritonArgs {
    /// Backend whose inputs are sent, tensorrtllm or vllm [default: tensorrtllm]
    #[arg(long, value_name = "BACKEND", value_parser = backend, help_heading = "Triton")]
    pub backend: Option<Backend>,
    /// Version of the model [default: the server chooses]
    #[arg(long, value_name = "VERSION", help_heading = "Triton")]
    pub model_version: Option<String>,
    /// Output of the model whose text is counted in tokens [default: text_output]
    #[arg(long, value_name = "NAME", help_heading = "Triton")]
    pub text_output: Option<String>,
    /// Parameter of every request, `name:value:type` with bool, int or string; may be repeated
    #[arg(long, value_name = "PARAMETER", value_parser = parameter, num_args = 1.., help_heading = "Triton")]
    pub request_parameter: Vec<RequestParameter>,
    /// Models behind a business-logic model, `name` or `name:version`, whose statistics are shown too
    #[arg(long, value_name = "MODELS", value_delimiter = ',', help_heading = "Triton")]
    pub bls_composing_models: Vec<String>,
    /// Do not ask the server for its own statistics
    #[arg(long, help_heading = "Triton")]
    pub no_server_statistics: bool,
    /// Read the metrics of the server's GPUs from its metrics page
    #[arg(long, help_heading = "Triton")]
    pub collect_metrics: bool,
    /// URL of the metrics page [default: port 8002 of the server, /metrics]
    #[arg(long, value_name = "URL", requires = "collect_metrics", help_heading = "Triton")]
    pub metrics_url: Option<String>,
    /// Time between two readings of the metrics page, in milliseconds [default: 1000]
    #[arg(long, value_name = "MS", requires = "collect_metrics", value_parser = whole::<u32>(1, 3_600_000), help_heading = "Triton")]
    pub metrics_interval: Option<u32>,
    /// How gRPC messages are compressed [default: none]
    #[arg(long, value_parser = one_of(COMPRESSION), value_name = "ALGORITHM", help_heading = "Triton")]
    pub grpc_compression_algorithm: Option<Compression>,
    /// Streams that share a gRPC channel [default: 1]
    #[arg(long, value_name = "N", value_parser = whole::<u32>(1, 100_000), help_heading = "Triton")]
    pub streams_per_channel: Option<u32>,
    /// Interval of pings on an idle gRPC channel
    #[arg(long, value_name = "TIME", value_parser = limit, help_heading = "Triton")]
    pub grpc_keepalive_time: Option<Nanos>,
    /// Time limit of the answer to such a ping [default: 20s]
    #[arg(long, value_name = "TIME", requires = "grpc_keepalive_time", value_parser = limit, help_heading = "Triton")]
    pub grpc_keepalive_timeout: Option<Nanos>,
    /// Client certificate chain (PEM), for servers that require one
    #[arg(long, value_name = "FILE", requires = "client_key", help_heading = "Endpoint")]
    pub client_certificate: Option<PathBuf>,
    /// Private key (PEM) of --client-certificate
    #[arg(long, value_name = "FILE", requires = "client_certificate", help_heading = "Endpoint")]
    pub client_key: Option<PathBuf>,
}

pub(super) fn backend(text: &str) -> Result<Backend, String> {
    match text {
        "tensorrtllm" => Ok(Backend::TensorrtLlm),
        "vllm" => Ok(Backend::Vllm),
        _ => Err("this backend is not available; accepted: tensorrtllm, vllm".to_owned()),
    }
}

/// Perf Analyzer's `name:value:type`; the value may hold colons.
pub fn parameter(text: &str) -> Result<RequestParameter, String> {
    const FORM: &str = "give name:value:type, where type is bool, int or string";
    let (name, rest) = text.split_once(':').filter(|(name, _)| !name.is_empty()).ok_or(FORM)?;
    let (value, kind) = rest.rsplit_once(':').ok_or(FORM)?;
    let value = match kind.to_ascii_lowercase().as_str() {
        "bool" => ParameterValue::Bool(value.parse().map_err(|_| format!("`{value}` is neither true nor false"))?),
        "int" => ParameterValue::Int(value.parse().map_err(|_| format!("`{value}` is not a whole number"))?),
        "string" => ParameterValue::String(value.to_owned()),
        _ => return Err(format!("the type `{kind}` is not known; {FORM}")),
    };
    Ok(RequestParameter { name: name.to_owned(), value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_perf_analyzers() {
        let value = |text| parameter(text).map(|parameter| parameter.value);
        assert_eq!(value("a:true:bool"), Ok(ParameterValue::Bool(true)));
        assert_eq!(value("a:-3:int"), Ok(ParameterValue::Int(-3)));
        assert_eq!(value("a:x:y:string"), Ok(ParameterValue::String("x:y".into())));
        for text in ["a", "a:1", ":1:int", "a:x:int", "a:1:bool", "a:1:float"] {
            assert!(parameter(text).is_err(), "{text}");
        }
    }
}
