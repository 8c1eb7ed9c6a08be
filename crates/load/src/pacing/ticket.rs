//! A request that may be sent now, with the permits that it holds.

use crate::dialogue::NextTurn;
use crate::phase::GrowthPlace;
use crate::prepared::Prepared;
use crate::supply::{Held, Supply, Taken};
use std::cell::Cell;
use std::sync::Arc;
use streamgauge_core::clock::Nanos;
use streamgauge_core::record::ConversationTurn;
use streamgauge_core::sequence::Turn;
use tokio::sync::SemaphorePermit;

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
    /// Its place in a conversation, where that has several turns.
    pub conversation: Option<ConversationTurn>,
    /// The number of its conversation, which may be the request itself.
    pub conversation_number: u64,
    /// The server that it goes to, where the turn before it decided that.
    pub target: Option<u16>,
    /// The content of the request, if it is not among those that are kept for the whole run.
    own: Own,
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

/// The content of a request that is not kept for the whole run.
enum Own {
    /// It sends one of the requests that are kept.
    Nothing,
    /// A turn of a conversation that was prepared during the load.
    Held(Arc<Held>),
    /// A request that was made from an answer, and the index of its prompt.
    Made(u32, Box<Prepared>),
    /// Nothing was prepared for the request before the end; only the index of its prompt is known.
    Missing(u32),
}

impl<'a> Ticket<'a> {
    /// A request that holds no place.
    pub fn free(seq: u64, due: Option<Nanos>, issued: Nanos) -> Ticket<'a> {
        let (prefill, growth) = (Cell::new(None), Cell::new(None));
        let (turn, conversation, own, target) = (None, None, Own::Nothing, None);
        let conversation_number = seq;
        Ticket {
            seq,
            due,
            issued,
            turn,
            conversation,
            conversation_number,
            target,
            own,
            waited: false,
            _cap: None,
            prefill,
            growth,
            _gate: None,
        }
    }

    /// A request of a closed loop: nothing but the slot itself was waited for.
    pub fn at_once(seq: u64, issued: Nanos) -> Ticket<'a> {
        Ticket::free(seq, None, issued)
    }

    /// This request with the places that it got.
    pub fn with(self, held: Permits<'a>) -> Ticket<'a> {
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

    /// This request, which begins `conversation` and stands so in its turns, if it has several.
    pub fn beginning(self, conversation: Taken, turn: Option<ConversationTurn>) -> Ticket<'a> {
        let own = conversation.held.map_or(Own::Nothing, Own::Held);
        Ticket { seq: conversation.first, conversation: turn, own, ..self }
    }

    /// This request, for which nothing was prepared before the end, as number `seq` with the prompt of that index.
    pub fn unprepared(self, seq: u64, index: u32) -> Ticket<'a> {
        Ticket { seq, own: Own::Missing(index), ..self }
    }

    /// The content of the request and the index of its prompt.
    pub fn input<'b>(&'b self, supply: &'b Supply) -> (u32, Option<&'b Prepared>) {
        let turn = self.conversation.map_or(0, |conversation| conversation.turn);
        let known = |input: Option<(u32, &'b Prepared)>| input.map_or((0, None), |(index, input)| (index, Some(input)));
        match (&self.own, supply) {
            (Own::Nothing, Supply::Kept(kept)) => known(Some(kept.input(self.seq, self.turn))),
            (Own::Made(index, input), _) => (*index, Some(input)),
            (Own::Held(held), _) => known(held.input(turn)),
            (Own::Missing(index), _) => (*index, None),
            (Own::Nothing, Supply::Streamed(_)) => (0, None),
        }
    }

    /// The next turn of a conversation, taken up at `issued`. `due` is when it was due where the load has a schedule; `paused` says whether
    /// its slot stood still until then.
    pub fn follow_up(next: NextTurn, due: Option<Nanos>, issued: Nanos, paused: bool, held: Permits<'a>) -> Ticket<'a> {
        let ticket = Ticket::free(next.seq, due, issued).with(held);
        let waited = ticket.waited || paused;
        let (conversation_number, target) = (next.turn.number, next.target);
        let (conversation, own) = (Some(next.turn), Own::Made(next.index, next.input));
        Ticket { conversation, conversation_number, target, own, waited, ..ticket }
    }

    /// Takes the permit for requests without a first output. It is released when it is dropped.
    pub fn take_prefill(&self) -> Option<SemaphorePermit<'a>> {
        self.prefill.take()
    }

    /// Takes the request's share in a load that grows, with which its responses are counted.
    pub fn take_growth(&self) -> Option<GrowthPlace<'a>> {
        self.growth.take()
    }
}

/// The permits of one request.
#[derive(Debug)]
pub(crate) struct Permits<'a> {
    pub cap: Option<SemaphorePermit<'a>>,
    pub prefill: Option<SemaphorePermit<'a>>,
    pub waited: bool,
}
