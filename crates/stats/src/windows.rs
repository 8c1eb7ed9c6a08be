//! The stability rule: a run is divided into windows and ends when they agree. It is Perf Analyzer's rule with windows of exactly the requested length.
//!
//! A request belongs to the window in which it ended, which for a successful request is at its last output event. Windows follow each
//! other without gaps from the start of the phase. A window of time is `[start + k t, start + (k + 1) t)`. A window of requests closes at the end of its
//! n-th request, successful or not, and includes all requests that ended at that moment. The throughput of a window is its successful
//! requests over its length. Its latency is the mean of their request latencies or a percentile by Perf Analyzer's nearest rank: of n
//! ascending values the one at `floor(p / 100 (n - 1) + 0.5)`, from 0. The last [`AGREE`] windows agree if no throughput is zero
//! and neither the highest throughput nor the highest latency exceeds the lowest by more than the rule's share.
//!
//! Records reach the fold unordered and slightly late, so a window is evaluated only after all its records must have
//! arrived ([`LATE`]).

use crate::answer::ended;
use crate::perf_analyzer::Latencies;
use crate::scope::Span;
use std::collections::BTreeMap;
use streamgauge_core::record::WindowFacts;
use streamgauge_core::stop::{StabilityRule, Window};
use streamgauge_core::{Nanos, Outcome, Phase, Record, Satisfied, WindowVerdict};

/// The number of windows that must agree, as in Perf Analyzer.
pub const AGREE: usize = 3;

/// How late after its end a record may arrive. Load threads pass on their records at least every 100 ms, and a busy thread may be late
/// by a few scheduling rounds. A record that arrives even later is still in the run's figures; only the decision to
/// end the run was made without it.
pub const LATE: Nanos = Nanos::from_millis(250);

/// Follows the windows of a run. It keeps the records of the last moments, the latencies of one window (bounded like those of a
/// metric), and a few numbers per window.
#[derive(Debug)]
pub struct Windows {
    rule: StabilityRule,
    /// The requests that ended in the recent past, for which records may still be missing, by end and sequence number, with the latency of successful ones.
    pending: BTreeMap<(Nanos, u64), Option<Nanos>>,
    /// The latest time at which load was known to continue.
    issued: Nanos,
    open: Option<Open>,
    closed: Vec<Pass>,
    over: bool,
    lenience: Lenience,
}

/// The window that is being filled.
#[derive(Debug)]
struct Open {
    from: Nanos,
    /// The end of the last request in the window.
    last: Nanos,
    ended: u64,
    latencies: Latencies,
}

/// A complete window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pass {
    /// The window's span.
    pub span: Span,
    /// Successful requests that ended in it.
    pub requests: u64,
    /// Those requests per second.
    pub throughput: f64,
    /// Their mean latency in microseconds, truncated, or 0 without requests.
    pub latency_us: u64,
    /// The sample standard deviation of the latency, in microseconds; `None` for fewer than two requests.
    pub latency_std_us: Option<u64>,
    /// The rule's percentile of the latency, if the rule has one, in microseconds; `None` without requests.
    pub percentile_us: Option<u64>,
    /// The latency that must agree, which is the mean or that percentile, in milliseconds, not truncated; `None` without requests.
    pub latency: Option<f64>,
}

impl Pass {
    /// Inferences per second, if each request is a batch of `batch` inferences.
    pub fn inferences(&self, batch: u32) -> f64 {
        self.throughput * f64::from(batch.max(1))
    }
}

/// Perf Analyzer's exceptions to the rule of a plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lenience {
    /// Whether agreement of the throughputs alone is enough after the last allowed window, which is that tool's rule for asynchronous calls.
    pub by_throughput: bool,
    /// No more windows are made once one of the last [`AGREE`] has at least this latency.
    pub latency_limit: Option<Nanos>,
}

impl Windows {
    /// Starts without records.
    pub fn new(rule: StabilityRule) -> Windows {
        let (pending, closed) = (BTreeMap::new(), Vec::new());
        let lenience = Lenience::default();
        Windows { rule, pending, issued: Nanos(i64::MIN), open: None, closed, over: false, lenience }
    }

    /// Adds Perf Analyzer's exceptions to the rule.
    pub fn with(self, lenience: Lenience) -> Windows {
        Windows { lenience, ..self }
    }

    /// The complete windows, in order.
    pub fn passes(&self) -> &[Pass] {
        &self.closed
    }

    /// Whether the last windows count as stable because of their throughputs alone, which deserves a warning.
    pub fn by_throughput(&self) -> bool {
        self.lenience.by_throughput && self.steady() && !self.stable()
    }

    /// Whether one of the last windows has at least the latency of the limit.
    pub fn over_limit(&self) -> bool {
        let over = |pass: &Pass, limit: Nanos| pass.latency.is_none_or(|latency| latency >= limit.as_millis_f64());
        let last = self.last();
        last.len() == AGREE
            && self.lenience.latency_limit.is_some_and(|limit| last.iter().any(|pass| over(pass, limit)))
    }

    /// Adds one record. Warm-up requests and requests that the end of the run cut off are in no window.
    pub fn add(&mut self, record: &Record) {
        if record.phase == Phase::Warmup {
            return;
        }
        self.issued = self.issued.max(record.issued);
        if self.over || record.outcome == Outcome::CutOff {
            return;
        }
        let end = ended(record);
        let latency = record
            .sent
            .filter(|_| record.is_ok() && !record.chunks.is_empty() || record.is_empty_reply())
            .map(|sent| end - sent);
        self.pending.insert((end, record.seq), latency);
    }

