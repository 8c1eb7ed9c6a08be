//! How a run is ended from outside: first no new requests, then no more waiting.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Poll, Waker};
use streamgauge_core::Nanos;
use tokio::sync::watch;

/// The handle on a run's end. Clones are the same handle.
#[derive(Clone, Debug)]
pub struct Control(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// What `end` says, to look at before every request.
    draining: AtomicBool,
    interrupted: AtomicBool,
    satisfied: OnceLock<String>,
    started: OnceLock<Nanos>,
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
    /// Nothing is waited for any more.
    Aborted,
}

impl Default for Control {
    fn default() -> Control {
        Control(Arc::new(Inner {
            draining: AtomicBool::new(false),
            interrupted: AtomicBool::new(false),
            satisfied: OnceLock::new(),
            started: OnceLock::new(),
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

    /// The run has found what it was to find, for that reason: it drains.
    pub fn satisfy(&self, reason: String) {
        if !self.is_draining() {
            self.0.satisfied.get_or_init(|| reason);
        }
        self.drain();
    }

    /// What [`Control::satisfy`] was told.
    pub fn satisfied(&self) -> Option<&str> {
        self.0.satisfied.get().map(String::as_str)
    }

    /// When the measured phase started, once it has.
    pub fn started(&self) -> Option<Nanos> {
        self.0.started.get().copied()
    }

    pub(crate) fn start(&self, at: Nanos) {
        self.0.started.get_or_init(|| at);
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

/// The end as one load thread's tasks see it: a state to look at on each poll, and wakers so that they do.
#[derive(Debug, Default)]
pub(crate) struct LocalEnd {
    end: Cell<End>,
    wakers: RefCell<Vec<Waker>>,
}

impl LocalEnd {
    pub fn is_aborted(&self) -> bool {
        self.end.get() == End::Aborted
    }

    /// Wakes this task whenever the end comes nearer. Once a task: its waker stays the same.
    pub async fn register(&self) {
        poll_fn(|cx| {
            self.wakers.borrow_mut().push(cx.waker().clone());
            Poll::Ready(())
        })
        .await;
    }

    pub fn bring(&self, end: End) {
        self.end.set(end);
        self.wakers.borrow().iter().for_each(Waker::wake_by_ref);
    }

    /// `work` of a registered task, unless the run is aborted first.
    pub async fn unless_aborted<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        self.before(End::Aborted, work).await
    }

    /// `work` of a registered task, unless the run is to end first.
    pub async fn unless_draining<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        self.before(End::Draining, work).await
    }

    async fn before<T>(&self, end: End, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending if self.end.get() >= end => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        })
        .await
    }
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
}
