//! The messages of a chat as files have them, and the turns that answers of the assistant divide them into.

use serde::Deserialize;
use serde_json::{Map, Value};
use streamgauge_core::prompt::{Message, Part};

#[derive(Deserialize)]
struct RawMessage {
    role: String,
    #[serde(default)]
    content: Value,
    #[serde(flatten)]
    members: Map<String, Value>,
}

/// The messages of a list, in the form in which OpenAI's chat API takes them.
pub(super) fn messages(list: Value) -> Result<Vec<Message>, String> {
    let Value::Array(list) = list else { return Err("`messages` is not a list of messages".to_owned()) };
    if list.is_empty() {
        return Err("`messages` is empty; give at least one message".to_owned());
    }
    list.into_iter().enumerate().map(|(index, value)| message(index + 1, value)).collect()
}

/// The messages of each turn, and its recorded answer. An answer of the assistant ends a turn, unless it calls tools, whose results follow
/// it, or there is nothing before it that it could answer.
pub(super) fn turns_of(messages: Vec<Message>) -> Vec<(Vec<Message>, Option<Message>)> {
    let (mut turns, mut turn) = (Vec::new(), Vec::new());
    for message in messages {
        let is_answer = message.role == "assistant" && !message.members.contains_key("tool_calls");
        if is_answer && !turn.is_empty() {
            turns.push((std::mem::take(&mut turn), Some(message)));
        } else {
            turn.push(message);
        }
    }
    turns.extend((!turn.is_empty()).then_some((turn, None)));
    turns
}

fn message(number: usize, value: Value) -> Result<Message, String> {
    if value.get("role").is_none_or(|role| !role.is_string()) {
        return Err(format!("message {number} has no `role`; give one such as user, as a text"));
    }
    let RawMessage { role, content, members } =
        serde_json::from_value(value).map_err(|error| format!("message {number}: {error}"))?;
    let parts = match content {
        Value::Null => Vec::new(),
        Value::String(text) => vec![Part::Text(text)],
        Value::Array(parts) => parts.into_iter().map(part).collect::<Result<_, _>>()?,
        other => return Err(format!("the content {other} of a message is not a text or a list of parts")),
    };
    Ok(Message { role, parts, members })
}

fn part(part: Value) -> Result<Part, String> {
    match part {
        Value::Object(mut part) if part.len() == 2 && part.get("type").is_some_and(|kind| kind == "text") => {
            match part.remove("text") {
                Some(Value::String(text)) => Ok(Part::Text(text)),
                _ => Err("a part of type text has no text".to_owned()),
            }
        }
        Value::Object(part) => Ok(Part::Other(part)),
        other => Err(format!("the part {other} of a message is not an object")),
    }
}
