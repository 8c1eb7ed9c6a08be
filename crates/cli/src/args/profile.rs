//! Arguments of `profile`, in all the spellings that GenAI-Perf's two generations and AIPerf have for them.

use crate::args::agents::AgentArgs;
use crate::args::choice::{BALANCE, EXPORT_LEVEL, GRADE, MODEL_SELECTION, STYLE, TOKEN_COUNT, one_of};
use crate::args::load::LoadArgs;
use crate::args::sessions::SessionArgs;
use crate::args::synthetic::SyntheticArgs;
use crate::args::triton::TritonArgs;
use crate::args::values::{at_least_one, at_least_zero, limit, whole};
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use streamgauge_core::clock::Nanos;
use streamgauge_core::plan::{
    Balance, ConnectionPolicy, EndpointKind, ExportLevel, LengthField, ModelSelection, TokenCount,
};
use streamgauge_prompt::Columns;
use streamgauge_prompt::sources::{self, format_named};
use streamgauge_report::Style;
use streamgauge_report::sinks::{self, Format};
use streamgauge_stats::Grade;
use streamgauge_wire::endpoints::{self, EndpointSpec};

/// Arguments of `profile`.
#[derive(Args, Debug)]
pub struct ProfileArgs {
    /// Name of the model, or of several models that the prompts are spread over; without it, the only model that the server lists
    #[arg(short, long, visible_alias = "model-names", num_args = 1.., value_name = "NAME", help_heading = "Endpoint")]
    pub model: Vec<String>,
    /// How a prompt gets its model when there are several
    #[arg(long, value_parser = one_of(MODEL_SELECTION), default_value = "round_robin", help_heading = "Endpoint")]
    pub model_selection_strategy: ModelSelection,
    #[arg(long, value_name = "TYPE", value_parser = endpoint_type, help = endpoint_types(), help_heading = "Endpoint")]
    #[allow(missing_docs)] // The help is made from the list of endpoints.
    pub endpoint_type: Option<EndpointKind>,
    /// Path of the endpoint, if it differs from the usual one
    #[arg(long, visible_alias = "custom-endpoint", value_name = "PATH", help_heading = "Endpoint")]
    pub endpoint: Option<String>,
    /// Kind of server: openai or triton
    #[arg(long, value_name = "KIND", value_parser = service_kind, help_heading = "Endpoint")]
    pub service_kind: Option<String>,
    /// Ask for streamed answers, which TTFT and ITL need
    #[arg(long, help_heading = "Endpoint")]
    pub streaming: bool,
    /// URL of the server, or of several servers with the same path that requests are spread over [default: http://localhost:8000; with Triton's gRPC port 8001]
    #[arg(short, long, value_name = "URL", num_args = 1.., help_heading = "Endpoint", conflicts_with = "sim")]
    pub url: Vec<String>,
    #[command(flatten)]
    pub sessions: SessionArgs,
    /// How a request gets its server when there are several [default: round_robin]
    #[arg(long, value_parser = one_of(BALANCE), help_heading = "Endpoint")]
    pub url_strategy: Option<Balance>,
    /// How long connections are kept: reuse, new (one for each request) or rotate:N (for N requests); pooled and never are aliases of the first two
    #[arg(long, visible_alias = "connection-reuse-strategy", value_name = "POLICY", default_value = "reuse", value_parser = connections, help_heading = "Endpoint")]
    pub connections: ConnectionPolicy,
    /// Start a simulated server inside this process and measure it: with streaming, 8 streams and ten seconds unless other flags say otherwise
    #[arg(long, help_heading = "Endpoint")]
    pub sim: bool,
    /// API key, sent as a bearer token; it is safer in the environment
    #[arg(long, value_name = "KEY", env = "STREAMGAUGE_API_KEY", hide_env_values = true, help_heading = "Endpoint")]
    pub api_key: Option<String>,
    /// Header of every request, `Name: value`; may be repeated
    #[arg(short = 'H', long, value_name = "HEADER", num_args = 1.., help_heading = "Endpoint")]
    pub header: Vec<String>,
    /// Trusted certificates (PEM) for https servers, instead of the system's
    #[arg(long, value_name = "FILE", conflicts_with = "insecure", help_heading = "Endpoint")]
    pub ca_file: Option<PathBuf>,
    /// Accept any certificate of the server
    #[arg(long, help_heading = "Endpoint")]
    pub insecure: bool,
    /// Time limit of a whole request
    #[arg(long, visible_alias = "request-timeout-seconds", value_name = "TIME", default_value = "6h", value_parser = limit, help_heading = "Endpoint")]
    pub request_timeout: Nanos,
    /// Time limit of opening a connection
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = limit, help_heading = "Endpoint")]
    pub connect_timeout: Nanos,
    /// Time limit of the first byte of an answer
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = limit, help_heading = "Endpoint")]
    pub first_byte_timeout: Nanos,
    /// Time limit between two pieces of an answer
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = limit, help_heading = "Endpoint")]
    pub idle_timeout: Nanos,
    /// Member of the body with the requested output length: max_tokens or max_completion_tokens [default: max_tokens, or the other if the server refuses it in the test request]
    #[arg(long, value_name = "FIELD", value_parser = length_field, help_heading = "Endpoint")]
    pub max_tokens_field: Option<LengthField>,
    /// Do not ask the server for its own token counts (stream_options)
    #[arg(long, conflicts_with = "continuous_usage", help_heading = "Endpoint")]
    pub no_usage: bool,
    /// Ask for running token counts in every chunk too (continuous_usage_stats), so that a request that is cut off has a count
    #[arg(long, visible_alias = "per-chunk-usage", help_heading = "Endpoint")]
    pub continuous_usage: bool,
    /// Skip the test request that is sent before the load
    #[arg(long, help_heading = "Endpoint")]
    pub no_probe: bool,
    /// Have the server empty its prefix cache before each run's load, by its own hook: vLLM's /reset_prefix_cache or SGLang's /flush_cache
    #[arg(long, help_heading = "Endpoint")]
    pub reset_prefix_cache: bool,

    /// Number of distinct prompts; requests cycle through them [default: 100, or one for each request of a trace]
    #[arg(long, visible_alias = "num-prompts", value_name = "N", value_parser = whole::<u32>(1, 10_000_000), help_heading = "Input")]
    pub num_dataset_entries: Option<u32>,
    /// File or directory of prompts, such as lines of JSON with `text` and `output_length`; with --fixed-schedule each is sent at its `timestamp` (ms)
    #[arg(long, value_name = "FILE|DIR", help_heading = "Input")]
    pub input_file: Option<PathBuf>,
    #[arg(long, help = input_formats_help(), value_name = "NAME", value_parser = format_named, help_heading = "Input")]
    pub custom_dataset_type: Option<&'static sources::Format>,
    /// Data set of the hub: openorca, cnn_dailymail, sharegpt, or its name there, `org/name` or `org/name/directory`
    #[arg(long, visible_alias = "input-dataset", value_name = "NAME", conflicts_with_all = ["input_file", "fixed_schedule", "conversation_num", "conversation_turn_mean", "conversation_turn_stddev", "conversation_turn_delay_mean", "conversation_turn_delay_stddev"], help_heading = "Input")]
    pub public_dataset: Option<String>,
    /// Split of the data set
    #[arg(long, value_name = "SPLIT", default_value = "train", requires = "public_dataset", help_heading = "Input")]
    pub dataset_split: String,
    /// Revision of the data set on the hub
    #[arg(long, value_name = "REVISION", default_value = "main", requires = "public_dataset", help_heading = "Input")]
    pub dataset_revision: String,
    /// Which columns of a table (CSV, Parquet) are what, such as `prompt=question,output_length=tokens`
    #[arg(long, value_name = "MEMBER=COLUMN", help_heading = "Input")]
    pub column: Option<Columns>,
    /// Leave out rows of --input-file that are not requests, and count them
    #[arg(long, help_heading = "Input")]
    pub skip_bad_rows: bool,
    /// Mean input length in tokens
    #[arg(long, visible_aliases = ["synthetic-input-tokens-mean", "prompt-input-tokens-mean"], value_name = "TOKENS", default_value = "550", value_parser = at_least_one, help_heading = "Input")]
    pub isl: f64,
    /// Standard deviation of the input length
    #[arg(long, visible_aliases = ["synthetic-input-tokens-stddev", "prompt-input-tokens-stddev"], value_name = "TOKENS", default_value = "0", value_parser = at_least_zero, help_heading = "Input")]
    pub isl_stddev: f64,
    /// Mean output length to request, in tokens; without it the server decides
    #[arg(long, visible_aliases = ["output-tokens-mean", "prompt-output-tokens-mean"], value_name = "TOKENS", value_parser = at_least_one, help_heading = "Input")]
    pub osl: Option<f64>,
    /// Standard deviation of the output length
    #[arg(long, visible_aliases = ["output-tokens-stddev", "prompt-output-tokens-stddev"], value_name = "TOKENS", requires = "osl", value_parser = at_least_zero, help_heading = "Input")]
    pub osl_stddev: Option<f64>,
    /// Ask for exactly that output length (min_tokens, ignore_eos)
    #[arg(long, help_heading = "Input")]
    pub output_tokens_mean_deterministic: bool,
    /// Seed of all random choices
    #[arg(long, value_name = "N", default_value = "0", value_parser = whole(0, u64::MAX), help_heading = "Input")]
    pub random_seed: u64,
    /// Texts per request; completions only
    #[arg(short, long, visible_aliases = ["batch-size-text", "prompt-batch-size"], value_name = "N", default_value = "1", value_parser = whole::<u32>(1, 4096), help_heading = "Input")]
    pub batch_size: u32,
    /// Number of prefixes that prompts share
    #[arg(long, visible_aliases = ["prefix-prompt-pool-size", "prompt-prefix-pool-size"], value_name = "N", default_value = "0", value_parser = whole::<u32>(0, 1_000_000), help_heading = "Input")]
    pub num_prefix_prompts: u32,
    /// Length of each prefix in tokens, in addition to the input length
    #[arg(long, visible_alias = "prompt-prefix-length", value_name = "TOKENS", default_value = "100", value_parser = whole::<u32>(1, 10_000_000), help_heading = "Input")]
    pub prefix_prompt_length: u32,
    /// Member of every body, `name:value`, `name` (null) or a JSON object; may be repeated
    #[arg(long, value_name = "INPUT", num_args = 1.., help_heading = "Input")]
    pub extra_inputs: Vec<String>,
    /// Limits that a good request keeps, `metric:value` (in ms, or a rate per second)
    #[arg(short, long, value_name = "LIMIT", num_args = 1.., help_heading = "Input")]
    pub goodput: Vec<String>,

    #[command(flatten)]
    pub synthetic: SyntheticArgs,

    #[command(flatten)]
    pub agents: AgentArgs,

    #[command(flatten)]
    pub load: LoadArgs,

    #[command(flatten)]
    pub triton: TritonArgs,

    /// Tokenizer: a tokenizer.json, tekken.json, *.model or *.tiktoken, a directory with one, a name on the hub, or cl100k_base
    #[arg(long, value_name = "FILE|DIR|NAME", help_heading = "Tokens")]
    pub tokenizer: Option<String>,
    /// Revision of a tokenizer on the hub
    #[arg(long, value_name = "REVISION", default_value = "main", help_heading = "Tokens")]
    pub tokenizer_revision: String,
    /// Download nothing from the hub; use only what its cache on this machine has
    #[arg(long, help_heading = "Tokens")]
    pub no_download: bool,
    /// Has no effect: code that comes with a tokenizer is never run
    #[arg(long, help_heading = "Tokens")]
    pub tokenizer_trust_remote_code: bool,
    /// Count of output tokens that the figures use
    #[arg(long, value_parser = one_of(TOKEN_COUNT), default_value = "auto", help_heading = "Tokens")]
    pub token_count: TokenCount,

    /// Directory for the files of all runs
    #[arg(
        long,
        visible_alias = "output-artifact-dir",
        value_name = "DIR",
        default_value = "artifacts",
        help_heading = "Output"
    )]
    pub artifact_dir: PathBuf,
    /// File name of the export; the names of the summaries are made from it
    #[arg(long, visible_alias = "profile-export-prefix", value_name = "NAME", default_value = "profile_export.json", value_parser = export_file, help_heading = "Output")]
    pub profile_export_file: String,
    /// How much is written about each request
    #[arg(
        long,
        visible_alias = "profile-export-level",
        value_parser = one_of(EXPORT_LEVEL),
        default_value = "records",
        help_heading = "Output"
    )]
    pub export_level: ExportLevel,
    #[arg(long, help = record_formats_help(), value_name = "FORMATS", value_delimiter = ',', default_value = "jsonl,perf-analyzer", value_parser = record_format, help_heading = "Output")]
    pub record_formats: Vec<String>,
    /// Layout of the console's table
    #[arg(long, value_parser = one_of(STYLE), default_value = "native", help_heading = "Output")]
    pub report: Style,
    /// What is shown during a run [default: bar on a terminal]
    #[arg(long, visible_alias = "ui-type", value_enum, help_heading = "Output")]
    pub ui: Option<Ui>,
    /// Exit with code 3 unless the fidelity verdict is at least this good
    #[arg(long, value_parser = one_of(GRADE), help_heading = "Output")]
    pub require_fidelity: Option<Grade>,
    /// Print the resolved plan and more detail
    #[arg(short, long, help_heading = "Output")]
    pub verbose: bool,
}

