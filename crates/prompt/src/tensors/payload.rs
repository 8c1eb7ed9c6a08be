//! Steps with whole bodies for an OpenAI endpoint: `{"payload": [{..}]}`.

use super::json::{Fault, Node, Value as Json};
use super::steps::{self, Place, Timing};
use super::{InputError, Step};
use crate::body;
use serde_json::Value;
use std::path::PathBuf;
use streamgauge_core::Prompt;
use streamgauge_core::prompt::{Content, Payload};

/// The steps of all files, in streams.
pub(super) fn read(files: &[PathBuf], model: &str) -> Result<Vec<Vec<Step>>, InputError> {
    steps::read_streams(files, |step, validation| {
        let mut timing = Timing::default();
        let mut body = None;
        for (name, node) in step.members {
            if name == "payload" {
                body = Some(step.within(name, of_node(step, node))?);
            } else if !step.within(name, timing.take(name, node))? {
                let reason = "this is not known; known are payload, timestamp, delay, session_id and model";
                return step.within(name, Err(Fault::new(node.at, reason)));
            }
        }
        if let Some(validation) = validation {
            return Err(validation.fault("the answers of an OpenAI endpoint are not held against any"));
        }
        let body = body.ok_or_else(|| step.fault("there is no payload, the body that is sent"))?;
        let Timing { at, delay, session } = timing;
        Ok(Step { prompt: prompt(body, model), at, delay, session })
    })
}

/// The body that a payload is: an object, or an array of one.
fn of_node(step: &Place<'_, '_>, node: &Node<'_>) -> Result<Value, Fault> {
    let node = match &node.value {
        Json::Array(values) => match &values[..] {
            [one] => one,
            _ => return Err(Fault::new(node.at, format!("{} bodies are given, and one is accepted", values.len()))),
        },
        _ => node,
    };
    if !matches!(node.value, Json::Object(_)) {
        return Err(Fault::new(node.at, format!("{} is not a body, which is an object", node.kind())));
    }
    serde_json::from_str(&step.text[node.at..node.end])
        .map_err(|_| Fault::new(node.at, "the body that begins here has a number that JSON does not have, such as NaN"))
}

fn prompt(body: Value, model: &str) -> Prompt {
    Prompt {
        content: Content::Texts(body::texts(&body)),
        tokens: 0,
        requested_output_tokens: body::requested_output_tokens(&body),
        model: body["model"].as_str().unwrap_or(model).to_owned(),
        payload: Payload::Body(body),
    }
}
