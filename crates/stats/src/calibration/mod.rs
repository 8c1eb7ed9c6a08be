//! Calibration: how accurate measurements on a machine are, found with loads whose true times are known. Each point of a grid is judged
//! by the difference between reported and true times. Whether the verdict of its run agrees is judged too.

pub mod truth;

use crate::distribution::{Distribution, Sampler};
use crate::fidelity::Grade;
use crate::metrics::Metric;
use crate::summary::Summary;
use crate::thresholds::{FAITHFUL_ERROR, SERVER_LATE_LEAST, SERVER_LATE_OF_GAP};
use serde::{Deserialize, Serialize};
use std::fmt;
use streamgauge_core::clock::Nanos;
use streamgauge_core::{Outcome, Phase, Record};
use truth::{Truth, TruthSampler};

/// The version of a calibration's serialized form; it grows when a field changes its meaning or goes away.
pub const SCHEMA: u32 = 1;

/// The maximum difference, in nanoseconds, between the times that two processes of one machine give the same instant. Each anchors its own clock.
const CLOCKS: i64 = 2_000_000;

/// The result of a calibration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// The value of [`SCHEMA`] when the calibration was made.
    pub schema: u32,
    /// The machine on which it was made.
    pub machine: Machine,
    /// When it was made, in UTC.
    pub taken: String,
    /// The maximum error of an accurate point, in ms.
    pub limit_ms: f64,
    /// The duration of the load at each point, in seconds.
    pub point_seconds: f64,
    /// The loads that were measured accurately.
    pub good: Good,
    /// All points, in the order of measurement.
    pub points: Vec<Point>,
}

impl Calibration {
    /// Makes the calibration from its points.
    pub fn of(machine: Machine, taken: String, point_seconds: f64, points: Vec<Point>) -> Calibration {
        let (limit_ms, good) = (FAITHFUL_ERROR.as_millis_f64(), Good::of(&points));
        Calibration { schema: SCHEMA, machine, taken, limit_ms, point_seconds, good, points }
    }
}

/// The properties of a machine that matter to measurements, including the version of this program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The model of the processor.
    pub cpu: String,
    /// The number of processors that the program may use.
    pub processors: u32,
    /// The name and release of the kernel.
    pub kernel: String,
    /// The version of this program.
    pub version: String,
}

/// The load of a point.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Offered {
    /// A closed loop.
    Streams {
        /// The number of concurrent streams.
        streams: u32,
        /// The time between the tokens of a stream, in ms.
        itl_ms: f64,
    },
    /// An open loop.
    Rate {
        /// Requests per second.
        per_second: f64,
    },
}

impl fmt::Display for Offered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Offered::Streams { streams: 1, itl_ms } => write!(f, "1 stream at {itl_ms} ms per token"),
            Offered::Streams { streams, itl_ms } => write!(f, "{streams} streams at {itl_ms} ms per token"),
            Offered::Rate { per_second } => write!(f, "{per_second} requests/s"),
        }
    }
}

/// The times with which the simulated server answers at a point, without jitter. When each event is due follows from them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// The time from a request's arrival to its first event.
    pub ttft: Nanos,
    /// The time between events.
    pub itl: Nanos,
}

/// A request as logged by the server. Instants are nanoseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub struct Served<'a> {
    /// When it arrived.
    pub received: i64,
    /// The instant before each write, and the output events that the write completed.
    pub writes: &'a [(i64, u32)],
    /// The total number of tokens in the events.
    pub output_tokens: u32,
}

/// A measured request as recorded by the client. Instants are nanoseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// When it was sent.
    pub sent: i64,
    /// When its last byte arrived.
    pub end: i64,
    /// The number of output events.
    pub events: u64,
}

impl Seen {
    /// Converts a record of a run whose clock has its zero at `anchor_wall`. Returns `None` for a request that is in no figure.
    pub fn of(record: &Record, anchor_wall: i64) -> Option<Seen> {
        let counts = record.phase == Phase::Profiling && record.outcome == Outcome::Ok;
        let sent = record.sent.filter(|_| counts)?;
        let wall = |at: Nanos| anchor_wall.saturating_add(at.0);
        Some(Seen { sent: wall(sent), end: wall(record.end), events: record.chunks.len() as u64 })
    }
}

