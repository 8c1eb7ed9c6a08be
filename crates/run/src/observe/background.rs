//! A thread that works in the background until it is stopped.

use anyhow::{Result, anyhow};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// Work on a thread of its own, which ends when it is stopped.
pub(super) struct Background<T> {
    stop: Sender<()>,
    thread: JoinHandle<T>,
}

/// The signal that ends the work.
pub(super) struct Stopped(Receiver<()>);

impl<T: Send + 'static> Background<T> {
    /// Starts `work` on a thread of that name.
    ///
    /// # Errors
    /// When the operating system makes no thread.
    pub fn start(name: &str, work: impl FnOnce(Stopped) -> T + Send + 'static) -> Result<Background<T>> {
        let (stop, stopped) = channel();
        let thread = std::thread::Builder::new().name(name.into()).spawn(move || work(Stopped(stopped)))?;
        Ok(Background { stop, thread })
    }

    /// Signals the work to end, waits for it, and returns its result.
    ///
    /// # Errors
    /// When the work panicked.
    pub fn finish(self) -> Result<T> {
        drop(self.stop);
        self.thread.join().map_err(|_| anyhow!("the observer stopped by an error of this program"))
    }
}

impl Stopped {
    /// Waits for `wait`, and returns whether the work should continue after it.
    pub fn should_continue(&self, wait: Duration) -> bool {
        self.0.recv_timeout(wait) == Err(RecvTimeoutError::Timeout)
    }

    /// Waits until the work is stopped.
    pub fn wait(&self) {
        let _ = self.0.recv();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_goes_on_until_it_is_told_to_end_and_gives_what_it_made() {
        let work = Background::start("test", |stopped| {
            let mut samples = 0;
            while stopped.should_continue(Duration::from_millis(1)) {
                samples += 1;
            }
            stopped.wait();
            samples
        })
        .unwrap();
        std::thread::sleep(Duration::from_millis(50));
        assert!(work.finish().unwrap() > 0);
    }

    #[test]
    fn work_that_panics_is_an_error() {
        let work = Background::<()>::start("test", |_| panic!("as it should")).unwrap();
        assert!(work.finish().is_err());
    }
}
