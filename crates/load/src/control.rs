//! How a run is ended from outside: first no new requests, then no more waiting.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Poll, Waker};
use streamgauge_core::Satisfied;
use streamgauge_core::clock::Nanos;
use tokio::sync::watch;

/// The handle on a run's end. Clones are the same handle.
#[derive(Clone, Debug)]
pub struct Control(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// The state of `end`, which is read before every request.
    draining: AtomicBool,
    /// Load threads have been started.
    begun: AtomicBool,
    interrupted: AtomicBool,
    satisfied: OnceLock<Satisfied>,
    /// The start of the run, once it is known.
    started: Mutex<Arc<OnceLock<Nanos>>>,
    end: watch::Sender<End>,
}

/// How near the end is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum End {
    /// The run goes on.
    #[default]
    Open,
    /// No more requests are issued.
    Draining,
    /// Nothing is awaited any more.
    Aborted,
}

impl Default for Control {
    fn default() -> Control {
        Control(Arc::new(Inner {
            draining: AtomicBool::new(false),
            begun: AtomicBool::new(false),
            interrupted: AtomicBool::new(false),
            satisfied: OnceLock::new(),
            started: Mutex::default(),
            end: watch::Sender::default(),
        }))
    }
}

impl Control {
    /// Issue no more requests; those in flight go on.
    pub fn drain(&self) {
        self.bring(End::Draining);
    }

    /// Wait no longer: whatever is in flight is cut off.
    pub fn abort(&self) {
        self.bring(End::Aborted);
    }

    /// Somebody asked for the end: the first time it drains, the second time it aborts.
    pub fn interrupt(&self) {
        if self.0.interrupted.swap(true, Ordering::AcqRel) { self.abort() } else { self.drain() }
    }

    /// Drains the run, because a figure that the plan waits for is there. The first reason is kept, and none is kept if the run is
    /// being ended already.
    pub fn satisfy(&self, reason: Satisfied) {
        if !self.is_draining() {
            self.0.satisfied.get_or_init(|| reason);
        }
        self.drain();
    }

    /// The figure that ended the run, if one did.
    pub fn satisfied(&self) -> Option<&Satisfied> {
        self.0.satisfied.get()
    }

    /// When the measured phase of the run that this belongs to started, once it has; of a schedule, its zero.
    pub fn started(&self) -> Option<Nanos> {
        self.0.started.lock().unwrap_or_else(PoisonError::into_inner).get().copied()
    }

    /// Whether a run of load has begun, so that there may be requests in flight.
    pub fn has_begun(&self) -> bool {
        self.0.begun.load(Ordering::Acquire)
    }

    /// A run begins, and will put its start into `start`.
    pub(crate) fn follow(&self, start: Arc<OnceLock<Nanos>>) {
        self.0.begun.store(true, Ordering::Release);
        *self.0.started.lock().unwrap_or_else(PoisonError::into_inner) = start;
    }

    /// Whether no more requests are issued.
    pub fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::Acquire)
    }

    /// Whether somebody asked for the end.
    pub fn is_interrupted(&self) -> bool {
        self.0.interrupted.load(Ordering::Acquire)
    }

    /// Whether nothing is waited for any more.
    pub fn is_aborted(&self) -> bool {
        *self.0.end.borrow() == End::Aborted
    }

    /// Waits until the end is nearer than `than`, and says how near.
    pub(crate) async fn nearer(&self, than: End) -> End {
        // The sender lives in `self`, so the wait ends in no other way.
        self.0.end.subscribe().wait_for(|end| *end > than).await.map_or(End::Aborted, |end| *end)
    }

    fn bring(&self, end: End) {
        self.0.draining.store(true, Ordering::Release);
        self.0.end.send_if_modified(|now| std::mem::replace(now, end.max(*now)) < end);
    }
}

/// The end of the run as seen by the tasks of one load thread: a state that each poll reads, and wakers that cause a poll.
#[derive(Debug, Default)]
pub(crate) struct LocalEnd {
    end: Cell<End>,
    /// When it first came nearer.
    drained: Cell<Option<Nanos>>,
    /// The number of phases, from the first, whose requests in flight are cut off while the run continues.
    cut: Cell<usize>,
    wakers: RefCell<Vec<Waker>>,
}

impl LocalEnd {
    /// Whether requests in flight in phase number `phase` are cut off, because the run or the phase has ended.
    pub fn is_cut(&self, phase: usize) -> bool {
        self.is_aborted() || self.cut.get() > phase
    }

    /// When this thread learned that no more requests are issued in the run, if that is so.
    pub fn drained(&self) -> Option<Nanos> {
        self.drained.get()
    }

    /// Wakes this task whenever the end comes nearer. Once a task: its waker stays the same.
    pub async fn register(&self) {
        poll_fn(|cx| {
            self.wakers.borrow_mut().push(cx.waker().clone());
            Poll::Ready(())
        })
        .await;
    }

    /// The run's end is as near as `end`, at `now`.
    pub fn bring(&self, end: End, now: Nanos) {
        self.end.set(end);
        if self.drained.get().is_none() {
            self.drained.set(Some(now));
        }
        self.wake();
    }

    /// The time of phase number `phase` is up, its grace included.
    pub fn cut_off(&self, phase: usize) {
        self.cut.set(self.cut.get().max(phase + 1));
        self.wake();
    }

    /// `work` of a registered task, unless the run is aborted first.
    pub async fn unless_aborted<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        before(work, || self.is_aborted()).await
    }

    /// `work` of a registered task, unless nothing more is issued in phase number `phase` first.
    pub async fn unless_over<T>(&self, phase: usize, work: impl Future<Output = T>) -> Option<T> {
        before(work, || self.end.get() >= End::Draining || self.cut.get() > phase).await
    }

    fn is_aborted(&self) -> bool {
        self.end.get() == End::Aborted
    }

    fn wake(&self) {
        self.wakers.borrow().iter().for_each(Waker::wake_by_ref);
    }
}

async fn before<T>(work: impl Future<Output = T>, is_over: impl Fn() -> bool) -> Option<T> {
    let mut work = pin!(work);
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending if is_over() => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_interrupt_aborts() {
        let control = Control::default();
        assert!(!control.is_draining() && !control.is_interrupted());
        control.interrupt();
        assert!(control.is_draining() && control.is_interrupted() && !control.is_aborted());
        control.clone().interrupt();
        assert!(control.is_aborted());
    }

    #[test]
    fn the_first_reason_stays_unless_the_run_was_being_ended() {
        let control = Control::default();
        let reason = |text: &str| Satisfied::Stored(text.to_owned());
        control.satisfy(reason("three windows agree"));
        control.satisfy(reason("something else"));
        assert!(control.is_draining() && !control.is_interrupted());
        assert_eq!(control.satisfied(), Some(&reason("three windows agree")));
        let interrupted = Control::default();
        interrupted.interrupt();
        interrupted.satisfy(reason("too late"));
        assert_eq!(interrupted.satisfied(), None);
        assert!(!interrupted.is_aborted());
    }

    #[test]
    fn a_start_is_the_newest_run_s() {
        let control = Control::default();
        assert_eq!(control.started(), None);
        for start in [Nanos(5), Nanos(9)] {
            let cell = Arc::new(OnceLock::new());
            control.follow(cell.clone());
            assert_eq!(control.started(), None);
            cell.set(start).unwrap();
            assert_eq!(control.started(), Some(start));
        }
    }
}
