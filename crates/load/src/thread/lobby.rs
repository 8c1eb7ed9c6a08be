//! Where the slots of one load thread wait between two phases.

use crate::control::LocalEnd;
use std::cell::Cell;
use std::rc::Rc;
use tokio::sync::Notify;

/// Slots that begin a phase together. Each wakes another as it passes, so that between them the thread sees to what has come:
/// if thousands were woken at once, the first answers would wait until the last request is sent.
const TOGETHER: u32 = 16;

/// Counts a thread's slots, those that wait for the next phase, and the phases that were opened.
pub(crate) struct Lobby {
    end: Rc<LocalEnd>,
    expected: Cell<u32>,
    waiting: Cell<u32>,
    opened: Cell<usize>,
    /// Somebody came or left.
    changed: Notify,
    /// A phase was opened.
    opening: Notify,
}

/// A slot that has not ended.
pub(crate) struct Presence<'a>(&'a Lobby);

impl Lobby {
    pub fn new(end: Rc<LocalEnd>) -> Lobby {
        let (expected, waiting, opened) = Default::default();
        Lobby { end, expected, waiting, opened, changed: Notify::new(), opening: Notify::new() }
    }

    /// One more slot will come.
    pub fn expect_one(&self) {
        self.expected.update(|slots| slots + 1);
    }

    /// Slots that have not ended.
    pub fn expected(&self) -> u32 {
        self.expected.get()
    }

    /// Permits by a slot until it ends, however it ends.
    pub fn presence(&self) -> Presence<'_> {
        Presence(self)
    }

    /// Waits until phase number `phase` is open; false when the run was aborted before.
    pub async fn pass(&self, phase: usize) -> bool {
        if self.is_open(phase) {
            return true;
        }
        self.waiting.update(|slots| slots + 1);
        self.changed.notify_one();
        while !self.is_open(phase) {
            if self.end.unless_aborted(self.opening.notified()).await.is_none() {
                return false;
            }
        }
        // All that wait here wait for one phase, in a queue; whom the last of them wakes waits for the next and goes on so.
        self.opening.notify_one();
        true
    }

    /// Whether phase number `phase` was opened.
    pub fn is_open(&self, phase: usize) -> bool {
        self.opened.get() > phase
    }

    /// Opens phase number `phase`.
    pub fn open(&self, phase: usize) {
        self.waiting.set(0);
        self.opened.set(phase + 1);
        (0..TOGETHER).for_each(|_| self.opening.notify_one());
    }

    /// Waits until all slots wait for the next phase.
    pub async fn full(&self) {
        while self.waiting.get() < self.expected.get() {
            self.changed.notified().await;
        }
    }

    /// Waits until all slots have ended.
    pub async fn deserted(&self) {
        while self.expected.get() > 0 {
            self.changed.notified().await;
        }
    }
}

impl Drop for Presence<'_> {
    fn drop(&mut self) {
        self.0.expected.update(|slots| slots - 1);
        self.0.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use tokio::task::{LocalSet, spawn_local};

    /// Slots that put down their number whenever they pass, through so many phases.
    fn slots(lobby: &Rc<Lobby>, count: usize, phases: usize) -> Rc<RefCell<Vec<usize>>> {
        let passed = Rc::<RefCell<Vec<usize>>>::default();
        for slot in 0..count {
            lobby.expect_one();
            let (lobby, passed) = (lobby.clone(), passed.clone());
            spawn_local(async move {
                let _present = lobby.presence();
                for phase in 0..phases {
                    assert!(lobby.pass(phase).await);
                    passed.borrow_mut().push(slot);
                }
            });
        }
        passed
    }

    fn on_runtime(work: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        LocalSet::new().block_on(&runtime, work);
    }

    #[test]
    fn all_slots_pass_phase_after_phase() {
        on_runtime(async {
            let lobby = Rc::new(Lobby::new(Rc::default()));
            let passed = slots(&lobby, 100, 3);
            for phase in 0..3 {
                lobby.full().await;
                assert_eq!(passed.borrow().len(), 100 * phase);
                lobby.open(phase);
            }
            lobby.deserted().await;
            assert_eq!(passed.borrow().len(), 300);
        });
    }

    #[test]
    fn what_comes_meanwhile_does_not_wait_for_the_last_slot() {
        on_runtime(async {
            let lobby = Rc::new(Lobby::new(Rc::default()));
            let passed = slots(&lobby, 1_000, 1);
            lobby.full().await;
            lobby.open(0);
            let before = passed.clone();
            let seen = spawn_local(async move { before.borrow().len() }).await.unwrap();
            assert!(seen < 100, "{seen}");
            lobby.deserted().await;
            assert_eq!(passed.borrow().len(), 1_000);
        });
    }
}
