//! Steps with whole bodies for an OpenAI endpoint: `{"payload": [{..}]}`.

use super::json::{Fault, Node, Value as Json};
use super::steps::{self, Place, Timing};
use super::{InputError, Step};
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
    let model = body["model"].as_str().unwrap_or(model).to_owned();
    let asked = ["max_completion_tokens", "max_tokens"].into_iter().find_map(|name| body[name].as_u64());
    let requested_output_tokens = asked.and_then(|tokens| u32::try_from(tokens).ok());
    Prompt {
        content: Content::Texts(texts(&body)),
        tokens: 0,
        requested_output_tokens,
        model,
        payload: Payload::Body(body),
    }
}

/// The texts of a body: all of a chat's messages as one, or each of the texts to complete or embed.
fn texts(body: &Value) -> Vec<String> {
    if let Some(messages) = body["messages"].as_array() {
        let contents = messages.iter().flat_map(|message| match &message["content"] {
            Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
            content => content.as_str().into_iter().collect::<Vec<_>>(),
        });
        return vec![contents.collect::<Vec<_>>().join("\n")];
    }
    let texts = ["prompt", "input", "text_input", "inputs"].into_iter().find_map(|name| body.get(name));
    match texts {
        Some(Value::Array(texts)) => texts.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        Some(Value::String(text)) => vec![text.clone()],
        _ => Vec::new(),
    }
}
