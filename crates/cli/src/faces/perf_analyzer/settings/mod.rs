//! Interprets the arguments. Nothing here asks the server.

mod checks;
mod inputs;
mod levels;
mod profile;

pub use inputs::{Data, Inputs};
pub use levels::{Levels, Mode, label, trace};

use super::args::{self, PerfAnalyzerArgs, Protocol, ServiceKind, SharedMemoryKind, TraceLevel};
use crate::settings::Settings;
use anyhow::{Context, Result, anyhow};
use std::path::PathBuf;
use streamgauge_core::clock::Nanos;
use streamgauge_core::kserve::{Kserve, Sequences, SharedMemory};
use streamgauge_core::origin::Origins;
use streamgauge_core::plan::{Endpoint, EndpointKind, ExportLevel, JSONL, TokenCount, Trust};
use streamgauge_core::stop::{StabilityRule, Window};
use streamgauge_wire::endpoints::spec;

/// Room for each output in shared memory, in bytes.
const OUTPUT_BYTES: u64 = 102_400;
/// Sequences at once where a rate is kept.
const SEQUENCES: u32 = 4;
/// Requests of a sequence.
const SEQUENCE_LENGTH: u32 = 20;
/// The share by which that length varies.
const VARIATION: f64 = 0.2;

/// The meaning of a command line.
pub struct Task {
    /// The settings that all levels share, for the engine. The load and its end belong to each level.
    pub settings: Settings,
    /// The endpoint.
    pub service: ServiceKind,
    /// Which loads there are.
    pub mode: Mode,
    /// Find the level by halving.
    pub binary: bool,
    /// How a level is measured.
    pub measure: Measure,
    /// The input data.
    pub inputs: Inputs,
    /// Whether requests were asked to wait for each other (--sync) or not to (--async, --streaming).
    pub calls: Option<Calls>,
    /// Requests in flight at most where calls wait for each other and a rate is kept.
    pub most: u32,
    /// The maximum number of load threads.
    pub threads: u16,
    /// How sequences are made, where the model wants some.
    pub sequences: Sequences,
    /// The first flag that does something only for models with sequences.
    pub sequence_flag: Option<&'static str>,
    /// Whether a batch size was asked for, be it the usual one.
    pub batch_given: bool,
    /// Whether the metrics of the server's GPUs are read.
    pub collects: bool,
    /// The trace settings of the server.
    pub trace: Vec<(String, Vec<String>)>,
    /// The files to write.
    pub output: Output,
    /// Show each window, and what the client itself took.
    pub verbose: bool,
}

/// Whether requests wait for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Calls {
    /// They do.
    Sync,
    /// They do not.
    Async,
}

/// How a level is measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measure {
    /// The number of requests, instead of windows.
    pub requests: Option<u64>,
    /// The rule about windows.
    pub windows: StabilityRule,
    /// Requests before, in no figure.
    pub warmup: u64,
    /// The latency that ends a search, in milliseconds.
    pub limit_ms: Option<u64>,
}

/// The files to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// The file of levels.
    pub csv: Option<PathBuf>,
    /// More columns in it.
    pub verbose_csv: bool,
    /// The file of all requests.
    pub export: Option<PathBuf>,
    /// The directory for the files of the levels.
    pub artifacts: Option<PathBuf>,
}

