//! Answers of gRPC inference, read in one pass without copies: a response with few outputs needs no allocation.
//!
//! The result is the same as that of the generated code, with two differences that no server's answer shows: a message that holds another
//! one twice (which protobuf would merge) is refused, and texts that are not used need not be UTF-8.

use crate::kserve::infer::fields::{Broken, Field, Fields, OTHER_TYPE, utf8};
use crate::kserve::infer::outputs::{Output, Response};
use crate::kserve::proto::InferTensorContents;
use prost::Message;
use smallvec::SmallVec;
use std::borrow::Cow;
use streamgauge_core::tensor::{Datatype, Tensor};

/// A `ModelStreamInferResponse`.
#[derive(Debug, Default)]
pub(crate) struct StreamMessage<'a> {
    /// The error; empty if there is none.
    pub(crate) error: &'a str,
    /// The response.
    pub(crate) response: Option<InferMessage<'a>>,
}

impl<'a> StreamMessage<'a> {
    /// Reads it.
    ///
    /// # Errors
    /// When the bytes are something else.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<StreamMessage<'a>, String> {
        let mut message = StreamMessage::default();
        for field in Fields(bytes) {
            match field? {
                (1, Field::Bytes(text)) => message.error = utf8(text)?,
                (2, Field::Bytes(bytes)) => once(&mut message.response, InferMessage::read(bytes)?)?,
                (1..=2, _) => return Err(OTHER_TYPE.to_owned()),
                _ => {}
            }
        }
        Ok(message)
    }
}

/// A `ModelInferResponse`.
#[derive(Debug, Default)]
pub(crate) struct InferMessage<'a> {
    /// The id of the request that it answers.
    pub(crate) id: &'a str,
    /// Whether it is the last one of the request, if it says that.
    pub(crate) is_final: Option<bool>,
    outputs: SmallVec<[OutputFields<'a>; FEW]>,
    raw: SmallVec<[&'a [u8]; FEW]>,
}

/// The usual number of outputs in the response of an LLM.
const FEW: usize = 4;

impl<'a> InferMessage<'a> {
    /// Reads it.
    ///
    /// # Errors
    /// When the bytes are something else.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<InferMessage<'a>, String> {
        let mut message = InferMessage::default();
        for field in Fields(bytes) {
            match field? {
                (1 | 2, Field::Bytes(_)) => {}
                (3, Field::Bytes(id)) => message.id = utf8(id)?,
                (4, Field::Bytes(entry)) => {
                    if let Some(flag) = final_flag(entry)? {
                        message.is_final = Some(flag);
                    }
                }
                (5, Field::Bytes(output)) => message.outputs.push(OutputFields::read(output)?),
                (6, Field::Bytes(raw)) => message.raw.push(raw),
                (1..=6, _) => return Err(OTHER_TYPE.to_owned()),
                _ => {}
            }
        }
        let (outputs, raw) = (message.outputs.len(), message.raw.len());
        // The data of outputs without contents of their own are found by the outputs' places.
        if raw != 0 && raw != outputs && raw != message.outputs.iter().filter(|output| !output.elsewhere).count() {
            return Err(format!("{outputs} outputs and {raw} contents"));
        }
        Ok(message)
    }
}

impl<'a> Response<'a> for InferMessage<'a> {
    fn outputs(&self) -> impl Iterator<Item = Result<Output<'a>, String>> {
        let everywhere = self.raw.len() == self.outputs.len();
        let mut raw = self.raw.iter().copied();
        self.outputs.iter().map(move |output| {
            let raw = if everywhere || !output.elsewhere { raw.next() } else { None };
            output.with(raw)
        })
    }
}

/// An `InferOutputTensor`.
#[derive(Debug, Default)]
struct OutputFields<'a> {
    name: &'a str,
    /// `None` if the type is not known.
    datatype: Option<Datatype>,
    /// The product of its dimensions, if it is not too large.
    elements: Option<u64>,
    /// Whether its data are in shared memory.
    elsewhere: bool,
    contents: Option<&'a [u8]>,
}

