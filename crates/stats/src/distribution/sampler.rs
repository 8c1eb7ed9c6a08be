//! Collects the values of a metric with their times: exactly up to a bound, in a histogram above it.

use crate::distribution::{Distribution, PERCENTILES, Rank, interpolate};
use crate::intervals::dependence::{Timeline, scramble};
use crate::intervals::widened::{Ground, Lack};
use crate::intervals::{Estimate, Interval, Intervals, Needed};
use hdrhistogram::Histogram;
use streamgauge_core::Nanos;

/// The number of values of a per-request metric that are kept exactly with their times, in 3 MiB. It is a power of two, so that the growing vector does not exceed it.
pub const EXACT_VALUES: usize = 1 << 18;

/// The number of gaps between chunks that are kept exactly, in 12 MiB. There are many more gaps than requests.
pub const EXACT_POOLED_VALUES: usize = 1 << 20;

/// The number of values that are sampled with their times above that bound, in 768 KiB. It is enough to estimate their dependence.
const KEPT: usize = 1 << 16;

/// Times are kept in steps of 2^18 ns, a quarter of a millisecond. They cover thirteen days; later times are clamped.
const TIME_STEP: u32 = 18;

/// Collects the values of one metric. Memory is bounded.
#[derive(Clone, Debug)]
pub struct Sampler {
    exact_bound: usize,
    steps_per_unit: f64,
    values: Vec<f64>,
    /// The time of each value in steps of 2^[`TIME_STEP`] ns; empty if any time is unknown.
    times: Vec<u32>,
    spill: Option<Box<Spill>>,
}

impl Sampler {
    /// Returns an empty sampler. It keeps `exact_bound` values exactly; the histogram above that has `steps_per_unit` steps per unit of the metric.
    pub(crate) fn new(exact_bound: usize, steps_per_unit: f64) -> Sampler {
        Sampler { exact_bound, steps_per_unit, values: Vec::new(), times: Vec::new(), spill: None }
    }

    /// Adds a value in the metric's unit. NaN and infinities are ignored. Values without a time are
    /// treated as independent of each other.
    pub fn add(&mut self, value: f64) {
        if value.is_finite() {
            self.push(value, None);
        }
    }

    /// Adds a value in the metric's unit with its time on the run's clock. Values may be added in any order.
    pub fn add_at(&mut self, value: f64, at: Nanos) {
        if value.is_finite() {
            self.push(value, Some(at));
        }
    }

    /// Adds a duration to a metric in milliseconds.
    pub fn add_nanos(&mut self, span: Nanos) {
        self.add(span.as_millis_f64());
    }

    /// Adds a duration to a metric in milliseconds, with its time.
    pub fn add_nanos_at(&mut self, span: Nanos, at: Nanos) {
        self.add_at(span.as_millis_f64(), at);
    }

    #[inline]
    fn push(&mut self, value: f64, at: Option<Nanos>) {
        if let Some(spill) = &mut self.spill {
            return spill.add(value, at.map(step_of));
        }
        if self.values.len() >= self.exact_bound {
            self.spill = Spill::over(&self.values, self.known_times(), self.steps_per_unit);
            if let Some(spill) = &mut self.spill {
                spill.add(value, at.map(step_of));
                (self.values, self.times) = (Vec::new(), Vec::new());
                return;
            }
        }
        // If one time is missing, there are fewer times than values from then on.
        if let Some(at) = at.filter(|_| self.times.len() == self.values.len()) {
            self.times.push(step_of(at));
        }
        self.values.push(value);
    }

    /// Adds the values of another sampler of the same metric. The result equals that of one sampler with all values, except for
    /// the mean and the deviation of more values than are kept exactly: those are sums of floating-point numbers, whose last bits
    /// depend on the order of summation (by at most about 2^-53 of their size for each addition).
    pub fn merge(&mut self, other: Sampler) {
        let (known, theirs_known) = (self.known_times().is_some(), other.known_times().is_some());
        match (&mut self.spill, other.spill) {
            (Some(spill), Some(theirs)) => spill.merge(*theirs),
            (Some(spill), None) => spill.extend(&other.values, theirs_known.then_some(other.times.as_slice())),
            (None, Some(mut theirs)) => {
                theirs.extend(&self.values, known.then_some(self.times.as_slice()));
                (self.values, self.times, self.spill) = (Vec::new(), Vec::new(), Some(theirs));
            }
            (None, None) if self.values.len() + other.values.len() > self.exact_bound => {
                let spill = Spill::over(&self.values, known.then_some(self.times.as_slice()), self.steps_per_unit);
                if let Some(mut spill) = spill {
                    spill.extend(&other.values, theirs_known.then_some(other.times.as_slice()));
                    (self.values, self.times, self.spill) = (Vec::new(), Vec::new(), Some(spill));
                }
            }
            (None, None) => {
                self.values.extend(other.values);
                if known && theirs_known {
                    self.times.extend(other.times);
                }
            }
        }
    }

