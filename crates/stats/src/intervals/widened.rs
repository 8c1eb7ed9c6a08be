//! Intervals of values that may depend on each other: those of [`crate::intervals`], widened by the estimate of
//! [`crate::dependence`], or no interval if the run is too short for that estimate.

use crate::intervals::dependence::{Inflation, Shape, Timeline, Whole};
use crate::intervals::{Interval, NORMAL, percentile_ranks, student};
use crate::thresholds::MEAN_VALUES;

/// Why a statistic has no interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Lack {
    /// There are too few values, even if they are independent.
    Values,
    /// The values depend on each other, and the run is too short for that. An interval needs a run that is at least this many times as
    /// long.
    Time(f64),
}

impl Lack {
    /// The factor by which the run would have to be longer, if a longer run helps.
    pub fn times(self) -> Option<f64> {
        match self {
            Lack::Time(times) => Some(times),
            Lack::Values => None,
        }
    }
}

/// From this percentile on, the values above it come from the same slow moments, so the inflation of the mean is a lower bound of its own.
const UPPER: u8 = 75;

/// The maximum factor of run length that is considered. Above it the values drift, and no length is sufficient.
const LONGEST: f64 = 1e4;

/// The step factor of the search for a sufficient run length. The initial estimate is no more accurate than this.
const STEP: f64 = 1.25;

/// The basis of the intervals of one metric's values.
#[derive(Debug)]
pub(crate) struct Ground {
    count: u64,
    timed: Option<(Timeline, Whole)>,
}

impl Ground {
    /// Takes the number of values and a timeline of all or some of them. Without a timeline, values are assumed to be independent.
    pub fn of(count: u64, timeline: Option<Timeline>) -> Ground {
        let timed = timeline.filter(|timeline| timeline.count() > 0).map(|timeline| {
            let whole = timeline.whole();
            (timeline, whole)
        });
        Ground { count, timed }
    }

    /// The effective number of independent values for the mean.
    pub fn effective(&self) -> f64 {
        self.count as f64 / self.timed.as_ref().map_or(1.0, |(timeline, whole)| self.full(timeline, whole.mean).factor)
    }

    /// The interval of the mean `avg`, from the population deviation `std`: Student's t around it, with as many degrees of freedom as
    /// the estimate of the variance has, and stretched towards the tail of a skewed distribution (Johnson 1978; Hall, Journal of
    /// the Royal Statistical Society B 54, 1992; applied to simulations by Tafazzoli, Wilson, Lada and Steiger 2011).
    pub fn mean(&self, avg: f64, std: f64) -> Result<Interval, Lack> {
        if self.count < MEAN_VALUES {
            return Err(Lack::Values);
        }
        if let Some(longer) = self.too_short() {
            return Err(Lack::Time(longer));
        }
        let freedom = (self.count - 1) as f64;
        let error = std / freedom.sqrt();
        let Some((timeline, whole)) = &self.timed else {
            let reach = student(self.count - 1) * error;
            return Ok(Interval { low: avg - reach, high: avg + reach });
        };
        let Inflation { factor, freedom } = self.full(timeline, whole.mean);
        let shape = timeline.shape();
        // A variance that is dominated by few values is only as precise as those few allow: it has 2 n / (kurtosis - 1) degrees
        // of freedom, from the variance of a variance (Cramér 1946, 27.4).
        let few = 2.0 * self.effective() / (shape.kurtosis - 1.0).max(f64::MIN_POSITIVE);
        let t = student(freedom.min(few).max(1.0) as u64);
        let error = error * factor.sqrt();
        let (below, above) = stretched(t, shape);
        Ok(Interval { low: avg - below * error, high: avg + above * error })
    }

    /// The ranks, from 0, between which the `p`-th percentile lies. `found` is its estimated value.
    pub fn percentile(&self, p: u8, found: f64) -> Result<(u64, u64), Lack> {
        let Some((timeline, whole)) = &self.timed else { return percentile_ranks(self.count, p).ok_or(Lack::Values) };
        if percentile_ranks(self.count, p).is_none() {
            return Err(Lack::Values);
        }
        let own = timeline.at_or_below(found);
        if let Some(longer) = self.too_short().into_iter().chain(timeline.too_short(own.factor)).reduce(f64::max) {
            return Err(Lack::Time(longer));
        }
        let dependent = whole.dependent || own.is_significant(timeline.count());
        // Values above a high percentile come in a few clusters, which its own estimate may miss entirely.
        let worse = if dependent && p >= UPPER && whole.mean.factor > own.factor { whole.mean } else { own };
        let Inflation { factor, freedom } = self.full(timeline, worse);
        let ranks = |longer: f64| {
            let count = self.count as f64 * longer;
            if !dependent {
                return inflated_ranks(count as u64, p, factor);
            }
            // The number of independent values above the percentile, on which the estimate rests.
            let beyond = count / factor * f64::from(p.min(100 - p)) / 100.0;
            let t = student((freedom * longer).min(beyond).max(1.0) as u64);
            inflated_ranks(count as u64, p, factor * (t / NORMAL).powi(2))
        };
        if let Some(found) = ranks(1.0) {
            return Ok(found);
        }
        let mut longer = STEP;
        while longer < LONGEST && ranks(longer).is_none() {
            longer *= STEP;
        }
        Err(Lack::Time(longer))
    }

