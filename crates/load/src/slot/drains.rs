//! Connections whose answers were complete before their bodies ended: they are read to the end of the body beside the load, and
//! then serve again.

use crate::connection::{BodyStep, Connection, State};
use crate::tasks;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use streamgauge_core::record::{Failure, FailureClass, Stage};

/// How long a body may go on after its answer was complete before the connection is closed. Servers that end bodies late do so
/// within seconds, and a connection that does not end is of no more use.
const PATIENCE: Duration = Duration::from_secs(10);

/// Connections of one load thread that are read beside the load at once. Each takes a descriptor beside those of the slots.
const MOST_AT_ONCE: usize = 256;

/// Bytes behind a complete answer that are read at most: nothing that a server has left to say is so long.
const MOST_BYTES: usize = 64 * 1024;

/// What the slots of one load thread have let go of.
#[derive(Default)]
pub(crate) struct Drains {
    at_work: Cell<usize>,
    /// Those whose bodies have ended, with their servers' indices.
    spare: RefCell<Vec<(usize, Connection)>>,
    abandoned: Cell<u64>,
}

impl Drains {
    /// Reads what is left of the body on `connection`, to server number `target`, in a task of this thread. A connection that
    /// `serves_again` is there for whoever needs one next; any other is closed.
    pub fn take(self: &Rc<Drains>, target: usize, mut connection: Connection, serves_again: bool) {
        if self.at_work.get() >= MOST_AT_ONCE {
            return self.abandon();
        }
        self.at_work.update(|count| count + 1);
        let drains = self.clone();
        tasks::spawn(async move {
            let ended = tokio::time::timeout(PATIENCE, rest_of_body(&mut connection)).await;
            drains.at_work.update(|count| count - 1);
            match ended {
                Ok(Ok(())) if serves_again => drains.spare.borrow_mut().push((target, connection)),
                Ok(Ok(())) => connection.close().await,
                // Closed by the server, without the last piece of its body.
                Ok(Err(failure)) if failure.class != FailureClass::Malformed => {}
                Ok(Err(_)) | Err(_) => drains.abandon(),
            }
        });
    }

    /// A connection to server number `target` that can serve again, if there is one.
    pub async fn spare(&self, target: usize) -> Option<Connection> {
        loop {
            let place = self.spare.borrow().iter().rposition(|(of, _)| *of == target)?;
            let (_, mut connection) = self.spare.borrow_mut().swap_remove(place);
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

/// Reads the body under way to its end.
///
/// # Errors
/// The body's, and when it is too long to be the rest of one.
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
