//! One load thread: a current-thread runtime with a task for each of its slots. Threads share the gate before each phase and,
//! in a closed loop, the tickets; in an open loop nothing, unless there is a cap.

use crate::attempt::{Slot, Tally, never_sent};
use crate::control::{Control, End, LocalEnd};
use crate::job::{Batch, Finished, Job};
use crate::lobby::Lobby;
use crate::pacer::{Limits, Pacer, Ticket};
use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use streamgauge_core::clock::{Clock, Nanos};
use streamgauge_core::load::Load;
use streamgauge_core::record::{Outcome, Phase, Stage, ThreadFacts};
use streamgauge_core::schedule::Schedule;
use streamgauge_net::Timer;
use tokio::sync::{Barrier, Semaphore};
use tokio::task::LocalSet;

/// Records that leave a thread together: one wake-up of the receiver for so many.
const BATCH: usize = 64;
/// A record waits no longer than this for others.
const BATCH_WAIT: Duration = Duration::from_millis(100);
/// How long a slot waits after it could not connect, so that a dead server does not fill the records with refusals.
const RECONNECT_PAUSE: Duration = Duration::from_millis(100);

/// An open loop's schedule begins so long after the gate has opened: time for every thread to wake up and wait for its first
/// due, so that none begins late.
const LEAD: Nanos = Nanos::from_millis(5);

/// The requests of one phase: numbers handed out until the count or the time is up.
#[derive(Debug)]
pub(crate) struct Tickets {
    next: AtomicU64,
    limit: u64,
    duration: Option<Nanos>,
    started: OnceLock<Nanos>,
}

impl Tickets {
    pub fn new(limit: Option<u64>, duration: Option<Nanos>) -> Tickets {
        let limit = limit.unwrap_or(u64::MAX);
        Tickets { next: AtomicU64::new(0), limit, duration, started: OnceLock::new() }
    }

    /// The next request's number and when it was issued; the first call starts the phase's time.
    fn take(&self, now: Nanos) -> Option<Ticket<'static>> {
        let started = *self.started.get_or_init(|| now);
        // Another thread may have read the clock later and started the phase first.
        let now = now.max(started);
        if self.duration.is_some_and(|duration| now - started >= duration) {
            return None;
        }
        let seq = self.next.fetch_add(1, Ordering::Relaxed);
        (seq < self.limit).then(|| Ticket::at_once(seq, now))
    }

    /// The start and the limits of an open loop's phase; the first thread to call sets its time.
    fn schedule(&self, now: Nanos) -> Limits {
        let start = *self.started.get_or_init(|| now + LEAD);
        Limits { start, count: self.limit, duration: self.duration }
    }

    /// When the first request was issued; of an open loop, when the first was due.
    pub fn started(&self) -> Option<Nanos> {
        self.started.get().copied()
    }

    /// When no more are issued, if time decides.
    pub fn deadline(&self) -> Option<Nanos> {
        Some(self.started()? + self.duration?)
    }
}

/// What everyone outside may see of a thread while it runs.
#[derive(Debug, Default)]
pub(crate) struct Live {
    pub completed: AtomicU64,
    pub failed: AtomicU64,
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
    /// Slots that the system has descriptors for.
    pub room: u32,
    /// Places under an open loop's cap. They go to whoever asks first, so requests of all threads get them in their order.
    pub cap: Option<Semaphore>,
    pub phases: [(Phase, Tickets); 2],
}

/// What a thread leaves besides its records.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ShardFacts {
    pub load: ThreadFacts,
    pub opened: u64,
    pub replaced: u64,
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
        let end = Rc::<LocalEnd>::default();
        let shard = Rc::new(Shard {
            thread,
            pacers: pacers(common, thread, &end)?,
            common: common.clone(),
            live: live.clone(),
            lobby: Lobby::new(end.clone()),
            end,
            tally: Rc::default(),
            outbox: Outbox { batch: RefCell::default(), sink },
            cpu_at_start: Cell::new(None),
            trouble: Cell::new(None),
        });
        tokio::task::spawn_local(shard.clone().watch_end());
        tokio::task::spawn_local(shard.clone().keep_outbox_fresh());
        slots.into_iter().for_each(|number| shard.start_slot(number, 0));
        shard.open_phases().await;
        shard.lobby.deserted().await;
        shard.put_down_unsent();
        shard.outbox.flush();
        shard.trouble.take().map_or_else(|| Ok(shard.facts()), Err)
    })
}

