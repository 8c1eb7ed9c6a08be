//! The figure that a run waits for, and its required precision.

use crate::metrics::{Metric, Need, Use};
use streamgauge_core::load::Load;
use streamgauge_core::message;
use streamgauge_core::plan::RunPlan;
use streamgauge_core::setting::{Explain, Message, Setting};
use streamgauge_core::stop::ConfidenceRule;
use streamgauge_core::units::percent;
use thiserror::Error;

/// A rule that no run can meet.
#[derive(Clone, Debug, Error, PartialEq)]
#[error("{}", self.message())]
pub enum ConfidenceError {
    /// No metric of that name, or one without an interval to stop by.
    Metric {
        /// The value as given.
        key: String,
    },
    /// A percentile of a rate, or one out of range.
    Percentile {
        /// The metric's key.
        key: &'static str,
        /// The value as given.
        percentile: u8,
        /// Whether the metric has one figure for the whole run.
        rate: bool,
    },
    /// The share is out of range.
    Within {
        /// As given, as a share of 1.
        within: f64,
    },
    /// Runs of this plan never have values of the metric.
    Never {
        /// The metric's key.
        key: &'static str,
        /// What the metric needs, with the setting.
        needs: Message,
    },
}

impl Explain for ConfidenceError {
    fn message(&self) -> Message {
        match self {
            ConfidenceError::Metric { key } => message![
                Setting::CiMetric,
                format!(": `{key}` has no interval to wait for; the metrics that have are {}", accepted()),
            ],
            ConfidenceError::Percentile { key, percentile, rate } => {
                message![Setting::CiMetric, format!(": `{key}` has no p{percentile}; {}", percentiles(*rate))]
            }
            ConfidenceError::Within { within } => message![
                Setting::UntilCi,
                format!(
                    ": {} is not a share to wait for; give one over 0 % and under 100 %, such as 2%",
                    percent(*within)
                ),
            ],
            ConfidenceError::Never { key, needs } => {
                message![Setting::CiMetric, format!(": `{key}` is a figure of "), needs.clone(), " only"]
            }
        }
    }
}

fn accepted() -> String {
    Metric::with_use(Use::Await).map(Metric::key).collect::<Vec<_>>().join(", ")
}

fn percentiles(rate: bool) -> &'static str {
    if rate { "it is one figure of the whole run: leave the percentile out" } else { "give one from p1 to p99" }
}

/// The figure that a rule requires.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Wanted {
    pub metric: Metric,
    pub percentile: Option<u8>,
    pub within: f64,
}

impl Wanted {
    /// Returns the figure of a rule.
    pub fn of(rule: &ConfidenceRule) -> Result<Wanted, ConfidenceError> {
        let metric = Metric::from_key(&rule.metric)
            .filter(|metric| metric.has_use(Use::Await))
            .ok_or_else(|| ConfidenceError::Metric { key: rule.metric.clone() })?;
        let rate = metric.is_system();
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
            None if self.metric.is_system() => self.metric.to_string(),
            None => format!("mean {}", self.metric),
        }
    }

    /// Returns what runs need to have this metric, if runs of `plan` do not have it.
    pub fn lacks(&self, plan: &RunPlan) -> Option<Message> {
        if self.metric.needs(Need::Stream) && !plan.endpoint.streaming {
            return Some(message!["streams (", Setting::Streaming, ")"]);
        }
        if self.metric.needs(Need::Schedule) && matches!(plan.load.mode, Load::Concurrency(_) | Load::Growing(_)) {
            return Some(message!["runs with a schedule (", Setting::RequestRate, ")"]);
        }
        (self.metric.needs(Need::Limits) && plan.measure.goodput.is_empty())
            .then(|| message!["runs with limits (", Setting::Goodput, ")"])
    }
}