    /// Evaluates the windows that are complete by `until`, before which all ends are known, in a phase that began at `started`. Returns
    /// the reason for ending the run once, when the rule is met.
    pub fn look(&mut self, started: Nanos, until: Nanos) -> Option<Satisfied> {
        while !self.over && self.advance(started, until) {
            self.over = self.stable() || self.over_limit() || self.closed.len() >= self.most();
            if self.over {
                self.pending.clear();
                return Some(self.verdict());
            }
        }
        None
    }

    /// Returns the final state of the windows: the last windows, whether they agree or not. If the run ended for another reason, only windows
    /// that were complete while requests were still being issued are used, because after that
    /// the load is no longer that of the plan. Returns `None` if there was no complete window.
    pub fn close(mut self, started: Nanos) -> Option<WindowFacts> {
        let until = self.issued;
        self.look(started, until);
        if !self.over {
            self.closed.retain(|window| window.span.to <= until);
        }
        let last = self.last();
        let (first, end) = (last.first()?, last.last()?);
        let windows = u32::try_from(self.closed.len()).unwrap_or(u32::MAX);
        Some(WindowFacts { from: first.span.from, to: end.span.to, windows, stable: self.accepted() })
    }

    /// Advances until a window is complete. Returns false if none is by `until`.
    fn advance(&mut self, started: Nanos, until: Nanos) -> bool {
        let open = self.open.get_or_insert_with(|| Open::at(started));
        let to = match self.rule.window {
            // A window is at least one nanosecond long, whatever a plan from a file says.
            Window::Time(length) => open.from + length.max(Nanos(1)),
            Window::Requests(_) => Nanos(i64::MAX),
        };
        while let Some(entry) = self.pending.first_entry() {
            let &(end, _) = entry.key();
            let full = match self.rule.window {
                Window::Time(_) => false,
                Window::Requests(count) => open.ended >= count.max(1) && end > open.last,
            };
            if full || end >= to.min(until) {
                break;
            }
            let latency = entry.remove();
            open.take(end, latency);
        }
        let to = match self.rule.window {
            Window::Time(_) if to <= until => to,
            Window::Requests(count) if open.ended >= count.max(1) && open.last < until => open.last + Nanos(1),
            Window::Time(_) | Window::Requests(_) => return false,
        };
        let next = Open::at(to);
        self.closed.push(std::mem::replace(open, next).close(to, self.rule.percentile));
        true
    }

    /// The last windows: as many as must agree, or all if there are fewer.
    fn last(&self) -> &[Pass] {
        &self.closed[self.closed.len().saturating_sub(AGREE)..]
    }

    fn stable(&self) -> bool {
        let latencies: Option<Vec<f64>> = self.last().iter().map(|window| window.latency).collect();
        self.steady() && latencies.is_some_and(|latencies| self.near(latencies.into_iter()))
    }

    /// Whether the throughputs of the last windows agree.
    fn steady(&self) -> bool {
        let throughputs = self.last().iter().map(|window| window.throughput);
        self.last().len() == AGREE && self.near(throughputs.clone()) && throughputs.clone().all(|rate| rate > 0.0)
    }

    /// Whether the last windows are stable, or count as stable.
    fn accepted(&self) -> bool {
        self.stable() || self.by_throughput()
    }

    fn near(&self, values: impl Iterator<Item = f64> + Clone) -> bool {
        let (least, most) = (values.clone().fold(f64::INFINITY, f64::min), values.fold(f64::NEG_INFINITY, f64::max));
        most <= least * (1.0 + self.rule.within)
    }

    fn most(&self) -> usize {
        usize::try_from(self.rule.most).unwrap_or(usize::MAX)
    }

    fn verdict(&self) -> Satisfied {
        let windows = self.closed.len();
        let verdict = match self.stable() {
            true => WindowVerdict::Agree,
            false if self.over_limit() => WindowVerdict::OverLimit,
            false if self.by_throughput() => WindowVerdict::AgreeByThroughput,
            false if windows < AGREE => WindowVerdict::TooFew,
            false => WindowVerdict::Disagree,
        };
        Satisfied::Windows { verdict, windows, agree: AGREE, within: self.rule.within }
    }
}

impl Open {
    fn at(from: Nanos) -> Open {
        Open { from, last: Nanos(i64::MIN), ended: 0, latencies: Latencies::default() }
    }

    /// Adds a request. One that ended before this window, and arrived after its own window had been evaluated, is in no window.
    fn take(&mut self, end: Nanos, latency: Option<Nanos>) {
        if end < self.from {
            return;
        }
        self.ended += 1;
        self.last = self.last.max(end);
        if let Some(latency) = latency {
            self.latencies.add(latency);
        }
    }

    fn close(mut self, to: Nanos, percentile: Option<u8>) -> Pass {
        let span = Span { from: self.from, to };
        let requests = self.latencies.count();
        let at_percentile = percentile.map(|p| self.latencies.percentile_ms(p));
        Pass {
            span,
            requests,
            throughput: requests as f64 / span.length().as_secs_f64(),
            latency_us: self.latencies.mean_ns() / 1000,
            latency_std_us: self.latencies.std_us(),
            percentile_us: percentile.and_then(|p| self.latencies.percentile_ns(p)).map(|ns| ns / 1000),
            latency: at_percentile.unwrap_or_else(|| self.latencies.mean_ms()),
        }
    }
}
