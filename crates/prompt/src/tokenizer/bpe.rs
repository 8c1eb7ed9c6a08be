//! Byte-pair encoding of one piece of a text: its first symbols are merged pair by pair, the pair of the lowest rank first and of equal ranks
//! the leftmost, until no two neighbours merge. That is the definition of Sennrich et al. 2016 (arXiv:1508.07909), as the `tokenizers`
//! library and tiktoken compute it.

use hashbrown::{DefaultHashBuilder, HashMap, HashTable};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hash::BuildHasher;

/// The largest id of a vocabulary, far above those that exist; it bounds what a file may make us allocate.
pub(super) const LARGEST_ID: u32 = 1 << 24;
/// Where an id has no token.
const NONE: u32 = u32::MAX;
/// A pair that does not merge.
const APART: u64 = u64::MAX;
/// Up to so many symbols a scan of all pairs for the lowest is faster than a heap.
const FEW: usize = 40;

/// What the first symbols of a piece are.
pub(super) enum Atoms {
    /// Bytes: the token of each.
    Bytes(Box<[u32; 256]>),
    /// Characters; one that is no token is spelled by the tokens of its bytes.
    Characters(Box<[u32; 256]>),
}

/// A vocabulary and its merges.
pub(super) struct Bpe {
    tokens: Tokens,
    /// For two neighbours, the rank of their merge in the high half and the token that they become in the low one.
    merges: HashMap<(u32, u32), u64>,
    atoms: Atoms,
    /// Whether a piece that is a token as a whole is that token, whatever its merges come to.
    takes_whole: bool,
}

/// The bytes of all tokens, by id and by content.
#[derive(Default)]
pub(super) struct Tokens {
    bytes: Vec<u8>,
    /// Beginning and length of each token in `bytes`; the beginning of an unused id is [`NONE`].
    spans: Vec<(u32, u32)>,
    ids: HashTable<u32>,
    hasher: DefaultHashBuilder,
    count: usize,
}

impl Tokens {
    /// Room for so many tokens.
    pub fn with_capacity(tokens: usize, bytes: usize) -> Tokens {
        Tokens {
            bytes: Vec::with_capacity(bytes),
            spans: Vec::with_capacity(tokens),
            ids: HashTable::with_capacity(tokens),
            ..Tokens::default()
        }
    }

    /// Adds a token. `None` if its id or its bytes are taken, or its id is out of bounds.
    pub fn add(&mut self, token: &[u8], id: u32) -> Option<()> {
        if id > LARGEST_ID || self.id(token).is_some() || self.get(id).is_some() {
            return None;
        }
        let start = u32::try_from(self.bytes.len()).ok()?;
        let length = u32::try_from(token.len()).ok()?;
        if self.spans.len() <= id as usize {
            self.spans.resize(id as usize + 1, (NONE, 0));
        }
        self.bytes.extend_from_slice(token);
        self.spans[id as usize] = (start, length);
        let Tokens { bytes, spans, ids, hasher, .. } = self;
        ids.insert_unique(hasher.hash_one(token), id, |id| hasher.hash_one(content(bytes, spans, *id)));
        self.count += 1;
        Some(())
    }

    /// The id of a token with these bytes.
    pub fn id(&self, token: &[u8]) -> Option<u32> {
        let is_it = |id: &u32| content(&self.bytes, &self.spans, *id) == token;
        self.ids.find(self.hasher.hash_one(token), is_it).copied()
    }

    /// The bytes of a token.
    pub fn get(&self, id: u32) -> Option<&[u8]> {
        let (start, length) = *self.spans.get(id as usize)?;
        (start != NONE).then(|| &self.bytes[start as usize..][..length as usize])
    }

    /// How many tokens there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// One more than the largest id.
    pub fn end(&self) -> u32 {
        self.spans.len() as u32
    }
}

fn content<'a>(bytes: &'a [u8], spans: &[(u32, u32)], id: u32) -> &'a [u8] {
    let (start, length) = spans[id as usize];
    &bytes[start as usize..][..length as usize]
}

