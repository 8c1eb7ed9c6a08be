//! Writes texts that have an exact number of tokens.
//!
//! Words are chosen by the number of tokens that each is known to take. Then the whole text is counted, decoded and corrected at its end
//! until its count is exact.

use crate::lexicon::{Lexicon, Word, survives};
use crate::tokenizer::Tokenizer;
use rand::{Rng, RngExt};
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Fresh draws of words for one text before its length is given up as impossible.
const DRAWS: u32 = 16;
/// Corrections at the end of one draw.
const CORRECTIONS: u32 = 64;
/// Fresh texts for one that was written before; short texts cannot all differ.
const REDRAWS: u32 = 8;
/// How many texts are remembered at least, if so many were written: some 20 MB of hashes, however many texts follow.
const REMEMBERED: usize = 1 << 19;

/// Writes texts of exact length.
pub(super) struct Writer {
    tokenizer: Tokenizer,
    lexicon: Lexicon,
    seen: Seen,
}

/// Hashes of the texts that were written last. Servers keep what they computed for a prompt, so a repeated one would be answered too fast.
#[derive(Default)]
struct Seen {
    recent: HashSet<u64>,
    /// The texts before those in `recent`.
    older: HashSet<u64>,
}

impl Seen {
    /// Remembers a text. Returns false if it is known already.
    fn insert(&mut self, text: u64) -> bool {
        if self.older.contains(&text) || !self.recent.insert(text) {
            return false;
        }
        if self.recent.len() == REMEMBERED {
            self.older = std::mem::take(&mut self.recent);
        }
        true
    }
}

impl Writer {
    /// Writes for `tokenizer`.
    pub(super) fn new(tokenizer: &Tokenizer) -> Writer {
        Writer { tokenizer: tokenizer.clone(), lexicon: Lexicon::of(tokenizer), seen: Seen::default() }
    }

    /// A text of `tokens` tokens that begins with `prefix`, and differs from those before it where that can be.
    pub(super) fn new_text(&mut self, prefix: &str, tokens: u32, rng: &mut impl Rng) -> Option<String> {
        let mut text = self.text(prefix, tokens, rng)?;
        for _ in 0..REDRAWS {
            if self.seen.insert(hash(&text)) {
                break;
            }
            text = self.text(prefix, tokens, rng)?;
        }
        Some(text)
    }

    /// A word that adds at most `limit` tokens to a text.
    pub(super) fn word(&self, limit: u32, rng: &mut impl Rng) -> Option<&Word> {
        self.lexicon.follower(limit, rng)
    }

    fn text(&self, prefix: &str, tokens: u32, rng: &mut impl Rng) -> Option<String> {
        (0..DRAWS).find_map(|_| self.settle(Draft::after(prefix), tokens, rng))
    }

    /// Adds to the draft and takes from it until it has exactly `tokens` tokens; `None` if it never has.
    pub(super) fn settle(&self, mut draft: Draft, tokens: u32, rng: &mut impl Rng) -> Option<String> {
        let mut count = self.tokenizer.count(&draft.text);
        for _ in 0..CORRECTIONS {
            if count < tokens {
                self.lengthen(&mut draft, tokens - count, rng)?;
            } else {
                draft.shorten()?;
            }
            let ids = self.tokenizer.encode(&draft.text);
            count = u32::try_from(ids.len()).ok()?;
            if count == tokens && survives(&self.tokenizer, &draft.text, &ids) {
                return Some(draft.text);
            }
        }
        None
    }

    /// Adds words worth at most `missing` tokens, or where no word is cheap enough something that adds one.
    fn lengthen(&self, draft: &mut Draft, missing: u32, rng: &mut impl Rng) -> Option<()> {
        let mut left = missing;
        while left > 0 {
            if draft.text.is_empty() {
                let Some(word) = self.lexicon.opener(left, rng) else { break };
                draft.push(word.bare());
                left -= word.first;
            } else {
                let Some(word) = self.lexicon.follower(left, rng) else { break };
                draft.push(word.spaced());
                left -= word.follow;
            }
        }
        if left < missing {
            return Some(());
        }
        let glue = self.glue_for(draft, rng)?;
        draft.push(glue);
        Some(())
    }

    /// Something that adds one token to the end of the draft, judged by the draft's last words alone.
    fn glue_for(&self, draft: &Draft, rng: &mut impl Rng) -> Option<&str> {
        let glue = self.lexicon.glue();
        let start = (!glue.is_empty()).then(|| rng.random_range(0..glue.len()))?;
        let tail = draft.tail();
        let count = self.tokenizer.count(tail);
        let adds_one = |text: &&String| self.tokenizer.count(&format!("{tail}{text}")) == count + 1;
        glue[start..].iter().chain(&glue[..start]).find(adds_one).map(String::as_str)
    }
}

/// A text that is being written, and where its pieces begin. The prefix that it began with stays.
pub(super) struct Draft {
    text: String,
    starts: Vec<usize>,
}

impl Draft {
    /// A text that begins with `prefix`.
    pub(super) fn after(prefix: &str) -> Draft {
        Draft { text: prefix.to_owned(), starts: Vec::new() }
    }

    /// Adds a word; its space is left out at the beginning of the text.
    pub(super) fn push_word(&mut self, word: &Word) {
        self.push(if self.text.is_empty() { word.bare() } else { word.spaced() });
    }

    fn push(&mut self, piece: &str) {
        self.starts.push(self.text.len());
        self.text.push_str(piece);
    }

    /// Removes the last piece; `None` if there is none.
    fn shorten(&mut self) -> Option<()> {
        self.text.truncate(self.starts.pop()?);
        Some(())
    }

    /// The last two words.
    fn tail(&self) -> &str {
        self.text.rmatch_indices(' ').nth(1).map_or(&self.text, |(at, _)| &self.text[at + 1..])
    }
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_texts_that_are_remembered_are_bounded() {
        let mut seen = Seen::default();
        let room = REMEMBERED as u64;
        assert!((0..3 * room).all(|text| seen.insert(text)));
        assert!(!seen.insert(3 * room - 1) && !seen.insert(2 * room));
        assert!(seen.recent.len() + seen.older.len() <= 2 * REMEMBERED);
        assert!(seen.insert(0));
    }
}