impl<'a> OutputFields<'a> {
    fn read(bytes: &'a [u8]) -> Result<OutputFields<'a>, Broken> {
        let mut output = OutputFields { elements: Some(1), ..OutputFields::default() };
        for field in Fields(bytes) {
            match field? {
                (1, Field::Bytes(name)) => output.name = utf8(name)?,
                (2, Field::Bytes(name)) => output.datatype = Datatype::of_name(utf8(name)?),
                (3, Field::Varint(dim)) => output.dimension(dim),
                (3, Field::Bytes(packed)) => {
                    let mut packed = Fields(packed);
                    while !packed.0.is_empty() {
                        output.dimension(packed.varint()?);
                    }
                }
                (4, Field::Bytes(entry)) => output.elsewhere |= entry_of(entry)?.0 == b"shared_memory_region",
                (5, Field::Bytes(contents)) => once(&mut output.contents, contents)?,
                (1..=5, _) => return Err(OTHER_TYPE),
                _ => {}
            }
        }
        Ok(output)
    }

    fn dimension(&mut self, dim: u64) {
        let dim = i64::try_from(dim).ok().map(i64::unsigned_abs);
        self.elements = self.elements.zip(dim).and_then(|(product, dim)| product.checked_mul(dim));
    }

    /// The output with its data: those in `raw`, or its own contents.
    fn with(&self, raw: Option<&'a [u8]>) -> Result<Output<'a>, String> {
        let data = match (raw, self.contents) {
            _ if self.elsewhere => None,
            (Some(raw), _) => Some(Cow::Borrowed(raw)),
            (None, Some(contents)) => Some(Cow::Owned(raw_contents(self.datatype, contents)?)),
            // No contents are valid for no elements.
            (None, None) => Some(Cow::Borrowed(&[][..])),
        };
        Ok(Output { name: Cow::Borrowed(self.name), datatype: self.datatype, elements: self.elements, data })
    }
}

/// Contents in typed fields, as bytes.
fn raw_contents(datatype: Option<Datatype>, contents: &[u8]) -> Result<Vec<u8>, String> {
    let contents = InferTensorContents::decode(contents).map_err(|error| error.to_string())?;
    let mut data = Vec::new();
    match datatype {
        Some(Datatype::Bool) => data.extend(contents.bool_contents.iter().map(|value| u8::from(*value))),
        Some(Datatype::Int8) => data.extend(contents.int_contents.iter().map(|value| *value as u8)),
        Some(Datatype::Int16) => {
            data.extend(contents.int_contents.iter().flat_map(|value| (*value as i16).to_le_bytes()))
        }
        Some(Datatype::Int32) => data.extend(contents.int_contents.iter().flat_map(|value| value.to_le_bytes())),
        Some(Datatype::Int64) => data.extend(contents.int64_contents.iter().flat_map(|value| value.to_le_bytes())),
        Some(Datatype::Uint8) => data.extend(contents.uint_contents.iter().map(|value| *value as u8)),
        Some(Datatype::Uint16) => {
            data.extend(contents.uint_contents.iter().flat_map(|value| (*value as u16).to_le_bytes()))
        }
        Some(Datatype::Uint32) => data.extend(contents.uint_contents.iter().flat_map(|value| value.to_le_bytes())),
        Some(Datatype::Uint64) => data.extend(contents.uint64_contents.iter().flat_map(|value| value.to_le_bytes())),
        Some(Datatype::Fp32) => data.extend(contents.fp32_contents.iter().flat_map(|value| value.to_le_bytes())),
        Some(Datatype::Fp64) => data.extend(contents.fp64_contents.iter().flat_map(|value| value.to_le_bytes())),
        Some(Datatype::Bytes) => contents.bytes_contents.iter().for_each(|value| Tensor::push_string(&mut data, value)),
        Some(Datatype::Fp16 | Datatype::Bf16) | None => {
            return Err("an output whose type has no contents but raw ones".to_owned());
        }
    }
    Ok(data)
}

/// The value of `triton_final_response`, if this entry of a response's parameters has it.
fn final_flag(entry: &[u8]) -> Result<Option<bool>, Broken> {
    let (b"triton_final_response", value) = entry_of(entry)? else { return Ok(None) };
    let mut flag = None;
    for field in Fields(value) {
        match field? {
            (1, Field::Varint(value)) => flag = Some(value != 0),
            (1, _) => return Err(OTHER_TYPE),
            // A value of another type is ignored.
            _ => {}
        }
    }
    Ok(flag)
}

/// Key and value of a map's entry.
fn entry_of(entry: &[u8]) -> Result<(&[u8], &[u8]), Broken> {
    let (mut key, mut value) = (&[][..], &[][..]);
    for field in Fields(entry) {
        match field? {
            (1, Field::Bytes(bytes)) => key = bytes,
            (2, Field::Bytes(bytes)) => value = bytes,
            (1..=2, _) => return Err(OTHER_TYPE),
            _ => {}
        }
    }
    Ok((key, value))
}

fn once<T>(place: &mut Option<T>, value: T) -> Result<(), Broken> {
    if place.replace(value).is_some() { Err("one message twice in another") } else { Ok(()) }
}