/// Of an open loop, who waits for what is due, phase by phase.
fn pacers(common: &Common, thread: u16, end: &Rc<LocalEnd>) -> io::Result<Vec<Pacer>> {
    let plan = &common.job.plan;
    let Load::Open { arrivals, .. } = &plan.load else { return Ok(Vec::new()) };
    let timer = Timer::new(common.job.clock)?;
    // It ends only by an error, which every sleeper gets too.
    tokio::task::spawn_local(timer.clone().run());
    let pacer = |(phase, _): &(Phase, Tickets)| {
        // Streams of their own: a warm-up does not change what is measured.
        let name = match phase {
            Phase::Warmup => "arrivals of the warm-up",
            Phase::Profiling => "arrivals",
        };
        let schedule = Schedule::new(arrivals, plan.prompts.seed, name);
        let slice = schedule.slice(usize::from(thread), common.threads as usize);
        Pacer::new(common.job.clock, timer.clone(), common.control.clone(), end.clone(), slice)
    };
    Ok(common.phases.iter().map(pacer).collect())
}

struct Shard {
    thread: u16,
    common: Arc<Common>,
    live: Arc<Live>,
    end: Rc<LocalEnd>,
    lobby: Lobby,
    /// One a phase in an open loop, none in a closed one.
    pacers: Vec<Pacer>,
    tally: Rc<Tally>,
    outbox: Outbox,
    cpu_at_start: Cell<Option<(Nanos, Nanos)>>,
    /// Why this thread could not go on.
    trouble: Cell<Option<io::Error>>,
}

impl Shard {
    /// Opens phase after phase, each when all slots of all threads have done with the one before.
    async fn open_phases(&self) {
        self.end.register().await;
        for (index, (phase, tickets)) in self.common.phases.iter().enumerate() {
            let gate = async {
                self.lobby.full().await;
                self.common.gate.wait().await
            };
            if self.end.unless_aborted(gate).await.is_none() {
                return;
            }
            if *phase == Phase::Profiling {
                self.note_start();
            }
            if let Some(pacer) = self.pacers.get(index) {
                pacer.begin(tickets.schedule(self.common.job.clock.now()));
            }
            self.lobby.open(index);
        }
    }

    /// Another slot, which begins with phase number `phase`.
    fn start_slot(self: &Rc<Shard>, number: u32, phase: usize) {
        let job = self.common.job.clone();
        let slot = Slot::new(job, self.thread, number, self.end.clone(), self.tally.clone());
        self.lobby.expect_one();
        // A slot ends early only by a panic, whose message is already on the screen; the others go on.
        tokio::task::spawn_local(self.clone().work(slot, phase));
    }

