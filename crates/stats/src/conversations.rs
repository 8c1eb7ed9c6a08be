//! The figures of conversations: how they ended, how long they took, and what each of their turns cost.
//!
//! A turn's prompt has the answers before it, so later turns are longer, and a server's prefix cache may answer them faster. The figures of
//! all requests together show neither. Memory is bounded: turns beyond [`MOST_TURNS`] are counted together, and percentiles come from
//! histograms that are accurate to 1 %.

use crate::answer::Answer;
use crate::timeline::MeanAndMax;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use streamgauge_core::{Nanos, Record};

/// How many numbers of turns are kept apart. The last of them stands for all later ones too.
pub const MOST_TURNS: usize = 16;

/// How many conversations may be under way at once. Further ones are not followed, so that the memory stays bounded.
const MOST_OPEN: usize = 1 << 16;

/// The figures of conversations of several turns.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ConversationFigures {
    /// Conversations with at least one request.
    pub begun: u64,
    /// Conversations all of whose turns were answered.
    pub completed: u64,
    /// Conversations that ended with a failed request.
    pub failed: u64,
    /// Conversations that the end of the run, or of the part that is reported, cut off.
    pub cut_off: u64,
    /// The number of answered turns of a conversation.
    pub answered_turns: Option<MeanAndMax>,
    /// The time in milliseconds from the sending of the first request of a completed conversation to the end of its last answer.
    pub duration: Option<MeanAndMax>,
    /// The figures of each turn, by its number.
    pub turns: Vec<TurnFigures>,
}

/// The figures of the requests with one number in their conversations.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TurnFigures {
    /// The number of the turn in its conversation, from 0. The last number that is kept apart stands for later turns too.
    pub turn: u32,
    /// Requests that were answered.
    pub ok: u64,
    /// Requests that failed.
    pub failed: u64,
    /// Requests that were cut off or cancelled.
    pub unfinished: u64,
    /// From the sending of an answered request to its last output, in milliseconds.
    pub request_latency: Option<Times>,
    /// From the sending of an answered request to its first output, in milliseconds; of streams only.
    pub time_to_first_token: Option<Times>,
    /// Prompt tokens of an answered request, its history included.
    pub input_tokens: Option<MeanAndMax>,
    /// Output tokens of an answered request.
    pub output_tokens: Option<MeanAndMax>,
}

/// Statistics over times, in milliseconds. The percentiles are accurate to 1 %.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Times {
    /// The mean.
    pub avg: f64,
    /// The median.
    pub p50: f64,
    /// The 90th percentile.
    pub p90: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// The longest time.
    pub max: f64,
}

/// Collects the figures of conversations, in any order of records.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConversationSums {
    /// By the number of the conversation.
    open: BTreeMap<u64, Open>,
    completed: u64,
    failed: u64,
    cut_off: u64,
    answered: Sum,
    duration: Sum,
    turns: Vec<TurnSums>,
}

/// A conversation of which not all records have come.
#[derive(Clone, Copy, Debug)]
struct Open {
    records: u64,
    /// How many records it will have: as many as it has turns, or fewer if a request does not succeed.
    expected: u64,
    answered: u64,
    failed: bool,
    from: Nanos,
    to: Nanos,
}

/// A sum of whole numbers, which does not depend on their order.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    count: u64,
    sum: i128,
    max: i64,
}

#[derive(Clone, Debug, Default)]
struct TurnSums {
    ok: u64,
    failed: u64,
    unfinished: u64,
    request_latency: TimeSums,
    time_to_first_token: TimeSums,
    input_tokens: Sum,
    output_tokens: Sum,
}

#[derive(Clone, Debug, Default)]
struct TimeSums {
    sum: Sum,
    /// In microseconds. Made with the first time.
    histogram: Option<Histogram<u32>>,
}

impl ConversationSums {
    /// Adds a record, with its answer if it has one.
    pub fn add(&mut self, record: &Record, answer: Option<&Answer<'_>>, failed: bool) {
        let Some(conversation) = record.conversation else { return };
        let index = (conversation.turn as usize).min(MOST_TURNS - 1);
        if self.turns.len() <= index {
            self.turns.resize_with(index + 1, TurnSums::default);
        }
        self.turns[index].add(record, answer, failed);
        let one = Open {
            records: 1,
            expected: match answer.is_some() {
                true => conversation.turns.into(),
                false => u64::from(conversation.turn) + 1,
            },
            answered: u64::from(answer.is_some()),
            failed,
            from: record.sent.unwrap_or(record.issued),
            to: answer.map_or(record.end, |answer| answer.last),
        };
        self.join(conversation.number, one);
    }

    fn join(&mut self, number: u64, part: Open) {
        let open = match self.open.remove(&number) {
            Some(open) => open.and(part),
            None => part,
        };
        if open.records >= open.expected {
            self.settle(open);
        } else if self.open.len() < MOST_OPEN {
            self.open.insert(number, open);
        }
    }

    /// Counts a conversation of which no record will come any more.
    fn settle(&mut self, open: Open) {
        let is_complete = open.answered >= open.expected;
        match (is_complete, open.failed) {
            (true, _) => self.completed += 1,
            (false, true) => self.failed += 1,
            (false, false) => self.cut_off += 1,
        }
        self.answered.add(i64::try_from(open.answered).unwrap_or(i64::MAX));
        if is_complete {
            self.duration.add((open.to - open.from).0);
        }
    }

