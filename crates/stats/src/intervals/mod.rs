//! Two-sided 95 % confidence intervals of statistics.
//!
//! The functions in this file assume that values are independent. The values of a run seldom are; [`crate::Distribution`] has
//! intervals that are widened by their dependence in time, or no intervals if the dependence cannot be estimated.

pub(crate) mod dependence;
pub(crate) mod widened;

use crate::thresholds::INTERVAL_CONFIDENCE;
use serde::{Deserialize, Serialize};

/// An interval that contains the true value with 95 % confidence.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Interval {
    /// The number after a `±`: the distance from `value` to the farther end. `value` ± this number covers the whole interval,
    /// even if it is asymmetric, as those of high percentiles usually are.
    pub fn reach(&self, value: f64) -> f64 {
        (self.high - value).max(value - self.low)
    }
}

/// An estimate of a figure with its interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The value, in the metric's unit.
    pub value: f64,
    /// The interval; `None` if there are too few values or too little time for one.
    pub interval: Option<Interval>,
    /// The minimum length in seconds of a run with an interval, if the values depend on each other so much that this run is too short.
    pub needed: Option<f64>,
}

impl Estimate {
    /// The number after the `±` ([`Interval::reach`]) as a share of the figure's magnitude. Returns `None` without an interval
    /// or if the figure is 0.
    pub fn precision(&self) -> Option<f64> {
        let precision = self.interval?.reach(self.value) / self.value.abs();
        precision.is_finite().then_some(precision)
    }
}

/// The intervals of the statistics of one metric. An interval is missing if there are too few values for it, or if the values depend on each
/// other so much that the run is too short.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Intervals {
    /// Of the mean.
    pub avg: Option<Interval>,
    /// Of the percentiles of [`crate::PERCENTILES`], in that order.
    pub percentiles: [Option<Interval>; 9],
    /// The effective number of independent values for the mean: the count over the inflation of its variance by dependence in time.
    pub effective: f64,
    /// The run lengths needed for the intervals that are missing because of dependence.
    pub needed: Needed,
}

/// The approximate length, in seconds, of a run of the same load that has an interval, if the values depend on each other so much
/// that this run is too short. `None` if there is an interval, or if there are merely too few values. It is a lower bound, which is less tight
/// the shorter the run is compared with its correlation time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Needed {
    /// For the mean.
    pub avg: Option<f64>,
    /// For the percentiles of [`crate::PERCENTILES`], in that order.
    pub percentiles: [Option<f64>; 9],
}

/// The order statistics, counted from 0, between which the `p`-th percentile of the distribution of `count` values lies with
/// 95 % confidence, whatever that distribution is. Returns `None` if even the whole range of the sample is not enough.
///
/// The number of values below the percentile is binomial (n, p / 100), so the confidence of an interval is a sum of
/// binomial probabilities over as many numbers as there are ranks between its ends (David and Nagaraja, Order
/// Statistics, 7.1). Of the intervals that reach 95 % this is the one that spans the fewest ranks. Unlike the one with equal tails, it exists
/// whenever any does. It is exact for every count: the sums need terms over about twenty standard
/// deviations, which takes a millisecond for a hundred million values, so an approximation would not save time.
pub fn percentile_ranks(count: u64, p: u8) -> Option<(u64, u64)> {
    if count < 2 || !(1..100).contains(&p) {
        return None;
    }
    let binomial = Binomial { n: count as f64, odds: f64::from(p) / f64::from(100 - p) };
    let mode = ((u128::from(count) + 1) * u128::from(p) / 100).min(u128::from(count)) as u64;
    let wanted = INTERVAL_CONFIDENCE * binomial.total(mode);
    // The percentile lies between the values of ranks l and u (from 1) if l to u - 1 values are below it. Starting with the
    // most probable number, the more probable neighbour is added, because the probabilities decrease on both sides.
    let (least, most) = (1, count - 1);
    let start = mode.clamp(least, most);
    let at_start = binomial.walk(mode, start);
    let (mut low, mut high, mut sum) = (start, start, at_start);
    let (mut below, mut above) = (at_start * binomial.down(low), at_start * binomial.up(high));
    while sum < wanted {
        if low > least && (below >= above || high == most) {
            low -= 1;
            sum += below;
            below *= binomial.down(low);
        } else if high < most {
            high += 1;
            sum += above;
            above *= binomial.up(high);
        } else {
            return None;
        }
    }
    Some((low - 1, high))
}

