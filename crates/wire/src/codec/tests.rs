//! Bodies as GenAI-Perf writes them, what the captures do not show, and the template against the parser.

use super::*;
use crate::limits::MAX_BODY;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::json;
use streamgauge_core::plan::{EndpointKind, LengthField};
use streamgauge_core::prompt::Content;
use streamgauge_core::{Event, OutputKind};

pub(super) fn endpoint(kind: EndpointKind, streaming: bool) -> Endpoint {
    Endpoint {
        kind,
        path: crate::endpoints::spec(kind).default_path("", None, false),
        models: vec!["tinychat".into()],
        streaming,
        ask_usage: false,
        ..streamgauge_testing::endpoint()
    }
}

fn prompt(text: &str, requested_output_tokens: Option<u32>) -> Prompt {
    Prompt {
        content: Content::Texts(vec![text.into()]),
        tokens: 12,
        requested_output_tokens,
        model: "tinychat".into(),
        payload: Default::default(),
    }
}

/// An event without its borrow.
pub(super) fn owned(event: Event<'_>) -> String {
    format!("{event:?}")
}

pub(super) fn output(kind: OutputKind, choice: u32, text: &str) -> String {
    owned(Event::Output { kind, choice, text })
}

/// What a stream of these events' data says.
pub(super) fn stream<T: AsRef<[u8]>>(kind: EndpointKind, events: &[T]) -> Vec<String> {
    let mut decoder =
        Codec::new(&endpoint(kind, true), false).decoder(Some("text/event-stream"), AnswerContext::default());
    let mut seen = Vec::new();
    for data in events {
        decoder.feed(&[b"data: ", data.as_ref(), b"\n\n"].concat(), &mut |event| seen.push(owned(event)));
    }
    decoder.finish(&mut |event| seen.push(owned(event)));
    seen
}

pub(super) fn chat(data: &str) -> Vec<String> {
    stream(EndpointKind::Chat, &[data])
}

/// What a whole answer says.
pub(super) fn whole(kind: EndpointKind, body: &[u8]) -> Vec<String> {
    let mut decoder =
        Codec::new(&endpoint(kind, false), false).decoder(Some("application/json"), AnswerContext::default());
    let mut seen = Vec::new();
    decoder.feed(body, &mut |event| seen.push(owned(event)));
    decoder.finish(&mut |event| seen.push(owned(event)));
    seen
}

fn malformed(seen: &[String]) -> &str {
    let [event] = seen else { panic!("one event, not {seen:?}") };
    event.strip_prefix("Malformed { message: ").unwrap_or_else(|| panic!("{event}"))
}

#[test]
fn bodies_as_genai_perf_writes_them() {
    let chat = (EndpointKind::Chat, true, include_str!("../../tests/fixtures/inputs/genai-perf-chat.json"));
    let completions =
        (EndpointKind::Completions, false, include_str!("../../tests/fixtures/inputs/genai-perf-completions.json"));
    for (kind, streaming, inputs) in [chat, completions] {
        let inputs: Value = serde_json::from_str(inputs).unwrap();
        let entries = inputs["data"].as_array().unwrap();
        assert!(entries.len() > 2);
        for entry in entries {
            let theirs = &entry["payload"][0];
            let text = theirs.pointer("/messages/0/content").or_else(|| theirs.pointer("/prompt/0")).unwrap();
            let prompt = prompt(text.as_str().unwrap(), Some(8));
            let ours = Codec::new(&endpoint(kind, streaming), false).listed_input(&prompt);
            // As text, for the order of the members.
            assert_eq!(ours.to_string(), theirs.to_string());
        }
    }
}

