//! A load that grows as requests are answered, shared by all load threads.

use std::sync::atomic::{AtomicU32, Ordering};
use streamgauge_core::load::Growth;
use tokio::sync::Notify;

/// How far the load of one phase has grown.
#[derive(Debug)]
pub(crate) struct SharedGrowth {
    growth: Growth,
    /// Requests that have had their responses, or never will.
    reached: AtomicU32,
    /// The batches after the first, each with those who wait for it: a batch that opens wakes nobody else.
    later: Vec<Notify>,
}

impl SharedGrowth {
    /// The first batch is open.
    pub fn new(growth: Growth) -> SharedGrowth {
        let batches = growth.end.checked_sub(1).map_or(0, |last| growth.batch(last));
        let later = (0..batches).map(|_| Notify::new()).collect();
        SharedGrowth { growth, reached: AtomicU32::new(0), later }
    }

    /// Place number `place`, once it is open. Each is taken once.
    pub async fn open(&self, place: u32) -> GrowthPlace<'_> {
        if let Some(batch) = self.later(place) {
            let mut notified = std::pin::pin!(batch.notified());
            // From here on the waiter is woken; responses that were counted before are seen below.
            notified.as_mut().enable();
            if self.reached.load(Ordering::SeqCst) < self.growth.opens_after(place) {
                notified.await;
            }
        }
        GrowthPlace(self)
    }

    /// The batch of a place, if it is not in the first.
    fn later(&self, place: u32) -> Option<&Notify> {
        self.later.get(self.growth.batch(place).checked_sub(1)? as usize)
    }

    fn reach(&self) {
        let reached = self.reached.fetch_add(1, Ordering::SeqCst).saturating_add(1);
        // The place of this number is the first that is not in the batches so far, if they are complete.
        if self.growth.opens_after(reached) == reached
            && let Some(batch) = self.later(reached)
        {
            batch.notify_waiters();
        }
    }
}

/// A place of such a load. It is dropped when its request has had the responses that the next batch waits for, or when there will be
/// no more of them, whatever became of the request: nobody waits for one that has ended, or that was never sent.
#[derive(Debug)]
pub(crate) struct GrowthPlace<'a>(&'a SharedGrowth);

impl GrowthPlace<'_> {
    /// Responses that the next batch waits for.
    pub fn responses(&self) -> usize {
        self.0.growth.responses as usize
    }
}

impl Drop for GrowthPlace<'_> {
    fn drop(&mut self) {
        self.0.reach();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::pin::Pin;
    use std::task::{Context, Waker};

    type Opening<'a> = Pin<Box<dyn Future<Output = GrowthPlace<'a>> + 'a>>;

    /// The places that open now, of those in `waiting`.
    fn opened<'a>(waiting: &mut Vec<(u32, Opening<'a>)>) -> Vec<(u32, GrowthPlace<'a>)> {
        let mut places = Vec::new();
        waiting.retain_mut(|(place, opening)| {
            match opening.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                std::task::Poll::Ready(open) => places.push((*place, open)),
                std::task::Poll::Pending => return true,
            }
            false
        });
        places
    }

    #[test]
    fn a_batch_opens_with_the_last_of_the_one_before() {
        let growth = SharedGrowth::new(Growth { start: 2, end: 7, step: 2, responses: 3 });
        let mut waiting: Vec<(u32, Opening)> =
            (0..7).map(|place| (place, Box::pin(growth.open(place)) as Opening)).collect();
        for batch in [vec![0, 1], vec![2, 3], vec![4, 5], vec![6]] {
            let mut places = opened(&mut waiting);
            assert_eq!(places.iter().map(|(place, _)| *place).collect::<Vec<_>>(), batch);
            assert_eq!(places[0].1.responses(), 3);
            while let Some(place) = places.pop() {
                assert!(opened(&mut waiting).is_empty(), "not before all of {batch:?}");
                drop(place);
            }
        }
        assert!(waiting.is_empty());
    }

    #[test]
    fn who_comes_late_finds_its_place_open() {
        let growth = SharedGrowth::new(Growth { start: 1, end: 3, step: 1, responses: 1 });
        for place in 0..3 {
            let mut waiting = vec![(place, Box::pin(growth.open(place)) as Opening)];
            assert_eq!(opened(&mut waiting).len(), 1);
        }
    }
}
