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

/// Writes the file one input after another, so that its memory is that of one input. The bytes are those of [`write()`].
pub struct InputsWriter<W> {
    out: W,
    kind: EndpointKind,
    /// The file with the input that is being written alone.
    alone: Vec<u8>,
    written: u64,
    has_ended: bool,
}

/// The text before the first input of a file, between two inputs, and after the last one.
const FRAME: [&str; 3] = ["{\n  \"data\": [\n", ",\n", "\n  ]\n}"];

impl<W: Write> InputsWriter<W> {
    /// Begins a file for an endpoint of that kind.
    pub fn new(out: W, kind: EndpointKind) -> InputsWriter<W> {
        InputsWriter { out, kind, alone: Vec::new(), written: 0, has_ended: false }
    }

    /// Adds an input.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn input(&mut self, input: &Value) -> io::Result<()> {
        let [first, between, last] = FRAME;
        self.alone.clear();
        write(&mut self.alone, self.kind, std::slice::from_ref(input))?;
        let entry = self.alone.get(first.len()..self.alone.len().saturating_sub(last.len())).unwrap_or_default();
        self.out.write_all(if self.written == 0 { first } else { between }.as_bytes())?;
        self.out.write_all(entry)?;
        self.written += 1;
        // The longest input would stay in memory.
        self.alone.shrink_to(KEPT_ROOM);
        Ok(())
    }

    /// Ends the file, unless that was done.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn end(&mut self) -> io::Result<()> {
        if std::mem::replace(&mut self.has_ended, true) {
            return Ok(());
        }
        match self.written {
            0 => write(&mut self.out, self.kind, &[]),
            _ => self.out.write_all(FRAME[2].as_bytes()),
        }
    }

    /// Passes what was written to the operating system.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Room for an input that is kept from one to the next.
const KEPT_ROOM: usize = 1 << 20;

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
            let mut out = Vec::new();
            let mut writer = InputsWriter::new(&mut out, kind);
            inputs.iter().for_each(|input| writer.input(input).unwrap());
            (0..2).for_each(|_| writer.end().unwrap());
            assert_eq!(String::from_utf8(out).unwrap(), golden, "one after another");
        }
    }

    #[test]
    fn a_file_without_inputs_is_the_same_both_ways() {
        let (mut whole, mut streamed) = (Vec::new(), Vec::new());
        write(&mut whole, EndpointKind::Chat, &[]).unwrap();
        InputsWriter::new(&mut streamed, EndpointKind::Chat).end().unwrap();
        assert_eq!(whole, streamed);
    }
}
