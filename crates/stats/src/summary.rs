//! The summary: what a run's records come to.

use crate::answer::tokens::TokenSources;
use crate::counts::{Counts, TargetCounts};
use crate::distribution::Distribution;
use crate::failures::{FailureGroup, WithFailures};
use crate::fidelity::Fidelity;
use crate::intervals::Interval;
use crate::metrics::Metric;
use crate::scope::Scope;
use crate::server::{GpuFigures, ServerFigures};
use crate::timeline::Timeline;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use streamgauge_core::Nanos;

/// What a run's records come to. Only successful measured requests are in a distribution or a rate, save the time
/// to failure, which is of the failed ones, and the lateness of sending, which is of all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Statistics of each metric that has values, in the order of [`Metric`].
    pub distributions: Vec<(Metric, Distribution)>,
    /// The figures of the whole run that could be computed, in the order of [`Metric`].
    pub scalars: Vec<(Metric, f64)>,
    /// How far chance may have moved those of them that are rates; none where the run is too short to tell.
    pub rate_intervals: Vec<(Metric, Interval)>,
    /// When requests failed, the waiting times in which each of those counts as one that took for ever.
    pub with_failures: Vec<(Metric, WithFailures)>,
    /// Requests by outcome.
    pub counts: Counts,
    /// What failed, most frequent first.
    pub failures: Vec<FailureGroup>,
    /// Whose token counts the figures use.
    pub tokens: TokenSources,
    /// What the rates are over: of the whole run from the first successful request's `sent` to the last output event of any, or
    /// where slots went over from a warm-up one by one, the time that a slot was at measured requests on average; else the
    /// span's length.
    pub duration: Nanos,
    /// Which part of the run all this is of.
    pub scope: Scope,
    /// Requests by server, by a record's `target`; as far as there were records.
    pub targets: Vec<TargetCounts>,
    /// What happened when.
    pub timeline: Timeline,
    /// The same of the time in which all slots were busy, where the plan asks for it and there was such a time.
    pub steady_state: Option<Box<Summary>>,
    /// What the server counted itself over that part, where it was asked and had anything to tell.
    pub server: Option<Box<ServerFigures>>,
    /// What its metrics told of its GPUs over that part, by UUID.
    pub gpus: BTreeMap<String, GpuFigures>,
    /// How far all this can be trusted.
    pub fidelity: Fidelity,
}

impl Summary {
    /// A metric's statistics, when it has values.
    pub fn distribution(&self, metric: Metric) -> Option<&Distribution> {
        self.distributions.iter().find(|(known, _)| *known == metric).map(|(_, distribution)| distribution)
    }

    /// A figure of the whole run, when it could be computed.
    pub fn scalar(&self, metric: Metric) -> Option<f64> {
        self.scalars.iter().find(|(known, _)| *known == metric).map(|&(_, value)| value)
    }

    /// How far chance may have moved a metric's mean, or its one figure.
    pub fn interval(&self, metric: Metric) -> Option<Interval> {
        match self.distribution(metric) {
            Some(distribution) => distribution.intervals.avg,
            None => self.rate_intervals.iter().find(|(known, _)| *known == metric).map(|&(_, interval)| interval),
        }
    }
}
