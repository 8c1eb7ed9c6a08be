//! The steady time of a closed loop: that in which all of its slots were busy. Before it the load is still rising, after it
//! slots run out of requests, and what is measured then is a server under less than the load that was asked for.

use crate::scope::Span;
use std::collections::HashMap;
use streamgauge_core::{Phase, Record};

/// Finds the time in which all slots were busy, from records in any order. Its memory is a few numbers a slot.
#[derive(Clone, Debug, Default)]
pub struct Slots {
    /// When each sent its first request, and when its last one ended.
    slots: HashMap<u32, Span>,
    requests: u64,
}

impl Slots {
    /// Takes a record in. Only measured requests that were sent keep a slot busy, however they ended.
    pub fn add(&mut self, record: &Record) {
        let Some(sent) = record.sent.filter(|_| record.phase == Phase::Profiling) else { return };
        self.requests += 1;
        let slot = self.slots.entry(record.slot).or_insert(Span { from: sent, to: record.end });
        *slot = Span { from: slot.from.min(sent), to: slot.to.max(record.end) };
    }

    /// From the latest of the slots' first requests to the earliest of their last ends: all slots that took part had a
    /// request, but for the client's own moment between two. None when that is no time at all, or when there were fewer than
    /// two requests a slot: a single wave has a start and an end and nothing between.
    pub fn busy(&self) -> Option<Span> {
        let from = self.slots.values().map(|slot| slot.from).max()?;
        let to = self.slots.values().map(|slot| slot.to).min()?;
        (from < to && self.requests >= 2 * self.slots.len() as u64).then_some(Span { from, to })
    }
}
