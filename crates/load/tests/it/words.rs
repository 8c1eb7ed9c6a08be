//! What scripted servers say: events, answers whole and in chunks.

use streamgauge_core::clock::Nanos;
use streamgauge_core::prompt::{Content, Prompt};

/// Longer than anything here takes on any machine.
pub const LIMIT: Nanos = Nanos::from_millis(60_000);

pub const DONE: &str = "data: [DONE]\n\n";
/// The end of a chunked body.
pub const LAST_CHUNK: &str = "0\r\n\r\n";
pub const STREAM_HEAD: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

pub fn prompt(requested_output_tokens: u32) -> Prompt {
    Prompt {
        content: Content::Texts(vec!["the quick fox".to_owned()]),
        tokens: 3,
        requested_output_tokens: Some(requested_output_tokens),
        model: "sim-model".to_owned(),
        payload: Default::default(),
    }
}

/// An event of a chat stream that brings `text`.
pub fn token(text: &str) -> String {
    delta(0, &format!(r#""content":"{text}""#))
}

/// An event of a chat stream with these members in its delta.
pub fn delta(choice: u32, members: &str) -> String {
    format!("data: {{\"choices\":[{{\"index\":{choice},\"delta\":{{{members}}},\"finish_reason\":null}}]}}\n\n")
}

/// An event of a chat stream that ends an answer.
pub fn finish(choice: u32, reason: &str) -> String {
    format!("data: {{\"choices\":[{{\"index\":{choice},\"delta\":{{}},\"finish_reason\":\"{reason}\"}}]}}\n\n")
}

/// `text` as one chunk of a body.
pub fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

/// A whole answer of `texts`, one event each, in one piece of bytes.
pub fn stream(texts: &[&str]) -> String {
    let events: Vec<String> = texts.iter().map(|text| chunk(&token(text))).collect();
    let end = chunk(&format!("{}{DONE}", finish(0, "stop")));
    format!("{STREAM_HEAD}{}{end}{LAST_CHUNK}", events.concat())
}

/// A whole answer with a length.
pub fn document(status: u16, content_type: &str, body: &str) -> String {
    let len = body.len();
    format!("HTTP/1.1 {status} Whatever\r\ncontent-type: {content_type}\r\ncontent-length: {len}\r\n\r\n{body}")
}
