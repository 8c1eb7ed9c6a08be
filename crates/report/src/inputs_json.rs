//! `inputs.json`: every body that was sent, in the order in which requests go round them.

use crate::indented;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::io::{self, BufRead, Write};

/// Writes `bodies` as GenAI-Perf lays them out.
///
/// # Errors
/// When `out` cannot be written.
pub fn write(out: impl Write, bodies: &[Value]) -> io::Result<()> {
    let data = bodies.iter().map(|body| Entry { payload: [body] }).collect();
    indented::write(out, &Inputs { data })
}

/// Reads the bodies back.
///
/// # Errors
/// When `input` cannot be read or is no such file.
pub fn read(input: impl BufRead) -> io::Result<Vec<Value>> {
    let inputs: Inputs<Value> = serde_json::from_reader(input)?;
    Ok(inputs.data.into_iter().map(|Entry { payload: [body] }| body).collect())
}

#[derive(Serialize, Deserialize)]
struct Inputs<B> {
    data: Vec<Entry<B>>,
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
        for golden in
            [include_str!("../tests/golden/chat/inputs.json"), include_str!("../tests/golden/completions/inputs.json")]
        {
            let bodies = read(golden.as_bytes()).unwrap();
            assert!(bodies.iter().all(|body| body["model"] == "tinychat"));
            let mut out = Vec::new();
            write(&mut out, &bodies).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), golden);
        }
    }
}
