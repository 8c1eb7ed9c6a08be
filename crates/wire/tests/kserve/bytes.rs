//! Bytes of every kind: all datatypes there and back, however cut; what is no answer; the reader against the generated code.

use crate::{codec, endpoint, llm, prompt, said, tensor};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use prost::Message;
use prost::bytes::Bytes;
use serde_json::Value;
use streamgauge_core::kserve::Kserve;
use streamgauge_core::plan::EndpointKind::{Generate, KserveGrpc, KserveHttp};
use streamgauge_core::tensor::{Datatype, Tensor};
use streamgauge_wire::grpc::framed;
use streamgauge_wire::kserve::{Protocol, model_info, ready, server_info, statistics};
use streamgauge_wire::proto::infer_parameter::ParameterChoice;
use streamgauge_wire::proto::model_infer_response::InferOutputTensor;
use streamgauge_wire::proto::{InferParameter, ModelInferRequest, ModelInferResponse, ModelStreamInferResponse};
use streamgauge_wire::{AnswerContext, Tag, infer_responses};

/// A tensor of any type and few elements.
fn any_tensor() -> impl Strategy<Value = Tensor> {
    let datatype = prop::sample::select(&Datatype::ALL[..]);
    (datatype, vec(vec(any::<u8>(), 0..9), 0..5), "[a-z]{1,6}").prop_map(|(datatype, elements, name)| {
        let mut data = Vec::new();
        for element in &elements {
            match datatype.size() {
                None => Tensor::push_string(&mut data, element),
                Some(size) => data.extend(element.iter().copied().chain([0; 8]).take(size)),
            }
        }
        Tensor { name, datatype, shape: vec![1, elements.len() as i64], data }
    })
}

fn cut<'a>(body: &'a [u8], places: &[Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = places.iter().map(|place| place.index(body.len() + 1)).collect();
    places.extend([0, body.len()]);
    places.sort_unstable();
    places.windows(2).map(|pair| &body[pair[0]..pair[1]]).collect()
}

/// The answer of a server that sends back what it got.
fn echo(request: &ModelInferRequest) -> ModelInferResponse {
    let outputs = request.inputs.iter().map(|input| InferOutputTensor {
        name: input.name.clone(),
        datatype: input.datatype.clone(),
        shape: input.shape.clone(),
        ..InferOutputTensor::default()
    });
    ModelInferResponse {
        id: request.id.clone(),
        outputs: outputs.collect(),
        raw_output_contents: request.raw_input_contents.clone(),
        ..ModelInferResponse::default()
    }
}

