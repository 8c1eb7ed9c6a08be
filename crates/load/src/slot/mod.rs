//! One request, from the moment at which a slot takes it until it is successful, failed, cancelled or cut off.

mod drains;
mod exchange;
mod in_flight;
mod watchdog;

use crate::connection::{Acks, Channels, Connection, State};
use crate::control::LocalEnd;
use crate::failure::{self, Ended, Failed};
use crate::job::{Finished, Job};
use crate::pacing::Ticket;
use crate::preflight::descriptors::Budget;
use crate::prepared::Prepared;
use drains::Drains;
use in_flight::InFlight;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use streamgauge_core::clock::{Clock, Nanos};
use streamgauge_core::plan::Acknowledge;
use streamgauge_core::record::{ConversationFacts, Failure, Outcome, Phase, Waited};
use watchdog::{Limit, Watchdog};

impl Tally {
    /// Returns counters at 0; connections that are read in the background take streams of `budget`.
    pub fn new(budget: &Arc<Budget>) -> Tally {
        Tally { drains: Rc::new(Drains::new(budget.clone())), ..Tally::default() }
    }

    /// A request waited so long for its prompt.
    pub fn wait_for_prompt(&self, time: Nanos) {
        self.prompt_waits.update(|waited| waited.and(time));
    }
}

/// The approximate memory that the first request of a slot allocates besides the buffers of its connection. It is allocated before the
/// load and freed when the slot begins. Otherwise the first events of many streams, which arrive together, would wait for the heap to
/// grow.
const FIRST_REQUEST: usize = 4 * 1024;

/// A connection to each server, and at most one request on one of them.
pub(crate) struct Slot {
    job: Arc<Job>,
    thread: u16,
    number: u32,
    /// The connections, by the server's index.
    connections: Vec<Option<Connection>>,
    previous_end: Option<Nanos>,
    /// See [`FIRST_REQUEST`].
    spare: Vec<u8>,
    watchdog: Watchdog,
    tally: Rc<Tally>,
    /// Which the thread's slots may share, and its place among them.
    channels: Rc<Channels>,
    seat: u32,
    acks: Acks,
    /// End as soon as the server has shown that it answers; for the probe.
    first_output_is_enough: bool,
    /// The target of the last answer, if it was a redirect; for the probe.
    location: Option<String>,
}

/// The counters that the slots of one load thread share.
#[derive(Default)]
pub(crate) struct Tally {
    pub opened: Cell<u64>,
    pub replaced: Cell<u64>,
    /// Some connection had no kernel stamps.
    pub unstamped: Cell<bool>,
    /// Measured requests that waited for their prompts.
    pub prompt_waits: Cell<Waited>,
    /// Measured conversations of several turns.
    pub conversations: Cell<ConversationFacts>,
    /// Connections whose answers were complete before their bodies ended go here.
    pub drains: Rc<Drains>,
}

/// The record of a request that was due and that no slot had taken when the run ended. Its only time is the due time.
pub(crate) fn never_sent(job: &Job, thread: u16, ticket: &Ticket<'_>, phase: Phase) -> Finished {
    let mut request = InFlight::new(job, ticket, phase);
    request.record().thread = thread;
    request.set_target(job.balancer.by_number(ticket.seq));
    request.finish(Outcome::CutOff, ticket.issued)
}

impl Slot {
    pub fn new(
        job: Arc<Job>,
        thread: u16,
        number: u32,
        end: Rc<LocalEnd>,
        tally: Rc<Tally>,
        channels: Rc<Channels>,
    ) -> Slot {
        let watchdog = Watchdog::new(job.clock, job.plan.transport.timeouts, end);
        let connections = (0..job.routes.len()).map(|_| None).collect();
        let acks = match job.plan.transport.acknowledge {
            Acknowledge::AtOnce => Acks::AtOnce,
            Acknowledge::Delayed => Acks::SystemDefault,
        };
        Slot {
            job,
            thread,
            number,
            connections,
            previous_end: None,
            spare: Vec::new(),
            watchdog,
            tally,
            seat: channels.take_seat(),
            channels,
            acks,
            first_output_is_enough: false,
            location: None,
        }
    }

    /// Ends requests at their first output.
    pub fn stop_at_first_output(&mut self) {
        self.first_output_is_enough = true;
    }

    /// Sets how the kernel acknowledges what arrives on connections that are opened from now on.
    pub fn set_acks(&mut self, acks: Acks) {
        self.acks = acks;
    }

    /// The target of the last answer, if it was a redirect.
    pub fn take_location(&mut self) -> Option<String> {
        self.location.take()
    }

    /// Begins phase number `phase` of the run. The time before it is no turnaround, unless the slot continues from the previous phase
    /// without a pause.
    pub fn begin_phase(&mut self, phase: usize, goes_on: bool) {
        self.watchdog.begin_phase(phase);
        self.spare = Vec::new();
        self.previous_end = self.previous_end.filter(|_| goes_on);
    }

