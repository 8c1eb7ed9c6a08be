//! The runtime of questions outside the load. The calling thread waits for the answers.

use crate::failure;
use std::io;
use streamgauge_core::clock::Nanos;
use streamgauge_core::record::{Failure, Stage};
use tokio::runtime::{Builder, Runtime};
use tokio::task::LocalSet;

/// Runs work on the calling thread until it is done. Connections that are opened there must be dropped before this is.
pub(super) struct Waiter {
    // Dropped before the runtime that its tasks need.
    tasks: LocalSet,
    runtime: Runtime,
}

impl Waiter {
    /// A runtime for the calling thread.
    ///
    /// # Errors
    /// When the system gives no runtime what it needs, such as descriptors.
    pub fn new() -> io::Result<Waiter> {
        Ok(Waiter { tasks: LocalSet::new(), runtime: Builder::new_current_thread().enable_all().build()? })
    }

    /// Waits for `work`.
    pub fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.tasks.block_on(&self.runtime, work)
    }

    /// Waits for the answer that `work` brings.
    ///
    /// # Errors
    /// Those of `work`, and when there is no whole answer within `limit`.
    pub fn answer<T>(&self, limit: Nanos, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let answered = self.wait(async { tokio::time::timeout(limit.max(Nanos::ZERO).to_duration(), work).await });
        answered.unwrap_or_else(|_| Err(failure::timeout(Stage::FirstByte, limit, "the answer")))
    }
}
