//! The metrics: one list of them, and an entry for each that says what it is, how it is computed and where it is used.
//!
//! A new metric is an entry in one of the files here, or in a new one, and a line of the list below. Nothing else names it: the
//! values computed for each request, the rows of reports, and the metrics that can be limited or waited for are filters over the entries.
//!
//! The field's abbreviations can be searched for: TTFT ([`Metric::TimeToFirstToken`]), ITL ([`Metric::InterTokenLatency`]), TPOT ([`Metric::TimePerOutputToken`]), ISL
//! ([`Metric::InputSequenceLength`]), OSL ([`Metric::OutputSequenceLength`]).

mod client;
mod collected;
mod entry;
mod figure;
mod run;
mod times;
mod tokens;
mod tpot;

pub(crate) use collected::Collected;
pub use entry::{Better, Need, Use, Wait};
pub(crate) use entry::{Kind, Seen};
pub use figure::{Figure, Statistic, main_figures};

use crate::answer::Answer;
use crate::distribution::{EXACT_POOLED_VALUES, EXACT_VALUES, Sampler};
use entry::Entry;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;

/// Declares [`Metric`] from one list of variants and entries.
macro_rules! metrics {
    ($($(#[$doc:meta])* $metric:ident = $entry:expr,)+) => {
        /// A figure that a run yields. The order is the order in which reports show them.
        ///
        /// In the formulas t0 is `sent`, r1 to rk are the stamps of the output events, and O is the number of output tokens
        /// by the chosen count.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Metric {
            $($(#[$doc])* $metric,)+
        }

        impl Metric {
            /// Every metric, in the order of reports.
            pub const ALL: [Metric; [$(Metric::$metric),+].len()] = [$(Metric::$metric),+];

            const fn entry(self) -> &'static Entry {
                match self {
                    $(Metric::$metric => &$entry,)+
                }
            }
        }
    };
}

metrics! {
    /// r1 - t0.
    #[doc(alias = "TTFT")]
    TimeToFirstToken = times::TIME_TO_FIRST_TOKEN,
    /// r1 - due, in an open loop.
    TimeToFirstTokenFromDue = times::TIME_TO_FIRST_TOKEN_FROM_DUE,
    /// r2 - r1.
    #[doc(alias = "TTST")]
    TimeToSecondToken = times::TIME_TO_SECOND_TOKEN,
    /// rk - t0.
    RequestLatency = times::REQUEST_LATENCY,
    /// rk - due, in an open loop.
    RequestLatencyFromDue = times::REQUEST_LATENCY_FROM_DUE,
    /// t0 - due, in an open loop, whatever the outcome of the request. If it was never sent, the time from due to the end of the run.
    SendLateness = client::SEND_LATENESS,
    /// (rk - r1) / (O - 1), one value per request.
    #[doc(alias = "ITL")]
    InterTokenLatency = times::INTER_TOKEN_LATENCY,
    /// Every gap between successive output events, pooled over requests.
    InterChunkLatency = times::INTER_CHUNK_LATENCY,
    /// The inverse of the same request's inter token latency.
    OutputTokenThroughputPerUser = times::OUTPUT_TOKEN_THROUGHPUT_PER_USER,
    /// (rk - r1) / (O - 1), as TensorRT-LLM and vLLM define it.
    #[doc(alias = "TPOT")]
    TimePerOutputToken = tpot::TIME_PER_OUTPUT_TOKEN,
    /// O.
    #[doc(alias = "OSL")]
    OutputSequenceLength = tokens::OUTPUT_SEQUENCE_LENGTH,
    /// Tokens of the prompt by the client's tokenizer.
    #[doc(alias = "ISL")]
    InputSequenceLength = tokens::INPUT_SEQUENCE_LENGTH,
    /// First byte of the answer, headers included, - t0.
    TimeToFirstByte = times::TIME_TO_FIRST_BYTE,
    /// First text that is not reasoning - t0, if reasoning preceded it.
    TimeToFirstAnswer = times::TIME_TO_FIRST_ANSWER,
    /// Tokens of the prompt as the server reports them.
    PromptTokensByServer = tokens::PROMPT_TOKENS_BY_SERVER,
    /// The server's count of the prompt minus the client's: the chat template.
    TemplateTokens = tokens::TEMPLATE_TOKENS,
    /// Tokens of the prompt that the server had in its cache, as it reports them.
    CachedPromptTokens = tokens::CACHED_PROMPT_TOKENS,
    /// The share of the prompt's tokens that the server had in its cache, as it reports them.
    CachedPromptShare = tokens::CACHED_PROMPT_SHARE,
    /// How much later than the kernel received it this client read an output event, pooled over requests.
    ClientLag = client::CLIENT_LAG,
    /// From the end of a slot's previous answer to t0 in a closed loop: the time that the client itself took.
    Turnaround = client::TURNAROUND,
    /// How long opening a connection took, for the requests that opened one.
    ConnectTime = client::CONNECT_TIME,
    /// How long a failed request took to fail, from when it was issued.
    TimeToFailure = client::TIME_TO_FAILURE,
    /// Sum of O over the duration of the run.
    OutputTokenThroughput = run::OUTPUT_TOKEN_THROUGHPUT,
    /// Successful requests over the duration of the run.
    RequestThroughput = run::REQUEST_THROUGHPUT,
    /// Requests that kept every limit over the duration of the run.
    RequestGoodput = run::REQUEST_GOODPUT,
    /// Successful requests.
    RequestCount = run::REQUEST_COUNT,
}

impl Metric {
    /// The name in files and on the command line: `time_to_first_token`.
    pub const fn key(self) -> &'static str {
        self.entry().key
    }

    /// The name in tables: `Time To First Token`.
    pub const fn title(self) -> &'static str {
        self.entry().title
    }

    /// The unit in files: `ms`, `tokens`, `tokens/sec`, `tokens/sec/user`, `requests/sec`, `%` or `count`.
    pub const fn unit(self) -> &'static str {
        self.entry().unit
    }

    /// The unit in tables, where GenAI-Perf writes `per sec` for rates of requests.
    pub fn row_unit(self) -> &'static str {
        match self.unit() {
            "requests/sec" => "per sec",
            unit => unit,
        }
    }

    /// The formula in one line, with the source of the definition.
    pub const fn definition(self) -> &'static str {
        self.entry().definition
    }

    /// Which direction is better.
    pub const fn better(self) -> Better {
        self.entry().better
    }

    /// Whether it is one number for the whole run rather than a distribution.
    pub const fn is_system(self) -> bool {
        matches!(self.entry().kind, Kind::Rate(_) | Kind::Count(_))
    }

    /// Whether it counts from when the request was due rather than from when it was sent.
    pub fn is_from_due(self) -> bool {
        self.needs(Need::Schedule)
    }

    /// Whether a run without this has no value of the metric.
    pub fn needs(self, need: Need) -> bool {
        self.entry().needs.contains(&need)
    }

    /// Whether the metric is used in this way.
    pub fn has_use(self, wanted: Use) -> bool {
        self.entry().uses.contains(&wanted)
    }

    /// The metrics that are used in this way, in the order of reports.
    pub fn with_use(wanted: Use) -> impl Iterator<Item = Metric> {
        Metric::ALL.into_iter().filter(move |metric| metric.has_use(wanted))
    }

    /// The metrics for which `position` finds a position, in the order of positions.
    fn by_position<T: Copy>(position: impl Fn(Use) -> Option<(u8, T)>) -> Vec<(Metric, T)> {
        let find =
            |metric: Metric| metric.entry().uses.iter().find_map(|&known| position(known)).map(|found| (metric, found));
        let mut found: Vec<(Metric, (u8, T))> = Metric::ALL.into_iter().filter_map(find).collect();
        found.sort_by_key(|&(_, (position, _))| position);
        found.into_iter().map(|(metric, (_, value))| (metric, value)).collect()
    }

    /// GenAI-Perf's metrics, in the order of its JSON file.
    pub fn of_genai_perf() -> Vec<Metric> {
        let found = Metric::by_position(|known| match known {
            Use::GenaiPerf(position) => Some((position, ())),
            _ => None,
        });
        found.into_iter().map(|(metric, ())| metric).collect()
    }

    /// The distributions that GenAI-Perf does not have, in the order of files.
    pub fn beyond_genai_perf() -> Vec<Metric> {
        let theirs = |metric: Metric| metric.entry().uses.iter().any(|known| matches!(known, Use::GenaiPerf(_)));
        let mut ours: Vec<Metric> =
            Metric::ALL.into_iter().filter(|&metric| !theirs(metric) && !metric.is_system()).collect();
        ours.sort_by_key(|metric| !metric.has_use(Use::FirstOfOurs));
        ours
    }

    /// The rows of GenAI-Perf's table of 2024 with that tool's names, in its order.
    pub fn rows_of_2024() -> Vec<(Metric, &'static str)> {
        Metric::by_position(|known| match known {
            Use::GenaiPerf2024(position, name) => Some((position, name)),
            _ => None,
        })
    }

    /// The throughputs below GenAI-Perf's table of 2024 with that tool's names, in its order.
    pub fn throughputs_of_2024() -> Vec<(Metric, &'static str)> {
        Metric::by_position(|known| match known {
            Use::Throughput2024(position, name) => Some((position, name)),
            _ => None,
        })
    }

    /// The waiting times, in which a failed request counts as infinitely long, each with the event that is awaited.
    pub(crate) fn waits() -> impl Iterator<Item = (Metric, Wait)> {
        Metric::ALL.into_iter().filter_map(|metric| {
            metric.entry().uses.iter().find_map(|known| match known {
                Use::WithFailures(wait) => Some((metric, *wait)),
                _ => None,
            })
        })
    }

    pub(crate) const fn kind(self) -> Kind {
        self.entry().kind
    }

    /// The request's value of the metric, in the metric's unit. Returns `None` for pooled metrics and for metrics of the whole run.
    pub(crate) fn value(self, answer: &Answer<'_>) -> Option<f64> {
        match self.kind() {
            Kind::PerRequest(value) => value(answer),
            Kind::Pooled(_) | Kind::Rate(_) | Kind::Count(_) => None,
        }
    }

    /// The metric with that key.
    pub fn from_key(key: &str) -> Option<Metric> {
        Metric::ALL.into_iter().find(|metric| metric.key() == key)
    }
}

