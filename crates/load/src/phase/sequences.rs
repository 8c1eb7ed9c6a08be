//! Sequences of requests, as all load threads share those of one phase.

use crate::job::Job;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use streamgauge_core::load::Load;
use streamgauge_core::plan::PhasePlan;
use streamgauge_core::sequence::{Turn, sequencer};
use tokio::sync::Semaphore;

/// The places of one phase, each with one sequence at a time. In an open loop requests go round them by their numbers; elsewhere
/// each slot is a place.
pub(crate) struct Sequences {
    turns: Mutex<Box<Turns>>,
    places: u32,
    /// Slots have places of their own.
    by_slot: bool,
    /// One semaphore per place, if a sequence has at most one request in flight and the load does not ensure that already.
    gates: Vec<Semaphore>,
    /// Slots that are at it.
    present: AtomicU32,
}

/// The phase's sequencer: the next turn of a place, or the one that closes it.
type Turns = dyn FnMut(u64, Wanted) -> Option<Turn> + Send;

enum Wanted {
    Next,
    Close,
}

impl Sequences {
    /// The sequences of a phase of `job`, if its requests belong to sequences.
    pub fn of(job: &Job, phase: &PhasePlan) -> Option<Sequences> {
        let rule = job.plan.load.sequences?;
        let by_slot = !matches!(phase.load, Load::Open { .. });
        let places = if by_slot { phase.load.slots() } else { rule.live }.max(1);
        let gates = if rule.serial && !by_slot { places } else { 0 };
        let mut sequencer = sequencer(rule, places, job.streams(), job.plan.prompts.seed);
        Some(Sequences {
            turns: Mutex::new(Box::new(move |place, wanted| match wanted {
                Wanted::Next => Some(sequencer.next(place)),
                Wanted::Close => sequencer.close(place),
            })),
            places,
            by_slot,
            gates: (0..gates).map(|_| Semaphore::new(1)).collect(),
            present: AtomicU32::new(0),
        })
    }

    /// The place of request number `seq`, which slot `slot` has.
    pub fn place(&self, slot: u32, seq: u64) -> u64 {
        if self.by_slot { u64::from(slot) } else { seq % u64::from(self.places) }
    }

    /// The permit that a request in `place` holds while it is in flight.
    pub fn gate(&self, place: u64) -> Option<&Semaphore> {
        self.gates.get(place as usize)
    }

    /// The next request of `place`.
    pub fn next(&self, place: u64) -> Option<Turn> {
        self.turn(place, Wanted::Next)
    }

    /// A slot begins.
    pub fn enter(&self) {
        self.present.fetch_add(1, Ordering::Relaxed);
    }

    /// Slot `slot` has had its last request: the places that it has to close.
    pub fn leave(&self, slot: u32) -> impl Iterator<Item = (u64, Turn)> {
        // With the requests of others before it.
        let is_last = self.present.fetch_sub(1, Ordering::AcqRel) == 1;
        let places = match (self.by_slot, is_last) {
            (true, _) => u64::from(slot)..u64::from(slot) + 1,
            (false, true) => 0..u64::from(self.places),
            (false, false) => 0..0,
        };
        places.filter_map(|place| Some((place, self.turn(place, Wanted::Close)?)))
    }

    fn turn(&self, place: u64, wanted: Wanted) -> Option<Turn> {
        // A sequencer is whole between its calls.
        (self.turns.lock().unwrap_or_else(PoisonError::into_inner))(place, wanted)
    }
}
