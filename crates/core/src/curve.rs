//! A rate that changes with time, and when it has brought how many requests: pure arithmetic on pieces of a curve whose
//! integrals have inverses in closed form.
//!
//! With a rate r(t), r's integral from 0 to t is the number of requests that belong before t. A schedule turns this around: the
//! request that has the sum c of gaps (of mean 1) before it is due when the integral passes c. For a Poisson process this is the
//! exact inversion (Çinlar, *Introduction to Stochastic Processes*, 1975, chapter 4); for other gaps it is the same process in a
//! time that runs faster where the rate is higher.

use crate::arrival::Rate;
use crate::clock::Nanos;
use crate::load::{Ramp, RampShape, RatePoint};

/// The beginning of an exponential growth as a share of its end, unless the time is too short for that.
const LOWEST: f64 = 1e-3;

/// A rate over a phase's time.
#[derive(Clone, Debug)]
pub struct Curve {
    /// At least one, in the order of time; each ends where the next begins, and the last does not end.
    pieces: Vec<Piece>,
}

/// A part of a curve.
#[derive(Clone, Copy, Debug)]
struct Piece {
    /// The beginning of the piece, in seconds.
    at: f64,
    /// Requests before it.
    count: f64,
    /// Requests per second where it begins.
    rate: f64,
    change: Change,
}

/// How the rate goes on from where a piece begins.
#[derive(Clone, Copy, Debug)]
enum Change {
    /// The rate grows by this number of requests per second in each second; 0 keeps it constant.
    Linear(f64),
    /// The rate grows by the factor e in each of this many parts of a second.
    Exponential(f64),
}

impl Curve {
    /// From little to `rate` over the time of `ramp`, and `rate` after it. Linear: a straight line from 0. Exponential: by
    /// equal factors in equal times, from a thousandth of `rate` or from the rate of one request in the ramp's time, whichever
    /// is higher; a ramp too short for a single request has `rate` at once. So has an infinite rate, which nothing grows to.
    pub fn ramp(rate: Rate, ramp: Ramp) -> Curve {
        let (rate, time) = (rate.per_second(), ramp.time.as_secs_f64());
        if !rate.is_finite() || time <= 0.0 {
            return Curve { pieces: vec![Piece::flat(0.0, 0.0, rate)] };
        }
        let first = match ramp.shape {
            RampShape::Linear => {
                Piece { rate: 0.0, change: Change::Linear(rate / time), ..Piece::flat(0.0, 0.0, rate) }
            }
            RampShape::Exponential => {
                let from = (rate * LOWEST).max(1.0 / time).min(rate);
                let growth = (rate / from).ln() / time;
                Piece { rate: from, change: Change::Exponential(growth), ..Piece::flat(0.0, 0.0, rate) }
            }
        };
        Curve { pieces: vec![first, Piece::flat(time, first.brings(time), rate)] }
    }

    /// Straight lines between `points`, the first of which is at 0, and the last one's rate after it. Two points of one time
    /// make a step. No points make a curve without requests.
    pub fn lines(points: &[RatePoint]) -> Curve {
        let mut pieces = Vec::with_capacity(points.len().max(1));
        let mut count = 0.0;
        for pair in points.windows(2) {
            let (at, end) = (pair[0].at.as_secs_f64(), pair[1].at.as_secs_f64());
            if end > at {
                let slope = (pair[1].per_second - pair[0].per_second) / (end - at);
                pieces.push(Piece { at, count, rate: pair[0].per_second, change: Change::Linear(slope) });
                // The trapezoid: the piece's formula, without its rounding.
                count += (pair[0].per_second + pair[1].per_second) / 2.0 * (end - at);
            }
        }
        let last = points.last().map_or((0.0, 0.0), |last| (last.at.as_secs_f64(), last.per_second));
        pieces.push(Piece::flat(last.0, count, last.1));
        Curve { pieces }
    }

    /// Requests that belong before `at`.
    pub fn count(&self, at: Nanos) -> f64 {
        let at = at.as_secs_f64();
        // The first begins at 0, and there is one.
        let piece = self.pieces.iter().rev().find(|piece| piece.at <= at);
        piece.map_or(0.0, |piece| piece.count + piece.brings(at - piece.at))
    }

