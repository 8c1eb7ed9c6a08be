//! Estimates how much successive values depend on each other, and by how much that widens an interval.
//!
//! If requests queue, a slow moment makes many slow requests, and a thousand of them contain no more information than a few independent ones.
//! The variance of the mean of n such values is the variance of one value, over n, times a factor: the integrated
//! autocorrelation time (Sokal, Monte Carlo Methods in Statistical Mechanics, 1997). The factor is estimated from the
//! autocovariances of the values in the order of their times, summed for as long as their pairs are positive and falling: the
//! initial monotone sequence estimator (Geyer, Statistical Science 7, 1992). For a percentile the values are the indicators of
//! being at or below it (Meketon and Schmeiser 1984; Flegal and Jones 2011).
//!
//! To bound the work, successive values are combined into at most [`BINS`] bins of equally many values (batch means), and the
//! sequence is summed over the bins. A run that is short compared with its own correlation time shows too little of it, whatever the
//! estimator; [`Timeline::too_short`] detects that.

use crate::thresholds::{DEPENDENT_LEAST, DEPENDENT_MOST, DEPENDENT_SPREAD, EFFECTIVE_VALUES};

/// The maximum number of bins. Correlations shorter than a bin are in the variance of the bins, longer ones in their autocovariances.
pub(crate) const BINS: usize = 128;

/// The number of bins that are combined to estimate the skewness of a mean, which needs many values per group.
const COARSE: usize = 4;

/// How much dependence widens the interval of one statistic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Inflation {
    /// The factor by which the variance of independent values is multiplied. It is at least 1, because no interval is made narrower than that of
    /// independent values.
    pub factor: f64,
    /// The degrees of freedom of that estimate, for Student's t.
    pub freedom: f64,
}

impl Inflation {
    /// The inflation of independent values.
    pub fn none(count: usize) -> Inflation {
        Inflation { factor: 1.0, freedom: count.saturating_sub(1).max(1) as f64 }
    }

    /// Whether a factor this large is unlikely for `count` independent values.
    pub fn is_significant(self, count: usize) -> bool {
        let limit = 1.0 + DEPENDENT_SPREAD / (count as f64).sqrt();
        self.factor > limit.clamp(DEPENDENT_LEAST, DEPENDENT_MOST)
    }
}

/// Values in ascending order, each with its bin of time.
#[derive(Debug)]
pub(crate) struct Timeline {
    values: Vec<(f64, u8)>,
    bins: usize,
    /// The mean of the values' ranks, and the rank of each value. Equal values share their mean rank.
    ranks: Vec<f64>,
    mean: f64,
}

/// The dependence of all values of a timeline.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Whole {
    /// The inflation of the mean.
    pub mean: Inflation,
    /// Whether the values, their ranks, or their distances from the median depend on each other significantly.
    pub dependent: bool,
    /// The largest factor of these three.
    pub worst: f64,
}

impl Timeline {
    /// Makes a timeline from values and their times. The result does not depend on the order of the values.
    pub fn of(values: &[f64], times: &[u32]) -> Timeline {
        // Values with the same time are put in a pseudo-random order that depends only on the values.
        let mut by_time: Vec<(u32, u64, f64)> =
            times.iter().zip(values).map(|(&time, &value)| (time, scramble(value.to_bits()), value)).collect();
        by_time.sort_unstable_by_key(|&(time, mixed, _)| (time, mixed));
        let (count, bins) = (by_time.len(), by_time.len().min(BINS));
        let mut values: Vec<(f64, u8)> = by_time
            .into_iter()
            .enumerate()
            .map(|(index, (_, _, value))| (value, (index * bins / count) as u8))
            .collect();
        values.sort_unstable_by(|(a, a_bin), (b, b_bin)| a.total_cmp(b).then(a_bin.cmp(b_bin)));
        let mut ranks = Vec::with_capacity(count);
        for equal in values.chunk_by(|(a, _), (b, _)| a == b) {
            let rank = ranks.len() as f64 + (equal.len() - 1) as f64 / 2.0;
            ranks.extend(std::iter::repeat_n(rank, equal.len()));
        }
        let mean = mean(values.iter().map(|(value, _)| *value));
        Timeline { values, bins, ranks, mean }
    }

    /// The number of values.
    pub fn count(&self) -> usize {
        self.values.len()
    }

    /// The dependence of the values themselves; of their ranks, which outliers cannot hide; and of the distances of the ranks from the middle rank, which
    /// reveal a distribution that widens or narrows around the same median, as waiting times of a closed loop do.
    pub fn whole(&self) -> Whole {
        let middle = self.count().saturating_sub(1) as f64 / 2.0;
        let mean = self.inflation(self.values.iter().map(|(value, _)| *value), self.mean);
        let ranks = self.inflation(self.ranks.iter().copied(), middle);
        let distances = self.ranks.iter().map(|rank| (rank - middle).abs());
        let distances = self.inflation(distances.clone(), crate::intervals::dependence::mean(distances));
        let all = [mean, ranks, distances];
        Whole {
            mean,
            dependent: all.iter().any(|inflation| inflation.is_significant(self.count())),
            worst: all.iter().map(|inflation| inflation.factor).fold(1.0, f64::max),
        }
    }

