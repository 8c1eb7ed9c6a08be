//! One member of a step, as a tensor.

use super::element::{Scalar, push};
use super::json::{Fault, Node, Value};
use super::shape;
use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use streamgauge_core::tensor::{Datatype, Tensor, TensorSpec};

/// What a tensor may look like.
const FORM: &str = "an array of values, {\"b64\": ..}, or {\"content\": .., \"shape\": ..}";

/// Whether a tensor goes to the model or is expected of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Input,
    Output,
}

/// The tensor that `node` gives for `spec`, without a batch dimension; `known` is its shape where it is known beforehand.
pub(super) fn tensor(node: &Node<'_>, spec: &TensorSpec, known: Option<&[i64]>, role: Role) -> Result<Tensor, Fault> {
    let Parts { content, shape: given } = parts(node)?;
    let Values { data, elements, nested } = match &content.value {
        Value::Array(values) => of_array(values, spec.datatype)?,
        Value::String(encoded) => of_base64(encoded, content.at, spec.datatype)?,
        _ => return Err(Fault::new(content.at, format!("{} is not {FORM}", content.kind()))),
    };
    let shape = match (given.or(nested), known, role) {
        (Some(shape), ..) => shape,
        (None, Some(known), _) => known.to_vec(),
        (None, None, Role::Input) => {
            let way = "or the shape beside the content";
            return Err(Fault::new(node.at, format!("{}, {way}", shape::open(spec))));
        }
        (None, None, Role::Output) => shape::filled(&spec.shape, elements).ok_or_else(|| {
            let shape = shape::shown(&spec.shape);
            Fault::new(
                node.at,
                format!("{elements} values do not fill shape {shape}; give the shape beside the content"),
            )
        })?,
    };
    if !shape::fits(&shape, &spec.shape) {
        let (ours, models) = (shape::shown(&shape), shape::shown(&spec.shape));
        return Err(Fault::new(node.at, format!("shape {ours} does not fit the model's {models}")));
    }
    if Tensor::elements(&shape) != Some(elements) {
        return Err(Fault::new(node.at, miscount(&shape, spec.datatype, elements, data.len())));
    }
    Ok(Tensor { name: spec.name.clone(), datatype: spec.datatype, shape, data })
}

/// What to say where values do not fill a shape.
fn miscount(shape: &[i64], datatype: Datatype, elements: u64, bytes: usize) -> String {
    let wanted = Tensor::elements(shape).map_or("too many".to_owned(), |wanted| wanted.to_string());
    let shape = shape::shown(shape);
    match datatype.size() {
        Some(size) => {
            format!(
                "{elements} values ({bytes} bytes of {datatype}, {size} each) do not fill shape {shape}, which has {wanted}"
            )
        }
        None => format!("{elements} values do not fill shape {shape}, which has {wanted}"),
    }
}

/// A member taken apart.
struct Parts<'n, 'a> {
    /// An array of values, or a string of base64.
    content: &'n Node<'a>,
    shape: Option<Vec<i64>>,
}

fn parts<'n, 'a>(node: &'n Node<'a>) -> Result<Parts<'n, 'a>, Fault> {
    let members = match &node.value {
        Value::Array(_) => return Ok(Parts { content: node, shape: None }),
        Value::Object(members) => members,
        _ => return Err(Fault::new(node.at, format!("{} is not {FORM}", node.kind()))),
    };
    let (mut content, mut shape) = (None, None);
    for (name, member) in members {
        match name.as_ref() {
            "shape" => shape = Some(dimensions(member)?),
            "content" | "b64" if content.is_some() => {
                return Err(Fault::new(member.at, "both content and b64 are given; one of them is accepted"));
            }
            "content" => {
                content = Some(match &member.value {
                    Value::Object(inner) => match &inner[..] {
                        [(name, encoded)] if name == "b64" => base64_text(encoded)?,
                        _ => return Err(Fault::new(member.at, "an object as content is {\"b64\": ..}")),
                    },
                    Value::Array(_) => member,
                    _ => {
                        let reason = format!("{} is not content: an array or {{\"b64\": ..}}", member.kind());
                        return Err(Fault::new(member.at, reason));
                    }
                });
            }
            "b64" => content = Some(base64_text(member)?),
            _ => {
                return Err(Fault::new(
                    member.at,
                    format!("`{name}` is not known here; known are content, shape and b64"),
                ));
            }
        }
    }
    let content = content.ok_or_else(|| Fault::new(node.at, format!("content is missing; a tensor is {FORM}")))?;
    Ok(Parts { content, shape })
}

fn base64_text<'n, 'a>(node: &'n Node<'a>) -> Result<&'n Node<'a>, Fault> {
    match node.value {
        Value::String(_) => Ok(node),
        _ => Err(Fault::new(node.at, format!("{} is not b64, which is a string", node.kind()))),
    }
}

