//! Requests as servers read them.

use crate::capture::folder;
use crate::{codec, endpoint, prompt, strings, tensor};
use flate2::read::{GzDecoder, ZlibDecoder};
use prost::Message;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use streamgauge_core::kserve::{
    Backend, Compression, Kserve, ParameterValue, RequestParameter, SequenceTag, SharedMemory, TensorFormat,
};
use streamgauge_core::plan::EndpointKind::{Chat, Generate, KserveGrpc, KserveHttp};
use streamgauge_core::prompt::{Content, Payload, Prompt};
use streamgauge_core::tensor::{Datatype, Tensor};
use streamgauge_wire::proto::infer_parameter::ParameterChoice;
use streamgauge_wire::proto::{InferParameter, ModelInferRequest};
use streamgauge_wire::{Codec, EncodeError, SharedPlace, Tag};

const TAG: Tag = Tag { id: 12, sequence: None };
const IN_SEQUENCE: Tag = Tag { id: 12, sequence: Some(SequenceTag { id: 5, start: true, end: false }) };

fn llm_prompt() -> Prompt {
    let tokens = tensor("max_tokens", Datatype::Int32, &[1, 1], &6_i32.to_le_bytes());
    prompt(vec![strings("text_input", &[1, 1], &["grün".as_bytes()]), tokens], vec![])
}

/// Parameters that every request of a test has.
fn parameters() -> Vec<RequestParameter> {
    let of = |name: &str, value| RequestParameter { name: name.into(), value };
    vec![
        of("b", ParameterValue::Bool(true)),
        of("i", ParameterValue::Int(-7)),
        of("s", ParameterValue::String("x".into())),
    ]
}

/// The message of one sending, and whether it was compressed.
fn sent(codec: &Codec, prompt: &Prompt, tag: Tag) -> (ModelInferRequest, bool) {
    let request_with_tag = codec.with_tag(&codec.encode(prompt).unwrap(), &tag).unwrap();
    let (prefix, body) = request_with_tag.body.split_at(5);
    assert_eq!(u32::from_be_bytes(prefix[1..].try_into().unwrap()) as usize, body.len());
    let mut message = Vec::new();
    match (prefix[0], body.first()) {
        (0, _) => message.extend_from_slice(body),
        (1, Some(0x1f)) => drop(GzDecoder::new(body).read_to_end(&mut message).unwrap()),
        (1, _) => drop(ZlibDecoder::new(body).read_to_end(&mut message).unwrap()),
        _ => panic!("{prefix:?}"),
    }
    (ModelInferRequest::decode(&message[..]).unwrap(), prefix[0] == 1)
}

fn choices(parameters: &BTreeMap<String, InferParameter>) -> Vec<(&str, ParameterChoice)> {
    parameters.iter().map(|(name, value)| (&name[..], value.parameter_choice.clone().unwrap())).collect()
}

#[test]
fn a_streams_request_says_everything() {
    let kserve = Kserve {
        version: Some("3".into()),
        parameters: parameters(),
        outputs: vec!["text_output".into()],
        ..Kserve::default()
    };
    let (request, _) = sent(&codec(KserveGrpc, true, kserve.clone()), &llm_prompt(), IN_SEQUENCE);
    assert_eq!((&request.model_name[..], &request.model_version[..], &request.id[..]), ("m", "3", "12"));
    assert_eq!(
        choices(&request.parameters),
        [
            ("b", ParameterChoice::BoolParam(true)),
            ("i", ParameterChoice::Int64Param(-7)),
            ("s", ParameterChoice::StringParam("x".into())),
            ("sequence_end", ParameterChoice::BoolParam(false)),
            ("sequence_id", ParameterChoice::Int64Param(5)),
            ("sequence_start", ParameterChoice::BoolParam(true)),
            ("triton_enable_empty_final_response", ParameterChoice::BoolParam(true)),
        ]
    );
    let described: Vec<_> =
        request.inputs.iter().map(|input| (&input.name[..], &input.datatype[..], &input.shape[..])).collect();
    assert_eq!(described, [("text_input", "BYTES", &[1, 1][..]), ("max_tokens", "INT32", &[1, 1])]);
    assert_eq!(request.raw_input_contents, ["\x05\0\0\0grün", "\x06\0\0\0"]);
    assert_eq!(request.outputs[0].name, "text_output");
    // A call of its own asks for no final response.
    let (request, _) = sent(&codec(KserveGrpc, false, Kserve::default()), &llm_prompt(), TAG);
    assert!(request.parameters.is_empty() && request.outputs.is_empty() && request.model_version.is_empty());
}

