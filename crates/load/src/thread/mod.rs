//! One load thread: a current-thread runtime with a task for each of its slots. Threads share the gate before each phase, the
//! phases' tickets and places, and nothing else.

mod lobby;

use crate::connection::Channels;
use crate::control::{Control, End, LocalEnd};
use crate::conversations::{Dialogue, NextTurn};
use crate::job::{Batch, Finished, Job};
use crate::pacing::{Pacer, Ticket, User, Waits};
use crate::phase::{GrowthPlace, Part, Sequences, SharedPlaces};
use crate::preflight::descriptors::Budget;
use crate::slot::{Slot, Tally, never_sent};
use crate::tasks::{self, Tasks};
use lobby::Lobby;
use std::cell::{Cell, RefCell};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::Duration;
use streamgauge_core::clock::{Clock, Nanos};
use streamgauge_core::load::Load;
use streamgauge_core::plan::PhasePlan;
use streamgauge_core::record::{FailureClass, Outcome, Phase, Stage, ThreadFacts};
use streamgauge_core::schedule::{Due, Schedule};
use streamgauge_net::Timer;
use tokio::sync::Barrier;
use tokio::task::LocalSet;

/// Records that leave a thread together at most: one wake-up of the receiver for so many.
const BATCH: usize = 64;
/// So many output events fill a batch too: their times are nearly all of the memory that records take on their way, and the channel is
/// bounded in batches.
const BATCH_EVENTS: usize = 8_192;
/// Fewer that leave together where they have gathered slowly. Where the receiver shares this thread's processor it takes it for
/// as long as it works on them, some 15 µs for a reply of 32 tokens, and what is due meanwhile waits.
const SMALL_BATCH: usize = 8;
/// What counts as slowly: batches that leave more often than this would cost more in wake-ups than they save in waits.
const SMALL_BATCH_EVERY: Nanos = Nanos::from_millis(2);
/// A record waits no longer than this for others.
const BATCH_WAIT: Duration = Duration::from_millis(100);
/// How long a slot waits after it could not connect, so that a dead server does not fill the records with refusals.
const RECONNECT_PAUSE: Duration = Duration::from_millis(100);

/// What everyone outside may see of a thread while it runs.
#[derive(Debug, Default)]
pub(crate) struct Live {
    pub completed: AtomicU64,
    pub failed: AtomicU64,
    /// Neither failed nor well: cut off or given up on purpose.
    pub undecided: AtomicU64,
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
    pub phases: Vec<Part>,
}

/// What a thread leaves besides its records.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ShardFacts {
    pub load: ThreadFacts,
    pub opened: u64,
    pub replaced: u64,
    pub bodies_abandoned: u64,
    pub kernel_stamps: bool,
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
        outbox: Outbox { batch: RefCell::default(), events: Cell::new(0), left: Cell::new(Nanos::ZERO), sink },
        cpu_at_start: Cell::new(None),
        trouble: Cell::new(None),
    });
    tasks::spawn(shard.clone().watch_end());
    tasks::spawn(shard.clone().keep_outbox_fresh());
    slots.into_iter().for_each(|number| shard.start_slot(number, 0));
    shard.open_phases().await;
    shard.lobby.deserted().await;
    shard.put_down_unsent();
    shard.outbox.flush();
    shard.trouble.take().map_or_else(|| Ok(shard.facts()), Err)
}

