//! Requests for inference: tensors as a message, or as JSON with bytes after it.

use crate::encoded::{EncodeError, Encoded, SharedPlace, Tag, TaggedRequest};
use crate::kserve::elements;
use crate::kserve::framing;
use crate::kserve::infer::outputs::misfit;
use crate::kserve::proto::infer_parameter::ParameterChoice;
use crate::kserve::proto::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
use crate::kserve::proto::{InferParameter, ModelInferRequest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prost::Message;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use streamgauge_core::Prompt;
use streamgauge_core::kserve::{Compression, Kserve, ParameterValue, SequenceTag, TensorFormat};
use streamgauge_core::prompt::Payload;
use streamgauge_core::tensor::{Datatype, Tensor};

/// The greatest length of a message, in bytes: the limit of protobuf, less room for the tag.
const LONGEST: usize = i32::MAX as usize - 4096;

/// The parameter by which the requests of a stream ask for a last response to each, which may be empty.
const FINAL_RESPONSE: &str = "triton_enable_empty_final_response";

/// The inputs of `prompt` as GenAI-Perf's files have them: a list of elements by name, with the shape where more than one dimension
/// is not 1.
pub(crate) fn listed_input(prompt: &Prompt) -> Map<String, Value> {
    let mut members = Map::from_iter([("model".to_owned(), Value::from(prompt.model.as_str()))]);
    for input in prompt.payload.inputs() {
        let content = match elements::values(input.datatype, &input.data) {
            Some(values) if is_text(input) => Value::Array(values),
            _ => json!({"b64": STANDARD.encode(&input.data)}),
        };
        let is_list = content.is_array() && input.shape.iter().filter(|dim| **dim != 1).count() <= 1;
        let value = if is_list { content } else { json!({"content": content, "shape": input.shape}) };
        members.insert(input.name.clone(), value);
    }
    members
}

/// Whether JSON can hold the elements of a tensor, so that they are the same when they are read again.
fn is_text(tensor: &Tensor) -> bool {
    let strings = match tensor.datatype {
        Datatype::Bytes => Tensor::strings(&tensor.data),
        _ => Some(Vec::new()),
    };
    strings.is_some_and(|strings| strings.iter().all(|string| std::str::from_utf8(string).is_ok()))
}

/// The inputs of `prompt`, each of which has data for its shape.
fn inputs<'p>(prompt: &'p Prompt, endpoint: &'static str) -> Result<&'p [Tensor], EncodeError> {
    let Payload::Tensors { inputs, .. } = &prompt.payload else { return Err(EncodeError::NoTensors(endpoint)) };
    for input in inputs {
        if let Some(reason) = misfit(input.datatype, Tensor::elements(&input.shape), &input.data) {
            return Err(EncodeError::Data { name: input.name.clone(), reason });
        }
    }
    Ok(inputs)
}

/// Where the inputs begin in their region, by [`SharedPlace`]'s rule.
fn offsets(inputs: &[Tensor], place: &SharedPlace) -> impl Iterator<Item = u64> {
    inputs.iter().scan(place.offset, |next, input| {
        let offset = *next;
        *next = next.saturating_add(input.data.len() as u64);
        Some(offset)
    })
}

/// A `ModelInferRequest` without its tag.
pub(crate) fn message(
    prompt: &Prompt,
    kserve: &Kserve,
    streaming: bool,
    place: Option<&SharedPlace>,
) -> Result<Encoded, EncodeError> {
    let tensors = inputs(prompt, "gRPC inference")?;
    let mut parameters: BTreeMap<_, _> =
        kserve.parameters.iter().map(|parameter| (parameter.name.clone(), parameter_of(&parameter.value))).collect();
    if streaming {
        parameters.insert(FINAL_RESPONSE.into(), choice(ParameterChoice::BoolParam(true)));
    }
    let mut offsets = place.map(|place| offsets(tensors, place));
    let mut input = |tensor: &Tensor| InferInputTensor {
        name: tensor.name.clone(),
        datatype: tensor.datatype.name().to_owned(),
        shape: tensor.shape.clone(),
        parameters: match (place, offsets.as_mut().and_then(Iterator::next)) {
            (Some(place), Some(offset)) => shared_parameters(&place.inputs, offset, tensor.data.len() as u64),
            _ => BTreeMap::new(),
        },
        contents: None,
    };
    let request = ModelInferRequest {
        model_name: prompt.model.clone(),
        model_version: kserve.version.clone().unwrap_or_default(),
        parameters,
        inputs: tensors.iter().map(&mut input).collect(),
        outputs: shared_outputs(prompt, kserve, place)?
            .map(|(name, shared)| InferRequestedOutputTensor {
                name: name.to_owned(),
                parameters: shared
                    .map_or_else(BTreeMap::new, |(region, offset, size)| shared_parameters(region, offset, size)),
            })
            .collect(),
        raw_input_contents: match place {
            Some(_) => Vec::new(),
            None => tensors.iter().map(|tensor| tensor.data.clone().into()).collect(),
        },
        ..ModelInferRequest::default()
    };
    match request.encoded_len() {
        length if length > LONGEST => Err(EncodeError::TooLong(length)),
        _ => Ok(Encoded { body: request.encode_to_vec(), json: 0, outputs: 0 }),
    }
}

/// Region, offset and size.
type Room<'a> = (&'a str, u64, u64);

