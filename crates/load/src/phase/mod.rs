//! One phase of a run as all load threads share it: its plan, its tickets and its places.

mod growth;
mod places;
mod sequences;

use crate::job::Job;
use crate::supply::Window;
use growth::SharedGrowth;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use streamgauge_core::clock::Nanos;
use streamgauge_core::load::Load;
use streamgauge_core::plan::PhasePlan;
use streamgauge_core::schedule::Due;
use tokio::sync::Notify;

pub(crate) use growth::GrowthPlace;
pub(crate) use places::SharedPlaces;
pub(crate) use sequences::Sequences;

/// A schedule begins so long after the gate has opened: time for every thread to wake up and wait for its first due, so that
/// none begins late.
const LEAD: Nanos = Nanos::from_millis(5);

/// One phase of a run.
pub(crate) struct PhaseState {
    pub plan: PhasePlan,
    pub tickets: Tickets,
    /// Places under an open loop's cap.
    pub cap: Option<SharedPlaces>,
    /// Places for requests without a first output.
    pub prefill: Option<Arc<SharedPlaces>>,
    /// The progress of a load that grows.
    pub growth: Option<SharedGrowth>,
    /// The assignment of requests to sequences, if they belong to sequences.
    pub sequences: Option<Sequences>,
    /// The conversations that are prepared for it during the load, if requests are streamed from their source.
    pub window: Option<Arc<Window>>,
    /// The beginning of the phase, for threads that wait for it, if slots go over to it from the previous phase one by one.
    handed_over: Option<Notify>,
}

impl PhaseState {
    /// The phases of a job, in their order.
    pub fn all(job: &Job) -> Vec<PhaseState> {
        let mut parts: Vec<PhaseState> = Vec::new();
        for (index, plan) in job.plan.phases().into_iter().enumerate() {
            let window = job.supply.window(index).cloned();
            let mut part = PhaseState { window, ..PhaseState::new(job, plan) };
            if let Some(before) = parts.last().filter(|_| job.plan.hands_over()) {
                part.handed_over = Some(Notify::new());
                // A request that has no first output yet counts for both.
                part.prefill.clone_from(&before.prefill);
            }
            parts.push(part);
        }
        parts
    }

    fn new(job: &Job, plan: PhasePlan) -> PhaseState {
        let cap = match plan.load {
            Load::Open { cap, .. } => cap,
            Load::Concurrency(_) | Load::Growing(_) | Load::Users { .. } => None,
        };
        let growth = match plan.load {
            Load::Growing(growth) => Some(SharedGrowth::new(growth)),
            Load::Concurrency(_) | Load::Open { .. } | Load::Users { .. } => None,
        };
        PhaseState {
            tickets: Tickets::new(plan.requests.map(|requests| job.supply.begun_by(requests)), plan.duration),
            cap: cap.map(SharedPlaces::new),
            prefill: plan.prefill.map(|places| Arc::new(SharedPlaces::new(places))),
            growth,
            sequences: Sequences::of(job, &plan),
            window: None,
            handed_over: None,
            plan,
        }
    }

    /// The phase begins: the first thread to call sets its start.
    pub fn begin(&self, now: Nanos) {
        let lead = match self.plan.load {
            Load::Concurrency(_) | Load::Growing(_) => Nanos::ZERO,
            Load::Open { .. } | Load::Users { .. } => LEAD,
        };
        self.tickets.begin(now + lead);
        if let Some(begun) = &self.handed_over {
            begun.notify_waiters();
        }
    }

    /// Whether request number `seq`, which goes on with a conversation and is due at `at`, is still a part of the phase.
    pub fn has_follow_up(&self, seq: u64, at: Nanos) -> bool {
        self.plan.requests.is_none_or(|requests| seq < requests)
            && self.tickets.deadline().is_none_or(|deadline| at < deadline)
    }

    /// Whether slots go on to it from the phase before one by one, each as it has done with that.
    pub fn is_handed_over(&self) -> bool {
        self.handed_over.is_some()
    }

    /// Waits until the first slot has gone on to it.
    pub async fn begun(&self) {
        let Some(begun) = &self.handed_over else { return };
        let mut notified = std::pin::pin!(begun.notified());
        notified.as_mut().enable();
        if self.tickets.started().is_none() {
            notified.await;
        }
    }

    /// Whether slot `slot` ever has a request in this phase. In an open loop any slot may have one: the limit is kept by permits.
    pub fn takes(&self, slot: u32) -> bool {
        match self.plan.load {
            Load::Concurrency(places) => slot < places.most,
            Load::Growing(growth) => slot < growth.end,
            Load::Users { users, .. } => slot < users,
            Load::Open { .. } => true,
        }
    }

    /// Whether requests in flight are cut off by `now`, on whatever thread that was noticed first.
    pub fn is_cut(&self, now: Nanos) -> bool {
        self.last_moment().is_some_and(|last| now >= last)
    }

    /// When requests in flight are cut off, if time ends the phase.
    pub fn last_moment(&self) -> Option<Nanos> {
        Some(self.tickets.deadline()? + self.plan.grace)
    }
}

/// The conversations of one phase, most of them of one request: their numbers, handed out until the count or the time is up.
#[derive(Debug)]
pub(crate) struct Tickets {
    next: AtomicU64,
    limit: AtomicU64,
    duration: Option<Nanos>,
    started: Arc<OnceLock<Nanos>>,
    /// The last number is out.
    exhausted: Notify,
}

