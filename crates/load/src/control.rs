//! How a run is ended from outside: first no new requests, then no more waiting.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;
use tokio::sync::watch;

/// The handle on a run's end. Clones are the same handle.
#[derive(Clone, Debug)]
pub struct Control(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    draining: AtomicBool,
    interrupted: AtomicBool,
    abort: watch::Sender<bool>,
}

impl Default for Control {
    fn default() -> Control {
        Control(Arc::new(Inner {
            draining: AtomicBool::new(false),
            interrupted: AtomicBool::new(false),
            abort: watch::Sender::new(false),
        }))
    }
}

impl Control {
    /// Issue no more requests; those in flight go on.
    pub fn drain(&self) {
        self.0.draining.store(true, Ordering::Release);
    }

    /// Wait no longer: whatever is in flight is cut off.
    pub fn abort(&self) {
        self.drain();
        self.0.abort.send_replace(true);
    }

    /// Somebody asked for the end: the first time it drains, the second time it aborts.
    pub fn interrupt(&self) {
        if self.0.interrupted.swap(true, Ordering::AcqRel) { self.abort() } else { self.drain() }
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
        *self.0.abort.borrow()
    }

    /// Waits until [`Control::abort`].
    pub(crate) async fn aborted(&self) {
        // The sender lives in `self`, so the wait ends in no other way.
        let _ = self.0.abort.subscribe().wait_for(|aborted| *aborted).await;
    }
}

/// The abort as one load thread's slots see it: a flag to look at on each poll, and wakers so that they do.
#[derive(Debug, Default)]
pub(crate) struct LocalAbort {
    fired: Cell<bool>,
    wakers: RefCell<Vec<Waker>>,
}

impl LocalAbort {
    pub fn is_fired(&self) -> bool {
        self.fired.get()
    }

    /// Wakes this task when the abort comes. Once a task: its waker stays the same.
    pub fn register(&self, waker: &Waker) {
        self.wakers.borrow_mut().push(waker.clone());
    }

    pub fn fire(&self) {
        self.fired.set(true);
        self.wakers.borrow_mut().drain(..).for_each(Waker::wake);
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