fn dimensions(node: &Node<'_>) -> Result<Vec<i64>, Fault> {
    let refuse = |at: &Node<'_>| Fault::new(at.at, "a shape is an array of whole numbers of at least 0");
    let Value::Array(dims) = &node.value else { return Err(refuse(node)) };
    let dims = dims.iter().map(|dim| match dim.value {
        Value::Number(text) => text.parse().ok().filter(|dim: &i64| *dim >= 0).ok_or_else(|| refuse(dim)),
        _ => Err(refuse(dim)),
    });
    dims.collect()
}

/// Values as bytes.
struct Values {
    data: Vec<u8>,
    elements: u64,
    /// The shape that arrays within arrays have; a flat array says nothing of a shape.
    nested: Option<Vec<i64>>,
}

fn of_base64(encoded: &str, at: usize, datatype: Datatype) -> Result<Values, Fault> {
    const ENGINE: GeneralPurpose = GeneralPurpose::new(
        &base64::alphabet::STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    let compact: String = encoded.split_ascii_whitespace().collect();
    let data = ENGINE.decode(compact).map_err(|error| Fault::new(at, format!("this is not base64: {error}")))?;
    let elements = elements(&data, datatype).map_err(|reason| Fault::new(at, reason))?;
    Ok(Values { data, elements, nested: None })
}

/// How many elements raw bytes are.
pub(super) fn elements(data: &[u8], datatype: Datatype) -> Result<u64, String> {
    match datatype.size() {
        Some(size) if data.len().is_multiple_of(size) => Ok((data.len() / size) as u64),
        Some(size) => Err(format!("{} bytes are no elements of {datatype}, which have {size} each", data.len())),
        None => match Tensor::strings(data) {
            Some(strings) => Ok(strings.len() as u64),
            None => Err("bytes of BYTES are strings, each behind its length in 4 bytes, and these are not".to_owned()),
        },
    }
}

fn of_array(values: &[Node<'_>], datatype: Datatype) -> Result<Values, Fault> {
    let mut filler = Filler { datatype, data: Vec::new(), elements: 0, shape: Vec::new(), leaves: None };
    filler.fill(values, 0)?;
    let Filler { data, elements, shape, .. } = filler;
    Ok(Values { data, elements, nested: (shape.len() > 1).then_some(shape) })
}

/// Takes values out of arrays within arrays, all alike.
struct Filler {
    datatype: Datatype,
    data: Vec<u8>,
    elements: u64,
    /// Lengths of the arrays at each level.
    shape: Vec<i64>,
    /// The level at which the values are.
    leaves: Option<usize>,
}

impl Filler {
    fn fill(&mut self, values: &[Node<'_>], level: usize) -> Result<(), Fault> {
        // An array in memory is no longer than an i64.
        let length = values.len() as i64;
        if self.shape.len() == level {
            self.shape.push(length);
        }
        for node in values {
            let scalar = match &node.value {
                Value::Array(inner) => {
                    if self.leaves.is_some_and(|leaves| leaves <= level) {
                        return Err(Fault::new(node.at, "an array is among values; a level has the one or the other"));
                    }
                    let known = self.shape.get(level + 1).copied();
                    if let Some(known) = known.filter(|known| *known != inner.len() as i64) {
                        let reason = format!("an array of {} is beside arrays of {known}", inner.len());
                        return Err(Fault::new(node.at, reason));
                    }
                    self.fill(inner, level + 1)?;
                    continue;
                }
                Value::Bool(value) => Scalar::Bool(*value),
                Value::Number(text) => Scalar::Number(text),
                Value::String(text) => Scalar::Text(text),
                Value::Null | Value::Object(_) => {
                    return Err(Fault::new(node.at, format!("{} is not a value of {}", node.kind(), self.datatype)));
                }
            };
            if self.shape.len() > level + 1 || self.leaves.is_some_and(|leaves| leaves != level) {
                return Err(Fault::new(node.at, "a value is among arrays; a level has the one or the other"));
            }
            self.leaves = Some(level);
            push(self.datatype, scalar, &mut self.data).map_err(|reason| Fault::new(node.at, reason))?;
            self.elements += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensors::json::parse;

    fn spec(datatype: Datatype, shape: &[i64]) -> TensorSpec {
        TensorSpec { name: "x".into(), datatype, shape: shape.to_vec(), optional: false, is_shape: false }
    }

    fn read(text: &str, datatype: Datatype, model: &[i64], role: Role) -> Result<Tensor, String> {
        let spec = spec(datatype, model);
        let known = shape::of(&spec, &[]).filter(|_| role == Role::Input);
        tensor(&parse(text).unwrap(), &spec, known, role).map_err(|fault| format!("{}: {}", fault.at, fault.reason))
    }

    #[test]
    fn all_forms_give_the_same_tensor() {
        let flat = read("[1,2,3,4]", Datatype::Uint16, &[2, 2], Role::Input).unwrap();
        assert_eq!((flat.shape.as_slice(), flat.data.as_slice()), (&[2, 2][..], &[1, 0, 2, 0, 3, 0, 4, 0][..]));
        for text in [
            "[[1,2],[3,4]]",
            r#"{"b64":"AQACAAMABAA="}"#,
            r#"{"b64":"AQAC AAMA\nBAA"}"#,
            r#"{"content":[1,2,3,4]}"#,
            r#"{"content":[1,2,3,4],"shape":[2,2]}"#,
            r#"{"shape":[2,2],"content":{"b64":"AQACAAMABAA="}}"#,
            r#"{"content":[[1,2],[3,4]]}"#,
        ] {
            assert_eq!(read(text, Datatype::Uint16, &[2, 2], Role::Input).unwrap(), flat, "{text}");
        }
        let open = read(r#"{"content":[1,2,3],"shape":[3,1]}"#, Datatype::Int8, &[-1, 1], Role::Input).unwrap();
        assert_eq!(open.shape, [3, 1]);
        assert_eq!(read("[[1],[2]]", Datatype::Int8, &[-1, 1], Role::Input).unwrap().shape, [2, 1]);
        assert_eq!(read("[1,2,3]", Datatype::Int8, &[-1, 1], Role::Output).unwrap().shape, [3, 1]);
        let strings = read(r#"{"b64":"AgAAAGhpAAAAAA=="}"#, Datatype::Bytes, &[2], Role::Input).unwrap();
        assert_eq!(Tensor::strings(&strings.data), Some(vec![&b"hi"[..], b""]));
        assert_eq!(read(r#"["hi",""]"#, Datatype::Bytes, &[2], Role::Input).unwrap(), strings);
    }

    #[test]
    fn what_is_no_tensor_is_refused_where_it_goes_wrong() {
        for (text, reason) in [
            ("5", format!("0: a number is not {FORM}")),
            ("{}", format!("0: content is missing; a tensor is {FORM}")),
            (r#"{"shape":[2]}"#, format!("0: content is missing; a tensor is {FORM}")),
            (r#"{"content":5}"#, "11: a number is not content: an array or {\"b64\": ..}".into()),
            (r#"{"content":{"x":1}}"#, "11: an object as content is {\"b64\": ..}".into()),
            (r#"{"b64":5}"#, "7: a number is not b64, which is a string".into()),
            (r#"{"b64":"A!"}"#, "7: this is not base64: Invalid symbol 33, offset 1.".into()),
            (r#"{"b64":"AQ=="}"#, "7: 1 bytes are no elements of INT16, which have 2 each".into()),
            (r#"{"b64":"AQA="}"#, "0: 1 values (2 bytes of INT16, 2 each) do not fill shape [2,2], which has 4".into()),
            (r#"{"content":[1],"b64":""}"#, "21: both content and b64 are given; one of them is accepted".into()),
            (r#"{"data":[1]}"#, "8: `data` is not known here; known are content, shape and b64".into()),
            (r#"{"content":[1],"shape":[-1]}"#, "24: a shape is an array of whole numbers of at least 0".into()),
            (r#"{"content":[1],"shape":[1]}"#, "0: shape [1] does not fit the model's [2,2]".into()),
            ("[[1,2]]", "0: shape [1,2] does not fit the model's [2,2]".into()),
            (
                r#"{"content":[1],"shape":[9223372036854775807,9]}"#,
                "0: shape [9223372036854775807,9] does not fit the model's [2,2]".into(),
            ),
            ("[[1,2],[3]]", "7: an array of 1 is beside arrays of 2".into()),
            ("[[1,2],3]", "7: a value is among arrays; a level has the one or the other".into()),
            ("[1,[2]]", "3: an array is among values; a level has the one or the other".into()),
            ("[[[1]],[2]]", "8: a value is among arrays; a level has the one or the other".into()),
            ("[1,null]", "3: null is not a value of INT16".into()),
            ("[1,70000]", "3: 70000 is out of range for INT16 (-32768 to 32767)".into()),
        ] {
            assert_eq!(read(text, Datatype::Int16, &[2, 2], Role::Input).unwrap_err(), reason, "{text}");
        }
        let way = "0: input x has shape [-1,4]: give --shape x:D,4, or the shape beside the content";
        assert_eq!(read("[1,2,3,4]", Datatype::Fp32, &[-1, 4], Role::Input).unwrap_err(), way);
        let strings = "7: bytes of BYTES are strings, each behind its length in 4 bytes, and these are not";
        assert_eq!(read(r#"{"b64":"AQ=="}"#, Datatype::Bytes, &[1], Role::Input).unwrap_err(), strings);
        let fill = "0: 3 values do not fill shape [-1,2]; give the shape beside the content";
        assert_eq!(read("[1,2,3]", Datatype::Fp32, &[-1, 2], Role::Output).unwrap_err(), fill);
        let huge = r#"{"content":["a"],"shape":[9223372036854775807,9]}"#;
        let many = "0: 1 values do not fill shape [9223372036854775807,9], which has too many";
        assert_eq!(read(huge, Datatype::Bytes, &[-1, -1], Role::Input).unwrap_err(), many);
    }
}
