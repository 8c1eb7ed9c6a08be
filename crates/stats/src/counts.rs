//! Counts of the requests of a run.

use serde::{Deserialize, Serialize};
use std::ops::AddAssign;

/// Requests by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Measured requests, whatever their outcome.
    pub requests: u64,
    /// Successful requests.
    pub ok: u64,
    /// Failed.
    pub failed: u64,
    /// Requests that were unfinished when the run ended.
    pub cut_off: u64,
    /// Requests that were cancelled because the plan asks for it.
    pub cancelled: u64,
    /// Requests of the warm-up, which are in no other count.
    pub warmup: u64,
    /// Measured requests that were sent again because their kept connection was closed, whatever their outcome.
    pub retried: u64,
    /// Measured requests that were sent more than [`SEND_LATENESS_GOOD`](crate::thresholds::SEND_LATENESS_GOOD) after they were due, or were that
    /// late and not sent at all, whatever their outcome.
    pub sent_late: u64,
    /// Measured requests that were due but never sent before the run ended.
    pub never_sent: u64,
    /// Measured requests outside the part of the run that the figures cover, which are in no other count.
    pub outside: u64,
}

/// Counts of the requests to one server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetCounts {
    /// Measured requests, whatever their outcome.
    pub requests: u64,
    /// Successful requests.
    pub ok: u64,
    /// Failed.
    pub failed: u64,
}

/// Output lengths compared with requested lengths, in tokens over all requests with a requested length.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LengthAsked {
    /// The sum of the absolute differences.
    pub difference: u64,
    /// The sum of the requested lengths.
    pub asked: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        let Counts { requests, ok, failed, cut_off, cancelled, warmup, retried, sent_late, never_sent, outside } =
            other;
        self.requests += requests;
        self.ok += ok;
        self.failed += failed;
        self.cut_off += cut_off;
        self.cancelled += cancelled;
        self.warmup += warmup;
        self.retried += retried;
        self.sent_late += sent_late;
        self.never_sent += never_sent;
        self.outside += outside;
    }
}

impl AddAssign for TargetCounts {
    fn add_assign(&mut self, TargetCounts { requests, ok, failed }: TargetCounts) {
        self.requests += requests;
        self.ok += ok;
        self.failed += failed;
    }
}

impl AddAssign for LengthAsked {
    fn add_assign(&mut self, LengthAsked { difference, asked }: LengthAsked) {
        self.difference = self.difference.saturating_add(difference);
        self.asked = self.asked.saturating_add(asked);
    }
}
