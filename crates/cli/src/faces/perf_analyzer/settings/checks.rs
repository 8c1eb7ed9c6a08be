//! Refuses what does not go together, and says of what has no effect that it has none: Perf Analyzer takes many flags where they do
//! nothing, and scripts give them.

use crate::faces::perf_analyzer::args::{
    Distribution, Mode, PerfAnalyzerArgs, Protocol, Range, ServiceKind, SharedMemoryKind,
};
use anyhow::{Result, bail};
use std::path::Path;
use streamgauge_core::clock::Nanos;

/// The longest time between two readings of the metrics page, as for `profile`.
const LONGEST_METRICS_INTERVAL: Nanos = Nanos::from_millis(3_600_000);

/// Replaces deprecated flags by those that they stand for, and notes it.
pub fn deprecated(args: &mut PerfAnalyzerArgs) -> Vec<String> {
    let mut notes = Vec::new();
    let mut tell = |given: bool, flag: &str, instead: &str| {
        if given {
            notes.push(format!("{flag} is deprecated; use {instead}"));
        }
    };
    let load = &mut args.load;
    tell(load.dynamic, "-d", "--concurrency-range");
    tell(load.threads.is_some(), "-t", "--concurrency-range");
    tell(load.most.is_some(), "-c", "--concurrency-range");
    tell(args.request.zero, "-z", "--input-data zero");
    tell(!args.request.data_directory.is_empty(), "--data-directory", "--input-data");
    if load.threads.is_some() || load.most.is_some() {
        let (start, end) = (load.threads.unwrap_or(1), load.most.unwrap_or(1));
        load.concurrency_range.get_or_insert(Range { start, end, step: 1 });
    }
    let directories = args.request.data_directory.drain(..).map(|path| path.to_string_lossy().into_owned());
    args.request.input_data.extend(directories);
    notes
}

/// Refuses options that conflict or have no effect.
///
/// # Errors
/// A sentence that names the flag.
pub fn refuse(args: &PerfAnalyzerArgs) -> Result<()> {
    if args.model.as_deref().is_none_or(|model| model.trim().is_empty()) {
        bail!("-m NAME is required");
    }
    if args.measure.r#async && args.measure.sync {
        bail!("--async and --sync cannot be given together; leave out one of the two");
    }
    if args.request.streaming && args.measure.sync {
        bail!(
            "--streaming and --sync cannot be given together, because the requests of a stream do not wait for each other; leave out --sync"
        );
    }
    calls(args)?;
    secure(args)?;
    outputs(args)?;
    match args.service_kind {
        ServiceKind::Openai => openai(args),
        ServiceKind::Triton => Ok(()),
    }
}

/// Refuses flags that belong to the other protocol.
fn calls(args: &PerfAnalyzerArgs) -> Result<()> {
    let request = &args.request;
    let is_grpc = request.protocol == Protocol::Grpc;
    let grpc = [
        ("--streaming", request.streaming),
        ("--request-parameter", !request.request_parameter.is_empty()),
        ("--grpc-compression-algorithm", request.grpc_compression_algorithm.is_some()),
    ];
    if let Some((flag, _)) = grpc.into_iter().find(|(_, given)| *given && !is_grpc) {
        bail!("{flag} needs gRPC; add -i grpc, or leave it out");
    }
    let server = &args.server;
    if (server.metrics_url.is_some() || server.metrics_interval.is_some()) && !server.collect_metrics {
        let flag = if server.metrics_url.is_some() { "--metrics-url" } else { "--metrics-interval" };
        bail!("{flag} needs --collect-metrics; add that, or leave it out");
    }
    if server.metrics_interval.is_some_and(|interval| interval > LONGEST_METRICS_INTERVAL) {
        bail!("--metrics-interval: give at most {} (an hour)", LONGEST_METRICS_INTERVAL.as_millis_f64());
    }
    Ok(())
}

