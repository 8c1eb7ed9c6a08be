//! Sequences of requests to a stateful model: which sequence a request belongs to, and whether it begins or ends it. Pure; the
//! rules are Perf Analyzer's.
//!
//! A run has a number of places, each of which holds one sequence after another. Sequences are numbered in the order in which they begin.
//! A sequence gets the next id of the range that no other place is using. Where inputs come in streams, sequence number n takes stream
//! number n (after the last stream the first follows again) and is as long as that stream.

use crate::kserve::{SequenceTag, Sequences};
use crate::seed::Seed;
use rand::{Rng, RngExt};

/// The state of the places of a run.
#[derive(Debug)]
pub struct Sequencer<R> {
    rule: Sequences,
    /// The lengths of the streams of inputs. Where there are no streams, lengths are drawn at random.
    streams: Vec<u32>,
    places: Vec<Option<Open>>,
    begun: u64,
    next_id: u64,
    chance: R,
}

/// The place of a request in a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// What the request tells the server about the sequence.
    pub tag: SequenceTag,
    /// The number of the sequence, from 0, in the order in which sequences begin.
    pub sequence: u64,
    /// The number of the request in the sequence, from 0.
    pub step: u32,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    id: u64,
    number: u64,
    step: u32,
    length: u32,
}

/// A sequencer with `places` places that follows `rule`. `streams` are the lengths of the streams of inputs, if there are any.
pub fn sequencer(rule: Sequences, places: u32, streams: Vec<u32>, seed: Seed) -> Sequencer<impl Rng + use<>> {
    let places = vec![None; places as usize];
    Sequencer { rule, streams, places, begun: 0, next_id: rule.first_id, chance: seed.stream("sequences") }
}

impl<R: Rng> Sequencer<R> {
    /// The next request of place number `place`, modulo the number of places.
    pub fn next(&mut self, place: u64) -> Turn {
        let place = (place % self.places.len().max(1) as u64) as usize;
        let open = match self.places.get(place).copied().flatten() {
            Some(open) => open,
            None => self.begin(),
        };
        let end = open.step + 1 >= open.length;
        if let Some(slot) = self.places.get_mut(place) {
            *slot = (!end).then_some(Open { step: open.step + 1, ..open });
        }
        Turn { tag: SequenceTag { id: open.id, start: open.step == 0, end }, sequence: open.number, step: open.step }
    }

    /// Ends the open sequence of place number `place`, if there is one. Returns the request that tells the server so.
    pub fn close(&mut self, place: u64) -> Option<Turn> {
        let place = (place % self.places.len().max(1) as u64) as usize;
        let open = self.places.get_mut(place)?.take()?;
        let tag = SequenceTag { id: open.id, start: false, end: true };
        Some(Turn { tag, sequence: open.number, step: open.step })
    }

    fn begin(&mut self) -> Open {
        let number = self.begun;
        self.begun += 1;
        let length = match self.streams.len() {
            0 => self.draw(),
            streams => self.streams[(number % streams as u64) as usize],
        };
        Open { id: self.id(), number, step: 0, length: length.max(1) }
    }

    fn draw(&mut self) -> u32 {
        let spread = self.rule.variation.clamp(0.0, 1.0);
        let by = if spread > 0.0 { self.chance.random_range(-spread..=spread) } else { 0.0 };
        // The value is at most twice a u32; the cast saturates.
        (f64::from(self.rule.length) * (1.0 + by)).round().max(1.0) as u32
    }

    /// The next id that no place is using. If all are in use, which a plan does not allow, it is the next id of all.
    fn id(&mut self) -> u64 {
        for _ in 0..=self.places.len() {
            let id = self.next_id;
            self.next_id = match self.rule.end_id {
                Some(end) if id.saturating_add(1) >= end => self.rule.first_id,
                _ => id.wrapping_add(1),
            };
            if !self.places.iter().flatten().any(|open| open.id == id) {
                return id;
            }
        }
        self.next_id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(length: u32, variation: f64, end_id: Option<u64>) -> Sequences {
        Sequences { live: 2, length, variation, first_id: 5, end_id, serial: false }
    }

    fn tag(id: u64, start: bool, end: bool) -> SequenceTag {
        SequenceTag { id, start, end }
    }

    #[test]
    fn sequences_follow_each_other_in_each_place() {
        let mut sequencer = sequencer(rule(2, 0.0, None), 2, Vec::new(), Seed(0));
        let tags: Vec<_> = [0, 1, 0, 0, 1, 2].into_iter().map(|place| sequencer.next(place).tag).collect();
        let expected = [(5, true, false), (6, true, false), (5, false, true), (7, true, false), (6, false, true)];
        assert_eq!(tags[..5], expected.map(|(id, start, end)| tag(id, start, end)));
        assert_eq!(tags[5], tag(7, false, true), "place 2 of 2 is place 0");
    }

    #[test]
    fn ids_go_round_their_range_and_skip_those_in_use() {
        let mut sequencer = sequencer(rule(2, 0.0, Some(8)), 2, Vec::new(), Seed(0));
        assert_eq!(sequencer.next(1).tag.id, 5);
        let ids: Vec<_> = (0..8).map(|_| sequencer.next(0).tag.id).collect();
        assert_eq!(ids, [6, 6, 7, 7, 6, 6, 7, 7]);
    }

    #[test]
    fn ids_do_not_run_over_the_last_number() {
        for end_id in [None, Some(u64::MAX)] {
            let rule = Sequences { first_id: u64::MAX, ..rule(1, 0.0, end_id) };
            let mut sequencer = sequencer(rule, 1, Vec::new(), Seed(0));
            let after = if end_id.is_some() { u64::MAX } else { 0 };
            assert_eq!([sequencer.next(0).tag.id, sequencer.next(0).tag.id], [u64::MAX, after]);
        }
    }

    #[test]
    fn streams_say_how_long_a_sequence_is() {
        let mut sequencer = sequencer(rule(9, 0.5, None), 1, vec![1, 3], Seed(0));
        let turns: Vec<_> = (0..5).map(|_| sequencer.next(0)).collect();
        assert_eq!(turns.iter().map(|turn| turn.sequence).collect::<Vec<_>>(), [0, 1, 1, 1, 2]);
        assert_eq!(turns.iter().map(|turn| turn.step).collect::<Vec<_>>(), [0, 0, 1, 2, 0]);
    }

    #[test]
    fn lengths_vary_within_their_bounds_and_come_again() {
        let lengths = || {
            let mut sequencer = sequencer(rule(20, 0.2, None), 1, Vec::new(), Seed(3));
            let ends = (0..4_000).map(|_| sequencer.next(0)).filter(|turn| turn.tag.end);
            ends.map(|turn| turn.step + 1).collect::<Vec<_>>()
        };
        let drawn = lengths();
        assert_eq!((drawn.iter().min(), drawn.iter().max()), (Some(&16), Some(&24)));
        assert_eq!(drawn, lengths());
    }

    #[test]
    fn an_open_sequence_is_closed_once() {
        let mut sequencer = sequencer(rule(3, 0.0, None), 1, Vec::new(), Seed(0));
        assert_eq!(sequencer.close(0), None);
        sequencer.next(0);
        let turn = sequencer.close(0).unwrap();
        assert_eq!((turn.tag, turn.step), (tag(5, false, true), 1));
        assert_eq!(sequencer.close(0), None);
    }
}
