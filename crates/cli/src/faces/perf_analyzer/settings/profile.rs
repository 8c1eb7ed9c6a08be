//! Converts Perf Analyzer's flags to those of `profile`, where that has an equivalent.

use crate::args::triton::TritonArgs;
use crate::args::{ProfileArgs, Ui, profile_defaults};
use crate::faces::perf_analyzer::args::{PerfAnalyzerArgs, Protocol, ServiceKind};
use std::path::PathBuf;
use streamgauge_core::plan::EndpointKind;
use streamgauge_prompt::tokenizer::EMBEDDED;

/// The default addresses of a server over HTTP and of Triton's gRPC.
const HTTP: &str = "localhost:8000";
const GRPC: &str = "localhost:8001";

/// The arguments of the engine, except the load and its end.
///
/// # Errors
/// As [`profile_defaults`].
pub fn profile(args: &PerfAnalyzerArgs) -> Result<ProfileArgs, clap::Error> {
    let usual = profile_defaults()?;
    let is_triton = args.service_kind == ServiceKind::Triton;
    let path = args.endpoint.clone().unwrap_or_default();
    let is_chat = path.contains("chat") || !path.trim_end_matches('/').ends_with("completions");
    let kind = match (args.service_kind, args.request.protocol) {
        (ServiceKind::Openai, _) if is_chat => EndpointKind::Chat,
        (ServiceKind::Openai, _) => EndpointKind::Completions,
        (ServiceKind::Triton, Protocol::Grpc) => EndpointKind::KserveGrpc,
        // The other kind of Triton's HTTP, whose URL may have a path in front of Triton's own.
        (ServiceKind::Triton, Protocol::Http) => EndpointKind::Generate,
    };
    let Files { ca, certificate, key } = Files::new(args);
    let is_authorized = args.request.header.iter().any(|header| {
        header.split_once(':').is_some_and(|(name, _)| name.trim().eq_ignore_ascii_case("authorization"))
    });
    let triton = if is_triton { triton(args, usual.triton) } else { usual.triton };
    Ok(ProfileArgs {
        tokenizer: Some(EMBEDDED.to_owned()),
        no_probe: true,
        ui: Some(Ui::None),
        model: vec![args.model.clone().unwrap_or_default()],
        url: vec![url(args)],
        endpoint_type: Some(kind),
        endpoint: (!is_triton).then_some(path),
        header: args.request.header.clone(),
        // The variable of this program's own name is meant for it, whatever command it runs as. A header says more.
        api_key: usual.api_key.filter(|_| !is_authorized),
        streaming: args.request.streaming,
        insecure: is_blind(args),
        ca_file: ca.filter(|_| !is_blind(args)),
        triton: TritonArgs {
            client_certificate: certificate,
            client_key: key,
            collect_metrics: args.server.collect_metrics,
            ..triton
        },
        ..usual
    })
}

fn triton(args: &PerfAnalyzerArgs, usual: TritonArgs) -> TritonArgs {
    let millis = |interval: streamgauge_core::Nanos| interval.as_millis_f64().ceil() as u32;
    TritonArgs {
        model_version: args.model_version.clone(),
        metrics_url: args.server.metrics_url.clone(),
        metrics_interval: args.server.metrics_interval.map(millis),
        bls_composing_models: composing(args),
        request_parameter: args.request.request_parameter.clone(),
        grpc_compression_algorithm: args.request.grpc_compression_algorithm,
        ..usual
    }
}

/// The models behind a business-logic model, without blanks.
fn composing(args: &PerfAnalyzerArgs) -> Vec<String> {
    let models: String = args.bls_composing_models.iter().flat_map(|models| models.split_whitespace()).collect();
    let models = models.trim_matches(',');
    if models.is_empty() { Vec::new() } else { models.split(',').map(str::to_owned).collect() }
}

/// The files that TLS needs.
struct Files {
    ca: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

impl Files {
    fn new(args: &PerfAnalyzerArgs) -> Files {
        let server = &args.server;
        let is_grpc = args.service_kind == ServiceKind::Triton && args.request.protocol == Protocol::Grpc;
        let (ca, certificate, key) = match is_grpc {
            true => (
                &server.ssl_grpc_root_certifications_file,
                &server.ssl_grpc_certificate_chain_file,
                &server.ssl_grpc_private_key_file,
            ),
            false => (
                &server.ssl_https_ca_certificates_file,
                &server.ssl_https_client_certificate_file,
                &server.ssl_https_private_key_file,
            ),
        };
        Files { ca: ca.clone(), certificate: certificate.clone(), key: key.clone() }
    }
}

/// Whether any certificate is trusted.
fn is_blind(args: &PerfAnalyzerArgs) -> bool {
    let is_grpc = args.service_kind == ServiceKind::Triton && args.request.protocol == Protocol::Grpc;
    !is_grpc && args.server.ssl_https_verify_peer == Some(0)
}

/// The server with its scheme.
fn url(args: &PerfAnalyzerArgs) -> String {
    let is_grpc = args.service_kind == ServiceKind::Triton && args.request.protocol == Protocol::Grpc;
    let url = args.request.url.as_deref().unwrap_or(if is_grpc { GRPC } else { HTTP });
    match url.contains("://") {
        true => url.to_owned(),
        false if is_grpc && args.server.ssl_grpc_use_ssl => format!("grpcs://{url}"),
        false if is_grpc => format!("grpc://{url}"),
        false => format!("http://{url}"),
    }
}
