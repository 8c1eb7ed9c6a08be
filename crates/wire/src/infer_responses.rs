//! Answers as files show them: the outputs of each response, from the bytes as they arrived.

use crate::endpoints::{Protocol, calls_stream, spec};
use crate::kserve::framing::Messages;
use crate::kserve::infer::document::Document;
use crate::kserve::infer::message::{InferMessage, StreamMessage};
use crate::kserve::infer::outputs::members;
use serde_json::{Map, Value};
use streamgauge_core::plan::Endpoint;

/// One response of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct InferResponse {
    /// The piece of the answer that completed it, from 0.
    pub piece: usize,
    /// Its outputs: a number, truth value or text, or a list where an output has several elements. Outputs that it lacks are
    /// empty texts.
    pub outputs: Map<String, Value>,
    /// Whether it has no outputs, as the empty final response of a stream.
    pub is_empty: bool,
}

/// The responses in the body of an answer of KServe v2, in the `pieces` into which the network cut it. Other endpoints have none. The
/// outputs have the order of `names`; further outputs of the answer follow them. The list ends at the first bytes that cannot be read,
/// which the record reports.
pub fn infer_responses<'a>(
    endpoint: &Endpoint,
    names: &[String],
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Vec<InferResponse> {
    let responses = match spec(endpoint.kind).protocol {
        Protocol::InferMessages => over_grpc(calls_stream(endpoint), pieces),
        Protocol::InferDocuments => over_http(pieces),
        Protocol::Json(_) => Vec::new(),
    };
    let mut names = names.to_vec();
    let others: Vec<String> = responses.iter().flat_map(|(_, outputs)| outputs.keys().cloned()).collect();
    for name in others {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let in_order = |(piece, mut outputs): (usize, Map<String, Value>)| InferResponse {
        piece,
        is_empty: outputs.is_empty(),
        outputs: names.iter().map(|name| (name.clone(), outputs.remove(name).unwrap_or_else(|| "".into()))).collect(),
    };
    responses.into_iter().map(in_order).collect()
}

type Said = Vec<(usize, Map<String, Value>)>;

fn over_grpc<'a>(streaming: bool, pieces: impl IntoIterator<Item = &'a [u8]>) -> Said {
    let mut messages = Messages::of_any_encoding();
    let mut responses = Vec::new();
    for (piece, bytes) in pieces.into_iter().enumerate() {
        let fed = messages.feed(bytes, &mut |message| {
            let outputs = grpc_outputs(streaming, message);
            let is_read = outputs.is_some();
            responses.extend(outputs.map(|outputs| (piece, outputs)));
            is_read
        });
        if fed.is_err() {
            break;
        }
    }
    responses
}

/// The outputs of a response. `None` if it reports a failure or cannot be read.
fn grpc_outputs(streaming: bool, message: &[u8]) -> Option<Map<String, Value>> {
    let response = if streaming {
        let message = StreamMessage::read(message).ok()?;
        message.response.filter(|_| message.error.is_empty())?
    } else {
        InferMessage::read(message).ok()?
    };
    members(&response).ok()
}

fn over_http<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Said {
    let mut body = Vec::new();
    let mut last = 0;
    for (piece, bytes) in pieces.into_iter().enumerate() {
        body.extend_from_slice(bytes);
        last = piece;
    }
    let document = Document::read_unmeasured(&body).ok().filter(|document| !document.is_error);
    document.and_then(|document| members(&document).ok()).map(|outputs| (last, outputs)).into_iter().collect()
}
