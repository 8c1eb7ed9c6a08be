//! Mean, spread and percentiles of latencies by Perf Analyzer's rules.

use crate::distribution::Sampler;
use crate::metrics::Metric;
use std::collections::BTreeMap;
use streamgauge_core::Nanos;

/// The percentiles that Perf Analyzer always shows.
pub const PERCENTILES: [u8; 4] = [50, 90, 95, 99];

/// Collects latencies. Sums are exact. Percentiles are exact up to [`crate::distribution::EXACT_VALUES`] values and accurate to 0.1 %
/// above that.
#[derive(Clone, Debug)]
pub struct Latencies {
    count: u64,
    sum: i128,
    squares: i128,
    values: Sampler,
}

impl Default for Latencies {
    fn default() -> Latencies {
        Latencies { count: 0, sum: 0, squares: 0, values: Sampler::of(Metric::RequestLatency) }
    }
}

impl Latencies {
    /// Adds a latency. A negative one counts as 0.
    pub fn add(&mut self, latency: Nanos) {
        let latency = latency.max(Nanos::ZERO);
        let ns = i128::from(latency.0);
        self.count += 1;
        self.sum = self.sum.saturating_add(ns);
        self.squares = self.squares.saturating_add(ns.saturating_mul(ns));
        self.values.add_nanos(latency);
    }

    /// The number of latencies.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The mean in milliseconds, not truncated, or `None` without values.
    pub fn mean_ms(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum as f64 / self.count as f64 / 1e6)
    }

    /// The mean, truncated to nanoseconds, or 0 without values.
    pub fn mean_ns(&self) -> u64 {
        let mean = self.sum.checked_div(i128::from(self.count)).unwrap_or(0);
        u64::try_from(mean).unwrap_or(u64::MAX)
    }

    /// The sample standard deviation (n - 1) around the truncated mean, in microseconds. Returns `None` for fewer than two values,
    /// where Perf Analyzer prints 18446744073709551615.
    pub fn std_us(&self) -> Option<u64> {
        let (count, mean) = (i128::from(self.count), i128::from(self.mean_ns()));
        // The sum of (x - m)^2, as sums of x^2 and x; exact in whole numbers.
        let cross = mean.saturating_mul(self.sum).saturating_mul(2);
        let spread = self.squares.saturating_sub(cross).saturating_add(mean.saturating_mul(mean).saturating_mul(count));
        (count > 1).then(|| (((spread / (count - 1)) as f64).sqrt() / 1000.0) as u64)
    }

    /// The `p`-th percentile in milliseconds, by Perf Analyzer's rank, or `None` without values.
    pub fn percentile_ms(&mut self, p: u8) -> Option<f64> {
        self.values.at(nearest_rank(p, self.count))
    }

    /// The same in nanoseconds.
    pub fn percentile_ns(&mut self, p: u8) -> Option<u64> {
        // Converting an integer number of nanoseconds to milliseconds and back is exact up to 104 days.
        self.percentile_ms(p).map(|ms| (ms * 1e6).round() as u64)
    }

    /// The percentiles of [`PERCENTILES`] and `extra`, in microseconds.
    pub fn percentiles_us(&mut self, extra: Option<u8>) -> BTreeMap<u8, u64> {
        let wanted = PERCENTILES.into_iter().chain(extra);
        wanted.filter_map(|p| Some((p, self.percentile_ns(p)? / 1000))).collect()
    }
}

/// Perf Analyzer's rank, from 0, of the `p`-th percentile of `count` values: `floor(p / 100 (n - 1) + 0.5)`, computed with integers.
fn nearest_rank(p: u8, count: u64) -> u64 {
    let last = u128::from(count.saturating_sub(1));
    ((last * u128::from(p) + 50) / 100) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_perf_analyzers() {
        // floor(p / 100 (n - 1) + 0.5)
        for (p, count, rank) in
            [(50, 1, 0), (50, 2, 1), (50, 3, 1), (50, 4, 2), (99, 100, 98), (99, 51, 50), (1, 51, 1)]
        {
            assert_eq!(nearest_rank(p, count), rank, "p{p} of {count}");
        }
        assert_eq!(nearest_rank(99, 0), 0);
    }

    #[test]
    fn figures_are_cut_off_as_perf_analyzer_cuts_them() {
        let mut latencies = Latencies::default();
        assert_eq!((latencies.mean_ns(), latencies.std_us(), latencies.percentile_ns(50)), (0, None, None));
        for ns in [100_000_999, 101_000_999, 104_000_999, 130_000_004] {
            latencies.add(Nanos(ns));
        }
        // 435 003 001 / 4
        assert_eq!(latencies.mean_ns(), 108_750_750);
        // Deviations of -8749751, -7749751, -4749751 and 21249254: a third of their squares' sum, its root over 1000.
        assert_eq!(latencies.std_us(), Some(14_267));
        // Ranks 2, 3, 3, 3 and for p1 0.
        assert_eq!(
            latencies.percentiles_us(Some(1)),
            [(1, 100_000), (50, 104_000), (90, 130_000), (95, 130_000), (99, 130_000)].into()
        );
    }

    #[test]
    fn one_value_has_no_deviation() {
        let mut latencies = Latencies::default();
        latencies.add(Nanos(5_999));
        assert_eq!((latencies.mean_ns(), latencies.std_us(), latencies.count()), (5_999, None, 1));
        assert_eq!(latencies.percentiles_us(None)[&99], 5);
    }
}
