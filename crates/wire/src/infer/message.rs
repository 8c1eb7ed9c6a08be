//! Answers of gRPC inference, read where they lie: a response costs no allocation.
//!
//! It reads the same as the generated code, of messages that hold each other message at most once; those that do not (which
//! protobuf would merge and no server sends) are refused.

use crate::infer::answer::{Output, Response};
use crate::proto::InferTensorContents;
use prost::Message;
use prost::encoding::{WireType, decode_key, decode_varint};
use std::borrow::Cow;
use streamgauge_core::tensor::{Datatype, Tensor};

/// A `ModelStreamInferResponse`.
#[derive(Debug, Default)]
pub(crate) struct StreamMessage<'a> {
    /// What went wrong; empty when nothing did.
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
                (number @ 1..=2, _) => return Err(wrong(number)),
                _ => {}
            }
        }
        Ok(message)
    }
}

/// A `ModelInferResponse`.
#[derive(Debug, Default)]
pub(crate) struct InferMessage<'a> {
    /// The request that it answers.
    pub(crate) id: &'a str,
    /// Whether it is the request's last one, where it says so.
    pub(crate) is_final: Option<bool>,
    bytes: &'a [u8],
    outputs: usize,
    raw: usize,
}

impl<'a> InferMessage<'a> {
    /// Reads it.
    ///
    /// # Errors
    /// When the bytes are something else.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<InferMessage<'a>, String> {
        let mut message = InferMessage { bytes, ..InferMessage::default() };
        let mut elsewhere = 0;
        for field in Fields(bytes) {
            match field? {
                (1 | 2, Field::Bytes(text)) => {
                    utf8(text)?;
                }
                (3, Field::Bytes(id)) => message.id = utf8(id)?,
                (4, Field::Bytes(entry)) => {
                    if let Some(flag) = final_flag(entry)? {
                        message.is_final = Some(flag);
                    }
                }
                (5, Field::Bytes(output)) => {
                    message.outputs += 1;
                    elsewhere += usize::from(OutputFields::read(output)?.elsewhere);
                }
                (6, Field::Bytes(_)) => message.raw += 1,
                (number @ 1..=6, _) => return Err(wrong(number)),
                _ => {}
            }
        }
        // Without contents of their own, outputs are told apart by their place.
        if ![0, message.outputs, message.outputs - elsewhere].contains(&message.raw) {
            return Err(format!("{} outputs and {} contents", message.outputs, message.raw));
        }
        Ok(message)
    }
}

impl<'a> Response<'a> for InferMessage<'a> {
    fn outputs(&self) -> impl Iterator<Item = Result<Output<'a>, String>> {
        let fields = |number: u32| {
            Fields(self.bytes).filter_map(move |field| match field {
                Ok((found, Field::Bytes(bytes))) if found == number => Some(bytes),
                _ => None,
            })
        };
        let mut raw = fields(6);
        let everywhere = self.raw == self.outputs;
        let any = self.raw > 0;
        fields(5).map(move |bytes| {
            let output = OutputFields::read(bytes)?;
            let raw = if any && (everywhere || !output.elsewhere) { raw.next() } else { None };
            output.with(raw)
        })
    }
}

/// An `InferOutputTensor`.
#[derive(Default)]
struct OutputFields<'a> {
    name: &'a str,
    datatype: &'a str,
    /// The product of its dimensions, where that can be counted.
    elements: Option<u64>,
    /// Its data lie in shared memory.
    elsewhere: bool,
    contents: Option<&'a [u8]>,
}

