//! Completions: prompts out. What comes in is read by [`crate::openai::choices`].

use serde_json::{Map, Value};
use streamgauge_core::Prompt;

/// The members of a request that only completions have; `texts` says in what form the texts are the prompt.
pub(crate) fn opening(prompt: &Prompt, texts: fn(&[String]) -> Value) -> Map<String, Value> {
    Map::from_iter([("model".into(), Value::from(prompt.model.as_str())), ("prompt".into(), texts(&prompt.texts()))])
}

/// Texts as a list, as GenAI-Perf writes them.
pub(crate) fn listed(texts: &[String]) -> Value {
    texts.into()
}

/// One text as such, which every server takes (transformers' server refuses a list), and any other number as a list.
pub(crate) fn sole(texts: &[String]) -> Value {
    match texts {
        [text] => text.as_str().into(),
        texts => listed(texts),
    }
}
