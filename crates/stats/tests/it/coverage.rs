//! Whether 95 % intervals do cover: simulated runs, of which the true figures are known, by seed and without a clock.
//!
//! A coverage is of the runs that have an interval, and each test also says in how many runs there has to be one: none ever would
//! cover too.

use rand::{Rng, RngExt};
use streamgauge_core::Nanos;
use streamgauge_core::seed::Seed;
use streamgauge_stats::{Distribution, Interval, Metric, Sampler};

/// A value, and when it was taken in seconds.
type Timed = (f64, f64);

/// A statistic of a metric: the mean, or a percentile.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Of {
    Mean,
    P(u8),
}

impl Of {
    fn value(self, d: &Distribution) -> f64 {
        match self {
            Of::Mean => d.avg,
            Of::P(p) => d.percentile(p),
        }
    }

    fn interval(self, d: &Distribution) -> Option<Interval> {
        match self {
            Of::Mean => d.intervals.avg,
            Of::P(p) => d.interval(p),
        }
    }

    /// In seconds.
    fn needed(self, d: &Distribution) -> Option<f64> {
        match self {
            Of::Mean => d.intervals.needed.avg,
            Of::P(p) => streamgauge_stats::PERCENTILES
                .iter()
                .position(|&known| known == p)
                .and_then(|index| d.intervals.needed.percentiles[index]),
        }
    }
}

const MAIN: [Of; 3] = [Of::Mean, Of::P(50), Of::P(90)];

/// What the intervals of many runs came to.
#[derive(Clone, Copy, Debug)]
struct Found {
    runs: usize,
    given: usize,
    covered: usize,
}

impl Found {
    fn given(self) -> f64 {
        self.given as f64 / self.runs as f64
    }

    /// Of the intervals that were given.
    fn coverage(self) -> f64 {
        self.covered as f64 / self.given as f64
    }

    /// Runs with an interval that does not cover, of all runs.
    fn wrong(self) -> f64 {
        (self.given - self.covered) as f64 / self.runs as f64
    }

    fn and(self, other: Found) -> Found {
        Found { runs: self.runs + other.runs, given: self.given + other.given, covered: self.covered + other.covered }
    }
}

fn summed(found: impl IntoIterator<Item = Found>) -> Found {
    found.into_iter().fold(Found { runs: 0, given: 0, covered: 0 }, Found::and)
}

/// The values' statistics, taken in an order that is not that of their times: records come late from other threads.
fn distribution(values: &[Timed]) -> Distribution {
    let mut sampler = Sampler::of(Metric::RequestLatency);
    let (even, odd) = (values.iter().step_by(2), values.iter().skip(1).step_by(2));
    even.chain(odd).for_each(|&(value, at)| sampler.add_at(value, Nanos::from_secs_f64(at)));
    sampler.close().unwrap()
}

fn runs(count: u64, mut run: impl FnMut(&mut Chance) -> Vec<Timed>) -> Vec<Distribution> {
    (0..count).map(|seed| distribution(&run(&mut Chance::of(seed)))).collect()
}

fn found(runs: &[Distribution], of: Of, truth: f64) -> Found {
    let intervals: Vec<Interval> = runs.iter().filter_map(|run| of.interval(run)).collect();
    let covered = intervals.iter().filter(|interval| interval.low <= truth && truth <= interval.high).count();
    Found { runs: runs.len(), given: intervals.len(), covered }
}

struct Chance(Box<dyn Rng>);

impl Chance {
    fn of(seed: u64) -> Chance {
        Chance(Box::new(Seed(seed).stream("coverage")))
    }

    /// From 0 to below 1.
    fn uniform(&mut self) -> f64 {
        self.0.random_range(0..1u64 << 53) as f64 / (1u64 << 53) as f64
    }

    /// Of mean 1.
    fn exponential(&mut self) -> f64 {
        -(1.0 - self.uniform()).ln()
    }

