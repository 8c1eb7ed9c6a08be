//! When requests are due: arithmetic from one seed, without a clock. The same plan has the same schedule in every run, and the part of a
//! thread consists of the same requests at the same times as if one thread had all of them.

use crate::arrival::{Arrival, Rate};
use crate::clock::Nanos;
use crate::curve::Curve;
use crate::load::Arrivals;
use crate::seed::Seed;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Exp1, Gamma};
use std::iter::{Skip, StepBy};
use std::sync::Arc;

/// The number of a request, and when it is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// The number of the request in the phase, from 0.
    pub seq: u64,
    /// The time since the start of the phase.
    pub at: Nanos,
}

/// When request number `seq` of a steady rate with constant gaps is due: `seq` of them after the start, in one product, so that
/// they do not drift.
pub fn steady_due(seq: u64, rate: Rate) -> Due {
    Due { seq, at: Nanos::from_secs_f64(seq as f64 / rate.per_second()) }
}

/// The due times of a phase, in order. A rate gives due times without end, unless it falls to 0 for good; a trace has an end.
#[derive(Clone, Debug)]
pub struct Schedule {
    seq: u64,
    times: Times,
}

/// The parameters of the due times.
#[derive(Clone, Debug)]
enum Times {
    /// One rate. The first request is due at once, each later one a gap after the one before it.
    Steady { rate: Rate, sum: Sum },
    /// Any other schedule.
    Other(Other),
}

/// The parameters of due times without a constant rate.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one a thread and a phase")]
enum Other {
    /// A rate that changes. A request is due when the curve has brought as many as the sum of the gaps before it.
    Changing { curve: Curve, piece: usize, sum: Sum, last: Nanos },
    /// A list of gaps, which begins again at its end. The first request comes after the first gap, as Perf Analyzer has it.
    Intervals { gaps: Arc<[Nanos]>, elapsed: Nanos },
    /// A list of times.
    Listed(Arc<[Nanos]>),
}

/// The sum of the gaps so far, each in units of its mean. Their product with the mean is taken once for each due, so that
/// constant gaps do not drift: until 2^53 requests the sum is their number exactly.
#[derive(Clone, Debug)]
struct Sum {
    gaps: Gaps,
    chance: ChaCha8Rng,
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
    /// The schedule of `arrivals`, with random numbers from the stream `name` of `seed`. An empty list gives an empty schedule.
    pub fn new(arrivals: &Arrivals, seed: Seed, name: &str) -> Schedule {
        let sum = |arrival: &Arrival| Sum::new(*arrival, seed.stream(name));
        let changing = |curve, arrival| Other::Changing { curve, piece: 0, sum: sum(arrival), last: Nanos::ZERO };
        let other = match arrivals {
            Arrivals::Rate { rate, arrival, ramp: None } => {
                return Schedule { seq: 0, times: Times::Steady { rate: *rate, sum: sum(arrival) } };
            }
            Arrivals::Rate { rate, arrival, ramp: Some(ramp) } => changing(Curve::ramp(*rate, *ramp), arrival),
            Arrivals::Series { points, arrival } => changing(Curve::lines(points), arrival),
            Arrivals::Intervals { gaps, .. } => Other::Intervals { gaps: gaps.clone(), elapsed: Nanos::ZERO },
            Arrivals::Trace { dues, .. } => Other::Listed(dues.clone()),
        };
        Schedule { seq: 0, times: Times::Other(other) }
    }

    /// The due times of requests whose number modulo `parts` is `part`. The union over all parts is the whole schedule. Each part computes
    /// the whole schedule and keeps its own requests, which costs tens of nanoseconds per request and makes the parts exact.
    pub fn slice(self, part: usize, parts: usize) -> Slice {
        self.skip(part).step_by(parts.max(1))
    }
}

impl Iterator for Schedule {
    type Item = Due;

    fn next(&mut self) -> Option<Due> {
        let at = match &mut self.times {
            Times::Steady { rate, sum } => Nanos::from_secs_f64(sum.next() / rate.per_second()),
            Times::Other(other) => other.at(self.seq)?,
        };
        let seq = self.seq;
        self.seq += 1;
        Some(Due { seq, at })
    }
}

