//! Chat completions: messages out. What comes in is read by [`crate::openai::choices`].

use serde_json::{Map, Value, json};
use streamgauge_core::Prompt;

/// The members of a request that only chat has: each text is a message of the user.
pub(crate) fn opening(prompt: &Prompt) -> Map<String, Value> {
    let messages = prompt.texts.iter().map(|text| json!({"role": "user", "content": text})).collect();
    Map::from_iter([("model".into(), Value::from(prompt.model.as_str())), ("messages".into(), Value::Array(messages))])
}
