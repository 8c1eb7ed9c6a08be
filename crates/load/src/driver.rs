//! The driver of all loads: it starts the load threads, watches for the end of the run, and collects the results.

use crate::control::Control;
use crate::job::{Batch, Job};
use crate::phase::PhaseState;
use crate::preflight::descriptors::{self, Budget};
use crate::thread::{self, Common, Live, ShardFacts};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, channel};
use std::thread::JoinHandle;
use std::time::Duration;
use streamgauge_core::clock::{Clock, Nanos};
use streamgauge_core::load::Load;
use streamgauge_core::record::{RunFacts, Waited};
use streamgauge_core::stop::{BUDGET_FROM, StopRule};
use streamgauge_core::{EarlyEnd, OverBudget};
use tokio::sync::Barrier;

/// The interval at which the limits of the run are checked, which is also their accuracy.
const WATCH: Duration = Duration::from_millis(20);
/// A run ends if its first requests all fail: this number of them, or as many as it has streams.
const HOPELESS: u64 = 20;

/// The progress of a run: a snapshot for observers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// When the measured phase started; of a schedule, its zero.
    pub started: Option<Nanos>,
    /// Measured requests that have ended, however.
    pub completed: u64,
    /// The number of those requests that failed. Requests that were cut off are not failures.
    pub failed: u64,
    /// Output events of them all.
    pub chunks: u64,
}

/// A run under way.
pub struct Run {
    common: Arc<Common>,
    threads: Vec<JoinHandle<io::Result<ShardFacts>>>,
    live: Vec<Arc<Live>>,
    done: Receiver<()>,
}

/// Starts the load threads; records go to `sink`. Connections are opened first, and no request leaves before all slots
/// have theirs.
///
/// # Errors
/// When a thread cannot be started.
pub fn run(job: Arc<Job>, control: Control, sink: SyncSender<Batch>) -> io::Result<Run> {
    let each = job.routes.len() as u64 * job.routes.ends();
    let others = descriptors::others(&job.plan, job.routes.ends());
    let room = descriptors::room(others, each);
    let phases = PhaseState::all(&job);
    let slots = |load: &Load| match load.most() {
        Some(_) => load.slots(),
        // Opening connections ahead is an optimisation and may fail.
        None => load.slots().min(room),
    };
    // All phases use the same number, which is the maximum.
    let slots = phases.iter().map(|part| slots(&part.plan.load)).fold(1, u32::max);
    let threads = u32::from(job.plan.transport.threads).clamp(1, slots);
    descriptors::grow_table(others + u64::from(slots) * each);
    if let Some(measured) = phases.last() {
        control.follow(measured.tickets.start());
    }
    let common = Arc::new(Common {
        job,
        control,
        gate: Barrier::new(threads as usize),
        threads,
        slots: AtomicU32::new(slots),
        budget: Arc::new(Budget::new(room, slots)),
        phases,
    });
    let (tell, done) = channel();
    let mut run = Run { common, threads: Vec::new(), live: Vec::new(), done };
    for thread in 0..threads {
        let (common, live, sink, tell) = (run.common.clone(), Arc::<Live>::default(), sink.clone(), tell.clone());
        run.live.push(live.clone());
        let mine: Vec<u32> = (thread..slots).step_by(threads as usize).collect();
        let number = u16::try_from(thread).unwrap_or(u16::MAX);
        run.threads.push(std::thread::Builder::new().name(format!("load-{thread}")).spawn(move || {
            let facts = thread::run(&common, number, mine, &live, sink);
            if facts.is_err() {
                // The others would wait for this one at the gate.
                common.control.abort();
            }
            // The receiver may have been dropped.
            let _ = tell.send(());
            facts
        })?);
    }
    Ok(run)
}

impl Run {
    /// Returns the progress of the run.
    pub fn progress(&self) -> Progress {
        let sum = |field: fn(&Live) -> u64| self.live.iter().map(|live| field(live)).sum();
        // Failures are read first: otherwise a request that ends between the two reads could make it look as if all had failed.
        let failed = sum(|live| live.failed.load(Ordering::Acquire));
        Progress {
            started: self.common.control.started(),
            completed: sum(|live| live.completed.load(Ordering::Relaxed)),
            failed,
            chunks: sum(|live| live.chunks.load(Ordering::Relaxed)),
        }
    }

    /// Waits for the end, keeping the plan's limits; `observe` sees a snapshot every few moments.
    pub fn finish(self, mut observe: impl FnMut(Progress)) -> RunFacts {
        let mut watch = Watch::default();
        let mut running = self.threads.len();
        while running > 0 {
            match self.done.recv_timeout(WATCH) {
                Ok(()) => running -= 1,
                Err(RecvTimeoutError::Timeout) => {}
                // Every thread has ended, one of them by a panic.
                Err(RecvTimeoutError::Disconnected) => running = 0,
            }
            let progress = self.progress();
            watch.look(&self, progress, running > 0);
            observe(progress);
        }
        self.gather(watch)
    }

