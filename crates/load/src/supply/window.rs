//! A bounded part of a source of conversations, prepared ahead of the load.
//!
//! A thread outside the load threads puts conversations in, in their order, and waits while there is no room. Slots take them out by
//! their numbers. A slot whose conversation is not there yet waits for it, and for as long as one waits there is room: conversations
//! that other slots will take later never keep it from being prepared.

use crate::prepared::{Input, Prepared};
use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;
use streamgauge_wire::{Codec, Tag};

/// How much is prepared ahead, in bytes: enough for a second of load on a fast network, and little beside what load threads take.
const MOST_BYTES: usize = 32 << 20;
/// How many conversations are prepared ahead.
const MOST_CONVERSATIONS: usize = 8_192;

/// A conversation with all of its requests.
#[derive(Debug)]
pub(crate) struct Held {
    /// The number of its first request.
    pub first: u64,
    /// The index of the first request's prompt in the source.
    pub index: u32,
    /// Its requests, at least one.
    pub turns: Vec<Prepared>,
}

/// Conversations of one phase that are prepared and that no slot has taken up yet.
#[derive(Debug)]
pub(crate) struct Window {
    state: Mutex<State>,
    /// Something that the preparing thread, or the start of the run, waits for has happened.
    changed: Condvar,
    /// The requests of the phase, if their number is limited.
    requests: Option<u64>,
}

#[derive(Debug, Default)]
struct State {
    /// The number of the conversation at the front of `held`.
    front: u64,
    /// In the order of their numbers; `None` where a slot has taken one.
    held: VecDeque<Option<Arc<Held>>>,
    /// How many are in `held`.
    count: usize,
    /// The bytes of these.
    bytes: usize,
    /// The number of the first request of the next conversation, and the index of its prompt.
    next: (u64, u32),
    /// Slots that wait, by the number of the conversation.
    waiting: BTreeMap<u64, Waker>,
    /// The number of the first conversation that will not come.
    end: Option<u64>,
    /// Whether the load is over.
    is_closed: bool,
    /// Whether a slot asked for a conversation that will not come.
    ran_out: bool,
}

impl State {
    /// The number of the next conversation.
    fn number(&self) -> u64 {
        self.front + self.held.len() as u64
    }

    fn is_full(&self) -> bool {
        self.count > 0 && (self.bytes >= MOST_BYTES || self.count >= MOST_CONVERSATIONS)
    }

    /// No conversation comes after those that are there.
    fn end_here(&mut self) {
        let end = *self.end.get_or_insert(self.number());
        self.waiting.split_off(&end).into_values().for_each(Waker::wake);
    }
}

impl Held {
    /// Turn number `turn` and the index of its prompt.
    pub fn input(&self, turn: u32) -> Option<(u32, &Prepared)> {
        Some((self.index.saturating_add(turn), self.turns.get(turn as usize)?))
    }

    fn bytes(&self) -> usize {
        size_of::<Held>() + self.turns.iter().map(Prepared::size).sum::<usize>()
    }
}

impl Window {
    /// Nothing is prepared yet. The phase has so many requests at most.
    pub fn new(requests: Option<u64>) -> Window {
        Window { state: Mutex::default(), changed: Condvar::new(), requests }
    }

    /// Takes conversation number `number`, when it is there, and says whether it had to be waited for. `None` if it will not come.
    pub async fn take(&self, number: u64) -> Option<(Arc<Held>, bool)> {
        let mut waited = false;
        poll_fn(|cx| {
            let mut state = self.state();
            if number < state.number() {
                return Poll::Ready(self.take_out(&mut state, number).map(|held| (held, waited)));
            }
            if state.end.is_some_and(|end| number >= end) {
                state.ran_out = true;
                return Poll::Ready(None);
            }
            if state.is_closed {
                return Poll::Ready(None);
            }
            waited = true;
            let is_first = state.waiting.is_empty();
            state.waiting.insert(number, cx.waker().clone());
            if is_first {
                self.changed.notify_all();
            }
            Poll::Pending
        })
        .await
    }

