//! Requests and answers as JSON, with tensors as numbers and strings or as bytes behind it, and those of the generate extension.

use super::session::{Output, Response};
use crate::triton::memory::Memory;
use crate::triton::problem::Problem;
use crate::triton::repository::{Ask, MemoryPlace, Model, SequenceAsk, Wanted};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use streamgauge_core::tensor::{Datatype, Tensor, TensorSpec};

/// Reads a request for `model`. The first `header` bytes of `body` are the JSON, or all of it if there is no such number.
pub(super) fn ask(
    model: &str,
    version: &str,
    body: &[u8],
    header: Option<usize>,
    memory: &Memory,
) -> Result<Ask, Problem> {
    let (json, mut binary) = body
        .split_at_checked(header.unwrap_or(body.len()))
        .ok_or_else(|| Problem::invalid("Inference-Header-Content-Length is more than the length of the body"))?;
    let message = parsed(json)?;
    let parameters = &message["parameters"];
    let mut inputs = Vec::new();
    for input in list(&message, "inputs")? {
        let name = text(input, "name")?;
        let datatype = text(input, "datatype")?;
        let datatype = Datatype::of_name(datatype).ok_or_else(|| {
            Problem::invalid(format!("inference input '{name}' has an unknown datatype '{datatype}'"))
        })?;
        let shape = list(input, "shape")?.iter().map(Value::as_i64).collect::<Option<Vec<i64>>>();
        let shape =
            shape.ok_or_else(|| Problem::internal("Unable to parse 'shape': it must be a list of whole numbers"))?;
        let given = &input["parameters"];
        let data = if let Some(size) = given["binary_data_size"].as_u64() {
            let taken = usize::try_from(size).ok().and_then(|size| binary.split_at_checked(size));
            let (data, rest) = taken.ok_or_else(|| {
                Problem::invalid(format!("input '{name}' of {size} bytes is longer than what is left of the body"))
            })?;
            binary = rest;
            data.to_vec()
        } else if let Some(place) = place(name, given)? {
            memory.read(&place)?
        } else {
            from_json(name, datatype, &shape, &input["data"])?
        };
        inputs.push(Tensor { name: name.to_owned(), datatype, shape, data });
    }
    if !binary.is_empty() {
        return Err(Problem::invalid(format!("unexpected additional input data for model '{model}'")));
    }
    let mut outputs = Vec::new();
    if !message["outputs"].is_null() {
        for output in list(&message, "outputs")? {
            let (name, given) = (text(output, "name")?, &output["parameters"]);
            if given["classification"].as_u64().is_some_and(|classes| classes > 0) {
                return Err(Problem::new(501, "this simulated server has no classification extension"));
            }
            let binary = given["binary_data"].as_bool();
            outputs.push(Wanted { name: name.to_owned(), binary, place: place(name, given)? });
        }
    }
    Ok(Ask {
        model: model.to_owned(),
        version: version.to_owned(),
        id: message["id"].as_str().unwrap_or_default().to_owned(),
        sequence: sequence(parameters),
        empty_final: false,
        inputs,
        // Triton heeds it only where no output is named.
        binary: outputs.is_empty() && parameters["binary_data_output"] == Value::Bool(true),
        outputs,
    })
}

/// Reads a request of the generate extension: members are inputs by name, including those in `parameters`.
pub(super) fn generate_ask(model: &Model, version: &str, body: &[u8]) -> Result<Ask, Problem> {
    let message = parsed(body)?;
    let mut inputs = Vec::new();
    for spec in &model.inputs {
        let value =
            [&message[&spec.name], &message["parameters"][&spec.name]].into_iter().find(|value| !value.is_null());
        if let Some(value) = value {
            inputs.push(generate_input(model, spec, value)?);
        }
    }
    Ok(Ask {
        model: model.name.clone(),
        version: version.to_owned(),
        id: message["id"].as_str().unwrap_or_default().to_owned(),
        sequence: sequence(&message["parameters"]),
        inputs,
        ..Ask::default()
    })
}

fn generate_input(model: &Model, spec: &TensorSpec, value: &Value) -> Result<Tensor, Problem> {
    let elements = value.as_array().map_or(1, Vec::len);
    let batch = (model.max_batch_size > 0).then_some(1);
    let shape: Vec<i64> = batch.into_iter().chain([i64::try_from(elements).unwrap_or(i64::MAX)]).collect();
    let data = from_json(&spec.name, spec.datatype, &shape, value)?;
    Ok(Tensor { name: spec.name.clone(), datatype: spec.datatype, shape, data })
}

fn parsed(json: &[u8]) -> Result<Value, Problem> {
    let value: Value = serde_json::from_slice(json).map_err(|error| {
        let at = error.column().saturating_sub(1);
        Problem::internal(format!("failed to parse the request JSON buffer: Invalid value. at {at}"))
    })?;
    if value.is_object() { Ok(value) } else { Err(Problem::internal("the request JSON must be an object")) }
}