    /// The failed and the finished requests, both without those that were cut off or cancelled.
    fn judged(&self) -> (u64, u64) {
        let sum = |field: fn(&Live) -> &AtomicU64| -> u64 {
            self.live.iter().map(|live| field(live).load(Ordering::Acquire)).sum()
        };
        // In this order: what ends meanwhile may make the share too small for a moment, and never too large.
        let (failed, neither_ok_nor_failed) = (sum(|live| &live.failed), sum(|live| &live.neither_ok_nor_failed));
        (failed, sum(|live| &live.completed).saturating_sub(neither_ok_nor_failed))
    }

    fn gather(self, watch: Watch) -> RunFacts {
        let job = &self.common.job;
        let ended = job.clock.now();
        let mut facts = RunFacts {
            // A schedule's zero lies a little ahead, and a run may end before it.
            started: self.common.control.started().map_or(ended, |started| started.min(ended)),
            ended,
            anchor_wall: job.clock.anchor_wall(),
            kernel_stamps: true,
            interrupted: self.common.control.is_interrupted(),
            ended_early: watch.ended_early,
            satisfied: self.common.control.satisfied().cloned(),
            prompt_waits: job.supply.is_streamed().then(Waited::default),
            ..RunFacts::default()
        };
        for thread in self.threads {
            match thread.join() {
                Ok(Ok(shard)) => {
                    facts.threads.push(shard.load);
                    facts.connections_opened += shard.opened;
                    facts.connections_replaced += shard.replaced;
                    facts.bodies_abandoned += shard.bodies_abandoned;
                    facts.kernel_stamps &= shard.kernel_stamps;
                    if shard.conversations.begun > 0 {
                        let known = facts.conversations.unwrap_or_default();
                        facts.conversations = Some(known.merged(shard.conversations));
                    }
                    if let Some(waits) = &mut facts.prompt_waits {
                        *waits = waits.merged(shard.prompt_waits);
                    }
                }
                Ok(Err(error)) => facts.ended_early = Some(EarlyEnd::LoadThread { error: error.to_string() }),
                Err(_) => facts.ended_early = Some(EarlyEnd::LoadThreadPanic),
            }
        }
        facts
    }
}

/// The state of the watch over a run.
#[derive(Default)]
struct Watch {
    /// When issuing ended, where something other than a count ended it.
    issuing_ended: Option<Nanos>,
    ended_early: Option<EarlyEnd>,
}

impl Watch {
    /// `running`: whether a thread still is. A run that came to its own end was not ended by its budget, used up or not.
    fn look(&mut self, run: &Run, progress: Progress, running: bool) {
        let Common { job, control, phases, .. } = &*run.common;
        let now = job.clock.now();
        if self.ended_early.is_none() {
            self.ended_early = hopeless(job, progress).or_else(|| {
                over_budget(&job.plan.load.stop, run.judged()).filter(|_| running).map(EarlyEnd::OverBudget)
            });
            if self.ended_early.is_some() {
                control.abort();
            }
        }
        let deadline =
            phases.last().and_then(|measured| measured.tickets.deadline()).filter(|deadline| *deadline <= now);
        if self.issuing_ended.is_none() {
            self.issuing_ended = deadline.or(control.is_draining().then_some(now));
        }
        if self.issuing_ended.is_some_and(|ended| now - ended >= job.plan.load.stop.grace) {
            control.abort();
        }
    }
}

/// Why a run that only fails is ended, if it does.
fn hopeless(job: &Job, Progress { completed, failed, .. }: Progress) -> Option<EarlyEnd> {
    let many = completed >= HOPELESS.max(u64::from(job.plan.load.mode.slots()));
    let hopeless = many && failed == completed && job.balancer.each_has_failed();
    hopeless.then_some(EarlyEnd::AllFailed { requests: completed })
}

/// Why a run that fails too often is ended, if it does.
fn over_budget(stop: &StopRule, (failed, finished): (u64, u64)) -> Option<OverBudget> {
    stop.over_budget(failed, finished).filter(|_| finished >= BUDGET_FROM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_judged_from_enough_requests_on_and_may_be_used_up() {
        let stop = StopRule { failed_share: Some(0.1), ..StopRule::after(1_000) };
        assert_eq!(over_budget(&stop, (19, 19)), None);
        assert_eq!([over_budget(&stop, (2, 20)), over_budget(&stop, (5, 50))], [None, None]);
        let said = "3 of 20 requests failed, more than the 10 % allowed";
        assert_eq!(over_budget(&stop, (3, 20)).map(|over| over.to_string()).as_deref(), Some(said));
        assert_eq!(over_budget(&StopRule { failed_share: None, ..stop.clone() }, (50, 50)), None);
        assert!(over_budget(&StopRule { failed_share: Some(0.0), ..stop }, (1, 1_000)).is_some());
    }
}