/// What is shown while the run goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Ui {
    /// A progress bar
    Bar,
    /// Nothing
    None,
}

fn connections(text: &str) -> Result<ConnectionPolicy, String> {
    let rotate =
        text.strip_prefix("rotate:").and_then(|requests| requests.parse().ok()).filter(|requests| *requests > 0);
    match (text, rotate) {
        ("reuse" | "pooled", _) => Ok(ConnectionPolicy::Reuse),
        ("new" | "never", _) => Ok(ConnectionPolicy::New),
        (_, Some(requests)) => Ok(ConnectionPolicy::Rotate(requests)),
        _ => Err("give reuse, new, or rotate:N with N from 1".to_owned()),
    }
}

/// The endpoints that have a name on the command line.
fn public_endpoints() -> impl Iterator<Item = &'static EndpointSpec> {
    endpoints::all().filter(|spec| spec.has_public_name)
}

pub(super) fn endpoint_type(text: &str) -> Result<EndpointKind, String> {
    let has_name = |spec: &&EndpointSpec| spec.name() == text || spec.aliases.contains(&text);
    public_endpoints().find(has_name).map(|spec| spec.kind).ok_or_else(|| {
        let accepted: Vec<_> = public_endpoints().map(EndpointSpec::name).collect();
        format!("this endpoint type is not available; accepted: {}", accepted.join(", "))
    })
}

