//! A run as a row of windows that ends when they agree: Perf Analyzer's rule, with windows as long as asked.
//!
//! A request belongs to the window in which it ended, which for a successful one is its last output event. Windows follow each
//! other from the phase's start without a gap. One of time is `[start + k t, start + (k + 1) t)`; one of requests closes with its
//! n-th end, a success or not, and those that ended at that very moment are in it too. A window's throughput is its successful
//! requests over its length, its latency the mean of their request latencies or a percentile by Perf Analyzer's nearest rank: of n
//! ascending values the one at `floor(p / 100 (n - 1) + 0.5)`, from 0. The last [`AGREE`] windows agree when no throughput is zero
//! and neither the highest throughput nor the highest latency is more than the rule's share above the lowest.
//!
//! Records reach the fold in no order and a little late, so a window is looked at only once all that ended in it is known to have
//! come ([`LATE`]).

use crate::answer::ended;
use crate::perf_analyzer::Latencies;
use crate::scope::Span;
use std::collections::BTreeMap;
use streamgauge_core::record::WindowFacts;
use streamgauge_core::stop::{StabilityRule, Window};
use streamgauge_core::{Nanos, Outcome, Phase, Record, Satisfied, WindowVerdict};

/// Windows that must agree, as in Perf Analyzer.
pub const AGREE: usize = 3;

/// How much later than its end a record may come: load threads hand theirs over at least every 100 ms, and a busy one may be late
/// with that by a few scheduling rounds. One that is later than this still is in the run's figures; only the decision to
/// end the run was made without it.
pub const LATE: Nanos = Nanos::from_millis(250);

/// Follows a run's windows. Its memory is that of the records of the last moments, one window's latencies (bounded as any
/// metric's), and a few numbers a window.
#[derive(Debug)]
pub struct Windows {
    rule: StabilityRule,
    /// What ended in the moments that are not known whole yet: by end and number, each with its latency if it succeeded.
    pending: BTreeMap<(Nanos, u64), Option<Nanos>>,
    /// When load was last seen to go on.
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
    /// End of the last request in it.
    last: Nanos,
    ended: u64,
    latencies: Latencies,
}

/// A window that is over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pass {
    /// Its time.
    pub span: Span,
    /// Successful requests that ended in it.
    pub requests: u64,
    /// Those a second.
    pub throughput: f64,
    /// Their mean latency in microseconds, cut off; 0 without any.
    pub latency_us: u64,
    /// The sample's standard deviation of it, in microseconds; none of fewer than two.
    pub latency_std_us: Option<u64>,
    /// The rule's percentile of it, where it has one, in microseconds; none without requests.
    pub percentile_us: Option<u64>,
    /// The latency that must agree, the mean or that percentile, in milliseconds and not cut off; none without requests.
    pub latency: Option<f64>,
}

impl Pass {
    /// Inferences a second, where a request is a batch of so many.
    pub fn inferences(&self, batch: u32) -> f64 {
        self.throughput * f64::from(batch.max(1))
    }
}

/// What else Perf Analyzer goes by, beyond the rule of a plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lenience {
    /// Throughputs that agree are enough once the windows are used up: its rule for asynchronous calls.
    pub by_throughput: bool,
    /// No more windows once one of the last [`AGREE`] has a latency of this or more.
    pub latency_limit: Option<Nanos>,
}

impl Windows {
    /// Of no records yet.
    pub fn new(rule: StabilityRule) -> Windows {
        let (pending, closed) = (BTreeMap::new(), Vec::new());
        let lenience = Lenience::default();
        Windows { rule, pending, issued: Nanos(i64::MIN), open: None, closed, over: false, lenience }
    }

    /// The same, with what Perf Analyzer goes by beyond the rule.
    pub fn with(self, lenience: Lenience) -> Windows {
        Windows { lenience, ..self }
    }

    /// The windows that are over, in their order.
    pub fn passes(&self) -> &[Pass] {
        &self.closed
    }

    /// Whether the last windows are taken for stable by their throughputs alone, which is worth a warning.
    pub fn by_throughput(&self) -> bool {
        self.lenience.by_throughput && self.steady() && !self.stable()
    }

    /// Whether one of the last windows has a latency of the limit or more.
    pub fn over_limit(&self) -> bool {
        let over = |pass: &Pass, limit: Nanos| pass.latency.is_none_or(|latency| latency >= limit.as_millis_f64());
        let last = self.last();
        last.len() == AGREE
            && self.lenience.latency_limit.is_some_and(|limit| last.iter().any(|pass| over(pass, limit)))
    }

    /// Takes one record in. Warm-up requests are in no window, and what the run's end cut off ended in none.
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

    /// Looks at the windows that are over by `until`, before which all ends are known, in a phase that began at `started`. Says
    /// why the run is to end, once, when it is.
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

    /// What is to be said of them when the run is over: the last windows that agree, or the last there were. For a run that ended
    /// in another way that means those that were over while requests were still being issued, since in its last moments
    /// load is no longer the plan's. None when there was no whole window.
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

    /// Goes on until a window is over; false when none is by `until`.
    fn advance(&mut self, started: Nanos, until: Nanos) -> bool {
        let open = self.open.get_or_insert_with(|| Open::at(started));
        let to = match self.rule.window {
            // A window has some length, whatever a plan from elsewhere says.
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

    /// The last windows, as many as must agree or as there are.
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

    /// Whether they are stable, or taken for it.
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

    /// A request that ended before this window, and was not known when that one was looked at, is in none.
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
