//! What a Triton or other KServe v2 endpoint has beyond what all have.

use crate::args::ProfileArgs;
use crate::settings::url;
use anyhow::{Result, bail};
use streamgauge_core::clock::Nanos;
use streamgauge_core::kserve::{Backend, Channels, KeepAlive, Kserve};
use streamgauge_core::plan::{Endpoint, EndpointKind, Target};
use streamgauge_run::{Metrics, Observe};
use streamgauge_wire::endpoints::spec;

/// The output that holds the text, in both LLM backends and in the generate extension.
pub const TEXT_OUTPUT: &str = "text_output";
/// Where Triton has its metrics page.
const METRICS_PORT: u16 = 8002;
const METRICS_PATH: &str = "/metrics";
/// How often it is read, in milliseconds.
const METRICS_INTERVAL: u32 = 1000;
/// How long the answer to a ping may take.
const PING_TIMEOUT: Nanos = Nanos::from_millis(20_000);

/// The shape of the endpoint: what was named, or what follows from the kind of server.
///
/// # Errors
/// When the two do not go together.
pub fn kind(args: &ProfileArgs) -> Result<EndpointKind> {
    let triton = args.service_kind.as_deref() == Some("triton");
    let kind = match args.endpoint_type {
        Some(kind) => kind,
        None if triton || args.triton.backend.is_some() => EndpointKind::KserveGrpc,
        None => EndpointKind::Chat,
    };
    let spec = spec(kind);
    match (spec.capabilities.describes_models, args.service_kind.as_deref()) {
        (false, Some("triton")) => bail!(
            "--endpoint-type {}: --service-kind triton has kserve and generate; leave out one of the two",
            kind.name()
        ),
        // GenAI-Perf reaches the generate extension as it reaches an OpenAI server.
        (true, Some("openai")) if spec.genai.service_kind != "openai" => {
            bail!("--endpoint-type {}: this is --service-kind triton's; leave out one of the two", kind.name())
        }
        _ => Ok(kind),
    }
}

/// How a model is asked, if the endpoint is of Triton's kind.
///
/// # Errors
/// A sentence that names a flag which would do nothing.
pub fn kserve(args: &ProfileArgs, kind: EndpointKind) -> Result<Kserve> {
    useless(args, kind)?;
    let capabilities = spec(kind).capabilities;
    if !capabilities.describes_models {
        return Ok(Kserve::default());
    }
    let triton = &args.triton;
    let backend = capabilities.tensors.then(|| triton.backend.unwrap_or(Backend::TensorrtLlm));
    Ok(Kserve {
        version: triton.model_version.clone(),
        text_output: Some(triton.text_output.clone().unwrap_or_else(|| TEXT_OUTPUT.to_owned())),
        backend,
        parameters: triton.request_parameter.clone(),
        compression: triton.grpc_compression_algorithm.unwrap_or_default(),
        ..Kserve::default()
    })
}

/// How gRPC connections are used.
pub fn channels(args: &ProfileArgs) -> Channels {
    let triton = &args.triton;
    Channels {
        streams_per_channel: triton.streams_per_channel.unwrap_or(1),
        keep_alive: triton
            .grpc_keepalive_time
            .map(|every| KeepAlive { every, timeout: triton.grpc_keepalive_timeout.unwrap_or(PING_TIMEOUT) }),
    }
}

/// What of the server's own account is wanted. Its metrics page is looked for where Triton has it.
///
/// # Errors
/// When the page's URL is not one.
pub fn observe(args: &ProfileArgs, endpoint: &Endpoint) -> Result<Observe> {
    let triton = &args.triton;
    let metrics = triton.collect_metrics.then(|| -> Result<Metrics> {
        let (target, path) = match &triton.metrics_url {
            Some(url) => url::target("--metrics-url", url)?,
            None => (Target { tls: false, port: METRICS_PORT, ..endpoint.target.clone() }, METRICS_PATH.to_owned()),
        };
        let every = Nanos::from_millis(i64::from(triton.metrics_interval.unwrap_or(METRICS_INTERVAL)));
        Ok(Metrics { target, path, every })
    });
    Ok(Observe {
        statistics: spec(endpoint.kind).capabilities.describes_models && !triton.no_server_statistics,
        composing: triton.bls_composing_models.clone(),
        metrics: metrics.transpose()?,
    })
}

/// Refuses flags that do nothing for an endpoint of that kind.
fn useless(args: &ProfileArgs, kind: EndpointKind) -> Result<()> {
    let triton = &args.triton;
    let grpc = "gRPC (--service-kind triton)";
    let any = "Triton (--service-kind triton, or --endpoint-type generate)";
    let (is_grpc, is_any) = (spec(kind).is_grpc(), spec(kind).capabilities.describes_models);
    let flags = [
        ("--backend", triton.backend.is_some(), is_grpc, grpc),
        ("--request-parameter", !triton.request_parameter.is_empty(), is_grpc, grpc),
        ("--grpc-compression-algorithm", triton.grpc_compression_algorithm.is_some(), is_grpc, grpc),
        ("--streams-per-channel", triton.streams_per_channel.is_some(), is_grpc, grpc),
        ("--grpc-keepalive-time", triton.grpc_keepalive_time.is_some(), is_grpc, grpc),
        ("--text-output", triton.text_output.is_some(), is_grpc, grpc),
        ("--model-version", triton.model_version.is_some(), is_any, any),
        ("--bls-composing-models", !triton.bls_composing_models.is_empty(), is_any, any),
        ("--no-server-statistics", triton.no_server_statistics, is_any, any),
        ("--collect-metrics", triton.collect_metrics, is_any, any),
    ];
    match flags.into_iter().find(|(_, given, belongs, _)| *given && !belongs) {
        Some((flag, _, _, what)) => bail!("{flag} belongs to {what}; leave it out, or measure that"),
        None if triton.no_server_statistics && !triton.bls_composing_models.is_empty() => {
            bail!(
                "--bls-composing-models: --no-server-statistics leaves nothing to show of them; leave out one of the two"
            )
        }
        None => Ok(()),
    }
}
