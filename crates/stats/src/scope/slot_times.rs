//! The time that slots were at measured requests, where they went over to them from a warm-up one by one.
//!
//! The first measured request of a slot is sent as its last warm-up request ends, and its last one ends when it does. So at both
//! ends of the measured part some slots are at other work, and a rate over the time from the first request to the last end would
//! be too low by up to a request's latency. The rate of N slots that are always busy is N requests in each mean cycle of a slot
//! (Little, Operations Research 9, 1961), which makes it the requests over the mean time that a slot was at them.

use crate::scope::Span;
use std::collections::HashMap;
use streamgauge_core::{Nanos, Phase, Record};

/// Follows the slots of a run, from records in any order. Its memory is a few numbers a slot.
#[derive(Debug)]
pub(crate) struct SlotTimes {
    /// Slots of the measured load, whether or not each came to it.
    slots: u32,
    times: HashMap<u32, Times>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Times {
    /// When its last warm-up request ended.
    handed_over: Option<Nanos>,
    /// When its first measured request was issued and its last one ended.
    measured: Option<Span>,
}

impl SlotTimes {
    /// Of a load with so many slots, and no records yet.
    pub fn new(slots: u32) -> SlotTimes {
        SlotTimes { slots: slots.max(1), times: HashMap::new() }
    }

    /// Takes a record in.
    pub fn add(&mut self, record: &Record) {
        let Record { issued, end, .. } = *record;
        let times = self.times.entry(record.slot).or_default();
        match record.phase {
            Phase::Warmup => times.handed_over = times.handed_over.max(Some(end)),
            Phase::Profiling => {
                let Span { from, to } = times.measured.unwrap_or(Span { from: issued, to: end });
                times.measured = Some(Span { from: from.min(issued), to: to.max(end) });
            }
        }
    }

    /// Takes in what was followed of other records of the same run.
    pub fn merge(&mut self, other: SlotTimes) {
        for (slot, Times { handed_over, measured }) in other.times {
            let times = self.times.entry(slot).or_default();
            times.handed_over = times.handed_over.max(handed_over);
            times.measured = times.measured.into_iter().chain(measured).reduce(Span::hull);
        }
    }

    /// From the first slot's hand-over, for as long as a slot was at measured requests on average. None without such a time.
    pub fn span(&self) -> Option<Span> {
        let spans = self.times.values().filter_map(|times| {
            let Span { from, to } = times.measured?;
            // A slot that was not in the warm-up begins with its first request.
            Some(Span { from: times.handed_over.map_or(from, |handed_over| handed_over.min(from)), to })
        });
        let (first, sum) = spans.fold((None, 0_i128), |(first, sum), span| {
            let first = first.map_or(span.from, |first: Nanos| first.min(span.from));
            (Some(first), sum + i128::from(span.length().0))
        });
        let mean = Nanos(i64::try_from(sum / i128::from(self.slots)).unwrap_or(i64::MAX));
        first.filter(|_| mean > Nanos::ZERO).map(|from| Span { from, to: from + mean })
    }
}
