//! What a slot sends next, and when it may.

use super::Shard;
use crate::dialogue::{Dialogue, NextTurn};
use crate::pacing::{Pacer, Ticket, User, Waits};
use crate::phase::GrowthPlace;
use crate::slot::Slot;
use crate::supply::{Supply, Taken, Window};
use std::io;
use std::rc::Rc;
use streamgauge_core::clock::{Clock, Nanos};
use streamgauge_core::load::Load;
use streamgauge_core::record::Phase;
use streamgauge_core::schedule::Due;

/// Where a slot gets its requests from in one phase.
pub(super) enum Source<'a> {
    /// A counter that all slots share: the next as soon as the last has ended.
    Counter,
    /// The same counter, once: of a load that grows, the place that is open.
    Once(Option<GrowthPlace<'a>>),
    /// The thread's part of a schedule.
    Pacer(&'a Pacer),
    /// Dues of its own.
    User(User),
}

impl Source<'_> {
    /// Conversations from number `end` on are not a part of the phase.
    fn end_at(&mut self, end: u64) {
        match self {
            Source::Counter | Source::Once(_) => {}
            Source::Pacer(pacer) => pacer.end_at(end),
            Source::User(user) => user.end_at(end),
        }
    }
}

impl Shard {
    /// Waits until slot `slot` may send requests in the phase, and says where it gets them from; `None` if it gets none.
    pub(super) async fn join(&self, waits: &Waits, slot: u32) -> Option<Source<'_>> {
        let part = &self.common.phases[waits.phase];
        if !part.takes(slot) {
            return None;
        }
        match part.plan.load {
            Load::Open { .. } => self.pacers[waits.phase].as_ref().map(Source::Pacer),
            Load::Users { users, rate } => Some(Source::User(User::new(slot, users, rate, part.tickets.limits()))),
            Load::Growing(_) => {
                let place = part.growth.as_ref()?.open(slot);
                waits.unless_over(place).await.map(|place| Source::Once(Some(place)))
            }
            Load::Concurrency(places) => {
                let at = places.opens(slot);
                let in_time = at == Nanos::ZERO || self.abort_on_timer_error(self.ramp(waits, at).await.map(Some))?;
                in_time.then_some(Source::Counter)
            }
        }
    }

    /// Waits until `at` after the start of the phase, when a ramp lets the slot begin. Returns false if the phase ends first.
    async fn ramp(&self, waits: &Waits, at: Nanos) -> io::Result<bool> {
        let part = &self.common.phases[waits.phase];
        let Some(start) = part.tickets.started() else { return Ok(false) };
        if part.tickets.deadline().is_some_and(|deadline| start + at >= deadline) {
            return Ok(false);
        }
        tokio::select! {
            biased;
            () = part.tickets.exhausted() => Ok(false),
            in_time = waits.until(start + at) => in_time,
        }
    }

    /// Waits until slot `slot` may send its next request.
    pub(super) async fn ticket<'a>(
        self: &'a Rc<Shard>,
        waits: &Waits,
        slot: u32,
        source: &mut Source<'a>,
    ) -> Option<Ticket<'a>> {
        let part = &self.common.phases[waits.phase];
        match source {
            Source::Counter => self.counted(waits).await,
            Source::Once(place) => {
                let place = place.take()?;
                Some(self.counted(waits).await?.in_growth(place))
            }
            Source::Pacer(pacer) => {
                self.abort_on_timer_error(pacer.ticket(slot, part, || self.grow(waits.phase)).await)
            }
            Source::User(user) => self.abort_on_timer_error(user.ticket(part, waits).await),
        }
    }

    /// The next request of the shared counter.
    async fn counted(&self, waits: &Waits) -> Option<Ticket<'_>> {
        let part = &self.common.phases[waits.phase];
        // The permits come first: a request is issued only when nothing keeps it from being sent.
        let held = waits.permits(part).await?;
        if waits.control.is_draining() {
            return None;
        }
        let (seq, issued) = part.tickets.take(waits.clock.now())?;
        Some(Ticket::at_once(seq, issued).with(held))
    }

    /// Gives `ticket` its turn in a sequence, if requests have one; `None` if the phase ended during the wait for it.
    pub(super) async fn in_sequence<'a>(&'a self, waits: &Waits, slot: u32, ticket: Ticket<'a>) -> Option<Ticket<'a>> {
        let part = &self.common.phases[waits.phase];
        let Some(sequences) = &part.sequences else { return Some(ticket) };
        let place = sequences.place(slot, ticket.seq);
        let (mut gate, mut issued) = (None, ticket.issued);
        if let Some(one) = sequences.gate(place) {
            gate = one.try_acquire().ok();
            if gate.is_none() {
                // The semaphore is never closed, so `acquire` cannot fail.
                gate = waits.unless_over(one.acquire()).await.and_then(Result::ok);
                issued = waits.clock.now();
            }
            if gate.is_none() {
                let over = waits.over();
                self.record_unsent(part, Due { seq: ticket.seq, at: ticket.due.unwrap_or(ticket.issued) }, over);
                return None;
            }
        }
        let turn = sequences.next(place)?;
        Some(ticket.in_sequence(turn, gate, issued))
    }

    /// Takes up the conversation that `ticket` begins; one of a single turn is the request itself. `None` if the phase has no such
    /// conversation, or is over before it is prepared.
    pub(super) async fn begin<'a>(
        &'a self,
        waits: &Waits,
        ticket: Ticket<'a>,
        source: &mut Source<'a>,
    ) -> Option<(Ticket<'a>, Option<Box<Dialogue>>)> {
        let part = &self.common.phases[waits.phase];
        let taken = match (&self.common.job.supply, &part.window) {
            (Supply::Kept(kept), _) => kept.take(ticket.seq),
            (Supply::Streamed(_), Some(window)) => self.streamed(waits, &ticket, window, source).await?,
            (Supply::Streamed(_), None) => return None,
        };
        let dialogue = Dialogue::begin(&taken);
        let turn = dialogue.as_ref().map(|dialogue| dialogue.turn());
        Some((ticket.beginning(taken, turn), dialogue))
    }

    /// Takes the conversation that `ticket` begins out of `window`, as soon as it is prepared.
    async fn streamed(
        &self,
        waits: &Waits,
        ticket: &Ticket<'_>,
        window: &Window,
        source: &mut Source<'_>,
    ) -> Option<Taken> {
        let (part, number, asked) = (&self.common.phases[waits.phase], ticket.seq, waits.clock.now());
        let taken = waits.unless_over(window.take(number)).await;
        if let Some(end) = window.end() {
            part.tickets.end_at(end);
            source.end_at(end);
        }
        match taken {
            Some(Some((held, waited))) => {
                if waited && part.plan.phase == Phase::Profiling {
                    self.tally.wait_for_prompt(waits.clock.now() - asked);
                }
                let turns = u32::try_from(held.turns.len()).unwrap_or(u32::MAX);
                Some(Taken { number, first: held.first, turns, held: Some(held) })
            }
            Some(None) => None,
            None => {
                // In a closed loop nothing was due.
                if let Some(at) = ticket.due {
                    self.record_unsent(part, Due { seq: number, at }, waits.over());
                }
                None
            }
        }
    }

    /// The next turn of a conversation, once it is to be sent: after its delay from `answered` on, and with its places. `None` when it lies
    /// beyond the phase, or the phase is over before.
    pub(super) async fn follow_up(
        &self,
        waits: &Waits,
        next: NextTurn,
        answered: Nanos,
        is_scheduled: bool,
    ) -> Option<Ticket<'_>> {
        let part = &self.common.phases[waits.phase];
        let scheduled = next.at.zip(part.tickets.started()).map(|(at, start)| start + at);
        let due = (answered + next.delay).max(scheduled.unwrap_or(answered));
        let paused = due > answered;
        if waits.is_over() || !part.has_follow_up(next.seq, due.max(waits.clock.now())) {
            return None;
        }
        if paused && !self.abort_on_timer_error(waits.until(due).await.map(Some))? {
            return None;
        }
        let held = waits.permits(part).await?;
        if waits.is_over() {
            return None;
        }
        Some(Ticket::follow_up(next, is_scheduled.then_some(due), waits.clock.now(), paused, held))
    }

    /// Ends the sequences that the phase left open. These requests are in no figure and in no record.
    pub(super) async fn close_sequences(&self, waits: &Waits, slot: &mut Slot) {
        let Some(sequences) = &self.common.phases[waits.phase].sequences else { return };
        for (place, turn) in sequences.leave(slot.number()) {
            if waits.is_cut() {
                return;
            }
            // Count down from `u64::MAX` so that these cannot collide with real sequence numbers.
            let ticket = Ticket::at_once(u64::MAX - place, self.waits.clock.now());
            slot.request(&ticket.in_sequence(turn, None, self.waits.clock.now()), Phase::Warmup).await;
        }
    }
}