impl Sampler {
    /// A sampler for that metric's values.
    pub fn of(metric: Metric) -> Sampler {
        // There are many more gaps within streams than values of other metrics.
        let many = metric.has_use(Use::ManyValues);
        let whole = metric.unit() == "tokens";
        Sampler::new(if many { EXACT_POOLED_VALUES } else { EXACT_VALUES }, if whole { 1.0 } else { 1e6 })
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key())
    }
}

impl Serialize for Metric {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.key())
    }
}

impl<'de> Deserialize<'de> for Metric {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Metric, D::Error> {
        let key = String::deserialize(deserializer)?;
        Metric::from_key(&key).ok_or_else(|| de::Error::custom(format_args!("`{key}` is not a metric")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_lists_each_metric_once_in_its_order() {
        assert!(Metric::ALL.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(Metric::ALL.last(), Some(&Metric::RequestCount));
    }

    #[test]
    fn a_key_leads_back_to_its_metric() {
        for metric in Metric::ALL {
            assert_eq!(Metric::from_key(metric.key()), Some(metric));
            assert_eq!(metric.title().to_lowercase().replace(' ', "_"), metric.key());
        }
        assert_eq!(Metric::from_key("ttft"), None);
    }

    #[test]
    fn units_of_rows_follow_genai_perf() {
        assert_eq!(
            (Metric::RequestThroughput.unit(), Metric::RequestThroughput.row_unit()),
            ("requests/sec", "per sec")
        );
        assert_eq!(Metric::OutputTokenThroughputPerUser.row_unit(), "tokens/sec/user");
    }
}