/// Of an open loop, who waits for what is due.
fn pacer(common: &Common, thread: u16, phase: &PhasePlan, waits: Waits) -> Option<Pacer> {
    let Load::Open { arrivals, .. } = &phase.load else { return None };
    // Streams of their own: a warm-up does not change what is measured.
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

/// Where a slot gets its requests from in one phase.
enum Source<'a> {
    /// A counter that all slots share: the next as soon as the last has ended.
    Counter,
    /// The same counter, once: of a load that grows, the place that is open.
    Once(Option<GrowthPlace<'a>>),
    /// The thread's part of a schedule.
    Pacer(&'a Pacer),
    /// Dues of its own.
    User(User),
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
        self.put_down_unsent();
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
        if self.common.phases.get(index + 1).is_some_and(Part::is_handed_over) {
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
                let mut dialogue = Dialogue::begin(&self.common.job, ticket.seq);
                let seq = self.common.job.first_request(ticket.seq);
                let mut next = Some(ticket.beginning(seq, dialogue.as_ref().map(|dialogue| dialogue.turn())));
                while let Some(ticket) = next.take() {
                    let is_scheduled = ticket.due.is_some();
                    let finished = slot.request(&ticket, part.plan.phase).await;
                    // What waits for its place under a cap may be overdue.
                    tasks::first(|| drop(ticket));
                    let pause = could_not_connect(&finished, &self.common.job);
                    let end = finished.record.end;
                    let answered = dialogue.as_mut().and_then(|open| open.answered(&self.common.job, &finished));
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
                user.left_over(over).for_each(|due| self.put_down(part, due, over));
            }
            if self.common.phases.get(index + 1).is_some_and(Part::is_handed_over) {
                self.open_phase(index + 1);
            }
        }
    }

    /// Where slot `slot` gets its requests from in phase number `phase`, once it may; none if it gets none.
    async fn join(&self, waits: &Waits, slot: u32) -> Option<Source<'_>> {
        let part = &self.common.phases[waits.phase];
        if !part.takes(slot) {
            return None;
        }
        match part.plan.load {
            Load::Open { .. } => self.pacers[waits.phase].as_ref().map(Source::Pacer),
            Load::Users { users, rate } => Some(Source::User(User::new(slot, users, rate, part.tickets.limits()))),
            Load::Growing(_) => {
                let place = part.growth.as_ref()?.open(slot);
                waits.unless_over(place).await.map(|place| Source::Once(Some(place)))
            }
            Load::Concurrency(places) => {
                let at = places.opens(slot);
                let in_time = at == Nanos::ZERO || self.sound(self.ramp(waits, at).await.map(Some))?;
                in_time.then_some(Source::Counter)
            }
        }
    }

    /// Waits until a place of a closed loop opens, so long after the phase's start; false when the phase is over before.
    async fn ramp(&self, waits: &Waits, at: Nanos) -> io::Result<bool> {
        let part = &self.common.phases[waits.phase];
        let Some(start) = part.tickets.started() else { return Ok(false) };
        if part.tickets.deadline().is_some_and(|deadline| start + at >= deadline) {
            return Ok(false);
        }
        tokio::select! {
            biased;
            () = part.tickets.exhausted() => Ok(false),
            in_time = waits.until(start + at) => in_time,
        }
    }

    /// What slot `slot` is to send next, once it is to be sent.
    async fn ticket<'a>(self: &'a Rc<Shard>, waits: &Waits, slot: u32, source: &mut Source<'a>) -> Option<Ticket<'a>> {
        let part = &self.common.phases[waits.phase];
        match source {
            Source::Counter => self.counted(waits).await,
            Source::Once(place) => {
                let place = place.take()?;
                Some(self.counted(waits).await?.in_growth(place))
            }
            Source::Pacer(pacer) => self.sound(pacer.ticket(slot, part, || self.grow(waits.phase)).await),
            Source::User(user) => self.sound(user.ticket(part, waits).await),
        }
    }

    /// The next request of the shared counter.
    async fn counted(&self, waits: &Waits) -> Option<Ticket<'_>> {
        let part = &self.common.phases[waits.phase];
        // A place first: a request is taken up when nothing keeps it from being sent.
        let held = waits.places(part).await?;
        if waits.control.is_draining() {
            return None;
        }
        let (seq, issued) = part.tickets.take(waits.clock.now())?;
        Some(Ticket::at_once(seq, issued).with(held))
    }

    /// `ticket` with its turn in a sequence, where requests have one; none when the phase ended while it waited for that.
    async fn in_sequence<'a>(&'a self, waits: &Waits, slot: u32, ticket: Ticket<'a>) -> Option<Ticket<'a>> {
        let part = &self.common.phases[waits.phase];
        let Some(sequences) = &part.sequences else { return Some(ticket) };
        let place = sequences.place(slot, ticket.seq);
        let (mut gate, mut issued) = (None, ticket.issued);
        if let Some(one) = sequences.gate(place) {
            gate = one.try_acquire().ok();
            if gate.is_none() {
                // Nobody closes it.
                gate = waits.unless_over(one.acquire()).await.and_then(Result::ok);
                issued = waits.clock.now();
            }
            if gate.is_none() {
                let over = waits.over();
                self.put_down(part, Due { seq: ticket.seq, at: ticket.due.unwrap_or(ticket.issued) }, over);
                return None;
            }
        }
        let turn = sequences.next(place)?;
        Some(ticket.in_sequence(turn, gate, issued))
    }

    /// The next turn of a conversation, once it is to be sent: after its delay from `answered` on, and with its places. `None` when it lies
    /// beyond the phase, or the phase is over before.
    async fn follow_up(
        &self,
        waits: &Waits,
        next: NextTurn,
        answered: Nanos,
        is_scheduled: bool,
    ) -> Option<Ticket<'_>> {
        let part = &self.common.phases[waits.phase];
        let (due, paused) = (answered + next.delay, next.delay > Nanos::ZERO);
        if waits.is_over() || !part.has_follow_up(next.seq, due.max(waits.clock.now())) {
            return None;
        }
        if paused && !self.sound(waits.until(due).await.map(Some))? {
            return None;
        }
        let held = waits.places(part).await?;
        if waits.is_over() {
            return None;
        }
        Some(Ticket::follow_up(next, is_scheduled.then_some(due), waits.clock.now(), paused, held))
    }

    /// Tells the server that the sequences end which the phase left open. These requests are in no figure and no record.
    async fn close_sequences(&self, waits: &Waits, slot: &mut Slot) {
        let Some(sequences) = &self.common.phases[waits.phase].sequences else { return };
        for (place, turn) in sequences.leave(slot.number()) {
            if waits.is_cut() {
                return;
            }
            // Numbers that no request has.
            let ticket = Ticket::at_once(u64::MAX - place, self.waits.clock.now());
            slot.request(&ticket.in_sequence(turn, None, self.waits.clock.now()), Phase::Warmup).await;
        }
    }

    /// What was waited for, unless this thread cannot wait any more, which ends the run.
    fn sound<T>(&self, waited: io::Result<Option<T>>) -> Option<T> {
        waited.unwrap_or_else(|error| {
            self.trouble.set(Some(error));
            self.common.control.abort();
            None
        })
    }

    /// Opens the phase's places as their ramps go on, and wakes who waits for them.
    fn open_places(self: &Rc<Shard>, phase: usize) {
        let both: [fn(&Part) -> Option<&SharedPlaces>; 2] = [|part| part.cap.as_ref(), |part| part.prefill.as_deref()];
        for which in both {
            let shard = self.clone();
            tasks::spawn(async move {
                let part = &shard.common.phases[phase];
                let (Some(places), Some(start)) = (which(part), part.tickets.started()) else { return };
                while let Some(next) = places.open(shard.waits.clock.now() - start) {
                    if shard.sound(shard.waits.timer.sleep_until(start + next).await.map(Some)).is_none() {
                        return;
                    }
                }
            });
        }
    }

    /// Records of requests that were due before the end and never sent: nothing is dropped silently.
    fn put_down_unsent(&self) {
        for (pacer, part) in self.pacers.iter().zip(&self.common.phases) {
            for (due, over) in pacer.iter().flat_map(Pacer::left_over) {
                self.put_down(part, due, over);
            }
        }
    }

    fn put_down(&self, part: &Part, due: Due, over: Nanos) {
        let ticket = Ticket::free(self.common.job.first_request(due.seq), Some(due.at), over);
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
            tokio::time::sleep(BATCH_WAIT).await;
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
        // After the count of all, and with it: whoever sees one of these sees every request up to it.
        match finished.record.outcome {
            Outcome::Ok => {}
            Outcome::Failed(_) => _ = self.live.failed.fetch_add(1, Ordering::Release),
            Outcome::Cancelled | Outcome::CutOff => _ = self.live.undecided.fetch_add(1, Ordering::Release),
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
        }
    }
}

