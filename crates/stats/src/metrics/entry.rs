//! The definition of a metric, apart from its values.

use super::figure::Statistic;
use crate::answer::Answer;
use crate::counts::Counts;
use crate::distribution::Sampler;
use crate::throughput::Flow;
use streamgauge_core::Record;

/// The definition of a metric.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The name in files and on the command line.
    pub key: &'static str,
    /// The name in tables.
    pub title: &'static str,
    /// The unit in files.
    pub unit: &'static str,
    /// The formula in one line, with the source of the definition.
    pub definition: &'static str,
    /// The kind of the metric, with the function that computes it.
    pub kind: Kind,
    /// Which direction is better.
    pub better: Better,
    /// What a run must have for the metric to have values.
    pub needs: &'static [Need],
    /// Where the metric is shown, and what else it is used for. Every metric with values is in the JSON file.
    pub uses: &'static [Use],
}

/// The value of one successful request, in the metric's unit.
pub(crate) type OfRequest = fn(&Answer<'_>) -> Option<f64>;

/// Adds the values that a measured request has of a metric.
pub(crate) type Pool = fn(&Seen<'_>, &mut Sampler);

/// The kind of a metric, with the function that computes it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// A distribution over requests: the value of one successful request, in the metric's unit, if it has one.
    PerRequest(OfRequest),
    /// A distribution to which each measured request adds any number of values, also if it failed.
    Pooled(Pool),
    /// A rate: an amount in the run over the run's duration.
    Rate(Flow),
    /// A number of requests.
    Count(fn(&Counts) -> u64),
}

/// A measured request, however it ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen<'a> {
    /// Its record.
    pub record: &'a Record,
    /// Its answer, if it succeeded.
    pub answer: Option<&'a Answer<'a>>,
    /// Whether it failed.
    pub failed: bool,
}

/// Which direction of a metric is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// Lower values are better.
    Lower,
    /// Higher values are better.
    Higher,
    /// Neither, because the metric describes the load or the server.
    Neither,
}

/// What a run must have for a metric to have values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Answers that are streamed.
    Stream,
    /// A schedule, which says when each request is due.
    Schedule,
    /// A closed loop, in which a slot sends its next request after an answer.
    ClosedLoop,
    /// Prompts and answers that are counted in tokens.
    Tokens,
    /// Token counts reported by the server.
    Usage,
    /// A count of output tokens.
    OutputTokens,
    /// A count of the output tokens that were shown.
    ShownTokens,
    /// Output that begins with reasoning.
    Reasoning,
    /// Receive stamps by the kernel.
    KernelStamps,
    /// Requests that failed.
    Failures,
    /// Limits that a good request keeps.
    Limits,
}

/// Where a metric is shown, and what else it is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// A row of the console's table.
    Console,
    /// A row of the console's table of the steady state.
    SteadyState,
    /// One of GenAI-Perf's own metrics, at this position in its JSON file.
    GenaiPerf(u8),
    /// A row of GenAI-Perf's table of 2024, at this position and under this name.
    GenaiPerf2024(u8, &'static str),
    /// A throughput below GenAI-Perf's table of 2024, at this position and under this name.
    Throughput2024(u8, &'static str),
    /// The first of the metrics in files that GenAI-Perf does not have.
    FirstOfOurs,
    /// A member of each run in the file of a series, beside GenAI-Perf's metrics.
    Levels,
    /// Levels and runs are compared by these statistics; the position orders the metrics.
    Compare(u8, &'static [Statistic]),
    /// A good request can be limited by it.
    Limit,
    /// A run can end when it is known well enough.
    Await,
    /// Readers look for its confidence intervals, so the report says where the run is too short for one.
    Intervals,
    /// Readers look at its percentiles, so the report says where there are too few values for one.
    Samples,
    /// A waiting time, in which a failed request counts as infinitely long.
    WithFailures(Wait),
    /// A request has many values of the metric, so more of them are kept exactly.
    ManyValues,
}

/// What a request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// The first output event.
    FirstEvent,
    /// The last output event.
    LastEvent,
}
