//! The opening burst: the requests that a closed loop sends together when its measured phase does not follow a warm-up. They meet
//! an idle server and each other, so their times to first token are those of a burst and not of the load that follows.

use crate::distribution::Sampler;
use crate::fidelity::{Evidence, FidelityRow, Grade, share_row};
use crate::metrics::Metric;
use crate::thresholds as limit;
use streamgauge_core::Record;
use streamgauge_core::Setting;

/// Collects the times to first token of the requests outside the burst.
#[derive(Debug)]
pub(crate) struct Opening {
    /// The number of requests in the burst; their sequence numbers are below it.
    burst: u32,
    /// The number of burst requests whose first token is in the figures.
    within: u64,
    /// The times to first token of all others.
    others: Sampler,
}

/// The result for the opening burst.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct OpeningBurst {
    /// Requests of the burst in the figures, at least one.
    pub requests: u64,
    /// p99 of the time to first token of all other requests, in milliseconds. `None` if there are no others.
    pub others_p99: Option<f64>,
}

impl Opening {
    /// Starts collecting for a run whose first `burst` requests were sent together. Returns `None` if `burst` is 0.
    pub fn of(burst: u32) -> Option<Opening> {
        (burst > 0).then(|| Opening { burst, within: 0, others: Sampler::of(Metric::TimeToFirstToken) })
    }

    /// Adds the time to first token of a successful request, in milliseconds.
    pub fn add(&mut self, record: &Record, ttft: f64) {
        if record.seq < u64::from(self.burst) { self.within += 1 } else { self.others.add(ttft) }
    }

    /// Adds what was collected from other requests of the same run.
    pub fn merge(&mut self, other: Opening) {
        self.within += other.within;
        self.others.merge(other.others);
    }

    /// Returns the result, or `None` if no request of the burst is in the figures.
    pub fn close(self) -> Option<OpeningBurst> {
        let others_p99 = self.others.look(Some(99)).map(|p99| p99.value);
        (self.within > 0).then_some(OpeningBurst { requests: self.within, others_p99 })
    }
}

/// This row is for information: the times of a burst are correct. But they are not those of the steady load, for which a reader of
/// p99 may take them.
pub(crate) fn opening_burst(evidence: &Evidence<'_>) -> Option<FidelityRow> {
    let OpeningBurst { requests, others_p99 } = evidence.opening?;
    let p99 = evidence.distribution(Metric::TimeToFirstToken)?.percentile(99);
    let burst = format!("the {requests} requests sent together at the start");
    let Some(others) = others_p99 else {
        let value = format!(
            "TTFT p99 {p99:.3} ms comes only from {burst}; send more requests, or warm up ({})",
            Setting::WarmupRequestCount
        );
        return Some(FidelityRow { value, ..share_row(1.0, Grade::Good) });
    };
    let share = if p99 > 0.0 { ((p99 - others) / p99).max(0.0) } else { 0.0 };
    let advice = match share > limit::OPENING_BURST {
        true => format!("; warm up to measure the load without its start ({})", Setting::WarmupRequestCount),
        false => String::new(),
    };
    let value = format!("TTFT p99 {p99:.3} ms, {others:.3} without {burst}{advice}");
    Some(FidelityRow { value, ..share_row(share, Grade::Good) })
}