impl Other {
    /// When request number `seq`, the next, is due. A function apart: the few instructions of a steady rate would otherwise pay
    /// for the registers of all this.
    #[inline(never)]
    fn at(&mut self, seq: u64) -> Option<Nanos> {
        match self {
            Other::Changing { curve, piece, sum, last } => {
                // Two that are nearly at once must not change places by rounding.
                *last = curve.passes(sum.next(), piece)?.max(*last);
                Some(*last)
            }
            Other::Intervals { gaps, elapsed } => {
                *elapsed += *gaps.get((seq % gaps.len().max(1) as u64) as usize)?;
                Some(*elapsed)
            }
            Other::Listed(times) => times.get(usize::try_from(seq).ok()?).copied(),
        }
    }
}

impl Sum {
    fn new(arrival: Arrival, chance: ChaCha8Rng) -> Sum {
        let gaps = match arrival {
            Arrival::Constant => Gaps::Constant,
            Arrival::Poisson => Gaps::Exponential,
            Arrival::Gamma { shape } => {
                let gamma = Gamma::new(shape.value(), 1.0 / shape.value());
                Gaps::Gamma(gamma.expect("a shape within its bounds and its inverse are positive and finite"))
            }
        };
        Sum { gaps, chance, elapsed: 0.0 }
    }

