//! What a whole body that the user gave says of its request.

use serde_json::Value;

/// The texts of a body: all of a chat's messages as one, or each of the texts to complete or embed.
pub fn texts(body: &Value) -> Vec<String> {
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

/// The output length that a body asks for, in tokens.
pub fn requested_output_tokens(body: &Value) -> Option<u32> {
    let asked = ["max_completion_tokens", "max_tokens"].into_iter().find_map(|name| body[name].as_u64());
    asked.and_then(|tokens| u32::try_from(tokens).ok())
}
