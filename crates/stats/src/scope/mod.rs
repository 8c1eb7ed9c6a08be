//! Which part of a run figures are of: all of it, or a span of its time.

mod slot_times;
mod steady;

pub(crate) use slot_times::SlotTimes;
pub use steady::Slots;

use crate::answer::ended;
use serde::{Deserialize, Serialize};
use streamgauge_core::{Nanos, Record};

/// A time on the run's clock: from `from` on, and before `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// The first moment in it.
    pub from: Nanos,
    /// The first moment after it.
    pub to: Nanos,
}

impl Span {
    /// Whether a moment lies in it.
    pub fn contains(&self, at: Nanos) -> bool {
        self.from <= at && at < self.to
    }

    /// The shortest span that has both in it.
    pub(crate) fn hull(self, other: Span) -> Span {
        Span { from: self.from.min(other.from), to: self.to.max(other.to) }
    }

    /// How long it is; a span that ends before it begins has no length.
    pub fn length(&self) -> Nanos {
        (self.to - self.from).max(Nanos::ZERO)
    }
}

/// Which requests and which output a summary is of. Warm-up requests are in none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// The whole run: every request, and rates over the time from the first successful request's `sent` to the last output
    /// event of any.
    Run,
    /// Requests that ended in the span, each whole, wherever it began: a successful one ends at its last output event, any
    /// other when it was given up. Rates are theirs over the span's length, as Perf Analyzer has them of its windows.
    Ended(Span),
    /// Two kinds of figures of the span. Of one request: those that were sent in it (or, never sent, issued), however long
    /// they took, so that long ones are in them as often as short ones. Rates: the output events, each with its share of
    /// its request's tokens, and the ends of successful requests that lie in it, whenever the request was sent, over its
    /// length.
    Held(Span),
}

impl Scope {
    /// The span, where it is not the whole run.
    pub fn span(&self) -> Option<Span> {
        match *self {
            Scope::Run => None,
            Scope::Ended(span) | Scope::Held(span) => Some(span),
        }
    }

    /// Whether a request is in the counts and in the figures of one request.
    pub(crate) fn counts(&self, record: &Record) -> bool {
        match self {
            Scope::Run => true,
            Scope::Ended(span) => span.contains(ended(record)),
            Scope::Held(span) => span.contains(record.sent.unwrap_or(record.issued)),
        }
    }
}
