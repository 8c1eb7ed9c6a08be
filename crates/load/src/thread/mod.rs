//! One load thread: a current-thread runtime with a task for each of its slots. Threads share the gate before each phase, the
//! phases' tickets and places, and nothing else.

mod lobby;
mod outbox;
mod source;

use crate::connection::Channels;
use crate::control::{Control, End, LocalEnd};
use crate::dialogue::{Dialogue, NextTurn};
use crate::job::{Batch, Finished, Job};
use crate::pacing::{Pacer, Ticket, Waits};
use crate::phase::{PhaseState, Sequences, SharedPlaces};
use crate::preflight::descriptors::Budget;
use crate::slot::{Slot, Tally, never_sent};
use crate::supply::{Supply, Taken};
use crate::tasks::{self, Tasks};
use lobby::Lobby;
use outbox::Outbox;
use source::Source;
use std::cell::Cell;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::Duration;
use streamgauge_core::clock::{Clock, Nanos};
use streamgauge_core::load::Load;
use streamgauge_core::plan::PhasePlan;
use streamgauge_core::record::{ConversationFacts, FailureClass, Outcome, Phase, Stage, ThreadFacts, Waited};
use streamgauge_core::schedule::{Due, Schedule};
use streamgauge_net::Timer;
use tokio::sync::Barrier;
use tokio::task::LocalSet;

/// How long a slot waits after it could not connect, so that a dead server does not fill the records with refusals.
const RECONNECT_PAUSE: Duration = Duration::from_millis(100);
/// How long making the next turn of a conversation may take, beyond the pause before it, until the turn counts as late: the lateness from
/// which a request that was sent after it was due counts as late.
const MADE_IN_TIME: Nanos = Nanos::from_millis(1);

/// What everyone outside may see of a thread while it runs.
#[derive(Debug, Default)]
pub(crate) struct Live {
    pub completed: AtomicU64,
    pub failed: AtomicU64,
    /// Neither successful nor failed: cut off or cancelled.
    pub neither_ok_nor_failed: AtomicU64,
    pub chunks: AtomicU64,
}

/// What all threads share.
pub(crate) struct Common {
    pub job: Arc<Job>,
    pub control: Control,
    /// Where all threads meet before each phase.
    pub gate: Barrier,
    pub threads: u32,
    /// Slots so far, over all threads: the next one's number.
    pub slots: AtomicU32,
    /// Streams that the system has descriptors for.
    pub budget: Arc<Budget>,
    /// In their order; the last is the measured one.
    pub phases: Vec<PhaseState>,
}

/// What a thread leaves besides its records.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ShardFacts {
    pub load: ThreadFacts,
    pub opened: u64,
    pub replaced: u64,
    pub bodies_abandoned: u64,
    pub kernel_stamps: bool,
    /// Measured requests that waited for their prompts.
    pub prompt_waits: Waited,
    /// Measured conversations of several turns.
    pub conversations: ConversationFacts,
}

/// Runs the slots `slots` as thread number `thread`, until all phases are over or the run is aborted.
pub(crate) fn run(
    common: &Arc<Common>,
    thread: u16,
    slots: Vec<u32>,
    live: &Arc<Live>,
    sink: SyncSender<Batch>,
) -> io::Result<ShardFacts> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let timer = Timer::new(common.job.clock)?;
        let (common, live) = (common.clone(), live.clone());
        let tasks = Tasks::new(common.job.clock, timer.clone());
        tasks.run(run_tasks(common, thread, slots, live, sink, timer)).await
    })
}

/// What the tasks of a load thread do, from the first connection to the last record.
async fn run_tasks(
    common: Arc<Common>,
    thread: u16,
    slots: Vec<u32>,
    live: Arc<Live>,
    sink: SyncSender<Batch>,
    timer: Timer,
) -> io::Result<ShardFacts> {
    let (control, end, clock) = (common.control.clone(), Rc::<LocalEnd>::default(), common.job.clock);
    let waits = Waits { clock, timer, control, end: end.clone(), phase: 0 };
    let alarm = waits.timer.clone();
    tasks::spawn(async move {
        // It ends only by an error, which every sleeper gets too.
        let _ = alarm.run().await;
    });
    let shard = Rc::new(Shard {
        thread,
        pacers: (common.phases.iter().enumerate())
            .map(|(index, part)| pacer(&common, thread, &part.plan, waits.in_phase(index)))
            .collect(),
        tally: Rc::new(Tally::new(&common.budget)),
        common,
        live,
        lobby: Lobby::new(end),
        waits,
        channels: Rc::default(),
        outbox: Outbox::new(sink),
        cpu_at_start: Cell::new(None),
        trouble: Cell::new(None),
    });
    tasks::spawn(shard.clone().watch_end());
    tasks::spawn(shard.clone().keep_outbox_fresh());
    slots.into_iter().for_each(|number| shard.start_slot(number, 0));
    shard.open_phases().await;
    shard.lobby.deserted().await;
    shard.record_unsent_requests();
    shard.outbox.flush();
    shard.trouble.take().map_or_else(|| Ok(shard.facts()), Err)
}