/// A reported figure and its true value, in ms.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    /// The value that a profile reports.
    pub reported: f64,
    /// The true value.
    #[serde(rename = "true")]
    pub truth: f64,
    /// Reported minus true.
    pub error: f64,
}

impl Compared {
    fn at(percentile: u8, reported: &Distribution, truth: &Distribution) -> Compared {
        let (reported, truth) = (reported.percentile(percentile), truth.percentile(percentile));
        Compared { reported, truth, error: reported - truth }
    }
}

/// The figures that a point is judged by.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Errors {
    /// Time to first token, median.
    pub ttft_p50: Compared,
    /// Time to first token, p99.
    pub ttft_p99: Compared,
    /// Gaps between tokens, pooled, median.
    pub itl_p50: Compared,
    /// Gaps between tokens, pooled, p99.
    pub itl_p99: Compared,
}

impl Errors {
    /// Of what a profile reports against the truth; none where one of them has no such figure.
    pub fn of(summary: &Summary, truth: &Truth) -> Option<Errors> {
        let ttft = summary.distribution(Metric::TimeToFirstToken)?;
        let gaps = summary.distribution(Metric::InterChunkLatency)?;
        Some(Errors {
            ttft_p50: Compared::at(50, ttft, &truth.ttft),
            ttft_p99: Compared::at(99, ttft, &truth.ttft),
            itl_p50: Compared::at(50, gaps, &truth.gaps),
            itl_p99: Compared::at(99, gaps, &truth.gaps),
        })
    }

    /// The largest of them, without its sign.
    pub fn worst(&self) -> f64 {
        let all = [self.ttft_p50, self.ttft_p99, self.itl_p50, self.itl_p99];
        all.into_iter().map(|compared| compared.error.abs()).fold(0.0, f64::max)
    }
}

/// Rows of the fidelity block that doubt the load and not the times.
const OF_LOAD: [&str; 2] = ["turnaround", "send_lateness"];

/// Whether a run's fidelity block said what its errors say. Only rows that speak of times count: a doubt about the load that was
/// offered is no warning of an error in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Agreement {
    /// It did.
    Agrees,
    /// The errors are small, and a row doubts the times.
    FalseAlarm,
    /// The errors are small, and only rows about the offered load are not good.
    OfLoad,
    /// An error is over the limit, or requests are missing, and no row about the times says so.
    FalseGood,
}

/// The result for one load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// The load.
    pub offered: Offered,
    /// Whether the load was measured accurately: errors are within the limit, requests match one for one, and the verdict is good.
    pub faithful: bool,
    /// Whether the run's own verdict agrees.
    pub agreement: Agreement,
    /// The errors; absent if nothing could be compared.
    pub errors: Option<Errors>,
    /// How the records differ from the server's log, if they do not match one for one.
    pub unmatched: Option<String>,
    /// The verdict of the run.
    pub verdict: Grade,
    /// The rows of the fidelity block that were not good.
    pub caveats: Vec<String>,
    /// The number of requests in the figures.
    pub requests: u64,
    /// The number of output events of these requests.
    pub events: u64,
    /// Output tokens per second, as reported.
    pub tokens_per_second: Option<f64>,
    /// Median of the client's lag, in ms.
    pub client_lag_p50_ms: Option<f64>,
    /// p99 of the client's lag, in ms.
    pub client_lag_p99_ms: Option<f64>,
    /// Events in late shared reads, as a percentage of all.
    pub late_shared_reads_percent: Option<f64>,
    /// First tokens in late shared reads, as a percentage of all; absent if there were none.
    pub late_first_tokens_percent: Option<f64>,
    /// p99 of the lateness of sending in an open loop, in ms.
    pub send_lateness_p99_ms: Option<f64>,
    /// Processor share of the busiest load thread, as a percentage.
    pub load_thread_cpu_percent: Option<f64>,
    /// p99 of the lateness of the server's writes, in ms.
    pub server_late_p99_ms: Option<f64>,
    /// Whether that lateness changed the load. The true times are known all the same.
    pub server_late: bool,
}

