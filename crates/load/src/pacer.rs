//! The open loop in one load thread: its slots take turns at waiting for the next due request.
//!
//! One slot has the turn. It takes the next due of the thread's slice of the schedule, sleeps until then, hands the turn on,
//! and sends. The turn goes to the slot that has been idle for the shortest time (its connection is the least likely to have
//! been closed meanwhile), or to a new slot when all are busy. So busy slots never hold the schedule up; only a cap may, and
//! a system without descriptors.

use crate::control::{Control, LocalEnd};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::iter::Peekable;
use std::rc::Rc;
use std::task::{Poll, Waker};
use streamgauge_core::clock::{Clock, Nanos, SystemClock};
use streamgauge_core::schedule::{Due, Slice};
use streamgauge_net::Timer;
use tokio::sync::{Semaphore, SemaphorePermit};

/// How long before a request is due its slot wakes up. A processor that was idle takes some tens of microseconds to come back, and
/// none if it was busy, so without this the gaps between requests would differ by as much.
const WAKE_UP: Nanos = Nanos(50_000);

/// A request to be sent now.
#[derive(Debug)]
pub(crate) struct Ticket<'a> {
    /// Its number in the phase.
    pub seq: u64,
    /// When the schedule wanted it sent, where there is one.
    pub due: Option<Nanos>,
    /// When the slot took it up: at or after `due`.
    pub issued: Nanos,
    /// Its place under the cap, given back when this is dropped.
    #[expect(dead_code, reason = "held, not read")]
    pub place: Option<SemaphorePermit<'a>>,
}

impl Ticket<'_> {
    /// A request of a closed loop: nothing but the slot itself was waited for.
    pub fn at_once(seq: u64, issued: Nanos) -> Ticket<'static> {
        Ticket { seq, due: None, issued, place: None }
    }
}

/// Who waits for the next due request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// Nobody: the next slot that comes.
    Free,
    /// The slot with this number, which does not know yet.
    Given(u32),
    /// A slot that waits.
    Held,
}

/// One phase of an open loop in one load thread.
pub(crate) struct Pacer {
    clock: SystemClock,
    timer: Timer,
    control: Control,
    end: Rc<LocalEnd>,
    slice: RefCell<Peekable<Slice>>,
    limits: Cell<Limits>,
    turn: Cell<Turn>,
    /// Idle slots, the newest last.
    idle: RefCell<Vec<(u32, Waker)>>,
    /// When the last request was issued or the end was seen.
    over: Cell<Option<Nanos>>,
}

/// Where a phase's part of the schedule lies, and where it ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The schedule's zero.
    pub start: Nanos,
    /// Requests of the phase over all threads.
    pub count: u64,
    /// What is due so long after the start, or later, is not issued.
    pub duration: Option<Nanos>,
}

impl Pacer {
    pub fn new(clock: SystemClock, timer: Timer, control: Control, end: Rc<LocalEnd>, slice: Slice) -> Pacer {
        let limits = Limits { start: Nanos::ZERO, count: 0, duration: None };
        Pacer {
            clock,
            timer,
            control,
            end,
            slice: RefCell::new(slice.peekable()),
            limits: Cell::new(limits),
            turn: Cell::new(Turn::Free),
            idle: RefCell::default(),
            over: Cell::new(None),
        }
    }

    /// The phase begins: before any slot asks for a ticket.
    pub fn begin(&self, limits: Limits) {
        self.limits.set(limits);
    }

    /// Waits for slot `slot`'s next request and until it is due, and for a place if there is a cap; none when the phase is
    /// over. `grow` is called when the turn is to go on and no slot is idle: it starts another and gives its number, or none
    /// if there can be no more.
    ///
    /// # Errors
    /// The timer's.
    pub async fn ticket<'a>(
        &self,
        slot: u32,
        cap: Option<&'a Semaphore>,
        grow: impl FnOnce() -> Option<u32>,
    ) -> io::Result<Option<Ticket<'a>>> {
        if !self.take_turn(slot).await {
            return Ok(None);
        }
        let Some(due) = self.peek() else { return Ok(self.finish()) };
        match self.end.unless_draining(self.until(due.at)).await {
            None => return Ok(self.finish()),
            Some(slept) => slept?,
        }
        let place = match cap {
            None => None,
            Some(cap) => match self.end.unless_draining(cap.acquire()).await {
                None => return Ok(self.finish()),
                // Nobody closes it.
                Some(place) => place.ok(),
            },
        };
        // A drain is kept to from its moment on, before this thread's tasks have been told of it.
        if self.control.is_draining() {
            return Ok(self.finish());
        }
        // Only now is it out of the schedule: until here it counts as not sent.
        self.slice.borrow_mut().next();
        self.pass_on(grow);
        Ok(Some(Ticket { seq: due.seq, due: Some(due.at), issued: self.clock.now(), place }))
    }

    /// Sleeps until shortly before `due`, and looks at the clock from then on, between which the thread's other tasks go on.
    async fn until(&self, due: Nanos) -> io::Result<()> {
        self.timer.sleep_until(due - WAKE_UP).await?;
        while self.clock.now() < due {
            tokio::task::yield_now().await;
        }
        Ok(())
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
        let Limits { start, count, duration } = self.limits.get();
        let next = self.slice.borrow_mut().peek().copied();
        let next = next.filter(|due| due.seq < count && duration.is_none_or(|duration| due.at < duration));
        next.map(|due| Due { at: start + due.at, ..due })
    }

    /// Waits until slot `slot` has the turn; false when the phase is over.
    async fn take_turn(&self, slot: u32) -> bool {
        let mut waits = false;
        poll_fn(|cx| {
            if self.over.get().is_some() || self.control.is_draining() {
                self.finish::<()>();
                return Poll::Ready(false);
            }
            let turn = self.turn.get();
            if turn == Turn::Free || turn == Turn::Given(slot) {
                self.turn.set(Turn::Held);
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
            Some((slot, waker)) => {
                waker.wake();
                Some(slot)
            }
            // The last request of a phase needs nobody after it.
            None if self.peek().is_some() => grow(),
            None => None,
        };
        self.turn.set(next.map_or(Turn::Free, Turn::Given));
    }

    /// The phase is over: whoever is idle is sent on.
    fn finish<T>(&self) -> Option<T> {
        if self.over.get().is_none() {
            self.over.set(Some(self.clock.now()));
        }
        self.idle.borrow_mut().drain(..).for_each(|(_, waker)| waker.wake());
        None
    }
}
