//! Chat completions: messages out; deltas, or one message for each answer, in.

use crate::answer::{Choice, Object, Piece, Text};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use streamgauge_core::{OutputKind, Prompt};

/// The members of a request that only chat has: each text is a message of the user.
pub(crate) fn opening(prompt: &Prompt) -> Map<String, Value> {
    let messages = prompt.texts.iter().map(|text| json!({"role": "user", "content": text})).collect();
    Map::from_iter([("model".into(), Value::from(prompt.model.as_str())), ("messages".into(), Value::Array(messages))])
}

/// One entry of `choices`: with a `delta` in a stream, with a `message` in a whole answer.
#[derive(Deserialize)]
pub(crate) struct ChatChoice<'a> {
    index: Option<u32>,
    #[serde(borrow)]
    delta: Option<Object<Message<'a>>>,
    #[serde(borrow)]
    message: Option<Object<Message<'a>>>,
    #[serde(borrow)]
    finish_reason: Option<Text<'a>>,
}

/// What the model said. Reasoning goes under two names, and some servers send both.
#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    content: Option<Text<'a>>,
    #[serde(borrow)]
    reasoning_content: Option<Text<'a>>,
    #[serde(borrow)]
    reasoning: Option<Text<'a>>,
    #[serde(borrow)]
    tool_calls: Option<Vec<Object<ToolCall<'a>>>>,
    /// What tool calls were before they were a list.
    #[serde(borrow)]
    function_call: Option<Object<Function<'a>>>,
}

#[derive(Deserialize)]
struct ToolCall<'a> {
    #[serde(borrow)]
    function: Option<Object<Function<'a>>>,
}

#[derive(Deserialize)]
struct Function<'a> {
    #[serde(borrow)]
    name: Option<Text<'a>>,
    #[serde(borrow)]
    arguments: Option<Text<'a>>,
}

impl Choice for ChatChoice<'_> {
    fn index(&self) -> u32 {
        self.index.unwrap_or(0)
    }

    fn outputs<'s>(&'s self, put: &mut impl FnMut(Piece<'s>)) {
        for Object(message) in self.delta.iter().chain(&self.message) {
            message.reasoning(put);
            if let Some(content) = present(&message.content) {
                put(Piece::new(OutputKind::Text, content));
            }
            for Object(call) in message.tool_calls.iter().flatten() {
                if let Some(Object(function)) = &call.function {
                    function.call(put);
                }
            }
            if let Some(Object(function)) = &message.function_call {
                function.call(put);
            }
        }
    }

    fn finish_reason(&self) -> &str {
        self.finish_reason.as_ref().map_or("", |reason| &reason.0)
    }
}

impl Message<'_> {
    fn reasoning<'s>(&'s self, put: &mut impl FnMut(Piece<'s>)) {
        let first = present(&self.reasoning_content);
        let second = present(&self.reasoning);
        if let (Some(first), Some(second)) = (first, second)
            && first.0 == second.0
        {
            // The same twice is said once, which a change of one of the two would change.
            return put(Piece { in_place: false, ..Piece::new(OutputKind::Reasoning, first) });
        }
        for text in first.into_iter().chain(second) {
            put(Piece::new(OutputKind::Reasoning, text));
        }
    }
}

impl Function<'_> {
    /// A name is output even before its arguments: the model took tokens to produce it.
    fn call<'s>(&'s self, put: &mut impl FnMut(Piece<'s>)) {
        match &self.arguments {
            Some(arguments) if !arguments.0.is_empty() => put(Piece::new(OutputKind::ToolCall, arguments)),
            _ if present(&self.name).is_some() => {
                put(Piece { kind: OutputKind::ToolCall, text: "", in_place: false });
            }
            _ => {}
        }
    }
}

/// A text that is there and not empty.
fn present<'s, 'a>(text: &'s Option<Text<'a>>) -> Option<&'s Text<'a>> {
    text.as_ref().filter(|text| !text.0.is_empty())
}
