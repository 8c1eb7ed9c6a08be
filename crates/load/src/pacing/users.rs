//! Users with a rhythm: each is a slot, and its requests are every n-th of one steady schedule.

use super::ticket::Ticket;
use super::waits::Waits;
use crate::phase::{Limits, PhaseState};
use std::io;
use streamgauge_core::arrival::Rate;
use streamgauge_core::clock::{Clock, Nanos};
use streamgauge_core::schedule::{Due, steady_due};

/// One user in one phase.
pub(crate) struct User {
    /// The next request's number: the user's own at first, and then always as many more as there are users.
    next: u64,
    users: u32,
    /// The schedule of all users together.
    rate: Rate,
    limits: Limits,
}

impl User {
    /// User `number` of `users`, from 0.
    pub fn new(number: u32, users: u32, rate: Rate, limits: Limits) -> User {
        User { next: u64::from(number), users, rate, limits }
    }

    /// Conversations from number `end` on are not a part of the phase.
    pub fn end_at(&mut self, end: u64) {
        self.limits = self.limits.ending_at(end);
    }

    /// Waits until the user's next request is due, and for its permits. Returns `None` when there are no more. A request that is already
    /// due, because the previous answer was late, is returned at once and is not skipped.
    ///
    /// # Errors
    /// The timer's.
    pub async fn ticket<'a>(&mut self, part: &'a PhaseState, waits: &Waits) -> io::Result<Option<Ticket<'a>>> {
        let Some(due) = self.peek() else { return Ok(None) };
        if waits.is_over() || !waits.until(due.at).await? {
            return Ok(None);
        }
        let Some(held) = waits.permits(part).await else { return Ok(None) };
        if waits.is_over() || part.is_cut(waits.clock.now()) {
            return Ok(None);
        }
        self.go_on();
        Ok(Some(Ticket::free(due.seq, Some(due.at), waits.clock.now()).with(held)))
    }

    /// Requests that were due up to `over` and that were never sent.
    pub fn left_over(&mut self, over: Nanos) -> impl Iterator<Item = Due> {
        std::iter::from_fn(move || {
            let due = self.peek().filter(|due| due.at <= over)?;
            self.go_on();
            Some(due)
        })
    }

    fn peek(&self) -> Option<Due> {
        self.limits.place(steady_due(self.next, self.rate))
    }

    fn go_on(&mut self) {
        // At the end of all numbers it stays there, beyond every limit.
        self.next = self.next.saturating_add(u64::from(self.users.max(1)));
    }
}
