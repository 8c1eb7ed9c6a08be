//! KServe v2 over both protocols: a real server's answers, requests as they go out, and bytes of every kind.

// Clippy lets only the test functions themselves unwrap; what they call is as much a test.
#![allow(clippy::unwrap_used)]

mod answers;
mod bytes;
mod capture;
mod infos;
mod requests;

use streamgauge_core::kserve::Kserve;
use streamgauge_core::plan::{Endpoint, EndpointKind};
use streamgauge_core::prompt::{Content, Payload, Prompt};
use streamgauge_core::tensor::{Datatype, Tensor};
use streamgauge_core::{Event, OutputKind};
use streamgauge_wire::endpoints::spec;
use streamgauge_wire::{AnswerContext, Codec};

/// Without `streaming` one of a model that is not decoupled: others are called over a stream all the same.
fn endpoint(kind: EndpointKind, streaming: bool, kserve: Kserve) -> Endpoint {
    let kserve = Kserve { decoupled: kserve.decoupled && streaming, ..kserve };
    Endpoint {
        kind,
        path: spec(kind).default_path("m", None, streaming),
        models: vec!["m".into()],
        streaming,
        ask_usage: false,
        kserve,
        ..streamgauge_testing::endpoint()
    }
}

fn codec(kind: EndpointKind, streaming: bool, kserve: Kserve) -> Codec {
    Codec::new(&endpoint(kind, streaming, kserve), false)
}

/// Of an LLM that answers by any number of responses.
fn llm() -> Kserve {
    Kserve { decoupled: true, text_output: Some("text_output".into()), ..Kserve::default() }
}

fn prompt(inputs: Vec<Tensor>, expected: Vec<Tensor>) -> Prompt {
    Prompt {
        content: Content::Texts(vec!["hi".into()]),
        tokens: 1,
        requested_output_tokens: Some(6),
        model: "m".into(),
        payload: Payload::Tensors { inputs, expected },
    }
}

fn strings(name: &str, shape: &[i64], elements: &[&[u8]]) -> Tensor {
    let mut data = Vec::new();
    elements.iter().for_each(|element| Tensor::push_string(&mut data, element));
    Tensor { name: name.into(), datatype: Datatype::Bytes, shape: shape.to_vec(), data }
}

fn tensor(name: &str, datatype: Datatype, shape: &[i64], data: &[u8]) -> Tensor {
    Tensor { name: name.into(), datatype, shape: shape.to_vec(), data: data.to_vec() }
}

/// An event as a line.
fn line(event: &Event<'_>) -> String {
    match event {
        Event::Output { kind: OutputKind::Text, choice, text } => format!("text {choice} {text:?}"),
        Event::Output { kind: OutputKind::Tensors, .. } => "tensors".into(),
        Event::Empty => ".".into(),
        Event::Done => "done".into(),
        Event::Error { message } => format!("error {message}"),
        Event::Unreadable { message, may_be_output: true } => format!("unreadable output {message}"),
        Event::Malformed { message } => format!("malformed {message}"),
        other => format!("{other:?}"),
    }
}

/// What a decoder says of these parts of an answer, and at its end.
fn said<'a>(codec: &Codec, answer: AnswerContext<'_>, parts: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
    let mut decoder = codec.decoder(None, answer);
    let mut seen = Vec::new();
    for part in parts {
        decoder.feed(part, &mut |event| seen.push(line(&event)));
    }
    decoder.finish(&mut |event| seen.push(line(&event)));
    seen
}