impl Task {
    /// Interprets `args`, whose values came from where `origins` say.
    ///
    /// # Errors
    /// A sentence that names the flag and what is accepted.
    pub fn resolve(mut args: PerfAnalyzerArgs, origins: Origins) -> Result<Task> {
        let mut notes = checks::deprecated(&mut args);
        checks::refuse(&args)?;
        notes.extend(checks::idle(&args));
        let mode = Mode::of(&args)?;
        let mut measure = measure(&args);
        levels::check(&args, &mode, &measure)?;
        if let Mode::Growing(growth) = mode {
            measure.requests = Some(growth.end.into());
        }
        let inputs = Inputs::of(&args)?;
        let mut settings = settings(&args, origins)?;
        settings.spec.notes = notes;
        let streaming = args.request.streaming.then_some(Calls::Async);
        let asked = args.measure.r#async.then_some(Calls::Async).or(args.measure.sync.then_some(Calls::Sync));
        let is_rate = matches!(mode, Mode::Rate { .. } | Mode::Intervals(_) | Mode::Schedule);
        Ok(Task {
            settings,
            service: args.service_kind,
            binary: args.measure.binary_search,
            inputs,
            calls: asked.or(streaming),
            most: args.measure.max_threads.unwrap_or(if is_rate { 4 } else { 16 }),
            threads: args.measure.max_threads.map_or(u16::MAX, |most| u16::try_from(most).unwrap_or(u16::MAX)),
            sequences: sequences(&args),
            sequence_flag: checks::sequence_flag(&args),
            batch_given: args.request.batch.is_some(),
            collects: args.server.collect_metrics,
            trace: trace_settings(&args.server),
            output: Output {
                csv: args.report.csv,
                verbose_csv: args.report.verbose_csv,
                export: args.report.profile_export_file,
                artifacts: args.report.artifact_dir,
            },
            verbose: args.verbose > 0,
            mode,
            measure,
        })
    }
}

/// The settings of the engine, except the load.
fn settings(args: &PerfAnalyzerArgs, origins: Origins) -> Result<Settings> {
    let mut settings = Settings::resolve(profile::profile(args)?, origins, &|_| None)?;
    settings.verbose = args.verbose > 1;
    settings.spec.plan.transport.timeouts.idle = args.server.idle_timeout;
    settings.bar = Some(false);
    // Perf Analyzer counts responses.
    settings.spec.plan.measure.token_count = TokenCount::Chunks;
    let output = &mut settings.spec.plan.output;
    if args.report.profile_export_file.is_some() {
        output.export = ExportLevel::Raw;
    } else {
        // Nobody asked for the file of all requests, so none is written.
        output.export = ExportLevel::Records;
        output.record_formats = vec![JSONL.to_owned()];
    }
    trust(args, &mut settings.spec.plan.endpoint)?;
    match args.service_kind {
        ServiceKind::Triton => triton(args, &mut settings.spec.plan.endpoint),
        // Whether answers are streams is in the bodies.
        ServiceKind::Openai => settings.spec.plan.endpoint.ask_usage = false,
    }
    Ok(settings)
}

fn triton(args: &PerfAnalyzerArgs, endpoint: &mut Endpoint) {
    let version = args.model_version.clone();
    endpoint.kind = match args.request.protocol {
        Protocol::Grpc => EndpointKind::KserveGrpc,
        Protocol::Http => {
            let model = args.model.as_deref().unwrap_or_default();
            let [typed, meant] = [EndpointKind::Generate, EndpointKind::KserveHttp]
                .map(|kind| spec(kind).default_path(model, version.as_deref(), false));
            // The prefix of the path belongs to the server.
            let base = endpoint.path.strip_suffix(typed.as_str()).unwrap_or_default();
            endpoint.path = format!("{base}{meant}");
            EndpointKind::KserveHttp
        }
    };
    let request = &args.request;
    let room = request.output_shared_memory_size.unwrap_or(OUTPUT_BYTES);
    let output_bytes = room.saturating_mul(request.batch.unwrap_or(1).into());
    endpoint.kserve = Kserve {
        version,
        // Tensors are tensors here: no tokens are counted.
        text_output: None,
        backend: None,
        input_format: request.input_tensor_format.unwrap_or_default(),
        output_format: request.output_tensor_format.unwrap_or_default(),
        shared_memory: (request.shared_memory == SharedMemoryKind::System).then_some(SharedMemory { output_bytes }),
        ..std::mem::take(&mut endpoint.kserve)
    };
}

/// How a TLS server is trusted, where that is more than what `profile` has words for.
fn trust(args: &PerfAnalyzerArgs, endpoint: &mut Endpoint) -> Result<()> {
    let server = &args.server;
    let forms = [
        (
            server.ssl_https_client_certificate_type,
            &server.ssl_https_client_certificate_file,
            "client-certificate-type",
        ),
        (server.ssl_https_private_key_type, &server.ssl_https_private_key_file, "private-key-type"),
    ];
    for (form, file, flag) in forms {
        let (Some(form), Some(file)) = (form, file) else { continue };
        let bytes = std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
        let is_pem = bytes.windows(11).any(|part| part == b"-----BEGIN ");
        if is_pem != (form == args::FileForm::Pem) {
            let (is, other) = if is_pem { ("PEM", "DER") } else { ("DER", "PEM") };
            return Err(anyhow!("--ssl-https-{flag} {other}: {} is {is}; give {is}", file.display()));
        }
    }
    if server.ssl_https_verify_host == Some(0) && server.ssl_https_verify_peer != Some(0) {
        endpoint.trust = Trust::AnyName(server.ssl_https_ca_certificates_file.clone());
    }
    Ok(())
}

