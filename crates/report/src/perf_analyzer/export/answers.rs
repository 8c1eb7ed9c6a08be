//! Answers in the form in which GenAI-Perf's parser reads them: one response for each output event, with the event's text.
//!
//! The parser counts the tokens of all texts together, drops responses without a text together with their stamps, and takes first,
//! second and last stamp of what is left. So texts and stamps must be parallel, and a text must be where that parser looks for it:
//! reasoning and tool calls, which it would not see, stand as content.

use crate::text::compact::push_escaped;
use streamgauge_core::Nanos;
use streamgauge_core::plan::{Endpoint, EndpointKind};

/// Most responses with a text of their own in one run's export, some 130 MB of a chat's. Writing them costs the client as much as half of its
/// other work where streams are saturated, and a fifth more of a run up to this bound. Later answers stand whole in one
/// response each, beside the stamps of all their events.
pub(super) const MOST_RESPONSES: usize = 1 << 20;

/// What stands around the text of a response, as it is in the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form {
    before: &'static str,
    after: &'static str,
    /// Whether the text is inside a document that is itself a text of the file.
    is_nested: bool,
}

impl Form {
    /// The form of answers of that endpoint; none where it has no text.
    pub fn of(endpoint: &Endpoint) -> Option<Form> {
        let nested = |before, after| Some(Form { before, after, is_nested: true });
        match (endpoint.kind, endpoint.streaming) {
            (EndpointKind::Chat, true) => nested(
                r#"{"response":"data: {\"object\":\"chat.completion.chunk\",\"choices\":[{\"delta\":{\"content\":\""#,
                r#"\"}}]}\n\n"}"#,
            ),
            (EndpointKind::Chat, false) => nested(
                r#"{"response":"{\"object\":\"chat.completion\",\"choices\":[{\"message\":{\"content\":\""#,
                r#"\"}}]}"}"#,
            ),
            (EndpointKind::Completions, true) => nested(
                r#"{"response":"data: {\"object\":\"text_completion\",\"choices\":[{\"text\":\""#,
                r#"\"}]}\n\n"}"#,
            ),
            (EndpointKind::Completions, false) => {
                nested(r#"{"response":"{\"object\":\"text_completion\",\"choices\":[{\"text\":\""#, r#"\"}]}"}"#)
            }
            (EndpointKind::Generate, true) => nested(r#"{"response":"data: {\"text_output\":\""#, r#"\"}\n\n"}"#),
            (EndpointKind::Generate, false) => nested(r#"{"response":"{\"text_output\":\""#, r#"\"}"}"#),
            (kind, _) if kind.has_tensors() => {
                let has_text = endpoint.kserve.as_ref().is_some_and(|kserve| kserve.text_output.is_some());
                has_text.then_some(Form { before: r#"{"text_output":""#, after: r#""}"#, is_nested: false })
            }
            _ => None,
        }
    }

    /// Appends a response with that text.
    pub fn push(self, line: &mut Vec<u8>, text: &str) {
        line.extend_from_slice(self.before.as_bytes());
        let is_plain = text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\');
        if is_plain {
            line.extend_from_slice(text.as_bytes());
        } else if self.is_nested {
            let mut inner = Vec::with_capacity(text.len() + 8);
            push_escaped(&mut inner, text);
            // What was escaped byte by byte from UTF-8 is UTF-8.
            push_escaped(line, &String::from_utf8_lossy(&inner));
        } else {
            push_escaped(line, text);
        }
        line.extend_from_slice(self.after.as_bytes());
    }
}

/// The stamps of the events that brought a text, and all the text of the answer, for an answer that stands in one response. The parser
/// takes first, second and last stamp and counts the tokens of the whole text, so that its figures stay what they are.
pub(super) fn whole(stamps: &[Nanos], texts: &[&str]) -> (Vec<Nanos>, String) {
    let with_text = stamps.iter().zip(texts).filter(|(_, text)| !text.is_empty());
    (with_text.map(|(stamp, _)| *stamp).collect(), texts.concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::plan;
    use serde_json::{Value, json};

    fn response(kind: EndpointKind, streaming: bool, text: &str) -> Value {
        let mut endpoint = plan(kind).endpoint;
        endpoint.streaming = streaming;
        if let Some(kserve) = &mut endpoint.kserve {
            kserve.text_output = Some("text_output".to_owned());
        }
        let mut line = Vec::new();
        Form::of(&endpoint).unwrap().push(&mut line, text);
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
        tensors.kserve.as_mut().unwrap().text_output = None;
        assert!(Form::of(&tensors).is_none());
    }

    #[test]
    fn a_whole_answer_keeps_its_text_and_the_stamps_of_what_brought_it() {
        let stamps = [1, 2, 3, 4, 5].map(Nanos);
        let (kept, text) = whole(&stamps, &["", "b", "", "d", "e"]);
        assert_eq!((kept, text.as_str()), ([2, 4, 5].map(Nanos).to_vec(), "bde"));
    }
}
