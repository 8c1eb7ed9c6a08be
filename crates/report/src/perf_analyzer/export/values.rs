//! The contents of requests and of answers, as values of the export.

use crate::text::compact::{self, push_escaped, push_float, push_int, push_string};
use serde_json::{Map, Value};
use streamgauge_core::plan::EndpointKind;
use streamgauge_core::record::RawPiece;
use streamgauge_wire::endpoints::spec;

/// The inputs of a request in the form of the export: an object with a member for each input. `shown` is the request's entry in
/// `inputs.json`. A body is one input, `payload`, as text. A tensor is the list of its elements; a single element is written without the
/// list, and a tensor without elements as an empty text.
pub fn request_inputs(kind: EndpointKind, shown: &Value) -> String {
    let mut out = Vec::new();
    match shown {
        Value::Object(tensors) if spec(kind).capabilities.tensors => {
            // The model is not a tensor; Perf Analyzer keeps it in the file and does not send it.
            let tensors = tensors.iter().filter(|(name, value)| *name != "model" || !value.is_string());
            push_members(&mut out, tensors, push_tensor);
        }
        body => {
            out.extend_from_slice(b"{\"payload\":");
            push_string(&mut out, &body.to_string());
            out.push(b'}');
        }
    }
    // Escaping UTF-8 byte by byte yields UTF-8; otherwise no inputs would be better than wrong ones.
    String::from_utf8(out).unwrap_or_else(|_| "{}".into())
}

/// Appends a tensor in one of the forms in which it may be given: its elements, or those with a shape.
fn push_tensor(out: &mut Vec<u8>, tensor: &Value) {
    let content = tensor.get("content").unwrap_or(tensor);
    match content {
        Value::Array(elements) => match elements.as_slice() {
            [] => out.extend_from_slice(b"\"\""),
            [element] => push_value(out, element),
            _ => push_value(out, content),
        },
        _ => push_value(out, content),
    }
}

/// Appends one response's outputs by name, each an element or a list of them.
pub(super) fn push_outputs(line: &mut Vec<u8>, outputs: &Map<String, Value>) {
    push_members(line, outputs.iter(), push_value);
}

fn push_members<'a>(
    out: &mut Vec<u8>,
    members: impl Iterator<Item = (&'a String, &'a Value)>,
    push: impl Fn(&mut Vec<u8>, &Value),
) {
    out.push(b'{');
    for (index, (name, value)) in members.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        push_string(out, name);
        out.push(b':');
        push(out, value);
    }
    out.push(b'}');
}

/// Appends a value with strings and floats as that tool writes them.
fn push_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Array(elements) => {
            out.push(b'[');
            for (index, element) in elements.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                push_value(out, element);
            }
            out.push(b']');
        }
        Value::String(text) => push_string(out, text),
        Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
            (Some(number), ..) => push_int(out, number),
            (None, Some(number), _) => push_int(out, number),
            (None, None, number) => push_float(out, number.unwrap_or(f64::NAN)),
        },
        Value::Object(members) => push_members(out, members.iter(), push_value),
        Value::Bool(_) | Value::Null => compact::push_value(out, value),
    }
}

/// Appends one response for each piece. The network cuts where it likes: the beginning of a character that a piece ends
/// in goes to the next piece. Returns the number of bytes left out because they are not UTF-8.
pub(super) fn push_responses(line: &mut Vec<u8>, raw: &[RawPiece]) -> u64 {
    let mut left_out = 0;
    let mut carried = Vec::new();
    for (index, piece) in raw.iter().enumerate() {
        line.extend_from_slice(if index > 0 { b",{\"response\":\"" } else { b"{\"response\":\"" });
        if carried.is_empty() {
            left_out += push_decodable(line, &piece.bytes, &mut carried);
        } else {
            let mut whole = std::mem::take(&mut carried);
            whole.extend_from_slice(&piece.bytes);
            left_out += push_decodable(line, &whole, &mut carried);
        }
        line.extend_from_slice(b"\"}");
    }
    left_out + carried.len() as u64
}