/// Perf Analyzer's windows, where nothing else is said: how long they are, or of how many requests, by how many percent they may
/// differ, and how many there are at most.
const INTERVAL: Nanos = Nanos::from_millis(5_000);
const WINDOW_REQUESTS: u64 = 50;
const STABILITY: f64 = 10.0;
const TRIALS: u32 = 10;

fn measure(args: &PerfAnalyzerArgs) -> Measure {
    let flags = &args.measure;
    let window = match flags.measurement_mode {
        args::Mode::TimeWindows => Window::Time(flags.measurement_interval.unwrap_or(INTERVAL)),
        args::Mode::CountWindows => Window::Requests(flags.measurement_request_count.unwrap_or(WINDOW_REQUESTS)),
    };
    let windows = StabilityRule {
        window,
        within: flags.stability_percentage.unwrap_or(STABILITY) / 100.0,
        // -1 is none.
        percentile: u8::try_from(flags.percentile).ok(),
        most: flags.max_trials.unwrap_or(TRIALS),
    };
    Measure {
        requests: flags.request_count,
        windows,
        warmup: flags.warmup_request_count,
        limit_ms: Some(flags.latency_threshold).filter(|limit| *limit > 0),
    }
}

fn sequences(args: &PerfAnalyzerArgs) -> Sequences {
    let load = &args.load;
    let (first_id, end_id) = load.sequence_id_range.unwrap_or((1, None));
    Sequences {
        live: load.num_of_sequences.unwrap_or(SEQUENCES),
        length: load.sequence_length.unwrap_or(SEQUENCE_LENGTH),
        variation: load.sequence_length_variation.unwrap_or(VARIATION),
        first_id,
        end_id,
        serial: load.serial_sequences,
    }
}

