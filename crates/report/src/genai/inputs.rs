//! `inputs.json`: every input that was sent, in the order in which requests go round them.

use crate::text::indented;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::io::{self, BufRead, Write};
use streamgauge_core::plan::EndpointKind;
use streamgauge_wire::endpoints::spec;

/// The name of the file.
pub const INPUTS: &str = "inputs.json";

/// Writes `inputs` as GenAI-Perf lays them out: an entry holds tensors by name, or the body as its `payload`.
///
/// # Errors
/// When `out` cannot be written.
pub fn write(out: impl Write, kind: EndpointKind, inputs: &[Value]) -> io::Result<()> {
    match spec(kind).capabilities.tensors {
        true => indented::write(out, &Inputs { data: inputs.iter().collect() }),
        false => indented::write(out, &Inputs { data: inputs.iter().map(|body| Entry { payload: [body] }).collect() }),
    }
}

/// A body as GenAI-Perf writes it into its files, where one text is a list of one: its parser joins the list's texts with blanks,
/// and would do that with the letters of a text.
pub fn listed(kind: EndpointKind, mut body: Value) -> Value {
    let Some(member) = spec(kind).genai.listed_member else { return body };
    if let Some(text) = body.get_mut(member).filter(|text| text.is_string()) {
        *text = Value::Array(vec![text.take()]);
    }
    body
}

/// Reads the inputs back.
///
/// # Errors
/// When `input` cannot be read or is not such a file.
pub fn read(input: impl BufRead, kind: EndpointKind) -> io::Result<Vec<Value>> {
    if spec(kind).capabilities.tensors {
        let inputs: Inputs<Value> = serde_json::from_reader(input)?;
        return Ok(inputs.data);
    }
    let inputs: Inputs<Entry<Value>> = serde_json::from_reader(input)?;
    Ok(inputs.data.into_iter().map(|Entry { payload: [body] }| body).collect())
}

#[derive(Serialize, Deserialize)]
struct Inputs<E> {
    data: Vec<E>,
}

/// A payload is a list because one entry may hold the bodies of several turns.
#[derive(Serialize, Deserialize)]
struct Entry<B> {
    payload: [B; 1],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_text_is_a_list_where_the_parser_joins_texts() {
        use serde_json::json;
        for (kind, body, expected) in [
            (EndpointKind::Generate, json!({"text_input": "a b", "x": 1}), json!({"text_input": ["a b"], "x": 1})),
            (EndpointKind::Completions, json!({"model": "m", "prompt": "a"}), json!({"model": "m", "prompt": ["a"]})),
            (EndpointKind::Completions, json!({"prompt": ["a", "b"]}), json!({"prompt": ["a", "b"]})),
            (EndpointKind::Chat, json!({"prompt": "a"}), json!({"prompt": "a"})),
            (EndpointKind::Generate, json!("odd"), json!("odd")),
        ] {
            assert_eq!(listed(kind, body).to_string(), expected.to_string());
        }
    }

    #[test]
    fn real_files_come_back_byte_for_byte() {
        for (kind, model, golden) in [
            (EndpointKind::Chat, "tinychat", include_str!("../../tests/golden/chat/inputs.json")),
            (EndpointKind::Completions, "tinychat", include_str!("../../tests/golden/completions/inputs.json")),
            (EndpointKind::KserveGrpc, "ensemble", include_str!("../../tests/golden/trtllm/inputs.json")),
            (EndpointKind::KserveGrpc, "vllm_model", include_str!("../../tests/golden/vllm/inputs.json")),
        ] {
            let inputs = read(golden.as_bytes(), kind).unwrap();
            assert!(inputs.iter().all(|input| input["model"] == model));
            let mut out = Vec::new();
            write(&mut out, kind, &inputs).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), golden);
        }
    }
}
