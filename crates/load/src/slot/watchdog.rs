//! Ends a request before its answer does: at time limits, at the end of the run or the phase, and at planned cancellations.

use crate::connection::Written;
use crate::control::LocalEnd;
use crate::failure::{self, Ended};
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use streamgauge_core::clock::{Clock, Nanos, SystemClock};
use streamgauge_core::plan::Timeouts;
use streamgauge_core::record::{Failure, Stage};
use tokio::task::unconstrained;
use tokio::time::Sleep;

/// Which limit is running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    Connect,
    FirstByte,
    Idle,
    /// The limit of the wait for the end of a body whose answer is complete; see [`LAST_PIECE`].
    BodyEnd,
}

/// How long the end of a body is waited for once its answer is complete. Servers write it right behind the answer, in a write of its
/// own: tens of microseconds later, on a busy machine some more. The next request of a closed loop waits as long at most.
const LAST_PIECE: Nanos = Nanos::from_millis(2);

/// Ends a wait that takes too long, or when requests in flight are cut off or cancelled. It uses one timer for the slot's whole life: the
/// timer is moved only when it fires early or a nearer limit begins, so that a request needs no timer of its own.
pub(crate) struct Watchdog {
    clock: SystemClock,
    timeouts: Timeouts,
    end: Rc<LocalEnd>,
    /// The phase that its slot is in.
    phase: usize,
    sleep: Pin<Box<Sleep>>,
    armed: Nanos,
    total: Nanos,
    running: (Limit, Nanos),
    /// Cancel the request this long after all of it was written.
    cancel: Option<(Nanos, Written)>,
    /// The timer was asked since it was set, and so wakes the slot's task. A slot lives in one task.
    asked: bool,
}

impl Watchdog {
    pub fn new(clock: SystemClock, timeouts: Timeouts, end: Rc<LocalEnd>) -> Watchdog {
        let armed = clock.now() + timeouts.total;
        let sleep = Box::pin(tokio::time::sleep_until(clock.instant(armed).into()));
        Watchdog {
            clock,
            timeouts,
            end,
            phase: 0,
            sleep,
            armed,
            total: armed,
            running: (Limit::Connect, armed),
            cancel: None,
            asked: false,
        }
    }

    /// From now on its slot is in phase number `phase`.
    pub fn begin_phase(&mut self, phase: usize) {
        self.phase = phase;
    }

    /// A request begins.
    pub fn start(&mut self, issued: Nanos) {
        self.total = issued + self.timeouts.total;
    }

    /// From now on `limit` runs.
    ///
    /// # Errors
    /// When the request is over already: cut off, given up, or out of its whole time. Work that is always ready at once never waits, so
    /// that only this looks at the clock then.
    pub fn expect(&mut self, limit: Limit) -> Result<(), Ended> {
        let now = self.clock.now();
        self.running = (limit, now + self.span(limit));
        if self.end.is_cut(self.phase) {
            return Err(Ended::CutOff);
        }
        // Until a request is sent, the connection still reports the write of the previous one.
        if limit == Limit::Idle && self.given_up().is_some_and(|at| at <= now) {
            return Err(Ended::Cancelled);
        }
        if self.total <= now { Err(Ended::from(self.expired())) } else { Ok(()) }
    }

    fn span(&self, limit: Limit) -> Nanos {
        match limit {
            Limit::Connect => self.timeouts.connect,
            Limit::FirstByte => self.timeouts.first_byte,
            Limit::Idle => self.timeouts.idle,
            Limit::BodyEnd => LAST_PIECE,
        }
    }

    /// The request under way is given up so long after it was written, kept to within the runtime's millisecond and never
    /// before; or it is not.
    pub fn cancel(&mut self, after: Option<(Nanos, Written)>) {
        self.cancel = after;
    }

    /// `work`, unless a limit runs out, or the request is given up or cut off first.
    pub async fn guard<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Ended> {
        let mut work = pin!(work);
        poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Ok(done)),
            Poll::Pending => self.poll_end(cx).map(Err),
        })
        .await
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        if self.end.is_cut(self.phase) {
            return Poll::Ready(Ended::CutOff);
        }
        let (mut until, now) = (self.total.min(self.running.1), self.clock.now());
        if let Some(given_up) = self.given_up() {
            if now >= given_up {
                return Poll::Ready(Ended::Cancelled);
            }
            until = until.min(given_up);
        }
        // Not the timer's word: under a flood the runtime makes the task give way, and then no timer is ready.
        if now >= until {
            return Poll::Ready(Ended::from(self.expired()));
        }
        if until < self.armed {
            self.arm(until);
        }
        // Reading the clock is cheaper than asking the timer again.
        if self.asked && now < self.armed {
            return Poll::Pending;
        }
        // Asked however much the task has done: a timer that was not asked wakes nobody.
        while Pin::new(&mut unconstrained(self.sleep.as_mut())).poll(cx).is_ready() {
            if self.clock.now() >= until {
                // The next reading of the clock says what is over.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            self.arm(until);
        }
        self.asked = true;
        Poll::Pending
    }

    /// When the request is cancelled. It is known once the kernel has the whole request.
    fn given_up(&self) -> Option<Nanos> {
        let (delay, written) = self.cancel.as_ref()?;
        Some(written.at()? + *delay)
    }

    fn arm(&mut self, until: Nanos) {
        (self.armed, self.asked) = (until, false);
        self.sleep.as_mut().reset(self.clock.instant(until).into());
    }

    fn expired(&self) -> Failure {
        let (limit, at) = self.running;
        let stage = match limit {
            Limit::Connect => Stage::Connect,
            Limit::FirstByte => Stage::FirstByte,
            Limit::Idle | Limit::BodyEnd => Stage::Body,
        };
        if self.total < at {
            return failure::timeout(stage, self.timeouts.total, "the request");
        }
        let what = match limit {
            Limit::Connect => "opening the connection",
            Limit::FirstByte => "the answer's first byte",
            Limit::BodyEnd => "the end of the answer's body",
            Limit::Idle => "the next piece of the answer",
        };
        failure::timeout(stage, self.span(limit), what)
    }
}
