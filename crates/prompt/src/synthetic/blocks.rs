//! Texts of which blocks are equal to blocks of other texts.
//!
//! A trace names the blocks of each prompt, so that a replay can repeat what prompts had in common. Blocks are made from the seed, their
//! scope and their id whenever they are needed, and none is kept. Most tokenizers have words that are one token each, whatever stands
//! beside them: a text of N of them has exactly N tokens, and a text that begins with the same blocks begins with the same tokens. Whether
//! the words do that is tried for each pair of them when the first text is made. For byte-pair vocabularies that proves it: merges go by
//! rank, so the first one that reached over two words would do the same to the two words alone. With any other tokenizer a text is
//! counted and corrected at its end, as other texts are.

use super::writer::{Draft, Writer};
use crate::lexicon::{Lexicon, Word};
use crate::sources::Blocks;
use crate::tokenizer::Tokenizer;
use rand::Rng;
use streamgauge_core::seed::{RandomStream, Seed};

/// How many words are used: enough for blocks to differ, and each pair of them is tried.
const WORDS: usize = 64;
/// With fewer words than this, blocks are made of all words of the lexicon and counted.
const FEWEST_WORDS: usize = 16;
/// Random bytes that are drawn at once, one for each word.
const DRAWN: usize = 512;

/// Makes the texts of blocks.
pub(super) struct BlockWriter {
    words: Words,
    /// The stream of random numbers of which each block has a part of its own.
    stream: RandomStream,
}

enum Words {
    /// Words after a space, each of which is one token.
    Whole(Vec<String>),
    /// Words of different costs.
    Any(Box<Writer>),
}

/// A part of a text of blocks, in tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// How many tokens of the blocks stand before it.
    pub start: u64,
    /// Its length.
    pub tokens: u32,
}

impl BlockWriter {
    /// Makes blocks for `tokenizer`.
    pub fn new(tokenizer: &Tokenizer, seed: Seed) -> BlockWriter {
        let words = match whole_words(tokenizer, &Lexicon::of(tokenizer)) {
            words if words.len() >= FEWEST_WORDS => Words::Whole(words),
            _ => Words::Any(Box::new(Writer::new(tokenizer))),
        };
        BlockWriter { words, stream: seed.stream("text blocks") }
    }

    /// A part of a text of blocks. What lies beyond the blocks is drawn from `fresh`. `None` if no text of that length can be made.
    pub fn text(&self, blocks: &Blocks, span: Span, fresh: &mut RandomStream) -> Option<String> {
        match &self.words {
            Words::Whole(words) => Some(self.whole(words, blocks, span, fresh)),
            Words::Any(writer) => self.corrected(writer, blocks, span, fresh),
        }
    }

    /// A text of words of one token each. Its first word has no space before it.
    fn whole(&self, words: &[String], blocks: &Blocks, span: Span, fresh: &mut RandomStream) -> String {
        let mut text = String::with_capacity(span.tokens as usize * 7);
        let mut push = |byte: u8| {
            let word = &words[(usize::from(byte) * words.len()) >> 8];
            text.push_str(if text.is_empty() { &word[1..] } else { word });
        };
        let size = u64::from(blocks.size.max(1));
        let (mut at, end) = (span.start, span.start + u64::from(span.tokens));
        let mut drawn = [0; DRAWN];
        while at < end {
            let (from, left) = (at % size, end - at);
            let Some(id) = usize::try_from(at / size).ok().and_then(|index| blocks.ids.get(index)) else {
                let part = &mut drawn[..left.min(DRAWN as u64) as usize];
                fresh.fill_bytes(part);
                part.iter().for_each(|byte| push(*byte));
                at += part.len() as u64;
                continue;
            };
            // A block is drawn in parts, so that its later words can be drawn without its first ones.
            let part = from / DRAWN as u64;
            let mut stream = self.stream_of(blocks.scope, *id);
            stream.set_word_pos(u128::from(part) * (DRAWN as u128 / 4));
            stream.fill_bytes(&mut drawn);
            let first = (from % DRAWN as u64) as usize;
            let count = (left.min(size - from) as usize).min(DRAWN - first);
            drawn[first..first + count].iter().for_each(|byte| push(*byte));
            at += count as u64;
        }
        text
    }