    /// Another slot for an open loop whose slots are all busy; none when it would be one too many.
    fn grow(self: &Rc<Shard>, phase: usize) -> Option<u32> {
        // With as many slots as places, the next request goes to whichever slot is done first.
        if self.common.cap.is_some() && self.lobby.expected() >= self.common.job.plan.load.slots() {
            return None;
        }
        let (slots, room) = (&self.common.slots, self.common.room);
        let number = slots
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |slots| (slots < room).then_some(slots + 1))
            .ok()?;
        self.start_slot(number, phase);
        Some(number)
    }

    /// A slot's life: connect, then request after request, phase by phase.
    async fn work(self: Rc<Shard>, mut slot: Slot, from: usize) {
        let _present = self.lobby.presence();
        self.end.register().await;
        if !self.lobby.is_open(from) {
            slot.open_ahead().await;
        }
        for (index, (phase, _)) in self.common.phases.iter().enumerate().skip(from) {
            if !self.lobby.pass(index).await {
                return;
            }
            slot.begin_phase();
            while let Some(ticket) = self.ticket(index, slot.number()).await {
                let finished = slot.request(&ticket, *phase).await;
                drop(ticket);
                let pause = could_not_connect(&finished);
                self.count(&finished);
                self.outbox.push(finished);
                if pause && !self.end.is_aborted() {
                    tokio::time::sleep(RECONNECT_PAUSE).await;
                }
            }
        }
    }

    /// What slot `slot` is to send next, once it is to be sent.
    async fn ticket(self: &Rc<Shard>, phase: usize, slot: u32) -> Option<Ticket<'_>> {
        let Common { job, control, cap, phases, .. } = &*self.common;
        let Some(pacer) = self.pacers.get(phase) else {
            return if control.is_draining() { None } else { phases[phase].1.take(job.clock.now()) };
        };
        pacer.ticket(slot, cap.as_ref(), || self.grow(phase)).await.unwrap_or_else(|error| {
            self.trouble.set(Some(error));
            control.abort();
            None
        })
    }

    /// Records of requests that were due before the end and never sent: nothing is dropped silently.
    fn put_down_unsent(&self) {
        let job = &self.common.job;
        for (pacer, (phase, _)) in self.pacers.iter().zip(&self.common.phases) {
            for (due, issued) in pacer.left_over() {
                let ticket = Ticket { seq: due.seq, due: Some(due.at), issued, place: None };
                let finished = never_sent(job, self.thread, &ticket, *phase);
                self.count(&finished);
                self.outbox.push(finished);
            }
        }
    }

    async fn watch_end(self: Rc<Shard>) {
        let mut end = End::Open;
        while end < End::Aborted {
            end = self.common.control.nearer(end).await;
            self.end.bring(end);
        }
    }

    async fn keep_outbox_fresh(self: Rc<Shard>) {
        loop {
            tokio::time::sleep(BATCH_WAIT).await;
            self.outbox.flush();
        }
    }

    fn count(&self, finished: &Finished) {
        if finished.record.phase == Phase::Warmup {
            return;
        }
        self.live.chunks.fetch_add(finished.record.chunks.len() as u64, Ordering::Relaxed);
        self.live.completed.fetch_add(1, Ordering::Relaxed);
        if matches!(finished.record.outcome, Outcome::Failed(_)) {
            // After the count of all, and with it: whoever sees a failure sees every request up to it.
            self.live.failed.fetch_add(1, Ordering::Release);
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
            kernel_stamps: !self.tally.unstamped.get(),
        }
    }
}

fn could_not_connect(finished: &Finished) -> bool {
    matches!(&finished.record.outcome, Outcome::Failed(failure) if failure.stage <= Stage::Tls)
}

/// Records on their way out.
struct Outbox {
    batch: RefCell<Batch>,
    sink: SyncSender<Batch>,
}

impl Outbox {
    fn push(&self, finished: Finished) {
        self.batch.borrow_mut().push(finished);
        if self.batch.borrow().len() >= BATCH {
            self.flush();
        }
    }

    fn flush(&self) {
        let batch = self.batch.take();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tickets_end_by_count_or_time() {
        let counted = Tickets::new(Some(2), None);
        let at = Nanos::from_millis;
        let take = |tickets: &Tickets, now| tickets.take(now).map(|ticket| (ticket.seq, ticket.issued));
        let expected = [Some((0, at(5))), Some((1, at(9))), None];
        assert_eq!([take(&counted, at(5)), take(&counted, at(9)), take(&counted, at(9))], expected);
        let timed = Tickets::new(None, Some(at(10)));
        let expected = [Some((0, at(100))), Some((1, at(109))), Some((2, at(100))), None];
        assert_eq!([at(100), at(109), at(99), at(110)].map(|now| take(&timed, now)), expected);
        assert_eq!(timed.deadline(), Some(at(110)));
    }
}