/// The pacer of this phase, if it is an open loop.
fn pacer(common: &Common, thread: u16, phase: &PhasePlan, waits: Waits) -> Option<Pacer> {
    let Load::Open { arrivals, .. } = &phase.load else { return None };
    // Separate random streams, so that a warm-up does not change the measured phase.
    let name = match phase.phase {
        Phase::Warmup => "arrivals of the warm-up",
        Phase::Profiling => "arrivals",
    };
    let schedule = Schedule::new(arrivals, common.job.plan.prompts.seed, name);
    Some(Pacer::new(waits, schedule.slice(usize::from(thread), common.threads as usize)))
}

struct Shard {
    thread: u16,
    common: Arc<Common>,
    live: Arc<Live>,
    waits: Waits,
    lobby: Lobby,
    /// One a phase where that is an open loop.
    pacers: Vec<Option<Pacer>>,
    tally: Rc<Tally>,
    /// Of gRPC, where slots share them.
    channels: Rc<Channels>,
    outbox: Outbox,
    cpu_at_start: Cell<Option<(Nanos, Nanos)>>,
    /// Why this thread could not go on.
    trouble: Cell<Option<io::Error>>,
}

impl Shard {
    /// Opens phase after phase: each when all slots of all threads have done with the one before, or when the first slot goes on
    /// to it from there.
    async fn open_phases(self: &Rc<Shard>) {
        let (end, phases) = (&self.waits.end, &self.common.phases);
        end.register().await;
        for (index, part) in phases.iter().enumerate() {
            let opening = async {
                match index.checked_sub(1) {
                    // A drain, or the end of the grace of the phase before, opens it too: nobody is to wait for it any longer.
                    Some(before) if part.is_handed_over() => _ = end.unless_over(before, part.begun()).await,
                    before => {
                        self.all_out(before).await;
                        self.common.gate.wait().await;
                    }
                }
            };
            if end.unless_aborted(opening).await.is_none() {
                return;
            }
            self.open_phase(index);
        }
    }

    /// Opens phase number `index` on this thread, unless that has been done.
    fn open_phase(self: &Rc<Shard>, index: usize) {
        if self.lobby.is_open(index) {
            return;
        }
        let part = &self.common.phases[index];
        self.record_unsent_requests();
        if part.plan.phase == Phase::Profiling {
            self.note_start();
        }
        if !self.waits.control.is_draining() {
            part.begin(self.waits.clock.now());
            self.open_places(index);
        }
        if let Some(pacer) = &self.pacers[index] {
            pacer.begin(part.tickets.limits());
        }
        if self.common.phases.get(index + 1).is_some_and(PhaseState::is_handed_over) {
            tasks::spawn(self.clone().cut_off_in_time(index));
        }
        self.lobby.open(index);
    }

    /// Waits until all slots have done with the phase `before`; when its time and its grace are up, what is in flight is cut off.
    async fn all_out(&self, before: Option<usize>) {
        let mut full = pin!(self.lobby.full());
        if let Some(before) = before
            && let Some(last) = self.common.phases[before].last_moment()
        {
            let last = self.waits.clock.instant(last);
            if tokio::time::timeout_at(last.into(), full.as_mut()).await.is_ok() {
                return;
            }
            self.waits.end.cut_off(before);
        }
        full.await;
    }

    /// Cuts off what is in flight in phase number `phase` when its time and its grace are up, while the next goes on.
    async fn cut_off_in_time(self: Rc<Shard>, phase: usize) {
        if let Some(last) = self.common.phases[phase].last_moment() {
            tokio::time::sleep_until(self.waits.clock.instant(last).into()).await;
            self.waits.end.cut_off(phase);
        }
    }

    /// Another slot, which begins with phase number `phase`.
    fn start_slot(self: &Rc<Shard>, number: u32, phase: usize) {
        let job = self.common.job.clone();
        let (end, tally, channels) = (self.waits.end.clone(), self.tally.clone(), self.channels.clone());
        let slot = Slot::new(job, self.thread, number, end, tally, channels);
        self.lobby.expect_one();
        // A slot ends early only by a panic, whose message is already on the screen; the others go on.
        tasks::spawn(self.clone().work(slot, phase));
    }

