//! The client's figures of one level of load: a fold over records.

use super::latencies::Latencies;
use crate::answer::ended;
use crate::scope::Span;
use std::collections::BTreeMap;
use streamgauge_core::record::ThreadFacts;
use streamgauge_core::{Nanos, Phase, Record};

/// A request that was sent this much after it was due counts as delayed.
pub const LATE_SEND: Nanos = Nanos::from_millis(1);

/// The settings, besides the records, on which the figures of a level depend.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FoldPlan {
    /// A further percentile, from 1 to 99, in addition to those that are always shown.
    pub percentile: Option<u8>,
    /// The number of inferences per request, at least 1.
    pub batch: u32,
    /// Whether the model may answer a request with any number of responses. The parts of a request's time are then not reported.
    pub decoupled: bool,
    /// The time span of the figures, which cover the requests that ended in it. `None` covers all requests, over the time from the first
    /// `sent` to the last end.
    pub span: Option<Span>,
}

/// The client's figures of a level.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClientFigures {
    /// The number of successful requests.
    pub requests: u64,
    /// The number of responses with outputs to those requests.
    pub responses: u64,
    /// The number of requests that were sent more than [`LATE_SEND`] after they were due.
    pub delayed: u64,
    /// Delayed requests as a percentage of all.
    pub delayed_percent: f64,
    /// The number of sequences whose last request is among the requests.
    pub sequences: u64,
    /// The time span that the figures cover.
    pub seconds: f64,
    /// Inferences per second: requests times batch size over time.
    pub throughput: f64,
    /// Responses per second.
    pub response_throughput: f64,
    /// Sequences per second.
    pub sequence_throughput: f64,
    /// Mean latency in nanoseconds, from `sent` to the last response with outputs.
    pub latency_ns: u64,
    /// The sample standard deviation of the latency; `None` for a single request.
    pub latency_std_us: Option<u64>,
    /// Percentiles of the latency in microseconds.
    pub percentiles_us: BTreeMap<u8, u64>,
    /// Mean time of a request in nanoseconds, from `sent` to its last byte; 0 for decoupled models.
    pub request_ns: u64,
    /// The part of that time until the kernel had accepted the whole request.
    pub send_ns: u64,
    /// The part of that time from the first byte of the answer to the last.
    pub receive_ns: u64,
    /// The mean share of the load threads' time that was the client's own work, in percent.
    pub overhead_percent: f64,
    /// Requests sent per second.
    pub send_rate: f64,
}

impl ClientFigures {
    /// Mean latency in microseconds.
    pub fn latency_us(&self) -> u64 {
        self.latency_ns / 1000
    }

    /// Mean time of a request in microseconds.
    pub fn request_us(&self) -> u64 {
        self.request_ns / 1000
    }

    /// Mean time of sending in microseconds.
    pub fn send_us(&self) -> u64 {
        self.send_ns / 1000
    }

    /// Mean time of receiving in microseconds.
    pub fn receive_us(&self) -> u64 {
        self.receive_ns / 1000
    }

    /// The remaining time of a request, in microseconds, which it waited for the answer.
    pub fn wait_us(&self) -> u64 {
        self.request_us().saturating_sub(self.send_us()).saturating_sub(self.receive_us())
    }

    /// The latency by which a level is judged, in microseconds: that percentile, or the mean. Returns `None` if these figures do not contain
    /// the percentile.
    pub fn stabilizing_us(&self, percentile: Option<u8>) -> Option<u64> {
        percentile.map_or(Some(self.latency_us()), |p| self.percentiles_us.get(&p).copied())
    }
}

/// Collects the records of a level. Its memory is bounded like that of a metric.
#[derive(Clone, Debug)]
pub struct LevelFold {
    plan: FoldPlan,
    latencies: Latencies,
    responses: u64,
    delayed: u64,
    sequences: u64,
    sent: u64,
    first_sent: Option<Nanos>,
    last_end: Nanos,
    times: Times,
}

/// Sums over the requests with all stamps.
#[derive(Clone, Copy, Debug, Default)]
struct Times {
    count: i128,
    request: i128,
    send: i128,
    receive: i128,
}

