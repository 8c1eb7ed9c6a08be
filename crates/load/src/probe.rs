//! Questions asked before load, in no figure: which models there are, and whether a request is answered at all.

use crate::attempt::Slot;
use crate::connect::Routes;
use crate::connection::{Acks, Connection, Outgoing};
use crate::failure;
use crate::job::{Finished, Head, Job, JobError};
use crate::waits::Ticket;
use bytes::Bytes;
use std::rc::Rc;
use std::sync::Arc;
use streamgauge_core::clock::{Clock, Nanos, SystemClock};
use streamgauge_core::plan::Endpoint;
use streamgauge_core::record::{Failure, FailureClass, Phase, Stage};
use thiserror::Error;
use tokio::task::LocalSet;

/// Bytes of an answer to [`fetch`] that are read at most.
const ANSWER_LIMIT: usize = 16 * 1024 * 1024;

/// Why a question got no answer.
#[derive(Debug, Error)]
pub enum ProbeError {
    /// This machine could not ask.
    #[error("the probe could not start: {0}")]
    Start(#[from] std::io::Error),
    /// The question cannot be put.
    #[error(transparent)]
    Job(#[from] JobError),
    /// The server did not answer well.
    #[error("{0}")]
    Failed(Failure),
}

/// Sends the job's first request and waits for its first output, or for the whole answer where it does not stream. Of several
/// servers the first is asked: one answer tells what there is to know of an endpoint, and the load shows who does not answer. Its
/// answer is acknowledged late, as ordinary clients do on kept connections, for [`crate::delayed_acks`].
///
/// # Errors
/// When this machine cannot even try. What the server did with the request is in the record.
pub fn probe(job: Arc<Job>) -> Result<Finished, ProbeError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(LocalSet::new().block_on(&runtime, async {
        // Number 0 goes to the first server by either rule.
        let ticket = Ticket::at_once(0, job.clock.now());
        let mut slot = Slot::new(job, 0, 0, Rc::default(), Rc::default(), Rc::default());
        slot.stop_at_first_output();
        slot.set_acks(Acks::Held);
        slot.request(&ticket, Phase::Warmup).await
    }))
}

/// GETs `path` from the endpoint's server, of several from the first: status and body.
///
/// # Errors
/// When there is no whole answer within `limit`.
pub fn fetch(
    endpoint: &Endpoint,
    routes: &Routes,
    clock: SystemClock,
    path: &str,
    limit: Nanos,
) -> Result<(u16, Vec<u8>), ProbeError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let head = Head::new(endpoint, &endpoint.target, "application/json")?;
    let uri = head.uri(path);
    let deadline = clock.instant(clock.now() + limit).into();
    let asked = async {
        let mut connection = routes.to(0).open(clock).await?;
        let outgoing = Outgoing { head: &head, method: http::Method::GET, uri: &uri, body: Bytes::new(), json: None };
        let status = connection.answer(outgoing).await?.status.as_u16();
        Ok((status, whole_body(&mut connection).await?))
    };
    let answered = LocalSet::new().block_on(&runtime, async { tokio::time::timeout_at(deadline, asked).await });
    answered
        .unwrap_or_else(|_| Err(failure::timeout(Stage::FirstByte, limit, "the answer")))
        .map_err(ProbeError::Failed)
}

/// All of the answer under way.
pub(crate) async fn whole_body(connection: &mut Connection) -> Result<Vec<u8>, Failure> {
    let mut whole = Vec::new();
    while let Some(piece) = connection.piece().await? {
        whole.extend_from_slice(&piece);
        if whole.len() > ANSWER_LIMIT {
            let message = format!("the answer is longer than {} MiB", ANSWER_LIMIT >> 20);
            return Err(Failure { stage: Stage::Body, class: FailureClass::Malformed, message });
        }
    }
    Ok(whole)
}
