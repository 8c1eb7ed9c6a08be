//! One tokenizer, whatever is behind it: the embedded vocabulary, a `tokenizer.json`, a SentencePiece `tokenizer.model`, a vocabulary of tiktoken
//! or Mistral's `tekken.json`.
//!
//! It only ever counts text as text: no special tokens are added, and nothing in the file may shorten, pad or randomise
//! what is counted.
//!
//! Files of the structures that most models have are read by an encoder of this crate, which gives the same ids as the `tokenizers` library,
//! loads a vocabulary several times faster and counts with it more than ten times faster. All other files are left to that library.

mod alphabet;
mod bpe;
mod encoder;
mod json;
mod pieces;
mod sentencepiece;
mod tekken;
mod tiktoken;

use encoder::Encoder;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokenizers::ModelWrapper;

/// The embedded vocabulary's name.
pub const EMBEDDED: &str = "cl100k_base";

/// Counts, encodes and decodes text. Clones share the vocabulary.
#[derive(Clone)]
pub struct Tokenizer {
    name: Arc<str>,
    engine: Engine,
}

#[derive(Clone)]
enum Engine {
    Embedded(&'static bpe_openai::Tokenizer),
    /// A file of a structure that is covered here.
    Encoder(Arc<Encoder>),
    /// Any other file.
    Library(Arc<tokenizers::Tokenizer>),
}

/// Why a file of a tokenizer cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It has no token for text outside its vocabulary, so a server's output could not be counted.
    #[error(
        "{} has no token for text outside its vocabulary, so it cannot count a server's output: {reason}",
        path.display()
    )]
    Incomplete {
        /// The file.
        path: PathBuf,
        /// What encoding such text said.
        reason: String,
    },
    /// It is not a tokenizer.json, or one of a form that is not known.
    #[error("{} is not a usable tokenizer.json: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        reason: String,
    },
    /// It is a file of another format that cannot be used.
    #[error("{} cannot be used as a tokenizer: {reason}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong, in one clause.
        reason: String,
    },
    /// It splits the same text differently each time.
    #[error(
        "{} merges by chance (`dropout` {dropout}), so its counts cannot be repeated: set `dropout` to null",
        path.display()
    )]
    Random {
        /// The file.
        path: PathBuf,
        /// The share of merges it leaves out.
        dropout: f32,
    },
    /// The system could not read it.
    #[error("cannot read the tokenizer {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

impl Tokenizer {
    /// The embedded vocabulary, `cl100k_base`.
    pub fn embedded() -> Tokenizer {
        Tokenizer { name: format!("{EMBEDDED} (embedded)").into(), engine: Engine::Embedded(bpe_openai::cl100k_base()) }
    }

    /// The tokenizer of a file: a `tokenizer.json`, a SentencePiece model (`*.model`), a vocabulary of tiktoken or a `tekken.json`. The truncation
    /// and padding settings of a `tokenizer.json` are for training and are switched off.
    ///
    /// # Errors
    /// When the file cannot be read or understood, or could not count every text, the same each time.
    pub fn from_file(path: &Path) -> Result<Tokenizer, LoadError> {
        let at = || path.to_path_buf();
        let bytes = fs::read(path).map_err(|source| LoadError::Unreadable { path: at(), source })?;
        let named = |engine| Tokenizer { name: path.display().to_string().into(), engine };
        let encoder = |encoder| Ok(named(Engine::Encoder(Arc::new(encoder))));
        let unusable = |reason| LoadError::Unusable { path: at(), reason };
        let text = std::str::from_utf8(&bytes).ok();
        if let Some(text) = text.filter(|_| tiktoken::is_one(&bytes)) {
            return encoder(tiktoken::read(text).map_err(unusable)?);
        }
        let mut bytes = &bytes[..];
        let converted;
        if path.extension().is_some_and(|extension| extension == "model") {
            match sentencepiece::read(bytes).map_err(unusable)? {
                sentencepiece::Read::Encoder(inner) => return encoder(*inner),
                sentencepiece::Read::Json(json) => converted = json.into_bytes(),
            }
            bytes = &converted;
        } else if let Some(text) = text {
            if let Some(inner) = json::read(text) {
                return encoder(inner);
            }
            if tekken::is_one(text) {
                return encoder(tekken::read(text).map_err(unusable)?);
            }
        }
        let malformed = |reason: tokenizers::Error| LoadError::Malformed { path: at(), reason: reason.to_string() };
        let mut inner = tokenizers::Tokenizer::from_bytes(bytes).map_err(malformed)?;
        inner.with_truncation(None).map_err(malformed)?;
        inner.with_padding(None);
        if let ModelWrapper::BPE(bpe) = inner.get_model()
            && let Some(dropout) = bpe.dropout.filter(|share| *share > 0.0)
        {
            return Err(LoadError::Random { path: at(), dropout });
        }
        // The last code point there is: no vocabulary has it, so it takes the way of every unknown character.
        if let Err(reason) = inner.encode_fast("\u{10FFFF}", false) {
            return Err(LoadError::Incomplete { path: at(), reason: reason.to_string() });
        }
        Ok(named(Engine::Library(Arc::new(inner))))
    }

