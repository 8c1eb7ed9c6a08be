//! Statistics over one metric's values: exact while they fit in memory, from a histogram beyond.

use crate::interval::{Interval, Intervals, mean_interval, percentile_ranks};
use crate::metric::Metric;
use hdrhistogram::Histogram;
use serde::Serialize;
use streamgauge_core::Nanos;

/// The percentiles that reports show, as GenAI-Perf.
pub const PERCENTILES: [u8; 9] = [1, 5, 10, 25, 50, 75, 90, 95, 99];

/// Values of a per-request metric kept exactly; 2 MiB. A power of two, so that the growing vector ends at just that.
pub const EXACT_VALUES: usize = 1 << 18;

/// Gaps between chunks kept exactly, of which there are many more; 8 MiB.
pub const EXACT_POOLED_VALUES: usize = 1 << 20;

/// Statistics over the values of one metric, in its unit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Distribution {
    /// How many values there were.
    pub count: u64,
    /// Whether the percentiles are exact; else they come from a histogram and are right to 0.1 %. The other statistics
    /// are exact always.
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
    /// How far chance may have moved the mean and the percentiles.
    pub intervals: Intervals,
}

impl Distribution {
    /// The `p`-th percentile; not a number unless `p` is one of [`PERCENTILES`].
    pub fn percentile(&self, p: u8) -> f64 {
        PERCENTILES.iter().position(|&known| known == p).map_or(f64::NAN, |index| self.percentiles[index])
    }

    /// The interval of the `p`-th percentile; none where there are too few values for one, and where `p` is not one of
    /// [`PERCENTILES`].
    pub fn interval(&self, p: u8) -> Option<Interval> {
        PERCENTILES.iter().position(|&known| known == p).and_then(|index| self.intervals.percentiles[index])
    }

    /// Whether there are enough values for the `p`-th percentile to have a two-sided 95 % confidence interval that ends
    /// at two of the values.
    pub fn supports(&self, p: u8) -> bool {
        supports(self.count, p)
    }

    /// Of so many values with these moments, from what is found at any rank.
    fn of(
        exact: bool,
        moments: Moments,
        [min, max]: [f64; 2],
        places: &Places,
        at: impl Fn(u64) -> f64,
    ) -> Distribution {
        let between = |(low, high)| Interval { low: at(low), high: at(high) };
        let (count, avg, std) = (moments.count, moments.mean, moments.std());
        Distribution {
            count,
            exact,
            avg,
            min,
            max,
            std,
            percentiles: places.percentiles.map(|rank| interpolate(rank, &at)),
            intervals: Intervals {
                avg: mean_interval(avg, std, count),
                percentiles: places.intervals.map(|ranks| ranks.map(between)),
            },
        }
    }
}

/// Whether `count` values bracket the `p`-th percentile with 95 % confidence.
pub(crate) fn supports(count: u64, p: u8) -> bool {
    percentile_ranks(count, p).is_some()
}

/// Collects the values of one metric. Memory is bounded.
#[derive(Clone, Debug)]
pub struct Sampler {
    exact_bound: usize,
    steps_per_unit: f64,
    values: Vec<f64>,
    spill: Option<Box<Spill>>,
}

impl Sampler {
    /// A sampler for that metric's values.
    pub fn of(metric: Metric) -> Sampler {
        let pooled = metric == Metric::InterChunkLatency;
        let whole = metric.unit() == "tokens";
        Sampler::new(if pooled { EXACT_POOLED_VALUES } else { EXACT_VALUES }, if whole { 1.0 } else { 1e6 })
    }

    fn new(exact_bound: usize, steps_per_unit: f64) -> Sampler {
        Sampler { exact_bound, steps_per_unit, values: Vec::new(), spill: None }
    }

    /// Adds a value in the metric's unit. What is not a finite number is not a value.
    pub fn add(&mut self, value: f64) {
        if !value.is_finite() {
            return;
        }
        if let Some(spill) = &mut self.spill {
            return spill.add(value);
        }
        if self.values.len() >= self.exact_bound {
            self.spill = Spill::over(&self.values, value, self.steps_per_unit);
            if self.spill.is_some() {
                self.values = Vec::new();
                return;
            }
        }
        self.values.push(value);
    }

    /// Adds a time to a metric in milliseconds.
    pub fn add_nanos(&mut self, span: Nanos) {
        self.add(span.as_millis_f64());
    }

    /// The statistics; none without values.
    pub fn close(mut self) -> Option<Distribution> {
        if let Some(spill) = self.spill {
            return Some(spill.close());
        }
        let moments = self.moments();
        let range = [*self.values.first()?, *self.values.last()?];
        let places = Places::of(moments.count);
        Some(Distribution::of(true, moments, range, &places, |rank| self.values[rank as usize]))
    }

    /// The value so far at that rank, from 0; none where there is none.
    pub(crate) fn at(&mut self, rank: u64) -> Option<f64> {
        match &self.spill {
            Some(spill) => spill.order_statistics(&[rank]).first().copied(),
            None => {
                self.sort();
                self.values.get(usize::try_from(rank).ok()?).copied()
            }
        }
    }

    /// A figure of the values so far and where chance may have moved it, as they would be if there were no more: the
    /// `p`-th percentile of 1 to 99, or the mean. None without values.
    pub(crate) fn look(&self, p: Option<u8>) -> Option<(f64, Option<Interval>)> {
        // In a copy, which is sorted: the values stay in the order of arrival, on which the mean's last bits depend where they
        // give way to a histogram. So a look changes nothing.
        self.clone().figure(p)
    }

