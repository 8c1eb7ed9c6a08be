//! How much memory conversations take.

use super::{Conversation, Turn};
use serde_json::Value;
use streamgauge_core::prompt::{Content, Message, Part};

/// What a turn takes beside its texts.
const BYTES_OF_TURN: usize = 256;

impl Conversation {
    /// About how many bytes it takes, texts that are still to be made aside.
    pub fn size(&self) -> usize {
        let turn = |turn: &Turn| {
            let content = match &turn.content {
                None => 0,
                Some(Content::Texts(texts)) => texts.iter().map(String::len).sum(),
                Some(Content::Messages(messages)) => messages.iter().map(message).sum(),
            };
            let members: usize = turn.members.iter().map(|(name, value)| name.len() + json(value)).sum();
            let blocks = turn.blocks.as_ref().map_or(0, |blocks| blocks.ids.len() * size_of::<u64>());
            BYTES_OF_TURN
                + blocks
                + content
                + members
                + turn.body.as_ref().map_or(0, json)
                + turn.answer.as_ref().map_or(0, message)
        };
        self.turns.iter().map(turn).sum()
    }
}

fn message(message: &Message) -> usize {
    let part = |part: &Part| match part {
        Part::Text(text) => text.len(),
        Part::Other(members) => members.iter().map(|(name, value)| name.len() + json(value)).sum(),
    };
    let members: usize = message.members.iter().map(|(name, value)| name.len() + json(value)).sum();
    message.role.len() + members + message.parts.iter().map(part).sum::<usize>()
}

/// About as many bytes as the JSON of `value` has.
fn json(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
        Value::String(text) => text.len() + 2,
        Value::Array(values) => values.iter().map(json).sum::<usize>() + 2,
        Value::Object(members) => members.iter().map(|(name, value)| name.len() + json(value) + 4).sum::<usize>() + 2,
    }
}
