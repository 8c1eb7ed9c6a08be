//! Arguments of `profile`, in all the spellings that GenAI-Perf's two generations and AIPerf have for them.

use crate::args::levels::Levels;
use crate::args::whole;
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use streamgauge_core::arrival::{Rate, Shape};
use streamgauge_core::clock::Nanos;
use streamgauge_core::units::{Bare, parse_duration};

/// Arguments of `profile`.
#[derive(Args, Debug)]
pub struct ProfileArgs {
    /// Model, or several that prompts are spread over; without it, the only one that the server lists
    #[arg(short, long, visible_alias = "model-names", num_args = 1.., value_name = "NAME", help_heading = "Endpoint")]
    pub model: Vec<String>,
    /// How a prompt gets its model when there are several
    #[arg(long, value_enum, default_value = "round_robin", help_heading = "Endpoint")]
    pub model_selection_strategy: Selection,
    /// Shape of requests and answers: chat or completions
    #[arg(long, default_value = "chat", value_name = "TYPE", value_parser = endpoint_type, help_heading = "Endpoint")]
    pub endpoint_type: streamgauge_core::plan::EndpointKind,
    /// Path of the endpoint, where it is not the usual one
    #[arg(long, visible_alias = "custom-endpoint", value_name = "PATH", help_heading = "Endpoint")]
    pub endpoint: Option<String>,
    /// Kind of server: openai
    #[arg(long, value_name = "KIND", value_parser = service_kind, help_heading = "Endpoint")]
    pub service_kind: Option<String>,
    /// Ask for answers as streams
    #[arg(long, help_heading = "Endpoint")]
    pub streaming: bool,
    /// Server [default: http://localhost:8000]
    #[arg(short, long, value_name = "URL", help_heading = "Endpoint", conflicts_with = "sim")]
    pub url: Option<String>,
    /// Start a simulated server inside this process and profile that: streaming, 8 streams, ten seconds, unless told otherwise
    #[arg(long, help_heading = "Endpoint")]
    pub sim: bool,
    /// API key, sent as a bearer token; better given in the environment
    #[arg(long, value_name = "KEY", env = "STREAMGAUGE_API_KEY", hide_env_values = true, help_heading = "Endpoint")]
    pub api_key: Option<String>,
    /// Header of every request, `Name: value`; may be repeated
    #[arg(short = 'H', long, value_name = "HEADER", num_args = 1.., help_heading = "Endpoint")]
    pub header: Vec<String>,
    /// Certificates (PEM) that an https server is trusted by, in place of the system's
    #[arg(long, value_name = "FILE", conflicts_with = "insecure", help_heading = "Endpoint")]
    pub ca_file: Option<PathBuf>,
    /// Trust any certificate
    #[arg(long, help_heading = "Endpoint")]
    pub insecure: bool,
    /// Longest time for a whole request
    #[arg(long, visible_alias = "request-timeout-seconds", value_name = "TIME", default_value = "6h", value_parser = limit, help_heading = "Endpoint")]
    pub request_timeout: Nanos,
    /// Longest time for opening a connection
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = limit, help_heading = "Endpoint")]
    pub connect_timeout: Nanos,
    /// Longest wait for an answer's first byte
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = limit, help_heading = "Endpoint")]
    pub first_byte_timeout: Nanos,
    /// Longest wait between two pieces of an answer
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = limit, help_heading = "Endpoint")]
    pub idle_timeout: Nanos,
    /// Start load without one request ahead that must be answered
    #[arg(long, help_heading = "Endpoint")]
    pub no_probe: bool,

    /// Different prompts; requests go round them
    #[arg(long, visible_alias = "num-prompts", value_name = "N", default_value = "100", value_parser = whole::<u32>(1, 10_000_000), help_heading = "Input")]
    pub num_dataset_entries: u32,
    /// Mean input length in tokens
    #[arg(long, visible_aliases = ["synthetic-input-tokens-mean", "prompt-input-tokens-mean"], value_name = "TOKENS", default_value = "550", value_parser = at_least_one, help_heading = "Input")]
    pub isl: f64,
    /// Standard deviation of the input length
    #[arg(long, visible_aliases = ["synthetic-input-tokens-stddev", "prompt-input-tokens-stddev"], value_name = "TOKENS", default_value = "0", value_parser = at_least_zero, help_heading = "Input")]
    pub isl_stddev: f64,
    /// Mean output length to ask for in tokens; without it the server decides
    #[arg(long, visible_aliases = ["output-tokens-mean", "prompt-output-tokens-mean"], value_name = "TOKENS", value_parser = at_least_one, help_heading = "Input")]
    pub osl: Option<f64>,
    /// Standard deviation of the output length
    #[arg(long, visible_aliases = ["output-tokens-stddev", "prompt-output-tokens-stddev"], value_name = "TOKENS", requires = "osl", value_parser = at_least_zero, help_heading = "Input")]
    pub osl_stddev: Option<f64>,
    /// Ask for exactly that output length (min_tokens, ignore_eos)
    #[arg(long, requires = "osl", help_heading = "Input")]
    pub output_tokens_mean_deterministic: bool,
    /// Seed of everything drawn by chance
    #[arg(long, value_name = "N", default_value = "0", value_parser = whole(0, u64::MAX), help_heading = "Input")]
    pub random_seed: u64,
    /// Texts a request; completions only
    #[arg(short, long, visible_aliases = ["batch-size-text", "prompt-batch-size"], value_name = "N", default_value = "1", value_parser = whole::<u32>(1, 4096), help_heading = "Input")]
    pub batch_size: u32,
    /// Prefixes that prompts share
    #[arg(long, visible_aliases = ["prefix-prompt-pool-size", "prompt-prefix-pool-size"], value_name = "N", default_value = "0", value_parser = whole::<u32>(0, 1_000_000), help_heading = "Input")]
    pub num_prefix_prompts: u32,
    /// Tokens of each prefix, before the input length
    #[arg(long, visible_alias = "prompt-prefix-length", value_name = "TOKENS", default_value = "100", value_parser = whole::<u32>(1, 10_000_000), help_heading = "Input")]
    pub prefix_prompt_length: u32,
    /// Member of every body, `name:value`, `name` (null) or a JSON object; may be repeated
    #[arg(long, value_name = "INPUT", num_args = 1.., help_heading = "Input")]
    pub extra_inputs: Vec<String>,
    /// Limits of a good request, `metric:value` (ms, or a rate per second)
    #[arg(short, long, value_name = "LIMIT", num_args = 1.., help_heading = "Input")]
    pub goodput: Vec<String>,

    /// Requests in flight at once [default: 1]; beside --request-rate the most there may be [default: no limit]. A list
    /// (1,4,8) or a range (start:end[:step]; 6:8, 1:64:*2) is run level by level
    #[arg(long, value_name = "N", help_heading = "Load")]
    pub concurrency: Option<Levels<u32>>,
    /// Requests per second, each sent when it is due whatever became of those before; inf sends all at once. A list or a
    /// range is run level by level
    #[arg(long, value_name = "RATE", help_heading = "Load")]
    pub request_rate: Option<Levels<Rate>>,
    /// Run each level so many times, with prompts of its own each time, and report how much the runs differ
    #[arg(long, visible_alias = "num-profile-runs", value_name = "N", default_value = "1", value_parser = whole::<u32>(1, 100), help_heading = "Load")]
    pub repeat: u32,
    /// How requests arrive at that rate: constant, poisson or gamma [default: constant; gamma with --arrival-smoothness]
    #[arg(long, visible_aliases = ["request-rate-mode", "request-distribution"], value_enum, requires = "request_rate", hide_possible_values = true, value_name = "PATTERN", help_heading = "Load")]
    pub arrival_pattern: Option<Pattern>,
    /// Shape of gamma arrivals: their gaps vary by 1/sqrt(shape); 1 is poisson, less is burstier [default: 1]
    #[arg(long, visible_aliases = ["burstiness", "vllm-burstiness"], value_name = "SHAPE", requires = "request_rate", help_heading = "Load")]
    pub arrival_smoothness: Option<Shape>,
    /// Requests to measure [default: max(10, 2 x concurrency)]
    #[arg(long, visible_alias = "num-requests", value_name = "N", value_parser = whole(1, u64::MAX), help_heading = "Load")]
    pub request_count: Option<u64>,
    /// How long to measure; a bare number is in seconds
    #[arg(long, value_name = "TIME", value_parser = run_time, conflicts_with = "measurement_interval", help_heading = "Load")]
    pub benchmark_duration: Option<Nanos>,
    /// How long to measure; a bare number is in milliseconds
    #[arg(short = 'p', long, value_name = "TIME", value_parser = interval, conflicts_with = "request_count", help_heading = "Load")]
    pub measurement_interval: Option<Nanos>,
    /// How long requests in flight may take once time is up; a bare number is in seconds
    #[arg(long, visible_alias = "benchmark-grace-period", value_name = "TIME", default_value = "30s", value_parser = grace, help_heading = "Load")]
    pub grace_period: Nanos,
    /// Requests sent before the measured ones, in no figure
    #[arg(long, visible_alias = "num-warmup-requests", value_name = "N", default_value = "0", value_parser = whole(0, u64::MAX), help_heading = "Load")]
    pub warmup_request_count: u64,
    /// Perf Analyzer's stability limit; only 999 (off)
    #[arg(short, long, value_name = "PERCENT", value_parser = stability, help_heading = "Load")]
    pub stability_percentage: Option<f64>,
    /// Load threads [default: processors - 1, at least 1]
    #[arg(long, value_name = "N", value_parser = whole::<u16>(1, 1024), help_heading = "Load")]
    pub threads: Option<u16>,
    /// Where receive stamps come from
    #[arg(long, value_enum, default_value = "kernel", help_heading = "Load")]
    pub clock: Clock,

    /// What counts tokens: a tokenizer.json, a directory with one, a name in the hub's cache, or cl100k_base
    #[arg(long, value_name = "FILE|DIR|NAME", help_heading = "Tokens")]
    pub tokenizer: Option<String>,
    /// Revision of a tokenizer in the hub's cache
    #[arg(long, value_name = "REVISION", default_value = "main", help_heading = "Tokens")]
    pub tokenizer_revision: String,
    /// Has no effect: code that comes with a tokenizer is never run
    #[arg(long, help_heading = "Tokens")]
    pub tokenizer_trust_remote_code: bool,
    /// Which count of output tokens the figures use
    #[arg(long, value_enum, default_value = "auto", help_heading = "Tokens")]
    pub token_count: TokenCounting,

    /// Directory of all runs' artifacts
    #[arg(
        long,
        visible_alias = "output-artifact-dir",
        value_name = "DIR",
        default_value = "artifacts",
        help_heading = "Output"
    )]
    pub artifact_dir: PathBuf,
    /// File name of the export; the summaries are named after it
    #[arg(long, visible_alias = "profile-export-prefix", value_name = "NAME", default_value = "profile_export.json", value_parser = export_file, help_heading = "Output")]
    pub profile_export_file: String,
    /// How much is written
    #[arg(
        long,
        visible_alias = "profile-export-level",
        value_enum,
        default_value = "records",
        help_heading = "Output"
    )]
    pub export_level: Export,
    /// Layout of the console's table
    #[arg(long, value_enum, default_value = "native", help_heading = "Output")]
    pub report: Report,
    /// What is shown while the run goes on [default: bar on a terminal]
    #[arg(long, visible_alias = "ui-type", value_enum, help_heading = "Output")]
    pub ui: Option<Ui>,
    /// End with exit code 3 unless the verdict on the measurement is at least this
    #[arg(long, value_enum, help_heading = "Output")]
    pub require_fidelity: Option<Wanted>,
    /// Say more on the way
    #[arg(short, long, help_heading = "Output")]
    pub verbose: bool,
}

