//! Confidence intervals of throughputs, by a block bootstrap over the run's time.
//!
//! Successive moments of a server are similar: waves of a closed loop, batches, a slow period. Therefore blocks are
//! resampled instead of moments. They are so long that they hardly depend on each other (Künsch 1989).

use crate::answer::Answer;
use crate::intervals::{Interval, NORMAL, student};
use crate::scope::Scope;
use crate::time_bins::TimeBins;
use rand::RngExt;
use std::ops::AddAssign;
use streamgauge_core::Nanos;
use streamgauge_core::seed::Seed;

/// The maximum number of bins, in 96 KiB. With the finest bins it covers four seconds; after that the width of the bins is
/// doubled.
const MOST_BINS: usize = 1 << 12;

/// The finest bins are 2^20 ns wide, about a millisecond, which is shorter than any request for which throughput matters.
const FINEST: u32 = 20;

/// The maximum number of blocks. More blocks would be shorter and depend on each other.
const MOST_BLOCKS: i64 = 64;

/// The minimum number of blocks for an interval. With seven, resampling has so few outcomes that the tails are meaningless.
const FEWEST_BLOCKS: i64 = 8;

/// The number of resamplings. The 25th and the 975th value vary by a few percent of the interval from seed to seed.
const DRAWS: usize = 1_000;

/// A quantity whose rate is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// Successful requests.
    Requests,
    /// Successful requests that kept every limit.
    Good,
    /// Output tokens.
    Tokens,
}

impl Flow {
    /// Every flow, in the order of [`Bins::intervals`].
    pub const ALL: [Flow; 3] = [Flow::Requests, Flow::Good, Flow::Tokens];
}

/// The amounts in a span of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Successful requests that ended.
    pub requests: u64,
    /// Successful requests that kept every limit.
    pub good: u64,
    /// Output tokens.
    pub tokens: u64,
}

impl Tally {
    /// The amount of one quantity.
    pub fn amount(self, flow: Flow) -> u64 {
        match flow {
            Flow::Requests => self.requests,
            Flow::Good => self.good,
            Flow::Tokens => self.tokens,
        }
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.requests += other.requests;
        self.good += other.good;
        self.tokens = self.tokens.saturating_add(other.tokens);
    }
}

/// The amounts of a run by time. The same answers in any order give the same bins.
pub(crate) type Bins = TimeBins<Tally, MOST_BINS>;

impl Bins {
    /// Returns empty bins, with all their memory allocated.
    pub fn new() -> Bins {
        TimeBins::with_finest(FINEST)
    }

    /// Adds the part of an answer that is in the scope, and returns its amounts. Its tokens are spread evenly over its output events, and the request
    /// counts where it ended. In windows all tokens count where the request ended, even if they arrived before the window.
    pub fn add(&mut self, answer: &Answer<'_>, good: bool, scope: Scope) -> Tally {
        let end = Tally { requests: 1, good: u64::from(good), tokens: 0 };
        let mut added = Tally::default();
        let mut add = |at: Nanos, tally: Tally| {
            *self.bin(at) += tally;
            added += tally;
        };
        if let Scope::Ended(_) = scope {
            add(answer.last, Tally { tokens: answer.output.map_or(0, |(count, _)| count), ..end });
            return added;
        }
        let within = |at: Nanos| scope.span().is_none_or(|span| span.contains(at));
        let times = answer.output_times();
        let events = times.len() as u64;
        let (tokens, left) =
            answer.output.filter(|_| events > 0).map_or((0, 0), |(count, _)| (count / events, count % events));
        for (index, at) in times.enumerate().filter(|&(_, at)| within(at)) {
            add(at, Tally { tokens: tokens + u64::from((index as u64) < left), ..Tally::default() });
        }
        if within(answer.last) {
            add(answer.last, end);
        }
        added
    }

