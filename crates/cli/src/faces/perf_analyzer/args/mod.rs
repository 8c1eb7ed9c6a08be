//! Perf Analyzer's flags as typed, in its spellings. [`super::settings`] interprets them together.

mod load;
mod refused;
mod request;
mod server;
mod values;

pub use load::{Distribution, LoadArgs, Range};
pub use refused::why;
pub use request::{Protocol, RequestArgs, SharedMemoryKind};
pub use server::{FileForm, ServerArgs, TraceLevel};

use crate::args::values::{interval, whole};
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use streamgauge_core::clock::Nanos;
use values::{percentile, stability};

/// Arguments of `perf-analyzer`, which are Perf Analyzer's.
#[derive(Args, Debug)]
#[command(args_override_self = true, infer_long_args = true, override_usage = "perf_analyzer -m NAME [OPTIONS]")]
pub struct PerfAnalyzerArgs {
    /// Name of the model
    #[arg(short, long = "model", value_name = "NAME")]
    pub model: Option<String>,
    /// Version of the model [default: the server's choice]
    #[arg(short = 'x', long, value_name = "VERSION")]
    pub model_version: Option<String>,
    /// Kind of server: triton or openai
    #[arg(long, value_name = "KIND", default_value = "triton", value_parser = service_kind)]
    pub service_kind: ServiceKind,
    /// Path of an OpenAI endpoint, such as v1/chat/completions
    #[arg(long, value_name = "PATH")]
    pub endpoint: Option<String>,
    /// Models that a business-logic model calls, whose statistics are shown too: `name[:version],..`
    #[arg(long, value_name = "MODELS")]
    pub bls_composing_models: Option<String>,
    /// Print each window as it ends; given twice, also print the resolved plan
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Show this help
    #[arg(short = '?', hide = true, action = clap::ArgAction::Help)]
    pub help_too: Option<bool>,

    #[command(flatten)]
    pub measure: MeasureArgs,
    #[command(flatten)]
    pub load: LoadArgs,
    #[command(flatten)]
    pub request: RequestArgs,
    #[command(flatten)]
    pub server: ServerArgs,
    #[command(flatten)]
    pub report: ReportArgs,
}

/// The kinds of servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceKind {
    /// KServe v2
    Triton,
    /// OpenAI's HTTP
    Openai,
}

/// Arguments about the length of the measurement.
#[derive(Args, Debug)]
#[command(next_help_heading = "Measurement")]
pub struct MeasureArgs {
    /// Send without waiting for each answer; with a rate, without a bound on requests in flight
    #[arg(short, long)]
    pub r#async: bool,
    /// Wait for each answer; with a rate, no more than --max-threads requests in flight
    #[arg(long)]
    pub sync: bool,
    /// Rule by which a window ends: time_windows or count_windows
    #[arg(long, value_enum, hide_possible_values = true, default_value = "time_windows", value_name = "MODE")]
    pub measurement_mode: Mode,
    /// Duration of a window; a bare number is in milliseconds [default: 5000]
    #[arg(short = 'p', long, value_name = "TIME", value_parser = interval)]
    pub measurement_interval: Option<Nanos>,
    /// Number of requests in a window of count_windows [default: 50]
    #[arg(long, value_name = "N", value_parser = whole::<u64>(1, u64::MAX))]
    pub measurement_request_count: Option<u64>,
    /// Percentage by which three windows may differ [default: 10]
    #[arg(short = 's', long, value_name = "PERCENT", value_parser = stability)]
    pub stability_percentage: Option<f64>,
    /// Percentile of latency that must be stable and is shown instead of the mean; -1 means the mean
    #[arg(long, value_name = "P", default_value = "-1", value_parser = percentile)]
    pub percentile: i32,
    /// Maximum number of windows [default: 10]
    #[arg(short = 'r', long, value_name = "N", value_parser = whole::<u32>(1, 1_000_000))]
    pub max_trials: Option<u32>,
    /// Send this number of requests and report all of them, whether or not the results are stable
    #[arg(long, value_name = "N", value_parser = whole::<u64>(1, u64::MAX))]
    pub request_count: Option<u64>,
    /// Number of warm-up requests before the measured ones; no figure includes them
    #[arg(long, value_name = "N", default_value = "0", value_parser = whole::<u64>(0, u64::MAX))]
    pub warmup_request_count: u64,
    /// Latency that ends a search, in milliseconds; 0 means no limit
    #[arg(short = 'l', long, value_name = "MS", default_value = "0", value_parser = whole::<u64>(0, u64::MAX / 1_000_000))]
    pub latency_threshold: u64,
    /// Find the highest load below --latency-threshold by halving the range
    #[arg(long)]
    pub binary_search: bool,
    /// Maximum number of load threads [default: processors - 1]; with --sync and a rate also the maximum number of requests in flight, then 4 by default
    #[arg(long, value_name = "N", value_parser = whole::<u32>(1, 1_000_000))]
    pub max_threads: Option<u32>,
}

/// The rule by which a window ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Mode {
    /// After a time
    TimeWindows,
    /// After a number of requests
    CountWindows,
}

/// Arguments about the files.
#[derive(Args, Debug)]
#[command(next_help_heading = "Report")]
pub struct ReportArgs {
    /// CSV file of the levels
    #[arg(short = 'f', long = "csv-file", value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// Write more columns to the CSV file
    #[arg(long)]
    pub verbose_csv: bool,
    /// File of every request with its times, inputs and outputs, as JSON; must not exist
    #[arg(long, value_name = "FILE")]
    pub profile_export_file: Option<PathBuf>,
    /// Keep each level's records and summaries in a directory of its own below this one
    #[arg(long, value_name = "DIR")]
    pub artifact_dir: Option<PathBuf>,
}

fn service_kind(text: &str) -> Result<ServiceKind, String> {
    match text {
        "triton" => Ok(ServiceKind::Triton),
        "openai" => Ok(ServiceKind::Openai),
        "triton_c_api" => Err(refused::IN_PROCESS.to_owned()),
        "tfserving" => Err(refused::TFSERVING.to_owned()),
        "torchserve" => Err(refused::TORCHSERVE.to_owned()),
        "dynamic_grpc" => Err(refused::DYNAMIC.to_owned()),
        _ => Err("accepted: triton, openai".to_owned()),
    }
}
