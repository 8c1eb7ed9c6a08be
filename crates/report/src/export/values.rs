//! What requests said and what models answered, as values of the export.

use crate::compact::{push_escaped, push_float, push_int, push_string};
use serde_json::Value;
use streamgauge_core::plan::EndpointKind;
use streamgauge_core::record::RawPiece;
use streamgauge_core::tensor::{Datatype, Tensor};

/// Whether a request is tensors by name; else it is a body.
pub(crate) fn has_tensors(kind: EndpointKind) -> bool {
    matches!(kind, EndpointKind::KserveGrpc | EndpointKind::KserveHttp)
}

/// What a request said, as it stands in the export: an object of its inputs by name. `shown` is what `inputs.json` has of it. A
/// body is one input, `payload`, as text; tensors are lists of elements, of which one alone stands without its list.
pub fn request_inputs(kind: EndpointKind, shown: &Value) -> String {
    let mut out = vec![b'{'];
    match shown {
        Value::Object(tensors) if has_tensors(kind) => {
            // The model is no tensor; that tool lets it stand there and does not send it.
            let tensors = tensors.iter().filter(|(name, value)| *name != "model" || !value.is_string());
            for (index, (name, value)) in tensors.enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                push_string(&mut out, name);
                out.push(b':');
                push_given(&mut out, value.get("content").unwrap_or(value));
            }
        }
        body => {
            out.extend_from_slice(b"\"payload\":");
            push_string(&mut out, &body.to_string());
        }
    }
    out.push(b'}');
    // What is escaped byte by byte from UTF-8 is UTF-8; if it were not, no inputs are better than wrong ones.
    String::from_utf8(out).unwrap_or_else(|_| "{}".into())
}

/// Appends a tensor's elements as a user may give them.
fn push_given(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Array(elements) => push_elements(out, elements.len(), elements.iter(), push_given),
        Value::String(text) => push_string(out, text),
        Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
            (Some(number), ..) => push_int(out, number),
            (None, Some(number), _) => push_int(out, number),
            (None, None, number) => push_float(out, number.unwrap_or(f64::NAN)),
        },
        other => out.extend_from_slice(other.to_string().as_bytes()),
    }
}

/// Appends one response's outputs. Gives the number of bytes left out because no character can hold them.
pub(super) fn push_outputs(line: &mut Vec<u8>, outputs: &[Tensor]) -> u64 {
    let mut left_out = 0;
    line.push(b'{');
    for (index, tensor) in outputs.iter().enumerate() {
        if index > 0 {
            line.push(b',');
        }
        push_string(line, &tensor.name);
        line.push(b':');
        left_out += push_tensor(line, tensor);
    }
    line.push(b'}');
    left_out
}

/// Appends a tensor's elements. What that tool cannot read it writes as null: numbers of 16 bits with a fraction, and here also
/// data that is not cut as its type says.
fn push_tensor(line: &mut Vec<u8>, tensor: &Tensor) -> u64 {
    macro_rules! numbers {
        ($type:ty, $push:expr) => {{
            let (numbers, rest) = tensor.data.as_chunks();
            match rest {
                [] => push_elements(line, numbers.len(), numbers.iter(), |line, bytes| {
                    $push(line, <$type>::from_le_bytes(*bytes))
                }),
                _ => line.extend_from_slice(b"null"),
            }
        }};
    }
    match tensor.datatype {
        Datatype::Bool => push_elements(line, tensor.data.len(), tensor.data.iter(), |line, byte| {
            line.extend_from_slice(if *byte == 0 { b"false" } else { b"true" });
        }),
        Datatype::Uint8 => numbers!(u8, push_int),
        Datatype::Uint16 => numbers!(u16, push_int),
        Datatype::Uint32 => numbers!(u32, push_int),
        Datatype::Uint64 => numbers!(u64, push_int),
        Datatype::Int8 => numbers!(i8, push_int),
        Datatype::Int16 => numbers!(i16, push_int),
        Datatype::Int32 => numbers!(i32, push_int),
        Datatype::Int64 => numbers!(i64, push_int),
        // As that tool does, with the digits of 64 bits.
        Datatype::Fp32 => numbers!(f32, |line: &mut Vec<u8>, value| push_float(line, f64::from(value))),
        Datatype::Fp64 => numbers!(f64, push_float),
        Datatype::Fp16 | Datatype::Bf16 => line.extend_from_slice(b"null"),
        Datatype::Bytes => return push_strings(line, &tensor.data),
    }
    0
}

