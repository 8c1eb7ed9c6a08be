//! The one driver: starts the load threads, watches over the end of the run, and gathers what it left behind.

use crate::control::Control;
use crate::descriptors;
use crate::job::{Batch, Job};
use crate::shard::{self, Common, Live, ShardFacts, Tickets};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, channel};
use std::thread::JoinHandle;
use std::time::Duration;
use streamgauge_core::clock::{Clock, Nanos};
use streamgauge_core::load::Load;
use streamgauge_core::record::{Phase, RunFacts};
use tokio::sync::{Barrier, Semaphore};

/// How often the watch looks up; limits are kept to within this.
const WATCH: Duration = Duration::from_millis(20);
/// A run whose first requests all fail ends after so many, or as many as it has streams.
const HOPELESS: u64 = 20;

/// How far a run has come: a snapshot for observers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// When the first measured request was issued.
    pub started: Option<Nanos>,
    /// Measured requests that have ended, however.
    pub completed: u64,
    /// Those of them that failed; being cut off is no failure.
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
    let plan = job.plan.clone();
    let room = descriptors::room();
    let slots = match plan.load.most() {
        Some(_) => plan.load.slots(),
        // What is opened ahead is a help and not a promise.
        None => plan.load.slots().min(room).max(1),
    };
    let threads = u32::from(plan.threads).clamp(1, slots.max(1));
    let cap = match plan.load {
        // More permits than that it does not have, and nobody has so many descriptors.
        Load::Open { cap: Some(cap), .. } => Some(Semaphore::new((cap.most as usize).min(Semaphore::MAX_PERMITS))),
        Load::Concurrency(_) | Load::Open { .. } | Load::Users { .. } => None,
    };
    let common = Arc::new(Common {
        job,
        control,
        gate: Barrier::new(threads as usize),
        threads,
        slots: AtomicU32::new(slots),
        room,
        cap,
        phases: [
            (
                Phase::Warmup,
                Tickets::new(Some(plan.warmup.as_ref().and_then(|warmup| warmup.requests).unwrap_or(0)), None),
            ),
            (Phase::Profiling, Tickets::new(plan.stop.requests, plan.stop.duration)),
        ],
    });
    let (tell, done) = channel();
    let mut run = Run { common, threads: Vec::new(), live: Vec::new(), done };
    for thread in 0..threads {
        let (common, live, sink, tell) = (run.common.clone(), Arc::<Live>::default(), sink.clone(), tell.clone());
        run.live.push(live.clone());
        let mine: Vec<u32> = (thread..slots).step_by(threads as usize).collect();
        let number = u16::try_from(thread).unwrap_or(u16::MAX);
        run.threads.push(std::thread::Builder::new().name(format!("load-{thread}")).spawn(move || {
            let facts = shard::run(&common, number, mine, &live, sink);
            if facts.is_err() {
                // The others would wait for this one at the gate.
                common.control.abort();
            }
            // Whoever waited for the end may be gone.
            let _ = tell.send(());
            facts
        })?);
    }
    Ok(run)
}

impl Run {
    /// How far the run has come.
    pub fn progress(&self) -> Progress {
        let sum = |field: fn(&Live) -> u64| self.live.iter().map(|live| field(live)).sum();
        // Failures first: a request that ends meanwhile must not make it look as if all had failed.
        let failed = sum(|live| live.failed.load(Ordering::Acquire));
        Progress {
            started: self.profiling().started(),
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
            watch.look(&self, progress);
            observe(progress);
        }
        self.gather(watch)
    }

    fn profiling(&self) -> &Tickets {
        &self.common.phases[1].1
    }

    fn gather(self, watch: Watch) -> RunFacts {
        let job = &self.common.job;
        let ended = job.clock.now();
        let mut facts = RunFacts {
            started: self.profiling().started().unwrap_or(ended),
            ended,
            anchor_wall: job.clock.anchor_wall(),
            kernel_stamps: true,
            interrupted: self.common.control.is_interrupted(),
            ended_early: watch.ended_early,
            ..RunFacts::default()
        };
        for thread in self.threads {
            match thread.join() {
                Ok(Ok(shard)) => {
                    facts.threads.push(shard.load);
                    facts.connections_opened += shard.opened;
                    facts.connections_replaced += shard.replaced;
                    facts.kernel_stamps &= shard.kernel_stamps;
                }
                Ok(Err(error)) => facts.ended_early = Some(format!("a load thread could not go on: {error}")),
                Err(_) => facts.ended_early = Some("a load thread stopped by an error of this program".to_owned()),
            }
        }
        facts
    }
}

/// What the watch over a run remembers.
#[derive(Default)]
struct Watch {
    /// When issuing ended, where something other than a count ended it.
    issuing_ended: Option<Nanos>,
    ended_early: Option<String>,
}

impl Watch {
    fn look(&mut self, run: &Run, progress: Progress) {
        let Common { job, control, .. } = &*run.common;
        let now = job.clock.now();
        let hopeless = HOPELESS.max(u64::from(job.plan.load.slots()));
        if self.ended_early.is_none() && progress.completed >= hopeless && progress.failed == progress.completed {
            self.ended_early = Some(format!("the first {} requests all failed", progress.completed));
            control.abort();
        }
        let deadline = run.profiling().deadline().filter(|deadline| *deadline <= now);
        if self.issuing_ended.is_none() {
            self.issuing_ended = deadline.or(control.is_draining().then_some(now));
        }
        if self.issuing_ended.is_some_and(|ended| now - ended >= job.plan.stop.grace) {
            control.abort();
        }
    }
}
