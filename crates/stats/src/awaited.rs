//! The figure that a run waits for, and how well it is to be known.

use crate::metrics::Metric;
use streamgauge_core::load::Load;
use streamgauge_core::plan::RunPlan;
use streamgauge_core::stop::ConfidenceRule;
use streamgauge_core::units::percent;
use thiserror::Error;

/// The metrics of one request. Those pooled from within requests have so many values that a look at them takes too long.
const OF_REQUESTS: [Metric; 9] = [
    Metric::TimeToFirstToken,
    Metric::TimeToFirstTokenFromDue,
    Metric::TimeToSecondToken,
    Metric::RequestLatency,
    Metric::RequestLatencyFromDue,
    Metric::InterTokenLatency,
    Metric::OutputTokenThroughputPerUser,
    Metric::OutputSequenceLength,
    Metric::TimeToFirstByte,
];

/// The rates of the whole run.
const OF_THE_RUN: [Metric; 3] = [Metric::OutputTokenThroughput, Metric::RequestThroughput, Metric::RequestGoodput];

/// A rule that no run can meet.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum ConfidenceError {
    /// No metric of that name, or one without an interval to stop by.
    #[error("--ci-metric: `{key}` has no interval to wait for; the metrics that have are {}", accepted())]
    Metric {
        /// As given.
        key: String,
    },
    /// A percentile of a rate, or one out of range.
    #[error("--ci-metric: `{key}` has no p{percentile}; {}", percentiles(*.rate))]
    Percentile {
        /// The metric's key.
        key: &'static str,
        /// As given.
        percentile: u8,
        /// Whether the metric has one figure for the whole run.
        rate: bool,
    },
    /// A share that is none.
    #[error("--until-ci: {} is not a share to wait for; give one over 0 % and under 100 %, such as 2%", percent(*.within))]
    Within {
        /// As given, as a share of 1.
        within: f64,
    },
    /// The plan's requests never have that metric.
    #[error("--ci-metric: `{key}` is a figure of {needs} only")]
    Never {
        /// The metric's key.
        key: &'static str,
        /// What it needs, with the flag.
        needs: &'static str,
    },
}

fn accepted() -> String {
    let keys: Vec<&str> = OF_REQUESTS.iter().chain(&OF_THE_RUN).map(|metric| metric.key()).collect();
    keys.join(", ")
}

fn percentiles(rate: bool) -> &'static str {
    if rate { "it is one figure of the whole run: leave the percentile out" } else { "give one from p1 to p99" }
}

/// What the rule asks for, as one figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Wanted {
    pub metric: Metric,
    pub percentile: Option<u8>,
    pub within: f64,
}

impl Wanted {
    /// The rule's figure, whatever the run is like.
    pub fn of(rule: &ConfidenceRule) -> Result<Wanted, ConfidenceError> {
        let metric = Metric::from_key(&rule.metric)
            .filter(|metric| OF_REQUESTS.contains(metric) || OF_THE_RUN.contains(metric))
            .ok_or_else(|| ConfidenceError::Metric { key: rule.metric.clone() })?;
        let rate = OF_THE_RUN.contains(&metric);
        if let Some(percentile) = rule.percentile.filter(|p| rate || !(1..=99).contains(p)) {
            return Err(ConfidenceError::Percentile { key: metric.key(), percentile, rate });
        }
        if !(rule.within > 0.0 && rule.within < 1.0) {
            return Err(ConfidenceError::Within { within: rule.within });
        }
        Ok(Wanted { metric, percentile: rule.percentile, within: rule.within })
    }

    /// `request_latency p99`.
    pub fn name(&self) -> String {
        match self.percentile {
            Some(p) => format!("{} p{p}", self.metric),
            None if OF_THE_RUN.contains(&self.metric) => self.metric.to_string(),
            None => format!("mean {}", self.metric),
        }
    }

    /// What of the plan would have to be otherwise for a run to have this metric at all.
    pub fn lacks(&self, plan: &RunPlan) -> Option<&'static str> {
        let stream = matches!(
            self.metric,
            Metric::TimeToFirstToken
                | Metric::TimeToFirstTokenFromDue
                | Metric::TimeToSecondToken
                | Metric::InterTokenLatency
                | Metric::OutputTokenThroughputPerUser
        );
        if stream && !plan.endpoint.streaming {
            return Some("streams (--streaming)");
        }
        if self.metric.is_from_due() && matches!(plan.load.mode, Load::Concurrency(_) | Load::Growing(_)) {
            return Some("runs with a schedule (--request-rate)");
        }
        (self.metric == Metric::RequestGoodput && plan.measure.goodput.is_empty())
            .then_some("runs with limits (--goodput)")
    }
}
