//! Calibration: what a machine's measurements are worth, by loads whose true times are known. Each point of a grid is judged
//! by the difference between what was reported and what was true; the verdict of its run is judged with it.

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

/// How far apart two processes of one machine may put the same instant, each on a clock that it has anchored itself.
const CLOCKS: i64 = 2_000_000;

/// What a machine's measurements are worth.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// [`SCHEMA`] when it was made.
    pub schema: u32,
    /// Where it was made.
    pub machine: Machine,
    /// When, in UTC.
    pub taken: String,
    /// The largest error of a faithful point, in ms.
    pub limit_ms: f64,
    /// How long load was offered at each point, in seconds.
    pub point_seconds: f64,
    /// The loads that were measured faithfully.
    pub good: Good,
    /// Every point, in the order in which they were measured.
    pub points: Vec<Point>,
}

impl Calibration {
    /// Of these points.
    pub fn of(machine: Machine, taken: String, point_seconds: f64, points: Vec<Point>) -> Calibration {
        let (limit_ms, good) = (FAITHFUL_ERROR.as_millis_f64(), Good::of(&points));
        Calibration { schema: SCHEMA, machine, taken, limit_ms, point_seconds, good, points }
    }
}

/// What tells one machine from another, as far as measurements are concerned, the program itself included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Model of the processor.
    pub cpu: String,
    /// Processors that the program may use.
    pub processors: u32,
    /// System and release of its kernel.
    pub kernel: String,
    /// Version of this program.
    pub version: String,
}

/// The load of a point.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Offered {
    /// A closed loop.
    Streams {
        /// Streams at once.
        streams: u32,
        /// Time between the tokens of each, in ms.
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

/// How the simulated server was told to answer at a point, without jitter: when each event was due follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// From a request's arrival to its first event.
    pub ttft: Nanos,
    /// Between events.
    pub itl: Nanos,
}

/// A request by the server's account. Instants are nanoseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub struct Served<'a> {
    /// When it arrived.
    pub received: i64,
    /// The instant before each write, and the output events that the write completed.
    pub writes: &'a [(i64, u32)],
    /// Tokens that they held together.
    pub output_tokens: u32,
}

/// A measured request by the client's account. Instants are nanoseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// When it was sent.
    pub sent: i64,
    /// When its last byte came.
    pub end: i64,
    /// Output events.
    pub events: u64,
}

impl Seen {
    /// Of a record on a run's clock whose zero is `anchor_wall`; none of a request that is in no figure.
    pub fn of(record: &Record, anchor_wall: i64) -> Option<Seen> {
        let counts = record.phase == Phase::Profiling && record.outcome == Outcome::Ok;
        let sent = record.sent.filter(|_| counts)?;
        let wall = |at: Nanos| anchor_wall.saturating_add(at.0);
        Some(Seen { sent: wall(sent), end: wall(record.end), events: record.chunks.len() as u64 })
    }
}

/// A figure against the truth, in ms.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    /// What a profile reports.
    pub reported: f64,
    /// What was true.
    #[serde(rename = "true")]
    pub truth: f64,
    /// Reported less true.
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
    /// The errors are small, and the verdict is not good only for rows that doubt the load.
    OfLoad,
    /// An error is over the limit, or requests are missing, and no row doubts the times.
    FalseGood,
}

/// What was found at one load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// The load.
    pub offered: Offered,
    /// Whether it was measured faithfully: errors within the limit, every request accounted for, and the verdict good.
    pub faithful: bool,
    /// Whether the run's own verdict said so too.
    pub agreement: Agreement,
    /// The figures against the truth; absent where nothing could be compared.
    pub errors: Option<Errors>,
    /// How records and the server's log differ, where they are not one for one.
    pub unmatched: Option<String>,
    /// The verdict of the run.
    pub verdict: Grade,
    /// The rows of the fidelity block that were not good.
    pub caveats: Vec<String>,
    /// Requests in the figures.
    pub requests: u64,
    /// Output events of these.
    pub events: u64,
    /// Output tokens per second, as reported.
    pub tokens_per_second: Option<f64>,
    /// How much later than the kernel the client read, in ms: median.
    pub client_lag_p50_ms: Option<f64>,
    /// How much later than the kernel the client read, in ms: p99.
    pub client_lag_p99_ms: Option<f64>,
    /// Events in late shared reads, as a percentage of all.
    pub late_shared_reads_percent: Option<f64>,
    /// First tokens in late shared reads, as a percentage of all; absent where there were none.
    pub late_first_tokens_percent: Option<f64>,
    /// Lateness of sending of an open loop, in ms: p99.
    pub send_lateness_p99_ms: Option<f64>,
    /// Processor share of the busiest load thread, as a percentage.
    pub load_thread_cpu_percent: Option<f64>,
    /// How much later than it meant to the server wrote, in ms: p99.
    pub server_late_p99_ms: Option<f64>,
    /// Whether that is so much that the load was not the one that was asked for. The truth is the truth all the same.
    pub server_late: bool,
}

impl Point {
    /// Judges a run by its summary and by the two accounts of its requests.
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

/// How much later than due the server's events were written, in ms: p99.
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

/// Whether each of the client's requests can be one of the server's and the other way round. The accounts share no number,
/// so this holds them against each other in order: as many, the k-th sent before the k-th received, the k-th to be
/// written to its end before the k-th that has come whole, and the same numbers of events.
fn one_for_one(seen: &[Seen], served: &[Served<'_>]) -> Result<(), String> {
    if seen.len() != served.len() {
        return Err(format!("the client has {} whole answers, the server's log {} requests", seen.len(), served.len()));
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
        return Err(format!("{early} requests came to the server before the client sent them"));
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
        Err(format!("{differ} answers have another number of events than the server wrote"))
    } else {
        Ok(())
    }
}

/// The loads that were measured faithfully.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Good {
    /// By the time between tokens, the slowest first.
    pub streams: Vec<GoodStreams>,
    /// Of open loops; absent where none was tried.
    pub rate: Option<GoodRate>,
}

/// The most streams at one time between tokens.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct GoodStreams {
    /// Time between tokens, in ms.
    pub itl_ms: f64,
    /// Most streams up to which every point was faithful; absent where the smallest was not.
    pub streams: Option<u32>,
    /// Output tokens per second then.
    pub tokens_per_second: Option<f64>,
    /// The fewest streams that were not measured faithfully; absent where all were.
    pub beyond: Option<u32>,
}

/// The highest rate of requests.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct GoodRate {
    /// Highest rate up to which every point was faithful, in requests per second; absent where the lowest was not.
    pub per_second: Option<f64>,
    /// The lowest that was not measured faithfully; absent where all were.
    pub beyond: Option<f64>,
}

impl Good {
    /// Of these points, in any order. A point counts only with all smaller ones of its kind: one that comes out well beyond
    /// one that does not is luck.
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
                // A chunk has at least the element that it begins with.
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

    /// The most streams at the slowest pace that was tried: fewer tokens a second than that no load of so many has.
    pub fn slowest(&self) -> Option<&GoodStreams> {
        self.streams.first()
    }
}
