//! Completions: prompts out. What comes in is read by [`crate::answer`].

use serde_json::{Map, Value};
use streamgauge_core::Prompt;

/// The members of a request that only completions have: the texts, always as a list.
pub(crate) fn opening(prompt: &Prompt) -> Map<String, Value> {
    Map::from_iter([
        ("model".into(), Value::from(prompt.model.as_str())),
        ("prompt".into(), Value::from(prompt.texts.as_slice())),
    ])
}
