//! Words of which it is known how many tokens they take with one tokenizer. Synthetic prompts and the answers of the simulated server are
//! made of them.

use crate::tokenizer::Tokenizer;
use rand::{Rng, RngExt};

/// Common English words in lower case, one on each line.
const ENGLISH: &str = include_str!("words.txt");
/// A vocabulary with fewer of these words is for other languages; then words are taken from the vocabulary itself.
const TOO_FEW: usize = 16;
/// How many words are taken from the vocabulary.
const OWN_WORDS: usize = 256;

/// A word, and how many tokens it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    /// The word after a space.
    spaced: String,
    /// Tokens it takes at the beginning of a text.
    pub first: u32,
    /// Tokens it adds to a text, its space included.
    pub follow: u32,
}

impl Word {
    /// The word without the space.
    pub fn bare(&self) -> &str {
        &self.spaced[1..]
    }

    /// The word after a space.
    pub fn spaced(&self) -> &str {
        &self.spaced
    }
}

/// The words of one tokenizer, by cost. Costs are measured once, on each word beside itself: nearly always right, but
/// only counting the finished text proves it.
pub(crate) struct Lexicon {
    /// By the cost of following.
    followers: Vec<Word>,
    /// The same by the cost of coming first.
    openers: Vec<Word>,
    /// Texts that added one token when stuck to the end of a text, where no word does that.
    glue: Vec<String>,
}

impl Lexicon {
    pub fn of(tokenizer: &Tokenizer) -> Lexicon {
        let mut followers: Vec<Word> = ENGLISH.lines().filter_map(|word| survey(tokenizer, word)).collect();
        if followers.len() < TOO_FEW {
            followers.extend(own_words(tokenizer));
        }
        followers.sort_by_key(|word| word.follow);
        let mut openers = followers.clone();
        openers.sort_by_key(|word| word.first);
        let complete = followers.first().is_some_and(|word| word.follow == 1)
            && openers.first().is_some_and(|word| word.first == 1);
        let glue = if complete { Vec::new() } else { glue(tokenizer, &followers) };
        Lexicon { followers, openers, glue }
    }

    /// The words, cheapest followers first.
    pub fn words(&self) -> &[Word] {
        &self.followers
    }

    /// What adds one token when stuck to the end of a text.
    pub fn glue(&self) -> &[String] {
        &self.glue
    }

    /// A word that adds at most `limit` tokens.
    pub fn follower(&self, limit: u32, rng: &mut impl Rng) -> Option<&Word> {
        pick(&self.followers, self.followers.partition_point(|word| word.follow <= limit), rng)
    }

    /// A word that takes at most `limit` tokens at the beginning of a text.
    pub fn opener(&self, limit: u32, rng: &mut impl Rng) -> Option<&Word> {
        pick(&self.openers, self.openers.partition_point(|word| word.first <= limit), rng)
    }
}

/// Whether decoding `ids`, which encode `text`, gives the text back (white space apart, which some decoders cannot
/// know) and encoding that takes as many tokens again.
pub(crate) fn survives(tokenizer: &Tokenizer, text: &str, ids: &[u32]) -> bool {
    let Some(back) = tokenizer.decode(ids) else { return false };
    let letters = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
    back == text || (letters(&back) == letters(text) && tokenizer.count(&back) as usize == ids.len())
}

fn pick<'a>(words: &'a [Word], affordable: usize, rng: &mut impl Rng) -> Option<&'a Word> {
    (affordable > 0).then(|| &words[rng.random_range(0..affordable)])
}

/// The word's costs; none when the vocabulary cannot spell it.
fn survey(tokenizer: &Tokenizer, word: &str) -> Option<Word> {
    let spaced = format!(" {word}");
    let pair = format!("{word}{spaced}");
    let ids = tokenizer.encode(&pair);
    let first = tokenizer.count(word);
    let follow = u32::try_from(ids.len()).ok()?.checked_sub(first)?;
    (first > 0 && follow > 0 && survives(tokenizer, &pair, &ids)).then_some(Word { spaced, first, follow })
}

