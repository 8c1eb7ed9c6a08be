//! Bounds the effect of late reads on a p99. In a good run few events share a late read, but a p99 rests on few values.
//!
//! A late read gives all its events the newest stamp: the gap before the read comes out too long, and the gaps between its events
//! come out as zero. Late reads therefore only raise high percentiles. If s of n values are too long in this way, at
//! least a hundredth of the true values is above the reported percentile 99 - 100 s / n, so the true p99
//! lies between that and the reported p99. The number s is partly an estimate (see `sharing`), and so is the bound.

use crate::distribution::Sampler;
use crate::metrics::Metric;

/// A lower bound of a metric's true p99.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct LateTail {
    /// The metric.
    pub metric: Metric,
    /// The lower bound, in the metric's unit.
    pub least: f64,
}

impl LateTail {
    /// Computes the bound for `values`, `spoiled` of which come from late reads. Returns `None` if `spoiled` is 0.
    pub fn of(metric: Metric, values: &Sampler, spoiled: f64) -> Option<LateTail> {
        if spoiled <= 0.0 {
            return None;
        }
        let steps = values.steps();
        let count: u64 = steps.iter().map(|(_, count)| count).sum();
        Some(LateTail { metric, least: with_above(&steps, count as f64 * 0.01 + spoiled)? })
    }
}

/// The greatest value that at least `above` values reach.
fn with_above(steps: &[(f64, u64)], above: f64) -> Option<f64> {
    let mut reached = 0;
    let step = steps.iter().rev().find(|(_, count)| {
        reached += count;
        reached as f64 >= above
    });
    step.or(steps.first()).map(|&(value, _)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail(values: impl IntoIterator<Item = u32>, spoiled: f64) -> Option<LateTail> {
        let mut sampler = Sampler::of(Metric::InterChunkLatency);
        values.into_iter().for_each(|value| sampler.add(f64::from(value)));
        LateTail::of(Metric::InterChunkLatency, &sampler, spoiled)
    }

    #[test]
    fn the_true_p99_is_as_many_ranks_lower_as_values_are_spoiled() {
        // Ten of a thousand are the hundredth, and with 3.2 more it is the fourteenth from above.
        assert_eq!(tail(1..=1_000, 3.2).map(|found| found.least), Some(987.0));
        assert_eq!(tail(1..=1_000, 4.0).map(|found| found.least), Some(987.0));
        assert_eq!(tail(1..=1_000, 4.1).map(|found| found.least), Some(986.0));
        assert_eq!(tail(1..=1_000, 0.0), None);
    }

    #[test]
    fn where_all_may_be_spoiled_the_least_value_is_the_bound() {
        assert_eq!(tail(1..=10, 900.0).map(|found| found.least), Some(1.0));
        assert_eq!(tail([], 5.0), None);
    }
}
