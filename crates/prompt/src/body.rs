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

/// The number of tokens of a body whose prompt is token ids instead of text: one list of them, or several.
pub fn token_ids(body: &Value) -> u32 {
    let ids = |list: &[Value]| list.iter().filter(|id| id.is_u64()).count();
    let prompt = ["prompt", "input"].into_iter().find_map(|name| body[name].as_array());
    let within = |list: &Vec<Value>| list.iter().filter_map(Value::as_array).map(|list| ids(list)).sum::<usize>();
    prompt.map_or(0, |list| u32::try_from(ids(list) + within(list)).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ids_are_counted_and_texts_are_not() {
        for (body, tokens) in [
            (json!({"prompt": [1, 2, 3]}), 3),
            (json!({"input": [[1, 2], [3]]}), 3),
            (json!({"prompt": ["a", "b"]}), 0),
            (json!({"prompt": "a"}), 0),
            (json!({"messages": []}), 0),
            (json!([1]), 0),
        ] {
            assert_eq!(token_ids(&body), tokens, "{body}");
        }
    }
}