    /// The time of each value, if all times are known.
    fn known_times(&self) -> Option<&[u32]> {
        Some(self.times.as_slice()).filter(|times| times.len() == self.values.len())
    }

    /// Computes the statistics, or `None` if there are no values.
    pub fn close(self) -> Option<Distribution> {
        let sorted = self.sorted();
        // Reading the histograms takes as long as counting thousands of values, so it is done once.
        let spilled = self.spill.as_ref().map(|spill| (spill, spill.steps()));
        let at = |ranks: &[u64]| -> Vec<f64> {
            match &spilled {
                Some((spill, steps)) => spill.order_statistics(steps, ranks),
                None => ranks.iter().filter_map(|&rank| sorted.get(rank as usize).copied()).collect(),
            }
        };
        let moments = self.moments(&sorted);
        let (min, max) = match &self.spill {
            Some(spill) => (spill.min, spill.max),
            None => (*sorted.first()?, *sorted.last()?),
        };
        let found = PERCENTILES.map(|p| Rank::of(p, moments.count));
        let values = Looked::up(found.iter().flat_map(|rank| [rank.low, rank.high]), max, &at);
        let percentiles = found.map(|rank| interpolate(rank, |rank| values.at(rank)));
        let (ground, seconds) = self.ground();
        let (avg, std) = (moments.mean, moments.std());
        let mean = ground.mean(avg, std).map(|interval| not_below(min, interval));
        let mut places = PERCENTILES.iter().zip(percentiles).map(|(&p, found)| ground.percentile(p, found));
        let places = [(); 9].map(|()| places.next().unwrap_or(Err(Lack::Values)));
        let ends = places.iter().flatten().flat_map(|&(low, high)| [low, high]);
        let values = Looked::up(ends, max, &at);
        let needed = |lack: Option<Lack>| lack.and_then(Lack::times).map(|times| times * seconds);
        Some(Distribution {
            count: moments.count,
            exact: self.spill.is_none(),
            avg,
            min,
            max,
            std,
            percentiles,
            intervals: Intervals {
                avg: mean.ok(),
                percentiles: places
                    .map(|ranks| ranks.ok().map(|(low, high)| Interval { low: values.at(low), high: values.at(high) })),
                effective: ground.effective(),
                needed: Needed { avg: needed(mean.err()), percentiles: places.map(|ranks| needed(ranks.err())) },
            },
        })
    }

    /// Estimates a figure of the values so far with its interval: the `p`-th percentile from 1 to 99, or the mean. Returns
    /// `None` if there are no values. The sampler is not changed.
    pub(crate) fn look(&self, p: Option<u8>) -> Option<Estimate> {
        let sorted = self.sorted();
        let moments = self.moments(&sorted);
        if moments.count == 0 {
            return None;
        }
        let (ground, seconds) = self.ground();
        let needed = |lack: Lack| lack.times().map(|times| times * seconds);
        let Some(p) = p.map(|p| p.clamp(1, 99)) else {
            let min = self.spill.as_ref().map_or_else(|| sorted.first().copied(), |spill| Some(spill.min))?;
            let interval = ground.mean(moments.mean, moments.std()).map(|interval| not_below(min, interval));
            return Some(Estimate {
                value: moments.mean,
                interval: interval.ok(),
                needed: interval.err().and_then(needed),
            });
        };
        let rank = Rank::of(p, moments.count);
        let at = |rank| self.at_rank(&sorted, rank);
        let (low, high) = (at(rank.low)?, at(rank.high)?);
        let value = interpolate(rank, |at| if at == rank.low { low } else { high });
        let ranks = ground.percentile(p, value);
        let interval = ranks.ok().and_then(|(low, high)| Some(Interval { low: at(low)?, high: at(high)? }));
        Some(Estimate { value, interval, needed: ranks.err().and_then(needed) })
    }