/// Where a phase's schedule begins and where it ends.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Limits {
    /// The schedule's zero.
    start: Nanos,
    /// Conversations of the phase over all threads.
    count: u64,
    /// Requests that are due this long after the start, or later, are not issued.
    duration: Option<Nanos>,
}

impl Limits {
    /// A request of the schedule on the run's clock, if it is within the phase.
    pub fn place(self, due: Due) -> Option<Due> {
        let within = due.seq < self.count && self.duration.is_none_or(|duration| due.at < duration);
        within.then(|| Due { at: self.start + due.at, ..due })
    }

    /// The same limits, but only for conversations before number `end`.
    pub fn ending_at(self, end: u64) -> Limits {
        Limits { count: self.count.min(end), ..self }
    }
}

impl Tickets {
    pub fn new(limit: Option<u64>, duration: Option<Nanos>) -> Tickets {
        let limit = AtomicU64::new(limit.unwrap_or(u64::MAX));
        Tickets { next: AtomicU64::new(0), limit, duration, started: Arc::default(), exhausted: Notify::new() }
    }

    /// The phase's time starts at `at`, unless it has started before.
    fn begin(&self, at: Nanos) {
        self.started.get_or_init(|| at);
    }

    /// Returns the next request's number and the time at which it was issued, or `None` if there are no more or the phase has not started.
    pub fn take(&self, now: Nanos) -> Option<(u64, Nanos)> {
        let started = *self.started.get()?;
        // Another thread may have read the clock later and started the phase first.
        let now = now.max(started);
        if self.duration.is_some_and(|duration| now - started >= duration) {
            return None;
        }
        let (seq, limit) = (self.next.fetch_add(1, Ordering::Relaxed), self.limit());
        if seq.saturating_add(1) == limit {
            self.exhausted.notify_waiters();
        }
        (seq < limit).then_some((seq, now))
    }

    /// Waits until a count of requests is used up.
    pub async fn exhausted(&self) {
        let mut notified = std::pin::pin!(self.exhausted.notified());
        notified.as_mut().enable();
        if self.next.load(Ordering::Relaxed) < self.limit() {
            notified.await;
        }
    }

    /// Conversations from number `end` on are not a part of the phase.
    pub fn end_at(&self, end: u64) {
        if self.limit.fetch_min(end, Ordering::Relaxed) > end {
            self.exhausted.notify_waiters();
        }
    }

    fn limit(&self) -> u64 {
        self.limit.load(Ordering::Relaxed)
    }

    /// The limits of the phase's schedule; before its start none is within them.
    pub fn limits(&self) -> Limits {
        let limits = |start| Limits { start, count: self.limit(), duration: self.duration };
        self.started().map(limits).unwrap_or_default()
    }

    /// When the phase started: of a schedule, its zero.
    pub fn started(&self) -> Option<Nanos> {
        self.started.get().copied()
    }

    /// The value that will hold the start.
    pub fn start(&self) -> Arc<OnceLock<Nanos>> {
        self.started.clone()
    }

    /// When no more are issued, if time decides.
    pub fn deadline(&self) -> Option<Nanos> {
        Some(self.started()? + self.duration?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tickets_end_by_count_or_time() {
        let counted = Tickets::new(Some(2), None);
        let at = Nanos::from_millis;
        assert_eq!(counted.take(at(4)), None, "before the start");
        counted.begin(at(5));
        counted.begin(at(6));
        let expected = [Some((0, at(5))), Some((1, at(9))), None];
        assert_eq!([counted.take(at(5)), counted.take(at(9)), counted.take(at(9))], expected);
        let timed = Tickets::new(None, Some(at(10)));
        timed.begin(at(100));
        let expected = [Some((0, at(100))), Some((1, at(109))), Some((2, at(100))), None];
        assert_eq!([at(100), at(109), at(99), at(110)].map(|now| timed.take(now)), expected);
        assert_eq!(timed.deadline(), Some(at(110)));
    }

    #[test]
    fn an_end_that_is_found_during_the_load_only_shortens_a_phase() {
        let tickets = Tickets::new(Some(5), None);
        tickets.begin(Nanos(1));
        tickets.end_at(9);
        tickets.end_at(1);
        assert_eq!([tickets.take(Nanos(2)), tickets.take(Nanos(3))], [Some((0, Nanos(2))), None]);
        assert_eq!(tickets.limits().place(Due { seq: 1, at: Nanos::ZERO }), None);
        let limits = Tickets::new(None, None).limits().ending_at(3);
        assert_eq!(limits.count, 0, "before its start nothing is within it");
    }

    #[test]
    fn limits_are_on_the_run_s_clock_and_before_the_start_hold_nothing() {
        let at = Nanos::from_millis;
        let tickets = Tickets::new(Some(3), Some(at(10)));
        let place = |seq, millis| tickets.limits().place(Due { seq, at: at(millis) }).map(|due| due.at);
        assert_eq!(place(0, 0), None);
        tickets.begin(at(100));
        assert_eq!([place(0, 0), place(2, 9), place(3, 9), place(2, 10)], [Some(at(100)), Some(at(109)), None, None]);
    }
}