    /// Where conversation number `number` begins: the number of its first request and the index of its prompt, and the conversation if
    /// it is there. One that was not prepared begins where it would if those that are missing before it had one turn each.
    pub fn look(&self, number: u64) -> (u64, u32, Option<Arc<Held>>) {
        let mut state = self.state();
        if let Some(held) = self.take_out(&mut state, number) {
            return (held.first, held.index, Some(held));
        }
        let (first, index) = state.next;
        let missing = number.saturating_sub(state.number());
        (first.saturating_add(missing), index.saturating_add(u32::try_from(missing).unwrap_or(u32::MAX)), None)
    }

    /// The number of the first conversation that will not come, as soon as that is known.
    pub fn end(&self) -> Option<u64> {
        self.state().end
    }

    /// Whether the load came to the end of the conversations: a slot asked for one that will not come, or all that came were taken. The
    /// numbers that slots get end with the conversations as soon as their end is known, so that nobody has to ask beyond it.
    pub fn ran_out(&self) -> bool {
        let state = self.state();
        state.ran_out || (state.end.is_some() && state.count == 0)
    }

    /// Waits until `count` conversations are there, or as many as there is room for or will come; no longer than `limit`.
    pub fn wait_until_filled(&self, count: usize, limit: Duration) {
        let is_waiting = |state: &mut State| state.count < count && !state.is_full() && state.end.is_none();
        // Whether time ran out makes no difference.
        let _ = self.changed.wait_timeout_while(self.state(), limit, is_waiting);
    }

    /// The load is over: nothing is taken any more.
    pub fn close(&self) {
        let mut state = self.state();
        state.is_closed = true;
        std::mem::take(&mut state.waiting).into_values().for_each(Waker::wake);
        self.changed.notify_all();
    }

    /// Puts the next conversation in, when there is room. Returns false if no more are wanted.
    fn put(&self, turns: Vec<Prepared>) -> bool {
        let is_full = |state: &mut State| !state.is_closed && state.is_full() && state.waiting.is_empty();
        let mut state = self.changed.wait_while(self.state(), is_full).unwrap_or_else(PoisonError::into_inner);
        if state.is_closed || state.end.is_some() {
            return false;
        }
        if turns.is_empty() {
            return true;
        }
        let number = state.number();
        let (first, index) = state.next;
        let held = Held { first, index, turns };
        let requests = held.turns.len();
        state.next = (first + requests as u64, index.saturating_add(u32::try_from(requests).unwrap_or(u32::MAX)));
        state.bytes += held.bytes();
        state.count += 1;
        state.held.push_back(Some(Arc::new(held)));
        if let Some(waker) = state.waiting.remove(&number) {
            waker.wake();
        }
        self.changed.notify_all();
        let is_last = self.requests.is_some_and(|requests| state.next.0 >= requests);
        if is_last {
            state.end_here();
        }
        !is_last
    }

    /// The source begins again.
    fn rewind(&self) {
        self.state().next.1 = 0;
    }