    /// What is shown of it: `cl100k_base (embedded)`, or the file's path.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is the embedded vocabulary.
    pub fn is_embedded(&self) -> bool {
        matches!(self.engine, Engine::Embedded(_))
    }

    /// Whether the encoder of this crate reads it, and not the `tokenizers` library, which is slower.
    pub fn is_covered(&self) -> bool {
        !matches!(self.engine, Engine::Library(_))
    }

    /// Tokens of `text`, none added. A special token that is spelled out in the text counts as the file has it: one
    /// token; the embedded vocabulary takes it for plain text.
    pub fn count(&self, text: &str) -> u32 {
        let tokens = match &self.engine {
            Engine::Embedded(inner) => inner.count(text),
            Engine::Encoder(inner) => inner.count(text),
            Engine::Library(inner) => encode_whole(inner, text).len(),
        };
        u32::try_from(tokens).unwrap_or(u32::MAX)
    }

    /// Tokens of `text` with those that the tokenizer puts around each text, such as one at its beginning. The embedded
    /// vocabulary puts none.
    pub fn count_with_special(&self, text: &str) -> u32 {
        let around = match &self.engine {
            Engine::Embedded(_) => 0,
            Engine::Encoder(inner) => inner.around(),
            // Of an empty text nothing but them is left.
            Engine::Library(inner) => {
                let around = inner.encode_fast("", true).map_or(0, |encoding| encoding.len());
                u32::try_from(around).unwrap_or(u32::MAX)
            }
        };
        self.count(text).saturating_add(around)
    }

    /// The token ids of `text`, none added.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        match &self.engine {
            Engine::Embedded(inner) => inner.encode(text),
            Engine::Encoder(inner) => inner.encode(text),
            Engine::Library(inner) => encode_whole(inner, text),
        }
    }

    /// The text of `tokens`, with special tokens spelled out. Returns `None` if they make no text: if an id is outside the vocabulary, or if
    /// their bytes are not UTF-8. The `tokenizers` library replaces such bytes by U+FFFD, so with it that character counts as no text.
    pub fn decode(&self, tokens: &[u32]) -> Option<String> {
        match &self.engine {
            Engine::Embedded(inner) => {
                let known = tokens.iter().all(|id| (*id as usize) < inner.bpe.num_tokens());
                known.then(|| inner.decode(tokens)).flatten()
            }
            Engine::Encoder(inner) => inner.decode(tokens),
            Engine::Library(inner) => {
                let known = tokens.iter().all(|id| inner.id_to_token(*id).is_some());
                let text = known.then(|| inner.decode(tokens, false).ok()).flatten()?;
                (!text.contains(char::REPLACEMENT_CHARACTER)).then_some(text)
            }
        }
    }

    /// The ids that may be decoded, in order: all that are smaller than the size of the vocabulary.
    pub(crate) fn ids(&self) -> std::ops::Range<u32> {
        let size = match &self.engine {
            Engine::Embedded(inner) => inner.bpe.num_tokens(),
            Engine::Encoder(inner) => inner.size() as usize,
            Engine::Library(inner) => inner.get_vocab_size(true),
        };
        0..u32::try_from(size).unwrap_or(u32::MAX)
    }
}

