//! Mistral's `tekken.json`: ranked tokens in base64, a pattern, and special tokens, whose ids come before those of the ranks. Special tokens in a
//! text count as plain text, as in `mistral-common`.

use super::bpe::Tokens;
use super::encoder::Encoder;
use super::tiktoken;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use std::borrow::Cow;

#[derive(Deserialize)]
struct File<'a> {
    config: Config,
    #[serde(borrow)]
    vocab: Vec<Entry<'a>>,
}

#[derive(Deserialize)]
struct Config {
    pattern: String,
    default_vocab_size: u32,
    default_num_special_tokens: u32,
}

#[derive(Deserialize)]
struct Entry<'a> {
    rank: u32,
    #[serde(borrow)]
    token_bytes: Cow<'a, str>,
}

/// Whether a JSON file is one of these: it has a `config`, and no `model` as a `tokenizer.json` has.
pub(super) fn is_one(text: &str) -> bool {
    #[derive(Deserialize)]
    struct Outline {
        config: Option<serde::de::IgnoredAny>,
        vocab: Option<serde::de::IgnoredAny>,
        model: Option<serde::de::IgnoredAny>,
    }
    serde_json::from_str::<Outline>(text)
        .is_ok_and(|outline| outline.config.is_some() && outline.vocab.is_some() && outline.model.is_none())
}

/// The encoder of a `tekken.json`.
///
/// # Errors
/// When it is malformed, or splits text by a pattern that is not known; in one clause.
pub(super) fn read(text: &str) -> Result<Encoder, String> {
    let File { config, vocab } = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let special = config.default_num_special_tokens;
    let ranks = config
        .default_vocab_size
        .checked_sub(special)
        .ok_or_else(|| "`default_vocab_size` is smaller than `default_num_special_tokens`".to_owned())?;
    let mut tokens = Tokens::with_capacity(vocab.len(), vocab.len() * 8);
    for Entry { rank, token_bytes } in vocab.iter().filter(|entry| entry.rank < ranks) {
        let bytes = STANDARD.decode(token_bytes.as_bytes()).ok().filter(|bytes| !bytes.is_empty());
        let bytes = bytes.ok_or_else(|| format!("the token of rank {rank} is not base64"))?;
        let added = rank.checked_add(special).and_then(|id| tokens.add(&bytes, id));
        added.ok_or_else(|| format!("rank {rank} or its token is there twice"))?;
    }
    tiktoken::encoder(tokens, &config.pattern)
        .ok_or_else(|| format!("a byte has no token, or the pattern `{}` is not one that is known", config.pattern))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenizer::pieces::TEKKEN;

    /// The bytes and some ranks more, after two special tokens; the last rank is outside the vocabulary.
    fn file(pattern: &str) -> String {
        let bytes = (0..=u8::MAX).map(|byte| vec![byte]);
        let more = [" a", "b ", "ab"].map(|text| text.as_bytes().to_vec());
        let vocab: Vec<serde_json::Value> = bytes
            .chain(more)
            .enumerate()
            .map(|(rank, bytes)| serde_json::json!({"rank": rank, "token_bytes": STANDARD.encode(bytes), "token_str": null}))
            .collect();
        serde_json::json!({
            "config": {"pattern": pattern, "num_vocab_tokens": 259, "default_vocab_size": 260,
                       "default_num_special_tokens": 2, "version": "v3"},
            "vocab": vocab,
            "special_tokens": [{"rank": 0, "token_str": "<unk>", "is_control": true}]
        })
        .to_string()
    }

    #[test]
    fn ids_come_after_the_special_tokens() {
        let text = file(TEKKEN);
        assert!(is_one(&text));
        let encoder = read(&text).unwrap();
        assert_eq!(encoder.encode("b a"), [2 + u32::from(b'b'), 2 + 256]);
        assert_eq!(encoder.encode("ab"), [2 + u32::from(b'a'), 2 + u32::from(b'b')], "beyond the vocabulary's size");
        assert_eq!(encoder.decode(&[2 + 256]).as_deref(), Some(" a"));
        assert_eq!(encoder.decode(&[0]), None);
        assert!(encoder.is_sound());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = |text: &str| read(text).err().unwrap();
        assert!(error(&file(r"\w+")).contains(r"the pattern `\w+` is not one that is known"));
        assert!(error("{\"config\": {}, \"vocab\": []}").contains("missing field `pattern`"));
        let twice = file(TEKKEN).replace("\"rank\":1,", "\"rank\":0,");
        assert_eq!(error(&twice), "rank 0 or its token is there twice");
        assert!(!is_one("{\"model\": {}, \"config\": {}, \"vocab\": {}}"));
        assert!(!is_one("[]"));
    }
}
