//! The words of `profile` that say the same as Perf Analyzer's flags, as far as there are such.

use crate::faces::perf_analyzer::args::{PerfAnalyzerArgs, Protocol, ServiceKind};
use std::path::Path;
use streamgauge_core::kserve::{ParameterValue, RequestParameter};
use streamgauge_prompt::tokenizer::EMBEDDED;

/// Where a server is looked for over HTTP, and Triton's gRPC.
const HTTP: &str = "localhost:8000";
const GRPC: &str = "localhost:8001";

/// They, all but for load and its end.
pub fn of(args: &PerfAnalyzerArgs) -> Vec<String> {
    let mut words: Vec<String> = ["--tokenizer", EMBEDDED, "--no-probe", "--ui", "none"].map(str::to_owned).to_vec();
    let mut add = |flag: &str, value: &str| words.push(format!("{flag}={value}"));
    add("--model", args.model.as_deref().unwrap_or_default());
    add("--url", &url(args));
    match (args.service_kind, args.request.protocol) {
        (ServiceKind::Openai, _) => {
            let path = args.endpoint.as_deref().unwrap_or_default();
            let is_chat = path.contains("chat") || !path.trim_end_matches('/').ends_with("completions");
            add("--endpoint-type", if is_chat { "chat" } else { "completions" });
            add("--endpoint", path);
        }
        (ServiceKind::Triton, Protocol::Grpc) => add("--endpoint-type", "kserve"),
        // The other kind of Triton's HTTP, whose URL may have a path in front of Triton's own.
        (ServiceKind::Triton, Protocol::Http) => add("--endpoint-type", "generate"),
    }
    args.request.header.iter().for_each(|header| add("--header", header));
    if args.service_kind == ServiceKind::Triton {
        triton(args, &mut add);
    }
    trust(args, &mut add);
    let switches = [
        ("--streaming", args.request.streaming),
        ("--collect-metrics", args.server.collect_metrics),
        ("--insecure", is_blind(args)),
    ];
    words.extend(switches.into_iter().filter(|(_, on)| *on).map(|(flag, _)| flag.to_owned()));
    words
}

fn triton(args: &PerfAnalyzerArgs, add: &mut impl FnMut(&str, &str)) {
    let mut given = |flag: &str, value: &Option<String>| value.iter().for_each(|value| add(flag, value));
    given("--model-version", &args.model_version);
    given("--metrics-url", &args.server.metrics_url);
    given("--bls-composing-models", &composing(args));
    if let Some(interval) = args.server.metrics_interval {
        add("--metrics-interval", &interval.as_millis_f64().ceil().to_string());
    }
    args.request.request_parameter.iter().for_each(|parameter| add("--request-parameter", &shown(parameter)));
    if let Some(algorithm) = args.request.grpc_compression_algorithm {
        add("--grpc-compression-algorithm", &format!("{algorithm:?}").to_lowercase());
    }
}

/// The models behind a business-logic model, without blanks.
fn composing(args: &PerfAnalyzerArgs) -> Option<String> {
    let models: String = args.bls_composing_models.as_ref()?.split_whitespace().collect();
    Some(models.trim_matches(',').to_owned()).filter(|models| !models.is_empty())
}

fn trust(args: &PerfAnalyzerArgs, add: &mut impl FnMut(&str, &str)) {
    let server = &args.server;
    let mut file = |flag: &str, file: Option<&Path>| file.iter().for_each(|file| add(flag, &file.to_string_lossy()));
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
    file("--client-certificate", certificate.as_deref());
    file("--client-key", key.as_deref());
    if !is_blind(args) {
        file("--ca-file", ca.as_deref());
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

fn shown(parameter: &RequestParameter) -> String {
    let (value, kind) = match &parameter.value {
        ParameterValue::Bool(value) => (value.to_string(), "bool"),
        ParameterValue::Int(value) => (value.to_string(), "int"),
        ParameterValue::String(value) => (value.clone(), "string"),
    };
    format!("{}:{value}:{kind}", parameter.name)
}