/// How a prompt gets its model.
#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Selection {
    /// In turn
    RoundRobin,
    /// By chance
    Random,
}

/// How requests arrive at a rate.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Pattern {
    /// With gaps that are all alike
    Constant,
    /// Like those of many users who know nothing of each other
    Poisson,
    /// In bursts, or more evenly
    Gamma,
}

/// Where receive stamps come from.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Clock {
    /// The kernel's receive stamps, where the system has them
    Kernel,
    /// The time of the read
    User,
}

/// Which count of output tokens the figures use.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum TokenCounting {
    /// The server's where it fits the text, else the tokenizer's
    Auto,
    /// The server's
    Usage,
    /// The tokenizer's
    Tokenizer,
    /// One token an output event
    Chunks,
}

/// How much is written.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Export {
    /// The summaries
    Summary,
    /// A record for each request too
    Records,
    /// The server's bytes too
    Raw,
}

/// Layout of the console's table.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Report {
    /// Ours
    Native,
    /// GenAI-Perf's of 2024
    #[value(name = "genai-perf-2024")]
    GenaiPerf2024,
    /// GenAI-Perf's first
    #[value(name = "genai-perf-2024-early")]
    GenaiPerf2024Early,
}

/// What is shown while the run goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Ui {
    /// A progress bar
    Bar,
    /// Nothing
    None,
}

