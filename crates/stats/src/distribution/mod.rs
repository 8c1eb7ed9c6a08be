//! Statistics over the values of one metric: exact up to a bound, and from a histogram above it.

mod sampler;

pub use sampler::{EXACT_POOLED_VALUES, EXACT_VALUES, Sampler};

use crate::intervals::{Interval, Intervals, percentile_ranks};
use serde::{Deserialize, Serialize};

/// The percentiles that reports show, which are those of GenAI-Perf.
pub const PERCENTILES: [u8; 9] = [1, 5, 10, 25, 50, 75, 90, 95, 99];

/// Statistics over the values of one metric, in the metric's unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Distribution {
    /// The number of values.
    pub count: u64,
    /// Whether the percentiles are exact. Otherwise they come from a histogram and are accurate to 0.1 %. The other statistics
    /// are always exact.
    pub exact: bool,
    /// Mean.
    pub avg: f64,
    /// Least value.
    pub min: f64,
    /// Greatest value.
    pub max: f64,
    /// Population standard deviation.
    pub std: f64,
    /// The percentiles of [`PERCENTILES`], in that order.
    pub percentiles: [f64; 9],
    /// The confidence intervals of the mean and the percentiles.
    pub intervals: Intervals,
}

impl Distribution {
    /// The `p`-th percentile, or NaN unless `p` is one of [`PERCENTILES`].
    pub fn percentile(&self, p: u8) -> f64 {
        PERCENTILES.iter().position(|&known| known == p).map_or(f64::NAN, |index| self.percentiles[index])
    }

    /// The interval of the `p`-th percentile. Returns `None` if there are too few values for one, or if `p` is not one of
    /// [`PERCENTILES`].
    pub fn interval(&self, p: u8) -> Option<Interval> {
        PERCENTILES.iter().position(|&known| known == p).and_then(|index| self.intervals.percentiles[index])
    }

    /// Whether there are enough values for the `p`-th percentile to have a two-sided 95 % confidence interval that ends
    /// at two of the values.
    pub fn supports(&self, p: u8) -> bool {
        supports(self.count, p)
    }
}

/// Whether `count` values bracket the `p`-th percentile with 95 % confidence.
pub(crate) fn supports(count: u64, p: u8) -> bool {
    percentile_ranks(count, p).is_some()
}

/// The position of a percentile between two order statistics: index (n - 1) p / 100, as in numpy's `linear` method.
#[derive(Clone, Copy)]
pub(crate) struct Rank {
    pub low: u64,
    pub high: u64,
    part: f64,
}

impl Rank {
    pub fn of(p: u8, count: u64) -> Rank {
        let last = count.saturating_sub(1);
        // Computed in hundredths with integers, so that an integral index is exact.
        let hundredths = u128::from(last) * u128::from(p);
        let low = (hundredths / 100) as u64;
        Rank { low, high: (low + 1).min(last), part: (hundredths % 100) as f64 / 100.0 }
    }
}

/// Interpolates from the nearer of the two values, as numpy does, so that equal values give exactly that value.
pub(crate) fn interpolate(rank: Rank, value_at: impl Fn(u64) -> f64) -> f64 {
    let (low, high) = (value_at(rank.low), value_at(rank.high));
    if rank.part < 0.5 { low + (high - low) * rank.part } else { high - (high - low) * (1.0 - rank.part) }
}
