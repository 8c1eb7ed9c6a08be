//! The batches in which records leave a load thread.

use crate::job::{Batch, Finished};
use std::cell::{Cell, RefCell};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::Duration;
use streamgauge_core::clock::Nanos;

/// How many records leave a thread together at most, so that the receiver wakes up once for so many.
const BATCH: usize = 64;
/// So many output events fill a batch too: their times are nearly all of the memory that waiting records take, and the channel is
/// bounded in batches.
const BATCH_EVENTS: usize = 8_192;
/// How many records leave together if they have gathered slowly. If the receiver shares the processor of this thread, it occupies it while it
/// works on them, some 15 µs for a record of 32 tokens, and what is due meanwhile waits.
const SMALL_BATCH: usize = 8;
/// The time that makes a batch slow. Batches that leave more often would cost more in wake-ups than they save in waits.
const SMALL_BATCH_EVERY: Nanos = Nanos::from_millis(2);
/// The longest time for which a record waits for others.
pub(super) const BATCH_WAIT: Duration = Duration::from_millis(100);

/// Records on their way out.
pub(super) struct Outbox {
    batch: RefCell<Batch>,
    /// The output events in it.
    events: Cell<usize>,
    /// When the last batch left because of its size.
    left: Cell<Nanos>,
    sink: SyncSender<Batch>,
}

impl Outbox {
    /// No records yet; they will go to `sink`.
    pub(super) fn new(sink: SyncSender<Batch>) -> Outbox {
        Outbox { batch: RefCell::default(), events: Cell::new(0), left: Cell::new(Nanos::ZERO), sink }
    }

    /// Adds a record, which ended `now`.
    pub(super) fn push(&self, finished: Finished, now: Nanos) {
        self.events.set(self.events.get() + finished.record.chunks.len());
        self.batch.borrow_mut().push(finished);
        let gathered = self.batch.borrow().len();
        if gathered >= BATCH || self.events.get() >= BATCH_EVENTS {
            self.left.set(now);
            self.flush();
        } else if gathered >= SMALL_BATCH && now - self.left.get() >= SMALL_BATCH_EVERY {
            self.left.set(now);
            self.offer();
        }
    }

    /// Hands over what has gathered, unless the receiver is behind. Then more gathers, and the thread is held up no earlier than by as many
    /// whole batches.
    fn offer(&self) {
        match self.sink.try_send(self.batch.take()) {
            Err(TrySendError::Full(batch)) => drop(self.batch.replace(batch)),
            _ => self.events.set(0),
        }
    }

    /// Hands over what has gathered. It waits while the receiver is behind.
    pub(super) fn flush(&self) {
        let batch = self.batch.take();
        self.events.set(0);
        if !batch.is_empty() {
            // A receiver that is gone wants no more records.
            let _ = self.sink.send(batch);
        }
    }
}
