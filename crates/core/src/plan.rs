//! The plan: what a run will do, with every default resolved. It is written into every result, so nothing secret can
//! stand in it in the clear.

use crate::clock::Nanos;
pub use crate::hidden::HIDDEN;
use crate::kserve::Sequences;
use crate::load::{Load, Places};
use crate::origin::Origins;
use crate::record::Phase;
use crate::sampling::Sampling;
use crate::seed::Seed;
use crate::stop::StopRule;
pub use crate::synthesis::Length;
use crate::synthesis::Synthesis;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

mod conversations;
mod endpoint;
mod header;
mod stored;
mod transport;

pub use conversations::{ConversationRules, HistorySource};
pub use endpoint::{Balance, Endpoint, EndpointKind, Identity, LengthField, ModelSelection, Target, Trust};
pub use header::{Header, HeaderValue};
pub use transport::{Acknowledge, ConnectionPolicy, Stamps, Timeouts, Transport};

/// What a run will do. Each part belongs to the layer that reads it. In files the members of `load`, `transport`, `measure` and
/// `output` stand side by side, as members of the plan itself, and all that only a KServe v2 endpoint has stands in one object of the
/// endpoint.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(into = "stored::StoredPlan", from = "stored::StoredPlan")]
pub struct RunPlan {
    /// Where requests go and in what form.
    pub endpoint: Endpoint,
    /// What is sent.
    pub prompts: PromptPlan,
    /// How load is offered and when it ends; read by the load threads.
    pub load: LoadPlan,
    /// How connections are made and what is read from them; read by the load threads.
    pub transport: Transport,
    /// What the figures are made of; read by the statistics.
    pub measure: Measure,
    /// What is written and where; read by the reports.
    pub output: Output,
    /// Whether one request is sent before the load to learn how the server answers. It is in no figure.
    pub probe: bool,
    /// Whether the server is told to empty its prefix cache before the load.
    pub reset_prefix_cache: bool,
    /// What was asked for, setting by setting, and where each value came from.
    pub asked: Origins,
}

/// How load is offered, from the warm-up to the end of the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoadPlan {
    /// The load of the measured phase.
    #[serde(rename = "load")]
    pub mode: Load,
    /// The greatest number of requests at once that have no first token yet, in the measured phase.
    pub prefill: Option<Places>,
    /// When the measured phase ends.
    pub stop: StopRule,
    /// The load before the measured phase, which is in no figure.
    pub warmup: Option<Warmup>,
    /// Requests that the client cancels on purpose.
    pub cancel: Option<Cancel>,
    /// How requests to a stateful KServe model belong to sequences. `None` if the model has no state.
    #[serde(skip)]
    pub sequences: Option<Sequences>,
    /// How conversations of several turns are held.
    #[serde(default, skip_serializing_if = "ConversationRules::are_usual")]
    pub conversations: ConversationRules,
}

/// What the figures are made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measure {
    /// Report the time in which the whole concurrency was held by itself, beside the whole run.
    #[serde(default)]
    pub steady_state: bool,
    /// Which count of output tokens the figures use.
    pub token_count: TokenCount,
    /// Limits that a good request keeps: the key of a metric, and the limit in the metric's unit.
    pub goodput: Vec<(String, f64)>,
}

/// What is written and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// How much is written.
    pub export: ExportLevel,
    /// The directory of the artifacts.
    pub artifacts: PathBuf,
    /// The file name of the Perf Analyzer export; the names of the summaries are made from it.
    pub export_file: String,
    /// The formats of the files with an entry for each request, by name; no such file is written at the level [`ExportLevel::Summary`].
    #[serde(default = "record_formats", skip_serializing_if = "are_usual_formats")]
    pub record_formats: Vec<String>,
}

impl Output {
    /// Whether a file that is written has the text of each output event: the export does, unless it has the bytes of the answers instead.
    pub fn needs_event_texts(&self) -> bool {
        self.export == ExportLevel::Records && self.record_formats.iter().any(|format| format == PERF_ANALYZER)
    }
}

/// For serde: the revision of a tokenizer where none was asked for.
fn main_revision() -> String {
    "main".to_owned()
}

/// The format of `records.jsonl`, from which all other files can be made.
pub const JSONL: &str = "jsonl";

/// The format of `profile_export.json`.
pub const PERF_ANALYZER: &str = "perf-analyzer";

