//! OpenAI's chat completions. Answers are read by [`crate::openai::choices`].

use super::{
    Capabilities, EndpointSpec, GenaiNames, JsonProtocol, OutputLength, PathRule, Protocol, ResponseForm,
    ResponseForms, TransportKind, outputs_of_each,
};
use crate::objects::ObjectForm;
use crate::openai::options;
use crate::options::{BodyOptions, TextForm};
use serde_json::{Map, Value, json};
use streamgauge_core::Prompt;
use streamgauge_core::plan::EndpointKind;
use streamgauge_core::prompt::{Message, Part};

const PATH: &str = "/v1/chat/completions";

pub(super) static SPEC: EndpointSpec = EndpointSpec {
    kind: EndpointKind::Chat,
    summary: "OpenAI chat completions",
    aliases: &[],
    has_public_name: true,
    path: PathRule::Fixed { whole: PATH, stream: PATH },
    transport: TransportKind::Http1,
    capabilities: Capabilities {
        streams: true,
        batches: false,
        usage: true,
        text: true,
        media: true,
        token_ids: None,
        tensors: false,
        describes_models: false,
        output_length: OutputLength::MemberOfEitherName,
    },
    genai: GenaiNames {
        service_kind: "openai",
        output_format: Some("openai_chat_completions"),
        title: "LLM Metrics",
        listed_member: None,
        response: Some(ResponseForms {
            stream: ResponseForm {
                before: r#"data: {"object":"chat.completion.chunk","choices":[{"delta":{"content":""#,
                after: "\"}}]}\n\n",
            },
            whole: ResponseForm {
                before: r#"{"object":"chat.completion","choices":[{"message":{"content":""#,
                after: r#""}}]}"#,
            },
        }),
    },
    protocol: Protocol::Json(JsonProtocol {
        body,
        outputs: outputs_of_each,
        objects: ObjectForm::Choices { texts_first: false },
        says_done: true,
    }),
};

fn body(options: &BodyOptions, prompt: &Prompt, _: TextForm) -> Map<String, Value> {
    let messages = prompt.messages().iter().map(message).collect();
    let mut body = Map::from_iter([
        ("model".into(), Value::from(prompt.model.as_str())),
        ("messages".into(), Value::Array(messages)),
    ]);
    options::insert(&mut body, options, prompt);
    body
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
