//! The timeline of a run: its figures in each interval of time, in bounded memory.
//!
//! Intervals have equal lengths, at first a fifteenth of a second (2^26 ns). When a run has more than [`MOST_INTERVALS`] of them,
//! pairs of neighbours are merged and the length doubles, so that the timeline of any run has the same bound.

use crate::answer::{Answer, ended, lateness};
use crate::throughput::{Bins, Tally};
use crate::time_bins::TimeBins;
use serde::{Deserialize, Serialize};
use std::ops::AddAssign;
use streamgauge_core::{Nanos, Record};

/// The maximum number of intervals of a timeline.
pub const MOST_INTERVALS: usize = 1 << 9;

/// The shortest intervals are 2^26 ns long, 67 ms.
const FINEST: u32 = 26;

/// The figures of a run, interval by interval.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Timeline {
    /// The length of an interval.
    pub interval: Nanos,
    /// The intervals, from the first with an event to the last.
    pub intervals: Vec<TimelineInterval>,
}

/// The figures of one interval. They cover the requests that the summary counts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TimelineInterval {
    /// The beginning of the interval on the run's clock.
    pub from: Nanos,
    /// Requests that were sent in it.
    pub sent: u64,
    /// Successful requests that ended in it.
    pub ok: u64,
    /// Failed requests that were given up in it.
    pub failed: u64,
    /// Output tokens that arrived in it. The tokens of a request are spread evenly over its output events.
    pub tokens: u64,
    /// Mean number of requests in flight (sent and not ended).
    pub concurrency: f64,
    /// Latencies, in milliseconds, of the successful requests that ended in it.
    pub request_latency: Option<MeanAndMax>,
    /// Times to first token, in milliseconds, of the successful requests that ended in it.
    pub time_to_first_token: Option<MeanAndMax>,
    /// How late, in milliseconds, requests that were due in it were sent.
    pub send_lateness: Option<MeanAndMax>,
}

/// The mean and the maximum of some values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MeanAndMax {
    /// The number of values.
    pub count: u64,
    /// The mean.
    pub mean: f64,
    /// The maximum.
    pub max: f64,
}

/// The sum of some times. It is an integer, so that it does not depend on the order.
#[derive(Clone, Copy, Debug, Default)]
struct Times {
    count: u64,
    sum: i128,
    max: Nanos,
}

impl Times {
    fn add(&mut self, time: Nanos) {
        *self += Times { count: 1, sum: i128::from(time.0), max: time };
    }

    fn close(self) -> Option<MeanAndMax> {
        let mean = |count: u64| self.sum as f64 / count as f64 / 1e6;
        (self.count > 0).then(|| MeanAndMax {
            count: self.count,
            mean: mean(self.count),
            max: self.max.as_millis_f64(),
        })
    }
}

impl AddAssign for Times {
    fn add_assign(&mut self, other: Times) {
        self.max = match self.count {
            0 => other.max,
            _ if other.count == 0 => self.max,
            _ => self.max.max(other.max),
        };
        self.count += other.count;
        self.sum += other.sum;
    }
}

/// The sums of one interval.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    /// The number of requests sent and ended, and the sums of those times.
    sent: Times,
    ended: Times,
    ok: u64,
    failed: u64,
    flow: Tally,
    request_latency: Times,
    time_to_first_token: Times,
    send_lateness: Times,
}

impl AddAssign for Sums {
    fn add_assign(&mut self, other: Sums) {
        let Sums { sent, ended, ok, failed, flow, request_latency, time_to_first_token, send_lateness } = other;
        self.sent += sent;
        self.ended += ended;
        self.ok += ok;
        self.failed += failed;
        self.flow += flow;
        self.request_latency += request_latency;
        self.time_to_first_token += time_to_first_token;
        self.send_lateness += send_lateness;
    }
}

/// Collects a timeline.
#[derive(Clone, Debug)]
pub(crate) struct TimelineSums(TimeBins<Sums, MOST_INTERVALS>);

impl TimelineSums {
    /// Returns an empty timeline.
    pub fn new() -> TimelineSums {
        TimelineSums(TimeBins::with_finest(FINEST))
    }

    /// Adds a measured request, however it ended.
    pub fn add(&mut self, record: &Record, answer: Option<&Answer<'_>>, failed: bool) {
        if let Some(lateness) = lateness(record) {
            self.0.bin(lateness.due).send_lateness.add(lateness.late);
        }
        let end = answer.map_or_else(|| ended(record), |answer| answer.last);
        if let Some(sent) = record.sent {
            self.0.bin(sent).sent.add(sent);
        }
        let sums = self.0.bin(end);
        if record.sent.is_some() {
            sums.ended.add(end);
        }
        sums.failed += u64::from(failed);
        if let Some(answer) = answer {
            sums.ok += 1;
            sums.request_latency.add(answer.last - answer.sent);
            if let Some(first) = answer.first.filter(|_| answer.streaming) {
                sums.time_to_first_token.add(first - answer.sent);
            }
        }
    }

    /// Adds the timeline of other requests of the same run.
    pub fn merge(&mut self, other: &TimelineSums) {
        self.0.merge(&other.0);
    }

    /// Computes the timeline; `bins` contain the tokens over time.
    pub fn close(mut self, bins: &Bins) -> Timeline {
        self.0.widen_to(bins.shift);
        for (at, flow) in bins.iter() {
            self.0.bin(at).flow += flow;
        }
        let interval = Nanos(1_i64.checked_shl(self.0.shift).filter(|&length| length > 0).unwrap_or(i64::MAX));
        // The requests in flight at the beginning of the interval.
        let mut open = 0_i128;
        let close = |(from, sums): (Nanos, Sums)| {
            let until = i128::from(from.0) + i128::from(interval.0);
            let of = |times: Times| i128::from(times.count) * until - times.sum;
            let busy = open * i128::from(interval.0) + of(sums.sent) - of(sums.ended);
            open += i128::from(sums.sent.count) - i128::from(sums.ended.count);
            TimelineInterval {
                from,
                sent: sums.sent.count,
                ok: sums.ok,
                failed: sums.failed,
                tokens: sums.flow.tokens,
                concurrency: busy as f64 / interval.0 as f64,
                request_latency: sums.request_latency.close(),
                time_to_first_token: sums.time_to_first_token.close(),
                send_lateness: sums.send_lateness.close(),
            }
        };
        let intervals = self.0.iter().map(close).collect();
        Timeline { interval, intervals }
    }
}
