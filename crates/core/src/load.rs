//! How load is offered: a closed loop, a closed loop that grows, an open loop, or users who each send at a fixed rate. These are values;
//! the times that follow from them are in [`crate::schedule`].

mod labels;

use crate::arrival::{Arrival, Rate};
use crate::clock::Nanos;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

pub use labels::Level;

/// How load is offered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Load {
    /// A closed loop: a fixed number of requests in flight, each followed by the next as soon as it has ended.
    Concurrency(Places),
    /// A number of requests in flight that grows as requests are answered; each request is sent once.
    Growing(Growth),
    /// An open loop: each request is due at a time that no answer moves.
    Open {
        /// When requests are due.
        arrivals: Arrivals,
        /// The maximum number of requests in flight. A request that is due while there are that many waits, and the wait is part of its
        /// time from due.
        cap: Option<Places>,
    },
    /// Users who each send requests at fixed times of their own, with equal gaps, and never two at the same time: a request that is due
    /// before the user's previous one is answered is sent after that answer, and the delay is part of its time from due.
    Users {
        /// The number of users.
        users: u32,
        /// Requests per second of all users together: each user's are `users / rate` apart.
        rate: Rate,
    },
}

/// A number of places for requests, and how it is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Places {
    /// The greatest number of requests at once, at least 1.
    pub most: u32,
    /// How the number grows from one to the greatest. `None` opens all places at the start.
    pub ramp: Option<Ramp>,
}

impl Places {
    /// This many places, all open from the start.
    pub fn all(most: u32) -> Places {
        Places { most, ramp: None }
    }

    /// When place number `place` of them, from 0, opens after the phase's start: the first at once. Linear: after place/most of
    /// the ramp's time. Exponential: there are most^(t/time) places at t, so it is after ln(place + 1)/ln(most) of that time.
    pub fn opens(self, place: u32) -> Nanos {
        let Some(Ramp { time, shape }) = self.ramp else { return Nanos::ZERO };
        let share = match shape {
            _ if place == 0 || self.most <= 1 => 0.0,
            RampShape::Linear => f64::from(place) / f64::from(self.most),
            RampShape::Exponential => (f64::from(place) + 1.0).ln() / f64::from(self.most).ln(),
        };
        Nanos((time.0 as f64 * share).round() as i64)
    }
}

/// Requests that are each sent once, in batches: the next batch is sent when every request of the latest one has had enough responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Growth {
    /// Requests of the first batch, at least 1.
    pub start: u32,
    /// Requests of all batches together, at least `start`.
    pub end: u32,
    /// Requests of each later batch, at least 1; the last is smaller where they do not come out even.
    pub step: u32,
    /// The number of responses with outputs that a request must have had, at least 1. A request that ends with fewer counts as if it had
    /// had them.
    pub responses: u32,
}

impl Growth {
    /// The batch that place number `place`, from 0, belongs to; the first is number 0.
    pub fn batch(self, place: u32) -> u32 {
        place.checked_sub(self.start).map_or(0, |after| after / self.step.max(1) + 1)
    }

    /// How many requests must have had their responses before place number `place`, from 0, opens: all of the batches before its
    /// own. Those of the latest batch are enough, since it was not sent before the others had theirs.
    pub fn opens_after(self, place: u32) -> u32 {
        place.checked_sub(self.start).map_or(0, |after| place - after % self.step.max(1))
    }
}

/// A growth over the first part of a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ramp {
    /// The time that the growth takes.
    pub time: Nanos,
    /// The shape of the growth.
    pub shape: RampShape,
}

/// The shape of a growth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RampShape {
    /// Equal factors in equal times.
    Exponential,
    /// Equal steps in equal times.
    Linear,
}

/// When the requests of an open loop are due.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arrivals {
    /// After the gaps that a file lists, which begin again when they are used up.
    Intervals {
        /// The file.
        file: PathBuf,
        /// The gaps in it, at least one. Plans of older versions do not hold them.
        #[serde(default, with = "crate::times::spans")]
        gaps: Arc<[Nanos]>,
    },
    /// At one rate.
    Rate {
        /// Requests per second.
        rate: Rate,
        /// How the gaps between requests are distributed.
        arrival: Arrival,
        /// How the rate is reached. `None` starts at the full rate. With a ramp the rate is finite.
        ramp: Option<Ramp>,
    },
    /// At a rate that changes: straight lines between points, and the last point's rate after it.
    Series {
        /// The points, at least one, in the order of their times; the first is at 0.
        points: Vec<RatePoint>,
        /// How the gaps between requests are distributed.
        arrival: Arrival,
    },
    /// At the times that a trace lists, each once.
    Trace {
        /// The file.
        file: PathBuf,
        /// The factor by which its times were shortened.
        speedup: f64,
        /// The times after that, in order, from the phase's start. Plans of older versions do not hold them.
        #[serde(default, with = "crate::times::moments")]
        dues: Arc<[Nanos]>,
    },
}