/// Encodes a text with the `tokenizers` library. Loading has made sure that unknown characters can be encoded. If a text fails all the same, its
/// halves are encoded by themselves, which adds at most one token for each cut; a single character that fails has no token.
fn encode_whole(inner: &tokenizers::Tokenizer, text: &str) -> Vec<u32> {
    if let Ok(encoding) = inner.encode_fast(text, false) {
        return encoding.get_ids().to_vec();
    }
    let Some((middle, _)) = text.char_indices().nth(text.chars().count() / 2).filter(|(at, _)| *at > 0) else {
        return Vec::new();
    };
    let (left, right) = text.split_at(middle);
    let mut ids = encode_whole(inner, left);
    ids.extend(encode_whole(inner, right));
    ids
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tokenizer").field(&self.name).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    /// A character vocabulary with one thing in it changed.
    fn changed(change: impl FnOnce(&mut serde_json::Value)) -> (tempfile::TempDir, PathBuf) {
        let mut json = serde_json::from_slice(&fs::read(fixture::path("characters.json")).unwrap()).unwrap();
        change(&mut json);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokenizer.json");
        fs::write(&path, json.to_string()).unwrap();
        (dir, path)
    }

    #[test]
    fn embedded_counts_as_tiktoken_does() {
        let tokenizer = Tokenizer::embedded();
        assert_eq!(tokenizer.name(), "cl100k_base (embedded)");
        assert!(tokenizer.is_embedded());
        assert_eq!(tokenizer.encode("hello world"), [15339, 1917]);
        assert_eq!(tokenizer.count(""), 0);
        assert_eq!(tokenizer.count("antidisestablishmentarianism"), 6);
        assert_eq!(tokenizer.decode(&[15339, 1917]).as_deref(), Some("hello world"));
    }

    #[test]
    fn ids_that_make_no_text_decode_to_none() {
        let embedded = Tokenizer::embedded();
        let euro = embedded.encode("\u{10FFFF}");
        assert!(euro.len() > 1);
        assert_eq!(embedded.decode(&euro[..1]), None);
        assert_eq!(embedded.decode(&[u32::MAX]), None);
        let file = fixture::tokenizer("tiny-tokenizer.json");
        let euro = file.encode("\u{10FFFF}");
        assert_eq!(file.decode(&euro).as_deref(), Some("\u{10FFFF}"));
        assert_eq!(file.decode(&euro[..1]), None);
        assert_eq!(file.decode(&[u32::MAX]), None);
    }

    #[test]
    fn the_tokens_around_a_text_are_counted_where_they_are_asked_for() {
        let (_dir, path) = changed(|json| {
            json["post_processor"] = serde_json::json!({
                "type": "TemplateProcessing",
                "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
                "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
                "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}},
            });
        });
        let tokenizer = Tokenizer::from_file(&path).unwrap();
        assert_eq!((tokenizer.count("ab"), tokenizer.count_with_special("ab")), (2, 3));
        assert_eq!((tokenizer.count(""), tokenizer.count_with_special("")), (0, 1));
        assert_eq!(Tokenizer::embedded().count_with_special("hello world"), 2);
    }

    #[test]
    fn a_file_counts_without_added_tokens_and_special_ones_as_one() {
        let path = fixture::path("tiny-tokenizer.json");
        let tokenizer = Tokenizer::from_file(&path).unwrap();
        assert_eq!(tokenizer.name(), path.display().to_string());
        assert!(!tokenizer.is_embedded());
        assert_eq!(tokenizer.count(""), 0);
        assert_eq!(tokenizer.encode("<|im_end|>"), [2]);
        assert_eq!(tokenizer.count("ab<|im_end|>"), tokenizer.count("ab") + 1);
    }

    #[test]
    fn truncation_and_padding_never_touch_a_count() {
        let (_dir, path) = changed(|json| {
            json["truncation"] =
                serde_json::json!({"direction": "Right", "max_length": 8, "strategy": "LongestFirst", "stride": 0});
            json["padding"] = serde_json::json!({
                "strategy": {"Fixed": 64}, "direction": "Right", "pad_to_multiple_of": null,
                "pad_id": 0, "pad_type_id": 0, "pad_token": "a"
            });
        });
        let tokenizer = Tokenizer::from_file(&path).unwrap();
        assert_eq!(tokenizer.count("abc"), 3);
        assert_eq!(tokenizer.count(&"a".repeat(100)), 100);
    }

    #[test]
    fn a_file_that_cannot_count_every_text_the_same_each_time_is_refused() {
        let (_dir, path) = changed(|json| json["model"]["dropout"] = 0.1.into());
        let error = Tokenizer::from_file(&path).unwrap_err().to_string();
        assert!(error.ends_with("set `dropout` to null") && error.contains("tokenizer.json"), "{error}");

        let (_dir, path) = changed(|json| json["model"]["unk_token"] = "[absent]".into());
        let error = Tokenizer::from_file(&path).unwrap_err();
        assert!(matches!(error, LoadError::Incomplete { .. }), "{error}");
    }

    #[test]
    fn a_bad_file_is_named_with_what_is_wrong() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokenizer.json");
        assert!(matches!(Tokenizer::from_file(&path), Err(LoadError::Unreadable { .. })));
        for (bytes, reason) in [
            (&b"{\"version\": \"1.0\","[..], "EOF while parsing"),
            (b"GGUF\x03\xff", "expected value at line 1 column 1"),
            (b"{}", "Model missing"),
        ] {
            fs::write(&path, bytes).unwrap();
            let error = Tokenizer::from_file(&path).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{} is not a usable", path.display())), "{error}");
            assert!(error.contains(reason), "{error}");
        }
    }
}
