//! Embeddings: a vector of numbers for each text.

use super::body::{Body, PromptBody, prompt_tokens};
use super::endpoint::{AnswerForm, DocumentParts, Endpoint};
use crate::log::answer_id;
use crate::refusal::Refusal;
use crate::tokens::Tokens;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rand::{Rng, RngExt};
use serde::Deserialize;
use serde_json::{Value, json};
use streamgauge_core::plan::EndpointKind;
use streamgauge_core::seed::Seed;

/// The numbers of a vector, unless the request asks for fewer.
const DIMENSIONS: usize = 384;

/// The endpoint.
pub(super) static ENDPOINT: Endpoint = Endpoint {
    path: "/v1/embeddings",
    kind: EndpointKind::Embeddings,
    id_prefix: "embd",
    prompts,
    answer: AnswerForm::Document(document),
};

/// The members of a request that only embeddings have.
#[derive(Deserialize)]
struct Members<'a> {
    #[serde(borrow)]
    input: Option<PromptBody<'a>>,
    dimensions: Option<usize>,
    encoding_format: Option<String>,
}

/// Reads those members.
fn read(bytes: &[u8]) -> Result<Members<'_>, Refusal> {
    serde_json::from_slice(bytes)
        .map_err(|error| Refusal::bad("input", format!("the body does not fit this endpoint: {error}")))
}

fn prompts(tokens: &Tokens, _: &Body<'_>, bytes: &[u8]) -> Result<Vec<u32>, Refusal> {
    prompt_tokens(tokens, read(bytes)?.input.as_ref(), "input")
}

/// The answer, as vLLM spells it.
fn document(parts: &DocumentParts<'_>) -> Result<Vec<u8>, Refusal> {
    let Members { dimensions, encoding_format, .. } = read(parts.body)?;
    let dimensions = match dimensions {
        None => DIMENSIONS,
        Some(dimensions @ 1..=DIMENSIONS) => dimensions,
        Some(_) => return Err(Refusal::bad("dimensions", format!("`dimensions` must be from 1 to {DIMENSIONS}"))),
    };
    let shown: fn(&[f32]) -> Value = match encoding_format.as_deref() {
        None | Some("float") => |vector| json!(vector),
        Some("base64") => |vector| {
            let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
            STANDARD.encode(bytes).into()
        },
        Some(_) => return Err(Refusal::bad("encoding_format", "`encoding_format` must be `float` or `base64`")),
    };
    let mut chance = Seed(parts.number).stream("embeddings");
    let data: Vec<Value> = (0..parts.prompts.len())
        .map(|index| {
            let vector = vector(dimensions, &mut chance);
            json!({"index": index, "object": "embedding", "embedding": shown(&vector)})
        })
        .collect();
    let tokens: u64 = parts.prompts.iter().map(|tokens| u64::from(*tokens)).sum();
    let answer = json!({
        "id": answer_id(ENDPOINT.id_prefix, parts.number),
        "object": "list",
        "created": parts.created,
        "model": parts.model,
        "data": data,
        "usage": {
            "prompt_tokens": tokens, "total_tokens": tokens, "completion_tokens": 0, "prompt_tokens_details": null,
        },
    });
    Ok(answer.to_string().into_bytes())
}

/// A vector of length 1 in a direction that `chance` draws.
fn vector(dimensions: usize, chance: &mut impl Rng) -> Vec<f32> {
    let numbers: Vec<f32> = (0..dimensions).map(|_| chance.random_range(-1.0..1.0)).collect();
    let length = numbers.iter().map(|number| number * number).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    numbers.iter().map(|number| number / length).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use streamgauge_prompt::Tokenizer;

    fn tokens() -> Tokens {
        Tokens::new(vec!["m".to_owned()], 100, Tokenizer::embedded())
    }

    fn answer(body: &str) -> Result<Value, Refusal> {
        let prompts = prompts(&tokens(), &serde_json::from_str(body).unwrap(), body.as_bytes())?;
        let parts = DocumentParts { body: body.as_bytes(), number: 7, created: 5, model: "m", prompts: &prompts };
        Ok(serde_json::from_slice(&document(&parts)?).unwrap())
    }

    #[test]
    fn each_text_has_a_vector_of_length_one() {
        let answer = answer(r#"{"model":"m","input":["the cat","a"]}"#).unwrap();
        assert_eq!((answer["object"].as_str(), answer["usage"]["prompt_tokens"].as_u64()), (Some("list"), Some(3)));
        let data = answer["data"].as_array().unwrap();
        assert_eq!(data.iter().map(|one| one["index"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 1]);
        for one in data {
            let vector: Vec<f64> =
                one["embedding"].as_array().unwrap().iter().map(|one| one.as_f64().unwrap()).collect();
            let square: f64 = vector.iter().map(|number| number * number).sum();
            assert!(vector.len() == DIMENSIONS && (square - 1.0).abs() < 1e-3, "{square}");
        }
        assert_ne!(data[0]["embedding"], data[1]["embedding"]);
    }

    #[test]
    fn base64_holds_the_same_numbers() {
        let numbers = answer(r#"{"input":"a","dimensions":3}"#).unwrap();
        let text = answer(r#"{"input":"a","dimensions":3,"encoding_format":"base64"}"#).unwrap();
        let bytes = STANDARD.decode(text["data"][0]["embedding"].as_str().unwrap()).unwrap();
        let decoded: Vec<f32> = bytes.chunks(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect();
        let plain: Vec<f32> = serde_json::from_value(numbers["data"][0]["embedding"].clone()).unwrap();
        assert_eq!((decoded.len(), decoded), (3, plain));
    }

    #[test]
    fn bad_requests_are_refused_by_name() {
        for (body, param) in [
            ("{}", "input"),
            (r#"{"input":[]}"#, "input"),
            (r#"{"input":{}}"#, "input"),
            (r#"{"input":"a","dimensions":0}"#, "dimensions"),
            (r#"{"input":"a","dimensions":385}"#, "dimensions"),
            (r#"{"input":"a","encoding_format":"hex"}"#, "encoding_format"),
        ] {
            assert_eq!(answer(body).unwrap_err().param, Some(param), "{body}");
        }
    }
}
