//! What a request waits for before it is sent: its due time and its permits. Each wait ends when the phase ends.

use super::ticket::Permits;
use crate::control::{Control, LocalEnd};
use crate::phase::{PhaseState, SharedPlaces};
use crate::tasks;
use std::io;
use std::rc::Rc;
use streamgauge_core::clock::{Clock, Nanos, SystemClock};
use streamgauge_net::Timer;
use tokio::sync::SemaphorePermit;

/// How long before a request is due its slot wakes up. An idle processor takes some tens of microseconds to wake up and a busy one takes
/// none, so without this the gaps between requests would vary by that time.
const WAKE_UP: Nanos = Nanos(50_000);

/// How the slots of one load thread wait in one phase.
#[derive(Clone)]
pub(crate) struct Waits {
    pub clock: SystemClock,
    pub timer: Timer,
    pub control: Control,
    pub end: Rc<LocalEnd>,
    /// The phase's number.
    pub phase: usize,
}

impl Waits {
    /// The same waits in phase number `phase`.
    pub fn in_phase(&self, phase: usize) -> Waits {
        Waits { phase, ..self.clone() }
    }

    /// Whether the phase issues no more requests. This becomes true when a drain begins, before the tasks of this thread have been
    /// notified of it.
    pub fn is_over(&self) -> bool {
        self.control.is_draining() || self.is_cut()
    }

    /// Whether requests in flight in the phase are cut off.
    pub fn is_cut(&self) -> bool {
        self.end.is_cut(self.phase)
    }

    /// `work` of a registered task, unless nothing more is issued in the phase first.
    pub async fn unless_over<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        self.end.unless_over(self.phase, work).await
    }

    /// When the phase ended, if something other than the plan's own limits ended it; otherwise now.
    pub fn over(&self) -> Nanos {
        self.end.drained().unwrap_or_else(|| self.clock.now())
    }

    /// Waits until `at`; false when the phase is over before.
    ///
    /// # Errors
    /// The timer's.
    pub async fn until(&self, at: Nanos) -> io::Result<bool> {
        self.unless_over(self.punctually(at)).await.map_or(Ok(false), |slept| slept.map(|()| true))
    }

    /// Sleeps until shortly before `at` and then checks the clock repeatedly, while the other tasks of the thread go on.
    async fn punctually(&self, at: Nanos) -> io::Result<()> {
        self.timer.sleep_until(at - WAKE_UP).await?;
        tasks::look_until(self.clock, at).await;
        Ok(())
    }

    /// Waits for the permits that a request of `part` needs; `None` if the phase ends first.
    pub async fn permits<'a>(&self, part: &'a PhaseState) -> Option<Permits<'a>> {
        let mut waited = false;
        // The limit on requests in flight comes first: a request that has passed it waits only for the other permit, and gets it in order.
        let cap = self.permit(part.cap.as_ref(), &mut waited).await?;
        let prefill = self.permit(part.prefill.as_deref(), &mut waited).await?;
        Some(Permits { cap, prefill, waited })
    }

    async fn permit<'a>(
        &self,
        places: Option<&'a SharedPlaces>,
        waited: &mut bool,
    ) -> Option<Option<SemaphorePermit<'a>>> {
        let Some(places) = places else { return Some(None) };
        if let Some(place) = places.try_take() {
            return Some(Some(place));
        }
        *waited = true;
        self.unless_over(places.take()).await
    }
}
