//! `inputs.json`: every body that was sent, in the order in which requests go round them.

use crate::indented;
use serde::Serialize;
use serde_json::Value;
use std::io::{self, Write};

/// Writes `bodies` as GenAI-Perf lays them out.
///
/// # Errors
/// When `out` cannot be written.
pub fn write(out: impl Write, bodies: &[Value]) -> io::Result<()> {
    let data = bodies.iter().map(|body| Entry { payload: [body] }).collect();
    indented::write(out, &Inputs { data })
}

#[derive(Serialize)]
struct Inputs<'a> {
    data: Vec<Entry<'a>>,
}

/// A payload is a list because one entry may hold the bodies of several turns.
#[derive(Serialize)]
struct Entry<'a> {
    payload: [&'a Value; 1],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_files_come_back_byte_for_byte() {
        for golden in
            [include_str!("../tests/golden/chat/inputs.json"), include_str!("../tests/golden/completions/inputs.json")]
        {
            let read: Value = serde_json::from_str(golden).unwrap();
            let bodies: Vec<Value> =
                read["data"].as_array().unwrap().iter().map(|entry| entry["payload"][0].clone()).collect();
            let mut out = Vec::new();
            write(&mut out, &bodies).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), golden);
        }
    }
}
