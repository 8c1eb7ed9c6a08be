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
use crate::distribution::Sampler;
use crate::metric::Metric;
use crate::scope::Span;
use std::collections::BTreeMap;
use streamgauge_core::record::WindowFacts;
use streamgauge_core::stop::{StabilityRule, Window};
use streamgauge_core::units::percent;
use streamgauge_core::{Nanos, Outcome, Phase, Record};

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
    closed: Vec<Closed>,
    over: bool,
}

/// The window that is being filled.
#[derive(Debug)]
struct Open {
    from: Nanos,
    /// End of the last request in it.
    last: Nanos,
    ended: u64,
    ok: u64,
    latency_sum: i128,
    latencies: Sampler,
}

/// A window that is over.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Closed {
    span: Span,
    /// Successful requests per second.
    throughput: f64,
    /// In milliseconds; none without a success.
    latency: Option<f64>,
}

impl Windows {
    /// Of no records yet.
    pub fn new(rule: StabilityRule) -> Windows {
        let (pending, closed) = (BTreeMap::new(), Vec::new());
        Windows { rule, pending, issued: Nanos(i64::MIN), open: None, closed, over: false }
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
        let latency = record.sent.filter(|_| record.is_ok() && !record.chunks.is_empty()).map(|sent| end - sent);
        self.pending.insert((end, record.seq), latency);
    }

    /// Looks at the windows that are over by `until`, before which all ends are known, in a phase that began at `started`. Says
    /// why the run is to end, once, when it is.
    pub fn look(&mut self, started: Nanos, until: Nanos) -> Option<String> {
        while !self.over && self.advance(started, until) {
            self.over = self.stable() || self.closed.len() >= self.most();
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
        Some(WindowFacts { from: first.span.from, to: end.span.to, windows, stable: self.stable() })
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
    fn last(&self) -> &[Closed] {
        &self.closed[self.closed.len().saturating_sub(AGREE)..]
    }

    fn stable(&self) -> bool {
        let last = self.last();
        let throughputs = last.iter().map(|window| window.throughput);
        let latencies: Option<Vec<f64>> = last.iter().map(|window| window.latency).collect();
        let agree = |latencies: Vec<f64>| {
            self.near(throughputs.clone())
                && self.near(latencies.iter().copied())
                && throughputs.clone().all(|rate| rate > 0.0)
        };
        last.len() == AGREE && latencies.is_some_and(agree)
    }

    fn near(&self, values: impl Iterator<Item = f64> + Clone) -> bool {
        let (least, most) = (values.clone().fold(f64::INFINITY, f64::min), values.fold(f64::NEG_INFINITY, f64::max));
        most <= least * (1.0 + self.rule.within)
    }

    fn most(&self) -> usize {
        usize::try_from(self.rule.most).unwrap_or(usize::MAX)
    }

    fn verdict(&self) -> String {
        let (windows, within) = (self.closed.len(), percent(self.rule.within));
        match self.stable() {
            true => format!("the last {AGREE} of {windows} windows agree within {within}"),
            false if windows < AGREE => format!("all {windows} windows are over, too few to agree"),
            false => format!("all {windows} windows are over, and the last {AGREE} do not agree within {within}"),
        }
    }
}

impl Open {
    fn at(from: Nanos) -> Open {
        let latencies = Sampler::of(Metric::RequestLatency);
        Open { from, last: Nanos(i64::MIN), ended: 0, ok: 0, latency_sum: 0, latencies }
    }

    /// A request that ended before this window, and was not known when that one was looked at, is in none.
    fn take(&mut self, end: Nanos, latency: Option<Nanos>) {
        if end < self.from {
            return;
        }
        self.ended += 1;
        self.last = self.last.max(end);
        if let Some(latency) = latency {
            self.ok += 1;
            self.latency_sum += i128::from(latency.0);
            self.latencies.add_nanos(latency);
        }
    }

    fn close(mut self, to: Nanos, percentile: Option<u8>) -> Closed {
        let span = Span { from: self.from, to };
        let latency = match percentile {
            None => (self.ok > 0).then(|| self.latency_sum as f64 / self.ok as f64 / 1e6),
            Some(p) => self.latencies.at(nearest_rank(p, self.ok)),
        };
        Closed { span, throughput: self.ok as f64 / span.length().as_secs_f64(), latency }
    }
}

/// Perf Analyzer's rank, from 0, of the `p`-th percentile of `count` values, in whole numbers.
fn nearest_rank(p: u8, count: u64) -> u64 {
    let last = u128::from(count.saturating_sub(1));
    ((last * u128::from(p) + 50) / 100) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_perf_analyzers() {
        // floor(p / 100 (n - 1) + 0.5)
        for (p, count, rank) in
            [(50, 1, 0), (50, 2, 1), (50, 3, 1), (50, 4, 2), (99, 100, 98), (99, 51, 50), (1, 51, 1)]
        {
            assert_eq!(nearest_rank(p, count), rank, "p{p} of {count}");
        }
        assert_eq!(nearest_rank(99, 0), 0);
    }
}