/// Probabilities of a binomial distribution as ratios of neighbours, which needs no factorials and cannot overflow.
struct Binomial {
    n: f64,
    odds: f64,
}

impl Binomial {
    /// The probability of k + 1 over that of k.
    fn up(&self, k: u64) -> f64 {
        (self.n - k as f64) / (k as f64 + 1.0) * self.odds
    }

    /// The probability of k - 1 over that of k.
    fn down(&self, k: u64) -> f64 {
        k as f64 / (self.n - k as f64 + 1.0) / self.odds
    }

    /// The probability of `to`, which is at most one step from `from`, over that of `from`.
    fn walk(&self, from: u64, to: u64) -> f64 {
        match to {
            to if to > from => self.up(from),
            to if to < from => self.down(from),
            _ => 1.0,
        }
    }

    /// The sum of all probabilities over that of the mode, without terms that are too small to change the sum.
    fn total(&self, mode: u64) -> f64 {
        const UNSEEN: f64 = 1e-18;
        let side = |ratio: &dyn Fn(u64) -> f64, next: &dyn Fn(u64) -> u64| {
            let (mut k, mut term, mut sum) = (mode, 1.0, 0.0);
            loop {
                term *= ratio(k);
                if term < UNSEEN {
                    return sum;
                }
                sum += term;
                k = next(k);
            }
        };
        1.0 + side(&|k| self.up(k), &|k| k + 1) + side(&|k| self.down(k), &|k| k.saturating_sub(1))
    }
}

/// The interval of a mean: Student's t around it, from the population deviation `std` of `count` values.
///
/// It is not a bootstrap because it needs no values, so that it also works with a histogram. Both methods assume that the mean is nearly
/// normal, which holds for some tens of values. Returns `None` for a single value.
pub fn mean_interval(avg: f64, std: f64, count: u64) -> Option<Interval> {
    let freedom = count.checked_sub(1).filter(|&freedom| freedom > 0)?;
    // Converts the population deviation (over n) into the sample deviation (over n - 1) and that into the standard error of the mean.
    let reach = student(freedom) * std / (freedom as f64).sqrt();
    Some(Interval { low: avg - reach, high: avg + reach })
}

