//! A run that ends when a figure is known well enough: when the farther end of its 95 % interval is no more than the
//! asked share of the figure away.
//!
//! The looks are few ([`LOOK_FROM`], [`GROWTH`], [`APART`]), for two reasons. Each costs the recorder some milliseconds. And
//! whoever looks after every request and stops at the first narrow interval catches the moments in which chance made it narrow; that
//! bias does not go away with fewer looks, but it becomes small.

use crate::fidelity::hundredths;
use crate::interval::Interval;
use crate::metric::Metric;
use crate::summary::Accumulator;
use streamgauge_core::plan::RunPlan;
use streamgauge_core::stop::ConfidenceRule;
use streamgauge_core::units::percent;
use streamgauge_core::{Nanos, load::Load};
use thiserror::Error;

/// Successful requests before the first look. The first requests of a run, which all left at once, are not like the later ones; the
/// mean of a metric takes more ([`crate::thresholds::MEAN_VALUES`]).
pub const LOOK_FROM: u64 = 100;

/// By how much the number of successful requests grows from look to look, as a share: an interval narrows with its root, so
/// ten percent more make it five percent narrower.
pub const GROWTH: f64 = 0.1;

/// Least time between two looks: one takes up to some ten milliseconds (a quarter of a million values to sort, or a thousand
/// draws of a run), so that even then the recorder has nearly all of its time for records.
pub const APART: Nanos = Nanos::from_millis(500);

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

/// A figure so far, and where chance may have moved it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// In the metric's unit.
    pub value: f64,
    /// None where there are too few values, or too little time, for one.
    pub interval: Option<Interval>,
    /// At least how many seconds an interval would take, where the values depend on each other so much that the run is too short.
    pub needed: Option<f64>,
}

impl Estimate {
    /// What reports show behind the `±` ([`Interval::reach`]) as a share of the figure's magnitude; none without an interval,
    /// or of nothing.
    pub fn precision(&self) -> Option<f64> {
        let precision = self.interval?.reach(self.value) / self.value.abs();
        precision.is_finite().then_some(precision)
    }
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
    fn lacks(&self, plan: &RunPlan) -> Option<&'static str> {
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
        if self.metric.is_from_due() && matches!(plan.load, Load::Concurrency(_) | Load::Growing(_)) {
            return Some("runs with a schedule (--request-rate)");
        }
        (self.metric == Metric::RequestGoodput && plan.goodput.is_empty()).then_some("runs with limits (--goodput)")
    }
}

/// Looks now and then whether the figure is known well enough.
#[derive(Clone, Debug)]
pub struct Confidence {
    wanted: Wanted,
    next_count: u64,
    next_at: Nanos,
}

impl Confidence {
    /// As the plan says; none when it has no such rule.
    ///
    /// # Errors
    /// When no run of this plan could meet the rule.
    pub fn of(plan: &RunPlan) -> Result<Option<Confidence>, ConfidenceError> {
        let Some(rule) = &plan.stop.confidence else { return Ok(None) };
        let wanted = Wanted::of(rule)?;
        if let Some(needs) = wanted.lacks(plan) {
            return Err(ConfidenceError::Never { key: wanted.metric.key(), needs });
        }
        Ok(Some(Confidence { wanted, next_count: LOOK_FROM, next_at: Nanos(i64::MIN) }))
    }

    /// Looks at what was taken in so far, if it is time for that. Says why the run is to end when it is.
    pub fn look(&mut self, so_far: &mut Accumulator, now: Nanos) -> Option<String> {
        let count = so_far.counts().ok;
        if count < self.next_count || now < self.next_at {
            return None;
        }
        self.next_count = count + ((count as f64 * GROWTH).ceil() as u64).max(1);
        self.next_at = now + APART;
        let Wanted { metric, percentile, within } = self.wanted;
        let precision = so_far.figure(metric, percentile)?.precision().filter(|precision| *precision <= within)?;
        let (name, asked) = (self.wanted.name(), percent(within));
        Some(format!("the 95 % interval of {name} is ±{}, {asked} was asked for", hundredths(precision)))
    }
}