    fn figure(&mut self, p: Option<u8>) -> Option<(f64, Option<Interval>)> {
        let (moments, p) = (self.moments(), p.map(|p| p.clamp(1, 99)));
        let Some(p) = p else {
            let (avg, count) = (moments.mean, moments.count);
            return (count > 0).then(|| (avg, mean_interval(avg, moments.std(), count)));
        };
        let rank = Rank::of(p, moments.count);
        let (low, high) = (self.at(rank.low)?, self.at(rank.high)?);
        let interval = percentile_ranks(moments.count, p)
            .and_then(|(low, high)| Some(Interval { low: self.at(low)?, high: self.at(high)? }));
        Some((interpolate(rank, |at| if at == rank.low { low } else { high }), interval))
    }

    fn moments(&mut self) -> Moments {
        match &self.spill {
            Some(spill) => spill.moments,
            None => {
                // Sorting first makes every statistic, also the last bits of the mean, independent of the order of arrival.
                self.sort();
                let mut moments = Moments::default();
                self.values.iter().for_each(|&value| moments.add(value));
                moments
            }
        }
    }

    fn sort(&mut self) {
        self.values.sort_unstable_by(f64::total_cmp);
    }

    /// The values so far, ascending, each with how many there are of it; from a histogram right to 0.1 %.
    pub(crate) fn steps(&mut self) -> Vec<(f64, u64)> {
        if let Some(spill) = &self.spill {
            return spill.steps();
        }
        self.sort();
        self.values.iter().map(|&value| (value, 1)).collect()
    }
}

/// The ranks, from 0, that the percentiles of so many values and their intervals are found at.
struct Places {
    percentiles: [Rank; 9],
    intervals: [Option<(u64, u64)>; 9],
}

impl Places {
    fn of(count: u64) -> Places {
        Places {
            percentiles: PERCENTILES.map(|p| Rank::of(p, count)),
            intervals: PERCENTILES.map(|p| percentile_ranks(count, p)),
        }
    }

    /// Each once, ascending.
    fn all(&self) -> Vec<u64> {
        let percentiles = self.percentiles.iter().map(|rank| (rank.low, rank.high));
        let mut ranks: Vec<u64> =
            percentiles.chain(self.intervals.iter().flatten().copied()).flat_map(|(low, high)| [low, high]).collect();
        ranks.sort_unstable();
        ranks.dedup();
        ranks
    }
}

/// Where a percentile lies between two order statistics: index (n - 1) p / 100, as numpy's `linear`.
#[derive(Clone, Copy)]
struct Rank {
    low: u64,
    high: u64,
    part: f64,
}

impl Rank {
    fn of(p: u8, count: u64) -> Rank {
        let last = count.saturating_sub(1);
        // In hundredths and whole numbers, so that an index that is whole comes out whole.
        let hundredths = u128::from(last) * u128::from(p);
        let low = (hundredths / 100) as u64;
        Rank { low, high: (low + 1).min(last), part: (hundredths % 100) as f64 / 100.0 }
    }
}

/// Between the two values from the nearer end, as numpy does, so that equal values give exactly that value.
fn interpolate(rank: Rank, value_at: impl Fn(u64) -> f64) -> f64 {
    let (low, high) = (value_at(rank.low), value_at(rank.high));
    if rank.part < 0.5 { low + (high - low) * rank.part } else { high - (high - low) * (1.0 - rank.part) }
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

    fn std(&self) -> f64 {
        (self.squares / self.count as f64).max(0.0).sqrt()
    }
}

/// What a sampler becomes beyond its bound: two histograms with three significant digits, one of magnitudes below
/// zero (a difference may be negative), and running sums for the rest.
#[derive(Clone, Debug)]
struct Spill {
    /// Whole numbers are counted as such, so that the small ones among them stay exact; times and rates in millionths.
    steps_per_unit: f64,
    moments: Moments,
    min: f64,
    max: f64,
    below: Option<Histogram<u64>>,
    above: Histogram<u64>,
}

impl Spill {
    /// Over the values so far and one more; none if a histogram cannot be made, which its constant bounds rule out.
    fn over(values: &[f64], next: f64, steps_per_unit: f64) -> Option<Box<Spill>> {
        let above = empty_histogram()?;
        let mut spill = Spill { steps_per_unit, moments: Moments::default(), min: next, max: next, below: None, above };
        values.iter().for_each(|&value| spill.add(value));
        spill.add(next);
        Some(Box::new(spill))
    }

    fn add(&mut self, value: f64) {
        self.moments.add(value);
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        let step = (value.abs() * self.steps_per_unit).round() as u64;
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

    fn close(self) -> Distribution {
        let places = Places::of(self.moments.count);
        let wanted = places.all();
        let found = self.order_statistics(&wanted);
        let value_at =
            |rank| wanted.binary_search(&rank).ok().and_then(|at| found.get(at).copied()).unwrap_or(self.max);
        Distribution::of(false, self.moments, [self.min, self.max], &places, value_at)
    }

    /// The values at the given ranks, ascending, each from the middle of its histogram step.
    fn order_statistics(&self, ranks: &[u64]) -> Vec<f64> {
        let mut found = Vec::with_capacity(ranks.len());
        let mut passed = 0;
        for (value, count) in self.steps() {
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

/// Bounds far beyond any figure, so that nothing is ever resized or clamped: 2^60 steps are 36 years in nanoseconds.
fn empty_histogram() -> Option<Histogram<u64>> {
    Histogram::new_with_bounds(1, 1 << 60, 3).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

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