    /// The inflation of a percentile that was found at this value.
    pub fn at_or_below(&self, percentile: f64) -> Inflation {
        let indicators = self.values.iter().map(|(value, _)| f64::from(u8::from(*value <= percentile)));
        self.inflation(indicators.clone(), mean(indicators))
    }

    /// The factor by which the run would have to be longer for a reliable estimate of the dependence, which takes
    /// [`EFFECTIVE_VALUES`] independent values. Returns `None` if the run is long enough or the values are independent.
    pub fn too_short(&self, factor: f64) -> Option<f64> {
        let is_significant = Inflation { factor, freedom: 1.0 }.is_significant(self.count());
        let longer = EFFECTIVE_VALUES * factor / self.count() as f64;
        (is_significant && longer > 1.0).then_some(longer)
    }

    /// The skewness of a mean over groups of bins, and the kurtosis of the values. Both are 0 if all values are equal.
    pub fn shape(&self) -> Shape {
        let groups = self.bins.div_ceil(COARSE);
        let mut sums = vec![0.0; groups];
        let mut moments = [0.0; 2];
        for (value, bin) in &self.values {
            let off = value - self.mean;
            sums[usize::from(*bin) / COARSE] += off;
            moments[0] += off.powi(2);
            moments[1] += off.powi(4);
        }
        let (squares, cubes) = sums.iter().fold((0.0, 0.0), |(s, c), sum| (s + sum.powi(2), c + sum.powi(3)));
        let groups = groups as f64;
        let skewness = (cubes / groups) / (squares / groups).powf(1.5);
        let kurtosis = self.count() as f64 * moments[1] / moments[0].powi(2);
        let finite = |value: f64| if value.is_finite() { value } else { 0.0 };
        Shape { groups, skewness: finite(skewness), kurtosis: finite(kurtosis) }
    }

    /// The inflation of the mean of some numbers, one for each value and in the order of the values. `mean` is their mean.
    fn inflation(&self, numbers: impl Iterator<Item = f64>, mean: f64) -> Inflation {
        let count = self.count();
        let mut sums = vec![0.0; self.bins];
        let mut squares = 0.0;
        for (number, (_, bin)) in numbers.zip(&self.values) {
            let off = number - mean;
            sums[usize::from(*bin)] += off;
            squares += off * off;
        }
        if count < FEWEST || squares <= 0.0 {
            return Inflation::none(count);
        }
        let variance = squares / (count - 1) as f64;
        let (bins, per_bin) = (self.bins as f64, count as f64 / self.bins as f64);
        let (long_run, lags) = initial_sequence(&sums);
        // Each autocovariance of deviations from the run's own mean is too low by the variance of that mean. This is the corresponding
        // share of a sum over 2 lags + 1 of them.
        let window = (2 * lags + 1) as f64;
        let unbiased = long_run / (1.0 - window / bins).max(LEAST_LEFT);
        // The relative variance of an estimate that sums this many autocovariances is 2 (2 lags + 1) / bins (Geyer 1992,
        // Priestley 1981), which equals that of a chi-square distribution with this many degrees of freedom.
        let freedom = (bins / window).clamp(LEAST_FREEDOM, (count - 1) as f64);
        Inflation { factor: (unbiased / per_bin / variance).max(1.0), freedom }
    }
}

/// The properties of the distribution of the values that the interval of a mean needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// The number of groups from which the skewness was estimated.
    pub groups: f64,
    /// The skewness of the sums of the groups.
    pub skewness: f64,
    /// The fourth moment of the values over the square of the second, which is 3 for a normal distribution.
    pub kurtosis: f64,
}

/// The minimum number of values for which autocovariances are computed.
const FEWEST: usize = 4;

/// The minimum share of the bins that remains outside the summed window. With less, the run is too short anyway.
const LEAST_LEFT: f64 = 0.1;

/// The minimum degrees of freedom of an estimate, which are those of the widest summed window.
const LEAST_FREEDOM: f64 = 3.0;

/// The sum of the autocovariances of the bins over all lags that can be distinguished from noise, and the largest such lag.
fn initial_sequence(sums: &[f64]) -> (f64, usize) {
    let bins = sums.len();
    let covariance = |lag: usize| sums.iter().zip(&sums[lag..]).map(|(a, b)| a * b).sum::<f64>() / bins as f64;
    let (mut total, mut least, mut last) = (-covariance(0), f64::INFINITY, 0);
    for lag in (0..=bins / 2).step_by(2).take_while(|lag| lag + 1 < bins) {
        let pair = covariance(lag) + covariance(lag + 1);
        if pair <= 0.0 {
            break;
        }
        least = pair.min(least);
        total += 2.0 * least;
        last = lag + 1;
    }
    (total.max(0.0), last)
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (mut mean, mut count) = (0.0, 0.0);
    for value in values {
        count += 1.0;
        mean += (value - mean) / count;
    }
    mean
}

/// A fixed hash (the finalizer of SplitMix64, Steele, Lea and Flood 2014).
pub(crate) fn scramble(bits: u64) -> u64 {
    let mixed = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}
