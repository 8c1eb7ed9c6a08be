//! Connections whose answers were complete before their bodies ended. The bodies are read to their end in the background, after which the
//! connections can be used again.

use crate::connection::{BodyStep, Connection, State};
use crate::preflight::descriptors::{Budget, Taken};
use crate::tasks;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use streamgauge_core::record::{Failure, FailureClass, Stage};

/// How long a body may go on after its answer was complete. Servers that end bodies late do so within seconds; after this time the connection
/// is closed.
const PATIENCE: Duration = Duration::from_secs(10);

/// The maximum number of connections per load thread that are read in the background. Each uses descriptors that no slot uses, if there
/// are any.
const MOST_AT_ONCE: usize = 256;

/// How many bytes behind a complete answer are read at most. What servers send there is far shorter.
const MOST_BYTES: usize = 64 * 1024;

/// The connections that the slots of one load thread have handed over.
#[derive(Default)]
pub(crate) struct Drains {
    at_work: Cell<usize>,
    /// The budget of their descriptors.
    budget: Arc<Budget>,
    /// The connections whose bodies have ended.
    spare: RefCell<Vec<Spare>>,
    abandoned: Cell<u64>,
}

/// A connection whose body has ended.
struct Spare {
    /// The index of its server.
    target: usize,
    connection: Connection,
    _descriptors: Taken,
}

impl Drains {
    /// Returns an empty set; each connection takes a stream of `budget`.
    pub fn new(budget: Arc<Budget>) -> Drains {
        Drains { budget, ..Drains::default() }
    }

    /// Reads the rest of the body on `connection`, to server number `target`, in a task of this thread. If it `serves_again`, the connection
    /// is kept for the next slot that needs one; otherwise it is closed.
    pub fn take(self: &Rc<Drains>, target: usize, mut connection: Connection, serves_again: bool) {
        let descriptors = if self.at_work.get() < MOST_AT_ONCE { self.budget.take() } else { None };
        let Some(descriptors) = descriptors else { return self.abandon() };
        self.at_work.update(|count| count + 1);
        let drains = self.clone();
        tasks::spawn(async move {
            let ended = tokio::time::timeout(PATIENCE, rest_of_body(&mut connection)).await;
            drains.at_work.update(|count| count - 1);
            match ended {
                Ok(Ok(())) if serves_again => {
                    drains.spare.borrow_mut().push(Spare { target, connection, _descriptors: descriptors });
                }
                Ok(Ok(())) => connection.close().await,
                // The server closed the connection without the last piece of the body.
                Ok(Err(failure)) if failure.class != FailureClass::Malformed => {}
                Ok(Err(_)) | Err(_) => drains.abandon(),
            }
        });
    }

    /// A kept connection to server number `target` that can be used, if there is one.
    pub async fn spare(&self, target: usize) -> Option<Connection> {
        loop {
            let newest = self.spare.borrow().iter().rposition(|spare| spare.target == target)?;
            let Spare { mut connection, .. } = self.spare.borrow_mut().swap_remove(newest);
            if matches!(connection.state().await, State::Usable | State::Renewed) {
                return Some(connection);
            }
        }
    }

    /// Connections that were closed because the body of a complete answer did not end.
    pub fn abandoned(&self) -> u64 {
        self.abandoned.get()
    }

    fn abandon(&self) {
        self.abandoned.update(|count| count + 1);
    }
}

/// Reads the body in progress to its end.
///
/// # Errors
/// When the body fails, or is too long to be the rest of an answer.
pub(crate) async fn rest_of_body(connection: &mut Connection) -> Result<(), Failure> {
    let mut bytes = 0;
    while let BodyStep::Piece(piece) = connection.piece().await? {
        bytes += piece.bytes.len();
        if bytes > MOST_BYTES {
            let message = "the body goes on after the answer is complete".to_owned();
            return Err(Failure { stage: Stage::Body, class: FailureClass::Malformed, message });
        }
    }
    Ok(())
}
