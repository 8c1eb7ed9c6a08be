//! Models of the SentencePiece library (`tokenizer.model`): byte-pair encoding with a fallback to bytes, as Llama 2, Mistral 7B and Gemma have it,
//! and Unigram models such as T5's, which the `tokenizers` library encodes after the conversion that `transformers` makes of them.

use super::bpe::{Atoms, Bpe, Tokens};
use super::encoder::{Added, Decoding, Encoder, MARK, Normalization, Parts, Place};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prost::Message;

/// `ModelProto` of `sentencepiece_model.proto`, as far as it is read here.
#[derive(Clone, PartialEq, Message)]
struct Model {
    #[prost(message, repeated, tag = "1")]
    pieces: Vec<Piece>,
    #[prost(message, optional, tag = "2")]
    trainer: Option<Trainer>,
    #[prost(message, optional, tag = "3")]
    normalizer: Option<Normalizer>,
}

#[derive(Clone, PartialEq, Message)]
struct Piece {
    #[prost(string, optional, tag = "1")]
    piece: Option<String>,
    #[prost(float, optional, tag = "2")]
    score: Option<f32>,
    #[prost(int32, optional, tag = "3")]
    kind: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
struct Trainer {
    #[prost(int32, optional, tag = "3")]
    model_type: Option<i32>,
    #[prost(bool, optional, tag = "24")]
    treat_whitespace_as_suffix: Option<bool>,
    #[prost(bool, optional, tag = "35")]
    byte_fallback: Option<bool>,
}

#[derive(Clone, PartialEq, Message)]
struct Normalizer {
    #[prost(bytes = "vec", optional, tag = "2")]
    precompiled_charsmap: Option<Vec<u8>>,
    #[prost(bool, optional, tag = "3")]
    add_dummy_prefix: Option<bool>,
    #[prost(bool, optional, tag = "4")]
    remove_extra_whitespaces: Option<bool>,
    #[prost(bool, optional, tag = "5")]
    escape_whitespaces: Option<bool>,
}

/// Kinds of pieces, by their numbers in `SentencePiece.Type`.
const NORMAL: i32 = 1;
const UNKNOWN: i32 = 2;
const USER_DEFINED: i32 = 4;
const BYTE: i32 = 6;
/// Kinds of models, by their numbers in `TrainerSpec.ModelType`.
const UNIGRAM: i32 = 1;
const BPE: i32 = 2;

/// What a model is encoded with.
pub(super) enum Read {
    /// The encoder of this crate.
    Encoder(Box<Encoder>),
    /// A `tokenizer.json` for the `tokenizers` library.
    Json(String),
}

/// Reads a model.
///
/// # Errors
/// When it is malformed or of a kind that is not read; in one clause.
pub(super) fn read(bytes: &[u8]) -> Result<Read, String> {
    let model = Model::decode(bytes).map_err(|_| "it is not a SentencePiece model".to_owned())?;
    if model.pieces.is_empty() {
        return Err("it is a SentencePiece model without a vocabulary".to_owned());
    }
    let trainer = model.trainer.clone().unwrap_or_default();
    if trainer.treat_whitespace_as_suffix == Some(true) {
        return Err("it treats white space as a suffix, which is not read; give the model's tokenizer.json".to_owned());
    }
    match trainer.model_type.unwrap_or(UNIGRAM) {
        BPE => byte_pairs(&model, &trainer).map(|encoder| Read::Encoder(Box::new(encoder))),
        UNIGRAM => Ok(Read::Json(unigram(&model, &trainer)?)),
        _ => Err("it is a SentencePiece model of words or characters; those of byte pairs and of Unigram are read"
            .to_owned()),
    }
}

fn byte_pairs(model: &Model, trainer: &Trainer) -> Result<Encoder, String> {
    let normalizer = model.normalizer.clone().unwrap_or_default();
    let plain = normalizer.precompiled_charsmap.as_ref().is_none_or(Vec::is_empty)
        && normalizer.remove_extra_whitespaces == Some(false)
        && normalizer.escape_whitespaces.unwrap_or(true);
    if !plain || trainer.byte_fallback != Some(true) {
        return Err(
            "it changes text before it splits it, or has no token for some characters; give the model's tokenizer.json"
                .to_owned(),
        );
    }
    let prefix = normalizer.add_dummy_prefix.unwrap_or(true);
    let mut tokens = Tokens::with_capacity(model.pieces.len(), model.pieces.len() * 8);
    let mut bytes = Box::new([u32::MAX; 256]);
    let mut decoded = Vec::with_capacity(model.pieces.len());
    let mut added = Vec::new();
    let mut merged = Vec::new();
    for (piece, id) in model.pieces.iter().zip(0..) {
        let text = piece.piece.as_deref().unwrap_or_default();
        decoded.push(Some(text.replace(MARK, " ").into_bytes().into_boxed_slice()));
        match piece.kind.unwrap_or(NORMAL) {
            NORMAL => {
                tokens.add(text.as_bytes(), id).ok_or_else(|| format!("the piece `{text}` is there twice"))?;
                merged.push((piece.score.unwrap_or_default(), id));
            }
            USER_DEFINED => added.push(Added { content: text.to_owned(), id, place: Place::InNormalized }),
            BYTE => {
                let byte = super::json::byte_token(text).ok_or_else(|| format!("the piece `{text}` is no byte"))?;
                bytes[usize::from(byte)] = id;
                decoded[id as usize] = Some(Box::new([byte]));
            }
            _ => {}
        }
    }
    if bytes.contains(&u32::MAX) {
        return Err("a byte has no piece, so it cannot count every text".to_owned());
    }
    // The best score merges first. Two neighbours merge if both together are a piece, whatever its own parts were in training.
    merged.sort_by(|(left, _), (right, _)| right.total_cmp(left));
    let mut merges = Vec::with_capacity(merged.len() * 2);
    for (_, whole) in merged {
        let text = tokens.get(whole).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default();
        for (cut, _) in text.char_indices().skip(1) {
            if let (Some(left), Some(right)) = (tokens.id(&text.as_bytes()[..cut]), tokens.id(&text.as_bytes()[cut..]))
            {
                merges.push((left, right, whole));
            }
        }
    }
    let bpe = Bpe::new(tokens, merges.into_iter(), Atoms::Characters(bytes), false);
    let decoding = if prefix { Decoding::WithoutFirstSpace } else { Decoding::Bytes };
    let normalization = Normalization::Marks { prefix };
    let parts = Parts { bpe, normalization, splitters: Vec::new(), added, decoding, decoded, around: 0 };
    Encoder::new(parts).ok_or_else(|| "its user-defined pieces cannot be looked for".to_owned())
}

/// The model as a `tokenizer.json`, much as `SpmConverter` of the Python package `transformers` converts it.
fn unigram(model: &Model, trainer: &Trainer) -> Result<String, String> {
    let normalizer = model.normalizer.clone().unwrap_or_default();
    let unknown = model.pieces.iter().position(|piece| piece.kind == Some(UNKNOWN));
    let unknown = unknown.ok_or_else(|| "it has no piece for unknown characters".to_owned())?;
    let vocab: Vec<(&str, f32)> = model
        .pieces
        .iter()
        .map(|piece| (piece.piece.as_deref().unwrap_or_default(), piece.score.unwrap_or_default()))
        .collect();
    let mut steps = Vec::new();
    if let Some(map) = normalizer.precompiled_charsmap.filter(|map| !map.is_empty()) {
        steps.push(serde_json::json!({"type": "Precompiled", "precompiled_charsmap": STANDARD.encode(map)}));
    }
    if normalizer.remove_extra_whitespaces.unwrap_or(true) {
        // Only spaces are meant: line breaks at the ends stay.
        steps.push(serde_json::json!({"type": "Replace", "pattern": {"Regex": r"\A +| +\z"}, "content": ""}));
        steps.push(serde_json::json!({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}));
    }
    let scheme = if normalizer.add_dummy_prefix.unwrap_or(true) { "always" } else { "never" };
    let marks =
        serde_json::json!({"type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": scheme, "split": true});
    let user_defined = model.pieces.iter().enumerate().filter(|(_, piece)| piece.kind == Some(USER_DEFINED));
    let added: Vec<serde_json::Value> = user_defined
        .map(|(id, piece)| {
            serde_json::json!({"id": id, "content": piece.piece, "single_word": false, "lstrip": false, "rstrip": false,
                               "normalized": false, "special": false})
        })
        .collect();
    let json = serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
        "normalizer": {"type": "Sequence", "normalizers": steps},
        "pre_tokenizer": marks, "post_processor": null, "decoder": marks,
        "model": {"type": "Unigram", "unk_id": unknown, "vocab": vocab,
                  "byte_fallback": trainer.byte_fallback.unwrap_or(false)},
    });
    Ok(json.to_string())
}
