//! The plan: what a run will do, with every default resolved. It is written into every result, so nothing secret can
//! stand in it in the clear.

use crate::clock::Nanos;
pub use crate::hidden::HIDDEN;
use crate::hidden::shown_url;
use crate::kserve::{Channels, Kserve, Sequences};
use crate::load::{Load, Places};
use crate::origin::Origins;
use crate::record::Phase;
use crate::seed::Seed;
use crate::stop::StopRule;
use crate::synthesis::Synthesis;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

mod stored;

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
}

/// How connections are made, how long the client waits, and where its stamps come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transport {
    /// How long a connection is kept.
    #[serde(default)]
    pub connections: ConnectionPolicy,
    /// How long to wait for each step of a request.
    pub timeouts: Timeouts,
    /// The number of load threads.
    pub threads: u16,
    /// Where receive stamps come from.
    pub stamps: Stamps,
    /// When the client acknowledges what it receives. A plan that does not say so was run with [`Acknowledge::Delayed`].
    #[serde(default)]
    pub acknowledge: Acknowledge,
    /// How gRPC connections are used. Only endpoints over gRPC have them.
    #[serde(skip)]
    pub channels: Channels,
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

/// Where requests go and in what form.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Endpoint {
    /// Which endpoint it is.
    pub kind: EndpointKind,
    /// The server. Where there are several, this is the first one, which is asked before the load and named in reports.
    pub target: Target,
    /// The other servers, with the same path.
    #[serde(default)]
    pub others: Vec<Target>,
    /// How the server of a request is chosen when there are several.
    #[serde(default)]
    pub balance: Balance,
    /// The path of the endpoint, which begins with a slash. A query in it may be a key: what is shown is [`Endpoint::shown_path`], also in
    /// files.
    #[serde(serialize_with = "hide_query")]
    pub path: String,
    /// The names of the models: one or several.
    pub models: Vec<String>,
    /// How the model of a prompt is chosen when there are several.
    pub model_selection: ModelSelection,
    /// Whether answers are requested as a stream.
    pub streaming: bool,
    /// Whether the server is asked for its token counts at the end of a stream (`stream_options`).
    pub ask_usage: bool,
    /// Whether the server is asked for running counts in every chunk too (`continuous_usage_stats`).
    #[serde(default)]
    pub continuous_usage: bool,
    /// The member of the body that asks for an output length. Only OpenAI endpoints have it.
    #[serde(default)]
    pub length_field: LengthField,
    /// Headers of every request, the API key's included.
    pub headers: Vec<Header>,
    /// Members added to every body, replacing ours of the same name.
    pub extra: serde_json::Map<String, serde_json::Value>,
    /// How the certificate of a TLS server is checked.
    pub trust: Trust,
    /// The certificate that the client presents to a TLS server that asks for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// How a model of a KServe v2 server is asked. Other endpoints keep the default, which nothing reads.
    #[serde(skip)]
    pub kserve: Kserve,
}

/// A client's certificate and its key, as files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The chain of certificates, the client's first: PEM, or one in DER.
    pub certificates: PathBuf,
    /// The private key, PEM or DER.
    pub key: PathBuf,
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

/// How long a connection is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConnectionPolicy {
    /// A connection serves requests for as long as the server keeps it open.
    #[default]
    Reuse,
    /// A connection serves one request.
    New,
    /// A connection serves this many requests, at least 1.
    Rotate(u32),
}

impl fmt::Display for ConnectionPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConnectionPolicy::Reuse => f.write_str("reuse"),
            ConnectionPolicy::New => f.write_str("new"),
            ConnectionPolicy::Rotate(requests) => write!(f, "rotate:{requests}"),
        }
    }
}

/// How the server of a request is chosen when there are several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// The server with the fewest requests in flight; of several such, the next in turn. A server that cannot be connected to is
    /// not chosen while another one can.
    LeastInFlight,
    /// The servers in turn, by the number of the request.
    #[default]
    RoundRobin,
}

/// Writes a path as files show it, without the values of its query.
fn hide_query<S: Serializer>(path: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&shown_url(path))
}

impl Endpoint {
    /// The path for people and files: the values of its query are hidden.
    pub fn shown_path(&self) -> Cow<'_, str> {
        shown_url(&self.path)
    }

    /// All servers; a record's `target` is an index here.
    pub fn targets(&self) -> impl Iterator<Item = &Target> {
        std::iter::once(&self.target).chain(&self.others)
    }
}

/// A server's address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Whether the connection uses TLS.
    pub tls: bool,
    /// The host name or address; an IPv6 address has no brackets here.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Target {
    /// `host:port`, as a Host header and as people write it: IPv6 in brackets, a default port left out.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match (self.tls, self.port) {
            (false, 80) | (true, 443) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.tls { "https" } else { "http" }, self.authority())
    }
}

/// How the certificate of a TLS server is checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trust {
    /// Against the certificates in this PEM file and no others.
    File(PathBuf),
    /// Against the certificates in this file, or else the system's; the name in the certificate may be any.
    AnyName(Option<PathBuf>),
    /// Not at all.
    Insecure,
    /// Against the certificates of the system.
    System,
}

/// The name of an endpoint in a plan. What it can do and how it is spoken to is known to the crate of codecs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndpointKind {
    /// OpenAI chat completions.
    Chat,
    /// OpenAI completions.
    Completions,
    /// OpenAI embeddings.
    Embeddings,
    /// Triton's generate extension over HTTP.
    Generate,
    /// KServe v2 inference over gRPC: a stream of requests and responses where the endpoint streams, else a call each.
    KserveGrpc,
    /// KServe v2 inference over HTTP.
    KserveHttp,
}

