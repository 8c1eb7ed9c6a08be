//! How much values that follow each other in time depend on each other, and how far that widens an interval.
//!
//! Where requests queue, a slow moment makes many slow requests, and a thousand of them say no more than a few independent ones
//! would. The variance of a mean of n such values is the variance of one, over n, times a factor: the integrated
//! autocorrelation time (Sokal, Monte Carlo Methods in Statistical Mechanics, 1997). The factor is estimated from the
//! autocovariances of the values in the order of their times, summed for as long as their pairs are positive and falling: the
//! initial monotone sequence estimator (Geyer, Statistical Science 7, 1992). For a percentile the values are the indicators of
//! being at or below it (Meketon and Schmeiser 1984; Flegal and Jones 2011).
//!
//! To bound the work, neighbours are put together in at most [`BINS`] bins of equally many values (batch means) and the
//! sequence is summed over those. A run that is short against its own correlation time shows too little of it, whatever the
//! estimator; [`Timeline::too_short`] says when that is to be feared.

use crate::thresholds::{DEPENDENT_LEAST, DEPENDENT_MOST, DEPENDENT_SPREAD, EFFECTIVE_VALUES};

/// Most bins. A correlation shorter than a bin is in the variance of the bins, one that is longer in their autocovariances.
pub(crate) const BINS: usize = 128;

/// Bins of which the skewness of a mean is taken: those of [`BINS`], four together, as few values make no skewness.
const COARSE: usize = 4;

/// How far dependence widens one statistic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Inflation {
    /// What the variance of independent values is to be multiplied by; at least 1, since no interval is made narrower than that of
    /// independent values.
    pub factor: f64,
    /// Degrees of freedom of that estimate, for Student's t.
    pub freedom: f64,
}

impl Inflation {
    /// Of values that do not depend on each other.
    pub fn none(count: usize) -> Inflation {
        Inflation { factor: 1.0, freedom: count.saturating_sub(1).max(1) as f64 }
    }

    /// Whether a factor this large is more than chance makes of so many independent values.
    pub fn is_significant(self, count: usize) -> bool {
        let limit = 1.0 + DEPENDENT_SPREAD / (count as f64).sqrt();
        self.factor > limit.clamp(DEPENDENT_LEAST, DEPENDENT_MOST)
    }
}

/// Values in ascending order, each with the bin of time that it belongs to.
#[derive(Debug)]
pub(crate) struct Timeline {
    values: Vec<(f64, u8)>,
    bins: usize,
    /// The mean of the values' ranks, and each value's rank, equal values sharing the mean of theirs.
    ranks: Vec<f64>,
    mean: f64,
}

/// What a timeline says about all statistics of its values.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Whole {
    /// Of the mean.
    pub mean: Inflation,
    /// Whether the values, their ranks, or their distances from the middle depend on each other by more than chance makes.
    pub dependent: bool,
    /// The largest factor among those of these three.
    pub worst: f64,
}

impl Timeline {
    /// Of values and when each was taken, in any order; the result does not depend on the order.
    pub fn of(values: &[f64], times: &[u32]) -> Timeline {
        // Values of one tick are put in an order that depends on nothing but them and is neither up nor down.
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

    /// How many values there are.
    pub fn count(&self) -> usize {
        self.values.len()
    }

    /// Of the values themselves, of their ranks, which no outlier hides, and of the ranks' distances from the middle one, which
    /// show a distribution that grows wider or narrower around the same middle, as that of a closed loop's waiting times does.
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

    /// Of a percentile that was found at this value.
    pub fn at_or_below(&self, percentile: f64) -> Inflation {
        let indicators = self.values.iter().map(|(value, _)| f64::from(u8::from(*value <= percentile)));
        self.inflation(indicators.clone(), mean(indicators))
    }

    /// By what factor the run would have to be longer for the estimates of dependence to be trusted: until it is worth
    /// [`EFFECTIVE_VALUES`] independent values. None where it is long enough, or where nothing depends on anything.
    pub fn too_short(&self, factor: f64) -> Option<f64> {
        let is_significant = Inflation { factor, freedom: 1.0 }.is_significant(self.count());
        let longer = EFFECTIVE_VALUES * factor / self.count() as f64;
        (is_significant && longer > 1.0).then_some(longer)
    }

    /// Skewness of a mean over an eighth or so of the bins, and the kurtosis of the values; both 0 where all are alike.
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

    /// Of one number a value, in the order of the values, whose mean is given.
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
        // The autocovariances of deviations from the run's own mean are too low by the variance of that mean, each of them:
        // of a sum over 2 lags + 1 of them that is this share.
        let window = (2 * lags + 1) as f64;
        let unbiased = long_run / (1.0 - window / bins).max(LEAST_LEFT);
        // The variance of an estimate that sums so many autocovariances is 2 (2 lags + 1) / bins of its square (Geyer 1992,
        // Priestley 1981), which is that of a chi-square with as many degrees of freedom as this.
        let freedom = (bins / window).clamp(LEAST_FREEDOM, (count - 1) as f64);
        Inflation { factor: (unbiased / per_bin / variance).max(1.0), freedom }
    }
}

/// What a mean's interval needs of the values' distribution.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// How many groups the skewness is of.
    pub groups: f64,
    /// Skewness of the groups' sums.
    pub skewness: f64,
    /// Fourth moment of the values over the square of the second: 3 of normal ones.
    pub kurtosis: f64,
}

/// Fewer values than this have no autocovariances to speak of.
const FEWEST: usize = 4;

/// What is left of the bins when the window is taken off is never less than this share: beyond it, the run is too short anyway.
const LEAST_LEFT: f64 = 0.1;

/// Least degrees of freedom of an estimate, those of the widest window that is summed.
const LEAST_FREEDOM: f64 = 3.0;

/// The sum of the bins' autocovariances over all lags, as far as it can be told from noise, and the largest lag that was summed.
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

/// A fixed mixing of bits (the finalizer of SplitMix64, Steele, Lea and Flood 2014).
pub(crate) fn scramble(bits: u64) -> u64 {
    let mixed = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}