    /// The basis of the intervals, and the time that the values span in seconds.
    fn ground(&self) -> (Ground, f64) {
        let (count, kept, times) = match &self.spill {
            Some(spill) => (spill.moments.count, spill.kept.values.as_slice(), spill.kept.known_times()),
            None => (self.values.len() as u64, self.values.as_slice(), self.known_times()),
        };
        let Some(times) = times.filter(|times| !times.is_empty()) else { return (Ground::of(count, None), 0.0) };
        let (first, last) = times.iter().fold((u32::MAX, 0), |(first, last), &at| (first.min(at), last.max(at)));
        let seconds = f64::from(last - first) * (1_u64 << TIME_STEP) as f64 / 1e9;
        (Ground::of(count, Some(Timeline::of(kept, times))), seconds)
    }

    /// The values in ascending order, or an empty list for a histogram. Sorting makes every statistic, including the last bits of the mean,
    /// independent of the order in which the values were added.
    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.values.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        sorted
    }

    /// The value at `rank` so far, counted from 0, or `None` if there are not that many.
    pub(crate) fn at(&self, rank: u64) -> Option<f64> {
        let Some(spill) = &self.spill else {
            let rank = usize::try_from(rank).ok().filter(|&rank| rank < self.values.len())?;
            return Some(*self.values.clone().select_nth_unstable_by(rank, f64::total_cmp).1);
        };
        spill.order_statistics(&spill.steps(), &[rank]).first().copied()
    }

    fn at_rank(&self, sorted: &[f64], rank: u64) -> Option<f64> {
        match &self.spill {
            Some(spill) => spill.order_statistics(&spill.steps(), &[rank]).first().copied(),
            None => sorted.get(usize::try_from(rank).ok()?).copied(),
        }
    }

    fn moments(&self, sorted: &[f64]) -> Moments {
        match &self.spill {
            Some(spill) => spill.moments,
            None => {
                let mut moments = Moments::default();
                sorted.iter().for_each(|&value| moments.add(value));
                moments
            }
        }
    }

    /// The distinct values so far in ascending order, each with its count. Values from a histogram are accurate to 0.1 %.
    pub(crate) fn steps(&self) -> Vec<(f64, u64)> {
        match &self.spill {
            Some(spill) => spill.steps(),
            None => self.sorted().into_iter().map(|value| (value, 1)).collect(),
        }
    }
}

/// Cuts an interval at 0 if no value is negative, because the mean is not negative then.
fn not_below(min: f64, interval: Interval) -> Interval {
    let least = if min < 0.0 { f64::NEG_INFINITY } else { 0.0 };
    Interval { low: interval.low.max(least), ..interval }
}

fn step_of(at: Nanos) -> u32 {
    u32::try_from(at.0.max(0) >> TIME_STEP).unwrap_or(u32::MAX)
}

/// The values at some ranks.
struct Looked {
    ranks: Vec<u64>,
    values: Vec<f64>,
    max: f64,
}

impl Looked {
    fn up(ranks: impl Iterator<Item = u64>, max: f64, at: &impl Fn(&[u64]) -> Vec<f64>) -> Looked {
        let mut ranks: Vec<u64> = ranks.collect();
        ranks.sort_unstable();
        ranks.dedup();
        let values = at(&ranks);
        Looked { ranks, values, max }
    }

    fn at(&self, rank: u64) -> f64 {
        self.ranks.binary_search(&rank).ok().and_then(|index| self.values.get(index)).copied().unwrap_or(self.max)
    }
}

/// Mean and spread in one pass without the cancellation of a sum of squares (Welford 1962).
#[derive(Clone, Copy, Debug, Default)]
struct Moments {
    count: u64,
    mean: f64,
    squares: f64,
}

impl Moments {
    fn add(&mut self, value: f64) {
        self.count += 1;
        let off = value - self.mean;
        self.mean += off / self.count as f64;
        self.squares += off * (value - self.mean);
    }

    /// With the moments of other values (Chan, Golub and LeVeque 1979).
    fn merge(&mut self, other: Moments) {
        if other.count == 0 {
            return;
        }
        let count = self.count + other.count;
        let (off, share) = (other.mean - self.mean, other.count as f64 / count as f64);
        self.squares += other.squares + off * off * self.count as f64 * share;
        self.mean += off * share;
        self.count = count;
    }

    fn std(&self) -> f64 {
        (self.squares / self.count as f64).max(0.0).sqrt()
    }
}