/// The requested outputs, each with its room in shared memory if it has one.
fn shared_outputs<'a>(
    prompt: &Prompt,
    kserve: &'a Kserve,
    place: Option<&'a SharedPlace>,
) -> Result<impl Iterator<Item = (&'a str, Option<Room<'a>>)>, EncodeError> {
    let shared = place.zip(kserve.shared_memory);
    if shared.is_some()
        && let Payload::Tensors { expected, .. } = &prompt.payload
        && !expected.is_empty()
    {
        return Err(EncodeError::SharedExpected);
    }
    Ok((0_u64..).zip(&kserve.outputs).map(move |(number, name)| {
        let room = shared.map(|(place, memory)| {
            (place.outputs.as_str(), number.saturating_mul(memory.output_bytes), memory.output_bytes)
        });
        (name.as_str(), room)
    }))
}

fn choice(choice: ParameterChoice) -> InferParameter {
    InferParameter { parameter_choice: Some(choice) }
}

fn parameter_of(value: &ParameterValue) -> InferParameter {
    choice(match value {
        ParameterValue::Bool(value) => ParameterChoice::BoolParam(*value),
        ParameterValue::Int(value) => ParameterChoice::Int64Param(*value),
        ParameterValue::String(value) => ParameterChoice::StringParam(value.clone()),
    })
}

/// Sizes in memory are far below the limit of the protocol's signed numbers.
fn shared_parameters(region: &str, offset: u64, size: u64) -> BTreeMap<String, InferParameter> {
    BTreeMap::from([
        ("shared_memory_region".to_owned(), choice(ParameterChoice::StringParam(region.to_owned()))),
        ("shared_memory_offset".to_owned(), choice(ParameterChoice::Int64Param(offset as i64))),
        ("shared_memory_byte_size".to_owned(), choice(ParameterChoice::Int64Param(size as i64))),
    ])
}

/// A message with its tag: the number of the request, its part in a sequence, its compression and its prefix.
pub(crate) fn tagged_message(message: &[u8], compression: Compression, tag: &Tag) -> TaggedRequest {
    let parameters = tag.sequence.map_or_else(BTreeMap::new, |sequence| {
        BTreeMap::from([
            // The server reads the bits as an unsigned number.
            ("sequence_id".to_owned(), choice(ParameterChoice::Int64Param(sequence.id as i64))),
            ("sequence_start".to_owned(), choice(ParameterChoice::BoolParam(sequence.start))),
            ("sequence_end".to_owned(), choice(ParameterChoice::BoolParam(sequence.end))),
        ])
    });
    // Two encoded messages in sequence are one message: its fields may have any order, and the entries of a map add up.
    let rest = ModelInferRequest { id: tag.id.to_string(), parameters, ..ModelInferRequest::default() };
    let body = match compression {
        Compression::None => {
            let length = message.len() + rest.encoded_len();
            let mut body = Vec::with_capacity(framing::PREFIX + length);
            framing::push_prefix(&mut body, length);
            body.extend_from_slice(message);
            rest.encode_raw(&mut body);
            body
        }
        _ => framing::compressed(&[message, &rest.encode_to_vec()].concat(), compression),
    };
    TaggedRequest { body, json: 0 }
}