    /// Divides the run from `start` to `end` into blocks of equal length, none shorter than `least`. Returns `None` if there would be too few.
    fn blocks(&self, start: Nanos, end: Nanos, least: Nanos) -> Option<Vec<Tally>> {
        let first = start.0 >> self.shift;
        let bins = (end.0 >> self.shift) - first + 1;
        let longest = (least.0 >> self.shift) + 1;
        let count = (bins / longest).min(MOST_BLOCKS);
        if count < FEWEST_BLOCKS {
            return None;
        }
        let mut blocks = vec![Tally::default(); count as usize];
        for (index, tally) in self.bins.iter().enumerate() {
            // If slots went over from a warm-up one by one, the output after the end replaces output that is missing at the
            // start, so it is wrapped around. Any other stamp outside the run is in the wrong order.
            let bin = (self.first + index as i64 - first).rem_euclid(bins);
            blocks[(i128::from(bin) * i128::from(count) / i128::from(bins)) as usize] += *tally;
        }
        Some(blocks)
    }

    /// The intervals of the rates of [`Flow::ALL`] over the run from `start` to `end`. Returns `None` if the run
    /// is too short for enough blocks of one mean `latency` each; within a latency the requests of a slot are not random.
    pub fn intervals(&self, start: Nanos, end: Nanos, latency: Nanos, seed: Seed) -> Option<[Interval; 3]> {
        let seconds = (end - start).as_secs_f64();
        let blocks = self.blocks(start, end, latency).filter(|_| seconds > 0.0)?;
        let mut rng = seed.stream("throughput intervals");
        let mut draws = [const { Vec::new() }; 3];
        for _ in 0..DRAWS {
            let mut run = Tally::default();
            blocks.iter().for_each(|_| run += blocks[rng.random_range(0..blocks.len())]);
            for (drawn, count) in draws.iter_mut().zip(counts(run)) {
                drawn.push(count as f64 / seconds);
            }
        }
        let mut all = Tally::default();
        blocks.iter().for_each(|&block| all += block);
        let rates = counts(all).map(|count| count as f64 / seconds);
        // Resamplings of few blocks vary less than runs do. Hesterberg (The American Statistician 69, 2015) widens the interval as
        // Student's t widens that of a mean.
        let m = blocks.len() as f64;
        let widen = student(blocks.len() as u64 - 1) / NORMAL * (m / (m - 1.0)).sqrt();
        let mut intervals = rates.map(|rate| Interval { low: rate, high: rate });
        for ((interval, drawn), rate) in intervals.iter_mut().zip(&mut draws).zip(rates) {
            drawn.sort_unstable_by(f64::total_cmp);
            let (low, high) = (drawn[DRAWS / 40 - 1], drawn[DRAWS - DRAWS / 40]);
            *interval = Interval { low: (rate - (rate - low) * widen).max(0.0), high: rate + (high - rate) * widen };
        }
        Some(intervals)
    }
}

