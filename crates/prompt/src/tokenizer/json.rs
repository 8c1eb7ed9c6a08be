//! Reads a `tokenizer.json` whose structure the encoder of this crate covers: byte-pair encoding of bytes, as most models have it, or of
//! characters with a fallback to bytes, as Llama 2 and Gemma have it. Whatever else is in a file makes it one for the `tokenizers` library.

use super::alphabet::bytes_of;
use super::bpe::{Atoms, Bpe, LARGEST_ID, Tokens};
use super::encoder::{Added, Decoding, Encoder, MARK, Normalization, Parts, Place};
use super::pieces::{GPT2, Splitter};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;
use std::borrow::Cow;
use std::fmt;

#[derive(Deserialize)]
struct File<'a> {
    #[serde(borrow)]
    added_tokens: Option<Vec<AddedToken<'a>>>,
    normalizer: Option<Value>,
    pre_tokenizer: Option<Value>,
    post_processor: Option<Value>,
    decoder: Option<Value>,
    #[serde(borrow)]
    model: Model<'a>,
}

#[derive(Deserialize)]
struct AddedToken<'a> {
    id: u32,
    #[serde(borrow)]
    content: Cow<'a, str>,
    single_word: bool,
    lstrip: bool,
    rstrip: bool,
    normalized: bool,
}

/// A member that is not known may change what the model does, so it is refused.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Model<'a> {
    #[serde(rename = "type")]
    kind: Option<&'a str>,
    dropout: Option<f32>,
    /// Only reached where a byte has no token, which is refused.
    #[serde(rename = "unk_token")]
    _unknown: Option<Value>,
    continuing_subword_prefix: Option<&'a str>,
    end_of_word_suffix: Option<&'a str>,
    #[serde(rename = "fuse_unk")]
    _fuses_unknown: Option<bool>,
    #[serde(default)]
    byte_fallback: bool,
    #[serde(default)]
    ignore_merges: bool,
    #[serde(borrow)]
    vocab: Vocabulary<'a>,
    #[serde(borrow)]
    merges: Merges<'a>,
}

/// The encoder of a `tokenizer.json`; `None` if it is not one, or its structure is not covered.
pub(super) fn read(text: &str) -> Option<Encoder> {
    let File { added_tokens, normalizer, pre_tokenizer, post_processor, decoder, model } =
        serde_json::from_str(text).ok()?;
    let (splits, is_bytes) = splits(pre_tokenizer.as_ref())?;
    let normalization = normalization(normalizer.as_ref())?;
    if is_bytes == matches!(normalization, Normalization::Marks { .. }) {
        return None;
    }
    let splitters = match is_bytes {
        true => splits.iter().map(|split| Splitter::known(split)).collect::<Option<Vec<_>>>()?,
        // Spaces have become marks, so a split at spaces finds none.
        false if splits.iter().all(|split| *split == " ") => Vec::new(),
        false => return None,
    };
    let decoding = decoding(decoder.as_ref(), is_bytes)?;
    let around = around(post_processor.as_ref())?;
    let added = added_tokens.unwrap_or_default();
    if added.iter().any(|token| token.single_word || token.lstrip || token.rstrip || token.content.is_empty()) {
        return None;
    }
    let place = |normalized| if normalized { Place::Normalized } else { Place::Verbatim };
    let added: Vec<Added> = added
        .into_iter()
        .map(|token| Added { content: token.content.into_owned(), id: token.id, place: place(token.normalized) })
        .collect();
    let decoded = decoded(&model.vocab.0, &added, is_bytes)?;
    let bpe = bpe(model, is_bytes)?;
    agrees(&added, &bpe, is_bytes)?;
    let parts = Parts { bpe, normalization, splitters, added, decoding, decoded, around };
    Encoder::new(parts).filter(Encoder::is_sound)
}

