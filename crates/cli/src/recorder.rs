//! The far end of the records' channel: counts the output's tokens, adds each record to the summary, and writes it to the
//! files, all on a thread of its own.

use crate::books::{Books, Recorded};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use streamgauge_core::clock::{Clock, Nanos, SystemClock};
use streamgauge_core::record::RunFacts;
use streamgauge_load::{Batch, Finished};
use streamgauge_prompt::Tokenizer;

/// Finished records are on disk after no longer than this, so that a kill loses no more.
const FLUSH: Nanos = Nanos::from_millis(500);

/// What turns finished requests into results.
pub struct Recorder<'a> {
    /// Where they are entered.
    pub books: Books<'a>,
    /// Counts output tokens.
    pub tokenizer: Tokenizer,
    /// The run's clock.
    pub clock: SystemClock,
}

impl Recorder<'_> {
    /// Takes batches until their senders are gone, then closes the books with the run's facts.
    pub fn run(mut self, batches: Receiver<Batch>, facts: Receiver<RunFacts>) -> Recorded {
        // The files' beginnings at once: records that outlive a kill are of no use without their plan.
        self.books.flush();
        let mut flushed = self.clock.now();
        loop {
            let batch = match batches.recv_timeout(FLUSH.to_duration()) {
                Ok(batch) => batch,
                Err(RecvTimeoutError::Timeout) => Batch::new(),
                Err(RecvTimeoutError::Disconnected) => break,
            };
            for mut finished in batch {
                self.count(&mut finished);
                self.books.enter(&finished.record, &finished.raw);
            }
            let now = self.clock.now();
            if now - flushed >= FLUSH {
                flushed = now;
                self.books.flush();
            }
        }
        // The sender lives until the run is over; without it nothing was run.
        self.books.close(&facts.recv().unwrap_or_default())
    }

    fn count(&self, finished: &mut Finished) {
        if !finished.outputs.is_empty() {
            let tokens = finished.outputs.iter().map(|output| self.tokenizer.count(&output.text)).sum();
            finished.record.text_tokens = Some(tokens);
        }
    }
}
