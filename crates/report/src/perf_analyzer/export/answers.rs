//! Answers in the form in which GenAI-Perf's parser reads them: one response for each output event, with the event's text.
//!
//! The parser counts the tokens of all texts together, drops responses without a text together with their stamps, and takes the first,
//! second and last of the remaining stamps. Texts and stamps must therefore be parallel, and each text must be where the parser looks for
//! it: reasoning and tool calls, which it would not see, are written as content.

use crate::text::compact::push_escaped;
use streamgauge_core::plan::Endpoint;
use streamgauge_wire::endpoints::{ResponseForm, ResponseForms, spec};

/// The maximum number of responses with a text of their own in one run's export, about 130 MB for chats. Writing them costs the client up
/// to half of its other work if streams are saturated, and a fifth for a run up to this bound. Later answers are written as one response
/// each, with the stamps of all their events.
pub(super) const MOST_RESPONSES: usize = 1 << 20;

/// The form of a response with a text in the file.
#[derive(Clone, Debug)]
pub(super) struct Form {
    before: String,
    after: String,
    /// The text between the texts of two responses.
    between: String,
    /// Whether the text is inside a document that is itself a text of the file.
    is_nested: bool,
}

impl Form {
    /// The form of the endpoint's answers, or `None` if they have no text.
    pub fn new(endpoint: &Endpoint) -> Option<Form> {
        let spec = spec(endpoint.kind);
        let is_nested = !spec.capabilities.tensors;
        let (before, after) = match spec.genai.response {
            Some(ResponseForms { stream, whole }) => {
                let ResponseForm { before, after } = if endpoint.streaming { stream } else { whole };
                (format!(r#"{{"response":"{}"#, escaped(before)), format!(r#"{}"}}"#, escaped(after)))
            }
            None if is_nested || endpoint.kserve.text_output.is_none() => return None,
            None => (r#"{"text_output":""#.to_owned(), r#""}"#.to_owned()),
        };
        let between = format!("{after},{before}");
        Some(Form { before, after, between, is_nested })
    }

    /// Appends one response for each of `texts`, of which there is at least one. `are_plain` says that no text needs an escape.
    pub fn push_each<'t>(&self, line: &mut Vec<u8>, texts: impl Iterator<Item = &'t str>, are_plain: bool) {
        let mut before = self.before.as_bytes();
        for text in texts {
            line.extend_from_slice(before);
            before = self.between.as_bytes();
            self.push_text(line, text, are_plain);
        }
        line.extend_from_slice(self.after.as_bytes());
    }

    /// Appends one response with the text that all of `texts` make together.
    pub fn push_joined<'t>(&self, line: &mut Vec<u8>, texts: impl Iterator<Item = &'t str>, are_plain: bool) {
        line.extend_from_slice(self.before.as_bytes());
        texts.for_each(|text| self.push_text(line, text, are_plain));
        line.extend_from_slice(self.after.as_bytes());
    }

    fn push_text(&self, line: &mut Vec<u8>, text: &str, is_plain: bool) {
        if is_plain {
            line.extend_from_slice(text.as_bytes());
        } else if self.is_nested {
            let mut inner = Vec::with_capacity(text.len() + 8);
            push_escaped(&mut inner, text);
            // Escaping UTF-8 byte by byte yields UTF-8.
            push_escaped(line, &String::from_utf8_lossy(&inner));
        } else {
            push_escaped(line, text);
        }
    }
}

/// `text` as the inside of a JSON string.
fn escaped(text: &str) -> String {
    let mut out = Vec::new();
    push_escaped(&mut out, text);
    // Escaping UTF-8 byte by byte yields UTF-8.
    String::from_utf8_lossy(&out).into_owned()
}

/// Whether a JSON string holds `text` as it is, without an escape.
pub(super) fn is_plain(text: &str) -> bool {
    // Without a way out of the loop the compiler looks at many bytes at once.
    !text.bytes().fold(false, |odd, byte| odd | (byte < b' ') | (byte == b'"') | (byte == b'\\'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::plan;
    use serde_json::{Value, json};
    use streamgauge_core::plan::EndpointKind;

    fn response(kind: EndpointKind, streaming: bool, text: &str) -> Value {
        let mut endpoint = plan(kind).endpoint;
        endpoint.streaming = streaming;
        endpoint.kserve.text_output = Some("text_output".to_owned());
        let mut line = Vec::new();
        Form::new(&endpoint).unwrap().push_each(&mut line, [text].into_iter(), is_plain(text));
        serde_json::from_slice(&line).unwrap()
    }

    #[test]
    fn texts_are_where_the_parser_looks_for_them() {
        use EndpointKind::{Chat, Completions, Generate, KserveGrpc};
        for text in ["plain ü", "a \"b\"\n\\c\u{1}\u{1b}😀", ""] {
            for (kind, streaming, pointer) in [
                (Chat, true, "/choices/0/delta/content"),
                (Chat, false, "/choices/0/message/content"),
                (Completions, true, "/choices/0/text"),
                (Completions, false, "/choices/0/text"),
                (Generate, true, "/text_output"),
                (Generate, false, "/text_output"),
            ] {
                let response = response(kind, streaming, text);
                let sent = response["response"].as_str().unwrap();
                let body = if streaming {
                    sent.strip_prefix("data: ").and_then(|sent| sent.strip_suffix("\n\n")).unwrap()
                } else {
                    sent
                };
                let body: Value = serde_json::from_str(body).unwrap();
                assert_eq!(body.pointer(pointer), Some(&json!(text)), "{kind:?} {streaming}");
            }
            assert_eq!(response(KserveGrpc, true, text), json!({"text_output": text}));
        }
        let mut tensors = plan(KserveGrpc).endpoint;
        tensors.kserve.text_output = None;
        assert!(Form::new(&tensors).is_none());
    }

    #[test]
    fn responses_stand_one_by_one_or_joined() {
        let form = Form::new(&plan(EndpointKind::Generate).endpoint).unwrap();
        let texts = ["a", "", "\"b"];
        let contents = |push: &dyn Fn(&mut Vec<u8>)| -> Vec<Value> {
            let mut line = vec![b'['];
            push(&mut line);
            line.push(b']');
            let responses: Vec<Value> = serde_json::from_slice(&line).unwrap();
            let body = |response: &Value| response["response"].as_str().unwrap().trim()["data: ".len()..].to_owned();
            let bodies = responses.iter().map(|response| serde_json::from_str::<Value>(&body(response)).unwrap());
            bodies.map(|body| body["text_output"].clone()).collect()
        };
        assert_eq!(contents(&|line| form.push_each(line, texts.into_iter(), false)), texts.map(Value::from));
        assert_eq!(contents(&|line| form.push_joined(line, texts.into_iter(), false)), [Value::from("a\"b")]);
        for (text, plain) in [("", true), ("ü a", true), ("a\\", false), ("\"", false), ("a\n", false)] {
            assert_eq!(is_plain(text), plain, "{text:?}");
        }
    }
}