    fn take_out(&self, state: &mut State, number: u64) -> Option<Arc<Held>> {
        let place = usize::try_from(number.checked_sub(state.front)?).ok()?;
        let held = state.held.get_mut(place)?.take()?;
        let was_full = state.is_full();
        state.count -= 1;
        state.bytes = state.bytes.saturating_sub(held.bytes());
        while let Some(None) = state.held.front() {
            state.held.pop_front();
            state.front += 1;
        }
        if was_full {
            self.changed.notify_all();
        }
        Some(held)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change of it is whole before the lock is given up.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Fills the window of one phase. When it is dropped, no more conversations come.
#[derive(Debug)]
pub struct Feeder {
    window: Arc<Window>,
    codec: Codec,
    any: Tag,
}

impl Feeder {
    /// Fills `window` with requests that `codec` made. `any` is like the tags of their sendings.
    pub(crate) fn new(window: Arc<Window>, codec: Codec, any: Tag) -> Feeder {
        Feeder { window, codec, any }
    }

    /// Adds the next conversation, and waits as long as there is no room for it. Returns false if no more are wanted.
    pub fn offer(&self, turns: impl IntoIterator<Item = Input>) -> bool {
        self.window.put(turns.into_iter().map(|input| Prepared::new(input, &self.codec, &self.any)).collect())
    }

    /// The next conversation is the first one of the source again.
    pub fn rewind(&self) {
        self.window.rewind();
    }

    /// Makes the requests that it is offered.
    pub fn codec(&self) -> &Codec {
        &self.codec
    }
}

impl Drop for Feeder {
    fn drop(&mut self) {
        self.window.state().end_here();
        self.window.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::Context;
    use streamgauge_wire::Encoded;

    fn input(bytes: usize) -> Input {
        Input {
            encoded: Encoded { body: vec![b'x'; bytes], json: bytes, outputs: 1 },
            expected: Vec::new(),
            tokens: 1,
            requested_output_tokens: None,
            dialogue: None,
            listed: None,
        }
    }

    fn feeder(requests: Option<u64>) -> Feeder {
        let plan = streamgauge_testing::plan();
        let codec = Codec::new(&plan.endpoint, false);
        Feeder::new(Arc::new(Window::new(requests)), codec, Tag { id: 0, sequence: None })
    }

    /// Takes a conversation that is there, or will not come.
    fn take(window: &Window, number: u64) -> Option<u64> {
        let mut taking = pin!(window.take(number));
        match taking.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(taken) => taken.map(|(held, waited)| {
                assert!(!waited);
                held.first
            }),
            Poll::Pending => panic!("conversation {number} is not there"),
        }
    }

    #[test]
    fn conversations_are_numbered_in_their_order_and_taken_in_any() {
        let feeder = feeder(None);
        for turns in [1, 3, 2] {
            assert!(feeder.offer((0..turns).map(|_| input(10))));
        }
        let window = feeder.window.clone();
        assert_eq!([2, 0, 1].map(|number| take(&window, number)), [Some(4), Some(0), Some(1)]);
        assert_eq!((window.look(5).0, window.look(5).1), (8, 8), "as if two of one turn each came before it");
        feeder.rewind();
        assert!(feeder.offer([input(10)]));
        let (first, index, held) = window.look(3);
        assert_eq!((first, index, held.is_some()), (6, 0, true));
        drop(feeder);
        assert_eq!((window.end(), take(&window, 4)), (Some(4), None));
    }

    #[test]
    fn no_more_are_wanted_when_they_have_all_requests() {
        let feeder = feeder(Some(3));
        assert!(feeder.offer([input(1), input(1)]));
        assert!(!feeder.offer([input(1), input(1)]), "the third request is in it");
        assert!(!feeder.offer([input(1)]));
        let window = feeder.window.clone();
        assert_eq!([0, 1, 2].map(|number| take(&window, number)), [Some(0), Some(2), None]);
    }

    #[test]
    fn memory_is_bounded_until_a_slot_waits_for_more() {
        let feeder = feeder(None);
        let window = feeder.window.clone();
        let offering = std::thread::spawn({
            move || {
                let offered = (0..).take_while(|_| feeder.offer([input(1 << 20)])).count();
                (feeder, offered)
            }
        });
        window.wait_until_filled(usize::MAX, Duration::from_secs(60));
        assert!(window.state().bytes <= MOST_BYTES + (2 << 20));
        let there = window.state().number();
        // A slot that waits for a later one gets it though nobody has taken those before it.
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (held, _) = runtime.block_on(window.take(there + 3)).unwrap();
        assert_eq!(held.first, there + 3);
        window.close();
        let (_feeder, offered) = offering.join().unwrap();
        assert!(offered as u64 >= there + 4);
        assert!(window.state().bytes <= MOST_BYTES + (6 << 20));
    }
}