fn list<'a>(value: &'a Value, name: &str) -> Result<&'a Vec<Value>, Problem> {
    let problem = || Problem::internal(format!("Unable to parse '{name}': attempt to access JSON non-array as array"));
    value[name].as_array().ok_or_else(problem)
}

fn text<'a>(value: &'a Value, name: &str) -> Result<&'a str, Problem> {
    let problem =
        || Problem::internal(format!("Unable to parse '{name}': attempt to access JSON non-string as string"));
    value[name].as_str().ok_or_else(problem)
}

fn sequence(parameters: &Value) -> Option<SequenceAsk> {
    let id = match &parameters["sequence_id"] {
        Value::Null => return None,
        Value::String(id) => id.clone(),
        id => id.to_string(),
    };
    let flag = |name: &str| parameters[name] == Value::Bool(true);
    Some(SequenceAsk { id, start: flag("sequence_start"), end: flag("sequence_end") })
}

/// The place in shared memory that a tensor's parameters name.
fn place(tensor: &str, parameters: &Value) -> Result<Option<MemoryPlace>, Problem> {
    let Some(region) = parameters["shared_memory_region"].as_str() else { return Ok(None) };
    let bytes = parameters["shared_memory_byte_size"].as_u64().ok_or_else(|| {
        Problem::invalid(format!(
            "'shared_memory_byte_size' must be specified along with 'shared_memory_region' of '{tensor}'"
        ))
    })?;
    let offset = parameters["shared_memory_offset"].as_u64().unwrap_or(0);
    Ok(Some(MemoryPlace { region: region.to_owned(), offset, bytes }))
}

/// The elements of a tensor, in lists or not.
fn from_json(name: &str, datatype: Datatype, shape: &[i64], value: &Value) -> Result<Vec<u8>, Problem> {
    if matches!(datatype, Datatype::Fp16 | Datatype::Bf16) {
        return Err(Problem::invalid(format!(
            "sending {datatype} data via JSON is not supported. Please use the binary data format for input {name}"
        )));
    }
    let mut data = Vec::new();
    let mut elements = 0;
    let mut rest = vec![value];
    while let Some(value) = rest.pop() {
        match value {
            Value::Array(values) => rest.extend(values.iter().rev()),
            value => {
                elements += 1;
                element(datatype, value, &mut data).map_err(Problem::internal)?;
            }
        }
    }
    if Tensor::elements(shape) == Some(elements) {
        Ok(data)
    } else {
        Err(Problem::internal("Unable to parse 'data': Shape does not match true shape of 'data' field"))
    }
}

fn element(datatype: Datatype, value: &Value, data: &mut Vec<u8>) -> Result<(), String> {
    let wrong = |kind: &str| format!("Unable to parse 'data': attempt to access JSON non-{kind} as {kind}");
    let signed = || value.as_i64().ok_or_else(|| wrong("signed-integer"));
    let unsigned = || value.as_u64().ok_or_else(|| wrong("unsigned-integer"));
    let float = || value.as_f64().ok_or_else(|| wrong("double"));
    // Values that do not fit are truncated, as in Triton.
    match datatype {
        Datatype::Bool => data.push(value.as_bool().ok_or_else(|| wrong("boolean"))?.into()),
        Datatype::Int8 => data.push(signed()? as u8),
        Datatype::Int16 => data.extend_from_slice(&(signed()? as i16).to_le_bytes()),
        Datatype::Int32 => data.extend_from_slice(&(signed()? as i32).to_le_bytes()),
        Datatype::Int64 => data.extend_from_slice(&signed()?.to_le_bytes()),
        Datatype::Uint8 => data.push(unsigned()? as u8),
        Datatype::Uint16 => data.extend_from_slice(&(unsigned()? as u16).to_le_bytes()),
        Datatype::Uint32 => data.extend_from_slice(&(unsigned()? as u32).to_le_bytes()),
        Datatype::Uint64 => data.extend_from_slice(&unsigned()?.to_le_bytes()),
        Datatype::Fp32 => data.extend_from_slice(&(float()? as f32).to_le_bytes()),
        Datatype::Fp64 => data.extend_from_slice(&float()?.to_le_bytes()),
        Datatype::Bytes => {
            let text = value.as_str();
            let text = text.ok_or("Unable to parse JSON bytes array: attempt to access JSON non-string as string")?;
            Tensor::push_string(data, text.as_bytes());
        }
        Datatype::Fp16 | Datatype::Bf16 => {}
    }
    Ok(())
}

