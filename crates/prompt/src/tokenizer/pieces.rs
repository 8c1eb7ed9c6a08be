//! Splitting a text into the pieces that are encoded one by one, by the patterns of models that are in use.
//!
//! The patterns are regular expressions with one look-ahead, `\s+(?!\S)`, which lets the last character of a run of white space begin the next
//! piece. Each pattern is compiled without it, into three: what comes before it and the run at the end of the text; a run of white space and
//! one more such character, which is then given back; and a run that is left. This finds the same pieces without a backtracking engine.

use regex_automata::meta::{Cache, Regex};
use regex_automata::{Anchored, Input};

/// What every pattern with the look-ahead ends with.
const ENDING: &str = r"|\s+(?!\S)|\s+";

/// Patterns that are known to split in the same way here and in the `tokenizers` library, which tests compare. GPT-2, GPT-4 (also Llama 3),
/// Qwen 2 and 3, GPT-4o (also gpt-oss and Llama 4), Mistral's Tekken, and the three of DeepSeek V3.
pub(super) const KNOWN: [&str; 10] = [
    GPT2,
    CL100K,
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,2}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    QWEN,
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    O200K,
    TEKKEN,
    r"\p{N}{1,3}",
    "[\u{4e00}-\u{9fa5}\u{3040}-\u{309f}\u{30a0}-\u{30ff}]+",
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+",
];
/// GPT-2's, which vocabularies in bytes use where they name no pattern.
pub(super) const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
/// That of GPT-4 and of Llama 3.
pub(super) const CL100K: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// That of Qwen 2 and 3.
pub(super) const QWEN: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// That of GPT-4o and of gpt-oss.
pub(super) const O200K: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// That of Mistral's Tekken.
pub(super) const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// One pattern, by which a text is split into its matches and what lies between them.
pub(super) struct Splitter {
    regex: Regex,
    /// Whether the pattern matches at every place, so that nothing lies between two matches.
    covers_all: bool,
}

impl Splitter {
    /// The splitter of a known pattern; `None` for any other.
    pub fn known(pattern: &str) -> Option<Splitter> {
        if !KNOWN.contains(&pattern) {
            return None;
        }
        let regex = match pattern.strip_suffix(ENDING) {
            Some(before) => Regex::new_many(&[&format!(r"{before}|\s+$"), r"\s+\s", r"\s+"]),
            None => Regex::new(pattern),
        };
        // Those that do are of letters, numbers, white space and everything else.
        let covers_all = pattern.contains(r"[^\s\p{L}\p{N}]+") && pattern.ends_with(ENDING);
        Some(Splitter { regex: regex.ok()?, covers_all })
    }

    pub fn cache(&self) -> Cache {
        self.regex.create_cache()
    }

    /// Calls `piece` with each piece of `text`, which is never empty.
    pub fn split<'t>(&self, text: &'t str, cache: &mut Cache, mut piece: impl FnMut(&'t str)) {
        let mut last = 0;
        let anchored = if self.covers_all { Anchored::Yes } else { Anchored::No };
        while last < text.len() {
            let input = Input::new(text).range(last..).anchored(anchored);
            let Some(found) = self.regex.search_with(cache, &input) else { break };
            if found.start() > last {
                piece(&text[last..found.start()]);
            }
            let mut end = found.end();
            if found.pattern().as_usize() == 1
                && let Some(given_back) = text[found.start()..end].chars().next_back()
            {
                end -= given_back.len_utf8();
            }
            // A pattern that matched nothing would be found for ever.
            if end <= found.start() {
                break;
            }
            piece(&text[found.start()..end]);
            last = end;
        }
        if last < text.len() {
            piece(&text[last..]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces<'t>(pattern: &str, text: &'t str) -> Vec<&'t str> {
        let splitter = Splitter::known(pattern).unwrap();
        let mut found = Vec::new();
        splitter.split(text, &mut splitter.cache(), |piece| found.push(piece));
        found
    }

    #[test]
    fn the_last_space_of_a_run_belongs_to_the_word_after_it() {
        assert_eq!(pieces(CL100K, "a   b"), ["a", "  ", " b"]);
        assert_eq!(pieces(CL100K, "a   "), ["a", "   "]);
        assert_eq!(pieces(CL100K, " \n  x\u{3000}\u{3000}y"), [" \n", " ", " x", "\u{3000}", "\u{3000}y"]);
        assert_eq!(pieces(CL100K, "  1234567"), [" ", " ", "123", "456", "7"]);
        assert_eq!(pieces(GPT2, "don't 42!"), ["don", "'t", " 42", "!"]);
        assert_eq!(pieces(O200K, "camelCase"), ["camel", "Case"]);
    }

    #[test]
    fn what_a_pattern_leaves_out_is_a_piece_of_its_own() {
        assert_eq!(pieces(r"\p{N}{1,3}", "a12345 b"), ["a", "123", "45", " b"]);
        assert_eq!(pieces(r"\p{N}{1,3}", ""), [""; 0]);
    }

    #[test]
    fn patterns_that_are_not_known_are_not_taken() {
        for pattern in [r"\w+", r"\s+(?!\S)|\s+", ""] {
            assert!(Splitter::known(pattern).is_none(), "{pattern}");
        }
    }
}