    /// Another slot for an open loop whose slots are all busy; none when it would be one too many.
    fn grow(self: &Rc<Shard>, phase: usize) -> Option<u32> {
        // With as many slots as places, the next request goes to whichever slot is done first.
        let most = self.common.phases[phase].plan.load.most();
        if most.is_some_and(|most| self.lobby.expected() >= most) {
            return None;
        }
        // A slot stays until the end of the run.
        if !self.common.budget.take_for_good() {
            return None;
        }
        let number = self.common.slots.fetch_add(1, Ordering::Relaxed);
        self.start_slot(number, phase);
        Some(number)
    }

    /// A slot's life: connect, then request after request, phase by phase.
    async fn work(self: Rc<Shard>, mut slot: Slot, from: usize) {
        let _present = self.lobby.presence();
        self.waits.end.register().await;
        if !self.lobby.is_open(from) {
            slot.open_ahead().await;
        }
        for (index, part) in self.common.phases.iter().enumerate().skip(from) {
            if !self.lobby.pass(index).await {
                return;
            }
            let waits = self.waits.in_phase(index);
            slot.begin_phase(index, part.is_handed_over());
            let Some(mut source) = self.join(&waits, slot.number()).await else { continue };
            part.sequences.iter().for_each(Sequences::enter);
            while let Some(ticket) = self.ticket(&waits, slot.number(), &mut source).await {
                let Some(ticket) = self.in_sequence(&waits, slot.number(), ticket).await else { continue };
                let begun = self.begin(&waits, ticket, &mut source).await;
                let Some((ticket, mut dialogue)) = begun else { continue };
                let mut next = Some(ticket);
                while let Some(ticket) = next.take() {
                    let is_scheduled = ticket.due.is_some();
                    let finished = slot.request(&ticket, part.plan.phase).await;
                    // What waits for its place under a cap may be overdue.
                    tasks::first(|| drop(ticket));
                    let pause = could_not_connect(&finished, &self.common.job);
                    let end = finished.record.end;
                    let answered = dialogue.as_mut().and_then(|open| self.next_turn(open, &finished));
                    self.hand_over(finished);
                    if let Some(turn) = answered {
                        next = self.follow_up(&waits, turn, end, is_scheduled).await;
                    } else if pause && !waits.is_cut() {
                        tokio::time::sleep(RECONNECT_PAUSE).await;
                    }
                }
            }
            self.close_sequences(&waits, &mut slot).await;
            if let Source::User(user) = &mut source {
                let over = waits.over();
                user.left_over(over).for_each(|due| self.record_unsent(part, due, over));
            }
            if self.common.phases.get(index + 1).is_some_and(PhaseState::is_handed_over) {
                self.open_phase(index + 1);
            }
        }
    }

    /// Makes the turn of a conversation that follows on the request that has ended, if there is one, and counts what it took.
    fn next_turn(&self, dialogue: &mut Dialogue, finished: &Finished) -> Option<NextTurn> {
        let begun = self.waits.clock.now();
        let next = dialogue.answered(&self.common.job, finished);
        if let (Phase::Profiling, Some(turn)) = (finished.record.phase, finished.record.conversation) {
            let took = self.waits.clock.now() - begun;
            self.tally.conversations.update(|facts| {
                let is_failed = matches!(finished.record.outcome, Outcome::Failed(_));
                let later = u64::from(turn.turns.saturating_sub(turn.turn + 1));
                ConversationFacts {
                    begun: facts.begun + u64::from(turn.turn == 0),
                    finished: facts.finished + u64::from(later == 0 && finished.record.is_ok()),
                    failed: facts.failed + u64::from(is_failed),
                    unsent_turns: facts.unsent_turns + if is_failed { later } else { 0 },
                    making: if next.is_some() { facts.making.and(took) } else { facts.making },
                    made_late: facts.made_late
                        + u64::from(next.as_ref().is_some_and(|next| took > next.delay + MADE_IN_TIME)),
                }
            });
        }
        next
    }

    /// The result of a wait. If the timer of this thread has failed, the run is aborted.
    fn abort_on_timer_error<T>(&self, waited: io::Result<Option<T>>) -> Option<T> {
        waited.unwrap_or_else(|error| {
            self.trouble.set(Some(error));
            self.common.control.abort();
            None
        })
    }