    /// Of mean 0 and deviation 1 (Box and Muller).
    fn normal(&mut self) -> f64 {
        (-2.0 * (1.0 - self.uniform()).ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

/// The simulated server with `--max-batch 4 --itl-growth 0`, asked for 16 tokens: times to first token and latencies in
/// seconds of first token, of last, with a jitter of 5 % on each step.
struct Server {
    free: [f64; 4],
}

impl Server {
    /// When service begins, the first token comes, and the last, of a request that is sent then.
    fn serve(&mut self, at: f64, tokens: f64, chance: &mut Chance) -> [f64; 2] {
        let slot = self.free.iter_mut().reduce(|a, b| if *b < *a { b } else { a }).unwrap();
        let first = slot.max(at) + 0.031 * (1.0 + 0.05 * chance.normal());
        let steps = tokens - 1.0;
        let last = first + 0.008 * (steps + 0.05 * steps.sqrt() * chance.normal());
        *slot = last;
        [first, last]
    }
}

/// Times to first token of requests that come by chance, at a rate a second.
fn open(rate: f64, seconds: f64, chance: &mut Chance) -> Vec<Timed> {
    let mut server = Server { free: [0.0; 4] };
    let mut at = 0.0;
    let mut values = Vec::new();
    loop {
        at += chance.exponential() / rate;
        if at > seconds {
            return values;
        }
        let [first, _] = server.serve(at, 16.0, chance);
        values.push((first - at, at));
    }
}

/// Latencies of users who ask again when they have their answer; answers of one length, or of many.
fn closed(users: usize, seconds: f64, one_length: bool, chance: &mut Chance) -> Vec<Timed> {
    let mut server = Server { free: [0.0; 4] };
    let mut ready = vec![0.0; users];
    let mut values = Vec::new();
    loop {
        let user = ready.iter_mut().reduce(|a: &mut f64, b| if *b < *a { b } else { a }).unwrap();
        let at = *user;
        if at > seconds {
            return values;
        }
        let tokens = if one_length { 16.0 } else { (8.0 + 16.0 * chance.uniform()).floor() };
        let [_, last] = server.serve(at, tokens, chance);
        values.push((last - at, at));
        *user = last + 1e-4;
    }
}

/// Values a second apart: a level that wanders by chance and comes back within `memory` of them, and as much noise.
fn wandering(count: usize, memory: f64, chance: &mut Chance) -> Vec<Timed> {
    let kept = (-1.0 / memory).exp();
    let mut level = chance.normal();
    (0..count)
        .map(|index| {
            level = kept * level + (1.0 - kept * kept).sqrt() * chance.normal();
            (level + chance.normal(), index as f64)
        })
        .collect()
}

fn truth(values: &[Timed]) -> Distribution {
    let mut sampler = Sampler::of(Metric::RequestLatency);
    values.iter().for_each(|&(value, _)| sampler.add(value));
    sampler.close().unwrap()
}

#[test]
fn independent_values_are_covered_and_nearly_always_have_an_interval() {
    let exponential = |count: usize| {
        move |chance: &mut Chance| -> Vec<Timed> { (0..count).map(|at| (chance.exponential(), at as f64)).collect() }
    };
    let truths = [(Of::Mean, 1.0), (Of::P(50), 2f64.ln()), (Of::P(90), 10f64.ln()), (Of::P(99), 100f64.ln())];
    let mut all = Vec::new();
    for (count, most) in [(100, 3), (300, 3), (1_000, 4)] {
        let runs = runs(150, exponential(count));
        for &(of, truth) in &truths[..most] {
            let found = found(&runs, of, truth);
            let least = match (of, count) {
                (Of::Mean, 100) => {
                    assert_eq!(found.given, 0, "a hundred values are too few for a mean");
                    assert!(runs.iter().all(|run| of.needed(run).is_none_or(|seconds| seconds > 100.0)));
                    continue;
                }
                (_, 100) => 0.80,
                (Of::P(99), _) => 0.85,
                _ => 0.98,
            };
            assert!(found.given() >= least, "{of:?} of {count}: {found:?}");
            assert!(found.coverage() >= 0.92, "{of:?} of {count}: {found:?}");
            all.push(found);
        }
        // At most a third wider than they would be of values that are known to be independent.
        let wide = |run: &Distribution| run.intervals.avg.map(|i| (i.high - i.low) / (2.0 * 1.96 * run.std));
        let widths: Vec<f64> = runs.iter().filter_map(wide).map(|width| width * (count as f64).sqrt()).collect();
        assert!(widths.is_empty() || widths.iter().sum::<f64>() < 1.34 * widths.len() as f64, "{count}");
    }
    let all = summed(all);
    assert!((0.90..=0.99).contains(&all.coverage()), "{all:?}");
}

#[test]
fn a_long_run_of_a_queue_is_covered() {
    let long = truth(&open(21.0, 15_000.0, &mut Chance::of(u64::MAX)));
    let runs = runs(60, |chance| open(21.0, 300.0, chance));
    let all: Vec<Found> = MAIN.map(|of| found(&runs, of, of.value(&long))).into();
    for (of, found) in MAIN.iter().zip(&all) {
        assert!(found.given() >= 0.9 && found.coverage() >= 0.90, "{of:?}: {found:?}");
    }
    let all = summed(all);
    assert!((0.90..=0.99).contains(&all.coverage()), "{all:?}");
    // Independence would have given 300 values of p99; here a few waits in a row are one.
    assert!(runs.iter().all(|run| run.interval(99).is_none() && run.supports(99)));
    let effective = runs.iter().map(|run| run.intervals.effective).sum::<f64>() / runs.len() as f64;
    assert!((60.0..600.0).contains(&effective), "{effective} of 6,300");
}

#[test]
fn a_short_run_of_a_queue_has_no_interval_and_says_how_long_it_would_take() {
    let runs = runs(200, |chance| open(21.0, 10.0, chance));
    for of in MAIN {
        let given = runs.iter().filter(|run| of.interval(run).is_some()).count();
        assert!(given <= 4, "{of:?}: {given} of 200");
        let mut needed: Vec<f64> = runs.iter().filter_map(|run| of.needed(run)).collect();
        assert!(needed.len() >= 190, "{of:?}: {}", needed.len());
        needed.sort_by(f64::total_cmp);
        let (least, median) = (needed[0], needed[needed.len() / 2]);
        assert!(least > 9.5 && (30.0..600.0).contains(&median), "{of:?}: {least} {median}");
    }
}

#[test]
fn few_waits_among_many_values_are_covered_or_too_few() {
    let long = truth(&open(8.0, 20_000.0, &mut Chance::of(u64::MAX)));
    let short = runs(200, |chance| open(8.0, 8.0, chance));
    assert!(short.iter().all(|run| run.intervals.avg.is_none()), "one run in six has no wait in it");
    let found_of = |runs: &[Distribution]| MAIN.map(|of| found(runs, of, of.value(&long)));
    let [_, median, p90] = found_of(&short);
    assert!(median.given() > 0.6 && median.coverage() >= 0.92, "{median:?}");
    assert!(p90.given() > 0.5 && p90.coverage() >= 0.92, "{p90:?}");
    let all = found_of(&runs(150, |chance| open(8.0, 60.0, chance)));
    for (of, found) in MAIN.iter().zip(&all) {
        assert!(found.given() >= 0.95 && found.coverage() >= 0.90, "{of:?}: {found:?}");
    }
    let all = summed(all);
    assert!((0.90..=0.99).contains(&all.coverage()), "{all:?}");
}

#[test]
fn wherever_the_run_is_neither_long_nor_short_few_intervals_are_wrong() {
    let long = truth(&open(21.0, 15_000.0, &mut Chance::of(u64::MAX)));
    for (seconds, count) in [(20.0, 100), (60.0, 80), (120.0, 60)] {
        let runs = runs(count, |chance| open(21.0, seconds, chance));
        let all = summed(MAIN.map(|of| found(&runs, of, of.value(&long))));
        assert!(all.wrong() <= 0.10, "{seconds} s: {all:?}");
    }
}

#[test]
fn users_who_wait_for_their_answers_are_covered_or_have_no_interval() {
    // Answers of one length keep the users in a pattern that changes over many minutes.
    let pattern = runs(100, |chance| closed(6, 10.0, true, chance));
    for of in MAIN {
        let given = pattern.iter().filter(|run| of.interval(run).is_some()).count();
        assert!(given <= 2, "{of:?}: {given}");
    }
    let long = truth(&closed(6, 10_000.0, false, &mut Chance::of(u64::MAX)));
    let mut all = Vec::new();
    for (seconds, count) in [(10.0, 150), (60.0, 100)] {
        let runs = runs(count, |chance| closed(6, seconds, false, chance));
        for of in MAIN {
            let found = found(&runs, of, of.value(&long));
            assert!(found.given() >= 0.95 && found.coverage() >= 0.92, "{of:?} of {seconds} s: {found:?}");
            all.push(found);
        }
    }
    let all = summed(all);
    assert!((0.90..=0.99).contains(&all.coverage()), "{all:?}");
}

#[test]
fn values_that_drift_are_covered_or_have_no_interval() {
    let deviation = 2f64.sqrt();
    let truths = [(Of::Mean, 0.0), (Of::P(50), 0.0), (Of::P(90), 1.281_552 * deviation)];
    let slow = runs(150, |chance| wandering(2_000, 10.0, chance));
    let all: Vec<Found> = truths.iter().map(|&(of, truth)| found(&slow, of, truth)).collect();
    for ((of, _), found) in truths.iter().zip(&all) {
        assert!(found.given() >= 0.90 && found.coverage() >= 0.90, "{of:?}: {found:?}");
    }
    let all = summed(all);
    assert!((0.90..=0.995).contains(&all.coverage()), "{all:?}");
    // The slower they come back, the fewer runs have one, and few of those that have are wrong.
    for (memory, most) in [(60.0, 0.35), (200.0, 0.15)] {
        let runs = runs(100, |chance| wandering(1_000, memory, chance));
        let all = summed(truths.map(|(of, truth)| found(&runs, of, truth)));
        assert!(all.given() <= most && all.wrong() <= 0.10, "{memory}: {all:?}");
    }
    // What only rises has no mean that a longer run would find again.
    let rising = runs(100, |chance| (0..300).map(|at| (at as f64 / 100.0 + chance.normal(), at as f64)).collect());
    for of in MAIN {
        assert!(rising.iter().all(|run| of.interval(run).is_none() && of.needed(run).is_some()), "{of:?}");
    }
}

#[test]
fn values_pooled_from_within_requests_are_worth_what_the_requests_are() {
    // Each of two hundred requests has a pace of its own, at which it makes fifty values in a row.
    let request = |index: usize, chance: &mut Chance| -> Vec<Timed> {
        let pace = 10.0 + chance.normal();
        (0..50).map(|token| (pace + 0.2 * chance.normal(), index as f64 + 0.01 * token as f64)).collect()
    };
    let runs = runs(60, |chance| (0..200).flat_map(|index| request(index, chance)).collect());
    let deviation = 1.04f64.sqrt();
    let all = [(Of::Mean, 10.0), (Of::P(50), 10.0), (Of::P(90), 10.0 + 1.281_552 * deviation)].map(|(of, truth)| {
        let found = found(&runs, of, truth);
        assert!(found.given() >= 0.95 && found.coverage() >= 0.90, "{of:?}: {found:?}");
        found
    });
    let all = summed(all);
    assert!((0.90..=0.99).contains(&all.coverage()), "{all:?}");
    let effective = runs.iter().map(|run| run.intervals.effective).sum::<f64>() / runs.len() as f64;
    assert!((120.0..300.0).contains(&effective), "{effective} of 10,000");
}

#[test]
fn beyond_the_exact_values_dependence_is_found_in_a_sample_of_them() {
    // A level for each 4,000 values: some hundred independent ones.
    let mut chance = Chance::of(7);
    let mut sampler = Sampler::of(Metric::RequestLatency);
    let mut level = 0.0;
    for index in 0..400_000_u32 {
        if index % 4_000 == 0 {
            level = chance.normal();
        }
        let at = Nanos(i64::from(index * 7_919 % 4_000 + index / 4_000 * 4_000) * 1_000_000);
        sampler.add_at(level + chance.normal(), at);
    }
    let d = sampler.close().unwrap();
    assert!(!d.exact && (60.0..250.0).contains(&d.intervals.effective), "{}", d.intervals.effective);
    let reach = d.intervals.avg.unwrap().reach(d.avg);
    assert!((0.1..0.5).contains(&reach), "{reach} where independent values had 0.004");
    // And of independent ones the intervals are as narrow as they should be.
    let mut sampler = Sampler::of(Metric::RequestLatency);
    (0..400_000).for_each(|index| sampler.add_at(chance.normal(), Nanos(index * 1_000_000)));
    let d = sampler.close().unwrap();
    let reach = d.intervals.avg.unwrap().reach(d.avg);
    assert!(!d.exact && (0.002..0.012).contains(&reach), "{reach}");
}