/// Appends what of `bytes` is text. Bytes that begin a character at the end go to `carried`; others are left out, and
/// their number is the result.
fn push_decodable(line: &mut Vec<u8>, bytes: &[u8], carried: &mut Vec<u8>) -> u64 {
    let mut left_out = 0;
    for chunk in bytes.utf8_chunks() {
        push_escaped(line, chunk.valid());
        let rest = chunk.invalid();
        let at_end = rest.as_ptr_range().end == bytes.as_ptr_range().end;
        if at_end && is_cut(rest) {
            carried.extend_from_slice(rest);
        } else {
            left_out += rest.len() as u64;
        }
    }
    left_out
}

/// Whether `bytes` are the beginning of a character whose end may still come.
fn is_cut(bytes: &[u8]) -> bool {
    matches!(std::str::from_utf8(bytes), Err(error) if error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use streamgauge_core::Nanos;

    #[test]
    fn characters_cut_by_the_network_are_whole_again_in_the_next_piece() {
        let texts = |pieces: &[&[u8]]| {
            let raw: Vec<RawPiece> =
                pieces.iter().map(|bytes| RawPiece { at: Nanos::ZERO, bytes: bytes.to_vec() }).collect();
            let mut line = vec![b'['];
            let left_out = push_responses(&mut line, &raw);
            line.push(b']');
            let read: Value = serde_json::from_slice(&line).unwrap();
            let text = |response: &Value| response["response"].as_str().unwrap().to_owned();
            (read.as_array().unwrap().iter().map(text).collect::<Vec<_>>(), left_out)
        };
        assert_eq!(texts(&[b"a\xf0\x9f", b"\x98", b"\x80b"]), (vec!["a".into(), "".into(), "\u{1f600}b".into()], 0));
        assert_eq!(texts(&[b"a\xffb", b"\xe2\x82", b"c"]), (vec!["ab".into(), "".into(), "c".into()], 3));
        assert_eq!(texts(&[b"end\xe2\x82"]), (vec!["end".into()], 2));
    }

    #[test]
    fn inputs_are_the_tensors_that_were_shown() {
        let shown = serde_json::json!({
            "model": "m",
            "text_input": ["a\n\"b\""],
            "flags": [true, false],
            "INPUT0": {"content": [1, -2, 18_446_744_073_709_551_615_u64], "shape": [3]},
            "INPUT1": [1.5e31, -1e-12, 0.0],
            "none": [],
        });
        let expected = concat!(
            r#"{"text_input":"a\n\"b\"","flags":[true,false],"INPUT0":[1,-2,18446744073709551615],"#,
            r#""INPUT1":[1.5e31,-1e-12,0.0],"none":""}"#,
        );
        assert_eq!(request_inputs(EndpointKind::KserveHttp, &shown), expected);
        // To another endpoint it is a body like any other, and a tensor may be called `model`.
        let body = serde_json::json!({"model": "m"});
        assert_eq!(request_inputs(EndpointKind::Generate, &body), r#"{"payload":"{\"model\":\"m\"}"}"#);
        assert_eq!(request_inputs(EndpointKind::KserveGrpc, &serde_json::json!({"model": [7]})), r#"{"model":7}"#);
    }

    #[test]
    fn outputs_stand_by_name_in_their_order() {
        let outputs = serde_json::json!({
            "text": "a\u{7}é", "none": "", "flags": [true, false], "count": -3, "most": u64::MAX, "x": [0.5, 1e-9], "n": null,
        });
        let mut line = Vec::new();
        push_outputs(&mut line, outputs.as_object().unwrap());
        let expected = concat!(
            r#"{"text":"a\u0007é","none":"","flags":[true,false],"count":-3,"most":18446744073709551615,"#,
            r#""x":[0.5,1e-9],"n":null}"#
        );
        assert_eq!(String::from_utf8(line).unwrap(), expected);
    }
}
