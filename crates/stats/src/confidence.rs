//! The rule that ends a run when a figure is precise enough: when the farther end of its 95 % interval is within the
//! requested share of the figure.
//!
//! The interval is checked rarely ([`LOOK_FROM`], [`GROWTH`], [`APART`]), for two reasons. Each check costs the recorder some milliseconds. And
//! a rule that checks after every request and stops at the first narrow interval selects moments in which the interval is narrow by chance;
//! fewer checks make that bias small.

use crate::accumulator::Accumulator;
use crate::awaited::{ConfidenceError, Wanted};
use streamgauge_core::plan::RunPlan;
use streamgauge_core::{Nanos, Satisfied};

/// The number of successful requests before the first check. The first requests of a run were sent together and are not like later ones. The
/// interval of a mean needs more requests ([`crate::thresholds::MEAN_VALUES`]).
pub const LOOK_FROM: u64 = 100;

/// The share by which the number of successful requests grows between checks. The width of an interval falls with the square root of that number, so
/// ten percent more requests make it five percent narrower.
pub const GROWTH: f64 = 0.1;

/// The minimum time between two checks. A check takes up to about ten milliseconds (for sorting a quarter of a million values, or for a thousand
/// resamplings of a run), so the recorder keeps nearly all of its time for records.
pub const APART: Nanos = Nanos::from_millis(500);

/// Checks from time to time whether the figure is precise enough.
#[derive(Clone, Debug)]
pub struct Confidence {
    wanted: Wanted,
    next_count: u64,
    next_at: Nanos,
}

impl Confidence {
    /// Returns the rule of a plan, or `None` if it has none.
    ///
    /// # Errors
    /// When no run of this plan could meet the rule.
    pub fn of(plan: &RunPlan) -> Result<Option<Confidence>, ConfidenceError> {
        let Some(rule) = &plan.load.stop.confidence else { return Ok(None) };
        let wanted = Wanted::of(rule)?;
        if let Some(needs) = wanted.lacks(plan) {
            return Err(ConfidenceError::Never { key: wanted.metric.key(), needs });
        }
        Ok(Some(Confidence { wanted, next_count: LOOK_FROM, next_at: Nanos(i64::MIN) }))
    }

    /// Checks the records so far, if a check is due. Returns the reason for ending the run once the figure is precise enough.
    pub fn look(&mut self, so_far: &mut Accumulator, now: Nanos) -> Option<Satisfied> {
        let count = so_far.counts().ok;
        if count < self.next_count || now < self.next_at {
            return None;
        }
        self.next_count = count + ((count as f64 * GROWTH).ceil() as u64).max(1);
        self.next_at = now + APART;
        let Wanted { metric, percentile, within } = self.wanted;
        let precision = so_far.figure(metric, percentile)?.precision().filter(|precision| *precision <= within)?;
        Some(Satisfied::Interval { figure: self.wanted.name(), precision, within })
    }
}