/// Security that was asked for and would not be there.
fn secure(args: &PerfAnalyzerArgs) -> Result<()> {
    let server = &args.server;
    let is_grpc = args.service_kind == ServiceKind::Triton && args.request.protocol == Protocol::Grpc;
    let files = [
        ("--ssl-grpc-root-certifications-file", &server.ssl_grpc_root_certifications_file, true),
        ("--ssl-grpc-private-key-file", &server.ssl_grpc_private_key_file, true),
        ("--ssl-grpc-certificate-chain-file", &server.ssl_grpc_certificate_chain_file, true),
        ("--ssl-https-ca-certificates-file", &server.ssl_https_ca_certificates_file, false),
        ("--ssl-https-client-certificate-file", &server.ssl_https_client_certificate_file, false),
        ("--ssl-https-private-key-file", &server.ssl_https_private_key_file, false),
    ];
    let url = args.request.url.as_deref().unwrap_or_default();
    let is_secure = url.starts_with("https://") || url.starts_with("grpcs://") || (is_grpc && server.ssl_grpc_use_ssl);
    for (flag, file, of_grpc) in files {
        let Some(file) = file else { continue };
        if of_grpc != is_grpc {
            bail!("{flag} needs {}; leave it out", if of_grpc { "gRPC (-i grpc)" } else { "HTTP (-i http)" });
        }
        if !is_secure {
            let how = if of_grpc { "--ssl-grpc-use-ssl" } else { "-u https://.." };
            bail!("{flag}: the connection does not use TLS; add {how}, or leave it out");
        }
        if !file.is_file() {
            bail!("{flag} {}: the file does not exist", file.display());
        }
    }
    if server.ssl_grpc_use_ssl && !is_grpc {
        bail!("--ssl-grpc-use-ssl needs gRPC (-i grpc); for HTTP use -u https://..");
    }
    let pairs = [
        (
            &server.ssl_grpc_certificate_chain_file,
            &server.ssl_grpc_private_key_file,
            "grpc-certificate-chain-file",
            "grpc",
        ),
        (
            &server.ssl_https_client_certificate_file,
            &server.ssl_https_private_key_file,
            "https-client-certificate-file",
            "https",
        ),
    ];
    for (certificate, key, flag, kind) in pairs {
        if certificate.is_some() != key.is_some() {
            bail!("--ssl-{flag} and --ssl-{kind}-private-key-file must be given together; give both, or neither");
        }
    }
    Ok(())
}

fn outputs(args: &PerfAnalyzerArgs) -> Result<()> {
    if let Some(file) = args.report.profile_export_file.as_deref().filter(|file| file.exists()) {
        bail!("--profile-export-file {}: the file exists already; name a new one", file.display());
    }
    let files = [("--profile-export-file", &args.report.profile_export_file), ("-f", &args.report.csv)];
    for (flag, file) in files {
        let Some(file) = file else { continue };
        let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if file.file_name().is_none() || !directory.is_dir() {
            bail!("{flag} {}: the directory {} does not exist", file.display(), directory.display());
        }
        if file.is_dir() {
            bail!("{flag} {}: this is a directory; name a file", file.display());
        }
    }
    Ok(())
}

fn openai(args: &PerfAnalyzerArgs) -> Result<()> {
    if args.request.input_data.is_empty() {
        bail!("--service-kind openai needs --input-data FILE with payloads");
    }
    if args.endpoint.as_deref().is_none_or(|path| path.trim().is_empty()) {
        bail!("--service-kind openai needs --endpoint PATH, such as v1/chat/completions");
    }
    if !args.measure.r#async {
        bail!("--service-kind openai needs --async");
    }
    if let Some(batch @ 2..) = args.request.batch {
        bail!("-b {batch}: --service-kind openai does not support batches; leave it out");
    }
    let triton = [
        ("--shared-memory", args.request.shared_memory != SharedMemoryKind::None),
        ("--collect-metrics", args.server.collect_metrics),
        ("--trace-level", args.server.trace_level.is_some()),
        ("--trace-rate", args.server.trace_rate.is_some()),
        ("--trace-count", args.server.trace_count.is_some()),
        ("--log-frequency", args.server.log_frequency.is_some()),
        ("--serial-sequences", args.load.serial_sequences),
        ("--bls-composing-models", args.bls_composing_models.is_some()),
        ("-i grpc", args.request.protocol == Protocol::Grpc),
    ];
    match triton.into_iter().find(|(_, given)| *given) {
        Some((flag, _)) => bail!("{flag} needs --service-kind triton; leave it out"),
        None => Ok(()),
    }
}