    /// A text of words of any cost, corrected at its end.
    fn corrected(&self, writer: &Writer, blocks: &Blocks, span: Span, fresh: &mut RandomStream) -> Option<String> {
        let size = u64::from(blocks.size.max(1));
        let end = span.start + u64::from(span.tokens);
        let mut draft = Draft::after("");
        let mut at = span.start / size * size;
        while at < end {
            let Some(id) = usize::try_from(at / size).ok().and_then(|index| blocks.ids.get(index)) else { break };
            let mut stream = self.stream_of(blocks.scope, *id);
            let mut cost = 0;
            while let Some(word) = writer.word(blocks.size - cost, &mut stream) {
                if at + u64::from(cost) >= span.start && at + u64::from(cost + word.follow) <= end {
                    draft.push_word(word);
                }
                cost += word.follow;
            }
            at += size;
        }
        writer.settle(draft, span.tokens, fresh)
    }

    /// The random numbers of a block.
    fn stream_of(&self, scope: u64, id: u64) -> RandomStream {
        let mut stream = self.stream.clone();
        stream.set_stream(mixed(mixed(scope) ^ id));
        stream
    }
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014): different numbers stay different.
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Words after a space that are one token each beside any other of them, and also without the space at the beginning of a text.
fn whole_words(tokenizer: &Tokenizer, lexicon: &Lexicon) -> Vec<String> {
    let is_whole = |word: &&Word| word.first == 1 && word.follow == 1;
    let candidates: Vec<&Word> = lexicon.words().iter().filter(is_whole).take(WORDS).collect();
    let Some(anchor) = candidates.first() else { return Vec::new() };
    let only = |ids: Vec<u32>, at: usize, of: usize| (ids.len() == of).then(|| ids[at]);
    // A word, its token at the beginning of a text, and its token after another word.
    let mut words: Vec<(&Word, u32, u32)> = candidates
        .iter()
        .filter_map(|word| {
            let opening = only(tokenizer.encode(word.bare()), 0, 1)?;
            let following = only(tokenizer.encode(&format!("{}{}", anchor.bare(), word.spaced())), 1, 2)?;
            Some((*word, opening, following))
        })
        .collect();
    let others = words.clone();
    words.retain(|(word, opening, following)| {
        let opens = others
            .iter()
            .all(|(other, _, id)| tokenizer.encode(&format!("{}{}", word.bare(), other.spaced())) == [*opening, *id]);
        let (mut text, mut ids) = (word.bare().to_owned(), vec![*opening]);
        for (other, _, id) in &others {
            text.extend([other.spaced(), word.spaced()]);
            ids.extend([id, following]);
        }
        opens && tokenizer.encode(&text) == ids
    });
    words.into_iter().map(|(word, _, _)| word.spaced().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;
    use proptest::prelude::*;

    fn blocks(size: u32, ids: &[u64]) -> Blocks {
        Blocks { size, ids: ids.to_vec(), ..Blocks::default() }
    }

    fn text(writer: &BlockWriter, blocks: &Blocks, start: u64, tokens: u32) -> String {
        writer.text(blocks, Span { start, tokens }, &mut Seed(9).stream("fresh")).unwrap()
    }

    fn common(a: &str, b: &str) -> usize {
        a.split(' ').zip(b.split(' ')).take_while(|(a, b)| a == b).count()
    }

    #[test]
    fn equal_leading_blocks_are_equal_leading_texts_of_exactly_that_many_tokens() {
        let tokenizer = Tokenizer::embedded();
        let writer = BlockWriter::new(&tokenizer, Seed(1));
        let one = text(&writer, &blocks(512, &[46, 47, 48]), 0, 1_300);
        let other = text(&writer, &blocks(512, &[46, 47, 50]), 0, 1_536);
        assert_eq!((tokenizer.count(&one), tokenizer.count(&other)), (1_300, 1_536));
        assert_eq!(tokenizer.encode(&one)[..1_024], tokenizer.encode(&other)[..1_024]);
        assert!((1_024..1_032).contains(&common(&one, &other)), "{}", common(&one, &other));
        assert_eq!(one, text(&BlockWriter::new(&tokenizer, Seed(1)), &blocks(512, &[46, 47, 48]), 0, 1_300));
        assert_ne!(one, text(&BlockWriter::new(&tokenizer, Seed(2)), &blocks(512, &[46, 47, 48]), 0, 1_300));
    }

    #[test]
    fn blocks_of_another_scope_are_others_and_the_rest_is_fresh() {
        let writer = BlockWriter::new(&Tokenizer::embedded(), Seed(1));
        let here = blocks(16, &[1, 2]);
        let there = Blocks { scope: 7, ..here.clone() };
        assert!(common(&text(&writer, &here, 0, 32), &text(&writer, &there, 0, 32)) < 8);
        let mut fresh = Seed(3).stream("fresh");
        let mut longer = || writer.text(&here, Span { start: 0, tokens: 64 }, &mut fresh).unwrap();
        let (one, other) = (longer(), longer());
        assert!((32..40).contains(&common(&one, &other)));
    }

    #[test]
    fn parts_of_a_text_make_the_whole() {
        let writer = BlockWriter::new(&Tokenizer::embedded(), Seed(1));
        for size in [1, 16, 64, 700, 1_024, 5_000] {
            let blocks = blocks(size, &(0..5_000 / u64::from(size) + 1).collect::<Vec<_>>());
            let whole = text(&writer, &blocks, 0, 4_000);
            let parts = [(0, 1), (1, 511), (512, 1), (513, 1_000), (1_513, 2_487)];
            let parts = parts.map(|(start, tokens)| text(&writer, &blocks, start, tokens));
            assert_eq!(parts.join(" "), whole, "{size}");
        }
    }

    #[test]
    fn every_tokenizer_counts_exactly_what_was_asked_for() {
        for name in ["tiny-tokenizer.json", "wordpiece.json", "unigram.json", "characters.json", "whole-text-bpe.json"]
        {
            let tokenizer = fixture::tokenizer(name);
            let writer = BlockWriter::new(&tokenizer, Seed(1));
            let (one, other) = (blocks(16, &[1, 2, 3]), blocks(16, &[1, 2, 9]));
            for (start, tokens) in [(0, 48), (0, 41), (5, 30), (0, 60)] {
                let text = text(&writer, &one, start, tokens);
                assert_eq!(tokenizer.count(&text), tokens, "{name}: {text}");
            }
            let (one, other) = (text(&writer, &one, 0, 48), text(&writer, &other, 0, 48));
            let ids = tokenizer.encode(&one).into_iter().zip(tokenizer.encode(&other));
            assert!(ids.take_while(|(a, b)| a == b).count() >= 28, "{name}: {one} | {other}");
        }
    }

    proptest! {
        #[test]
        fn any_span_of_any_blocks_has_its_tokens(
            size in 1_u32..100, ids in prop::collection::vec(any::<u64>(), 0..8), start in 0_u64..300, tokens in 1_u32..300,
        ) {
            let tokenizer = Tokenizer::embedded();
            let writer = BlockWriter { words: Words::Whole(vec![" the".into(), " of".into()]), stream: Seed(1).stream("") };
            let text = text(&writer, &Blocks { size, ids, ..Blocks::default() }, start, tokens);
            prop_assert_eq!(tokenizer.count(&text), tokens);
        }
    }
}