#[test]
fn compressed_messages_say_the_same() {
    let plain = sent(&codec(KserveGrpc, true, Kserve::default()), &llm_prompt(), IN_SEQUENCE);
    assert!(!plain.1);
    for compression in [Compression::Gzip, Compression::Deflate] {
        let kserve = Kserve { compression, ..Kserve::default() };
        assert_eq!(sent(&codec(KserveGrpc, true, kserve), &llm_prompt(), IN_SEQUENCE), (plain.0.clone(), true));
    }
}

#[test]
fn documents_with_binary_tensors() {
    let codec = codec(KserveHttp, false, Kserve { parameters: parameters(), ..Kserve::default() });
    assert_eq!(codec.content_type(), "application/octet-stream");
    let encoded = codec.encode(&llm_prompt()).unwrap();
    let (json, binary) = encoded.body.split_at(encoded.json);
    assert_eq!(binary, "\x05\0\0\0grün\x06\0\0\0".as_bytes());
    let expected = r#"{"parameters":{"b":true,"i":-7,"s":"x","binary_data_output":true},"inputs":[{"name":"text_input","shape":[1,1],"datatype":"BYTES","parameters":{"binary_data_size":9}},{"name":"max_tokens","shape":[1,1],"datatype":"INT32","parameters":{"binary_data_size":4}}]}"#;
    assert_eq!(std::str::from_utf8(json).unwrap(), expected);
    assert_eq!(codec.with_tag(&encoded, &TAG), None);
    let request_with_tag = codec.with_tag(&encoded, &IN_SEQUENCE).unwrap();
    let (json, binary) = request_with_tag.body.split_at(request_with_tag.json);
    assert_eq!(binary, "\x05\0\0\0grün\x06\0\0\0".as_bytes());
    let tagged = r#"{"parameters":{"sequence_id":5,"sequence_start":true,"sequence_end":false,"b":true"#;
    assert_eq!(std::str::from_utf8(json).unwrap(), expected.replacen(r#"{"parameters":{"b":true"#, tagged, 1));
}

#[test]
fn documents_in_json() {
    let (input_format, output_format) = (TensorFormat::Json, TensorFormat::Json);
    let kserve = Kserve { input_format, output_format, outputs: vec!["o".into()], ..Kserve::default() };
    let codec = codec(KserveHttp, false, kserve);
    assert_eq!(codec.content_type(), "application/json");
    let encoded = codec.encode(&llm_prompt()).unwrap();
    assert_eq!(encoded.json, encoded.body.len());
    let expected = r#"{"inputs":[{"name":"text_input","shape":[1,1],"datatype":"BYTES","data":["grün"]},{"name":"max_tokens","shape":[1,1],"datatype":"INT32","data":[6]}],"outputs":[{"name":"o"}]}"#;
    assert_eq!(std::str::from_utf8(&encoded.body).unwrap(), expected);
    let request_with_tag = codec.with_tag(&encoded, &IN_SEQUENCE).unwrap();
    assert_eq!(request_with_tag.json, request_with_tag.body.len());
    let tagged = r#"{"parameters":{"sequence_id":5,"sequence_start":true,"sequence_end":false},"inputs""#;
    assert_eq!(std::str::from_utf8(&request_with_tag.body).unwrap(), expected.replacen(r#"{"inputs""#, tagged, 1));
}

#[test]
fn outputs_asked_for_by_name_are_binary_each() {
    let codec = codec(KserveHttp, false, Kserve { outputs: vec!["o".into()], ..Kserve::default() });
    let encoded = codec.encode(&prompt(vec![], vec![])).unwrap();
    let expected = r#"{"inputs":[],"outputs":[{"name":"o","parameters":{"binary_data":true}}]}"#;
    assert_eq!(std::str::from_utf8(&encoded.body).unwrap(), expected);
}

#[test]
fn tensors_in_shared_memory() {
    let kserve = Kserve {
        outputs: vec!["a".into(), "b".into()],
        shared_memory: Some(SharedMemory { output_bytes: 100 }),
        ..Kserve::default()
    };
    let place = SharedPlace { inputs: "in".into(), offset: 64, outputs: "out".into() };
    let grpc = codec(KserveGrpc, false, kserve.clone());
    let encoded = grpc.encode_shared(&llm_prompt(), &place).unwrap();
    let request = ModelInferRequest::decode(&encoded.body[..]).unwrap();
    assert!(request.raw_input_contents.is_empty());
    let room = |parameters: &BTreeMap<String, InferParameter>| {
        let [
            (_, ParameterChoice::Int64Param(size)),
            (_, ParameterChoice::Int64Param(offset)),
            (_, ParameterChoice::StringParam(region)),
        ] = &choices(parameters)[..]
        else {
            panic!("{parameters:?}")
        };
        (region.clone(), *offset, *size)
    };
    let inputs: Vec<_> = request.inputs.iter().map(|input| room(&input.parameters)).collect();
    assert_eq!(inputs, [("in".to_owned(), 64, 9), ("in".to_owned(), 73, 4)]);
    let outputs: Vec<_> = request.outputs.iter().map(|output| room(&output.parameters)).collect();
    assert_eq!(outputs, [("out".to_owned(), 0, 100), ("out".to_owned(), 100, 100)]);

    let http = codec(KserveHttp, false, kserve);
    let encoded = http.encode_shared(&llm_prompt(), &place).unwrap();
    let body: Value = serde_json::from_slice(&encoded.body).unwrap();
    let room = |region: &str, offset, size| json!({"shared_memory_region": region, "shared_memory_offset": offset, "shared_memory_byte_size": size});
    assert_eq!(body["inputs"][1]["parameters"], room("in", 73, 4));
    assert_eq!(body["outputs"][1]["parameters"], room("out", 100, 100));
    let mut compared = llm_prompt();
    compared.payload = Payload::Tensors { inputs: vec![], expected: vec![strings("a", &[1], &[b"x"])] };
    assert_eq!(http.encode_shared(&compared, &place), Err(EncodeError::SharedExpected));
}

#[test]
fn what_cannot_be_sent_is_refused_in_a_sentence() {
    let refusal = |kind, kserve: Kserve, inputs: Vec<Tensor>| {
        codec(kind, false, kserve).encode(&prompt(inputs, vec![])).unwrap_err().to_string()
    };
    let short = vec![tensor("x", Datatype::Fp32, &[2], &[0; 4])];
    for kind in [KserveGrpc, KserveHttp] {
        let said = refusal(kind, Kserve::default(), short.clone());
        assert_eq!(said, "input x: 4 bytes for 2 elements of FP32");
    }
    let json = || Kserve { input_format: TensorFormat::Json, ..Kserve::default() };
    for (input, why) in [
        (tensor("x", Datatype::Fp16, &[1], &[0; 2]), "JSON has no 16-bit floating point numbers"),
        (strings("x", &[1], &[b"\xff"]), "JSON holds no bytes that are not UTF-8"),
        (
            tensor("x", Datatype::Fp32, &[1], &f32::NAN.to_le_bytes()),
            "JSON has no infinite numbers, and none that are not a number",
        ),
    ] {
        let said = refusal(KserveHttp, json(), vec![input]);
        assert_eq!(said, format!("input x: {why}; binary tensors (`--input-tensor-format binary`) can"));
    }
    let text = Prompt { payload: Payload::FromContent, ..llm_prompt() };
    let said = codec(KserveGrpc, true, Kserve::default()).encode(&text).unwrap_err().to_string();
    assert_eq!(said, "the prompt has no tensors, and gRPC inference sends nothing else");
}

#[test]
fn inputs_as_genai_perf_shows_them() {
    for (file, order) in [
        (
            "genai-perf-tensorrtllm.json",
            &["text_input", "max_tokens", "exclude_input_in_output", "stream", "min_length"][..],
        ),
        ("genai-perf-vllm.json", &["text_input", "exclude_input_in_output", "stream", "sampling_parameters"]),
    ] {
        let inputs = fs::read_to_string(folder().join("tests/fixtures/inputs").join(file)).unwrap();
        let inputs: Value = serde_json::from_str(&inputs).unwrap();
        for theirs in inputs["data"].as_array().unwrap() {
            let tensors = order.iter().map(|name| match &theirs[name][0] {
                Value::String(text) => strings(name, &[1, 1], &[text.as_bytes()]),
                Value::Bool(value) => tensor(name, Datatype::Bool, &[1, 1], &[u8::from(*value)]),
                number => tensor(name, Datatype::Int32, &[1, 1], &(number.as_i64().unwrap() as i32).to_le_bytes()),
            });
            let mut prompt = prompt(tensors.collect(), vec![]);
            prompt.model = theirs["model"].as_str().unwrap().into();
            let ours = codec(KserveGrpc, true, Kserve::default()).listed_input(&prompt);
            // As text, for the order of the members.
            assert_eq!(ours.to_string(), theirs.to_string());
        }
    }
}

#[test]
fn shapes_and_bytes_that_a_list_cannot_show() {
    let inputs = vec![
        tensor("a", Datatype::Uint8, &[1, 3], &[1, 2, 3]),
        tensor("b", Datatype::Uint8, &[2, 2], &[1, 2, 3, 4]),
        strings("c", &[1], &[b"\xff"]),
    ];
    let shown = codec(KserveGrpc, true, Kserve::default()).listed_input(&prompt(inputs, vec![]));
    let expected = r#"{"model":"m","a":[1,2,3],"b":{"content":[1,2,3,4],"shape":[2,2]},"c":{"content":{"b64":"AQAAAP8="},"shape":[1]}}"#;
    assert_eq!(shown.to_string(), expected);
}

#[test]
fn generate_requests() {
    let text = Prompt { payload: Payload::FromContent, ..llm_prompt() };
    let body = |backend, streaming, exact, prompt: &Prompt| {
        let mut endpoint = endpoint(Generate, streaming, Kserve { backend, ..Kserve::default() });
        endpoint.extra = json!({"end_id": 2}).as_object().unwrap().clone();
        let codec = Codec::new(&endpoint, exact);
        assert_eq!(codec.content_type(), "application/json");
        String::from_utf8(codec.encode(prompt).unwrap().body).unwrap()
    };
    assert_eq!(body(None, true, false, &text), r#"{"text_input":"hi","stream":true,"max_tokens":6,"end_id":2}"#);
    assert_eq!(
        body(Some(Backend::TensorrtLlm), false, true, &text),
        r#"{"text_input":"hi","max_tokens":6,"min_length":6,"end_id":2}"#
    );
    assert_eq!(
        body(Some(Backend::Vllm), true, true, &text),
        r#"{"text_input":"hi","stream":true,"sampling_parameters":"{\"max_tokens\":\"6\",\"min_tokens\":\"6\"}","end_id":2}"#
    );
    let batch = Prompt { content: Content::Texts(vec!["a".into(), "b".into()]), requested_output_tokens: None, ..text };
    assert_eq!(body(None, false, true, &batch), r#"{"text_input":["a","b"],"end_id":2}"#);
    assert_eq!(body(None, true, true, &llm_prompt()), r#"{"text_input":"grün","max_tokens":6,"end_id":2}"#);
}

#[test]
fn a_given_body_is_sent_as_it_is_but_for_added_members() {
    let mut endpoint = endpoint(Chat, true, Kserve::default());
    endpoint.ask_usage = true;
    let given = Prompt { payload: Payload::Body(json!({"b": 1, "a": [2]})), ..llm_prompt() };
    let body = |endpoint: &_| String::from_utf8(Codec::new(endpoint, true).encode(&given).unwrap().body).unwrap();
    assert_eq!(body(&endpoint), r#"{"b":1,"a":[2]}"#);
    endpoint.extra = json!({"b": 3, "c": 4}).as_object().unwrap().clone();
    assert_eq!(body(&endpoint), r#"{"b":3,"a":[2],"c":4}"#);
}
