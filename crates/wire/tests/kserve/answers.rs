//! Answers to inference requests.

use crate::capture::{framed, load};
use crate::{codec, endpoint, line, llm, said, strings, tensor};
use prost::Message;
use serde_json::json;
use streamgauge_core::kserve::{Kserve, SharedMemory};
use streamgauge_core::plan::EndpointKind::{Generate, KserveGrpc, KserveHttp};
use streamgauge_core::tensor::Datatype;
use streamgauge_wire::grpc::{framed as frame, grpc_status};
use streamgauge_wire::proto::infer_parameter::ParameterChoice;
use streamgauge_wire::proto::model_infer_response::InferOutputTensor;
use streamgauge_wire::proto::{InferParameter, InferTensorContents, ModelInferResponse, ModelStreamInferResponse};
use streamgauge_wire::{AnswerContext, infer_responses};

const SEVEN: AnswerContext<'static> = AnswerContext { id: 7, expected: &[], header_length: None, encoding: None };

/// What a captured stream says as the answer to request 7, whole and byte by byte.
fn stream(name: &str, kserve: Kserve) -> Vec<String> {
    let (messages, status) = load(name);
    assert_eq!(status, "OK", "{name}");
    let body = framed(&messages);
    let codec = codec(KserveGrpc, true, kserve);
    let whole = said(&codec, SEVEN, [&body[..]]);
    assert_eq!(said(&codec, SEVEN, body.chunks(1)), whole, "{name}");
    whole
}

fn start<'s>(lines: &'s [String], start: &str) -> &'s str {
    let [.., last] = lines else { panic!("no events") };
    assert!(last.starts_with(start), "{last}");
    last
}

#[test]
fn captured_streams_of_decoupled_models() {
    let tokens = ["text 0 \" the\"", "text 0 \" fox\"", "text 0 \" fox\""];
    // Without the wish for a final response the stream never says that the request is over.
    assert_eq!(stream("triton-grpc-stream-ensemble.txt", llm()), tokens);
    assert_eq!(stream("triton-grpc-stream-bls.txt", llm()), tokens);
    assert_eq!(stream("triton-grpc-stream-ensemble-final.txt", llm()), [&tokens[..], &[".", "done"]].concat());
    assert_eq!(stream("triton-grpc-stream-bls-final.txt", llm()), [&tokens[..], &[".", "done"]].concat());
    let vllm = ["text 0 \" fox\"", "text 0 \" jumps\"", "text 0 \" over\"", "done"];
    assert_eq!(stream("triton-grpc-stream-vllm-final.txt", llm()), vllm);
    assert_eq!(stream("triton-grpc-stream-ensemble-whole.txt", llm()), ["text 0 \" the fox fox\"", "done"]);
    assert_eq!(stream("triton-grpc-stream-nondecoupled.txt", llm()), ["text 0 \"HELLO\"", "done"]);
}

#[test]
fn without_a_text_output_responses_are_tensors() {
    let kserve = Kserve { decoupled: true, ..Kserve::default() };
    let tensors = ["tensors", "tensors", "tensors", ".", "done"];
    assert_eq!(stream("triton-grpc-stream-ensemble-final.txt", kserve), tensors);
}

#[test]
fn captured_failures_on_streams() {
    let midway = stream("triton-grpc-err-stream-midway.txt", llm());
    let expected = ["text 0 \" quick\"", "text 0 \" brown\"", "error engine failed after 2 tokens", "done"];
    assert_eq!(midway, expected);
    let missing = stream("triton-grpc-err-stream-missing-input.txt", llm());
    start(&missing, "error [request id: 7] expected number of inputs between 2 and 4 but got 1");
    let unknown = stream("triton-grpc-err-stream-model.txt", llm());
    assert_eq!(unknown[0], "error Request for unknown model: 'nope' is not found");
}

#[test]
fn two_requests_of_one_id_are_told_apart_by_the_first_end() {
    let seen = stream("triton-grpc-stream-two-requests.txt", llm());
    start(&seen, "malformed a response after the last one");
    assert_eq!(seen.iter().filter(|line| *line == "done").count(), 1);
}

#[test]
fn nothing_may_follow_the_last_response() {
    let (messages, _) = load("triton-grpc-stream-nondecoupled.txt");
    let codec = codec(KserveGrpc, true, llm());
    for rest in [&b"\0"[..], &[3; 5], &framed(&messages), &frame(b"\xff")] {
        let body = [&framed(&messages), rest].concat();
        let expected = ["text 0 \"HELLO\"", "done", "malformed a response after the last one"];
        assert_eq!(said(&codec, SEVEN, [&body[..]]), expected);
        assert_eq!(said(&codec, SEVEN, body.chunks(1)), expected);
    }
}