    /// The factor by which the run is too short for any of its intervals, if it is.
    fn too_short(&self) -> Option<f64> {
        self.timed
            .as_ref()
            .and_then(|(timeline, whole)| timeline.too_short(whole.worst))
            .map(|longer| longer.min(LONGEST))
    }

    /// The inflation for all values, from one that was estimated from a sample of them. More values reduce the independent part of the
    /// variance, but not the part that is common to values of the same time.
    fn full(&self, timeline: &Timeline, some: Inflation) -> Inflation {
        let thinned = self.count as f64 / timeline.count() as f64;
        Inflation { factor: 1.0 + (some.factor - 1.0) * thinned, ..some }
    }
}

/// The number of standard errors that an interval extends below and above the mean of a skewed distribution, each at least `t`.
fn stretched(t: f64, shape: Shape) -> (f64, f64) {
    let beta = shape.skewness / (6.0 * shape.groups.sqrt());
    if beta.abs() < 1e-6 {
        return (t, t);
    }
    let transformed = |z: f64| ((1.0 + 6.0 * beta * (z - beta)).cbrt() - 1.0) / (2.0 * beta);
    (transformed(t).max(t), (-transformed(-t)).max(t))
}

/// The ranks of [`percentile_ranks`] for the effective number of independent values of `count` values with this inflation, scaled back
/// to ranks of all values.
fn inflated_ranks(count: u64, p: u8, factor: f64) -> Option<(u64, u64)> {
    if factor <= 1.0 {
        return percentile_ranks(count, p);
    }
    let effective = (count as f64 / factor).floor();
    let (low, high) = percentile_ranks(effective as u64, p)?;
    let (share, scale) = (f64::from(p) / 100.0, count as f64 / effective);
    let (at, effective_at) = (share * count as f64, share * effective);
    let last = (count - 1) as f64;
    let low = (at - (effective_at - low as f64) * scale).floor().clamp(0.0, (last * share).floor());
    let high = (at + (high as f64 - effective_at) * scale).ceil().clamp((last * share).ceil(), last);
    Some((low as u64, high as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inflation_of_one_changes_no_rank_and_a_larger_one_spreads_them() {
        for p in crate::PERCENTILES {
            assert_eq!(inflated_ranks(1_000, p, 1.0), percentile_ranks(1_000, p));
            let (low, high) = percentile_ranks(1_000, p).unwrap();
            let (wider_low, wider_high) = inflated_ranks(1_000, p, 2.0).unwrap();
            assert!(wider_low < low || low == 0, "p{p}");
            assert!(wider_high > high || high == 999, "p{p}");
        }
        // 2,000 values worth 299 have a p99, and those worth 298 none.
        assert!(inflated_ranks(2_000, 99, 2_000.0 / 299.5).is_some());
        assert_eq!(inflated_ranks(2_000, 99, 2_000.0 / 298.5), None);
        assert_eq!(inflated_ranks(2_000, 50, 4_000.0), None);
    }

    #[test]
    fn an_interval_stretches_towards_the_tail() {
        let shape = |skewness| Shape { groups: 32.0, skewness, kurtosis: 3.0 };
        assert_eq!(stretched(2.0, shape(0.0)), (2.0, 2.0));
        let (below, above) = stretched(2.0, shape(2.0));
        assert!(below == 2.0 && above > 2.5, "{below} {above}");
        assert_eq!(stretched(2.0, shape(-2.0)), (above, below));
    }

    #[test]
    fn values_without_times_are_taken_for_independent() {
        let ground = Ground::of(1_000, None);
        assert_eq!(ground.percentile(90, 1.0), Ok(percentile_ranks(1_000, 90).unwrap()));
        assert_eq!(ground.effective(), 1_000.0);
        let interval = ground.mean(5.0, 1.0).unwrap();
        assert!((interval.high - 5.0 - student(999) / 999f64.sqrt()).abs() < 1e-12);
        assert_eq!(Ground::of(MEAN_VALUES - 1, None).mean(5.0, 1.0), Err(Lack::Values));
        assert_eq!(Ground::of(298, None).percentile(99, 1.0), Err(Lack::Values));
    }
}
