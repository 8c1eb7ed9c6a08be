//! Vocabularies of tiktoken: a line for each token, its bytes in base64 and its rank. The file says neither how a text is split nor which special
//! tokens there are. The first is known by the number of tokens; special tokens count as plain text, as in tiktoken's `encode_ordinary`.

use super::bpe::{Bpe, Tokens};
use super::encoder::{Decoding, Encoder, Normalization, Parts};
use super::pieces::{CL100K, GPT2, O200K, QWEN, Splitter};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The vocabularies that are known: their names, how many ranks each has, and the pattern that splits a text.
const VOCABULARIES: [(&str, usize, &str); 6] = [
    ("r50k_base", 50_256, GPT2),
    ("p50k_base", 50_280, GPT2),
    ("cl100k_base", 100_256, CL100K),
    ("Llama 3", 128_000, CL100K),
    ("Qwen", 151_643, QWEN),
    ("o200k_base", 199_998, O200K),
];

/// Whether a file begins as such a vocabulary does.
pub(super) fn is_one(bytes: &[u8]) -> bool {
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    std::str::from_utf8(line).ok().and_then(entry).is_some()
}

/// The encoder of a vocabulary.
///
/// # Errors
/// When a line is no entry, or the vocabulary is not one that is known; in one clause.
pub(super) fn read(text: &str) -> Result<Encoder, String> {
    let mut tokens = Tokens::with_capacity(text.lines().count(), text.len() / 2);
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
        let number = number + 1;
        let (token, rank) =
            entry(line).ok_or_else(|| format!("line {number} is not a token in base64, a space and its rank"))?;
        tokens.add(&token, rank).ok_or_else(|| format!("line {number} repeats a token or a rank"))?;
    }
    let count = tokens.len();
    let pattern = VOCABULARIES.iter().find(|(_, size, _)| *size == count).map(|(_, _, pattern)| *pattern);
    let pattern = pattern.ok_or_else(|| {
        let known: Vec<String> = VOCABULARIES.iter().map(|(name, size, _)| format!("{name} ({size})")).collect();
        format!(
            "it has {count} tokens, by which no vocabulary is known ({}); give the model's tokenizer.json",
            known.join(", ")
        )
    })?;
    encoder(tokens, pattern).ok_or_else(|| "a byte has no token, so it cannot count every text".to_owned())
}

/// The encoder of a vocabulary with ranks; `None` if a byte has no token, or the pattern is not known.
pub(super) fn encoder(tokens: Tokens, pattern: &str) -> Option<Encoder> {
    let decoded = (0..tokens.end()).map(|id| tokens.get(id).map(Box::from)).collect();
    Encoder::new(Parts {
        bpe: Bpe::of_ranks(tokens)?,
        normalization: Normalization::None,
        splitters: vec![Splitter::known(pattern)?],
        added: Vec::new(),
        decoding: Decoding::Bytes,
        decoded,
        around: 0,
    })
}

fn entry(line: &str) -> Option<(Vec<u8>, u32)> {
    let (token, rank) = line.trim_end().split_once(' ')?;
    let token = STANDARD.decode(token).ok().filter(|token| !token.is_empty())?;
    Some((token, rank.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vocabulary_is_told_by_its_first_line() {
        assert!(is_one(b"IQ== 0\nIg== 1\n"));
        for other in [&b"{\"model\": 1}"[..], b"\n\x0e\n\x05<unk>", b"", b"IQ== x\n", b"plain text"] {
            assert!(!is_one(other), "{}", String::from_utf8_lossy(other));
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let error = |text: &str| read(text).err().unwrap();
        assert_eq!(error("IQ== 0\nIQ==\n"), "line 2 is not a token in base64, a space and its rank");
        assert_eq!(error("IQ== 0\nIQ== 1\n"), "line 2 repeats a token or a rank");
        assert_eq!(error("IQ== 0\nIg== 0\n"), "line 2 repeats a token or a rank");
        assert!(
            error("IQ== 0\nIg== 1\n")
                .starts_with("it has 2 tokens, by which no vocabulary is known (r50k_base (50256)")
        );
        assert!(error("IQ== 4000000000\n").contains("line 1"));
    }

    #[test]
    fn ranks_decide_what_is_merged() {
        let mut tokens = Tokens::default();
        for byte in 0..=u8::MAX {
            tokens.add(&[byte], u32::from(byte)).unwrap();
        }
        for (token, id) in [" t", "he", " the", "lo"].into_iter().zip(256..) {
            tokens.add(token.as_bytes(), id).unwrap();
        }
        let encoder = encoder(tokens, CL100K).unwrap();
        assert_eq!(encoder.encode("hello the"), [257, u32::from(b'l'), 259, 258]);
        assert_eq!(encoder.decode(&[257, 258]).as_deref(), Some("he the"));
        assert_eq!(encoder.size(), 260);
        assert!(encoder.is_sound());
    }
}