#[test]
fn captured_unary_answers() {
    let (messages, status) = load("triton-grpc-infer.txt");
    assert_eq!(status, "OK");
    let mut response = ModelInferResponse::decode(&messages[0][..]).unwrap();
    assert_eq!(response.id, "u1");
    let unary = codec(KserveGrpc, false, Kserve::default());
    let strange = said(&unary, SEVEN, [&framed(&messages)[..]]);
    start(&strange, "malformed not a kserve response: a response to request `u1`, and this is request `7`: ");
    response.id = "7".into();
    let body = frame(&response.encode_to_vec());
    assert_eq!(said(&unary, SEVEN, [&body[..]]), ["tensors"]);
    start(&said(&unary, SEVEN, [&body[..], &body]), "malformed a response after the last one");
    assert_eq!(said(&unary, SEVEN, []), ["malformed the answer is empty"]);
    assert_eq!(said(&unary, SEVEN, [&body[..9]]), ["malformed the answer ends inside a message"]);

    let twos: Vec<u8> = [2.0_f32; 4].iter().flat_map(|value| value.to_le_bytes()).collect();
    let expect = |name: &str, data: &[u8]| {
        let expected = [tensor(name, Datatype::Fp32, &[1, 4], data)];
        said(&unary, AnswerContext { expected: &expected, ..SEVEN }, [&body[..]])
    };
    assert_eq!(expect("OUTPUT0", &twos), ["tensors"]);
    assert_eq!(
        expect("OUTPUT1", &twos),
        ["tensors", "error output OUTPUT1 is not what the validation data say: they differ from byte 3 on"]
    );
    assert_eq!(
        expect("OUTPUT0", &twos[..4]),
        [
            "tensors",
            "error output OUTPUT0 is not what the validation data say: they differ from byte 4 on (16 bytes, not 4)"
        ]
    );
    assert_eq!(expect("OUTPUT2", &twos), ["tensors", "error output OUTPUT2 is missing"]);
}

#[test]
fn captured_statuses_are_what_trailers_say() {
    for (name, code) in [
        ("triton-grpc-err-infer-backend.txt", 13),
        ("triton-grpc-err-infer-decoupled.txt", 12),
        ("triton-grpc-err-infer-model.txt", 5),
        ("triton-grpc-err-infer-shape.txt", 3),
    ] {
        let (messages, status) = load(name);
        assert!(messages.is_empty());
        let message = status.split_once(": ").unwrap().1.to_owned();
        let code = code.to_string();
        let headers = |header: &str| match header {
            "grpc-status" => Some(&code[..]),
            "grpc-message" => Some(&message[..]),
            _ => None,
        };
        assert_eq!(grpc_status(headers), Err(status), "{name}");
    }
}

/// A response to request 7 with these outputs.
fn response(outputs: Vec<InferOutputTensor>, raw: Vec<&'static [u8]>) -> ModelInferResponse {
    let raw_output_contents = raw.into_iter().map(Into::into).collect();
    ModelInferResponse { id: "7".into(), outputs, raw_output_contents, ..ModelInferResponse::default() }
}

fn output(name: &str, datatype: &str, shape: &[i64]) -> InferOutputTensor {
    InferOutputTensor {
        name: name.into(),
        datatype: datatype.into(),
        shape: shape.to_vec(),
        ..InferOutputTensor::default()
    }
}

fn unary(response: &ModelInferResponse) -> Vec<String> {
    said(&codec(KserveGrpc, false, llm()), SEVEN, [&frame(&response.encode_to_vec())[..]])
}

#[test]
fn elements_of_a_batch_are_answers_of_their_own() {
    let said = unary(&response(vec![output("text_output", "BYTES", &[3, 1])], vec![b"\x01\0\0\0a\0\0\0\0\x01\0\0\0c"]));
    assert_eq!(said, ["text 0 \"a\"", "text 2 \"c\""]);
    // A response without any text is one all the same.
    assert_eq!(unary(&response(vec![output("text_output", "BYTES", &[1])], vec![b"\0\0\0\0"])), ["tensors"]);
    // Bytes that are no text are still output.
    let broken = unary(&response(vec![output("text_output", "BYTES", &[1])], vec![b"\x01\0\0\0\xff"]));
    assert_eq!(broken, ["text 0 \"\u{fffd}\""]);
}