/// An inference request over HTTP.
pub(crate) fn document(prompt: &Prompt, kserve: &Kserve, place: Option<&SharedPlace>) -> Result<Encoded, EncodeError> {
    let tensors = inputs(prompt, "HTTP inference")?;
    let mut parameters: Map<_, _> =
        kserve.parameters.iter().map(|parameter| (parameter.name.clone(), json_of(&parameter.value))).collect();
    let wants_binary = kserve.output_format == TensorFormat::Binary;
    if wants_binary && kserve.outputs.is_empty() {
        parameters.insert("binary_data_output".into(), true.into());
    }
    let mut members = Map::new();
    if !parameters.is_empty() {
        members.insert("parameters".into(), parameters.into());
    }
    let mut offsets = place.map(|place| offsets(tensors, place));
    let mut binary = Vec::new();
    let mut described = Vec::with_capacity(tensors.len());
    for tensor in tensors {
        let mut input = json!({"name": tensor.name, "shape": tensor.shape, "datatype": tensor.datatype.name()});
        match (place, offsets.as_mut().and_then(Iterator::next)) {
            (Some(place), Some(offset)) => {
                input["parameters"] = shared_members((&place.inputs, offset, tensor.data.len() as u64));
            }
            _ if kserve.input_format == TensorFormat::Binary => {
                input["parameters"] = json!({"binary_data_size": tensor.data.len()});
                binary.push(tensor);
            }
            _ => input["data"] = Value::Array(json_elements(tensor)?),
        }
        described.push(input);
    }
    members.insert("inputs".into(), described.into());
    let outputs: Vec<Value> = shared_outputs(prompt, kserve, place)?
        .map(|(name, shared)| match shared {
            Some(room) => json!({"name": name, "parameters": shared_members(room)}),
            None if wants_binary => json!({"name": name, "parameters": {"binary_data": true}}),
            None => json!({"name": name}),
        })
        .collect();
    if !outputs.is_empty() {
        members.insert("outputs".into(), outputs.into());
    }
    let mut body = Value::Object(members).to_string().into_bytes();
    let json = body.len();
    binary.iter().for_each(|tensor| body.extend_from_slice(&tensor.data));
    Ok(Encoded { body, json, outputs: 0 })
}

fn json_of(value: &ParameterValue) -> Value {
    match value {
        ParameterValue::Bool(value) => (*value).into(),
        ParameterValue::Int(value) => (*value).into(),
        ParameterValue::String(value) => value.as_str().into(),
    }
}

fn shared_members((region, offset, size): Room<'_>) -> Value {
    json!({"shared_memory_region": region, "shared_memory_offset": offset, "shared_memory_byte_size": size})
}

/// The elements of a tensor as JSON that a server reads.
fn json_elements(tensor: &Tensor) -> Result<Vec<Value>, EncodeError> {
    let refuse = |reason| EncodeError::NotJson { name: tensor.name.clone(), reason };
    if matches!(tensor.datatype, Datatype::Fp16 | Datatype::Bf16) {
        return Err(refuse("JSON has no 16-bit floating point numbers"));
    }
    if !is_text(tensor) {
        return Err(refuse("JSON holds no bytes that are not UTF-8"));
    }
    let values = elements::values(tensor.datatype, &tensor.data).unwrap_or_default();
    if tensor.datatype != Datatype::Bytes && values.iter().any(Value::is_string) {
        return Err(refuse("JSON has no infinite numbers, and none that are not a number"));
    }
    Ok(values)
}

/// A document with its part in a sequence.
pub(crate) fn tagged_document(encoded: &Encoded, sequence: SequenceTag) -> TaggedRequest {
    let SequenceTag { id, start, end } = sequence;
    let tag = format!(r#""sequence_id":{id},"sequence_start":{start},"sequence_end":{end}"#);
    // The object of parameters is never empty.
    let (opening, rest) = match encoded.body.strip_prefix(PARAMETERS) {
        Some(rest) => (format!(r#"{{"parameters":{{{tag},"#), rest),
        None => (format!(r#"{{"parameters":{{{tag}}},"#), encoded.body.get(1..).unwrap_or_default()),
    };
    let json = encoded.json + opening.len() + rest.len() - encoded.body.len();
    TaggedRequest { body: [opening.as_bytes(), rest].concat(), json }
}

/// The beginning of a document with parameters.
const PARAMETERS: &[u8] = br#"{"parameters":{"#;