    /// Adds the figures of other records of the same run.
    pub fn merge(&mut self, other: ConversationSums) {
        let ConversationSums { open, completed, failed, cut_off, answered, duration, turns } = other;
        self.completed += completed;
        self.failed += failed;
        self.cut_off += cut_off;
        self.answered.merge(answered);
        self.duration.merge(duration);
        if self.turns.len() < turns.len() {
            self.turns.resize_with(turns.len(), TurnSums::default);
        }
        self.turns.iter_mut().zip(turns).for_each(|(ours, theirs)| ours.merge(theirs));
        open.into_iter().for_each(|(number, part)| self.join(number, part));
    }

    /// The figures, if any request was a turn of a conversation.
    pub fn close(mut self) -> Option<ConversationFigures> {
        std::mem::take(&mut self.open).into_values().for_each(|open| self.settle(open));
        let ConversationSums { completed, failed, cut_off, answered, duration, turns, .. } = self;
        (!turns.is_empty()).then(|| ConversationFigures {
            begun: completed + failed + cut_off,
            completed,
            failed,
            cut_off,
            answered_turns: answered.close(1.0),
            duration: duration.close(1e6),
            turns: (0..).zip(turns).map(|(turn, sums)| sums.close(turn)).collect(),
        })
    }
}

impl Open {
    fn and(self, other: Open) -> Open {
        Open {
            records: self.records + other.records,
            expected: self.expected.min(other.expected),
            answered: self.answered + other.answered,
            failed: self.failed || other.failed,
            from: self.from.min(other.from),
            to: self.to.max(other.to),
        }
    }
}

impl TurnSums {
    fn add(&mut self, record: &Record, answer: Option<&Answer<'_>>, failed: bool) {
        let Some(answer) = answer else {
            self.failed += u64::from(failed);
            self.unfinished += u64::from(!failed);
            return;
        };
        self.ok += 1;
        self.request_latency.add(answer.last - answer.sent);
        if let (Some(first), true) = (answer.first, answer.streaming) {
            self.time_to_first_token.add(first - answer.sent);
        }
        self.input_tokens.add(record.input_tokens.into());
        if let Some((output, _)) = answer.output {
            self.output_tokens.add(i64::try_from(output).unwrap_or(i64::MAX));
        }
    }

    fn merge(&mut self, other: TurnSums) {
        let TurnSums { ok, failed, unfinished, request_latency, time_to_first_token, input_tokens, output_tokens } =
            other;
        self.ok += ok;
        self.failed += failed;
        self.unfinished += unfinished;
        self.request_latency.merge(request_latency);
        self.time_to_first_token.merge(time_to_first_token);
        self.input_tokens.merge(input_tokens);
        self.output_tokens.merge(output_tokens);
    }

    fn close(self, turn: u32) -> TurnFigures {
        TurnFigures {
            turn,
            ok: self.ok,
            failed: self.failed,
            unfinished: self.unfinished,
            request_latency: self.request_latency.close(),
            time_to_first_token: self.time_to_first_token.close(),
            input_tokens: self.input_tokens.close(1.0),
            output_tokens: self.output_tokens.close(1.0),
        }
    }
}

impl Sum {
    fn add(&mut self, value: i64) {
        self.merge(Sum { count: 1, sum: value.into(), max: value });
    }

    fn merge(&mut self, other: Sum) {
        self.max = match (self.count, other.count) {
            (0, _) => other.max,
            (_, 0) => self.max,
            _ => self.max.max(other.max),
        };
        self.count += other.count;
        self.sum += other.sum;
    }

    /// The mean and the maximum, both divided by `unit`; `None` without values.
    fn close(self, unit: f64) -> Option<MeanAndMax> {
        let mean = |count: u64| self.sum as f64 / count as f64 / unit;
        (self.count > 0).then(|| MeanAndMax { count: self.count, mean: mean(self.count), max: self.max as f64 / unit })
    }
}

impl TimeSums {
    fn add(&mut self, time: Nanos) {
        self.sum.add(time.0);
        if self.histogram.is_none() {
            // From a microsecond to 18 minutes without growing; two digits are accurate to 1 %.
            self.histogram = Histogram::new_with_bounds(1, 1 << 30, 2).ok();
        }
        if let Some(histogram) = &mut self.histogram {
            histogram.saturating_record(u64::try_from(time.0 / 1_000).unwrap_or(0));
        }
    }

    fn merge(&mut self, other: TimeSums) {
        self.sum.merge(other.sum);
        match (&mut self.histogram, other.histogram) {
            // Both have the same bounds, so nothing is out of range.
            (Some(ours), Some(theirs)) => ours.add(theirs).unwrap_or_default(),
            (None, theirs) => self.histogram = theirs,
            (Some(_), None) => {}
        }
    }

    fn close(self) -> Option<Times> {
        let MeanAndMax { mean, max, .. } = self.sum.close(1e6)?;
        let histogram = self.histogram?;
        // A value of the histogram may be a little above the greatest time.
        let quantile = |share: f64| (histogram.value_at_quantile(share) as f64 / 1e3).min(max);
        Some(Times { avg: mean, p50: quantile(0.5), p90: quantile(0.9), p99: quantile(0.99), max })
    }
}
