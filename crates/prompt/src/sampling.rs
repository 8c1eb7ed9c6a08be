//! The order in which conversations are held.

use crate::sources::{Conversation, Source, SourceError};
use rand::RngExt;
use rand::seq::SliceRandom;
use streamgauge_core::sampling::Sampling;
use streamgauge_core::seed::{RandomStream, Seed};

/// How many places an order has at most, in 4 MiB, unless there are more conversations; after the last place it begins again.
pub const MOST_PLACES: usize = 1 << 20;
/// How many conversations of a source that is read as the run goes on are drawn from at a time.
const WINDOW: usize = 4_096;
/// How many bytes these take at most, unless a single conversation takes more.
const WINDOW_BYTES: usize = 32 << 20;

/// The name of the random stream.
const STREAM: &str = "conversation order";

/// The order of `count` conversations that are all in memory: their indices, for at least `wanted` of them, or for as many as an order
/// has places. `None` where they are taken in their own order.
pub fn order(sampling: Sampling, seed: Seed, count: u32, wanted: u64) -> Option<Vec<u32>> {
    let mut rng = seed.stream(STREAM);
    let places = usize::try_from(wanted).unwrap_or(usize::MAX).clamp(1, MOST_PLACES).max(count as usize);
    match sampling {
        Sampling::Sequential => None,
        _ if count == 0 => None,
        Sampling::Random => Some((0..places).map(|_| rng.random_range(0..count)).collect()),
        Sampling::Shuffle => {
            let mut order = Vec::with_capacity(places);
            // Whole rounds, so that each conversation comes as often as the others.
            for _ in 0..places.div_ceil(count as usize) {
                let begin = order.len();
                order.extend(0..count);
                order[begin..].shuffle(&mut rng);
            }
            Some(order)
        }
    }
}

/// A source whose conversations come in another order than that in which it is read. They are drawn from a window that moves over the source,
/// so that the memory stays bounded.
pub struct Sampled {
    source: Box<dyn Source>,
    sampling: Sampling,
    rng: RandomStream,
    window: Vec<Conversation>,
    bytes: usize,
    /// How many conversations were read and not handed out.
    owed: usize,
    is_at_end: bool,
}

impl Sampled {
    /// Draws from `source` by `sampling`. The same source and seed give the same order.
    pub fn over(source: Box<dyn Source>, sampling: Sampling, seed: Seed) -> Box<dyn Source> {
        if sampling == Sampling::Sequential {
            return source;
        }
        let rng = seed.stream(STREAM);
        Box::new(Sampled { source, sampling, rng, window: Vec::new(), bytes: 0, owed: 0, is_at_end: false })
    }

    fn fill(&mut self) -> Result<(), SourceError> {
        while !self.is_at_end && (self.window.is_empty() || self.window.len() < WINDOW && self.bytes < WINDOW_BYTES) {
            match self.source.next_conversation()? {
                None => self.is_at_end = true,
                Some(conversation) => {
                    self.bytes += conversation.size();
                    self.owed += 1;
                    self.window.push(conversation);
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, index: usize) -> Conversation {
        let taken = self.window.swap_remove(index);
        self.bytes = self.bytes.saturating_sub(taken.size());
        taken
    }
}

impl Source for Sampled {
    fn next_conversation(&mut self) -> Result<Option<Conversation>, SourceError> {
        self.fill()?;
        if self.window.is_empty() || self.owed == 0 {
            return Ok(None);
        }
        self.owed -= 1;
        let drawn = self.rng.random_range(0..self.window.len());
        if self.sampling == Sampling::Shuffle {
            return Ok(Some(self.take(drawn)));
        }
        // With replacement: what was drawn may come again, and another one makes room for the next that is read.
        let conversation = self.window[drawn].clone();
        if !self.is_at_end {
            let leaving = self.rng.random_range(0..self.window.len());
            self.take(leaving);
        }
        Ok(Some(conversation))
    }

    fn notes(&self) -> Vec<String> {
        self.source.notes()
    }

    fn rows(&self) -> usize {
        self.source.rows()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::Turn;
    use streamgauge_core::prompt::Content;

    struct Numbers(u32, u32);

    impl Source for Numbers {
        fn next_conversation(&mut self) -> Result<Option<Conversation>, SourceError> {
            if self.0 == self.1 {
                return Ok(None);
            }
            self.0 += 1;
            let content = Some(Content::Texts(vec![(self.0 - 1).to_string()]));
            Ok(Some(Turn { content, ..Turn::default() }.into()))
        }

        fn notes(&self) -> Vec<String> {
            Vec::new()
        }

        fn rows(&self) -> usize {
            self.0 as usize
        }
    }

    fn drawn(sampling: Sampling, count: u32, seed: u64) -> Vec<u32> {
        let mut source = Sampled::over(Box::new(Numbers(0, count)), sampling, Seed(seed));
        std::iter::from_fn(|| source.next_conversation().unwrap())
            .map(|conversation| match &conversation.turns[0].content {
                Some(Content::Texts(texts)) => texts[0].parse().unwrap(),
                content => panic!("{content:?}"),
            })
            .collect()
    }

    fn sorted(mut numbers: Vec<u32>) -> Vec<u32> {
        numbers.sort_unstable();
        numbers
    }

    #[test]
    fn an_order_has_whole_rounds_or_draws() {
        assert_eq!(order(Sampling::Sequential, Seed(0), 5, 100), None);
        assert_eq!(order(Sampling::Random, Seed(0), 0, 100), None);
        let shuffled = order(Sampling::Shuffle, Seed(0), 5, 12).unwrap();
        assert_eq!(shuffled.len(), 15);
        for round in shuffled.chunks(5) {
            assert_eq!(sorted(round.to_vec()), [0, 1, 2, 3, 4]);
        }
        assert_ne!(shuffled[..5], shuffled[5..10]);
        let random = order(Sampling::Random, Seed(0), 5, 1_000).unwrap();
        let counts: Vec<_> = (0..5).map(|number| random.iter().filter(|drawn| **drawn == number).count()).collect();
        assert!(counts.iter().all(|count| (150..250).contains(count)), "{counts:?}");
        assert_eq!(random, order(Sampling::Random, Seed(0), 5, 1_000).unwrap());
        assert_ne!(random, order(Sampling::Random, Seed(1), 5, 1_000).unwrap());
        assert_eq!(order(Sampling::Random, Seed(0), 5, u64::MAX).unwrap().len(), MOST_PLACES);
    }

    #[test]
    fn a_window_moves_over_the_source() {
        let all: Vec<u32> = (0..10_000).collect();
        assert_eq!(drawn(Sampling::Sequential, 10_000, 0), all);
        let shuffled = drawn(Sampling::Shuffle, 10_000, 0);
        assert_eq!(sorted(shuffled.clone()), all);
        assert!(shuffled[..100].iter().all(|number| *number < WINDOW as u32 + 100));
        assert_ne!(shuffled, drawn(Sampling::Shuffle, 10_000, 1));
        let random = drawn(Sampling::Random, 10_000, 0);
        assert_eq!(random.len(), 10_000);
        assert!(sorted(random).windows(2).any(|pair| pair[0] == pair[1]), "some come again");
        assert_eq!(drawn(Sampling::Random, 0, 0), [0_u32; 0]);
    }
}
