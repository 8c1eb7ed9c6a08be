//! Percentiles over all requests, not only the successful ones, so that a server that fails fast does not look
//! fast.

use crate::distribution::{PERCENTILES, Sampler};
use crate::metrics::{Metric, Wait};
use serde::{Deserialize, Serialize};
use streamgauge_core::{Nanos, Record};

/// A waiting time in which each failed request counts as infinitely long. Percentiles are by nearest rank: the ceil(n p / 100)-th of
/// the n values. Such values have no mean.
///
/// A request that was cut off would have taken longer than it was given. It counts as any of the requests that did
/// take longer, including failed ones, with equal probability (Kaplan and Meier 1958). The same holds for a request that the plan
/// cancelled, because that is decided independently of its time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WithFailures {
    /// The number of requests in the waiting time.
    pub requests: u64,
    /// The number of those that failed.
    pub failed: u64,
    /// The number of those that were cut off, or cancelled by the plan, before their value was known.
    pub cut_off: u64,
    /// The percentiles of [`PERCENTILES`], in that order; `None` where the percentile is a failed request.
    pub percentiles: [Option<f64>; 9],
}

impl WithFailures {
    /// The `p`-th percentile, or `None` if it is a failed request or `p` is not one of [`PERCENTILES`].
    pub fn percentile(&self, p: u8) -> Option<f64> {
        PERCENTILES.iter().position(|&known| known == p).and_then(|index| self.percentiles[index])
    }
}

/// The contribution of unsuccessful requests to a waiting time.
#[derive(Debug)]
pub(crate) struct Unfinished {
    /// The metric.
    pub metric: Metric,
    wait: Wait,
    failed: u64,
    /// The values of requests that were cut off after the awaited event had arrived.
    known: Sampler,
    /// How long the other requests had waited when they were cut off.
    open: Sampler,
}

impl Unfinished {
    /// Returns an empty value for every waiting time, in the order of reports.
    pub fn all() -> Vec<Unfinished> {
        Metric::waits().map(|(metric, wait)| Unfinished::new(metric, wait)).collect()
    }

    fn new(metric: Metric, wait: Wait) -> Unfinished {
        Unfinished { metric, wait, failed: 0, known: Sampler::of(metric), open: Sampler::of(metric) }
    }

    /// Adds a request that failed, at whatever stage.
    pub fn add_failed(&mut self, record: &Record) {
        self.failed += u64::from(!self.metric.is_from_due() || record.due.is_some());
    }

    /// Adds a request that was cut off or cancelled. A request that had not begun to wait is ignored.
    pub fn add_cut_off(&mut self, record: &Record, streaming: bool) {
        let Some(start) = (if self.metric.is_from_due() { record.due } else { record.sent }) else { return };
        let first = self.wait == Wait::FirstEvent;
        match record.chunks.first().filter(|_| first && streaming) {
            Some(chunk) => self.known.add_nanos(chunk.at - start),
            None => self.open.add_nanos((record.end - start).max(Nanos::ZERO)),
        }
    }

    /// Adds the contribution of other requests of the same run to the same waiting time.
    pub fn merge(&mut self, other: Unfinished) {
        self.failed += other.failed;
        self.known.merge(other.known);
        self.open.merge(other.open);
    }

    /// Combines this with the values of the successful requests. Returns `None` if no request failed.
    pub fn close(self, succeeded: &Sampler) -> Option<WithFailures> {
        let mut known = succeeded.steps();
        known.extend(self.known.steps());
        known.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        let open = self.open.steps();
        let count = |steps: &[(f64, u64)]| steps.iter().map(|(_, count)| count).sum::<u64>();
        let cut_off = count(&open);
        let requests = count(&known) + cut_off + self.failed;
        (self.failed > 0).then(|| WithFailures {
            requests,
            failed: self.failed,
            cut_off,
            percentiles: percentiles(&known, &open, requests),
        })
    }
}