/// Names and values as the protocol has them.
fn trace_settings(server: &args::ServerArgs) -> Vec<(String, Vec<String>)> {
    let level = server.trace_level.map(|level| match level {
        TraceLevel::Off => "OFF".to_owned(),
        TraceLevel::Timestamps => "TIMESTAMPS".to_owned(),
        TraceLevel::Tensors => "TENSORS".to_owned(),
    });
    let settings = [
        ("trace_level", level),
        ("trace_rate", server.trace_rate.map(|rate| rate.to_string())),
        ("trace_count", server.trace_count.map(|count| count.to_string())),
        ("log_frequency", server.log_frequency.map(|frequency| frequency.to_string())),
    ];
    settings.into_iter().filter_map(|(name, value)| Some((name.to_owned(), vec![value?]))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use streamgauge_core::kserve::{Compression, TensorFormat};
    use streamgauge_core::plan::Identity;

    #[derive(Parser)]
    struct Typed {
        #[command(flatten)]
        args: PerfAnalyzerArgs,
    }

    fn resolve(words: &str) -> Result<Task> {
        let words = ["perf_analyzer", "-m", "m"].into_iter().chain(words.split_whitespace());
        Task::resolve(Typed::try_parse_from(words).unwrap().args, Origins::default())
    }

    fn endpoint(words: &str) -> Endpoint {
        resolve(words).unwrap().settings.spec.plan.endpoint
    }

    #[test]
    fn servers_are_where_perf_analyzer_looks_for_them() {
        let at = |words| {
            let endpoint = endpoint(words);
            (endpoint.kind, endpoint.target.to_string(), endpoint.path)
        };
        let path = |kind: EndpointKind, version| spec(kind).default_path("m", version, false);
        let infer = path(EndpointKind::KserveHttp, None);
        assert_eq!(at(""), (EndpointKind::KserveHttp, "http://localhost:8000".into(), infer.clone()));
        assert_eq!(at("-u h:1/base"), (EndpointKind::KserveHttp, "http://h:1".into(), format!("/base{infer}")));
        assert_eq!(at("-x 3").2, path(EndpointKind::KserveHttp, Some("3")));
        assert_eq!(at("-i grpc").1, "http://localhost:8001");
        assert_eq!(at("-i grpc --ssl-grpc-use-ssl -u h:9").1, "https://h:9");
    }

    #[test]
    fn tls_is_as_safe_as_it_was_asked_to_be() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let (pem, key) = (file("a.pem", "-----BEGIN CERTIFICATE-----"), file("k.der", "\u{1}"));
        let (shown, key_shown) = (pem.display(), key.display());
        let identity = Some(Identity { certificates: pem.clone(), key: key.clone() });
        let grpc = endpoint(&format!(
            "-i grpc --ssl-grpc-use-ssl --ssl-grpc-root-certifications-file {shown} \
             --ssl-grpc-certificate-chain-file {shown} --ssl-grpc-private-key-file {key_shown}"
        ));
        assert_eq!((grpc.trust, grpc.identity), (Trust::File(pem.clone()), identity.clone()));
        let client = format!(
            "-u https://h --ssl-https-client-certificate-file {shown} --ssl-https-private-key-file {key_shown}"
        );
        assert_eq!(endpoint(&client).identity, identity);
        assert_eq!(endpoint("-u https://h").trust, Trust::System);
        assert_eq!(endpoint("-u https://h --ssl-https-verify-host 1").trust, Trust::System);
        assert_eq!(endpoint("-u https://h --ssl-https-verify-host 0").trust, Trust::AnyName(None));
        let any_name = format!("-u https://h --ssl-https-verify-host 0 --ssl-https-ca-certificates-file {shown}");
        assert_eq!(endpoint(&any_name).trust, Trust::AnyName(Some(pem.clone())));
        assert_eq!(endpoint("-u https://h --ssl-https-verify-peer 0").trust, Trust::Insecure);
        let wrong = resolve(&format!("{client} --ssl-https-client-certificate-type DER")).err().unwrap().to_string();
        assert!(
            wrong.starts_with("--ssl-https-client-certificate-type DER: ") && wrong.ends_with("is PEM; give PEM"),
            "{wrong}"
        );
        assert!(resolve(&format!("{client} --ssl-https-private-key-type DER")).is_ok());
    }

    #[test]
    fn every_request_flag_reaches_the_plan() {
        let grpc = endpoint("-i grpc --grpc-compression-algorithm deflate --request-parameter a:b:string -H A:b");
        let kserve = grpc.kserve;
        assert_eq!((kserve.compression, kserve.parameters.len()), (Compression::Deflate, 1));
        assert_eq!((grpc.headers[0].name.as_str(), grpc.headers[0].value.expose()), ("A", "b"));
        let http = endpoint("--input-tensor-format json --shared-memory system --output-shared-memory-size 8 -b 3");
        let kserve = http.kserve;
        assert_eq!((kserve.input_format, kserve.output_format), (TensorFormat::Json, TensorFormat::Binary));
        assert_eq!(kserve.shared_memory, Some(SharedMemory { output_bytes: 24 }));
        let task = resolve("--trace-level TENSORS --trace-count=-1 --log-frequency 5 --sequence-id-range 3:9").unwrap();
        let trace: Vec<_> = task.trace.iter().map(|(name, value)| (name.as_str(), value[0].as_str())).collect();
        assert_eq!(trace, [("trace_level", "TENSORS"), ("trace_count", "-1"), ("log_frequency", "5")]);
        assert_eq!((task.sequences.first_id, task.sequences.end_id), (3, Some(9)));
        let measure = resolve("-p 1500 -s 5 --percentile 95 -r 7 -l 20 --warmup-request-count 2").unwrap().measure;
        let windows = StabilityRule {
            window: Window::Time(Nanos::from_millis(1_500)),
            within: 0.05,
            percentile: Some(95),
            most: 7,
        };
        assert_eq!(measure, Measure { requests: None, windows, warmup: 2, limit_ms: Some(20) });
        let sync = resolve("--request-rate-range 5 --sync --max-threads 9").unwrap();
        assert_eq!((sync.cap(Calls::Sync), sync.cap(Calls::Async)), (Some(9), None));
    }
}