    /// The sum, to which the next gap is then added.
    #[inline]
    fn next(&mut self) -> f64 {
        let elapsed = self.elapsed;
        self.elapsed += match &self.gaps {
            Gaps::Constant => 1.0,
            Gaps::Exponential => Exp1.sample(&mut self.chance),
            Gaps::Gamma(gamma) => gamma.sample(&mut self.chance),
        };
        elapsed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{Ramp, RampShape, RatePoint};

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

    fn series(points: &[(i64, f64)], arrival: Arrival) -> Arrivals {
        let point = |&(at, per_second): &(i64, f64)| RatePoint { at: Nanos::from_millis(at), per_second };
        Arrivals::Series { points: points.iter().map(point).collect(), arrival }
    }

    fn ramped(rate: f64, shape: RampShape, arrival: Arrival) -> Arrivals {
        let ramp = Some(Ramp { time: Nanos::from_millis(20_000), shape });
        Arrivals::Rate { rate: Rate::try_new(rate).unwrap(), arrival, ramp }
    }

    fn intervals(micros: &[i64]) -> Arrivals {
        Arrivals::Intervals { file: "gaps".into(), gaps: micros.iter().map(|gap| Nanos(gap * 1_000)).collect() }
    }

    fn trace(millis: &[i64]) -> Arrivals {
        let dues = millis.iter().map(|at| Nanos::from_millis(*at)).collect();
        Arrivals::Trace { file: "trace".into(), speedup: 1.0, dues }
    }

    fn of(arrivals: &Arrivals) -> Schedule {
        Schedule::new(arrivals, Seed(5), "arrivals")
    }

    /// One of each kind that has no steady rate.
    fn others() -> Vec<Arrivals> {
        let mut all = vec![intervals(&[100, 0, 700]), trace(&[0, 0, 5, 9, 9, 800, 1_000])];
        for arrival in [Arrival::Constant, Arrival::Poisson, gamma(0.25)] {
            all.push(series(&[(0, 0.0), (1_000, 100.0), (2_000, 100.0), (2_000, 20.0)], arrival));
            all.push(series(&[(0, 40.0), (9_000, 0.0)], arrival));
            all.push(ramped(70.0, RampShape::Linear, arrival));
            all.push(ramped(70.0, RampShape::Exponential, arrival));
        }
        all
    }

    #[test]
    fn a_user_s_dues_are_those_of_a_steady_rate() {
        let rate = Rate::try_new(7.0).unwrap();
        for due in schedule(7.0, Arrival::Constant, 0).take(1_000) {
            assert_eq!(due, steady_due(due.seq, rate));
        }
    }

    #[test]
    fn intervals_begin_again_without_drift() {
        assert_eq!(at(of(&intervals(&[100, 0, 700])), 5), [100_000, 100_000, 800_000, 900_000, 900_000]);
        assert_eq!(of(&intervals(&[1, 2])).nth(1_999_999).unwrap().at, Nanos(3_000_000_000));
        assert_eq!(of(&intervals(&[])).next(), None);
    }

    #[test]
    fn a_trace_is_what_it_lists_and_then_over() {
        let mut schedule = of(&trace(&[3, 3, 10]));
        let times: Vec<i64> = schedule.by_ref().map(|due| due.at.0).collect();
        assert_eq!(times, [3_000_000, 3_000_000, 10_000_000]);
        assert_eq!((schedule.next(), schedule.next()), (None, None));
        assert_eq!(of(&trace(&[])).next(), None);
    }

    #[test]
    fn constant_gaps_follow_a_changing_rate_exactly() {
        // 5 t²/2 before t: the k-th after sqrt(2k/5) seconds until 40 of them in 4 s, then each 50 ms.
        let arrivals = Arrivals::Rate {
            rate: Rate::try_new(20.0).unwrap(),
            arrival: Arrival::Constant,
            ramp: Some(Ramp { time: Nanos::from_millis(4_000), shape: RampShape::Linear }),
        };
        for due in of(&arrivals).take(100) {
            let k = due.seq as f64;
            let expected = if due.seq <= 40 { (2.0 * k / 5.0).sqrt() } else { 4.0 + (k - 40.0) / 20.0 };
            assert!((due.at - Nanos::from_secs_f64(expected)).0.abs() <= 1, "{due:?}, not {expected}");
        }
    }

    #[test]
    fn a_rate_that_falls_to_nothing_ends_the_schedule() {
        let falling = |arrival| of(&series(&[(0, 100.0), (2_000, 0.0)], arrival));
        assert_eq!(falling(Arrival::Constant).count(), 100);
        let mut poisson = falling(Arrival::Poisson);
        // Four standard deviations of a Poisson count.
        assert!((60..=140).contains(&poisson.by_ref().count()));
        assert_eq!(poisson.next(), None);
        assert!(falling(Arrival::Poisson).all(|due| due.at < Nanos::from_millis(2_000)));
    }

    #[test]
    fn a_changing_rate_brings_as_many_as_its_curve_says_in_every_part() {
        // In each second of 0 to 2,000/s over 10 s: counts of a Poisson process are as many as their mean, to four of its
        // standard deviations, and in a straight line.
        let arrivals = series(&[(0, 0.0), (10_000, 2_000.0)], Arrival::Poisson);
        let dues: Vec<Due> = of(&arrivals).take_while(|due| due.at < Nanos::from_millis(10_000)).collect();
        for second in 0..10 {
            let within = |due: &&Due| due.at.0 / 1_000_000_000 == second;
            let (count, mean) = (dues.iter().filter(within).count() as f64, 200.0 * second as f64 + 100.0);
            assert!((count - mean).abs() < 4.0 * mean.sqrt(), "{count} in second {second}, planned {mean}");
        }
    }

    #[test]
    fn gaps_keep_their_variation_where_the_rate_changes() {
        // Taken back through the curve, the gaps are those of the arrival: mean 1, and its variation.
        let points = [(0, 50.0), (200_000, 150.0), (400_000, 20.0)];
        for arrival in [Arrival::Poisson, gamma(0.25), gamma(4.0)] {
            let Arrivals::Series { points, .. } = series(&points, arrival) else { unreachable!() };
            let curve = Curve::lines(&points);
            let dues = of(&series(&[(0, 50.0), (200_000, 150.0), (400_000, 20.0)], arrival)).take(30_001);
            // In nanoseconds, for the same arithmetic as the others.
            let sums: Vec<i64> = dues.map(|due| (curve.count(due.at) * 1e9) as i64).collect();
            let (mean, variation) = moments(&sums);
            let bound = 4.0 * arrival.variation() / 30_000_f64.sqrt();
            assert!((mean - 1.0).abs() < bound, "{arrival}: mean {mean}");
            let bound = bound * (1.0 + arrival.variation().powi(2));
            assert!((variation - arrival.variation()).abs() < bound, "{arrival}: CV {variation}");
        }
    }

    #[test]
    fn every_kind_is_in_order_and_the_sum_of_its_slices() {
        for arrivals in others() {
            let whole: Vec<Due> = of(&arrivals).take(3_000).collect();
            assert!(whole.is_sorted_by_key(|due| due.at), "{arrivals}");
            assert!(whole.iter().enumerate().all(|(number, due)| due.seq == number as u64));
            for parts in [1, 2, 5] {
                let mut slices: Vec<_> = (0..parts).map(|part| of(&arrivals).slice(part, parts)).collect();
                for due in &whole {
                    assert_eq!(slices[due.seq as usize % parts].next(), Some(*due), "{arrivals} in {parts}");
                }
                if whole.len() < 3_000 {
                    assert!(slices.iter_mut().all(|slice| slice.next().is_none() && slice.next().is_none()));
                }
            }
        }
    }
}
