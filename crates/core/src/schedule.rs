//! When requests are due: arithmetic from one seed, without a clock. The same plan has the same schedule on every run, and a
//! thread's part of it is the same requests at the same times as if one thread had them all.

use crate::arrival::{Arrival, Rate};
use crate::clock::Nanos;
use crate::load::Arrivals;
use crate::seed::Seed;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Exp1, Gamma};
use std::iter::{Skip, StepBy};

/// A request's number, and when it is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// Number in the phase, from 0.
    pub seq: u64,
    /// From the phase's start.
    pub at: Nanos,
}

/// The dues of a phase, in order and without end. The first is due at once, each of the others a gap after the one before.
#[derive(Clone, Debug)]
pub struct Schedule {
    rate: Rate,
    gaps: Gaps,
    chance: ChaCha8Rng,
    seq: u64,
    /// The sum of the gaps so far, each in units of its mean. Their product with the mean is taken once for each due, so that
    /// constant gaps do not drift: until 2^53 requests the sum is their number exactly.
    elapsed: f64,
}

/// Gaps with a mean of 1.
#[derive(Clone, Copy, Debug)]
enum Gaps {
    Constant,
    Exponential,
    Gamma(Gamma<f64>),
}

/// One thread's part of a schedule.
pub type Slice = StepBy<Skip<Schedule>>;

impl Schedule {
    /// The schedule of `arrivals`, by the chance of `seed` in the stream `name`.
    pub fn new(arrivals: &Arrivals, seed: Seed, name: &str) -> Schedule {
        let Arrivals::Rate { rate, arrival, ramp: None } = *arrivals else { todo!("the other arrivals") };
        let gaps = match arrival {
            Arrival::Constant => Gaps::Constant,
            Arrival::Poisson => Gaps::Exponential,
            Arrival::Gamma { shape } => {
                let gamma = Gamma::new(shape.value(), 1.0 / shape.value());
                Gaps::Gamma(gamma.expect("a shape within its bounds and its inverse are positive and finite"))
            }
        };
        Schedule { rate, gaps, chance: seed.stream(name), seq: 0, elapsed: 0.0 }
    }

    /// Every due whose number leaves `part` when divided by `parts`: the union over all parts is the whole. Each part draws
    /// the whole schedule and keeps its own, which costs tens of nanoseconds a request and makes the parts exact.
    pub fn slice(self, part: usize, parts: usize) -> Slice {
        self.skip(part).step_by(parts.max(1))
    }
}

impl Iterator for Schedule {
    type Item = Due;