impl LevelFold {
    /// Returns an empty fold.
    pub fn new(plan: FoldPlan) -> LevelFold {
        LevelFold {
            plan,
            latencies: Latencies::default(),
            responses: 0,
            delayed: 0,
            sequences: 0,
            sent: 0,
            first_sent: None,
            last_end: Nanos(i64::MIN),
            times: Times::default(),
        }
    }

    /// Adds a record. Warm-up requests are ignored, and only successful requests have a latency.
    pub fn add(&mut self, record: &Record) {
        let (Phase::Profiling, Some(sent)) = (record.phase, record.sent) else { return };
        let within = |at| self.plan.span.is_none_or(|span| span.contains(at));
        self.sent += u64::from(within(sent));
        self.first_sent = Some(self.first_sent.map_or(sent, |first| first.min(sent)));
        let end = ended(record);
        if !(record.is_ok() && !record.chunks.is_empty() || record.is_empty_reply()) || !within(end) {
            return;
        }
        self.latencies.add(end - sent);
        self.responses += record.chunks.len() as u64;
        self.delayed += u64::from(record.due.is_some_and(|due| sent - due > LATE_SEND));
        self.sequences += u64::from(record.sequence.is_some_and(|sequence| sequence.end));
        self.last_end = self.last_end.max(end);
        self.times.add(record, sent);
    }

    /// Computes the figures, with the processor use of the load threads in the measured phase. Returns `None` without a successful request.
    pub fn close(mut self, threads: &[ThreadFacts]) -> Option<ClientFigures> {
        let requests = self.latencies.count();
        let first = self.first_sent.filter(|_| requests > 0)?;
        let span = self.plan.span.unwrap_or(Span { from: first, to: self.last_end });
        let seconds = span.length().max(Nanos(1)).as_secs_f64();
        let times = if self.plan.decoupled { Times::default() } else { self.times };
        let [request_ns, send_ns, receive_ns] = times.means();
        Some(ClientFigures {
            requests,
            responses: self.responses,
            delayed: self.delayed,
            delayed_percent: self.delayed as f64 / requests as f64 * 100.0,
            sequences: self.sequences,
            seconds,
            throughput: requests as f64 * f64::from(self.plan.batch.max(1)) / seconds,
            response_throughput: self.responses as f64 / seconds,
            sequence_throughput: self.sequences as f64 / seconds,
            latency_ns: self.latencies.mean_ns(),
            latency_std_us: self.latencies.std_us(),
            percentiles_us: self.latencies.percentiles_us(self.plan.percentile),
            request_ns,
            send_ns,
            receive_ns,
            overhead_percent: overhead_percent(threads),
            send_rate: self.sent as f64 / seconds,
        })
    }
}

impl Times {
    fn add(&mut self, record: &Record, sent: Nanos) {
        let Some(first) = record.first_byte else { return };
        let span = |from: Nanos, to: Nanos| i128::from((to - from).max(Nanos::ZERO).0);
        self.count += 1;
        self.request += span(sent, record.end);
        // A client that lost its processor during the write learns late that the write had ended; the answer proves that it had.
        self.send += record.written.map_or(0, |written| span(sent, written.min(first)));
        self.receive += span(first, record.end);
    }

    /// The mean times of the request, of sending and of receiving, in nanoseconds, truncated.
    fn means(self) -> [u64; 3] {
        [self.request, self.send, self.receive]
            .map(|sum| u64::try_from(sum.checked_div(self.count).unwrap_or(0)).unwrap_or(u64::MAX))
    }
}

fn overhead_percent(threads: &[ThreadFacts]) -> f64 {
    let shares = threads.iter().filter(|thread| thread.wall > Nanos::ZERO);
    let (count, sum) =
        shares.fold((0.0, 0.0), |(count, sum), thread| (count + 1.0, sum + thread.cpu.0 as f64 / thread.wall.0 as f64));
    if count > 0.0 { sum / count * 100.0 } else { 0.0 }
}