fn bpe(model: Model<'_>, is_bytes: bool) -> Option<Bpe> {
    let Model { vocab: Vocabulary(vocabulary), merges: Merges(merges), .. } = model;
    let affix = |text: Option<&str>| text.is_some_and(|text| !text.is_empty());
    if !matches!(model.kind, None | Some("BPE"))
        || model.dropout.is_some_and(|share| share > 0.0)
        || affix(model.continuing_subword_prefix)
        || affix(model.end_of_word_suffix)
        || model.byte_fallback == is_bytes
    {
        return None;
    }
    let bytes = vocabulary.iter().map(|(token, _)| token.len()).sum();
    let mut tokens = Tokens::with_capacity(vocabulary.len(), bytes);
    let spelled = |token: &str, spelling: &mut Vec<u8>| {
        spelling.clear();
        match is_bytes {
            true => bytes_of(token, spelling),
            false => spelling.extend_from_slice(token.as_bytes()),
        }
    };
    let mut spelling = Vec::new();
    for (token, id) in &vocabulary {
        spelled(token, &mut spelling);
        tokens.add(&spelling, *id)?;
    }
    let mut resolved = Vec::with_capacity(merges.len());
    let mut other = Vec::new();
    for (left, right) in &merges {
        // The encoder takes it that bytes which spell a character are not merged any more.
        if !is_bytes && (byte_token(left).is_some() || byte_token(right).is_some()) {
            return None;
        }
        spelled(left, &mut spelling);
        spelled(right, &mut other);
        let (left, right) = (tokens.id(&spelling)?, tokens.id(&other)?);
        spelling.extend_from_slice(&other);
        resolved.push((left, right, tokens.id(&spelling)?));
    }
    let mut ids = Box::new([0; 256]);
    for (byte, id) in (0..=u8::MAX).zip(ids.iter_mut()) {
        *id = match is_bytes {
            // Bytes that no text has may lack a token.
            true => tokens.id(&[byte]).or((!occurs(byte)).then_some(0))?,
            false => tokens.id(format!("<0x{byte:02X}>").as_bytes())?,
        };
    }
    let atoms = if is_bytes { Atoms::Bytes(ids) } else { Atoms::Characters(ids) };
    Some(Bpe::new(tokens, resolved.into_iter(), atoms, model.ignore_merges))
}

/// Whether a byte occurs in UTF-8.
fn occurs(byte: u8) -> bool {
    !matches!(byte, 0xC0 | 0xC1 | 0xF5..=0xFF)
}

/// Makes sure that added tokens have the ids that the `tokenizers` library gives them: that of the vocabulary, else the next one after it.
fn agrees(added: &[Added], bpe: &Bpe, is_bytes: bool) -> Option<()> {
    let mut next = u32::try_from(bpe.tokens().len()).ok()?;
    let mut seen = std::collections::HashSet::new();
    let mut spelling = Vec::new();
    for token in added {
        if !seen.insert(token.content.as_str()) || token.id > LARGEST_ID {
            return None;
        }
        spelling.clear();
        match is_bytes {
            true => bytes_of(&token.content, &mut spelling),
            false => spelling.extend_from_slice(token.content.as_bytes()),
        }
        let id = bpe.tokens().id(&spelling).unwrap_or_else(|| {
            next += 1;
            next - 1
        });
        if id != token.id {
            return None;
        }
    }
    Some(())
}