/// The formats that a run writes unless others were asked for.
pub fn record_formats() -> Vec<String> {
    [JSONL, PERF_ANALYZER].map(str::to_owned).to_vec()
}

/// For serde: plans are stored as they were before there was a choice of formats.
fn are_usual_formats(formats: &[String]) -> bool {
    formats == [JSONL, PERF_ANALYZER]
}

impl RunPlan {
    /// The phases of the run, in their order.
    pub fn phases(&self) -> Vec<PhasePlan> {
        let measured = PhasePlan {
            phase: Phase::Profiling,
            load: self.load.mode.clone(),
            prefill: self.load.prefill,
            requests: self.load.stop.requests,
            duration: self.load.stop.duration,
            grace: self.load.stop.grace,
        };
        let warmup = self.load.warmup.as_ref().map(|warmup| PhasePlan {
            phase: Phase::Warmup,
            load: warmup.load.clone(),
            prefill: warmup.prefill,
            requests: warmup.requests,
            duration: warmup.duration,
            grace: warmup.grace,
        });
        warmup.into_iter().chain([measured]).collect()
    }
}

/// One phase of a run, as the load threads see it.
#[derive(Clone, Debug, PartialEq)]
pub struct PhasePlan {
    /// Which phase it is.
    pub phase: Phase,
    /// How load is offered in it.
    pub load: Load,
    /// The greatest number of requests at once that have no first token yet.
    pub prefill: Option<Places>,
    /// The number of requests after which no more are issued.
    pub requests: Option<u64>,
    /// The time after which no more requests are issued.
    pub duration: Option<Nanos>,
    /// How long requests in flight may take after that time before they are cut off.
    pub grace: Nanos,
}

/// The load before the measured phase. It ends after a number of requests or a time, whichever comes first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Warmup {
    /// How load is offered.
    pub load: Load,
    /// The greatest number of requests at once that have no first token yet.
    pub prefill: Option<Places>,
    /// The number of requests after which it ends.
    pub requests: Option<u64>,
    /// The time after which it ends.
    pub duration: Option<Nanos>,
    /// How long requests in flight may then still take before they are cut off; only where time was the end.
    pub grace: Nanos,
    /// Whether its slots are to go on with measured requests one by one, where they can ([`RunPlan::hands_over`]).
    #[serde(default)]
    pub hands_over: bool,
}

/// Requests that the client cancels on purpose, as users do who close a window.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cancel {
    /// The share of the requests that are cancelled, above 0 and at most 1. The seed of the run decides which ones.
    pub share: f64,
    /// How long after the kernel has taken the whole request it is cancelled.
    pub delay: Nanos,
}

/// What is sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PromptPlan {
    /// The number of different prompts. Requests take them in order and begin again after the last one.
    pub count: u32,
    /// The input length in tokens.
    pub input: Length,
    /// The output length to ask for, in tokens. `None` leaves the length to the server.
    pub output: Option<Length>,
    /// Whether requests ask for exactly that length: they ignore the end token and set a minimum.
    pub output_exact: bool,
    /// The number of texts in a request.
    pub batch: u32,
    /// The number of prefixes that prompts share.
    pub prefixes: u32,
    /// The number of tokens of each prefix, which are not part of the input length.
    pub prefix_tokens: u32,
    /// The seed of the run.
    pub seed: Seed,
    /// The tokenizer that counts tokens: the name of an embedded vocabulary, or a path.
    pub tokenizer: String,
    /// The revision of the tokenizer, where it comes from the cache of the hub.
    #[serde(default = "main_revision")]
    pub tokenizer_revision: String,
    /// How prompts are made beyond these lengths.
    #[serde(default, skip_serializing_if = "Synthesis::is_plain")]
    pub synthesis: Synthesis,
    /// The order in which they are taken.
    #[serde(default, skip_serializing_if = "Sampling::is_sequential")]
    pub sampling: Sampling,
}

/// Which count of output tokens the figures use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenCount {
    /// The count of the server, where it sent one that fits the text; otherwise that of our tokenizer.
    Auto,
    /// Each output event counts as one token.
    Chunks,
    /// None: neither prompts nor answers are counted in tokens, because the endpoint answers with something else than text.
    None,
    /// The count of our tokenizer.
    Tokenizer,
    /// The count of the server.
    Usage,
}

/// How much is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExportLevel {
    /// Only the summaries.
    Summary,
    /// A record for each request, with all its stamps and counts.
    Records,
    /// The records and the bytes that the server sent.
    Raw,
}