proptest! {
    #[test]
    fn every_tensor_comes_back_over_grpc(input in any_tensor(), id: u64, places in vec(any::<Index>(), 0..8)) {
        let codec = codec(KserveGrpc, false, Kserve::default());
        let prompt = prompt(vec![input.clone()], vec![]);
        let request_with_tag = codec.with_tag(&codec.encode(&prompt).unwrap(), &Tag { id, sequence: None }).unwrap();
        let request = ModelInferRequest::decode(&request_with_tag.body[5..]).unwrap();
        let body = framed(&echo(&request).encode_to_vec());
        let answer = AnswerContext { id, expected: std::slice::from_ref(&input), ..AnswerContext::default() };
        prop_assert_eq!(said(&codec, answer, cut(&body, &places)), ["tensors"]);
        // The comparison sees one changed byte.
        let mut other = input.clone();
        if let Some(last) = other.data.last_mut() {
            *last ^= 1;
            let answer = AnswerContext { expected: &[other], ..answer };
            let seen = said(&codec, answer, [&body[..]]);
            prop_assert!(seen[1].starts_with("error output "), "{:?}", seen);
        }
    }

    #[test]
    fn every_tensor_comes_back_over_http(input in any_tensor(), places in vec(any::<Index>(), 0..8)) {
        let codec = codec(KserveHttp, false, Kserve::default());
        let encoded = codec.encode(&prompt(vec![input.clone()], vec![])).unwrap();
        // What a server that sends back what it got would say.
        let mut document: Value = serde_json::from_slice(&encoded.body[..encoded.json]).unwrap();
        let outputs = document["inputs"].take();
        let json = serde_json::json!({"outputs": outputs}).to_string();
        let body = [json.as_bytes(), &encoded.body[encoded.json..]].concat();
        let answer = AnswerContext { expected: &[input], header_length: Some(json.len()), ..AnswerContext::default() };
        prop_assert_eq!(said(&codec, answer, cut(&body, &places)), ["tensors"]);
    }

    /// The reader that allocates nothing says what the generated code says.
    #[test]
    fn reader_and_generated_code_agree(
        error in prop_oneof![Just(String::new()), "[a-z]{1,4}"],
        texts in vec(vec(".{0,6}", 0..3), 0..3),
        last in prop::option::of(any::<bool>()),
        strange in prop::option::of("[a-z]{1,4}"),
    ) {
        let mut parameters: std::collections::BTreeMap<_, _> = strange.into_iter().map(|name| {
            (name, InferParameter { parameter_choice: Some(ParameterChoice::DoubleParam(1.5)) })
        }).collect();
        if let Some(last) = last {
            let last = InferParameter { parameter_choice: Some(ParameterChoice::BoolParam(last)) };
            parameters.insert("triton_final_response".into(), last);
        }
        let output = |texts: &Vec<String>| InferOutputTensor {
            name: "text_output".into(),
            datatype: "BYTES".into(),
            shape: vec![texts.len() as i64],
            ..InferOutputTensor::default()
        };
        let raw = |texts: &Vec<String>| {
            let mut data = Vec::new();
            texts.iter().for_each(|text| Tensor::push_string(&mut data, text.as_bytes()));
            Bytes::from(data)
        };
        let response = ModelInferResponse {
            model_name: "m".into(),
            model_version: "1".into(),
            id: "3".into(),
            parameters,
            outputs: texts.iter().map(output).collect(),
            raw_output_contents: texts.iter().map(raw).collect(),
        };
        let message = ModelStreamInferResponse { error_message: error.clone(), infer_response: Some(response) };
        let mut expected = Vec::new();
        if !error.is_empty() {
            expected.push(format!("error {error}"));
        }
        let said_texts = texts.iter().flat_map(|texts| texts.iter().enumerate()).filter(|(_, text)| !text.is_empty());
        let said_texts: Vec<_> = said_texts.map(|(choice, text)| format!("text {choice} {text:?}")).collect();
        if said_texts.is_empty() && !texts.is_empty() {
            expected.push("tensors".into());
        }
        expected.extend(said_texts);
        if texts.is_empty() && error.is_empty() {
            expected.push(".".into());
        }
        if last == Some(true) {
            expected.push("done".into());
        }
        let body = framed(&message.encode_to_vec());
        let answer = AnswerContext { id: 3, ..AnswerContext::default() };
        prop_assert_eq!(said(&codec(KserveGrpc, true, llm()), answer, [&body[..]]), expected);
    }

    #[test]
    fn no_bytes_panic_and_the_cut_changes_nothing(
        message in vec(prop_oneof![any::<u8>(), prop::sample::select(&b"\x0a\x12\x1a\x22\x2a\x32\0\x01\x02"[..])], 0..120),
        places in vec(any::<Index>(), 0..8),
        header_length in prop::option::of(0..90_usize),
        encoding in prop::option::of(prop::sample::select(&["gzip", "deflate", "identity"][..])),
    ) {
        let expected = [tensor("x", Datatype::Int8, &[1], &[1])];
        let answer = AnswerContext { id: 0, expected: &expected, header_length, encoding };
        for (kind, streaming) in [(KserveGrpc, true), (KserveGrpc, false), (KserveHttp, false), (Generate, false)] {
            for body in [message.clone(), framed(&message)] {
                let codec = codec(kind, streaming, llm());
                let whole = said(&codec, answer, [&body[..]]);
                prop_assert_eq!(said(&codec, answer, cut(&body, &places)), whole);
                let _ = infer_responses(&endpoint(kind, streaming, llm()), &[], cut(&body, &places));
            }
        }
        for protocol in [Protocol::Grpc, Protocol::Http] {
            let _ = server_info(protocol, &message);
            let _ = statistics(protocol, &message);
            let _ = ready(protocol, 500, &message);
            let _ = model_info(protocol, &message, &message);
        }
    }

    /// A captured response with one byte changed.
    #[test]
    fn a_damaged_response_never_panics(at in any::<Index>(), byte: u8) {
        let (messages, _) = crate::capture::load("triton-grpc-stream-ensemble-final.txt");
        let mut body = crate::capture::framed(&messages);
        let at = at.index(body.len());
        body[at] = byte;
        let codec = codec(KserveGrpc, true, llm());
        let answer = AnswerContext { id: 7, ..AnswerContext::default() };
        prop_assert_eq!(said(&codec, answer, body.chunks(5)), said(&codec, answer, [&body[..]]));
    }
}
