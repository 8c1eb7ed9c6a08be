//! Chat completions: messages out. What comes in is read by [`crate::openai::choices`].

use serde_json::{Map, Value, json};
use streamgauge_core::Prompt;
use streamgauge_core::prompt::{Message, Part};

/// The members of a request that only chat has: the model and the messages.
pub(crate) fn opening(prompt: &Prompt) -> Map<String, Value> {
    let messages = prompt.messages().iter().map(message).collect();
    Map::from_iter([("model".into(), Value::from(prompt.model.as_str())), ("messages".into(), Value::Array(messages))])
}

/// A message as OpenAI's chat API takes it. A single text is the content itself, which every server takes; anything else is a list of
/// parts. A message without parts, such as one that only calls tools, has `null` as its content.
fn message(message: &Message) -> Value {
    let content = match message.parts.as_slice() {
        [] => Value::Null,
        [Part::Text(text)] => text.as_str().into(),
        parts => parts.iter().map(part).collect(),
    };
    let mut members =
        Map::from_iter([("role".to_owned(), message.role.as_str().into()), ("content".to_owned(), content)]);
    members.extend(message.members.clone());
    Value::Object(members)
}

fn part(part: &Part) -> Value {
    match part {
        Part::Text(text) => json!({"type": "text", "text": text}),
        Part::Other(part) => Value::Object(part.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_keeps_its_role_its_parts_and_its_members() {
        let image = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}});
        let Value::Object(image) = image else { panic!() };
        let call = json!([{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]);
        let messages = [
            (Message::text("system", "Be brief."), json!({"role": "system", "content": "Be brief."})),
            (
                Message {
                    parts: vec![Part::Text("What is it?".into()), Part::Other(image.clone())],
                    ..Message::text("user", "")
                },
                json!({"role": "user", "content": [{"type": "text", "text": "What is it?"}, image]}),
            ),
            (
                Message {
                    parts: Vec::new(),
                    members: Map::from_iter([("tool_calls".to_owned(), call.clone())]),
                    ..Message::text("assistant", "")
                },
                json!({"role": "assistant", "content": null, "tool_calls": call}),
            ),
        ];
        for (given, expected) in messages {
            assert_eq!(message(&given).to_string(), expected.to_string());
        }
    }
}
