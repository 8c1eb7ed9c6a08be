//! A successful request with everything that its figures are computed from. [`crate::metrics`] defines the figures.

pub(crate) mod shown;
pub(crate) mod token_source;
pub mod tokens;

use shown::shown_tokens;
use streamgauge_core::plan::TokenCount;
use streamgauge_core::{Nanos, Outcome, OutputKind, Record};
use token_source::TokenSource;
use tokens::output_tokens;

/// A successful request with everything that its figures are computed from.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    record: &'a Record,
    /// Whether the request asked for a stream.
    pub streaming: bool,
    /// Whether the prompt and the answer are counted in tokens.
    has_tokens: bool,
    /// t0.
    pub sent: Nanos,
    /// r1. It is absent if the answer has no output or does not consist of tokens.
    pub first: Option<Nanos>,
    /// rk, or the end of an answer without output.
    pub last: Nanos,
    /// O, and the source of that count.
    pub output: Option<(u64, TokenSource)>,
    /// The number of those tokens that were shown.
    pub shown: Option<u64>,
}

/// When a request ended: a successful one at its last output event, any other when it was given up.
pub(crate) fn ended(record: &Record) -> Nanos {
    record.chunks.last().filter(|_| record.is_ok()).map_or(record.end, |chunk| chunk.at)
}

/// How late a request was sent.
pub(crate) struct Lateness {
    /// When the schedule wanted it sent.
    pub due: Nanos,
    /// How much later it was sent or, if it was never sent, how late it was at the end of the run.
    pub late: Nanos,
    /// Whether it was never sent.
    pub never: bool,
}

/// How late a request was sent, or `None` without a schedule. The lateness of a request that was due and never sent ends at the end of the run.
/// A request that failed before it was sent has no lateness.
pub(crate) fn lateness(record: &Record) -> Option<Lateness> {
    let never = record.sent.is_none() && record.outcome == Outcome::CutOff;
    let left = if never { record.end } else { record.sent? };
    let due = record.due?;
    Some(Lateness { due, late: left - due, never })
}

impl<'a> Answer<'a> {
    /// Returns `None` unless the request was sent and answered. `streaming` says whether the request asked for a
    /// stream; otherwise all events arrived at once, and there are no gaps to measure.
    pub fn of(record: &'a Record, policy: TokenCount, streaming: bool) -> Option<Answer<'a>> {
        let last = match record.chunks.last() {
            Some(chunk) => chunk.at,
            None if record.is_empty_reply() => record.end,
            None => return None,
        };
        let output = output_tokens(record, policy);
        let has_tokens = policy != TokenCount::None;
        let first = if streaming { record.chunks.first() } else { record.chunks.last() };
        Some(Answer {
            record,
            streaming,
            sent: record.sent?,
            has_tokens,
            first: first.filter(|_| has_tokens).map(|chunk| chunk.at),
            last,
            output,
            shown: output.map(|(count, source)| shown_tokens(record, count, source)),
        })
    }

    /// When output arrived: all of it at once if it was not a stream.
    pub fn output_times(&self) -> impl ExactSizeIterator<Item = Nanos> + 'a {
        let chunks = &self.record.chunks;
        let from = if self.streaming { 0 } else { chunks.len().saturating_sub(1) };
        chunks[from..].iter().map(|chunk| chunk.at)
    }

    /// Every r(j+1) - r(j), with r(j+1).
    pub fn gaps(&self) -> impl Iterator<Item = (Nanos, Nanos)> + 'a {
        let chunks = if self.streaming { self.record.chunks.as_slice() } else { &[] };
        chunks.windows(2).map(|pair| (pair[1].at - pair[0].at, pair[1].at))
    }

    /// The client's lag for each output event, where it is known, with the event's receive stamp.
    pub fn lags(&self) -> impl Iterator<Item = (Nanos, Nanos)> + 'a {
        self.record.chunks.iter().filter_map(|chunk| Some((chunk.lag?, chunk.at)))
    }

    /// The difference between output length and requested length, and the requested length, if the request has one.
    pub fn length_against_asked(&self) -> Option<(u64, u64)> {
        let asked = u64::from(self.record.requested_output_tokens?);
        let (count, _) = self.output?;
        Some((count.abs_diff(asked), asked))
    }

    /// The number of tokens shown after the first one, and their time. Returns `None` if these do not define a time per token.
    pub fn pace(&self) -> Option<(u64, Nanos)> {
        let count = self.shown?;
        let several = self.streaming && self.record.chunks.len() > 1 && count > 1;
        let first = self.first.filter(|_| several)?;
        Some((count - 1, self.last - first))
    }

    /// r2 - r1.
    pub fn time_to_second_token(&self) -> Option<Nanos> {
        self.gaps().next().map(|(gap, _)| gap)
    }

    /// The mean time between two shown tokens. Hidden tokens are excluded, because they arrived with none of the events between which it is measured.
    /// Rounded half to even, as Python and therefore GenAI-Perf do.
    pub fn inter_token_latency(&self) -> Option<Nanos> {
        let (tokens, time) = self.pace()?;
        Some(Nanos((time.0 as f64 / tokens as f64).round_ties_even() as i64))
    }

    /// The inverse of the inter token latency, in tokens per second.
    pub fn throughput_per_user(&self) -> Option<f64> {
        self.inter_token_latency().filter(|latency| latency.0 > 0).map(|latency| 1e9 / latency.0 as f64)
    }

    /// The time from t0 to the first text that is not reasoning, if reasoning preceded it.
    pub fn time_to_first_answer(&self) -> Option<Nanos> {
        let chunks = if self.streaming { self.record.chunks.as_slice() } else { &[] };
        let text = chunks.iter().position(|chunk| chunk.kind == OutputKind::Text)?;
        let reasoned = chunks[..text].iter().any(|chunk| chunk.kind == OutputKind::Reasoning);
        reasoned.then(|| chunks[text].at - self.sent)
    }

    /// When the schedule wanted the request sent, if there was a schedule.
    pub fn due(&self) -> Option<Nanos> {
        self.record.due
    }

    /// The tokens of the prompt by the client's tokenizer.
    pub fn input_tokens(&self) -> Option<f64> {
        self.has_tokens.then_some(f64::from(self.record.input_tokens))
    }

    /// From t0 to the first byte of the answer.
    pub fn time_to_first_byte(&self) -> Option<Nanos> {
        self.record.first_byte.map(|at| at - self.sent)
    }

    /// The time from the end of the slot's previous answer to t0. Returns `None` in an open loop, where a slot waits for its next request to be
    /// due, which is not the client's own time.
    pub fn turnaround(&self) -> Option<Nanos> {
        self.record.turnaround.filter(|_| self.record.due.is_none())
    }

    /// How long opening the connection took, if the request opened one.
    pub fn connect_time(&self) -> Option<Nanos> {
        self.record.connect
    }

    /// Tokens of the prompt that the server had in its cache.
    pub fn cached_tokens(&self) -> Option<u64> {
        self.record.usage.and_then(|usage| usage.cached_tokens)
    }

    /// The tokens of the prompt by the server. A count of 0 means that the server did not count.
    pub fn prompt_tokens(&self) -> Option<u64> {
        self.record.usage.and_then(|usage| usage.prompt_tokens).filter(|&count| count > 0)
    }
}