/// The state of a sampler above its bound: two histograms with three significant digits, one of them for the magnitudes of negative
/// values (a difference may be negative), and running sums for the other statistics.
#[derive(Clone, Debug)]
struct Spill {
    /// Steps per unit of the metric. Whole numbers are counted in steps of 1, so that small ones stay exact; times and rates in millionths.
    steps_per_unit: f64,
    moments: Moments,
    min: f64,
    max: f64,
    below: Option<Histogram<u64>>,
    above: Histogram<u64>,
    kept: Kept,
}

impl Spill {
    /// Starts with the values so far. Returns `None` if a histogram cannot be made, which cannot happen with its constant bounds.
    fn over(values: &[f64], times: Option<&[u32]>, steps_per_unit: f64) -> Option<Box<Spill>> {
        let above = empty_histogram()?;
        let (min, max) = (f64::INFINITY, f64::NEG_INFINITY);
        let (moments, kept) = (Moments::default(), Kept::default());
        let mut spill = Spill { steps_per_unit, moments, min, max, below: None, above, kept };
        spill.extend(values, times);
        Some(Box::new(spill))
    }

    fn extend(&mut self, values: &[f64], times: Option<&[u32]>) {
        let mut times = times.map(|times| times.iter().copied());
        for &value in values {
            self.add(value, times.as_mut().and_then(Iterator::next));
        }
    }

    fn merge(&mut self, other: Spill) {
        self.kept.merge(other.kept);
        self.moments.merge(other.moments);
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        add_histogram(&mut self.above, &other.above);
        match (&mut self.below, other.below) {
            (Some(below), Some(theirs)) => add_histogram(below, &theirs),
            (below @ None, theirs) => *below = theirs,
            (Some(_), None) => {}
        }
    }

    fn add(&mut self, value: f64, time: Option<u32>) {
        match time {
            Some(time) => self.kept.add(value, time),
            None => self.kept.untimed = true,
        }
        self.moments.add(value);
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        // The conversion cuts off, so this rounds, and it is cheaper than a call of `round`.
        let step = (value.abs() * self.steps_per_unit + 0.5) as u64;
        if value >= 0.0 {
            return self.above.saturating_record(step);
        }
        if self.below.is_none() {
            self.below = empty_histogram();
        }
        if let Some(below) = &mut self.below {
            below.saturating_record(step);
        }
    }

    /// The values at the given ranks, ascending, each from the middle of its step in `steps`, which are [`Spill::steps`].
    fn order_statistics(&self, steps: &[(f64, u64)], ranks: &[u64]) -> Vec<f64> {
        let mut found = Vec::with_capacity(ranks.len());
        let mut passed = 0;
        for &(value, count) in steps {
            passed += count;
            while ranks.get(found.len()).is_some_and(|&rank| rank < passed) {
                found.push(value.clamp(self.min, self.max));
            }
        }
        found
    }

    /// The histograms' steps and how many values each holds, ascending.
    fn steps(&self) -> Vec<(f64, u64)> {
        let read = |histogram: &Histogram<u64>, sign: f64| {
            let middle = |value| sign * histogram.median_equivalent(value) as f64 / self.steps_per_unit;
            histogram.iter_recorded().map(|step| (middle(step.value_iterated_to()), step.count_at_value())).collect()
        };
        let mut steps: Vec<(f64, u64)> = self.below.as_ref().map(|below| read(below, -1.0)).unwrap_or_default();
        steps.reverse();
        steps.extend(read(&self.above, 1.0));
        steps
    }
}

/// A sample of values with their times, from which their dependence is estimated. It contains the values whose hash is below a limit, which is halved
/// when there are too many, so that the sample does not depend on the order of the values.
#[derive(Clone, Debug, Default)]
struct Kept {
    values: Vec<f64>,
    times: Vec<u32>,
    /// Values are kept if their hash has at least this many leading zeros.
    zeros: u32,
    /// Whether the time of any value was missing.
    untimed: bool,
}

impl Kept {
    // Not inlined: its registers would have to be saved for values without a time too.
    #[inline(never)]
    fn add(&mut self, value: f64, time: u32) {
        if mixed(value, time).leading_zeros() < self.zeros {
            return;
        }
        self.values.push(value);
        self.times.push(time);
        self.bound();
    }

    /// Merges another sample. The limit depends only on the values, so that the result does not depend on how they were split.
    fn merge(&mut self, other: Kept) {
        self.untimed |= other.untimed;
        self.values.extend(other.values);
        self.times.extend(other.times);
        let zeros = self.zeros.max(other.zeros);
        self.zeros = zeros;
        self.keep(zeros);
        self.bound();
    }

    fn bound(&mut self) {
        while self.values.len() > KEPT && self.zeros < u64::BITS {
            self.zeros += 1;
            self.keep(self.zeros);
        }
    }