/// A point of a rate that changes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RatePoint {
    /// The time since the start of the phase.
    pub at: Nanos,
    /// Requests per second: finite, 0 or more.
    pub per_second: f64,
}

/// Connections that an open loop opens ahead of load at most. What they save is the handshake of the first requests;
/// beyond them, each is opened when all others are busy.
const AHEAD: f64 = 64.0;

impl Load {
    /// A closed loop with `most` requests in flight from the start.
    pub fn concurrency(most: u32) -> Load {
        Load::Concurrency(Places::all(most))
    }

    /// An open loop at one rate from the start, without a bound on requests in flight.
    pub fn rate(rate: Rate, arrival: Arrival) -> Load {
        Load::Open { arrivals: Arrivals::steady(rate, arrival), cap: None }
    }

    /// The greatest number of requests in flight at once, where there is a bound.
    pub fn most(&self) -> Option<u32> {
        match self {
            Load::Concurrency(places) | Load::Open { cap: Some(places), .. } => Some(places.most),
            Load::Growing(growth) => Some(growth.end),
            Load::Users { users, .. } => Some(*users),
            Load::Open { cap: None, .. } => None,
        }
    }

    /// Connections opened ahead of load. Of an open loop: as many as may be in flight, or else as requests of one second
    /// would be, up to 64.
    pub fn slots(&self) -> u32 {
        // Between 1 and 64.
        self.most().unwrap_or_else(|| self.peak_rate().ceil().clamp(1.0, AHEAD) as u32)
    }

    /// Requests per second at the highest, where a schedule says it; of a closed loop nothing, and infinite where all are due
    /// at once. Of intervals and traces it is the mean.
    pub fn peak_rate(&self) -> f64 {
        match self {
            Load::Concurrency(_) | Load::Growing(_) => 0.0,
            Load::Users { rate, .. } => rate.per_second(),
            Load::Open { arrivals, .. } => arrivals.peak_rate(),
        }
    }
}

impl Arrivals {
    /// At one rate from the start.
    pub fn steady(rate: Rate, arrival: Arrival) -> Arrivals {
        Arrivals::Rate { rate, arrival, ramp: None }
    }

    /// Requests per second at the highest; of intervals and traces the mean.
    pub fn peak_rate(&self) -> f64 {
        match self {
            Arrivals::Rate { rate, .. } => rate.per_second(),
            Arrivals::Series { points, .. } => points.iter().map(|point| point.per_second).fold(0.0, f64::max),
            Arrivals::Intervals { gaps, .. } => {
                mean_rate(gaps.len(), gaps.iter().fold(Nanos::ZERO, |sum, gap| sum + *gap))
            }
            Arrivals::Trace { dues, .. } => mean_rate(dues.len(), dues.last().copied().unwrap_or_default()),
        }
    }

    /// How many requests there are, where that is bounded.
    pub fn count(&self) -> Option<u64> {
        match self {
            Arrivals::Trace { dues, .. } => Some(dues.len() as u64),
            Arrivals::Intervals { .. } | Arrivals::Rate { .. } | Arrivals::Series { .. } => None,
        }
    }
}

fn mean_rate(requests: usize, time: Nanos) -> f64 {
    if time > Nanos::ZERO { requests as f64 / time.as_secs_f64() } else { f64::INFINITY }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Load::Concurrency(places) => write!(f, "concurrency {places}"),
            Load::Growing(growth) => write!(f, "{growth}"),
            Load::Users { users, rate } => write!(f, "{users} users with {rate} requests/s together"),
            Load::Open { arrivals, cap } => {
                write!(f, "{arrivals}")?;
                cap.map_or(Ok(()), |cap| write!(f, ", at most {cap} at once"))
            }
        }
    }
}

impl fmt::Display for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.most)?;
        self.ramp.map_or(Ok(()), |ramp| write!(f, " ({ramp})"))
    }
}

impl fmt::Display for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Growth { start, end, step, responses } = self;
        write!(f, "{start} requests at once, {step} more whenever each has had {responses} responses, {end} in all")
    }
}

impl fmt::Display for Ramp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shape = match self.shape {
            RampShape::Exponential => "exponential",
            RampShape::Linear => "linear",
        };
        write!(f, "reached in {} s, {shape}", self.time.as_secs_f64())
    }
}