impl Point {
    /// Judges a run by its summary, the client's records and the server's log.
    pub fn judge(offered: Offered, pace: Pace, summary: &Summary, seen: &[Seen], served: &[Served<'_>]) -> Point {
        let mut sampler = TruthSampler::default();
        served.iter().for_each(|served| sampler.add(served.received, served.writes, served.output_tokens));
        let errors = sampler.close().and_then(|truth| Errors::of(summary, &truth));
        let unmatched = one_for_one(seen, served).err();
        let verdict = summary.fidelity.verdict;
        let limit = FAITHFUL_ERROR.as_millis_f64();
        let true_enough = unmatched.is_none() && errors.is_some_and(|errors| errors.worst() <= limit);
        let doubts = summary.fidelity.rows.iter().filter(|row| row.grade > Grade::Good);
        let caveats: Vec<String> = doubts.map(|row| row.key.to_string()).collect();
        let doubted = caveats.iter().any(|key| !OF_LOAD.contains(&key.as_str()));
        let lag = |percentile| Some(summary.distribution(Metric::ClientLag)?.percentile(percentile));
        let row = |key: &str| summary.fidelity.rows.iter().find(|row| row.key == key)?.number;
        let server_late = server_lateness(pace, served);
        let late_limit = SERVER_LATE_LEAST.as_millis_f64().max(pace.itl.as_millis_f64() * SERVER_LATE_OF_GAP);
        Point {
            offered,
            faithful: true_enough && verdict == Grade::Good,
            agreement: match (true_enough, doubted) {
                (true, true) => Agreement::FalseAlarm,
                (false, false) => Agreement::FalseGood,
                (true, false) if verdict > Grade::Good => Agreement::OfLoad,
                _ => Agreement::Agrees,
            },
            errors,
            unmatched,
            verdict,
            caveats,
            requests: summary.counts.ok,
            events: seen.iter().map(|seen| seen.events).sum(),
            tokens_per_second: summary.scalar(Metric::OutputTokenThroughput),
            client_lag_p50_ms: lag(50),
            client_lag_p99_ms: lag(99),
            late_shared_reads_percent: row("shared_reads"),
            late_first_tokens_percent: row("late_first_tokens"),
            send_lateness_p99_ms: summary.distribution(Metric::SendLateness).map(|lateness| lateness.percentile(99)),
            load_thread_cpu_percent: row("load_thread_cpu"),
            server_late_p99_ms: server_late,
            server_late: server_late.is_some_and(|late| late > late_limit),
        }
    }
}

/// p99 of how much later than due the server wrote its events, in ms.
fn server_lateness(pace: Pace, served: &[Served<'_>]) -> Option<f64> {
    // Pooled over requests, as gaps are.
    let mut late = Sampler::of(Metric::InterChunkLatency);
    for request in served {
        let mut due = Nanos(request.received) + pace.ttft;
        for &(at, events) in request.writes {
            for _ in 0..events {
                late.add_nanos(Nanos(at) - due);
                due += pace.itl;
            }
        }
    }
    Some(late.close()?.percentile(99))
}

/// Checks that the client's requests and those of the server's log can match one for one. The two share no identifier,
/// so they are compared in sorted order: the numbers are equal, the k-th sending precedes the k-th arrival, the k-th last
/// write precedes the k-th end at the client, and the numbers of events are the same.
fn one_for_one(seen: &[Seen], served: &[Served<'_>]) -> Result<(), String> {
    if seen.len() != served.len() {
        return Err(format!(
            "the client has {} complete answers, but the server's log has {} requests",
            seen.len(),
            served.len()
        ));
    }
    let sorted = |values: &mut dyn Iterator<Item = i64>| {
        let mut values: Vec<i64> = values.collect();
        values.sort_unstable();
        values
    };
    let ordered = |first: Vec<i64>, then: Vec<i64>| {
        let late = |(first, then): &(i64, i64)| *first > then.saturating_add(CLOCKS);
        first.into_iter().zip(then).filter(late).count()
    };
    let early = ordered(
        sorted(&mut seen.iter().map(|seen| seen.sent)),
        sorted(&mut served.iter().map(|served| served.received)),
    );
    if early > 0 {
        return Err(format!("{early} requests reached the server before the client sent them"));
    }
    let early = ordered(
        sorted(&mut served.iter().map(|served| served.writes.last().map_or(i64::MAX, |&(at, _)| at))),
        sorted(&mut seen.iter().map(|seen| seen.end)),
    );
    if early > 0 {
        return Err(format!("{early} answers ended at the client before the server had written them"));
    }
    let written = |served: &Served<'_>| served.writes.iter().map(|&(_, events)| i64::from(events)).sum();
    let differ = sorted(&mut seen.iter().map(|seen| i64::try_from(seen.events).unwrap_or(i64::MAX)))
        .into_iter()
        .zip(sorted(&mut served.iter().map(written)))
        .filter(|(seen, written)| seen != written)
        .count();
    if differ > 0 {
        Err(format!("{differ} answers have a different number of events than the server wrote"))
    } else {
        Ok(())
    }
}

/// The loads that were measured accurately.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Good {
    /// The closed loops, by time between tokens, slowest first.
    pub streams: Vec<GoodStreams>,
    /// The open loops; absent if none was tried.
    pub rate: Option<GoodRate>,
}

/// The maximum number of streams with one time between tokens.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct GoodStreams {
    /// The time between tokens, in ms.
    pub itl_ms: f64,
    /// The number of streams up to which every point was accurate; absent if the smallest was not.
    pub streams: Option<u32>,
    /// The output tokens per second at that number.
    pub tokens_per_second: Option<f64>,
    /// The smallest number of streams that was not measured accurately; absent if all were.
    pub beyond: Option<u32>,
}

/// The maximum request rate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct GoodRate {
    /// The rate up to which every point was accurate, in requests per second; absent if the lowest was not.
    pub per_second: Option<f64>,
    /// The lowest rate that was not measured accurately; absent if all were.
    pub beyond: Option<f64>,
}