/// What merging needs in memory, kept from one piece to the next.
#[derive(Default)]
pub(super) struct Scratch {
    symbols: Vec<u32>,
    pairs: Vec<u64>,
    heap: BinaryHeap<Reverse<(u64, u32)>>,
    next: Vec<u32>,
    previous: Vec<u32>,
}

impl Bpe {
    /// `merges` are two tokens each and the token that they become, in the order of their ranks.
    pub fn new(
        tokens: Tokens,
        merges: impl ExactSizeIterator<Item = (u32, u32, u32)>,
        atoms: Atoms,
        takes_whole: bool,
    ) -> Bpe {
        let mut known = HashMap::with_capacity(merges.len());
        for (rank, (left, right, whole)) in merges.enumerate() {
            known.insert((left, right), (rank as u64) << 32 | u64::from(whole));
        }
        Bpe { tokens, merges: known, atoms, takes_whole }
    }

    /// A vocabulary whose merges are implied, as those of tiktoken are: two neighbours merge if both together are a token, and its id is the
    /// rank. `None` if a byte has no token.
    pub fn of_ranks(tokens: Tokens) -> Option<Bpe> {
        let mut bytes = Box::new([NONE; 256]);
        for (byte, id) in (0..=u8::MAX).zip(bytes.iter_mut()) {
            *id = tokens.id(&[byte])?;
        }
        let mut merges = HashMap::with_capacity(tokens.len() * 2);
        for whole in 0..tokens.end() {
            let Some(content) = tokens.get(whole) else { continue };
            for cut in 1..content.len() {
                let (left, right) = content.split_at(cut);
                if let (Some(left), Some(right)) = (tokens.id(left), tokens.id(right)) {
                    merges.insert((left, right), u64::from(whole) << 32 | u64::from(whole));
                }
            }
        }
        Some(Bpe { tokens, merges, atoms: Atoms::Bytes(bytes), takes_whole: true })
    }

