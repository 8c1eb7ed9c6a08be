//! The rules by which a run ends. These are values only: the load threads check counts and times, and the fold over records checks rules
//! about figures.

use crate::clock::Nanos;
use crate::ending::OverBudget;
use serde::{Deserialize, Serialize};

/// When a run ends: whichever comes first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StopRule {
    /// The run ends after this number of requests.
    pub requests: Option<u64>,
    /// After so long.
    pub duration: Option<Nanos>,
    /// How long requests in flight may then still take; only where the end was not a count.
    pub grace: Nanos,
    /// When more than this share of the finished requests has failed, from 0 to 1; judged from [`BUDGET_FROM`] finished
    /// requests on.
    pub failed_share: Option<f64>,
    /// When windows of the run agree with each other.
    pub stability: Option<StabilityRule>,
    /// When a figure is known well enough.
    pub confidence: Option<ConfidenceRule>,
}

impl StopRule {
    /// A rule that ends after this number of requests, without a grace period.
    pub fn after(requests: u64) -> StopRule {
        StopRule {
            requests: Some(requests),
            duration: None,
            grace: Nanos::ZERO,
            failed_share: None,
            stability: None,
            confidence: None,
        }
    }

    /// Compares `failed` of `finished` requests with the share that may fail. Returns `None` if they are within it.
    pub fn over_budget(&self, failed: u64, finished: u64) -> Option<OverBudget> {
        let allowed = self.failed_share?;
        let is_over = failed as f64 > allowed * finished as f64;
        is_over.then_some(OverBudget { failed, finished, allowed })
    }
}

/// Finished requests from which on their failed share is judged: one of a handful says nothing yet.
pub const BUDGET_FROM: u64 = 20;

/// Perf Analyzer's rule: a run is divided into windows and ends when the last three agree. Its figures cover those three: the requests
/// whose last output lies in them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StabilityRule {
    /// How long a window is.
    pub window: Window,
    /// The share by which the highest of three throughputs, and of three latencies, may exceed the lowest.
    pub within: f64,
    /// The latency percentile that must be stable, from 1 to 99; `None` means the mean.
    pub percentile: Option<u8>,
    /// The maximum number of windows. After that the run ends as unstable.
    pub most: u32,
}

/// How long a window is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Window {
    /// The window ends after this number of requests.
    Requests(u64),
    /// The window ends after this time.
    Time(Nanos),
}

/// A run ends when the 95 % confidence interval of a figure is narrow enough.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConfidenceRule {
    /// The metric's key.
    pub metric: String,
    /// The percentile, from 1 to 99; `None` means the mean, or the single figure of a metric of the whole run.
    pub percentile: Option<u8>,
    /// The maximum distance of the interval's farther end from the figure, as a share of the figure, above 0 and below 1.
    pub within: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_may_be_used_up() {
        let stop = StopRule { failed_share: Some(0.125), ..StopRule::after(1) };
        assert_eq!([stop.over_budget(1, 8), stop.over_budget(0, 0)], [None, None]);
        let over = stop.over_budget(2, 8).unwrap();
        assert_eq!(over.to_string(), "2 of 8 requests failed, more than the 12.5 % allowed");
        assert_eq!(StopRule::after(1).over_budget(2, 8), None);
    }
}