    /// The time at which the number of requests before it exceeds `count`, which is at least 0. Returns `None` if it never does. `from` is
    /// the piece at which the search starts, 0 at first, and is set to the piece that was found: pass it again with a count that is not
    /// lower.
    pub fn passes(&self, count: f64, from: &mut usize) -> Option<Nanos> {
        while self.pieces.get(*from + 1).is_some_and(|next| next.count <= count) {
            *from += 1;
        }
        let piece = self.pieces.get(*from)?;
        let at = piece.at + piece.time_of(count - piece.count)?;
        // Rounding must not carry it into the next piece.
        let at = self.pieces.get(*from + 1).map_or(at, |next| at.min(next.at));
        Some(Nanos::from_secs_f64(at))
    }
}

impl Piece {
    /// A piece of one rate.
    fn flat(at: f64, count: f64, rate: f64) -> Piece {
        Piece { at, count, rate, change: Change::Linear(0.0) }
    }

    /// Requests in its first `time` seconds.
    fn brings(&self, time: f64) -> f64 {
        match self.change {
            Change::Linear(slope) => self.rate * time + slope * time * time / 2.0,
            Change::Exponential(growth) if growth > 0.0 => self.rate * (growth * time).exp_m1() / growth,
            Change::Exponential(_) => self.rate * time,
        }
    }