/// Words that are single entries of the vocabulary, whatever the language.
fn own_words(tokenizer: &Tokenizer) -> impl Iterator<Item = Word> {
    tokenizer
        .ids()
        .filter_map(|id| tokenizer.decode(&[id]))
        .filter(|text| !text.trim().is_empty() && text.trim().chars().all(char::is_alphanumeric))
        .filter_map(|text| survey(tokenizer, text.trim()))
        .take(OWN_WORDS)
}

/// Letters, digits, punctuation or words that add exactly one token when stuck to the cheapest word.
fn glue(tokenizer: &Tokenizer, words: &[Word]) -> Vec<String> {
    let Some(base) = words.first().map(Word::bare) else { return Vec::new() };
    let count = tokenizer.encode(base).len();
    let adds_one = |text: &String| {
        let longer = format!("{base}{text}");
        let ids = tokenizer.encode(&longer);
        ids.len() == count + 1 && survives(tokenizer, &longer, &ids)
    };
    let characters = ('a'..='z').chain('0'..='9').chain(".,!?;:-".chars()).map(String::from);
    let mut found: Vec<String> = characters.filter(adds_one).collect();
    if found.is_empty() {
        found = words.iter().map(|word| word.bare().to_owned()).filter(adds_one).collect();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;
    use std::collections::HashSet;

    fn word(lexicon: &Lexicon, bare: &str) -> Option<(u32, u32)> {
        lexicon.words().iter().find(|word| word.bare() == bare).map(|word| (word.first, word.follow))
    }

    #[test]
    fn the_list_is_plain_and_without_repeats() {
        let words: Vec<&str> = ENGLISH.lines().collect();
        assert!(words.len() > 600);
        assert_eq!(words.iter().collect::<HashSet<_>>().len(), words.len());
        assert!(words.iter().all(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase())));
    }

    #[test]
    fn every_word_follows_as_one_token_of_the_embedded_vocabulary() {
        let lexicon = Lexicon::of(&Tokenizer::embedded());
        let dear: Vec<&str> = lexicon.words().iter().filter(|word| word.follow > 1).map(Word::bare).collect();
        assert_eq!(dear, [""; 0]);
        assert_eq!(lexicon.words().len(), ENGLISH.lines().count());
        assert!(lexicon.glue().is_empty());
    }

    #[test]
    fn costs_are_the_tokenizers() {
        let lexicon = Lexicon::of(&fixture::tokenizer("characters.json"));
        assert_eq!(word(&lexicon, "the"), Some((3, 4)));
        assert_eq!(word(&lexicon, "a"), Some((1, 2)));
        assert_eq!(lexicon.glue()[..3], ["a", "b", "c"]);
    }

    #[test]
    fn a_word_that_the_vocabulary_cannot_spell_is_left_out() {
        let lexicon = Lexicon::of(&fixture::tokenizer("wordpiece.json"));
        assert_eq!(word(&lexicon, "the"), Some((1, 1)));
        assert_eq!(word(&lexicon, "zero"), None);
    }

    #[test]
    fn a_vocabulary_of_another_language_lends_its_own_words() {
        let vocabulary: serde_json::Map<_, _> = ["[UNK]".to_owned()]
            .into_iter()
            .chain(('\u{4e00}'..'\u{4e40}').map(String::from))
            .enumerate()
            .map(|(id, token)| (token, id.into()))
            .collect();
        let tokenizer = fixture::made(&serde_json::json!({
            "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "post_processor": null,
            "added_tokens": [], "pre_tokenizer": {"type": "BertPreTokenizer"},
            "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
            "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                      "max_input_chars_per_word": 100, "vocab": vocabulary}
        }));
        let lexicon = Lexicon::of(&tokenizer);
        assert_eq!(lexicon.words().len(), 64);
        assert_eq!(word(&lexicon, "\u{4e00}"), Some((1, 1)));
    }

    #[test]
    fn words_stay_within_the_limit() {
        let lexicon = Lexicon::of(&fixture::tokenizer("characters.json"));
        let mut rng = streamgauge_core::seed::Seed(1).stream("test");
        for _ in 0..200 {
            assert!(lexicon.follower(4, &mut rng).unwrap().follow <= 4);
            assert_eq!(lexicon.opener(1, &mut rng).unwrap().first, 1);
        }
        assert_eq!(lexicon.follower(1, &mut rng), None);
    }
}