fn counts(tally: Tally) -> [u64; 3] {
    Flow::ALL.map(|flow| tally.amount(flow))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use rand::Rng;

    const SECOND: i64 = 1_000_000_000;

    fn ended(times: impl IntoIterator<Item = i64>) -> Bins {
        let mut bins = Bins::new();
        times.into_iter().for_each(|at| bins.bin(Nanos(at)).requests += 1);
        bins
    }

    fn requests(bins: &Bins) -> Vec<(i64, u64)> {
        let filled = bins.bins.iter().enumerate().filter(|(_, tally)| tally.requests > 0);
        filled.map(|(index, tally)| (bins.first + index as i64, tally.requests)).collect()
    }

    proptest! {
        #[test]
        fn bins_are_bounded_and_know_no_order(
            (times, shuffled) in vec(prop_oneof![any::<i64>(), -SECOND..10 * SECOND], 1..60)
                .prop_flat_map(|times| (Just(times.clone()), Just(times).prop_shuffle()))
        ) {
            let (bins, other) = (ended(times.clone()), ended(shuffled));
            prop_assert_eq!((bins.shift, requests(&bins)), (other.shift, requests(&other)));
            prop_assert!(bins.bins.len() <= MOST_BINS && bins.bins.capacity() <= 2 * MOST_BINS);
            prop_assert_eq!(requests(&bins).iter().map(|(_, count)| count).sum::<u64>(), times.len() as u64);
            for at in times {
                prop_assert!(requests(&bins).iter().any(|&(bin, _)| bin == at >> bins.shift));
            }
        }
    }

    fn uniform(rng: &mut impl Rng) -> f64 {
        rng.random_range(0..1u64 << 53) as f64 / (1u64 << 53) as f64
    }

    /// The share of 200 runs whose interval has the true rate in it.
    fn coverage(true_rate: f64, latency: Nanos, mut run: impl FnMut(&mut dyn FnMut() -> f64) -> Vec<f64>) -> f64 {
        let covered = (0..200_u64).filter(|&seed| {
            let mut rng = Seed(seed).stream("simulation");
            let times = run(&mut || uniform(&mut rng));
            let bins = ended(times.iter().map(|at| (at * 1e9) as i64));
            let [interval, ..] = bins.intervals(Nanos(0), Nanos(60 * SECOND), latency, Seed(seed)).unwrap();
            interval.low <= true_rate && true_rate <= interval.high
        });
        covered.count() as f64 / 200.0
    }

    #[test]
    fn intervals_cover_the_rate_of_requests_that_end_by_chance() {
        let poisson = |uniform: &mut dyn FnMut() -> f64| {
            let gaps = std::iter::repeat_with(|| -(1.0 - uniform()).ln() / 20.0);
            let times = gaps.scan(0.0, |at: &mut f64, gap| Some(std::mem::replace(at, *at + gap)));
            times.skip(1).take_while(|&at| at < 60.0).collect()
        };
        let share = coverage(20.0, Nanos(SECOND / 10), poisson);
        assert!((0.91..=0.99).contains(&share), "{share}");
    }

    #[test]
    fn blocks_keep_together_what_belongs_together() {
        // Every half second twenty requests or none: alone, each moment would look like chance of far less spread.
        let waves = |uniform: &mut dyn FnMut() -> f64| {
            let full: Vec<bool> = (0..120).map(|_| uniform() < 0.5).collect();
            let wave = |(index, _): (usize, &bool)| (0..20).map(move |part| (index as f64 + part as f64 / 20.0) / 2.0);
            full.iter().enumerate().filter(|(_, full)| **full).flat_map(wave).collect()
        };
        let share = coverage(20.0, Nanos(SECOND), waves);
        assert!((0.90..=0.99).contains(&share), "{share}");
    }

    #[test]
    fn a_steady_rate_is_known_well_and_the_seed_decides_the_rest() {
        let bins = ended((0..6_000).map(|index| index * SECOND / 100));
        let of = |seed| bins.intervals(Nanos(0), Nanos(60 * SECOND), Nanos(SECOND / 10), Seed(seed)).unwrap()[0];
        assert!(of(1).low > 99.0 && of(1).high < 101.0 && of(1).low <= 100.0 && of(1).high >= 100.0, "{:?}", of(1));
        let uneven = ended((0..2_000).map(|index| index * index * SECOND / 70_000));
        let of = |seed| uneven.intervals(Nanos(0), Nanos(60 * SECOND), Nanos(SECOND / 10), Seed(seed)).unwrap()[0];
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
    }

    #[test]
    fn a_run_of_few_latencies_has_no_interval() {
        let bins = ended((0..100).map(|index| index * SECOND / 10));
        let of = |latency: f64| {
            bins.intervals(Nanos(0), Nanos(10 * SECOND), Nanos::from_secs_f64(latency), Seed(0)).is_some()
        };
        assert!(of(1.2) && !of(1.3));
        assert_eq!(Bins::new().intervals(Nanos(0), Nanos(0), Nanos(0), Seed(0)), None);
    }
}