#[test]
fn contents_as_numbers_are_read_as_bytes_are() {
    let contents = InferTensorContents { bytes_contents: vec!["x".into()], ..InferTensorContents::default() };
    let text = InferOutputTensor { contents: Some(contents), ..output("text_output", "BYTES", &[1]) };
    let contents = InferTensorContents { int_contents: vec![-1, 2], ..InferTensorContents::default() };
    let numbers = InferOutputTensor { contents: Some(contents), ..output("n", "INT16", &[2]) };
    let response = response(vec![text, numbers], vec![]);
    assert_eq!(unary(&response), ["text 0 \"x\""]);
    let expected = [tensor("n", Datatype::Int16, &[2], &[0xff, 0xff, 2, 0])];
    let body = frame(&response.encode_to_vec());
    let codec = codec(KserveGrpc, false, llm());
    assert_eq!(said(&codec, AnswerContext { expected: &expected, ..SEVEN }, [&body[..]]), ["text 0 \"x\""]);
}

#[test]
fn outputs_in_shared_memory_have_no_data_here() {
    let region = InferParameter { parameter_choice: Some(ParameterChoice::StringParam("r".into())) };
    let shared = InferOutputTensor {
        parameters: [("shared_memory_region".to_owned(), region)].into(),
        ..output("text_output", "BYTES", &[1])
    };
    for raw in [vec![], vec![&b"\x01\0\0\0x"[..]], vec![&b""[..], b"\x01\0\0\0x"]] {
        let outputs =
            if raw.is_empty() { vec![shared.clone()] } else { vec![shared.clone(), output("b", "BYTES", &[1])] };
        assert_eq!(unary(&response(outputs, raw)), ["tensors"]);
    }
}

/// Triton does not say of an output where it lies; it comes without data.
#[test]
fn outputs_asked_for_in_shared_memory_come_without_data() {
    let kserve = Kserve {
        outputs: vec!["OUTPUT0".into(), "OUTPUT1".into()],
        shared_memory: Some(SharedMemory { output_bytes: 64 }),
        ..llm()
    };
    let outputs = vec![output("OUTPUT0", "FP32", &[1, 4]), output("OUTPUT1", "FP32", &[1, 4])];
    let body = frame(&response(outputs, vec![b"", b""]).encode_to_vec());
    assert_eq!(said(&codec(KserveGrpc, false, kserve.clone()), SEVEN, [&body[..]]), ["tensors"]);
    let shown = infer_responses(&endpoint(KserveGrpc, false, kserve.clone()), &[], [&body[..]]);
    assert_eq!(json!(shown[0].outputs), json!({"OUTPUT0": "", "OUTPUT1": ""}));
    let json = br#"{"model_name":"add_sub","outputs":[{"name":"OUTPUT0","datatype":"FP32","shape":[1,4]}]}"#;
    assert_eq!(said(&codec(KserveHttp, false, kserve), SEVEN, [&json[..]]), ["tensors"]);
    // Without the wish they are missing.
    start(
        &said(&codec(KserveHttp, false, llm()), SEVEN, [&json[..]]),
        "malformed not a kserve_http answer: output OUTPUT0: 0 bytes",
    );
}

#[test]
fn data_that_do_not_fit_their_shape_are_malformed() {
    for (outputs, raw, why) in [
        (vec![output("n", "INT32", &[2])], vec![&b"1234"[..]], "output n: 4 bytes for 2 elements of INT32"),
        (vec![output("n", "INT32", &[-1])], vec![b"1234"], "output n: its shape has a negative dimension, or too many"),
        (
            vec![output("n", "INT32", &[i64::MAX, 9])],
            vec![b""],
            "output n: its shape has a negative dimension, or too many",
        ),
        (vec![output("t", "BYTES", &[2])], vec![b"\0\0\0\0"], "output t: 1 elements of BYTES for 2"),
        (vec![output("t", "BYTES", &[1])], vec![b"\x02\0\0\0a"], "output t: elements of BYTES that are not as long as"),
        (vec![output("n", "INT32", &[1])], vec![b"1234", b"1234"], "1 outputs and 2 contents"),
        (vec![output("n", "INT32", &[1])], vec![], "output n: 0 bytes for 1 elements of INT32"),
    ] {
        let seen = unary(&response(outputs, raw));
        start(&seen, &format!("malformed not a kserve response: {why}"));
    }
    // A type that is not known is not measured.
    assert_eq!(unary(&response(vec![output("n", "FP8", &[2])], vec![b"1"])), ["tensors"]);
}