impl<'a> OutputFields<'a> {
    fn read(bytes: &'a [u8]) -> Result<OutputFields<'a>, String> {
        let mut output = OutputFields { elements: Some(1), ..OutputFields::default() };
        for field in Fields(bytes) {
            match field? {
                (1, Field::Bytes(name)) => output.name = utf8(name)?,
                (2, Field::Bytes(name)) => output.datatype = utf8(name)?,
                (3, Field::Varint(dim)) => output.dimension(dim),
                (3, Field::Bytes(mut packed)) => {
                    while !packed.is_empty() {
                        output.dimension(varint(&mut packed)?);
                    }
                }
                (4, Field::Bytes(entry)) => output.elsewhere |= entry_key(entry)? == "shared_memory_region",
                (5, Field::Bytes(contents)) => once(&mut output.contents, contents)?,
                (number @ 1..=5, _) => return Err(wrong(number)),
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
    fn with(self, raw: Option<&'a [u8]>) -> Result<Output<'a>, String> {
        let datatype = Datatype::of_name(self.datatype);
        let data = match (raw, self.contents) {
            _ if self.elsewhere => None,
            (Some(raw), _) => Some(Cow::Borrowed(raw)),
            (None, Some(contents)) => Some(Cow::Owned(raw_contents(datatype, contents)?)),
            // No contents at all: none of no elements.
            (None, None) => Some(Cow::Borrowed(&[][..])),
        };
        Ok(Output { name: Cow::Borrowed(self.name), datatype, elements: self.elements, data })
    }
}

/// Contents that came as numbers and strings, as bytes.
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

/// What the entry of a response's parameters says of `triton_final_response`, if it is of that.
fn final_flag(entry: &[u8]) -> Result<Option<bool>, String> {
    if entry_key(entry)? != "triton_final_response" {
        return Ok(None);
    }
    let mut flag = None;
    for field in Fields(entry) {
        let (2, Field::Bytes(value)) = field? else { continue };
        for field in Fields(value) {
            // The parameter's value may be of other kinds, which say nothing here.
            flag = match field? {
                (1, Field::Varint(value)) => Some(value != 0),
                (1, _) => return Err(wrong(1)),
                _ => flag,
            };
        }
    }
    Ok(flag)
}

/// The key of a map's entry.
fn entry_key(entry: &[u8]) -> Result<&str, String> {
    let mut key = "";
    for field in Fields(entry) {
        match field? {
            (1, Field::Bytes(bytes)) => key = utf8(bytes)?,
            (2, Field::Bytes(_)) => {}
            (number @ 1..=2, _) => return Err(wrong(number)),
            _ => {}
        }
    }
    Ok(key)
}

fn once<T>(place: &mut Option<T>, value: T) -> Result<(), String> {
    if place.replace(value).is_some() { Err("one message twice in another".to_owned()) } else { Ok(()) }
}

fn wrong(number: u32) -> String {
    format!("field {number} is of another type")
}

fn utf8(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|_| "a name or text that is not UTF-8".to_owned())
}

fn varint(bytes: &mut &[u8]) -> Result<u64, String> {
    decode_varint(bytes).map_err(|error| error.to_string())
}

/// A field's value. Those of fixed width are of no message here.
enum Field<'a> {
    Varint(u64),
    Fixed,
    Bytes(&'a [u8]),
}

/// The fields of a message, with their numbers. After an error there are no more.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn field(&mut self) -> Result<(u32, Field<'a>), String> {
        let (number, kind) = decode_key(&mut self.0).map_err(|error| error.to_string())?;
        let field = match kind {
            WireType::Varint => Field::Varint(varint(&mut self.0)?),
            WireType::LengthDelimited => {
                let length = varint(&mut self.0)?;
                Field::Bytes(self.take(usize::try_from(length).unwrap_or(usize::MAX))?)
            }
            WireType::SixtyFourBit => self.take(8).map(|_| Field::Fixed)?,
            WireType::ThirtyTwoBit => self.take(4).map(|_| Field::Fixed)?,
            WireType::StartGroup | WireType::EndGroup => return Err("a group".to_owned()),
        };
        Ok((number, field))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or("a field longer than its message")?;
        self.0 = rest;
        Ok(taken)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Field<'a>), String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}