/// Appends the elements of a BYTES tensor. Gives the number of bytes left out because no character can hold them.
fn push_strings(line: &mut Vec<u8>, data: &[u8]) -> u64 {
    let Some(strings) = Tensor::strings(data) else {
        line.extend_from_slice(b"null");
        return data.len() as u64;
    };
    let mut left_out = 0;
    push_elements(line, strings.len(), strings.into_iter(), |line, string| {
        line.push(b'"');
        for chunk in string.utf8_chunks() {
            push_escaped(line, chunk.valid());
            left_out += chunk.invalid().len() as u64;
        }
        line.push(b'"');
    });
    left_out
}

/// Appends elements as a list; one alone without it, and none as the empty text.
fn push_elements<T>(
    out: &mut Vec<u8>,
    count: usize,
    elements: impl Iterator<Item = T>,
    mut push: impl FnMut(&mut Vec<u8>, T),
) {
    match count {
        0 => out.extend_from_slice(b"\"\""),
        1 => elements.for_each(|element| push(out, element)),
        _ => {
            for (index, element) in elements.enumerate() {
                out.push(if index > 0 { b',' } else { b'[' });
                push(out, element);
            }
            out.push(b']');
        }
    }
}

/// Appends one response for each piece. The network cuts where it likes: the beginning of a character that a piece ends
/// in goes to the next piece. Gives the number of bytes left out because no character can hold them.
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

    fn written(datatype: Datatype, data: &[u8]) -> (String, u64) {
        let tensor = Tensor { name: "t".into(), datatype, shape: Vec::new(), data: data.to_vec() };
        let mut line = Vec::new();
        let left_out = push_outputs(&mut line, &[tensor]);
        let text = String::from_utf8(line).unwrap();
        (text.strip_prefix("{\"t\":").unwrap().strip_suffix('}').unwrap().to_owned(), left_out)
    }

    #[test]
    fn outputs_are_read_by_their_type() {
        for (datatype, data, text) in [
            (Datatype::Bool, &[1, 0][..], "[true,false]"),
            (Datatype::Uint8, &[255], "255"),
            (Datatype::Int8, &[255, 1], "[-1,1]"),
            (Datatype::Uint16, &[0, 1], "256"),
            (Datatype::Int16, &[254, 255], "-2"),
            (Datatype::Uint32, &[255, 255, 255, 255], "4294967295"),
            (Datatype::Int32, &[255, 255, 255, 255], "-1"),
            (Datatype::Uint64, &[255; 8], "18446744073709551615"),
            (Datatype::Int64, &[255; 8], "-1"),
            (Datatype::Fp32, &0.1_f32.to_le_bytes(), "0.10000000149011612"),
            (Datatype::Fp64, &f64::INFINITY.to_le_bytes(), "null"),
            (Datatype::Fp64, &0.1_f64.to_le_bytes(), "0.1"),
            (Datatype::Fp16, &[0, 60], "null"),
            (Datatype::Int32, &[1, 2, 3], "null"),
            (Datatype::Int32, &[], "\"\""),
            (Datatype::Bytes, &[], "\"\""),
            (Datatype::Bytes, &[1, 0, 0, 0, b'a', 0, 0, 0, 0], r#"["a",""]"#),
        ] {
            assert_eq!(written(datatype, data), (text.to_owned(), 0), "{datatype}");
        }
        assert_eq!(written(Datatype::Bytes, &[4, 0, 0, 0, b'a', 0xff, 0xc3, 0xa9]), ("\"aé\"".to_owned(), 1));
        assert_eq!(written(Datatype::Bytes, &[9, 0, 0, 0, b'a']), ("null".to_owned(), 5));
    }
}