    fn next(&mut self) -> Option<Due> {
        let due = Due { seq: self.seq, at: Nanos::from_secs_f64(self.elapsed / self.rate.per_second()) };
        self.seq += 1;
        self.elapsed += match &self.gaps {
            Gaps::Constant => 1.0,
            Gaps::Exponential => Exp1.sample(&mut self.chance),
            Gaps::Gamma(gamma) => gamma.sample(&mut self.chance),
        };
        Some(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(rate: f64, arrival: Arrival, seed: u64) -> Schedule {
        Schedule::new(&Arrivals::steady(Rate::try_new(rate).unwrap(), arrival), Seed(seed), "arrivals")
    }

    fn gamma(shape: f64) -> Arrival {
        Arrival::Gamma { shape: shape.try_into().unwrap() }
    }

    fn at(schedule: Schedule, count: usize) -> Vec<i64> {
        schedule.take(count).map(|due| due.at.0).collect()
    }

    /// Mean of the gaps in seconds, and their coefficient of variation.
    fn moments(dues: &[i64]) -> (f64, f64) {
        let gaps: Vec<f64> = dues.windows(2).map(|pair| (pair[1] - pair[0]) as f64 / 1e9).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        (mean, variance.sqrt() / mean)
    }

    #[test]
    fn constant_gaps_are_exact_and_do_not_drift() {
        assert_eq!(at(schedule(4.0, Arrival::Constant, 0), 4), [0, 250_000_000, 500_000_000, 750_000_000]);
        assert_eq!(at(schedule(3.0, Arrival::Constant, 0), 4), [0, 333_333_333, 666_666_667, 1_000_000_000]);
        assert_eq!(at(schedule(0.5, Arrival::Constant, 0), 3), [0, 2_000_000_000, 4_000_000_000]);
        // A gap that has no finite number of digits, after a million of them.
        for rate in [3.0, 7.0, 700.0] {
            let last = schedule(rate, Arrival::Constant, 0).nth(7_000_000).unwrap();
            assert_eq!(last, Due { seq: 7_000_000, at: Nanos((7e15 / rate).round() as i64) });
        }
    }

    #[test]
    fn an_infinite_rate_is_all_at_once() {
        for arrival in [Arrival::Constant, Arrival::Poisson, gamma(0.3)] {
            assert_eq!(at(schedule(f64::INFINITY, arrival, 1), 100), [0; 100]);
        }
    }

    #[test]
    fn mean_and_variation_of_the_gaps_are_the_plans() {
        // Four standard errors of 100,000 gaps: of the mean CV/sqrt(n); of the CV, for gamma of shape k, below (1 + 1/k)
        // times that, which covers what its heavy tail adds.
        let count = 100_000;
        for (arrival, rate) in [
            (Arrival::Poisson, 10.0),
            (Arrival::Poisson, 2_000.0),
            (gamma(1.0), 10.0),
            (gamma(0.25), 10.0),
            (gamma(4.0), 500.0),
            (gamma(100.0), 10.0),
        ] {
            let planned = arrival.variation();
            for seed in 0..3 {
                let (mean, variation) = moments(&at(schedule(rate, arrival, seed), count + 1));
                let bound = 4.0 * planned / (count as f64).sqrt();
                assert!((mean * rate - 1.0).abs() < bound, "{arrival}: mean {mean} at {rate}/s");
                let bound = bound * (1.0 + planned * planned);
                assert!((variation - planned).abs() < bound, "{arrival}: CV {variation}, planned {planned}");
            }
        }
    }

    #[test]
    fn dues_never_go_back_and_are_numbered_in_order() {
        for arrival in [Arrival::Constant, Arrival::Poisson, gamma(0.001), gamma(1e6)] {
            let dues: Vec<Due> = schedule(100.0, arrival, 7).take(10_000).collect();
            assert!(dues.iter().enumerate().all(|(number, due)| due.seq == number as u64));
            assert!(dues.is_sorted_by_key(|due| due.at), "{arrival}");
            assert_eq!(dues[0].at, Nanos::ZERO);
        }
    }

    #[test]
    fn slices_are_the_whole_schedule_one_by_one() {
        for arrival in [Arrival::Constant, Arrival::Poisson, gamma(0.5)] {
            let whole: Vec<Due> = schedule(50.0, arrival, 3).take(1_000).collect();
            for parts in [1, 2, 3, 7] {
                let slices = (0..parts).map(|part| schedule(50.0, arrival, 3).slice(part, parts).take(1_000));
                let mut slices: Vec<_> = slices.map(Iterator::peekable).collect();
                for due in &whole {
                    assert_eq!(slices[due.seq as usize % parts].next(), Some(*due), "{arrival} in {parts}");
                }
            }
        }
    }

    #[test]
    fn a_seed_and_a_name_give_the_same_schedule_again() {
        let arrivals = Arrivals::steady(Rate::try_new(5.0).unwrap(), Arrival::Poisson);
        let poisson = |seed, name| Schedule::new(&arrivals, Seed(seed), name);
        assert_eq!(at(poisson(1, "a"), 50), at(poisson(1, "a"), 50));
        assert_ne!(at(poisson(1, "a"), 50), at(poisson(2, "a"), 50));
        assert_ne!(at(poisson(1, "a"), 50), at(poisson(1, "b"), 50));
    }

    #[test]
    fn a_rate_near_nothing_saturates() {
        assert_eq!(at(schedule(1e-300, Arrival::Constant, 0), 3), [0, i64::MAX, i64::MAX]);
    }
}
