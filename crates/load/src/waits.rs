//! What a request waits for before it is sent: its time, its places. Each wait ends with the phase.

use crate::control::{Control, LocalEnd};
use crate::growth::GrowthPlace;
use crate::part::Part;
use crate::places::SharedPlaces;
use crate::tasks;
use std::cell::Cell;
use std::io;
use std::rc::Rc;
use streamgauge_core::clock::{Clock, Nanos, SystemClock};
use streamgauge_core::sequence::Turn;
use streamgauge_net::Timer;
use tokio::sync::SemaphorePermit;

/// How long before a request is due its slot wakes up. A processor that was idle takes some tens of microseconds to come back, and
/// none if it was busy, so without this the gaps between requests would differ by as much.
const WAKE_UP: Nanos = Nanos(50_000);

/// A request to be sent now.
pub(crate) struct Ticket<'a> {
    /// Its number in the phase.
    pub seq: u64,
    /// When the schedule wanted it sent, where there is one.
    pub due: Option<Nanos>,
    /// When the slot took it up: at or after `due`.
    pub issued: Nanos,
    /// Its part in a sequence, where requests have one.
    pub turn: Option<Turn>,
    /// Whether its slot stood still for a place. In a closed loop that is the plan's pause and not the client's.
    pub waited: bool,
    /// Its place under the cap, given back when this is dropped.
    _cap: Option<SemaphorePermit<'a>>,
    /// Its place among those without a first output.
    prefill: Cell<Option<SemaphorePermit<'a>>>,
    /// Its place in a load that grows.
    growth: Cell<Option<GrowthPlace<'a>>>,
    /// Its place in a sequence that has one request at a time.
    _gate: Option<SemaphorePermit<'a>>,
}

impl<'a> Ticket<'a> {
    /// A request that holds no place.
    pub fn free(seq: u64, due: Option<Nanos>, issued: Nanos) -> Ticket<'a> {
        let (prefill, growth) = (Cell::new(None), Cell::new(None));
        Ticket { seq, due, issued, turn: None, waited: false, _cap: None, prefill, growth, _gate: None }
    }

    /// A request of a closed loop: nothing but the slot itself was waited for.
    pub fn at_once(seq: u64, issued: Nanos) -> Ticket<'a> {
        Ticket::free(seq, None, issued)
    }

    /// This request with the places that it got.
    pub fn with(self, held: Held<'a>) -> Ticket<'a> {
        Ticket { waited: held.waited, _cap: held.cap, prefill: Cell::new(held.prefill), ..self }
    }

    /// This request in its place of a load that grows.
    pub fn in_growth(self, place: GrowthPlace<'a>) -> Ticket<'a> {
        Ticket { growth: Cell::new(Some(place)), ..self }
    }

    /// This request as a part of a sequence, with the place there that it got; `issued` is when, where it had to wait.
    pub fn in_sequence(self, turn: Turn, gate: Option<SemaphorePermit<'a>>, issued: Nanos) -> Ticket<'a> {
        Ticket { turn: Some(turn), _gate: gate, issued, ..self }
    }

    /// Its place among those without a first output, for whoever sees that output; it is given back when it is dropped.
    pub fn take_prefill(&self) -> Option<SemaphorePermit<'a>> {
        self.prefill.take()
    }

    /// Its place in a load that grows, for whoever counts its responses.
    pub fn take_growth(&self) -> Option<GrowthPlace<'a>> {
        self.growth.take()
    }
}

/// The places of one request.
#[derive(Debug)]
pub(crate) struct Held<'a> {
    cap: Option<SemaphorePermit<'a>>,
    prefill: Option<SemaphorePermit<'a>>,
    waited: bool,
}

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
