//! `inputs.json`: every input that was sent, in the order in which requests go round them.

use crate::export::has_tensors;
use crate::indented;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::io::{self, BufRead, Write};
use streamgauge_core::plan::EndpointKind;

/// Writes `inputs` as GenAI-Perf lays them out: an entry holds tensors by name, or the body as its `payload`.
///
/// # Errors
/// When `out` cannot be written.
pub fn write(out: impl Write, kind: EndpointKind, inputs: &[Value]) -> io::Result<()> {
    match has_tensors(kind) {
        true => indented::write(out, &Inputs { data: inputs.iter().collect() }),
        false => indented::write(out, &Inputs { data: inputs.iter().map(|body| Entry { payload: [body] }).collect() }),
    }
}

/// Reads the inputs back.
///
/// # Errors
/// When `input` cannot be read or is no such file.
pub fn read(input: impl BufRead, kind: EndpointKind) -> io::Result<Vec<Value>> {
    if has_tensors(kind) {
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
    fn real_files_come_back_byte_for_byte() {
        for (kind, model, golden) in [
            (EndpointKind::Chat, "tinychat", include_str!("../tests/golden/chat/inputs.json")),
            (EndpointKind::Completions, "tinychat", include_str!("../tests/golden/completions/inputs.json")),
            (EndpointKind::KserveGrpc, "ensemble", include_str!("../tests/golden/trtllm/inputs.json")),
            (EndpointKind::KserveGrpc, "vllm_model", include_str!("../tests/golden/vllm/inputs.json")),
        ] {
            let inputs = read(golden.as_bytes(), kind).unwrap();
            assert!(inputs.iter().all(|input| input["model"] == model));
            let mut out = Vec::new();
            write(&mut out, kind, &inputs).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), golden);
        }
    }
}