/// The help of `--endpoint-type`, with the name of each endpoint and what it is.
fn endpoint_types() -> String {
    let listed: Vec<_> = public_endpoints().map(|spec| format!("{} ({})", spec.name(), spec.summary)).collect();
    format!("Kind of endpoint: {} [default: chat, or kserve with --service-kind triton]", listed.join(", "))
}

fn length_field(text: &str) -> Result<LengthField, String> {
    [LengthField::MaxTokens, LengthField::MaxCompletionTokens]
        .into_iter()
        .find(|field| field.name() == text)
        .ok_or_else(|| "give max_tokens or max_completion_tokens".to_owned())
}

pub(super) fn service_kind(text: &str) -> Result<String, String> {
    match text {
        "openai" | "triton" => Ok(text.to_owned()),
        _ => Err("this service kind is not available; accepted: openai, triton".to_owned()),
    }
}

fn input_formats_help() -> String {
    let names: Vec<&str> = sources::FORMATS.iter().map(|format| format.name).collect();
    format!(
        "Format of --input-file, instead of recognising it by the file's beginning [possible values: {}]",
        names.join(", ")
    )
}

fn record_formats_help() -> String {
    let names: Vec<&str> = sinks::formats().map(|format| format.name).collect();
    format!(
        "Formats of the files with an entry for each request, separated by commas; jsonl is always needed [possible values: {}]",
        names.join(", ")
    )
}

fn record_format(text: &str) -> Result<String, String> {
    match sinks::formats().find(|format| format.name == text) {
        Some(Format { missing_feature: Some(feature), .. }) => {
            Err(format!("this program was built without the cargo feature `{feature}`, which writes it"))
        }
        Some(_) => Ok(text.to_owned()),
        None => {
            let accepted: Vec<&str> = sinks::formats().map(|format| format.name).collect();
            Err(format!("this format is not available; accepted: {}", accepted.join(", ")))
        }
    }
}

fn export_file(text: &str) -> Result<String, String> {
    if text.is_empty() || text.starts_with('.') || text.contains(['/', '\\']) {
        return Err("give a file name without a directory (the directory is --artifact-dir)".to_owned());
    }
    Ok(if text.ends_with(".json") { text.to_owned() } else { format!("{text}.json") })
}
