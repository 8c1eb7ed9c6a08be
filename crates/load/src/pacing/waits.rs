//! What a request waits for before it is sent: its time, its places. Each wait ends with the phase.

use super::ticket::Held;
use crate::control::{Control, LocalEnd};
use crate::phase::{Part, SharedPlaces};
use crate::tasks;
use std::io;
use std::rc::Rc;
use streamgauge_core::clock::{Clock, Nanos, SystemClock};
use streamgauge_net::Timer;
use tokio::sync::SemaphorePermit;

/// How long before a request is due its slot wakes up. A processor that was idle takes some tens of microseconds to come back, and
/// none if it was busy, so without this the gaps between requests would differ by as much.
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
    /// The same in phase number `phase`.
    pub fn in_phase(&self, phase: usize) -> Waits {
        Waits { phase, ..self.clone() }
    }

    /// Whether nothing more is issued in the phase. A drain is kept to from its moment on, before this thread's tasks have been
    /// told of it.
    pub fn is_over(&self) -> bool {
        self.control.is_draining() || self.is_cut()
    }

    /// Whether what is in flight in the phase is cut off.
    pub fn is_cut(&self) -> bool {
        self.end.is_cut(self.phase)
    }

    /// `work` of a registered task, unless nothing more is issued in the phase first.
    pub async fn unless_over<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        self.end.unless_over(self.phase, work).await
    }

    /// When the phase's end came, where something but the plan's own limits ended it; otherwise now.
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

    /// Sleeps until shortly before `at`, and looks at the clock from then on, between which the thread's other tasks go on.
    async fn punctually(&self, at: Nanos) -> io::Result<()> {
        self.timer.sleep_until(at - WAKE_UP).await?;
        tasks::look_until(self.clock, at).await;
        Ok(())
    }

    /// Waits for the places that a request of `part` needs; none when the phase is over before.
    pub async fn places<'a>(&self, part: &'a Part) -> Option<Held<'a>> {
        let mut waited = false;
        // The one that bounds what is in flight first: whoever has it needs nothing but the other, and gets it in turn.
        let cap = self.place(part.cap.as_ref(), &mut waited).await?;
        let prefill = self.place(part.prefill.as_deref(), &mut waited).await?;
        Some(Held { cap, prefill, waited })
    }

    async fn place<'a>(
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