/// The percentiles of `requests` values. The values in `known` are known, those in `open` are lower bounds, both in ascending
/// steps; the remaining ones are infinite.
fn percentiles(known: &[(f64, u64)], open: &[(f64, u64)], requests: u64) -> [Option<f64>; 9] {
    let mut found = [None; 9];
    let mut wanted = PERCENTILES.iter().zip(&mut found).peekable();
    let mut open = open.iter().peekable();
    // Each remaining value stands for `weight` requests: itself and its share of those cut off before it.
    let (mut left, mut weight) = (requests, 1.0);
    for &(value, count) in known {
        // A request cut off at exactly the time of a value was still waiting then.
        while let Some(&(_, count)) = open.next_if(|(at, _)| *at < value) {
            weight *= left as f64 / (left - count) as f64;
            left -= count;
        }
        left -= count;
        // These are integers, and therefore exact, until a request was cut off; after that they are accurate to the last bits of `weight`.
        let beyond = (left as f64 * 100.0) * weight * (1.0 - 1e-12);
        while let Some((_, found)) = wanted.next_if(|(p, _)| beyond <= f64::from(100 - **p) * requests as f64) {
            *found = Some(value);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn steps(values: &[f64]) -> Vec<(f64, u64)> {
        let mut values = values.to_vec();
        values.sort_by(f64::total_cmp);
        values.into_iter().map(|value| (value, 1)).collect()
    }

    fn of(known: &[f64], open: &[f64], failed: u64) -> [Option<f64>; 9] {
        percentiles(&steps(known), &steps(open), (known.len() + open.len()) as u64 + failed)
    }

    proptest! {
        #[test]
        fn without_cut_off_requests_it_is_the_nearest_rank(values in vec(0..50_u8, 0..250), failed in 1..60_u64) {
            let mut all: Vec<f64> = values.iter().map(|&value| f64::from(value)).collect();
            let found = of(&all, &[], failed);
            all.sort_by(f64::total_cmp);
            all.extend((0..failed).map(|_| f64::INFINITY));
            for (p, found) in PERCENTILES.into_iter().zip(found) {
                let rank = (all.len() * usize::from(p)).div_ceil(100);
                prop_assert_eq!(found.unwrap_or(f64::INFINITY), all[rank - 1], "p{}", p);
            }
        }

        #[test]
        fn cut_off_requests_count_as_later_ones_do(
            values in vec(0..50_u8, 1..80), cut in vec(0..50_u8, 1..80), failed in 1..9_u64,
        ) {
            let floats = |values: &[u8]| values.iter().map(|&value| f64::from(value)).collect::<Vec<_>>();
            let (values, cut) = (floats(&values), floats(&cut));
            let least = of(&[&values[..], &cut[..]].concat(), &[], failed);
            let most = of(&values, &[], failed + cut.len() as u64);
            for ((found, least), most) in of(&values, &cut, failed).into_iter().zip(least).zip(most) {
                let number = |value: Option<f64>| value.unwrap_or(f64::INFINITY);
                prop_assert!(number(least) <= number(found) && number(found) <= number(most));
            }
        }
    }

    #[test]
    fn what_was_cut_off_at_once_changes_nothing_and_what_was_cut_off_last_is_endless() {
        let values: Vec<f64> = (1..=98).map(f64::from).collect();
        let without = of(&values, &[], 2);
        assert_eq!(without[7..], [Some(95.0), None]);
        assert_eq!(of(&values, &[0.0; 7], 2), without);
        assert_eq!(of(&values[..97], &[98.5], 2), of(&values[..97], &[], 3));
    }

    #[test]
    fn a_textbook_estimate() {
        // Freireich's 6-MP arm (Kaplan-Meier in every textbook): survival 0.627 after 13, 0.538 after 22, 0.448 after 23.
        let known = [6.0, 6.0, 6.0, 7.0, 10.0, 13.0, 16.0, 22.0, 23.0];
        let open = [6.0, 9.0, 10.0, 11.0, 17.0, 19.0, 20.0, 25.0, 32.0, 32.0, 34.0];
        // The last one cut off stands for a failure here: it has nothing behind it either way.
        let found = of(&known, &open, 1);
        assert_eq!((found[3], found[4], found[5]), (Some(13.0), Some(23.0), None));
    }
}
