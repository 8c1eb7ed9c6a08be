//! A run that ends when a figure is known well enough: when the farther end of its 95 % interval is no more than the
//! asked share of the figure away.
//!
//! The looks are few ([`LOOK_FROM`], [`GROWTH`], [`APART`]), for two reasons. Each costs the recorder some milliseconds. And
//! whoever looks after every request and stops at the first narrow interval catches the moments in which chance made it narrow; that
//! bias does not go away with fewer looks, but it becomes small.

use crate::accumulator::Accumulator;
use crate::awaited::{ConfidenceError, Wanted};
use streamgauge_core::plan::RunPlan;
use streamgauge_core::{Nanos, Satisfied};

/// Successful requests before the first look. The first requests of a run, which all left at once, are not like the later ones; the
/// mean of a metric takes more ([`crate::thresholds::MEAN_VALUES`]).
pub const LOOK_FROM: u64 = 100;

/// By how much the number of successful requests grows from look to look, as a share: an interval narrows with its root, so
/// ten percent more make it five percent narrower.
pub const GROWTH: f64 = 0.1;

/// Least time between two looks: one takes up to some ten milliseconds (a quarter of a million values to sort, or a thousand
/// draws of a run), so that even then the recorder has nearly all of its time for records.
pub const APART: Nanos = Nanos::from_millis(500);

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
        let Some(rule) = &plan.load.stop.confidence else { return Ok(None) };
        let wanted = Wanted::of(rule)?;
        if let Some(needs) = wanted.lacks(plan) {
            return Err(ConfidenceError::Never { key: wanted.metric.key(), needs });
        }
        Ok(Some(Confidence { wanted, next_count: LOOK_FROM, next_at: Nanos(i64::MIN) }))
    }

    /// Looks at what was taken in so far, if it is time for that. Says why the run is to end when it is.
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
