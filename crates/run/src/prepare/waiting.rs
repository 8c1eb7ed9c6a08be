//! Says what is being waited for, where a question before load takes more than a moment.

use crate::listener::Listener;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;
use streamgauge_core::Message;

/// From when on a wait is shown: longer than any healthy server takes, and before people begin to wonder.
const SHOWN_AFTER: Duration = Duration::from_secs(3);

/// Something that is waited for. Dropped, it is no longer.
pub struct Waiting(Option<(Sender<()>, JoinHandle<()>)>);

impl Waiting {
    /// Has `what` shown if it takes more than a moment. Where no thread can be had for that, nothing is shown.
    pub fn until_answered(what: Message, listener: &Arc<dyn Listener>) -> Waiting {
        let (over, is_over) = channel();
        let listener = listener.clone();
        let thread = std::thread::Builder::new().name("waiting".into()).spawn(move || {
            if is_over.recv_timeout(SHOWN_AFTER) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                listener.note(&what);
            }
        });
        Waiting(thread.ok().map(|thread| (over, thread)))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some((over, thread)) = self.0.take() {
            drop(over);
            let _ = thread.join();
        }
    }
}
