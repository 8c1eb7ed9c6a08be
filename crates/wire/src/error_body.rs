//! The message in an error answer, whatever its form.

use serde_json::Value;

/// The greatest length of a message, in characters. It is longer than what is shown, since the code that shows it hides secrets before it
/// cuts the text; half a secret would not be found.
const LONGEST: usize = 4_096;

/// The server's message in the body of an error answer; at most its first 4,096 characters.
///
/// Understood are `{"error":{"message":..}}`, `{"error":".."}`, `{"detail":..}` with a text or a list of validation
/// errors, and `{"message":..}`; any other text, also HTML, is itself the message. Returns `None` if the body is empty or is not
/// text.
pub fn server_message(body: &[u8]) -> Option<String> {
    whole_message(body).map(|message| message.chars().take(LONGEST).collect())
}

/// Whether an error answer is about `field` of the request: its message or its `param` names it as a word of its own.
pub fn names_field(body: &[u8], field: &str) -> bool {
    let param = serde_json::from_slice::<Value>(body).ok().and_then(|body| {
        let param = body.get("error").and_then(|error| error.get("param")).or_else(|| body.get("param"))?;
        param.as_str().map(String::from)
    });
    whole_message(body).iter().chain(&param).any(|text| has_word(text, field))
}

fn whole_message(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?.trim();
    let message = serde_json::from_str(text).ok().and_then(|value| message_in(&value));
    message.or_else(|| Some(text.to_owned())).filter(|message| !message.is_empty())
}

fn message_in(body: &Value) -> Option<String> {
    let error = body.get("error");
    [error.and_then(|error| error.get("message")), error, body.get("detail"), body.get("message"), Some(body)]
        .into_iter()
        .flatten()
        .find_map(prose)
}

/// A text as one line, or the texts of a list joined into one line.
fn prose(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Array(items) => items.iter().filter_map(complaint).collect::<Vec<_>>().join("; "),
        _ => return None,
    };
    (!text.is_empty()).then_some(text)
}

/// One entry of a list of complaints: a text, or a validation error (`{"loc":["body","x"],"msg":".."}`).
fn complaint(item: &Value) -> Option<String> {
    let Some(message) = item.get("msg").and_then(Value::as_str) else { return item.as_str().map(String::from) };
    let place: Vec<String> = item.get("loc").and_then(Value::as_array).into_iter().flatten().map(step).collect();
    Some(if place.is_empty() { message.to_owned() } else { format!("{}: {message}", place.join(".")) })
}

fn step(step: &Value) -> String {
    step.as_str().map_or_else(|| step.to_string(), String::from)
}

fn has_word(text: &str, word: &str) -> bool {
    let joins = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        !text[..at].chars().next_back().is_some_and(joins) && !text[at + word.len()..].chars().next().is_some_and(joins)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_shape() {
        for (body, message) in [
            (r#"{"error":{"message":"no such model","code":404}}"#, "no such model"),
            (r#"{"error":"no such model"}"#, "no such model"),
            (r#"{"detail":"Not Found"}"#, "Not Found"),
            (
                r#"{"detail":[{"loc":["body","messages",0],"msg":"field required"},{"msg":"bad"},"odd"]}"#,
                "body.messages.0: field required; bad; odd",
            ),
            (r#"{"message":"overloaded"}"#, "overloaded"),
            (r#"{"object":"error","message":"too long","code":400}"#, "too long"),
            (r#""just a text""#, "just a text"),
            (r#"{"error":{"code":7}}"#, r#"{"error":{"code":7}}"#),
            ("  upstream timed out \n", "upstream timed out"),
            ("<html><h1>502</h1></html>", "<html><h1>502</h1></html>"),
        ] {
            assert_eq!(server_message(body.as_bytes()).as_deref(), Some(message), "{body}");
        }
    }

    #[test]
    fn nothing_to_say() {
        for body in [&b""[..], b" \r\n", b"\xFF\xFE", b"{\"error\":\"\xC3\"}"] {
            assert_eq!(server_message(body), None, "{}", body.escape_ascii());
        }
    }

    #[test]
    fn long_messages_are_cut_between_characters() {
        let exact = "ü".repeat(LONGEST);
        assert_eq!(server_message(exact.as_bytes()), Some(exact.clone()));
        assert_eq!(server_message(format!("{exact}ü").as_bytes()), Some(exact));
    }

    #[test]
    fn a_field_is_named_as_a_word_in_message_or_param() {
        let vllm =
            br#"{"error":{"message":"Extra inputs are not permitted","param":"body.stream_options","code":400}}"#;
        assert!(names_field(vllm, "stream_options"));
        assert!(!names_field(vllm, "stream"));
        let fastapi = br#"{"detail":[{"loc":["body","stream_options"],"msg":"extra fields not permitted"}]}"#;
        assert!(names_field(fastapi, "stream_options"));
        assert!(names_field(b"unknown field `stream_options`", "stream_options"));
        assert!(names_field(br#"{"message":"x","param":"min_tokens"}"#, "min_tokens"));
        assert!(!names_field(b"unknown field", "stream_options"));
        assert!(!names_field(b"\xFFstream_options", "stream_options"));
        let far = format!("{} stream_options", "x".repeat(400));
        assert!(names_field(far.as_bytes(), "stream_options"));
    }
}