/// Whether the slot could not connect and the next request would fare no better: not where another server may answer, unless
/// it is this machine that can open no more.
fn could_not_connect(finished: &Finished, job: &Job) -> bool {
    match &finished.record.outcome {
        Outcome::Failed(failure) if failure.stage <= Stage::Tls => {
            failure.class == FailureClass::Exhausted || !job.has_other_than(usize::from(finished.record.target))
        }
        _ => false,
    }
}

/// Records on their way out.
struct Outbox {
    batch: RefCell<Batch>,
    /// The output events in it.
    events: Cell<usize>,
    /// When the last batch left because of its size.
    left: Cell<Nanos>,
    sink: SyncSender<Batch>,
}

impl Outbox {
    fn push(&self, finished: Finished, now: Nanos) {
        self.events.set(self.events.get() + finished.record.chunks.len());
        self.batch.borrow_mut().push(finished);
        let gathered = self.batch.borrow().len();
        if gathered >= BATCH || self.events.get() >= BATCH_EVENTS {
            self.left.set(now);
            self.flush();
        } else if gathered >= SMALL_BATCH && now - self.left.get() >= SMALL_BATCH_EVERY {
            self.left.set(now);
            self.offer();
        }
    }

    /// Hands over what has gathered, unless the receiver is behind: then more gathers, and holds the thread up no earlier than as
    /// many whole batches would.
    fn offer(&self) {
        match self.sink.try_send(self.batch.take()) {
            Err(TrySendError::Full(batch)) => drop(self.batch.replace(batch)),
            _ => self.events.set(0),
        }
    }

    fn flush(&self) {
        let batch = self.batch.take();
        self.events.set(0);
        if !batch.is_empty() {
            // A receiver that is gone wants no more records.
            let _ = self.sink.send(batch);
        }
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