#[test]
fn a_response_that_does_not_say_whether_it_is_the_last() {
    let response = response(vec![output("text_output", "BYTES", &[1])], vec![b"\x01\0\0\0x"]);
    let message = ModelStreamInferResponse { infer_response: Some(response), ..ModelStreamInferResponse::default() };
    let body = frame(&message.encode_to_vec());
    let ordinary = Kserve { decoupled: false, ..llm() };
    assert_eq!(said(&codec(KserveGrpc, true, ordinary), SEVEN, [&body[..]]), ["text 0 \"x\"", "done"]);
    assert_eq!(said(&codec(KserveGrpc, true, llm()), SEVEN, [&body[..], &body]), ["text 0 \"x\"", "text 0 \"x\""]);
}

#[test]
fn strangers_and_nothing_are_malformed() {
    let codec = codec(KserveGrpc, true, llm());
    let of = |message: ModelStreamInferResponse| said(&codec, SEVEN, [&frame(&message.encode_to_vec())[..]]);
    let mut stranger = response(vec![], vec![]);
    stranger.id = "8".into();
    let message = ModelStreamInferResponse { infer_response: Some(stranger), ..ModelStreamInferResponse::default() };
    start(
        &of(message.clone()),
        "malformed not a kserve response: a response to request `8`, and this is request `7`: ",
    );
    // One that failed, too.
    start(&of(ModelStreamInferResponse { error_message: "no".into(), ..message }), "malformed");
    start(&of(ModelStreamInferResponse::default()), "malformed not a kserve response: a response to request ``");
    let error = ModelStreamInferResponse { error_message: "no".into(), infer_response: None };
    assert_eq!(of(error), ["error no"]);
}

#[test]
fn which_answers_say_that_they_are_complete() {
    let says = |kind, streaming, media: &str| {
        codec(kind, streaming, llm()).decoder(Some(media), AnswerContext::default()).says_when_complete()
    };
    assert!(says(KserveGrpc, true, "application/grpc"));
    assert!(!says(KserveGrpc, false, "application/grpc"));
    assert!(!says(KserveHttp, false, "application/json"));
    assert!(!says(Generate, true, "text/event-stream"));
    assert!(says(streamgauge_core::plan::EndpointKind::Chat, true, "text/event-stream"));
}

