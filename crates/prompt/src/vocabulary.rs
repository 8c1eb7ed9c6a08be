//! Words for a simulated server to say: each exactly one token, wherever it stands.

use crate::lexicon::{Lexicon, Word};
use crate::tokenizer::Tokenizer;
use rand::seq::SliceRandom;
use streamgauge_core::seed::Seed;

/// Random orders, one after the other, that the words must keep their count in before they are believed.
const ORDERS: u32 = 4;
/// How many words before it may decide what a word costs, as far as the search for offenders looks.
const REACH: usize = 4;

/// Texts such as ` the`: any sequence of them, of any of them, counts exactly one token for each, as tried in random
/// orders of them all. With some vocabularies the beginning of a text costs more; then each adds one token after the
/// first. Where no texts do even that, it is the cheapest word there is. Never empty.
pub fn stable_words(tokenizer: &Tokenizer) -> Vec<String> {
    let lexicon = Lexicon::of(tokenizer);
    let words = lexicon.words().iter().filter(|word| word.follow == 1).map(|word| word.spaced().to_owned()).collect();
    let mut stable = settled(tokenizer, words);
    if stable.is_empty() {
        stable = settled(tokenizer, lexicon.glue().to_vec());
    }
    if stable.is_empty() {
        stable.push(lexicon.words().first().map_or(" a", Word::spaced).to_owned());
    }
    stable
}

/// Those of the texts that keep their count beside each other.
fn settled(tokenizer: &Tokenizer, mut texts: Vec<String>) -> Vec<String> {
    let Some(opening) = texts.iter().map(|text| tokenizer.count(text)).min() else { return texts };
    let even = |texts: &[String]| tokenizer.count(&texts.concat()) as usize + 1 == opening as usize + texts.len();
    texts.retain(|text| even(std::slice::from_ref(text)) && even(&[text.clone(), text.clone()]));
    let mut rng = Seed(0).stream("stable words");
    let mut passed = 0;
    while passed < ORDERS {
        texts.shuffle(&mut rng);
        if even(&texts) {
            passed += 1;
            continue;
        }
        passed = 0;
        let before = texts.len();
        texts = without_offenders(texts, even);
        if texts.len() == before {
            return Vec::new();
        }
    }
    texts
}

/// The texts without those that, in this order, spoil the count of what stands just before them.
fn without_offenders(texts: Vec<String>, even: impl Fn(&[String]) -> bool) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    for text in texts {
        kept.push(text);
        if !even(&kept[kept.len().saturating_sub(REACH)..]) {
            kept.pop();
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;
    use rand::RngExt;

    /// Tokens of 100 random sequences of the words, less one for each word: one number if they are stable.
    fn excess(tokenizer: &Tokenizer, words: &[String]) -> Vec<i64> {
        let mut rng = Seed(7).stream("test");
        let mut excess: Vec<i64> = (0..100)
            .map(|length| {
                let text: String = (0..=length).map(|_| words[rng.random_range(0..words.len())].as_str()).collect();
                i64::from(tokenizer.count(&text)) - (length + 1)
            })
            .collect();
        excess.sort_unstable();
        excess.dedup();
        excess
    }

    #[test]
    fn embedded_words_are_one_token_each_in_any_order() {
        let tokenizer = Tokenizer::embedded();
        let words = stable_words(&tokenizer);
        assert!(words.len() > 600, "{}", words.len());
        assert!(words.contains(&" the".to_owned()));
        assert_eq!(excess(&tokenizer, &words), [0]);
    }

    #[test]
    fn other_vocabularies_keep_the_count_too() {
        for (name, opening) in
            [("tiny-tokenizer.json", 0), ("wordpiece.json", 0), ("unigram.json", 0), ("characters.json", 0)]
        {
            let tokenizer = fixture::tokenizer(name);
            let words = stable_words(&tokenizer);
            assert!(!words.is_empty());
            assert_eq!(excess(&tokenizer, &words), [opening], "{name}: {words:?}");
        }
        // It sets a mark before every text, so a text that begins with a space has two.
        let tokenizer = fixture::tokenizer("whole-text-bpe.json");
        assert_eq!(excess(&tokenizer, &stable_words(&tokenizer)), [1]);
    }

    #[test]
    fn texts_that_merge_are_dropped() {
        let tokenizer = Tokenizer::embedded();
        let texts = [" the", "re", " of", "ten"].map(str::to_owned).to_vec();
        let mut left = settled(&tokenizer, texts);
        left.sort();
        assert_eq!(excess(&tokenizer, &left), [0], "{left:?}");
        assert!(left.len() < 4);
    }
}
