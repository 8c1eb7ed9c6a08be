//! The open loop in one load thread: its slots take turns at waiting for the next due request.
//!
//! One slot has the turn. It takes the next due time of the thread's slice of the schedule, sleeps until then, passes the turn on, and
//! sends. The turn goes to the slot that has been idle for the shortest time (its connection is the least likely to have been closed
//! meanwhile), or to a new slot if all are busy. Busy slots therefore never delay the schedule. Only a limit on requests in flight or on
//! requests without a first output can, and a lack of descriptors.

use super::ticket::Ticket;
use super::waits::Waits;
use crate::phase::{Limits, PhaseState};
use crate::tasks;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::iter::Peekable;
use std::task::{Poll, Waker};
use streamgauge_core::clock::{Clock, Nanos};
use streamgauge_core::schedule::{Due, Slice};

/// Who waits for the next due request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// Nobody: the next slot that comes.
    Free,
    /// The slot with this number, which does not know yet.
    Given(u32),
    /// A slot that waits.
    Permits,
}

/// One phase of an open loop in one load thread.
pub(crate) struct Pacer {
    waits: Waits,
    slice: RefCell<Peekable<Slice>>,
    limits: Cell<Limits>,
    turn: Cell<Turn>,
    /// Idle slots, the newest last.
    idle: RefCell<Vec<(u32, Waker)>>,
    /// When the last request was issued or the end was seen.
    over: Cell<Option<Nanos>>,
}

impl Pacer {
    pub fn new(waits: Waits, slice: Slice) -> Pacer {
        Pacer {
            waits,
            slice: RefCell::new(slice.peekable()),
            limits: Cell::default(),
            turn: Cell::new(Turn::Free),
            idle: RefCell::default(),
            over: Cell::new(None),
        }
    }

    /// The phase begins: before any slot asks for a ticket.
    pub fn begin(&self, limits: Limits) {
        self.limits.set(limits);
    }

    /// Conversations from number `end` on are not a part of the phase.
    pub fn end_at(&self, end: u64) {
        self.limits.update(|limits| limits.ending_at(end));
    }

    /// Waits until the next request of `part` is due for slot `slot`, and for its permits. Returns `None` when the phase is over. `grow`
    /// is called when the turn must be passed on and no slot is idle: it starts another slot and returns its number, or `None` if there
    /// can be no more.
    ///
    /// # Errors
    /// The timer's.
    pub async fn ticket<'a>(
        &self,
        slot: u32,
        part: &'a PhaseState,
        grow: impl FnOnce() -> Option<u32>,
    ) -> io::Result<Option<Ticket<'a>>> {
        if !self.take_turn(slot).await {
            return Ok(None);
        }
        let Some(due) = self.peek() else { return Ok(self.finish()) };
        if !self.waits.until(due.at).await? {
            return Ok(self.finish());
        }
        // The slot with the turn asks for permits, so requests get them in the order in which they are due.
        let Some(held) = self.waits.permits(part).await else { return Ok(self.finish()) };
        // A place may be free because another thread has cut off the request that had it.
        if self.waits.is_over() || part.is_cut(self.waits.clock.now()) {
            return Ok(self.finish());
        }
        // The request is taken out of the schedule only here; until then it counts as not sent.
        self.slice.borrow_mut().next();
        self.pass_on(grow);
        Ok(Some(Ticket::free(due.seq, Some(due.at), self.waits.clock.now()).with(held)))
    }

    /// Requests that were due before the end was seen, and that nobody took up. To be asked for at the end, once.
    pub fn left_over(&self) -> impl Iterator<Item = (Due, Nanos)> {
        std::iter::from_fn(|| {
            let over = self.over.get()?;
            let due = self.peek().filter(|due| due.at <= over)?;
            self.slice.borrow_mut().next();
            Some((due, over))
        })
    }

    /// The next request on the run's clock, if it is within the phase.
    fn peek(&self) -> Option<Due> {
        let next = self.slice.borrow_mut().peek().copied();
        next.and_then(|due| self.limits.get().place(due))
    }

    /// Waits until slot `slot` has the turn; false when the phase is over.
    async fn take_turn(&self, slot: u32) -> bool {
        let mut waits = false;
        poll_fn(|cx| {
            if self.over.get().is_some() || self.waits.is_over() {
                self.finish::<()>();
                return Poll::Ready(false);
            }
            let turn = self.turn.get();
            if turn == Turn::Free || turn == Turn::Given(slot) {
                self.turn.set(Turn::Permits);
                return Poll::Ready(true);
            }
            if !std::mem::replace(&mut waits, true) {
                self.idle.borrow_mut().push((slot, cx.waker().clone()));
            }
            Poll::Pending
        })
        .await
    }

    fn pass_on(&self, grow: impl FnOnce() -> Option<u32>) {
        let idle = self.idle.borrow_mut().pop();
        let next = match idle {
            // Its request may be overdue already.
            Some((slot, waker)) => {
                tasks::first(|| waker.wake());
                Some(slot)
            }
            // The last request of a phase needs nobody after it.
            None if self.peek().is_some() => tasks::first(grow),
            None => None,
        };
        self.turn.set(next.map_or(Turn::Free, Turn::Given));
    }

    /// The phase is over, so idle slots are released.
    fn finish<T>(&self) -> Option<T> {
        if self.over.get().is_none() {
            self.over.set(Some(self.waits.over()));
        }
        self.idle.borrow_mut().drain(..).for_each(|(_, waker)| waker.wake());
        None
    }
}
