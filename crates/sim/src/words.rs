//! The text of the server: words that are one token each, and replies made of them.

use crate::model::{Finish, Length};
use std::borrow::Cow;
use streamgauge_prompt::Tokenizer;
use streamgauge_prompt::vocabulary::stable_words;

/// How text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// As the inside of a JSON string.
    Json,
    /// As it is.
    Plain,
}

/// One token's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    text: String,
    /// The text inside a JSON string.
    json: String,
}

/// The words of the server. Neither list is empty, because [`stable_words`] never is.
#[derive(Debug)]
pub(crate) struct Words {
    pub(crate) plain: Vec<Word>,
    /// The same, with characters of several bytes among them where the tokenizer has such tokens.
    pub(crate) accented: Vec<Word>,
}

impl Words {
    pub(crate) fn of(tokenizer: &Tokenizer) -> Words {
        let plain = stable_words(tokenizer);
        let accents: Vec<&str> = [" é", " à", " für", " año", " où", " più", " –", " …"]
            .into_iter()
            .filter(|accent| is_stable(tokenizer, accent, &plain))
            .collect();
        let mut accents = accents.iter().cycle();
        let mut accented = Vec::new();
        for pair in plain.chunks(2) {
            accented.extend(accents.next().map(|accent| Word::new(accent)));
            accented.extend(pair.iter().map(|text| Word::new(text)));
        }
        Words { plain: plain.iter().map(|text| Word::new(text)).collect(), accented }
    }
}

/// Whether `accent` adds one token wherever it stands among the words.
fn is_stable(tokenizer: &Tokenizer, accent: &str, words: &[String]) -> bool {
    let sample: Vec<&str> = words.iter().take(64).map(String::as_str).collect();
    let mixed: String = sample.iter().flat_map(|word| [accent, word]).chain([accent, accent]).collect();
    tokenizer.count(&mixed) == tokenizer.count(&sample.concat()) + sample.len() as u32 + 2
}

impl Word {
    pub(crate) fn new(text: &str) -> Word {
        Word { text: text.to_owned(), json: escaped(text) }
    }
}

/// The inside of a JSON string.
fn escaped(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// One reply, before it is said and while it is being said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    /// Index of the next word.
    next: usize,
    tokens: u32,
    said: u32,
    finish: Finish,
    /// Bytes of text still to show: a stop text is produced and counted, but not shown.
    visible: usize,
    /// The stop text that ended it.
    stopped_by: Option<String>,
}

impl Reply {
    /// A reply of `length` from word `start` on, unless one of the texts in `stop` comes up in it after its first `least`
    /// tokens.
    pub(crate) fn plan(words: &[Word], start: usize, length: Length, stop: &[String], least: u32) -> Reply {
        let whole = Reply {
            next: start,
            tokens: length.tokens,
            said: 0,
            finish: length.finish,
            visible: usize::MAX,
            stopped_by: None,
        };
        let Some(longest) = stop.iter().map(String::len).max() else { return whole };
        let mut text = String::new();
        let mut searchable = 0;
        for (said, word) in (1..=length.tokens).zip(words.iter().cycle().skip(start)) {
            let mut from = searchable.max(text.len().saturating_sub(longest));
            text.push_str(&word.text);
            if said <= least {
                searchable = text.len();
                continue;
            }
            while !text.is_char_boundary(from) {
                from -= 1;
            }
            let found = stop.iter().filter_map(|stop| Some((from + text[from..].find(stop.as_str())?, stop))).min();
            if let Some((visible, stop)) = found {
                let stopped_by = Some(stop.clone());
                return Reply { tokens: said, finish: Finish::Stop, visible, stopped_by, ..whole };
            }
        }
        whole
    }

    /// Whether it is said.
    pub(crate) fn is_over(&self) -> bool {
        self.said >= self.tokens
    }

    /// Its tokens, said and to be said.
    pub(crate) fn tokens(&self) -> u32 {
        self.tokens
    }

    /// Its tokens that were said.
    pub(crate) fn said(&self) -> u32 {
        self.said
    }

    /// Why it ends.
    pub(crate) fn finish(&self) -> Finish {
        self.finish
    }

    /// Adds this many tokens; returns whether any of them is visible.
    pub(crate) fn say(&mut self, words: &[Word], tokens: u32, form: Form, out: &mut Vec<u8>) -> bool {
        let before = out.len();
        let tokens = tokens.min(self.tokens - self.said);
        for _ in 0..tokens {
            let word = &words[self.next];
            self.next += 1;
            if self.next == words.len() {
                self.next = 0;
            }
            if word.text.len() <= self.visible {
                self.visible -= word.text.len();
                out.extend_from_slice(if form == Form::Json { &word.json } else { &word.text }.as_bytes());
            } else {
                let text = &word.text[..self.visible];
                out.extend_from_slice(
                    if form == Form::Json { Cow::from(escaped(text)) } else { text.into() }.as_bytes(),
                );
                self.visible = 0;
            }
        }
        self.said += tokens;
        out.len() > before
    }

    /// The text that ended it as JSON, or `null`.
    pub(crate) fn stop_reason(&self) -> String {
        self.stopped_by.as_deref().map_or("null".to_owned(), |stop| serde_json::Value::from(stop).to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words() -> Vec<Word> {
        [" the", " \"cat\"", " é", " sat"].map(Word::new).to_vec()
    }

    fn length(tokens: u32) -> Length {
        Length { tokens, finish: Finish::Length }
    }

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_stop_text_ends_the_reply_and_is_not_shown() {
        let words = words();
        let stop = ["t\" é".to_owned()];
        let mut reply = Reply::plan(&words, 0, length(12), &stop, 0);
        assert_eq!((reply.tokens, reply.finish, reply.stop_reason()), (3, Finish::Stop, r#""t\" é""#.to_owned()));
        assert_eq!(written(|out| assert!(reply.say(&words, 2, Form::Json, out))), r#" the \"ca"#);
        assert_eq!(written(|out| assert!(!reply.say(&words, 2, Form::Json, out))), "");
        assert!(reply.is_over());
    }

    #[test]
    fn a_stop_text_counts_only_after_the_least_length() {
        let words = words();
        let stop = ["cat".to_owned()];
        assert_eq!(Reply::plan(&words, 0, length(12), &stop, 1).tokens, 2);
        assert_eq!(Reply::plan(&words, 0, length(12), &stop, 2).tokens, 6);
        let never = Reply::plan(&words, 0, length(5), &stop, 5);
        assert_eq!((never.tokens, never.finish), (5, Finish::Length));
    }

    #[test]
    fn words_with_accents_are_one_token_each() {
        let tokenizer = Tokenizer::embedded();
        let words = Words::of(&tokenizer);
        for list in [&words.plain, &words.accented] {
            let text: String = list.iter().map(|word| word.text.as_str()).collect();
            assert_eq!(tokenizer.count(&text) as usize, list.len());
        }
        assert!(words.plain.iter().all(|word| word.text.is_ascii()));
        assert!(words.accented.iter().any(|word| !word.text.is_ascii()));
    }
}