impl EndpointKind {
    /// All kinds, in the order in which they are listed for people.
    pub const ALL: [EndpointKind; 6] = [
        EndpointKind::Chat,
        EndpointKind::Completions,
        EndpointKind::Embeddings,
        EndpointKind::KserveGrpc,
        EndpointKind::KserveHttp,
        EndpointKind::Generate,
    ];

    /// Whether it is an endpoint of a KServe v2 server, whose requests have settings of their own ([`Kserve`]).
    pub fn is_kserve(self) -> bool {
        match self {
            EndpointKind::Chat | EndpointKind::Completions | EndpointKind::Embeddings => false,
            EndpointKind::Generate | EndpointKind::KserveGrpc | EndpointKind::KserveHttp => true,
        }
    }

    /// Its name on the command line and in directory names.
    pub fn name(self) -> &'static str {
        match self {
            EndpointKind::Chat => "chat",
            EndpointKind::Completions => "completions",
            EndpointKind::Embeddings => "embeddings",
            EndpointKind::Generate => "generate",
            EndpointKind::KserveGrpc => "kserve",
            EndpointKind::KserveHttp => "kserve_http",
        }
    }
}

/// The member of an OpenAI body that asks for an output length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LengthField {
    /// `max_tokens`, which nearly every server knows.
    #[default]
    MaxTokens,
    /// `max_completion_tokens`, which replaces it in OpenAI's API for reasoning models.
    MaxCompletionTokens,
}

impl LengthField {
    /// Its name in the body and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            LengthField::MaxTokens => "max_tokens",
            LengthField::MaxCompletionTokens => "max_completion_tokens",
        }
    }
}

/// How the model of a prompt is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelSelection {
    /// At random, each with the same chance.
    Random,
    /// One after another.
    RoundRobin,
}

/// A header that every request has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The name, in the case in which the user wrote it.
    pub name: String,
    /// The value, which no output shows when it may be a secret.
    pub value: HeaderValue,
}

/// The value of a header.
#[derive(Clone, PartialEq, Eq)]
pub enum HeaderValue {
    /// A value that may be shown.
    Plain(String),
    /// A value that must never be shown.
    Secret(String),
}

impl HeaderValue {
    /// The value as it is sent. It must not be used for anything else.
    pub fn expose(&self) -> &str {
        match self {
            HeaderValue::Plain(value) | HeaderValue::Secret(value) => value,
        }
    }

    /// The value as people and files are shown it.
    pub fn shown(&self) -> &str {
        match self {
            HeaderValue::Plain(value) => value,
            HeaderValue::Secret(_) => HIDDEN,
        }
    }
}

impl fmt::Debug for HeaderValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.shown())
    }
}

impl Serialize for HeaderValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.shown())
    }
}

/// A hidden value is read back as a secret with unknown content, so that it stays hidden when it is written again.
impl<'de> Deserialize<'de> for HeaderValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<HeaderValue, D::Error> {
        let value = String::deserialize(deserializer)?;
        Ok(if value == HIDDEN { HeaderValue::Secret(value) } else { HeaderValue::Plain(value) })
    }
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
}

/// A normal distribution of lengths in tokens.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Length {
    /// The mean.
    pub mean: f64,
    /// The standard deviation; with 0 every length is the mean.
    pub stddev: f64,
}

/// How long the client waits for each step of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeouts {
    /// The resolution of the address, the connection and the TLS handshake together.
    pub connect: Nanos,
    /// From `sent` to the answer's first byte.
    pub first_byte: Nanos,
    /// The time between two pieces of an answer.
    pub idle: Nanos,
    /// The whole request, from when it was issued.
    pub total: Nanos,
}

/// Where receive stamps come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stamps {
    /// The kernel stamps what it receives, where the system offers that.
    Kernel,
    /// The stamp is the time of the read.
    User,
}

/// When the client's kernel acknowledges what it receives. A server that leaves Nagle's algorithm on sends the first event of
/// an answer only when the head of the answer has been acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Acknowledge {
    /// The kernel acknowledges data as soon as it arrives (`TCP_QUICKACK`), where the system offers that.
    AtOnce,
    /// The kernel may delay acknowledgements, as for an ordinary client: on kept connections by up to 40 ms.
    #[default]
    Delayed,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authority_brackets_ipv6_and_drops_default_ports() {
        let target = |tls, host: &str, port| Target { tls, host: host.into(), port };
        assert_eq!(target(false, "::1", 8000).to_string(), "http://[::1]:8000");
        assert_eq!(target(true, "api.example", 443).to_string(), "https://api.example");
        assert_eq!(target(false, "localhost", 443).authority(), "localhost:443");
    }

    #[test]
    fn a_secret_never_shows() {
        let header = Header { name: "Authorization".into(), value: HeaderValue::Secret("Bearer k".into()) };
        assert!(!format!("{header:?}").contains("Bearer"));
        assert!(!serde_json::to_string(&header).unwrap().contains("Bearer"));
        assert_eq!(header.value.expose(), "Bearer k");
        let text = serde_json::to_string(&header).unwrap();
        let back: Header = serde_json::from_str(&text).unwrap();
        assert_eq!(back.value, HeaderValue::Secret(HIDDEN.into()));
        assert_eq!(serde_json::to_string(&back).unwrap(), text);
        let plain = Header { name: "X-Run".into(), value: HeaderValue::Plain("7".into()) };
        assert_eq!(serde_json::from_value::<Header>(serde_json::to_value(&plain).unwrap()).unwrap(), plain);
    }
}
