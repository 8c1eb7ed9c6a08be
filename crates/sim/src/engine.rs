//! The engine: who is served, who waits, and when each token is due. It runs in real time on the thread's timer.
//!
//! Deadlines are absolute: the first from the request's receive stamp, each further from the one before. A late wake-up
//! makes one token late, never those after it.

use crate::model::Service;
use rand::Rng;
use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use streamgauge_core::clock::{Clock, Nanos, SystemClock};
use streamgauge_net::Timer;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The engine of a server.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) service: Service,
    pub(crate) clock: SystemClock,
    timer: Timer,
    /// First come, first served, by the semaphore's own promise.
    seats: Arc<Semaphore>,
    max_batch: u32,
    running: Rc<Cell<u32>>,
    waiting: Rc<Cell<u32>>,
}

impl Engine {
    pub(crate) fn new(service: Service, clock: SystemClock, timer: Timer) -> Engine {
        // The semaphore's own bound is far beyond what any machine has sockets for.
        let max_batch = service.max_batch.min(u32::try_from(Semaphore::MAX_PERMITS).unwrap_or(u32::MAX));
        let seats = Arc::new(Semaphore::new(max_batch as usize));
        Engine { service, clock, timer, seats, max_batch, running: Rc::default(), waiting: Rc::default() }
    }

    /// Takes a place in the batch for `sequences` sequences; if they exceed the batch, they take all of it. Returns when service begins:
    /// at `received`, or when the place became free.
    pub(crate) async fn admit(&self, sequences: u32, received: Nanos) -> io::Result<(Seat, Nanos)> {
        let sequences = sequences.clamp(1, self.max_batch);
        if let Ok(permit) = self.seats.clone().try_acquire_many_owned(sequences) {
            return Ok((self.seat(permit, sequences), received));
        }
        let waiting = Counted::new(&self.waiting, 1);
        // It is never closed, but that is the semaphore's knowledge, not the type's.
        let permit = self.seats.clone().acquire_many_owned(sequences).await.map_err(io::Error::other)?;
        drop(waiting);
        Ok((self.seat(permit, sequences), self.clock.now()))
    }

    fn seat(&self, permit: OwnedSemaphorePermit, sequences: u32) -> Seat {
        Seat { _permit: permit, _running: Counted::new(&self.running, sequences) }
    }

    /// When the next token after the one due at `due` is due, as loaded as the engine is now.
    pub(crate) fn next_due(&self, due: Nanos, chance: &mut impl Rng) -> Nanos {
        due + self.service.step(self.running.get(), chance)
    }

    /// Waits for `deadline`.
    pub(crate) async fn sleep_until(&self, deadline: Nanos) -> io::Result<()> {
        self.timer.sleep_until(deadline).await
    }

    /// Waits for `span`.
    pub(crate) async fn pause(&self, span: Nanos) -> io::Result<()> {
        self.sleep_until(self.clock.now() + span).await
    }

    /// Sequences in service.
    pub(crate) fn running(&self) -> u32 {
        self.running.get()
    }

    /// Requests that wait for a place.
    pub(crate) fn waiting(&self) -> u32 {
        self.waiting.get()
    }
}

/// A place in the batch, given back when dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    _permit: OwnedSemaphorePermit,
    _running: Counted,
}

/// A share of a counter, taken back when dropped.
#[derive(Debug)]
struct Counted {
    counter: Rc<Cell<u32>>,
    share: u32,
}

impl Counted {
    fn new(counter: &Rc<Cell<u32>>, share: u32) -> Counted {
        counter.set(counter.get() + share);
        Counted { counter: counter.clone(), share }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.counter.set(self.counter.get() - self.share);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn a_full_batch_makes_wait_in_order_of_arrival() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let clock = SystemClock::start();
            let service = Service { max_batch: 2, ..Service::instant() };
            let engine = Rc::new(Engine::new(service, clock, Timer::new(clock).unwrap()));
            let (first, begun) = engine.admit(1, Nanos(7)).await.unwrap();
            assert_eq!(begun, Nanos(7));
            let order = Rc::new(RefCell::new(Vec::new()));
            let tasks: Vec<_> = [2, 1, 9]
                .into_iter()
                .enumerate()
                .map(|(turn, sequences)| {
                    let (engine, order) = (engine.clone(), order.clone());
                    tokio::task::spawn_local(async move {
                        let (_seat, begun) = engine.admit(sequences, Nanos(7)).await.unwrap();
                        assert!(begun > Nanos(7), "it waited");
                        order.borrow_mut().push((turn, engine.running()));
                        tokio::task::yield_now().await;
                    })
                })
                .collect();
            tokio::task::yield_now().await;
            assert_eq!((engine.running(), engine.waiting()), (1, 3));
            drop(first);
            for task in tasks {
                task.await.unwrap();
            }
            assert_eq!(*order.borrow(), [(0, 2), (1, 1), (2, 2)]);
            assert_eq!((engine.running(), engine.waiting()), (0, 0));
        });
    }
}