    /// Opens the permits of the phase as their ramps go on, which wakes the slots that wait for them.
    fn open_places(self: &Rc<Shard>, phase: usize) {
        let both: [fn(&PhaseState) -> Option<&SharedPlaces>; 2] =
            [|part| part.cap.as_ref(), |part| part.prefill.as_deref()];
        for which in both {
            let shard = self.clone();
            tasks::spawn(async move {
                let part = &shard.common.phases[phase];
                let (Some(places), Some(start)) = (which(part), part.tickets.started()) else { return };
                while let Some(next) = places.open(shard.waits.clock.now() - start) {
                    if shard.abort_on_timer_error(shard.waits.timer.sleep_until(start + next).await.map(Some)).is_none()
                    {
                        return;
                    }
                }
            });
        }
    }

    /// Records the requests that were due before the end and were never sent, so that none is dropped silently.
    fn record_unsent_requests(&self) {
        for (pacer, part) in self.pacers.iter().zip(&self.common.phases) {
            for (due, over) in pacer.iter().flat_map(Pacer::left_over) {
                self.record_unsent(part, due, over);
            }
        }
    }

    fn record_unsent(&self, part: &PhaseState, due: Due, over: Nanos) {
        let ticket = Ticket::free(due.seq, Some(due.at), over);
        let ticket = match (&self.common.job.supply, &part.window) {
            (Supply::Kept(kept), _) => ticket.beginning(kept.take(due.seq), None),
            (Supply::Streamed(_), None) => return,
            (Supply::Streamed(_), Some(window)) if window.end().is_some_and(|end| due.seq >= end) => return,
            (Supply::Streamed(_), Some(window)) => match window.look(due.seq) {
                (first, _, Some(held)) => {
                    ticket.beginning(Taken { number: due.seq, first, turns: 1, held: Some(held) }, None)
                }
                (first, index, None) => ticket.unprepared(first, index),
            },
        };
        self.hand_over(never_sent(&self.common.job, self.thread, &ticket, part.plan.phase));
    }

    async fn watch_end(self: Rc<Shard>) {
        let mut end = End::Open;
        while end < End::Aborted {
            end = self.common.control.nearer(end).await;
            self.waits.end.bring(end, self.waits.clock.now());
        }
    }

    async fn keep_outbox_fresh(self: Rc<Shard>) {
        loop {
            tokio::time::sleep(outbox::BATCH_WAIT).await;
            self.outbox.flush();
        }
    }

    fn hand_over(&self, finished: Finished) {
        if finished.record.phase == Phase::Profiling {
            self.count(&finished);
        }
        self.outbox.push(finished, self.waits.clock.now());
    }

    fn count(&self, finished: &Finished) {
        self.live.chunks.fetch_add(finished.record.chunks.len() as u64, Ordering::Relaxed);
        self.live.completed.fetch_add(1, Ordering::Relaxed);
        // Added after the count of all with `Release`: a reader that sees one of these also sees every earlier request.
        match finished.record.outcome {
            Outcome::Ok => {}
            Outcome::Failed(_) => _ = self.live.failed.fetch_add(1, Ordering::Release),
            Outcome::Cancelled | Outcome::CutOff => _ = self.live.neither_ok_nor_failed.fetch_add(1, Ordering::Release),
        }
    }

    fn note_start(&self) {
        self.cpu_at_start.set(Some((thread_cpu(), self.common.job.clock.now())));
    }

    fn facts(&self) -> ShardFacts {
        let load = self
            .cpu_at_start
            .get()
            .map(|(cpu, at)| ThreadFacts { cpu: thread_cpu() - cpu, wall: self.common.job.clock.now() - at });
        ShardFacts {
            load: load.unwrap_or_default(),
            opened: self.tally.opened.get(),
            replaced: self.tally.replaced.get(),
            bodies_abandoned: self.tally.drains.abandoned(),
            kernel_stamps: !self.tally.unstamped.get(),
            prompt_waits: self.tally.prompt_waits.get(),
            conversations: self.tally.conversations.get(),
        }
    }
}

/// Whether the slot could not connect and the next request would fail too. That is not so if another server may answer, unless this machine
/// has no more descriptors or ports.
fn could_not_connect(finished: &Finished, job: &Job) -> bool {
    match &finished.record.outcome {
        Outcome::Failed(failure) if failure.stage <= Stage::Tls => {
            failure.class == FailureClass::Exhausted || !job.has_other_than(usize::from(finished.record.target))
        }
        _ => false,
    }
}

/// Processor time of this thread.
#[cfg(target_os = "linux")]
fn thread_cpu() -> Nanos {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID)
        .map_or(Nanos::ZERO, |time| Nanos(time.tv_sec() * 1_000_000_000 + time.tv_nsec()))
}

#[cfg(not(target_os = "linux"))]
fn thread_cpu() -> Nanos {
    Nanos::ZERO
}
