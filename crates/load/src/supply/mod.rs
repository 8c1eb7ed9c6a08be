//! Where the requests of a run come from: all of them are kept in memory, or they are streamed from their source while the load goes on.

mod conversations;
mod window;

pub(crate) use conversations::Conversations;
pub use window::Feeder;
pub(crate) use window::{Held, Window};

use crate::prepared::Prepared;
use std::sync::Arc;
use streamgauge_core::sequence::Turn;

/// Where the requests of a run come from.
#[derive(Debug)]
pub(crate) enum Supply {
    /// All requests are in memory, and the run goes round them.
    Kept(Kept),
    /// Requests are prepared while the run goes on: a window of them for each phase.
    Streamed(Vec<Arc<Window>>),
}

/// Requests that are all in memory.
#[derive(Debug)]
pub(crate) struct Kept {
    /// The requests, at least one; the run goes round them.
    pub inputs: Vec<Prepared>,
    /// The indices of the inputs in the order in which they are sent, again and again. `None` where that is their own order.
    pub order: Option<Vec<u32>>,
    /// The streams of inputs that sequences of KServe models take their inputs from, where there are any.
    pub streams: Option<Conversations>,
    /// The conversations whose turns are released by the answers before them, where there are any.
    pub conversations: Option<Conversations>,
}

/// A conversation that a slot has taken up. Without conversations of several turns each request is one by itself.
#[derive(Clone, Debug)]
pub(crate) struct Taken {
    /// Its number in the phase.
    pub number: u64,
    /// The number of its first request.
    pub first: u64,
    /// How many requests it has.
    pub turns: u32,
    /// Its requests, if they are not kept for the whole run.
    pub held: Option<Arc<Held>>,
}

impl Kept {
    /// The input of request number `seq`, which is this turn of a sequence if it belongs to one, and its index.
    pub fn input(&self, seq: u64, turn: Option<Turn>) -> (u32, &Prepared) {
        // The request that closes a sequence early has the input that would have come.
        let of_stream = turn.zip(self.streams.as_ref()).map(|(turn, streams)| streams.input(turn.sequence, turn.step));
        let index = match (of_stream, &self.order) {
            (None, Some(order)) => order[(seq % order.len() as u64) as usize],
            // The remainder is smaller than the number of inputs, which is a u32.
            (of_stream, _) => (of_stream.unwrap_or(seq) % self.inputs.len() as u64) as u32,
        };
        (index, &self.inputs[index as usize])
    }

    /// Conversation number `number`.
    pub fn take(&self, number: u64) -> Taken {
        match &self.conversations {
            None => Taken { number, first: number, turns: 1, held: None },
            Some(conversations) => {
                let (first, turns) = (conversations.first_request(number), conversations.turns(number));
                Taken { number, first, turns, held: None }
            }
        }
    }
}

impl Taken {
    /// Turn number `turn` and the index of its prompt.
    pub fn input<'a>(&'a self, kept: &'a Supply, turn: u32) -> Option<(u32, &'a Prepared)> {
        match (&self.held, kept) {
            (Some(held), _) => held.input(turn),
            (None, Supply::Kept(kept)) => Some(kept.input(self.first + u64::from(turn), None)),
            (None, Supply::Streamed(_)) => None,
        }
    }
}

impl Supply {
    /// How many conversations begin with the first `requests` requests of a phase, or at most so many where that is found out during the
    /// load.
    pub fn begun_by(&self, requests: u64) -> u64 {
        match self {
            Supply::Kept(Kept { conversations: Some(conversations), .. }) => conversations.begun_by(requests),
            Supply::Kept(_) | Supply::Streamed(_) => requests,
        }
    }

    /// Whether requests are prepared while the run goes on.
    pub fn is_streamed(&self) -> bool {
        matches!(self, Supply::Streamed(_))
    }

    /// The window of phase number `phase`, if requests are streamed.
    pub fn window(&self, phase: usize) -> Option<&Arc<Window>> {
        match self {
            Supply::Kept(_) => None,
            Supply::Streamed(windows) => windows.get(phase),
        }
    }
}
