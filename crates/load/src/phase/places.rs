//! Permits that all load threads share: they limit the requests in flight, or the requests without a first output.

use std::sync::atomic::{AtomicU32, Ordering};
use streamgauge_core::clock::Nanos;
use streamgauge_core::load::Places;
use tokio::sync::{Semaphore, SemaphorePermit};

/// The permits of one phase. They are granted in the order of requests for them, across all threads.
#[derive(Debug)]
pub(crate) struct SharedPlaces {
    places: Places,
    free: Semaphore,
    /// Places that there are so far.
    opened: AtomicU32,
}

impl SharedPlaces {
    /// All places, or with a ramp none before [`SharedPlaces::open`].
    pub fn new(places: Places) -> SharedPlaces {
        let opened = if places.ramp.is_some() { 0 } else { places.most };
        // A semaphore cannot have more permits, and no process has that many descriptors.
        let permits = (opened as usize).min(Semaphore::MAX_PERMITS);
        SharedPlaces { places, free: Semaphore::new(permits), opened: AtomicU32::new(opened) }
    }

    /// Opens the places that there are `since` the phase's start; when the next opens after it, if one does. Every thread does
    /// so, since each may outlive the others, and each place opens once.
    pub fn open(&self, since: Nanos) -> Option<Nanos> {
        loop {
            let opened = self.opened.load(Ordering::Relaxed);
            if opened >= self.places.most {
                return None;
            }
            let at = self.places.opens(opened);
            if at > since {
                return Some(at);
            }
            let won = self.opened.compare_exchange(opened, opened + 1, Ordering::Relaxed, Ordering::Relaxed).is_ok();
            if won && self.free.available_permits() < Semaphore::MAX_PERMITS {
                self.free.add_permits(1);
            }
        }
    }

    /// A place that is free and that nobody waits for.
    pub fn try_take(&self) -> Option<SemaphorePermit<'_>> {
        self.free.try_acquire().ok()
    }

    /// A place, given back when it is dropped.
    pub async fn take(&self) -> Option<SemaphorePermit<'_>> {
        // The semaphore is never closed, so `acquire` cannot fail.
        self.free.acquire().await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use streamgauge_core::load::{Ramp, RampShape};

    #[test]
    fn places_open_once_each_whoever_opens_them() {
        let ramp = Some(Ramp { time: Nanos::from_millis(100), shape: RampShape::Linear });
        let places = SharedPlaces::new(Places { most: 4, ramp });
        let at = Nanos::from_millis;
        assert!(places.try_take().is_none());
        assert_eq!(places.open(at(0)), Some(at(25)));
        assert_eq!(places.open(at(0)), Some(at(25)));
        let first = places.try_take();
        assert!(first.is_some() && places.try_take().is_none());
        assert_eq!(places.open(at(60)), Some(at(75)));
        assert_eq!(places.free.available_permits(), 2);
        drop(first);
        assert_eq!((places.open(at(500)), places.open(at(500))), (None, None));
        assert_eq!(places.free.available_permits(), 4);
    }

    #[test]
    fn without_a_ramp_all_are_open() {
        let places = SharedPlaces::new(Places::all(2));
        assert_eq!((places.free.available_permits(), places.open(Nanos::ZERO)), (2, None));
    }
}