/// Notes about flags that have no effect in combination with the others.
pub fn idle(args: &PerfAnalyzerArgs) -> Vec<String> {
    let (request, measure, load) = (&args.request, &args.measure, &args.load);
    let is_triton = args.service_kind == ServiceKind::Triton;
    let is_grpc = request.protocol == Protocol::Grpc;
    let made = request.input_data.iter().all(|data| matches!(data.as_str(), "random" | "zero"));
    let is_https = request.url.as_deref().is_some_and(|url| url.starts_with("https://")) && !(is_triton && is_grpc);
    let plain = (!is_https).then_some("the connection does not use https");
    let strings = (!made || !is_triton).then_some("the strings come from --input-data");
    let exported = load.periodic_concurrency_range.map(|_| "--periodic-concurrency-range writes only the export");
    let counted = measure.request_count.map(|_| "--request-count measures by a count, without windows").or(exported);
    let by_time =
        (measure.measurement_mode == Mode::TimeWindows).then_some("it needs --measurement-mode count_windows");
    let by_count =
        (measure.measurement_mode == Mode::CountWindows).then_some("it needs --measurement-mode time_windows");
    let flags = [
        ("--measurement-interval", measure.measurement_interval.is_some(), counted.or(by_count)),
        ("--measurement-request-count", measure.measurement_request_count.is_some(), counted.or(by_time)),
        ("--stability-percentage", measure.stability_percentage.is_some(), counted),
        ("--max-trials", measure.max_trials.is_some(), counted),
        ("--endpoint", args.endpoint.is_some() && is_triton, Some("it needs --service-kind openai")),
        ("-x", args.model_version.is_some() && !is_triton, Some("it needs --service-kind triton")),
        ("--shape", !request.shape.is_empty() && !is_triton, Some("it needs --service-kind triton")),
        (
            "--string-length",
            request.string_length.is_some(),
            strings.or(request.string_data.is_some().then_some("--string-data gives the string")),
        ),
        ("--string-data", request.string_data.is_some(), strings),
        ("--ssl-https-verify-peer", args.server.ssl_https_verify_peer.is_some(), plain),
        ("--ssl-https-verify-host", args.server.ssl_https_verify_host.is_some(), plain),
        ("--input-tensor-format", request.input_tensor_format.is_some(), is_grpc.then_some("gRPC has only one format")),
        (
            "--output-tensor-format",
            request.output_tensor_format.is_some(),
            is_grpc.then_some("gRPC has only one format"),
        ),
        (
            "--output-shared-memory-size",
            request.output_shared_memory_size.is_some() && request.shared_memory == SharedMemoryKind::None,
            Some("it needs --shared-memory"),
        ),
        (
            "--request-distribution",
            load.request_distribution == Some(Distribution::Poisson) && load.request_rate_range.is_none(),
            Some("it needs --request-rate-range"),
        ),
        ("--verbose-csv", args.report.verbose_csv && args.report.csv.is_none(), Some("it needs -f")),
        (
            "--request-period",
            load.request_period.is_some() && load.periodic_concurrency_range.is_none(),
            Some("it needs --periodic-concurrency-range"),
        ),
        (
            "--serial-sequences",
            load.serial_sequences && load.request_rate_range.is_none(),
            Some("only a request rate can have several requests of a sequence in flight"),
        ),
        (
            "--num-of-sequences",
            load.num_of_sequences.is_some() && load.request_rate_range.is_none() && load.request_intervals.is_none(),
            Some("with a concurrency there are as many sequences as requests in flight"),
        ),
        ("--percentile", measure.percentile > 0, exported),
        ("--latency-threshold", measure.latency_threshold > 0, exported),
        ("-f", args.report.csv.is_some(), exported),
        ("--collect-metrics", args.server.collect_metrics, exported),
    ];
    let idle = flags.into_iter().filter(|(_, given, _)| *given);
    idle.filter_map(|(flag, _, why)| Some(format!("{flag} has no effect: {}", why?))).collect()
}

/// The first flag that does something only for models whose requests belong to sequences.
pub fn sequence_flag(args: &PerfAnalyzerArgs) -> Option<&'static str> {
    let load = &args.load;
    let flags = [
        ("--num-of-sequences", load.num_of_sequences.is_some()),
        ("--sequence-length", load.sequence_length.is_some()),
        ("--sequence-length-variation", load.sequence_length_variation.is_some()),
        ("--sequence-id-range", load.sequence_id_range.is_some()),
        ("--serial-sequences", load.serial_sequences),
    ];
    flags.into_iter().find(|(_, given)| *given).map(|(flag, _)| flag)
}