#[test]
fn responses_as_exports_show_them() {
    let (messages, _) = load("triton-grpc-stream-ensemble-final.txt");
    let grpc = endpoint(KserveGrpc, true, llm());
    let pieces: Vec<Vec<u8>> = messages.iter().map(|message| frame(message)).collect();
    let names = ["text_output".to_owned(), "sequence_length".to_owned()];
    let said = infer_responses(&grpc, &names, pieces.iter().map(|piece| &piece[..]));
    let shown: Vec<_> = said.iter().map(|response| serde_json::to_string(&response.outputs).unwrap()).collect();
    assert_eq!(
        shown,
        [
            r#"{"text_output":" the","sequence_length":1}"#,
            r#"{"text_output":" fox","sequence_length":1}"#,
            r#"{"text_output":" fox","sequence_length":1}"#,
            r#"{"text_output":"","sequence_length":""}"#,
        ]
    );
    assert_eq!(
        said.iter().map(|response| (response.piece, response.is_empty)).collect::<Vec<_>>(),
        [(0, false), (1, false), (2, false), (3, true)]
    );
    // The piece is the one that completed the response; names that were not given come from the answer.
    let body = pieces.concat();
    let said = infer_responses(&grpc, &[], body.chunks(pieces[0].len() - 1));
    assert_eq!(said.iter().map(|response| response.piece).collect::<Vec<_>>()[..2], [1, 2]);
    assert_eq!(serde_json::to_string(&said[3].outputs).unwrap(), r#"{"sequence_length":"","text_output":""}"#);
    // A failure is no response.
    let (messages, _) = load("triton-grpc-err-stream-midway.txt");
    assert_eq!(infer_responses(&grpc, &[], [&framed(&messages)[..]]).len(), 2);
}

#[test]
fn documents_as_exports_show_them() {
    let http = endpoint(KserveHttp, false, Kserve::default());
    let outputs = |body: &[u8]| {
        let (first, rest) = body.split_at(body.len() / 2);
        let said = infer_responses(&http, &[], [first, rest]);
        said.into_iter().map(|response| (response.piece, json!(response.outputs))).collect::<Vec<_>>()
    };
    let json = br#"{"outputs":[{"name":"A","datatype":"FP32","shape":[1,2],"data":[1.5,2]},{"name":"B","datatype":"BYTES","shape":[1],"data":["x"]}]}"#;
    assert_eq!(outputs(json), [(1, json!({"A": [1.5, 2.0], "B": "x"}))]);
    let binary = b"{\"outputs\":[{\"name\":\"A\",\"datatype\":\"INT8\",\"shape\":[2],\"parameters\":{\"binary_data_size\":2}}]} \x07";
    assert_eq!(outputs(binary), [(1, json!({"A": [32, 7]}))]);
    assert_eq!(outputs(br#"{"error":"no"}"#), []);
    assert_eq!(outputs(b"[]"), []);
}

#[test]
fn documents_of_every_form() {
    let codec = codec(KserveHttp, false, llm());
    let of = |body: &[u8], header_length| said(&codec, AnswerContext { header_length, ..SEVEN }, [body]);
    assert_eq!(
        of(br#"{"outputs":[{"name":"text_output","datatype":"BYTES","shape":[2],"data":["a",""]}]}"#, None),
        ["text 0 \"a\""]
    );
    assert_eq!(of(br#"{"error":"no"}"#, None), ["error no"]);
    assert_eq!(of(br#"{"outputs":[]}"#, None), ["."]);
    assert_eq!(of(b"", None), ["malformed the answer is empty"]);
    let json =
        br#"{"outputs":[{"name":"text_output","datatype":"BYTES","shape":[1],"parameters":{"binary_data_size":5}}]}"#;
    let body = [&json[..], b"\x01\0\0\0x"].concat();
    assert_eq!(of(&body, Some(json.len())), ["text 0 \"x\""]);
    let expected = [strings("text_output", &[1], &[b"y"])];
    let seen =
        said(&codec, AnswerContext { expected: &expected, header_length: Some(json.len()), ..SEVEN }, [&body[..]]);
    assert_eq!(
        line_of(&seen, 1),
        "error output text_output is not what the validation data say: they differ from byte 4 on"
    );
    for (body, header, why) in [
        (&body[..], Some(body.len() + 1), "Inference-Header-Content-Length is 109, and the body has 108"),
        (&body[..body.len() - 1], Some(json.len()), "output text_output: its binary data are longer than the body"),
        (&[&body[..], b"z"].concat(), Some(json.len()), "1 bytes behind the last output"),
        (
            br#"{"outputs":[{"name":"n","datatype":"INT8","shape":[1],"data":[300]}]}"#,
            None,
            "output n: 300 is not of type INT8",
        ),
        (br#"[[]]"#, None, "a value of a type that may not stand there, at column "),
    ] {
        start(&of(body, header), &format!("malformed not a kserve_http answer: {why}"));
    }
}

fn line_of(lines: &[String], at: usize) -> &str {
    &lines[at]
}

#[test]
fn generate_answers_of_every_form() {
    let codec = codec(Generate, true, llm());
    let of = |data: &str| {
        let mut decoder = codec.decoder(Some("text/event-stream"), AnswerContext::default());
        let mut seen = Vec::new();
        decoder.feed(format!("data: {data}\n\n").as_bytes(), &mut |event| seen.push(line(&event)));
        decoder.finish(&mut |event| seen.push(line(&event)));
        seen
    };
    assert_eq!(of(r#"{"text_output":["a","","c"]}"#), ["text 0 \"a\"", "text 2 \"c\""]);
    assert_eq!(of(r#"{"text_output":"","x":1}"#), ["tensors"]);
    assert_eq!(of(r#"{"text_output":7}"#), ["tensors"]);
    assert_eq!(of("{}"), ["."]);
    assert_eq!(of(r#"{"text_output":"a","error":null}"#), ["text 0 \"a\""]);
    assert_eq!(of(r#"{"text_output":"a","error":"late"}"#), ["error late"]);
    assert_eq!(of(r#"{"text_output":"a","text_output":"b"}"#), ["text 0 \"b\""]);
    assert_eq!(of(r#"{"text_output":"a","error":""}"#), ["text 0 \"a\""]);
    assert_eq!(of(r#"{"text_output":"a","finish_reason":{"type":"stop"}}"#).len(), 2);
    start(&of("[]"), "unreadable output not a generate chunk: a value of a type that may not stand there, at column 1");
    assert_eq!(of("{} x"), [".", "unreadable output not a generate chunk: not JSON at column 1: {} x"]);
}
