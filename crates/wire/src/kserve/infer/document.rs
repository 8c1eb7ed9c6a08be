//! Answers of HTTP inference: a JSON document, and tensors as bytes after it.

use crate::json::not_json;
use crate::json::object::Object;
use crate::kserve::elements;
use crate::kserve::infer::outputs::{Output, Response};
use serde::Deserialize;
use serde_json::Value;
use std::borrow::Cow;
use streamgauge_core::tensor::{Datatype, Tensor};

/// An answer to an inference request.
#[derive(Debug)]
pub(crate) struct Document<'a> {
    /// Whether it reports a failure.
    pub(crate) is_error: bool,
    /// The JSON's bytes.
    pub(crate) json: &'a [u8],
    outputs: Vec<OutputMember>,
    /// By output.
    binary: Vec<Option<&'a [u8]>>,
}

#[derive(Deserialize)]
struct Members {
    outputs: Option<Vec<Object<OutputMember>>>,
    error: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct OutputMember {
    name: String,
    datatype: String,
    shape: Vec<i64>,
    parameters: Option<Parameters>,
    data: Option<Vec<Value>>,
}

#[derive(Debug, Deserialize)]
struct Parameters {
    binary_data_size: Option<usize>,
    shared_memory_region: Option<String>,
}

impl<'a> Document<'a> {
    /// Reads an answer. The first `header` bytes are the JSON; without that number all bytes are.
    ///
    /// # Errors
    /// When it is something else.
    pub(crate) fn read(body: &'a [u8], header: Option<usize>) -> Result<Document<'a>, String> {
        let (json, mut rest) = body.split_at_checked(header.unwrap_or(body.len())).ok_or_else(|| {
            format!("Inference-Header-Content-Length is {}, and the body has {}", header.unwrap_or(0), body.len())
        })?;
        let Object(members): Object<Members> = serde_json::from_slice(json).map_err(|error| not_json(&error))?;
        let outputs: Vec<_> = members.outputs.unwrap_or_default().into_iter().map(|Object(output)| output).collect();
        let mut binary = Vec::with_capacity(outputs.len());
        for output in &outputs {
            let size = output.parameters.as_ref().and_then(|parameters| parameters.binary_data_size);
            let data = size.map(|size| rest.split_at_checked(size)).map(|split| {
                split.ok_or_else(|| format!("output {}: its binary data are longer than the body", output.name))
            });
            let data = data.transpose()?;
            binary.push(data.map(|(data, after)| {
                rest = after;
                data
            }));
        }
        if !rest.is_empty() {
            return Err(format!("{} bytes behind the last output", rest.len()));
        }
        Ok(Document { is_error: members.error.is_some(), json, outputs, binary })
    }

    /// Reads a document where the length of its JSON is not known.
    ///
    /// # Errors
    /// When it is something else.
    pub(crate) fn read_unmeasured(body: &'a [u8]) -> Result<Document<'a>, String> {
        let mut values = serde_json::Deserializer::from_slice(body).into_iter::<serde::de::IgnoredAny>();
        let first = values.next().transpose().map_err(|error| not_json(&error))?;
        let end = values.byte_offset();
        // Blanks after the JSON are not tensors, unless the JSON describes tensors.
        let header = first.map(|_| end).filter(|end| !body[*end..].trim_ascii().is_empty());
        Document::read(body, header)
    }
}

impl<'a> Response<'a> for Document<'a> {
    fn outputs(&self) -> impl Iterator<Item = Result<Output<'a>, String>> {
        self.outputs.iter().zip(&self.binary).map(|(output, binary)| {
            let datatype = Datatype::of_name(&output.datatype);
            let elsewhere =
                output.parameters.as_ref().is_some_and(|parameters| parameters.shared_memory_region.is_some());
            let data = match (binary, &output.data, datatype) {
                (Some(binary), ..) => Some(Cow::Borrowed(*binary)),
                _ if elsewhere => None,
                (None, Some(values), Some(datatype)) => {
                    let data = elements::bytes(datatype, values);
                    Some(Cow::Owned(data.map_err(|reason| format!("output {}: {reason}", output.name))?))
                }
                (None, Some(_), None) => None,
                (None, None, _) => Some(Cow::Borrowed(&[][..])),
            };
            Ok(Output {
                name: Cow::Owned(output.name.clone()),
                datatype,
                elements: Tensor::elements(&output.shape),
                data,
            })
        })
    }
}
