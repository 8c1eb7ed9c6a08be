//! The summary of a run's records.

use crate::answer::tokens::TokenSources;
use crate::conversations::ConversationFigures;
use crate::counts::{Counts, TargetCounts};
use crate::distribution::Distribution;
use crate::failures::{FailureGroup, WithFailures};
use crate::fidelity::Fidelity;
use crate::intervals::Interval;
use crate::metrics::Metric;
use crate::repeats::Repeats;
use crate::scope::Scope;
use crate::server::{GpuFigures, ServerFigures};
use crate::timeline::Timeline;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use streamgauge_core::Nanos;

/// The results of a run. Distributions and rates cover the successful measured requests only, except the time
/// to failure, which covers the failed ones, and the lateness of sending, which covers all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Statistics of each metric that has values, in the order of [`Metric`].
    pub distributions: Vec<(Metric, Distribution)>,
    /// The figures of the whole run that could be computed, in the order of [`Metric`].
    pub scalars: Vec<(Metric, f64)>,
    /// The confidence intervals of the rates; a rate has none if the run is too short.
    pub rate_intervals: Vec<(Metric, Interval)>,
    /// If requests failed, the waiting times in which each of them counts as infinitely long.
    pub with_failures: Vec<(Metric, WithFailures)>,
    /// Requests by outcome.
    pub counts: Counts,
    /// The kinds of failures, most frequent first.
    pub failures: Vec<FailureGroup>,
    /// The sources of the token counts that the figures use.
    pub tokens: TokenSources,
    /// The duration by which rates are divided. For a whole run it lasts from the first successful request's `sent` to the last output event of any
    /// or, if slots went over from a warm-up one by one, it is the mean time that a slot spent on measured requests. For a span it is the
    /// span's length.
    pub duration: Nanos,
    /// The part of the run that the summary covers.
    pub scope: Scope,
    /// Requests by server, indexed by a record's `target`, up to the last server with records.
    pub targets: Vec<TargetCounts>,
    /// The events of the run over time.
    pub timeline: Timeline,
    /// The figures of conversations, if requests were turns of conversations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversations: Option<Box<ConversationFigures>>,
    /// How often each prompt was sent, unless there were too many to count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeats: Option<Repeats>,
    /// The summary of the steady state, if the plan asks for it and there was one.
    pub steady_state: Option<Box<Summary>>,
    /// The server's own counts over that part, if it was asked for them and had any.
    pub server: Option<Box<ServerFigures>>,
    /// The figures of the server's GPUs over that part, by UUID.
    pub gpus: BTreeMap<String, GpuFigures>,
    /// How far the results can be trusted.
    pub fidelity: Fidelity,
}

impl Summary {
    /// A metric's statistics, if it has values.
    pub fn distribution(&self, metric: Metric) -> Option<&Distribution> {
        self.distributions.iter().find(|(known, _)| *known == metric).map(|(_, distribution)| distribution)
    }

    /// A figure of the whole run, if it could be computed.
    pub fn scalar(&self, metric: Metric) -> Option<f64> {
        self.scalars.iter().find(|(known, _)| *known == metric).map(|&(_, value)| value)
    }

    /// The confidence interval of a metric's mean, or of its single figure.
    pub fn interval(&self, metric: Metric) -> Option<Interval> {
        match self.distribution(metric) {
            Some(distribution) => distribution.intervals.avg,
            None => self.rate_intervals.iter().find(|(known, _)| *known == metric).map(|&(_, interval)| interval),
        }
    }
}
