//! Completions: prompts out, texts in.

use crate::answer::{Choice, Piece, Text};
use serde::Deserialize;
use serde_json::{Map, Value};
use streamgauge_core::{OutputKind, Prompt};

/// The members of a request that only completions have: the texts, always as a list.
pub(crate) fn opening(prompt: &Prompt) -> Map<String, Value> {
    Map::from_iter([
        ("model".into(), Value::from(prompt.model.as_str())),
        ("prompt".into(), Value::from(prompt.texts.as_slice())),
    ])
}

/// One entry of `choices`, in a stream and in a whole answer alike.
#[derive(Deserialize)]
pub(crate) struct CompletionsChoice<'a> {
    index: Option<u32>,
    #[serde(borrow)]
    text: Option<Text<'a>>,
    #[serde(borrow)]
    finish_reason: Option<Text<'a>>,
}

impl Choice for CompletionsChoice<'_> {
    fn index(&self) -> u32 {
        self.index.unwrap_or(0)
    }

    fn outputs<'s>(&'s self, put: &mut impl FnMut(Piece<'s>)) {
        if let Some(text) = self.text.as_ref().filter(|text| !text.0.is_empty()) {
            put(Piece::new(OutputKind::Text, text));
        }
    }

    fn finish_reason(&self) -> &str {
        self.finish_reason.as_ref().map_or("", |reason| &reason.0)
    }
}
