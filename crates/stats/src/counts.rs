//! Counts over the requests of a run.

use serde::{Deserialize, Serialize};
use std::ops::AddAssign;

/// Requests by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Measured, whatever became of them.
    pub requests: u64,
    /// Answered whole.
    pub ok: u64,
    /// Failed.
    pub failed: u64,
    /// Unfinished when the run was over.
    pub cut_off: u64,
    /// Given up on purpose, as the plan wanted.
    pub cancelled: u64,
    /// Sent before the measured ones, in no other count.
    pub warmup: u64,
    /// Measured and sent again after a kept connection died, whatever became of them.
    pub retried: u64,
    /// Measured and sent over [`SEND_LATENESS_GOOD`](crate::thresholds::SEND_LATENESS_GOOD) later than the schedule wanted, whatever became of them, or by then
    /// not sent at all.
    pub sent_late: u64,
    /// Measured and due, but never sent before the run was over.
    pub never_sent: u64,
    /// Measured, and not in the part of the run that the figures are of: in no other count.
    pub outside: u64,
}

/// Requests of one server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetCounts {
    /// Measured, whatever became of them.
    pub requests: u64,
    /// Answered whole.
    pub ok: u64,
    /// Failed.
    pub failed: u64,
}

/// Output lengths against the lengths asked for, in tokens over all requests that asked.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LengthAsked {
    /// Sum of the differences, each without its sign.
    pub difference: u64,
    /// Sum of the lengths asked for.
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