    /// Opens the connections before load. If that fails, the first request tries again and its record says why.
    pub async fn open_ahead(&mut self) {
        for target in 0..self.connections.len() {
            self.watchdog.start(self.job.clock.now());
            self.connections[target] = self.open(target).await.ok();
            if let Some(connection) = &mut self.connections[target] {
                connection.turn().await;
            }
        }
        // Non-zero, so that the kernel commits the pages now.
        self.spare = vec![1; FIRST_REQUEST];
    }

    /// Its number, counted over all threads.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Sends a request and reads its answer.
    pub async fn request(&mut self, ticket: &Ticket<'_>, phase: Phase) -> Finished {
        let job = self.job.clone();
        self.watchdog.start(ticket.issued);
        // Boxed, so that the states of the task's nested futures lie near each other: they are visited on every event.
        let mut request = Box::new(InFlight::new(&job, ticket, phase));
        request.record().thread = self.thread;
        request.record().slot = self.number;
        let seat = match ticket.target {
            Some(target) => job.balancer.seat_at(target.into()),
            None => job.seat(ticket.seq),
        };
        request.set_target(seat.target);
        let cancel = job.plan.load.cancel.filter(|_| phase == Phase::Profiling);
        request.cancel =
            cancel.filter(|cancel| cancel.picks(job.plan.prompts.seed, ticket.seq)).map(|cancel| cancel.delay);
        let attempted = match ticket.input(&job.supply).1 {
            Some(input) => self.attempts(input, &mut request).await,
            // The caller waits until the request is prepared.
            None => Outcome::CutOff,
        };
        let outcome = match attempted {
            Outcome::Failed(failure) => {
                if phase == Phase::Profiling {
                    job.balancer.note_failure(seat.target);
                }
                Outcome::Failed(Failure { message: job.scrub(failure.message), ..failure })
            }
            outcome => outcome,
        };
        let record = request.record();
        // In an open loop the schedule decides the time between two requests of a slot.
        let previous_end = self.previous_end.filter(|_| record.connect.is_none() && record.due.is_none());
        // A wait for a permit is a pause of the plan, which ends when the request is issued.
        let previous_end = previous_end.map(|end| if ticket.waited { end.max(record.issued) } else { end });
        record.turnaround = previous_end.zip(record.sent).map(|(end, sent)| sent - end);
        let finished = request.finish(outcome, job.clock.now());
        self.previous_end = Some(finished.record.end);
        finished
    }

    /// Sends the request on the kept connection, and once more on a new one if the server was closing the kept one at that moment. Latencies
    /// count from the first write of both.
    async fn attempts(&mut self, input: &Prepared, request: &mut InFlight<'_>) -> Outcome {
        loop {
            let kept = match self.usable_connection(request).await {
                Ok(kept) => kept,
                Err(ended) => return ended.into(),
            };
            match self.exchange(input, request).await {
                Ok(()) => return Outcome::Ok,
                Err(Ended::Failed(failed)) if kept && request.is_unanswered() && self.fits_race(&failed, request) => {
                    match request.record().sent {
                        // The connection was lost before anything was written, as if it had been found closed while idle.
                        None => self.tally.replaced.update(|n| n + 1),
                        Some(_) => request.record().retries += 1,
                    }
                }
                Err(ended) => return ended.into(),
            }
        }
    }

    fn fits_race(&self, failed: &Failed, request: &InFlight<'_>) -> bool {
        let race = self.job.closing_race + request.round_trip;
        failure::may_be_sent_again(failed, request.transcript.record().written, self.job.clock.now(), race)
    }

    /// Makes sure that there is a connection. Returns whether it has served a request before.
    async fn usable_connection(&mut self, request: &mut InFlight<'_>) -> Result<bool, Ended> {
        let target = request.target();
        if let Some(connection) = &mut self.connections[target] {
            let state = connection.state().await;
            if matches!(state, State::Renewed | State::Lost) {
                self.tally.replaced.update(|n| n + 1);
            }
            if matches!(state, State::Usable | State::Renewed) {
                return Ok(connection.is_kept());
            }
            self.connections[target] = None;
        }
        if let Some(spare) = self.tally.drains.spare(target).await {
            self.connections[target] = Some(spare);
            return Ok(true);
        }
        let begun = self.job.clock.now();
        let opened = self.open(target).await;
        request.record().connect = Some(self.job.clock.now() - begun);
        self.connections[target] = Some(opened?);
        Ok(false)
    }

    async fn open(&mut self, target: usize) -> Result<Connection, Ended> {
        self.watchdog.expect(Limit::Connect)?;
        let opened = self.job.routes.to(target).connect(self.job.clock, target, self.seat, &self.channels);
        let (connection, is_new) = self.watchdog.guard(Box::pin(opened)).await??;
        self.tally.opened.update(|n| n + u64::from(is_new));
        connection.set_acks(self.acks);
        if !connection.kernel_stamps() {
            self.tally.unstamped.set(true);
        }
        Ok(connection)
    }
}