    /// The seconds until the piece has brought `count` requests, or `None` if it never does.
    fn time_of(&self, count: f64) -> Option<f64> {
        match self.change {
            _ if count <= 0.0 => (self.rate > 0.0 || !matches!(self.change, Change::Linear(0.0))).then_some(0.0),
            Change::Linear(0.0) => (self.rate > 0.0).then(|| count / self.rate),
            // The root of rate·t + slope·t²/2 = count, in the form that subtracts nothing where the slope is small.
            Change::Linear(slope) => {
                let root = (self.rate * self.rate + 2.0 * slope * count).max(0.0).sqrt();
                Some(2.0 * count / (self.rate + root))
            }
            Change::Exponential(growth) if growth > 0.0 => Some((count * growth / self.rate).ln_1p() / growth),
            Change::Exponential(_) => Some(count / self.rate),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn points(points: &[(i64, f64)]) -> Curve {
        let point = |&(at, per_second): &(i64, f64)| RatePoint { at: Nanos::from_millis(at), per_second };
        Curve::lines(&points.iter().map(point).collect::<Vec<_>>())
    }

    fn ramp(rate: f64, millis: i64, shape: RampShape) -> Curve {
        Curve::ramp(Rate::try_new(rate).unwrap(), Ramp { time: Nanos::from_millis(millis), shape })
    }

    fn passes(curve: &Curve, counts: &[f64]) -> Vec<Option<i64>> {
        let mut from = 0;
        counts.iter().map(|count| curve.passes(*count, &mut from).map(|at| at.0 / 1_000_000)).collect()
    }

    #[test]
    fn a_straight_line_from_nothing_brings_the_square_of_time() {
        // 10/s after 2 s: 2.5 t² requests before t; 10 within the ramp, then one each 100 ms.
        let curve = ramp(10.0, 2_000, RampShape::Linear);
        let expected = [Some(0), Some(1_000), Some(2_000), Some(2_100), Some(3_000)];
        assert_eq!(passes(&curve, &[0.0, 2.5, 10.0, 11.0, 20.0]), expected);
        assert_eq!(curve.count(Nanos::from_millis(3_000)), 20.0);
    }

    #[test]
    fn an_exponential_ramp_multiplies_by_equal_factors() {
        // 1,000/s after 3 s, from 1/s: ten times as much each second.
        let curve = ramp(1_000.0, 3_000, RampShape::Exponential);
        let per_decade = 10_f64.ln();
        for (second, rate) in [(1, 10.0), (2, 100.0), (3, 1_000.0)] {
            let at = Nanos::from_millis(second * 1_000);
            assert!((curve.count(at) - (rate - 1.0) / per_decade).abs() < 1e-9);
            let found = curve.passes(curve.count(at), &mut 0).unwrap();
            assert!((found - at).0.abs() <= 1, "{found}");
        }
        // Too short for a thousandth: from one request in the ramp's time. Too short for one: no ramp.
        let short = ramp(50.0, 100, RampShape::Exponential);
        let expected = (50.0 - 10.0) / (5_f64.ln() / 0.1);
        assert!((short.count(Nanos::from_millis(100)) - expected).abs() < 1e-9);
        let none = ramp(5.0, 100, RampShape::Exponential);
        assert_eq!(passes(&none, &[0.0, 1.0, 2.0]), [Some(0), Some(200), Some(400)]);
    }

    #[test]
    fn nothing_grows_to_infinity_and_no_time_is_no_ramp() {
        for shape in [RampShape::Linear, RampShape::Exponential] {
            assert_eq!(passes(&ramp(f64::INFINITY, 1_000, shape), &[0.0, 1e9]), [Some(0), Some(0)]);
            assert_eq!(passes(&ramp(10.0, 0, shape), &[0.0, 1.0]), [Some(0), Some(100)]);
        }
    }

    #[test]
    fn lines_lead_from_point_to_point_and_the_last_rate_stays() {
        // 0 to 10/s in 2 s brings 10, 10/s for 1 s brings 10, a step down to 5/s.
        let curve = points(&[(0, 0.0), (2_000, 10.0), (3_000, 10.0), (3_000, 5.0)]);
        let expected = [Some(0), Some(1_000), Some(2_000), Some(2_500), Some(3_000), Some(3_200), Some(5_000)];
        assert_eq!(passes(&curve, &[0.0, 2.5, 10.0, 15.0, 20.0, 21.0, 30.0]), expected);
        // Down to nothing: 10 to 0 in 2 s brings 10, of which the last 2.5 need the second half.
        let falling = points(&[(0, 10.0), (2_000, 0.0)]);
        assert_eq!(passes(&falling, &[0.0, 7.5, 9.9999, 10.0, 11.0])[..2], [Some(0), Some(1_000)]);
        assert_eq!(passes(&falling, &[10.0, 11.0]), [None, None]);
    }

    #[test]
    fn where_the_rate_is_nothing_nothing_is_due() {
        let late = points(&[(0, 0.0), (1_000, 0.0), (1_000, 10.0)]);
        assert_eq!(passes(&late, &[0.0, 1.0]), [Some(1_000), Some(1_100)]);
        let gap = points(&[(0, 10.0), (1_000, 10.0), (1_000, 0.0), (4_000, 0.0), (4_000, 10.0)]);
        assert_eq!(passes(&gap, &[9.0, 10.0, 11.0]), [Some(900), Some(4_000), Some(4_100)]);
        assert_eq!(passes(&points(&[(0, 0.0)]), &[0.0]), [None]);
        assert_eq!(passes(&points(&[]), &[0.0]), [None]);
    }

    proptest! {
        #[test]
        fn times_never_go_back_and_bring_what_was_asked(
            lines in prop::collection::vec((0_i64..5_000, 0.0_f64..500.0), 1..6),
            counts in prop::collection::vec(0.0_f64..2_000.0, 1..50),
        ) {
            let (mut at, mut counts) = (0, counts);
            let lines: Vec<(i64, f64)> = lines.iter().enumerate().map(|(number, (gap, rate))| {
                at += if number == 0 { 0 } else { *gap };
                (at, *rate)
            }).collect();
            counts.sort_by(f64::total_cmp);
            let curve = points(&lines);
            let (mut from, mut before) = (0, Nanos::ZERO);
            for count in counts {
                let Some(at) = curve.passes(count, &mut from) else { continue };
                prop_assert!(at + Nanos(1) >= before);
                before = before.max(at);
                // A nanosecond's rounding at up to 500 requests per second.
                prop_assert!((curve.count(at) - count).abs() < 1e-5, "{} at {at}, asked {count}", curve.count(at));
            }
        }
    }
}