    pub fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// Encodes one piece.
    pub fn encode<'a>(&self, piece: &str, scratch: &'a mut Scratch) -> &'a [u32] {
        scratch.symbols.clear();
        if self.takes_whole
            && let Some(id) = self.tokens.id(piece.as_bytes())
        {
            scratch.symbols.push(id);
            return &scratch.symbols;
        }
        match &self.atoms {
            Atoms::Bytes(ids) => scratch.symbols.extend(piece.bytes().map(|byte| ids[usize::from(byte)])),
            Atoms::Characters(ids) => {
                let mut buffer = [0; 4];
                for character in piece.chars() {
                    let bytes = character.encode_utf8(&mut buffer).as_bytes();
                    match self.tokens.id(bytes) {
                        Some(id) => scratch.symbols.push(id),
                        None => scratch.symbols.extend(bytes.iter().map(|byte| ids[usize::from(*byte)])),
                    }
                }
            }
        }
        match scratch.symbols.len() {
            0 | 1 => {}
            2..=FEW => self.merge_few(scratch),
            _ => self.merge_many(scratch),
        }
        &scratch.symbols
    }

    fn pair(&self, left: u32, right: u32) -> u64 {
        self.merges.get(&(left, right)).copied().unwrap_or(APART)
    }

    fn merge_few(&self, Scratch { symbols, pairs, .. }: &mut Scratch) {
        pairs.clear();
        pairs.extend(symbols.windows(2).map(|pair| self.pair(pair[0], pair[1])));
        loop {
            let (mut at, mut lowest) = (0, APART);
            for (index, merge) in pairs.iter().enumerate() {
                if *merge < lowest {
                    (at, lowest) = (index, *merge);
                }
            }
            if lowest == APART {
                return;
            }
            symbols[at] = lowest as u32;
            symbols.remove(at + 1);
            pairs.remove(at);
            if at < pairs.len() {
                pairs[at] = self.pair(symbols[at], symbols[at + 1]);
            }
            if at > 0 {
                pairs[at - 1] = self.pair(symbols[at - 1], symbols[at]);
            }
        }
    }

    /// The same in time proportional to n log n, for pieces of any length.
    fn merge_many(&self, Scratch { symbols, pairs, heap, next, previous }: &mut Scratch) {
        let count = symbols.len() as u32;
        pairs.clear();
        pairs.extend(symbols.windows(2).map(|pair| self.pair(pair[0], pair[1])));
        pairs.push(APART);
        next.clear();
        next.extend(1..=count);
        previous.clear();
        previous.extend((0..count).map(|at| at.wrapping_sub(1)));
        heap.clear();
        heap.extend(
            pairs.iter().zip(0..).filter(|(merge, _)| **merge != APART).map(|(merge, at)| Reverse((*merge, at))),
        );
        while let Some(Reverse((merge, at))) = heap.pop() {
            // What has changed since it was put into the heap is there again with its new merge.
            if pairs[at as usize] != merge {
                continue;
            }
            let gone = next[at as usize];
            let after = next[gone as usize];
            symbols[at as usize] = merge as u32;
            symbols[gone as usize] = NONE;
            pairs[gone as usize] = APART;
            next[at as usize] = after;
            let mut renew = |left: u32, right: u32| {
                let merge = self.pair(symbols[left as usize], symbols[right as usize]);
                pairs[left as usize] = merge;
                if merge != APART {
                    heap.push(Reverse((merge, left)));
                }
            };
            if after < count {
                previous[after as usize] = at;
                renew(at, after);
            } else {
                pairs[at as usize] = APART;
            }
            let before = previous[at as usize];
            if before != NONE {
                let merge = self.pair(symbols[before as usize], symbols[at as usize]);
                pairs[before as usize] = merge;
                if merge != APART {
                    heap.push(Reverse((merge, before)));
                }
            }
        }
        symbols.retain(|id| *id != NONE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A vocabulary of bytes and some texts, ranked in their order.
    fn ranked(texts: &[&str]) -> Bpe {
        let mut tokens = Tokens::default();
        for byte in 0..=u8::MAX {
            tokens.add(&[byte], u32::from(byte)).unwrap();
        }
        for (text, id) in texts.iter().zip(256..) {
            tokens.add(text.as_bytes(), id).unwrap();
        }
        Bpe::of_ranks(tokens).unwrap()
    }

    fn encode(bpe: &Bpe, text: &str) -> Vec<u32> {
        bpe.encode(text, &mut Scratch::default()).to_vec()
    }

    #[test]
    fn the_lowest_rank_merges_first_and_then_the_leftmost() {
        let bpe = ranked(&["bc", "ab", "abc", "aa"]);
        assert_eq!(encode(&bpe, "xabc"), [u32::from(b'x'), 258]);
        assert_eq!(encode(&bpe, "xabbc"), [u32::from(b'x'), 257, 256]);
        assert_eq!(encode(&bpe, "abc"), [258], "a piece that is a token is taken whole");
        assert_eq!(encode(&bpe, "xabx"), [u32::from(b'x'), 257, u32::from(b'x')]);
        assert_eq!(encode(&bpe, "aaa"), [259, u32::from(b'a')]);
        assert_eq!(encode(&bpe, ""), [0; 0]);
    }

    #[test]
    fn a_vocabulary_with_two_meanings_is_none() {
        let mut tokens = Tokens::default();
        tokens.add(b"a", 0).unwrap();
        assert_eq!(tokens.add(b"a", 1), None);
        assert_eq!(tokens.add(b"b", 0), None);
        assert_eq!(tokens.add(b"b", LARGEST_ID + 1), None);
        assert!(Bpe::of_ranks(tokens).is_none(), "it cannot spell every byte");
    }

    proptest! {
        #[test]
        fn both_ways_of_merging_agree(text in "[abc]{2,39}") {
            let bpe = ranked(&["ab", "ca", "bb", "abca", "bbb", "cabb", "aa", "aaaa", "abab"]);
            let mut few = Scratch { symbols: text.bytes().map(u32::from).collect(), ..Scratch::default() };
            let mut many = Scratch { symbols: few.symbols.clone(), ..Scratch::default() };
            bpe.merge_few(&mut few);
            bpe.merge_many(&mut many);
            prop_assert_eq!(few.symbols, many.symbols);
        }
    }
}