/// The bytes of each id's text, as the decoder of the `tokenizers` library makes them.
fn decoded(vocabulary: &[(Cow<'_, str>, u32)], added: &[Added], is_bytes: bool) -> Option<Vec<Option<Box<[u8]>>>> {
    let largest = vocabulary.iter().map(|(_, id)| *id).chain(added.iter().map(|token| token.id)).max()?;
    if largest > LARGEST_ID {
        return None;
    }
    let mut decoded = vec![None; largest as usize + 1];
    let known = vocabulary.iter().map(|(token, id)| (token.as_ref(), *id));
    for (token, id) in known.chain(added.iter().map(|token| (token.content.as_str(), token.id))) {
        let mut bytes = Vec::new();
        if is_bytes {
            bytes_of(token, &mut bytes);
        } else {
            match byte_token(token) {
                Some(byte) => bytes.push(byte),
                None => bytes.extend_from_slice(token.replace(MARK, " ").as_bytes()),
            }
        }
        decoded[id as usize] = Some(bytes.into_boxed_slice());
    }
    Some(decoded)
}

/// The byte that a token such as `<0x0A>` stands for.
pub(super) fn byte_token(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    (digits.len() == 2).then(|| u8::from_str_radix(digits, 16).ok()).flatten()
}

/// The patterns that a text is split by, and whether pieces are spelled as bytes.
fn splits(pre_tokenizer: Option<&Value>) -> Option<(Vec<&str>, bool)> {
    let steps = match pre_tokenizer {
        None | Some(Value::Null) => return Some((Vec::new(), false)),
        Some(one) if kind(one)? == "Sequence" => one["pretokenizers"].as_array()?.as_slice(),
        Some(one) => std::slice::from_ref(one),
    };
    let mut patterns = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        match kind(step)? {
            "Split" if step["invert"] == false => {
                let pattern = &step["pattern"];
                match (pattern["Regex"].as_str(), pattern["String"].as_str()) {
                    (Some(regex), None) if step["behavior"] == "Isolated" => patterns.push(regex),
                    (None, Some(" ")) => patterns.push(" "),
                    _ => return None,
                }
            }
            "ByteLevel" if index + 1 == steps.len() && step["add_prefix_space"] == false => {
                if step["use_regex"] != false {
                    patterns.push(GPT2);
                }
                return Some((patterns, true));
            }
            _ => return None,
        }
    }
    Some((patterns, false))
}

fn normalization(normalizer: Option<&Value>) -> Option<Normalization> {
    let steps = match normalizer {
        None | Some(Value::Null) => return Some(Normalization::None),
        Some(one) if kind(one)? == "Sequence" => one["normalizers"].as_array()?.as_slice(),
        Some(one) => std::slice::from_ref(one),
    };
    let is_mark = |value: &Value| value.as_str().is_some_and(|text| text.chars().eq([MARK]));
    let marks =
        |step: &Value| kind(step) == Some("Replace") && step["pattern"]["String"] == " " && is_mark(&step["content"]);
    match steps {
        [] => Some(Normalization::None),
        [one] if kind(one)? == "NFC" => Some(Normalization::Composed),
        [one] if marks(one) => Some(Normalization::Marks { prefix: false }),
        [first, second] if kind(first)? == "Prepend" && is_mark(&first["prepend"]) && marks(second) => {
            Some(Normalization::Marks { prefix: true })
        }
        _ => None,
    }
}

fn decoding(decoder: Option<&Value>, is_bytes: bool) -> Option<Decoding> {
    let decoder = decoder?;
    if is_bytes {
        return (kind(decoder)? == "ByteLevel").then_some(Decoding::Bytes);
    }
    let steps = decoder["decoders"].as_array()?;
    let [replace, bytes, fuse, rest @ ..] = steps.as_slice() else { return None };
    let is_mark = replace["pattern"]["String"].as_str().is_some_and(|text| text.chars().eq([MARK]));
    if kind(replace)? != "Replace" || !is_mark || replace["content"] != " " {
        return None;
    }
    if kind(bytes)? != "ByteFallback" || kind(fuse)? != "Fuse" {
        return None;
    }
    match rest {
        [] => Some(Decoding::Bytes),
        [strip] if kind(strip)? == "Strip" && strip["content"] == " " && strip["start"] == 1 && strip["stop"] == 0 => {
            Some(Decoding::WithoutFirstSpace)
        }
        _ => None,
    }
}

/// How many tokens are put around a single text.
fn around(post_processor: Option<&Value>) -> Option<u32> {
    let processor = match post_processor {
        None | Some(Value::Null) => return Some(0),
        Some(processor) => processor,
    };
    match kind(processor)? {
        "ByteLevel" => Some(0),
        "Sequence" => {
            let mut sum = 0;
            for processor in processor["processors"].as_array()? {
                sum += around(Some(processor))?;
            }
            Some(sum)
        }
        "TemplateProcessing" => {
            let mut sum = 0;
            for piece in processor["single"].as_array()? {
                if let Some(token) = piece.get("SpecialToken") {
                    let ids = processor["special_tokens"][token["id"].as_str()?]["ids"].as_array()?;
                    sum += u32::try_from(ids.len()).ok()?;
                }
            }
            Some(sum)
        }
        _ => None,
    }
}

fn kind(value: &Value) -> Option<&str> {
    value["type"].as_str()
}

/// The members of the vocabulary, in the order of the file.
struct Vocabulary<'a>(Vec<(Cow<'a, str>, u32)>);

impl<'de: 'a, 'a> Deserialize<'de> for Vocabulary<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Vocabulary<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("tokens and their ids")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((Text(token), id)) = map.next_entry::<Text<'de>, u32>()? {
                    members.push((token, id));
                }
                Ok(Vocabulary(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// A text that is borrowed from the file where it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Pairs of tokens: `"a b"` in older files, `["a", "b"]` in newer ones.
struct Merges<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'de: 'a, 'a> Deserialize<'de> for Merges<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let pairs: Vec<Pair<'de>> = Deserialize::deserialize(deserializer)?;
        Ok(Merges(pairs.into_iter().map(|Pair(left, right)| (left, right)).collect()))
    }
}

struct Pair<'a>(Cow<'a, str>, Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Pair<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Pair<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a pair of tokens")
            }

            fn visit_borrowed_str<E: serde::de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
                let (left, right) = two(text).ok_or_else(|| E::custom("a merge is not two tokens"))?;
                Ok(Pair(Cow::Borrowed(left), Cow::Borrowed(right)))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
                let (left, right) = two(text).ok_or_else(|| E::custom("a merge is not two tokens"))?;
                Ok(Pair(Cow::Owned(left.to_owned()), Cow::Owned(right.to_owned())))
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let pair: (Option<Text<'de>>, Option<Text<'de>>) = (seq.next_element()?, seq.next_element()?);
                match pair {
                    (Some(Text(left)), Some(Text(right))) => Ok(Pair(left, right)),
                    _ => Err(serde::de::Error::custom("a merge is not two tokens")),
                }
            }
        }
        deserializer.deserialize_any(Either)
    }
}

fn two(text: &str) -> Option<(&str, &str)> {
    text.split_once(' ').filter(|(_, right)| !right.contains(' '))
}
