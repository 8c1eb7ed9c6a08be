//! Messages of gRPC: requests read, answers written, and the calls that are no requests for output.

use super::session::{Output, Response};
use crate::state::Server;
use crate::triton::config;
use crate::triton::memory::{Memory, Region};
use crate::triton::problem::Problem;
use crate::triton::repository::{Ask, MemoryPlace, SequenceAsk, Wanted};
use crate::triton::statistics::Counted;
use bytes::Bytes;
use prost::Message;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use streamgauge_core::tensor::{Datatype, Tensor};
use streamgauge_wire::proto;
use streamgauge_wire::proto::infer_parameter::ParameterChoice;

/// The beginning of the paths of calls.
pub(super) const SERVICE: &str = "/inference.GRPCInferenceService/";

/// A message that is none: a field of a kind that there is not.
pub(super) const MALFORMED: &[u8] = &[0x0f, 0xff, 0xff, 0xff];

/// Parameters of a message.
type Parameters = BTreeMap<String, proto::InferParameter>;

/// A status message as it is written in a header: what is not printable ASCII, and the percent sign, in hexadecimal.
pub(super) fn percent_encoded(message: &str) -> String {
    let mut encoded = String::new();
    for byte in message.bytes() {
        if (b' '..=b'~').contains(&byte) && byte != b'%' {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

fn read<M: Message + Default>(bytes: &[u8]) -> Result<M, Problem> {
    M::decode(bytes).map_err(|error| Problem::internal(format!("the message cannot be read: {error}")))
}

/// The answer to a call that is no request for output.
pub(super) fn answer(server: &Server, method: &str, message: &[u8]) -> Result<Vec<u8>, Problem> {
    let triton = &server.triton;
    let name_of = |name: &str, version: &str| triton.repository.find(name, version);
    Ok(match method {
        "ServerLive" => proto::ServerLiveResponse { live: true }.encode_to_vec(),
        "ServerReady" => proto::ServerReadyResponse { ready: true }.encode_to_vec(),
        "ServerMetadata" => config::server().encode_to_vec(),
        "ModelReady" => {
            let asked: proto::ModelReadyRequest = read(message)?;
            proto::ModelReadyResponse { ready: name_of(&asked.name, &asked.version).is_ok() }.encode_to_vec()
        }
        "ModelMetadata" => {
            let asked: proto::ModelMetadataRequest = read(message)?;
            name_of(&asked.name, &asked.version)?.0.metadata().encode_to_vec()
        }
        "ModelConfig" => {
            let asked: proto::ModelConfigRequest = read(message)?;
            let config = name_of(&asked.name, &asked.version)?.0.config();
            proto::ModelConfigResponse { config: Some(config) }.encode_to_vec()
        }
        "ModelStatistics" => {
            let asked: proto::ModelStatisticsRequest = read(message)?;
            config::statistics(&counted(server, &asked.name, &asked.version)?).encode_to_vec()
        }
        "RepositoryIndex" => config::index(&triton.repository).encode_to_vec(),
        "SystemSharedMemoryStatus" => {
            let asked: proto::SystemSharedMemoryStatusRequest = read(message)?;
            let memory = triton.memory.borrow();
            let row = |(name, region): (&str, &Region)| {
                let status = proto::system_shared_memory_status_response::RegionStatus {
                    name: name.to_owned(),
                    key: region.key.clone(),
                    offset: region.offset,
                    byte_size: region.bytes,
                };
                (name.to_owned(), status)
            };
            let regions = memory.status(Some(asked.name.as_str()).filter(|name| !name.is_empty()))?;
            let regions = regions.into_iter().map(row).collect();
            proto::SystemSharedMemoryStatusResponse { regions }.encode_to_vec()
        }
        "SystemSharedMemoryRegister" => {
            let asked: proto::SystemSharedMemoryRegisterRequest = read(message)?;
            let region = Region { key: asked.key, offset: asked.offset, bytes: asked.byte_size };
            triton.memory.borrow_mut().register(&asked.name, region)?;
            Vec::new()
        }
        "SystemSharedMemoryUnregister" => {
            let asked: proto::SystemSharedMemoryUnregisterRequest = read(message)?;
            triton.memory.borrow_mut().unregister(Some(asked.name.as_str()).filter(|name| !name.is_empty()));
            Vec::new()
        }
        "TraceSetting" => {
            let asked: proto::TraceSettingRequest = read(message)?;
            let value = |value: proto::trace_setting_request::SettingValue| {
                proto::trace_setting_response::SettingValue { value: value.value }
            };
            let settings = asked.settings.into_iter().map(|(name, each)| (name, value(each))).collect();
            proto::TraceSettingResponse { settings }.encode_to_vec()
        }
        "LogSettings" => {
            use proto::log_settings_request::setting_value::ParameterChoice as Asked;
            use proto::log_settings_response::setting_value::ParameterChoice as Set;
            let asked: proto::LogSettingsRequest = read(message)?;
            let value = |value: proto::log_settings_request::SettingValue| {
                let choice = value.parameter_choice.map(|choice| match choice {
                    Asked::BoolParam(value) => Set::BoolParam(value),
                    Asked::Uint32Param(value) => Set::Uint32Param(value),
                    Asked::StringParam(value) => Set::StringParam(value),
                });
                proto::log_settings_response::SettingValue { parameter_choice: choice }
            };
            let settings = asked.settings.into_iter().map(|(name, each)| (name, value(each))).collect();
            proto::LogSettingsResponse { settings }.encode_to_vec()
        }
        _ => return Err(Problem::new(501, "")),
    })
}

/// The counters that a question names: of all models where `name` is empty, of all versions where `version` is.
pub(super) fn counted(server: &Server, name: &str, version: &str) -> Result<Vec<Counted>, Problem> {
    let triton = &server.triton;
    if name.is_empty() {
        return Ok(triton.statistics.of(triton.repository.places()));
    }
    let unavailable = |_| Problem::invalid(format!("requested model '{name}' is not available"));
    let (_, place) = triton.repository.find(name, version).map_err(unavailable)?;
    let all = triton.repository.places();
    let asked = all.filter(|each| each.model == place.model && (version.is_empty() || each.version == place.version));
    Ok(triton.statistics.of(asked))
}

/// The model and the id that a message names, if it is one.
pub(super) fn heading(message: &[u8]) -> Ask {
    let message = proto::ModelInferRequest::decode(message).unwrap_or_default();
    Ask { model: message.model_name, id: message.id, ..Ask::default() }
}

/// Reads a request; inputs in shared memory are fetched.
pub(super) fn ask(message: &[u8], memory: &Memory) -> Result<Ask, Problem> {
    let message: proto::ModelInferRequest = read(message)?;
    let mut raw = message.raw_input_contents.into_iter();
    let mut inputs = Vec::new();
    for input in message.inputs {
        let name = &input.name;
        let datatype = Datatype::of_name(&input.datatype).ok_or_else(|| {
            Problem::invalid(format!("inference input '{name}' has an unknown datatype '{}'", input.datatype))
        })?;
        let data = match (place(name, &input.parameters)?, input.contents) {
            (Some(place), _) => memory.read(&place)?,
            (None, Some(contents)) => typed(datatype, contents)
                .ok_or_else(|| Problem::invalid(format!("inference input '{name}' of {datatype} has to be raw")))?,
            (None, None) => raw
                .next()
                .map(Vec::from)
                .ok_or_else(|| Problem::invalid(format!("expecting raw contents for inference input '{name}' too")))?,
        };
        inputs.push(Tensor { name: input.name, datatype, shape: input.shape, data });
    }
    if raw.next().is_some() {
        return Err(Problem::invalid("there are more raw contents than inference inputs"));
    }
    let mut outputs = Vec::new();
    for output in message.outputs {
        let place = place(&output.name, &output.parameters)?;
        outputs.push(Wanted { name: output.name, binary: None, place });
    }
    let parameters = &message.parameters;
    let flag = |name: &str| matches!(choice(parameters, name), Some(ParameterChoice::BoolParam(true)));
    let sequence = choice(parameters, "sequence_id").map(|id| SequenceAsk {
        id: match id {
            ParameterChoice::Int64Param(id) => id.to_string(),
            ParameterChoice::Uint64Param(id) => id.to_string(),
            ParameterChoice::StringParam(id) => id.clone(),
            ParameterChoice::BoolParam(_) | ParameterChoice::DoubleParam(_) => String::new(),
        },
        start: flag("sequence_start"),
        end: flag("sequence_end"),
    });
    Ok(Ask {
        model: message.model_name,
        version: message.model_version,
        id: message.id,
        sequence,
        empty_final: flag("triton_enable_empty_final_response"),
        inputs,
        outputs,
        binary: true,
    })
}

fn choice<'a>(parameters: &'a Parameters, name: &str) -> Option<&'a ParameterChoice> {
    parameters.get(name)?.parameter_choice.as_ref()
}

/// The place in shared memory that a tensor's parameters name.
fn place(tensor: &str, parameters: &Parameters) -> Result<Option<MemoryPlace>, Problem> {
    let Some(ParameterChoice::StringParam(region)) = choice(parameters, "shared_memory_region") else {
        return Ok(None);
    };
    let number = |name: &str| match choice(parameters, name) {
        None => Ok(None),
        Some(ParameterChoice::Int64Param(number)) if *number >= 0 => Ok(Some(number.cast_unsigned())),
        Some(ParameterChoice::Uint64Param(number)) => Ok(Some(*number)),
        Some(_) => {
            Err(Problem::invalid(format!("invalid value of '{name}' of '{tensor}': it must be an integer from 0")))
        }
    };
    let bytes = number("shared_memory_byte_size")?.ok_or_else(|| {
        Problem::invalid(format!(
            "'shared_memory_byte_size' must be specified along with 'shared_memory_region' of '{tensor}'"
        ))
    })?;
    Ok(Some(MemoryPlace { region: region.clone(), offset: number("shared_memory_offset")?.unwrap_or(0), bytes }))
}

/// Converts typed contents to raw ones. Returns `None` for types that have no such contents.
fn typed(datatype: Datatype, contents: proto::InferTensorContents) -> Option<Vec<u8>> {
    let c = contents;
    Some(match datatype {
        Datatype::Bool => c.bool_contents.into_iter().map(u8::from).collect(),
        // Values that do not fit are truncated, as in Triton.
        Datatype::Int8 => c.int_contents.into_iter().map(|n| n as u8).collect(),
        Datatype::Int16 => c.int_contents.into_iter().flat_map(|n| (n as i16).to_le_bytes()).collect(),
        Datatype::Int32 => c.int_contents.into_iter().flat_map(i32::to_le_bytes).collect(),
        Datatype::Int64 => c.int64_contents.into_iter().flat_map(i64::to_le_bytes).collect(),
        Datatype::Uint8 => c.uint_contents.into_iter().map(|n| n as u8).collect(),
        Datatype::Uint16 => c.uint_contents.into_iter().flat_map(|n| (n as u16).to_le_bytes()).collect(),
        Datatype::Uint32 => c.uint_contents.into_iter().flat_map(u32::to_le_bytes).collect(),
        Datatype::Uint64 => c.uint64_contents.into_iter().flat_map(u64::to_le_bytes).collect(),
        Datatype::Fp32 => c.fp32_contents.into_iter().flat_map(f32::to_le_bytes).collect(),
        Datatype::Fp64 => c.fp64_contents.into_iter().flat_map(f64::to_le_bytes).collect(),
        Datatype::Bytes => {
            let mut data = Vec::new();
            c.bytes_contents.iter().for_each(|string| Tensor::push_string(&mut data, string));
            data
        }
        Datatype::Fp16 | Datatype::Bf16 => return None,
    })
}

/// A response of a stream.
pub(super) fn stream_response(response: &Response<'_>) -> Vec<u8> {
    let mut message = infer_response(response);
    message.parameters.insert("triton_final_response".to_owned(), boolean(response.is_final));
    if response.of_ensemble {
        message.parameters.insert("sequence_start".to_owned(), boolean(false));
        message.parameters.insert("sequence_id".to_owned(), parameter(ParameterChoice::Int64Param(0)));
        message.parameters.insert("sequence_end".to_owned(), boolean(false));
    }
    proto::ModelStreamInferResponse { error_message: String::new(), infer_response: Some(message) }.encode_to_vec()
}

/// The response to a request with exactly one.
pub(super) fn response(response: &Response<'_>) -> Vec<u8> {
    infer_response(response).encode_to_vec()
}

/// What a stream says of a request that failed. Where the model did not see it, there is no telling that it is over.
pub(super) fn stream_error(problem: &Problem, model: &str, id: &str) -> Vec<u8> {
    let mut message = proto::ModelInferResponse { id: id.to_owned(), ..proto::ModelInferResponse::default() };
    if problem.ran {
        message.model_name = model.to_owned();
        message.parameters.insert("triton_final_response".to_owned(), boolean(true));
    }
    proto::ModelStreamInferResponse { error_message: problem.message.clone(), infer_response: Some(message) }
        .encode_to_vec()
}

fn infer_response(response: &Response<'_>) -> proto::ModelInferResponse {
    use proto::model_infer_response::InferOutputTensor;
    let output = |output: &Output| InferOutputTensor {
        name: output.tensor.name.clone(),
        datatype: output.tensor.datatype.name().to_owned(),
        shape: output.tensor.shape.clone(),
        ..InferOutputTensor::default()
    };
    proto::ModelInferResponse {
        model_name: response.model.to_owned(),
        model_version: response.version.to_owned(),
        id: response.id.to_owned(),
        parameters: Parameters::new(),
        outputs: response.outputs.iter().map(output).collect(),
        raw_output_contents: response
            .outputs
            .iter()
            .map(|output| Bytes::copy_from_slice(&output.tensor.data))
            .collect(),
    }
}

fn boolean(value: bool) -> proto::InferParameter {
    parameter(ParameterChoice::BoolParam(value))
}

fn parameter(choice: ParameterChoice) -> proto::InferParameter {
    proto::InferParameter { parameter_choice: Some(choice) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typed_contents_become_raw() {
        let contents = |fill: fn(&mut proto::InferTensorContents)| {
            let mut contents = proto::InferTensorContents::default();
            fill(&mut contents);
            contents
        };
        let ints = || contents(|c| c.int_contents = vec![-1, 2]);
        assert_eq!(typed(Datatype::Int8, ints()), Some(vec![255, 2]));
        assert_eq!(typed(Datatype::Int16, ints()), Some(vec![255, 255, 2, 0]));
        assert_eq!(typed(Datatype::Fp32, contents(|c| c.fp32_contents = vec![2.0])), Some(vec![0, 0, 0, 64]));
        assert_eq!(
            typed(Datatype::Bytes, contents(|c| c.bytes_contents = vec!["a".into()])),
            Some(vec![1, 0, 0, 0, b'a'])
        );
        assert_eq!(typed(Datatype::Fp16, contents(|_| {})), None);
    }

    #[test]
    fn status_messages_are_spelled_in_ascii() {
        assert_eq!(percent_encoded("is 50% of\n'é'"), "is 50%25 of%0A'%C3%A9'");
    }
}