#[test]
fn our_members_follow_theirs_and_added_ones_come_last_or_in_place() {
    let mut endpoint = endpoint(EndpointKind::Chat, true);
    endpoint.ask_usage = true;
    endpoint.extra = json!({"temperature": 0.5, "max_tokens": 99}).as_object().unwrap().clone();
    let body = |requested_output_tokens| {
        Codec::new(&endpoint, true).listed_input(&prompt("hi", requested_output_tokens)).to_string()
    };
    assert_eq!(
        body(Some(8)),
        r#"{"model":"tinychat","messages":[{"role":"user","content":"hi"}],"stream":true,"max_tokens":99,"min_tokens":8,"ignore_eos":true,"stream_options":{"include_usage":true},"temperature":0.5}"#
    );
    assert_eq!(
        body(None),
        r#"{"model":"tinychat","messages":[{"role":"user","content":"hi"}],"stream":true,"stream_options":{"include_usage":true},"temperature":0.5,"max_tokens":99}"#
    );
}

#[test]
fn usage_is_asked_for_only_in_a_stream_and_a_batch_is_one_list() {
    let mut endpoint = endpoint(EndpointKind::Completions, false);
    endpoint.ask_usage = true;
    let mut prompt = prompt("a", None);
    prompt.content = Content::Texts(vec!["a".into(), "b".into()]);
    assert_eq!(
        Codec::new(&endpoint, true).listed_input(&prompt).to_string(),
        r#"{"model":"tinychat","prompt":["a","b"]}"#
    );
    assert_eq!(sent(&endpoint, &prompt), r#"{"model":"tinychat","prompt":["a","b"]}"#);
}

/// The body that is sent for `prompt`.
fn sent(endpoint: &Endpoint, prompt: &Prompt) -> String {
    String::from_utf8(Codec::new(endpoint, false).encode(prompt).unwrap().body).unwrap()
}

#[test]
fn one_text_is_sent_as_a_text_and_shown_as_a_list() {
    let endpoint = endpoint(EndpointKind::Completions, false);
    let prompt = prompt("a", Some(8));
    assert_eq!(sent(&endpoint, &prompt), r#"{"model":"tinychat","prompt":"a","max_tokens":8}"#);
    let shown = Codec::new(&endpoint, false).listed_input(&prompt).to_string();
    assert_eq!(shown, r#"{"model":"tinychat","prompt":["a"],"max_tokens":8}"#);
}

#[test]
fn lengths_and_usage_are_asked_for_in_the_words_of_the_plan() {
    let mut endpoint = endpoint(EndpointKind::Chat, true);
    endpoint.ask_usage = true;
    endpoint.continuous_usage = true;
    endpoint.length_field = LengthField::MaxCompletionTokens;
    assert_eq!(
        sent(&endpoint, &prompt("hi", Some(8))),
        r#"{"model":"tinychat","messages":[{"role":"user","content":"hi"}],"stream":true,"max_completion_tokens":8,"stream_options":{"include_usage":true,"continuous_usage_stats":true}}"#
    );
}

#[test]
fn reasoning_under_both_names_is_said_once_unless_it_differs() {
    let think = |text| output(OutputKind::Reasoning, 0, text);
    let delta = |delta: &str| format!(r#"{{"choices":[{{"index":0,"delta":{delta}}}]}}"#);
    assert_eq!(chat(&delta(r#"{"reasoning":"a","reasoning_content":"a"}"#)), [think("a")]);
    assert_eq!(chat(&delta(r#"{"reasoning":"a","reasoning_content":""}"#)), [think("a")]);
    assert_eq!(chat(&delta(r#"{"reasoning":"b","reasoning_content":"a"}"#)), [think("a"), think("b")]);
    // A template of the first would misread the second.
    let events = [
        delta(r#"{"reasoning":"a","reasoning_content":"a"}"#),
        delta(r#"{"reasoning":"a","reasoning_content":"b"}"#),
        delta(r#"{"reasoning":"b","reasoning_content":"a"}"#),
    ];
    let seen = stream(EndpointKind::Chat, &events);
    assert_eq!(seen, [think("a"), think("b"), think("a"), think("a"), think("b")]);
}

#[test]
fn order_within_one_chunk() {
    let seen = chat(
        r#"{"choices":[
            {"index":1,"delta":{"content":"t","reasoning":"r"},"finish_reason":"stop"},
            {"delta":{"tool_calls":[{"function":{"name":"f"}},{"function":{"name":null,"arguments":null}}],
                      "function_call":{"name":"g","arguments":"{}"}},"finish_reason":""}
        ],"usage":{"prompt_tokens":1,"prompt_tokens_details":{"cached_tokens":null}},"error":{"message":"late"}}"#
            .replace('\n', " ")
            .as_str(),
    );
    let usage = streamgauge_core::Usage { prompt_tokens: Some(1), ..Default::default() };
    assert_eq!(
        seen,
        [
            output(OutputKind::Reasoning, 1, "r"),
            output(OutputKind::Text, 1, "t"),
            output(OutputKind::ToolCall, 0, "f"),
            output(OutputKind::ToolCall, 0, "g{}"),
            owned(Event::Finish { choice: 1, reason: "stop" }),
            owned(Event::Usage { usage, alone: false }),
            owned(Event::Error { message: "late" }),
        ]
    );
}

#[test]
fn what_is_no_output() {
    for data in [
        r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":null},"finish_reason":null}],"usage":null}"#,
        r#"{"choices":[{"index":0,"delta":{"content":"","reasoning":null,"tool_calls":[]},"logprobs":{"content":[1]}}]}"#,
        r#"{"choices":[{"index":0}],"error":null}"#,
        r#"{"choices":null,"usage":{}}"#,
        "{}",
        "",
        " ",
    ] {
        assert_eq!(chat(data), ["Empty"], "{data}");
    }
}

#[test]
fn a_whole_answer() {
    let body =
        br#" {"choices":[{"index":0,"message":{"content":"four","reasoning_content":"2+2"},"finish_reason":"stop"},
        {"index":1,"message":{"content":"five"},"finish_reason":"length"}],"usage":{"completion_tokens":5}} "#;
    let usage = streamgauge_core::Usage { completion_tokens: Some(5), ..Default::default() };
    assert_eq!(
        whole(EndpointKind::Chat, body),
        [
            output(OutputKind::Reasoning, 0, "2+2"),
            output(OutputKind::Text, 0, "four"),
            output(OutputKind::Text, 1, "five"),
            owned(Event::Finish { choice: 0, reason: "stop" }),
            owned(Event::Finish { choice: 1, reason: "length" }),
            owned(Event::Usage { usage, alone: true }),
        ]
    );
}

#[test]
fn in_band_errors_of_every_shape() {
    let failure = |message| [owned(Event::Error { message })];
    assert_eq!(chat(r#"{"error":"out of memory"}"#), failure("out of memory"));
    assert_eq!(chat(r#"{"object":"error","message":"too long","code":400}"#), failure("too long"));
    assert_eq!(whole(EndpointKind::Completions, br#"{"error":{"message":"no"}}"#), failure("no"));
    let mut decoder = Codec::new(&endpoint(EndpointKind::Chat, true), false)
        .decoder(Some("text/event-stream"), AnswerContext::default());
    let mut seen = Vec::new();
    decoder.feed(b"event: error\ndata: plain text\n\nevent: error\n\n", &mut |event| seen.push(owned(event)));
    assert_eq!(seen, [failure("plain text"), failure("the server reported an error without a message")].concat());
}

#[test]
fn malformed_names_what_and_shows_the_beginning() {
    assert_eq!(malformed(&whole(EndpointKind::Chat, b" \n")), r#""the answer is empty" }"#);
    let is_no_answer = |body: &[u8], why: &str| {
        let seen = whole(EndpointKind::Chat, body);
        assert!(malformed(&seen).starts_with(&format!("\"not a chat answer: {why}: ")), "{seen:?}");
    };
    is_no_answer(b"data: {}", "not JSON at column 1");
    is_no_answer(b"[]", "not a JSON object");
    is_no_answer(b"{\n\"a\":\n1,}", "not JSON at line 3, column 3");
    is_no_answer(b"{\"choices\":[", "the JSON ends too early");
    is_no_answer(b"{}\n{}", "there is more behind the JSON object; a stream has `data:` before each");
    let long = format!("[\"{}\"]", "ü".repeat(5_000));
    let seen = whole(EndpointKind::Completions, long.as_bytes());
    // Whoever shows it hides secrets in it before it is cut to what people read.
    assert!(
        malformed(&seen).contains(&"ü".repeat(4_094)) && !malformed(&seen).contains(&"ü".repeat(4_095)),
        "{seen:?}"
    );
}

#[test]
fn an_endless_answer_is_malformed() {
    let part = vec![b' '; MAX_BODY / 2];
    let mut decoder = Codec::new(&endpoint(EndpointKind::Chat, false), false).decoder(None, AnswerContext::default());
    let mut seen = Vec::new();
    for part in [&part[..], &part, b" ", b"{}"] {
        decoder.feed(part, &mut |event| seen.push(owned(event)));
    }
    decoder.finish(&mut |event| seen.push(owned(event)));
    assert_eq!(malformed(&seen), r#""the answer is longer than 64 MiB" }"#);
}

/// The chunks of steady streams, with the text's JSON string, quotes included, left out.
const CHUNKS: [(EndpointKind, &str, &str); 6] = [
    (EndpointKind::Chat, r#"{"id":"a","choices":[{"index":0,"delta":{"content":"#, r#"},"finish_reason":null}]}"#),
    (EndpointKind::Chat, r#"{"choices":[{"delta":{"reasoning":"","reasoning_content":"#, r#"},"index":1}]}"#),
    (EndpointKind::Chat, r#"{"choices":[{"delta":{"reasoning":"a","reasoning_content":"#, "}}]}"),
    (EndpointKind::Chat, r#"{"choices":[{"delta":{"tool_calls":[{"function":{"name":"f","arguments":"#, "}}]}}]}"),
    (EndpointKind::Generate, r#"{"finish_reason":"","text_output":"#, r#","num_output_tokens":1}"#),
    (EndpointKind::Completions, r#"{"choices":[{"index":2,"text":"#, r#","finish_reason":null}],"usage":null}"#),
];

proptest! {
    /// A decoder that may learn says the same as decoders that never saw a chunk before.
    #[test]
    fn template_and_parser_agree(
        (kind, before, after) in prop::sample::select(&CHUNKS[..]),
        texts in vec(prop_oneof!["[a-zé ]{1,6}", ".{0,12}", Just("a".into()), Just(String::new())], 1..12),
    ) {
        let events: Vec<String> =
            texts.iter().map(|text| format!("{before}{}{after}", Value::from(text.as_str()))).collect();
        let apart: Vec<String> = events.iter().flat_map(|event| stream(kind, &[event])).collect();
        prop_assert_eq!(stream(kind, &events), apart);
    }

    /// Whatever stands where a learnt text stood: the parser has the last word.
    #[test]
    fn template_and_parser_agree_on_what_is_no_text(
        (kind, before, after) in prop::sample::select(&CHUNKS[..]),
        middle in prop_oneof![
            vec(any::<u8>(), 0..8),
            vec(prop::sample::select(&b"\"\\un,:{}[]ax0\x1f\x7f\xC3\xA9"[..]), 0..12),
        ],
    ) {
        prop_assume!(!middle.iter().any(|byte| matches!(byte, b'\n' | b'\r')));
        let event = [before.as_bytes(), b"\"", &middle, b"\"", after.as_bytes()].concat();
        let learnt = format!("{before}\"learnt\"{after}").into_bytes();
        let first = stream(kind, &[&learnt]);
        let both = stream(kind, &[&learnt, &event]);
        prop_assert_eq!(&both[..first.len()], &first[..]);
        prop_assert_eq!(&both[first.len()..], stream(kind, &[&event]));
    }
}