impl fmt::Display for Arrivals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Arrivals::Rate { rate, arrival, ramp } => {
                write!(f, "{rate} requests/s ({arrival})")?;
                ramp.map_or(Ok(()), |ramp| write!(f, " ({ramp})"))
            }
            Arrivals::Series { points, arrival } => {
                let points: Vec<String> =
                    points.iter().map(|point| format!("{}:{}", point.at.as_secs_f64(), point.per_second)).collect();
                write!(f, "requests/s {} ({arrival})", points.join(","))
            }
            Arrivals::Intervals { file, .. } => write!(f, "the intervals of {}", file.display()),
            Arrivals::Trace { file, speedup, .. } => {
                write!(f, "the times of {}", file.display())?;
                if *speedup == 1.0 { Ok(()) } else { write!(f, ", {speedup} times as fast") }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_loop_opens_a_second_of_connections_ahead() {
        let load = |rate, cap: Option<u32>| Load::Open {
            arrivals: Arrivals::steady(Rate::try_new(rate).unwrap(), Arrival::Poisson),
            cap: cap.map(Places::all),
        };
        let slots = |rate, cap| load(rate, cap).slots();
        assert_eq!([slots(0.1, None), slots(9.5, None), slots(1e4, None), slots(f64::INFINITY, None)], [1, 10, 64, 64]);
        assert_eq!([slots(0.1, Some(8)), slots(1e4, Some(500))], [8, 500]);
        assert_eq!(load(10.0, Some(8)).to_string(), "10.0 requests/s (poisson), at most 8 at once");
        let json = serde_json::to_string(&load(2.0, None)).unwrap();
        assert_eq!(json, r#"{"open":{"arrivals":{"rate":{"rate":2.0,"arrival":"poisson","ramp":null}},"cap":null}}"#);
    }

    #[test]
    fn places_open_one_by_one() {
        let opens = |most, shape| {
            let ramp = Some(Ramp { time: Nanos::from_millis(1_200), shape });
            (0..most).map(|place| Places { most, ramp }.opens(place).0 / 1_000_000).collect::<Vec<_>>()
        };
        assert_eq!(opens(4, RampShape::Linear), [0, 300, 600, 900]);
        // 8^(t/T) places: 1, 2, 4, 8 of them after equal times.
        let exponential = opens(8, RampShape::Exponential);
        assert_eq!([exponential[0], exponential[1], exponential[3], exponential[7]], [0, 400, 800, 1_200]);
        assert!(exponential.is_sorted());
        for shape in [RampShape::Linear, RampShape::Exponential] {
            assert_eq!(opens(1, shape), [0]);
        }
        assert_eq!(Places::all(3).opens(2), Nanos::ZERO);
    }

    #[test]
    fn a_batch_opens_when_all_before_it_have_had_their_responses() {
        let growth = |start, end, step| Growth { start, end, step, responses: 3 };
        let opens = |growth: Growth| (0..growth.end).map(|place| growth.opens_after(place)).collect::<Vec<_>>();
        let batches = |growth: Growth| (0..growth.end).map(|place| growth.batch(place)).collect::<Vec<_>>();
        assert_eq!(opens(growth(2, 6, 2)), [0, 0, 2, 2, 4, 4]);
        assert_eq!(batches(growth(2, 6, 2)), [0, 0, 1, 1, 2, 2]);
        assert_eq!(opens(growth(1, 8, 3)), [0, 1, 1, 1, 4, 4, 4, 7]);
        assert_eq!(opens(growth(3, 3, 1)), [0, 0, 0]);
        // A plan from a file must not cause a division by zero.
        assert_eq!((opens(growth(1, 3, 0)), batches(growth(1, 3, 0))), (vec![0, 1, 2], vec![0, 1, 2]));
        let load = Load::Growing(growth(2, 6, 2));
        assert_eq!((load.most(), load.slots(), load.peak_rate()), (Some(6), 6, 0.0));
        assert_eq!(load.to_string(), "2 requests at once, 2 more whenever each has had 3 responses, 6 in all");
        let json = serde_json::to_string(&load).unwrap();
        assert_eq!(json, r#"{"growing":{"start":2,"end":6,"step":2,"responses":3}}"#);
        assert_eq!(serde_json::from_str::<Load>(&json).unwrap(), load);
    }

    #[test]
    fn loads_say_what_they_are() {
        let ramp = Some(Ramp { time: Nanos::from_millis(1_500), shape: RampShape::Exponential });
        let load = Load::Concurrency(Places { most: 64, ramp });
        assert_eq!(load.to_string(), "concurrency 64 (reached in 1.5 s, exponential)");
        let point = |at, per_second| RatePoint { at: Nanos::from_millis(at), per_second };
        let series = Arrivals::Series { points: vec![point(0, 1.0), point(2_500, 10.0)], arrival: Arrival::Constant };
        assert_eq!(series.to_string(), "requests/s 0:1,2.5:10 (constant)");
        assert_eq!(series.peak_rate(), 10.0);
        let trace = Arrivals::Trace {
            file: "t.jsonl".into(),
            speedup: 2.0,
            dues: [0, 500, 1_000].map(Nanos::from_millis).into(),
        };
        assert_eq!((trace.to_string().as_str(), trace.peak_rate()), ("the times of t.jsonl, 2 times as fast", 3.0));
    }
}