/// The least verdict that is good enough.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Wanted {
    /// Nothing but good
    Good,
    /// Anything but invalid
    Degraded,
}

fn endpoint_type(text: &str) -> Result<streamgauge_core::plan::EndpointKind, String> {
    use streamgauge_core::plan::EndpointKind::{Chat, Completions};
    match text {
        "chat" => Ok(Chat),
        "completions" => Ok(Completions),
        _ => Err("this endpoint type is not available; accepted: chat, completions".to_owned()),
    }
}

fn service_kind(text: &str) -> Result<String, String> {
    match text {
        "openai" => Ok(text.to_owned()),
        _ => Err("this service kind is not available; accepted: openai".to_owned()),
    }
}

fn stability(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(percent) if percent >= 999.0 => Ok(percent),
        _ => Err("stability windows are not available; accepted: 999 (off)".to_owned()),
    }
}

fn number(text: &str, least: f64) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number >= least && number <= 1e7 => Ok(number),
        _ => Err(format!("give a number of tokens from {least} to 10000000")),
    }
}

fn at_least_one(text: &str) -> Result<f64, String> {
    number(text, 1.0)
}

fn at_least_zero(text: &str) -> Result<f64, String> {
    number(text, 0.0)
}

fn positive(text: &str, bare: Bare) -> Result<Nanos, String> {
    match parse_duration(text, bare)? {
        Nanos::ZERO => Err("the time must be longer than 0".to_owned()),
        time => Ok(time),
    }
}

fn limit(text: &str) -> Result<Nanos, String> {
    positive(text, Bare::Seconds)
}

fn run_time(text: &str) -> Result<Nanos, String> {
    positive(text, Bare::Seconds)
}

fn interval(text: &str) -> Result<Nanos, String> {
    positive(text, Bare::Millis)
}

fn grace(text: &str) -> Result<Nanos, String> {
    parse_duration(text, Bare::Seconds)
}

fn export_file(text: &str) -> Result<String, String> {
    if text.is_empty() || text.starts_with('.') || text.contains(['/', '\\']) {
        return Err("give a file name without a directory (the directory is --artifact-dir)".to_owned());
    }
    Ok(if text.ends_with(".json") { text.to_owned() } else { format!("{text}.json") })
}
