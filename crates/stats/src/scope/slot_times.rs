//! The time that slots spent on measured requests, if they go over to them from a warm-up one by one.
//!
//! A slot sends its first measured request when its last warm-up request has ended, and slots end at different times. So at both
//! ends of the measured phase some slots are not yet, or no longer, busy with measured requests, and a rate over the time from the first request to
//! the last end would be too low by up to one latency. The rate of N slots that are always busy is N requests per mean cycle of a slot
//! (Little, Operations Research 9, 1961), which is the number of requests over the mean time that a slot spent on them.

use crate::scope::Span;
use std::collections::HashMap;
use streamgauge_core::{Nanos, Phase, Record};

/// Follows the slots of a run, from records in any order. Its memory is a few numbers per slot.
#[derive(Debug)]
pub(crate) struct SlotTimes {
    /// The number of slots of the measured load, including slots that never sent a measured request.
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
    /// Returns a value without records for a load with `slots` slots.
    pub fn new(slots: u32) -> SlotTimes {
        SlotTimes { slots: slots.max(1), times: HashMap::new() }
    }

    /// Adds a record.
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

    /// Adds the slot times of other records of the same run.
    pub fn merge(&mut self, other: SlotTimes) {
        for (slot, Times { handed_over, measured }) in other.times {
            let times = self.times.entry(slot).or_default();
            times.handed_over = times.handed_over.max(handed_over);
            times.measured = times.measured.into_iter().chain(measured).reduce(Span::hull);
        }
    }

    /// The span from the hand-over of the first slot whose length is the mean time that a slot spent on measured requests. Returns `None` if there is none.
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
