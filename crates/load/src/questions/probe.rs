//! Questions before the load, which are in no figure: which models the server has, and whether it answers a request.

use super::waiter::Waiter;
use crate::connection::{Acks, BodyStep, Connection, Piece};
use crate::control::{Control, End, LocalEnd};
use crate::job::{Finished, Job};
use crate::pacing::Ticket;
use crate::request::{Head, HeaderError, Outgoing};
use crate::routes::Routes;
use crate::slot::{Slot, Tally};
use bytes::Bytes;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use streamgauge_core::clock::{Clock, Nanos, SystemClock};
use streamgauge_core::plan::Endpoint;
use streamgauge_core::record::{Failure, FailureClass, Phase, Stage};
use streamgauge_wire::Unpacker;
use thiserror::Error;

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
    Header(#[from] HeaderError),
    /// The server did not answer well.
    #[error("{0}")]
    Failed(Failure),
}

/// The state of a waiting probe, for display.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// How long it has waited.
    pub since: Nanos,
    /// Whether a connection is open, so that it is the answer that is missing.
    pub connected: bool,
}

/// The result of a probe.
#[derive(Debug)]
pub struct Probed {
    /// The request, as any of the load's; cut off where somebody asked for the end.
    pub finished: Finished,
    /// The address of the endpoint according to the server (`Location`), if it answered with a redirect.
    pub location: Option<String>,
}

/// From the start of a probe to each time at which its wait is shown; after the last it is shown every minute.
const SHOWN_AFTER: [Nanos; 3] = [Nanos::from_millis(3_000), Nanos::from_millis(10_000), Nanos::from_millis(30_000)];
/// From then on.
const SHOWN_EVERY: Nanos = Nanos::from_millis(60_000);

/// Sends the job's first request. It waits for the first output of a stream. It waits for the complete answer if the endpoint does not
/// stream, or if a Triton server counts requests, because the request must be over before its counters are read. Only the first of several
/// servers is asked: one answer shows how an endpoint behaves, and the load shows which servers do not answer. `on_wait` is called while
/// nothing has arrived; the end of `control` cuts the probe off. The answer is acknowledged late, as ordinary clients do on kept
/// connections, for [`crate::delayed_acks`].
///
/// # Errors
/// When this machine cannot send a request at all. The outcome of the request is in the record.
pub fn probe(job: Arc<Job>, control: &Control, mut on_wait: impl FnMut(Waiting)) -> Result<Probed, ProbeError> {
    Ok(Waiter::new()?.wait(async {
        let clock = job.clock;
        let begun = clock.now();
        // Number 0 goes to the first server by either rule.
        let ticket = Ticket::at_once(0, begun);
        let (end, tally) = (Rc::new(LocalEnd::default()), Rc::new(Tally::default()));
        let is_counted = job.codec.spec().capabilities.describes_models;
        let mut slot = Slot::new(job, 0, 0, end.clone(), tally.clone(), Rc::default());
        if !is_counted {
            slot.stop_at_first_output();
        }
        slot.set_acks(Acks::Delayed);
        let finished = {
            let mut request = pin!(slot.request(&ticket, Phase::Warmup));
            let mut over = pin!(control.nearer(End::Open));
            let mut shown = SHOWN_AFTER.into_iter();
            let mut next = shown.next().unwrap_or(SHOWN_EVERY);
            loop {
                let until = clock.instant(begun + next).into();
                tokio::select! {
                    biased;
                    finished = &mut request => break finished,
                    _ = &mut over, if !end.is_cut(0) => end.bring(End::Aborted, clock.now()),
                    () = tokio::time::sleep_until(until) => {
                        on_wait(Waiting { since: next, connected: tally.opened.get() > 0 });
                        next = shown.next().unwrap_or(next + SHOWN_EVERY);
                    }
                }
            }
        };
        Probed { finished, location: slot.take_location() }
    }))
}

/// The answer to [`fetch`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// HTTP's status.
    pub status: u16,
    /// Its `Location`, if it is a redirect.
    pub location: Option<String>,
    /// The whole body.
    pub body: Vec<u8>,
}

/// GETs `path` from the endpoint's server, of several from the first.
///
/// # Errors
/// When there is no whole answer within `limit`.
pub fn fetch(
    endpoint: &Endpoint,
    routes: &Routes,
    clock: SystemClock,
    path: &str,
    limit: Nanos,
) -> Result<Fetched, ProbeError> {
    ask(endpoint, routes, clock, 0, http::Method::GET, path, limit)
}

/// POSTs nothing to `path` on server number `server` of the endpoint's, from 0, which must be one of them.
///
/// # Errors
/// When there is no whole answer within `limit`.
pub fn post(
    endpoint: &Endpoint,
    routes: &Routes,
    clock: SystemClock,
    server: usize,
    path: &str,
    limit: Nanos,
) -> Result<Fetched, ProbeError> {
    ask(endpoint, routes, clock, server, http::Method::POST, path, limit)
}

fn ask(
    endpoint: &Endpoint,
    routes: &Routes,
    clock: SystemClock,
    server: usize,
    method: http::Method,
    path: &str,
    limit: Nanos,
) -> Result<Fetched, ProbeError> {
    let target = endpoint.targets().nth(server).unwrap_or(&endpoint.target);
    let head = Head::new(endpoint, target, "application/json")?;
    let uri = head.uri(path);
    let asked = async {
        let mut connection = routes.to(server).open(clock).await?;
        let outgoing = Outgoing { head: &head, method, uri: &uri, body: Bytes::new(), json: None, named: None };
        let answer = connection.answer(outgoing).await?;
        let (status, location, unpacker) = (answer.status.as_u16(), answer.location(), answer.unpacker());
        Ok(Fetched { status, location, body: whole_body(&mut connection, unpacker).await? })
    };
    Waiter::new()?.answer(limit, asked).map_err(ProbeError::Failed)
}

/// All of the answer under way, whose head said that it is compressed so.
pub(crate) async fn whole_body(
    connection: &mut Connection,
    unpacker: Result<Option<Unpacker>, String>,
) -> Result<Vec<u8>, Failure> {
    let malformed = |message| Failure { stage: Stage::Body, class: FailureClass::Malformed, message };
    let mut unpacker = unpacker.map_err(malformed)?;
    let mut whole = Vec::new();
    while let BodyStep::Piece(Piece { bytes: piece, .. }) = connection.piece().await? {
        match &mut unpacker {
            None => whole.extend_from_slice(&piece),
            Some(unpacker) => {
                unpacker.feed(&piece, &mut |plain| whole.extend_from_slice(plain)).map_err(malformed)?;
            }
        }
        if whole.len() > ANSWER_LIMIT {
            let message = format!("the answer is longer than {} MiB", ANSWER_LIMIT >> 20);
            return Err(Failure { stage: Stage::Body, class: FailureClass::Malformed, message });
        }
    }
    Ok(whole)
}