/// The 97.5th percentile of Student's t with `freedom` degrees of freedom, to at least five digits.
pub(crate) fn student(freedom: u64) -> f64 {
    const TABLE: [f64; 10] =
        [12.70620, 4.302653, 3.182446, 2.776445, 2.570582, 2.446912, 2.364624, 2.306004, 2.262157, 2.228139];
    if let Some(&known) = usize::try_from(freedom).ok().and_then(|at| TABLE.get(at.checked_sub(1)?)) {
        return known;
    }
    // Abramowitz and Stegun 26.7.5, which is accurate to five decimals from eleven degrees on.
    let (z, v) = (NORMAL, freedom as f64);
    let g1 = (z.powi(3) + z) / 4.0;
    let g2 = (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / 96.0;
    let g3 = (3.0 * z.powi(7) + 19.0 * z.powi(5) + 17.0 * z.powi(3) - 15.0 * z) / 384.0;
    let g4 = (79.0 * z.powi(9) + 776.0 * z.powi(7) + 1482.0 * z.powi(5) - 1920.0 * z.powi(3) - 945.0 * z) / 92_160.0;
    z + g1 / v + g2 / v.powi(2) + g3 / v.powi(3) + g4 / v.powi(4)
}

/// The 97.5th percentile of the normal distribution.
pub(crate) const NORMAL: f64 = 1.959_963_985;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PERCENTILES;

    /// Binomial probabilities for 0 to n, by Pascal's recurrence: slow, and nothing in common with the ratios above.
    fn pascal(n: u64, q: f64) -> Vec<f64> {
        let mut row = vec![1.0];
        for _ in 0..n {
            let mut next = vec![0.0; row.len() + 1];
            for (k, probability) in row.iter().enumerate() {
                next[k] += probability * (1.0 - q);
                next[k + 1] += probability * q;
            }
            row = next;
        }
        row
    }

    /// Confidence of the interval between two ranks from 0: samples with low + 1 to high values below.
    fn confidence(row: &[f64], low: u64, high: u64) -> f64 {
        row[low as usize + 1..=high as usize].iter().sum()
    }

    #[test]
    fn the_narrowest_interval_of_every_small_sample_is_found() {
        for n in (1..80).chain([299, 300, 500]) {
            for p in PERCENTILES {
                let row = pascal(n, f64::from(p) / 100.0);
                let wide_enough =
                    |span: u64| (0..n - span).any(|low| confidence(&row, low, low + span) >= INTERVAL_CONFIDENCE);
                let narrowest = (1..n).find(|&span| wide_enough(span));
                let found = percentile_ranks(n, p);
                assert_eq!(found.map(|(low, high)| high - low), narrowest, "p{p} of {n}");
                if let Some((low, high)) = found {
                    assert!(confidence(&row, low, high) >= INTERVAL_CONFIDENCE && high < n);
                    let index = (n - 1) as f64 * f64::from(p) / 100.0;
                    assert!(low as f64 <= index && index <= high as f64, "p{p} of {n}");
                }
            }
        }
    }

    #[test]
    fn known_ranks() {
        assert_eq!(percentile_ranks(6, 50), Some((0, 5)));
        assert_eq!(percentile_ranks(298, 99), None);
        assert_eq!(percentile_ranks(299, 99), Some((288, 298)));
        assert_eq!(percentile_ranks(300, 99), Some((289, 299)));
        assert_eq!(percentile_ranks(300, 1), Some((0, 10)));
    }

    #[test]
    fn large_samples_come_near_the_normal_approximation() {
        for n in [100_000_u64, 10_000_000, 1_000_000_000] {
            for p in PERCENTILES {
                let (low, high) = percentile_ranks(n, p).unwrap();
                let q = f64::from(p) / 100.0;
                let sigma = (n as f64 * q * (1.0 - q)).sqrt();
                let off = |rank: u64, z: f64| ((rank as f64 - n as f64 * q) / sigma - z).abs();
                assert!(off(low, -NORMAL) < 0.1 && off(high, NORMAL) < 0.1, "p{p} of {n}: {low} to {high}");
            }
        }
    }

    #[test]
    fn students_t_is_as_tabled() {
        for (freedom, expected) in
            [(1, 12.706205), (10, 2.228139), (11, 2.200985), (12, 2.178813), (30, 2.042272), (120, 1.979930)]
        {
            assert!((student(freedom) - expected).abs() < 1e-5, "{freedom}: {}", student(freedom));
        }
        assert!((student(1 << 40) - NORMAL).abs() < 1e-9);
    }

    #[test]
    fn the_mean_of_few_values() {
        // 1, 2, 3: mean 2, sample deviation 1, t 4.302653.
        let found = mean_interval(2.0, (2.0f64 / 3.0).sqrt(), 3).unwrap();
        let reach = 4.302653 / 3f64.sqrt();
        assert!((found.low - (2.0 - reach)).abs() < 1e-12 && (found.high - (2.0 + reach)).abs() < 1e-12);
        assert_eq!(mean_interval(2.0, 0.0, 1), None);
    }

    #[test]
    fn a_value_with_its_reach_covers_the_interval() {
        let interval = Interval { low: 9.0, high: 14.0 };
        assert_eq!(interval.reach(10.0), 4.0);
        assert_eq!(interval.reach(13.0), 4.0);
    }
}
