//! The steady state of a closed loop: the time in which all of its slots were busy. Before it the load is still rising, and after it
//! slots run out of requests, so that the server is under less than the requested load.

use crate::scope::Span;
use std::collections::HashMap;
use streamgauge_core::{Phase, Record};

/// Finds the time in which all slots were busy, from records in any order. Its memory is a few numbers per slot.
#[derive(Clone, Debug, Default)]
pub struct Slots {
    /// When each slot sent its first request, and when its last one ended.
    slots: HashMap<u32, Span>,
    requests: u64,
}

impl Slots {
    /// Adds a record. Only measured requests that were sent keep a slot busy, whatever their outcome.
    pub fn add(&mut self, record: &Record) {
        let Some(sent) = record.sent.filter(|_| record.phase == Phase::Profiling) else { return };
        self.requests += 1;
        let slot = self.slots.entry(record.slot).or_insert(Span { from: sent, to: record.end });
        *slot = Span { from: slot.from.min(sent), to: slot.to.max(record.end) };
    }

    /// The span from the latest of the slots' first requests to the earliest of their last ends. In it every participating slot had a
    /// request, except for the client's own time between two requests. Returns `None` if the span is empty, or if there were fewer than
    /// two requests per slot, because a single wave has no steady state.
    pub fn busy(&self) -> Option<Span> {
        let from = self.slots.values().map(|slot| slot.from).max()?;
        let to = self.slots.values().map(|slot| slot.to).min()?;
        (from < to && self.requests >= 2 * self.slots.len() as u64).then_some(Span { from, to })
    }
}