impl Good {
    /// Finds the loads, from points in any order. A point counts only if all smaller ones of its kind are accurate too: an accurate point
    /// above an inaccurate one is luck.
    pub fn of(points: &[Point]) -> Good {
        let mut streams: Vec<(f64, u32, &Point)> = Vec::new();
        let mut rates: Vec<(f64, &Point)> = Vec::new();
        for point in points {
            match point.offered {
                Offered::Streams { streams: count, itl_ms } => streams.push((itl_ms, count, point)),
                Offered::Rate { per_second } => rates.push((per_second, point)),
            }
        }
        streams.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        rates.sort_by(|a, b| a.0.total_cmp(&b.0));
        let streams = streams.chunk_by(|a, b| a.0 == b.0).map(|group| {
            let last = group.iter().take_while(|(_, _, point)| point.faithful).last();
            GoodStreams {
                // `chunk_by` yields no empty chunks.
                itl_ms: group[0].0,
                streams: last.map(|&(_, count, _)| count),
                tokens_per_second: last.and_then(|(_, _, point)| point.tokens_per_second),
                beyond: group.iter().find(|(_, _, point)| !point.faithful).map(|&(_, count, _)| count),
            }
        });
        let rate = (!rates.is_empty()).then(|| GoodRate {
            per_second: rates.iter().take_while(|(_, point)| point.faithful).last().map(|&(rate, _)| rate),
            beyond: rates.iter().find(|(_, point)| !point.faithful).map(|&(rate, _)| rate),
        });
        Good { streams: streams.collect(), rate }
    }

    /// The maximum number of streams at the slowest pace that was tried, which is the most favourable case.
    pub fn slowest(&self) -> Option<&GoodStreams> {
        self.streams.first()
    }
}