/// The elements of an output as JSON, or `None` for types that JSON has no numbers for.
fn to_json(tensor: &Tensor) -> Option<Vec<Value>> {
    fn each<const N: usize>(data: &[u8], value: impl Fn([u8; N]) -> Value) -> Vec<Value> {
        data.as_chunks::<N>().0.iter().map(|bytes| value(*bytes)).collect()
    }
    let data = &tensor.data;
    Some(match tensor.datatype {
        Datatype::Bool => data.iter().map(|byte| (*byte != 0).into()).collect(),
        Datatype::Int8 => data.iter().map(|byte| byte.cast_signed().into()).collect(),
        Datatype::Int16 => each(data, |bytes| i16::from_le_bytes(bytes).into()),
        Datatype::Int32 => each(data, |bytes| i32::from_le_bytes(bytes).into()),
        Datatype::Int64 => each(data, |bytes| i64::from_le_bytes(bytes).into()),
        Datatype::Uint8 => data.iter().map(|byte| (*byte).into()).collect(),
        Datatype::Uint16 => each(data, |bytes| u16::from_le_bytes(bytes).into()),
        Datatype::Uint32 => each(data, |bytes| u32::from_le_bytes(bytes).into()),
        Datatype::Uint64 => each(data, |bytes| u64::from_le_bytes(bytes).into()),
        Datatype::Fp32 => each(data, |bytes| f32::from_le_bytes(bytes).into()),
        Datatype::Fp64 => each(data, |bytes| f64::from_le_bytes(bytes).into()),
        Datatype::Bytes => {
            let strings = Tensor::strings(data).unwrap_or_default();
            strings.into_iter().map(|string| String::from_utf8_lossy(string).into()).collect()
        }
        Datatype::Fp16 | Datatype::Bf16 => return None,
    })
}

/// An answer, and where its JSON ends if bytes follow it.
pub(super) fn response(response: &Response<'_>) -> Result<(Vec<u8>, Option<usize>), Problem> {
    let mut binary = Vec::new();
    let mut bytes_follow = false;
    let mut outputs = Vec::new();
    for Output { tensor, in_memory, binary: as_bytes } in response.outputs {
        let mut output = json!({"name": tensor.name, "datatype": tensor.datatype.name(), "shape": tensor.shape});
        if *as_bytes && !in_memory {
            output["parameters"] = json!({"binary_data_size": tensor.data.len()});
            binary.extend_from_slice(&tensor.data);
            bytes_follow = true;
        } else if !in_memory {
            let values = to_json(tensor).ok_or_else(|| {
                let (datatype, name) = (tensor.datatype, &tensor.name);
                Problem::invalid(format!(
                    "sending {datatype} data via JSON is not supported. Please use the binary data format for output {name}"
                ))
            })?;
            output["data"] = values.into();
        }
        outputs.push(output);
    }
    let mut message = Map::new();
    if !response.id.is_empty() {
        message.insert("id".to_owned(), response.id.into());
    }
    message.insert("model_name".to_owned(), response.model.into());
    message.insert("model_version".to_owned(), response.version.into());
    message.insert("outputs".to_owned(), outputs.into());
    let mut body = Value::from(message).to_string().into_bytes();
    let json = body.len();
    body.extend_from_slice(&binary);
    Ok((body, bytes_follow.then_some(json)))
}

/// A response of the generate extension: members in the order of their names, outputs of one element plain.
pub(super) fn generated(response: &Response<'_>) -> Vec<u8> {
    let mut members: BTreeMap<&str, Value> = BTreeMap::new();
    if !response.id.is_empty() {
        members.insert("id", response.id.into());
    }
    members.insert("model_name", response.model.into());
    members.insert("model_version", response.version.into());
    if response.of_ensemble {
        members.insert("sequence_start", false.into());
        members.insert("sequence_id", 0.into());
        members.insert("sequence_end", false.into());
    }
    for output in response.outputs {
        let mut values = to_json(&output.tensor).unwrap_or_default();
        let value = if values.len() == 1 { values.remove(0) } else { values.into() };
        members.insert(&output.tensor.name, value);
    }
    json!(members).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_of_every_datatype_come_back() {
        let value = |datatype| match datatype {
            Datatype::Bool => json!([true, false]),
            Datatype::Bytes => json!(["a", "é\n"]),
            Datatype::Fp32 | Datatype::Fp64 => json!([1.5, -2.0]),
            Datatype::Int8 | Datatype::Int16 | Datatype::Int32 | Datatype::Int64 => json!([-1, 7]),
            _ => json!([1, 200]),
        };
        for datatype in Datatype::ALL {
            let read = from_json("X", datatype, &[2, 1], &json!([value(datatype)]));
            if matches!(datatype, Datatype::Fp16 | Datatype::Bf16) {
                assert!(read.unwrap_err().message.starts_with(&format!("sending {datatype} data via JSON")));
                continue;
            }
            let tensor = Tensor { name: "X".to_owned(), datatype, shape: vec![2], data: read.unwrap() };
            assert_eq!(Value::from(to_json(&tensor).unwrap()), value(datatype), "{datatype}");
        }
        assert!(from_json("X", Datatype::Int32, &[3], &json!([1, 2])).unwrap_err().message.contains("true shape"));
        assert!(from_json("X", Datatype::Bool, &[1], &json!([1])).unwrap_err().message.contains("non-boolean"));
    }
}
