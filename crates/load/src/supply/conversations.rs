//! How the requests of a run divide into conversations.
//!
//! A conversation begins when the load says so: as soon as a slot is free, or when it is due. Its later turns are released by the answers
//! to the turns before them, on the same slot. The requests of a run are numbered conversation by conversation, so that the number of a
//! request says which input it sends, whatever happens at run time.

/// Conversations, one after another, each of some of the inputs of a run; after the last one the first follows again.
#[derive(Debug)]
pub(crate) struct Conversations {
    /// The index of the first input of each, and at the end the number of all inputs.
    firsts: Vec<u64>,
}

impl Conversations {
    /// Conversations of so many turns each; `None` where there are none, or one is empty.
    pub fn new(turns: &[u32]) -> Option<Conversations> {
        let sum = |sum: &mut u64, turns: &u32| {
            *sum += u64::from(*turns);
            Some(*sum)
        };
        let firsts = std::iter::once(0).chain(turns.iter().scan(0, sum)).collect();
        (!turns.is_empty() && !turns.contains(&0)).then_some(Conversations { firsts })
    }

    /// The number of the request that begins conversation number `number`.
    pub fn first_request(&self, number: u64) -> u64 {
        let (round, index) = self.index(number);
        round.saturating_mul(self.inputs()).saturating_add(self.firsts[index])
    }

    /// The index of the input that turn number `turn` of conversation number `number` sends. Turns go round the inputs of their
    /// conversation.
    pub fn input(&self, number: u64, turn: u32) -> u64 {
        self.firsts[self.index(number).1] + u64::from(turn % self.turns(number).max(1))
    }

    /// How many turns conversation number `number` has.
    pub fn turns(&self, number: u64) -> u32 {
        let index = self.index(number).1;
        // Made from numbers of this type.
        (self.firsts[index + 1] - self.firsts[index]) as u32
    }

    /// The turns of each conversation.
    pub fn all_turns(&self) -> impl Iterator<Item = u32> {
        self.firsts.windows(2).map(|pair| (pair[1] - pair[0]) as u32)
    }

    /// How many conversations begin with the first `requests` requests.
    pub fn begun_by(&self, requests: u64) -> u64 {
        let (round, rest) = (requests / self.inputs(), requests % self.inputs());
        let conversations = self.firsts.len() as u64 - 1;
        let begun = self.firsts.partition_point(|first| *first < rest) as u64;
        round.saturating_mul(conversations).saturating_add(begun)
    }

    /// The number of inputs, at least 1.
    fn inputs(&self) -> u64 {
        self.firsts.last().copied().unwrap_or(1).max(1)
    }

    /// How often all conversations came before this one, and its index.
    fn index(&self, number: u64) -> (u64, usize) {
        let conversations = self.firsts.len() as u64 - 1;
        (number / conversations, (number % conversations) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn requests_are_numbered_conversation_by_conversation() {
        let conversations = Conversations::new(&[1, 3, 2]).unwrap();
        let firsts: Vec<_> = (0..7).map(|number| conversations.first_request(number)).collect();
        assert_eq!(firsts, [0, 1, 4, 6, 7, 10, 12]);
        let begun: Vec<_> = (0..9).map(|requests| conversations.begun_by(requests)).collect();
        assert_eq!(begun, [0, 1, 2, 2, 2, 3, 3, 4, 5]);
        assert_eq!(conversations.turns(4), 3);
        assert_eq!([conversations.input(4, 2), conversations.input(4, 3)], [3, 1]);
        assert!(Conversations::new(&[]).is_none() && Conversations::new(&[1, 0]).is_none());
    }

    proptest! {
        #[test]
        fn a_conversation_begins_with_its_first_request(turns in prop::collection::vec(1..9_u32, 1..9), number in 0..1_000_u64) {
            let conversations = Conversations::new(&turns).unwrap();
            let first = conversations.first_request(number);
            prop_assert_eq!(conversations.begun_by(first), number);
            prop_assert_eq!(conversations.begun_by(first + 1), number + 1);
            prop_assert_eq!(conversations.first_request(number + 1) - first, u64::from(conversations.turns(number)));
        }

        #[test]
        fn no_number_makes_it_panic(number: u64, turn: u32) {
            let conversations = Conversations::new(&[1, 2]).unwrap();
            conversations.first_request(number);
            conversations.begun_by(number);
            conversations.input(number, turn);
        }
    }
}
