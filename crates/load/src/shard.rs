//! One load thread: a current-thread runtime with a task for each of its slots. Threads share the tickets and nothing else.

use crate::attempt::{Slot, Tally};
use crate::control::{Control, LocalAbort};
use crate::job::{Batch, Finished, Job};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;
use streamgauge_core::clock::{Clock, Nanos};
use streamgauge_core::record::{Outcome, Phase, Stage, ThreadFacts};
use tokio::sync::Barrier;
use tokio::task::LocalSet;

/// Records that leave a thread together: one wake-up of the receiver for so many.
const BATCH: usize = 64;
/// A record waits no longer than this for others.
const BATCH_WAIT: Duration = Duration::from_millis(100);
/// How long a slot waits after it could not connect, so that a dead server does not fill the records with refusals.
const RECONNECT_PAUSE: Duration = Duration::from_millis(100);

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
    fn take(&self, now: Nanos) -> Option<(u64, Nanos)> {
        let started = *self.started.get_or_init(|| now);
        // Another thread may have read the clock later and started the phase first.
        let now = now.max(started);
        if self.duration.is_some_and(|duration| now - started >= duration) {
            return None;
        }
        let seq = self.next.fetch_add(1, Ordering::Relaxed);
        (seq < self.limit).then_some((seq, now))
    }

    /// When the first request was issued.
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
    pub gate: Barrier,
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
) -> std::io::Result<ShardFacts> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let shard = Rc::new(Shard {
        common: common.clone(),
        live: live.clone(),
        abort: Rc::default(),
        tally: Rc::default(),
        outbox: Outbox { batch: RefCell::default(), sink },
        cpu_at_start: Cell::new(None),
    });
    LocalSet::new().block_on(&runtime, async {
        tokio::task::spawn_local(shard.clone().watch_abort());
        tokio::task::spawn_local(shard.clone().keep_outbox_fresh());
        let slots = slots.into_iter().map(|number| {
            let job = common.job.clone();
            let slot = Slot::new(job, thread, number, shard.abort.clone(), shard.tally.clone());
            tokio::task::spawn_local(shard.clone().work(slot))
        });
        for slot in slots.collect::<Vec<_>>() {
            // A slot ends early only by a panic, whose message is already on the screen; the others go on.
            let _ = slot.await;
        }
    });
    shard.outbox.flush();
    Ok(shard.facts())
}

struct Shard {
    common: Arc<Common>,
    live: Arc<Live>,
    abort: Rc<LocalAbort>,
    tally: Rc<Tally>,
    outbox: Outbox,
    cpu_at_start: Cell<Option<(Nanos, Nanos)>>,
}

impl Shard {
    /// A slot's life: connect, then request after request, phase by phase.
    async fn work(self: Rc<Shard>, mut slot: Slot) {
        poll_fn(|cx| {
            self.abort.register(cx.waker());
            Poll::Ready(())
        })
        .await;
        slot.open_ahead().await;
        for (phase, tickets) in &self.common.phases {
            if !self.pass_gate().await {
                return;
            }
            if *phase == Phase::Profiling {
                self.note_start();
            }
            slot.begin_phase();
            while let Some((seq, issued)) = self.ticket(tickets) {
                let finished = slot.request(seq, *phase, issued).await;
                let pause = could_not_connect(&finished);
                self.count(&finished);
                self.outbox.push(finished);
                if pause && !self.abort.is_fired() {
                    tokio::time::sleep(RECONNECT_PAUSE).await;
                }
            }
        }
    }

    fn ticket(&self, tickets: &Tickets) -> Option<(u64, Nanos)> {
        if self.common.control.is_draining() { None } else { tickets.take(self.common.job.clock.now()) }
    }

    /// Waits until every slot of every thread has come here; false when the run was aborted meanwhile.
    async fn pass_gate(&self) -> bool {
        let mut gate = std::pin::pin!(self.common.gate.wait());
        poll_fn(|cx| match gate.as_mut().poll(cx) {
            Poll::Ready(_) => Poll::Ready(true),
            Poll::Pending if self.abort.is_fired() => Poll::Ready(false),
            Poll::Pending => Poll::Pending,
        })
        .await
    }

    async fn watch_abort(self: Rc<Shard>) {
        self.common.control.aborted().await;
        self.abort.fire();
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
        if self.cpu_at_start.get().is_none() {
            self.cpu_at_start.set(Some((thread_cpu(), self.common.job.clock.now())));
        }
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
        let expected = [Some((0, at(5))), Some((1, at(9))), None];
        assert_eq!([counted.take(at(5)), counted.take(at(9)), counted.take(at(9))], expected);
        let timed = Tickets::new(None, Some(at(10)));
        let expected = [Some((0, at(100))), Some((1, at(109))), Some((2, at(100))), None];
        assert_eq!([timed.take(at(100)), timed.take(at(109)), timed.take(at(99)), timed.take(at(110))], expected);
        assert_eq!(timed.deadline(), Some(at(110)));
    }
}
