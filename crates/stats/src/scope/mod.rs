//! The part of a run that figures cover: all of it, or a span of its time.

mod slot_times;
mod steady;

pub(crate) use slot_times::SlotTimes;
pub use steady::Slots;

use crate::answer::ended;
use serde::{Deserialize, Serialize};
use streamgauge_core::{Nanos, Record};

/// A span of time on the run's clock: from `from` (included) to `to` (excluded).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// The first moment in the span.
    pub from: Nanos,
    /// The first moment after the span.
    pub to: Nanos,
}

impl Span {
    /// Whether a moment lies in it.
    pub fn contains(&self, at: Nanos) -> bool {
        self.from <= at && at < self.to
    }

    /// The shortest span that contains both.
    pub(crate) fn hull(self, other: Span) -> Span {
        Span { from: self.from.min(other.from), to: self.to.max(other.to) }
    }

    /// The length of the span, which is 0 if it ends before it begins.
    pub fn length(&self) -> Nanos {
        (self.to - self.from).max(Nanos::ZERO)
    }
}

/// The requests and the output that a summary covers. Warm-up requests are never covered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// The whole run: every request, and rates over the time from the first successful request's `sent` to the last output
    /// event of any.
    Run,
    /// The requests that ended in the span, each counted completely wherever it began. A successful request ends at its last output event, any
    /// other when it was given up. Rates are these requests over the length of the span, as in Perf Analyzer's windows.
    Ended(Span),
    /// Two kinds of figures of the span. Figures per request cover the requests that were sent in it (or issued, if never sent), however long
    /// they took, so that long requests are in them as often as short ones. Rates cover the output events in the span, each with its share of
    /// its request's tokens, and the ends of successful requests in the span, whenever the request was sent, over the
    /// length of the span.
    Held(Span),
}

impl Scope {
    /// The span, or `None` for the whole run.
    pub fn span(&self) -> Option<Span> {
        match *self {
            Scope::Run => None,
            Scope::Ended(span) | Scope::Held(span) => Some(span),
        }
    }

    /// Whether a request is in the counts and in the figures per request.
    pub(crate) fn counts(&self, record: &Record) -> bool {
        match self {
            Scope::Run => true,
            Scope::Ended(span) => span.contains(ended(record)),
            Scope::Held(span) => span.contains(record.sent.unwrap_or(record.issued)),
        }
    }
}