    /// Keeps only the values whose hash has at least `zeros` leading zeros.
    fn keep(&mut self, zeros: u32) {
        let stays = |(&value, &time): (&f64, &u32)| mixed(value, time).leading_zeros() >= zeros;
        let pairs = self.values.iter().zip(&self.times);
        (self.values, self.times) = pairs.filter(|&pair| stays(pair)).map(|(&value, &time)| (value, time)).unzip();
    }

    fn known_times(&self) -> Option<&[u32]> {
        Some(self.times.as_slice()).filter(|_| !self.untimed)
    }
}

/// Adds the counts of another histogram with the same bounds.
fn add_histogram(histogram: &mut Histogram<u64>, other: &Histogram<u64>) {
    for step in other.iter_recorded() {
        histogram.saturating_record_n(step.value_iterated_to(), step.count_at_value());
    }
}

fn mixed(value: f64, time: u32) -> u64 {
    scramble(value.to_bits().wrapping_add(scramble(u64::from(time) + 1)))
}

/// Returns a histogram whose bounds are far above any figure, so that it is never resized and nothing is clamped: 2^60 steps are 36 years in nanoseconds.
fn empty_histogram() -> Option<Histogram<u64>> {
    Histogram::new_with_bounds(1, 1 << 60, 3).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distribution::supports;
    use crate::metrics::Metric;

    fn of(metric: Metric, values: impl Iterator<Item = f64>) -> Option<Distribution> {
        let mut sampler = Sampler::of(metric);
        values.for_each(|value| sampler.add(value));
        sampler.close()
    }

    #[test]
    fn a_hundred_and_one_values_are_their_own_percentiles() {
        let found = of(Metric::RequestLatency, (0..=100).rev().map(f64::from)).unwrap();
        assert_eq!(found.percentiles, PERCENTILES.map(f64::from));
        assert_eq!((found.min, found.avg, found.max, found.count, found.exact), (0.0, 50.0, 100.0, 101, true));
        assert_eq!(found.std, 850f64.sqrt());
        assert!(found.percentile(42).is_nan());
    }

    #[test]
    fn percentiles_lie_between_neighbours_as_in_numpy() {
        // numpy.percentile([1, 2, 4, 8], p)
        let found = of(Metric::RequestLatency, [8.0, 1.0, 4.0, 2.0].into_iter()).unwrap();
        let expected = [1.03, 1.15, 1.3, 1.75, 3.0, 5.0, 6.8, 7.4, 7.88];
        assert!(found.percentiles.iter().zip(expected).all(|(ours, theirs)| (ours - theirs).abs() < 1e-12));
    }

    #[test]
    fn one_value_is_all_of_its_statistics_and_none_has_none() {
        let found = of(Metric::RequestLatency, std::iter::once(7.3)).unwrap();
        assert_eq!((found.avg, found.min, found.max, found.std), (7.3, 7.3, 7.3, 0.0));
        assert_eq!(found.percentiles, [7.3; 9]);
        assert_eq!(of(Metric::RequestLatency, std::iter::empty()), None);
        assert_eq!(of(Metric::RequestLatency, [f64::NAN, f64::INFINITY].into_iter()), None);
    }

    #[test]
    fn beyond_the_bound_small_whole_numbers_stay_whole() {
        let lengths = |count: usize| of(Metric::OutputSequenceLength, (0..count).map(|index| (index % 101) as f64));
        let (exact, histogram) = (lengths(EXACT_VALUES).unwrap(), lengths(EXACT_VALUES + 1).unwrap());
        assert!(exact.exact && !histogram.exact);
        assert_eq!(histogram.percentiles, PERCENTILES.map(f64::from));
    }

    #[test]
    fn beyond_the_bound_values_below_zero_keep_their_place() {
        let count = EXACT_VALUES + 1;
        let found = of(Metric::TemplateTokens, (0..count).map(|index| (index % 101) as f64 - 50.0)).unwrap();
        assert_eq!((found.min, found.max), (-50.0, 50.0));
        assert_eq!(found.percentiles, PERCENTILES.map(|p| f64::from(p) - 50.0));
    }

    #[test]
    fn support_begins_where_the_sample_brackets_the_percentile() {
        let least = |p| (1..1_000).find(|&count| supports(count, p)).unwrap();
        assert_eq!(PERCENTILES.map(least), [299, 59, 29, 11, 6, 11, 29, 59, 299]);
    }
}
