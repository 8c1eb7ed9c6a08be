//! Real servers' answers, and streams made by hand for what those do not show, through the codecs: exact events, however
//! the bytes are cut.

// Clippy lets only the test functions themselves unwrap; what they call is as much a test.
#![allow(clippy::unwrap_used)]

mod fixture;
mod transcripts;

use fixture::{Answer, Section};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use streamgauge_core::kserve::Kserve;
use streamgauge_core::plan::{Endpoint, EndpointKind};
use streamgauge_core::{Event, OutputKind};
use streamgauge_wire::{AnswerContext, Codec, model_ids, server_message};

/// What is captured as bytes over HTTP.
const KINDS: [EndpointKind; 5] = [
    EndpointKind::Chat,
    EndpointKind::Completions,
    EndpointKind::Embeddings,
    EndpointKind::Generate,
    EndpointKind::KserveHttp,
];

/// The codec under test; how requests are written plays no part here.
fn codec(kind: EndpointKind) -> Codec {
    let endpoint = Endpoint {
        kind,
        path: streamgauge_wire::endpoints::spec(kind).default_path("", None, false),
        models: vec!["tiny".into()],
        kserve: Kserve { text_output: Some("text_output".into()), ..Kserve::default() },
        ..streamgauge_testing::endpoint()
    };
    Codec::new(&endpoint, false)
}

fn kind_of(section: &Section) -> Option<EndpointKind> {
    KINDS.into_iter().find(|kind| kind.name() == section.kind)
}

/// An event as the table of expectations writes it.
fn line(event: &Event<'_>) -> String {
    // Delete is invisible, and JSON need not escape it.
    let quoted = |text: &str| serde_json::to_string(text).unwrap().replace('\x7f', "\\u007f");
    match event {
        Event::Output { kind, choice, text } => {
            let kind = match kind {
                OutputKind::Reasoning => "reasoning",
                OutputKind::Text => "text",
                OutputKind::ToolCall => "tool",
                OutputKind::Tensors => "tensors",
            };
            format!("{kind} {choice} {}", quoted(text))
        }
        Event::Empty => ".".into(),
        Event::Finish { choice, reason } => format!("finish {choice} {reason}"),
        Event::Usage { usage, alone } => {
            let count = |count: Option<u64>| count.map_or("?".into(), |count| count.to_string());
            let detail = |mark, count: Option<u64>| count.map_or(String::new(), |count| format!(" {mark}{count}"));
            let counts = format!("usage {}+{}", count(usage.prompt_tokens), count(usage.completion_tokens));
            let details = detail('r', usage.reasoning_tokens) + &detail('c', usage.cached_tokens);
            counts + &details + if *alone { " alone" } else { "" }
        }
        Event::Done => "done".into(),
        Event::Error { message } => format!("error {}", quoted(message)),
        Event::Unreadable { may_be_output: true, .. } => "unreadable output".into(),
        Event::Unreadable { may_be_output: false, .. } => "unreadable".into(),
        Event::Malformed { .. } => "malformed".into(),
    }
}

/// What the codec says when it is fed these parts.
fn decode<'a>(
    kind: EndpointKind,
    (content_type, header_length): (Option<&str>, Option<usize>),
    parts: impl IntoIterator<Item = &'a [u8]>,
) -> Vec<String> {
    let mut decoder = codec(kind).decoder(content_type, AnswerContext { header_length, ..AnswerContext::default() });
    let mut seen = Vec::new();
    for part in parts {
        decoder.feed(part, &mut |event| seen.push(line(&event)));
    }
    decoder.finish(&mut |event| seen.push(line(&event)));
    seen
}

fn decode_whole(kind: EndpointKind, answer: &Answer) -> Vec<String> {
    decode(kind, answer.head(), [&answer.body[..]])
}

/// `body` cut at these places.
fn cut<'a>(body: &'a [u8], places: &[Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = places.iter().map(|place| place.index(body.len() + 1)).collect();
    places.extend([0, body.len()]);
    places.sort_unstable();
    places.windows(2).map(|pair| &body[pair[0]..pair[1]]).collect()
}

#[test]
fn exact_events_whole_and_byte_by_byte() {
    for section in fixture::expectations() {
        let Some(kind) = kind_of(&section) else { continue };
        let answer = Answer::load(&section.file);
        assert_eq!(answer.status, 200, "{}", section.file);
        assert_eq!(decode_whole(kind, &answer), section.lines, "{}", section.file);
        let by_byte = decode(kind, answer.head(), answer.body.chunks(1));
        assert_eq!(by_byte, section.lines, "{}, byte by byte", section.file);
    }
}

#[test]
fn exact_error_messages() {
    for section in fixture::expectations().iter().filter(|section| section.kind == "error") {
        let answer = Answer::load(&section.file);
        let message = server_message(&answer.body).unwrap();
        let said = format!("{} {}", answer.status, serde_json::to_string(&message).unwrap());
        assert_eq!([said], section.lines[..], "{}", section.file);
        // The same body inside an answer that began well is a failure with the same message. FastAPI's `detail` is not:
        // only under an error status does it mean one.
        if !answer.body.starts_with(br#"{"detail""#) {
            let inside = [line(&Event::Error { message: &message })];
            assert_eq!(decode_whole(EndpointKind::Chat, &answer), inside, "{}", section.file);
        }
    }
}

#[test]
fn exact_models() {
    for section in fixture::expectations().iter().filter(|section| section.kind == "models") {
        assert_eq!(model_ids(&Answer::load(&section.file).body).unwrap(), section.lines, "{}", section.file);
    }
}

#[test]
fn every_file_that_matters_has_its_expectation() {
    let sections = fixture::expectations();
    let named = |file: &str| sections.iter().any(|section| section.file == file);
    let unnamed: Vec<String> = fixture::files()
        .into_iter()
        .filter(|file| {
            let ours = file.contains("llamacpp-") || file.contains("vllm-") && !file.contains("triton-vllm-");
            let subject =
                ["chat", "completions", "embeddings", "models", "err-"].iter().any(|subject| file.contains(subject));
            let triton = ["triton-err-", "triton-infer", "generate"].iter().any(|subject| file.contains(subject));
            let matters = file.starts_with("made/") || file.ends_with(".wire.txt") || ours && subject || triton;
            matters && !named(file)
        })
        .collect();
    assert_eq!(unnamed, [""; 0]);
    assert!(sections.len() >= 55, "only {} sections were read", sections.len());
}

#[test]
fn no_capture_makes_it_panic() {
    let files = fixture::files();
    assert_eq!(files.len(), 95, "captures and made streams");
    for file in files {
        let answer = Answer::load(&file);
        for kind in KINDS {
            for head in [answer.head(), (None, None), (Some("text/event-stream"), None)] {
                let whole = decode(kind, head, [&answer.body[..]]);
                assert_eq!(decode(kind, head, answer.body.chunks(7)), whole, "{file}");
            }
        }
        let _ = server_message(&answer.body);
        let _ = model_ids(&answer.body);
    }
}

proptest! {
    #[test]
    fn exact_events_however_it_is_cut(places in vec(any::<Index>(), 0..24)) {
        for section in fixture::expectations() {
            let Some(kind) = kind_of(&section) else { continue };
            let answer = Answer::load(&section.file);
            let said = decode(kind, answer.head(), cut(&answer.body, &places));
            prop_assert_eq!(&said, &section.lines, "{}", section.file);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_do_not_depend_on_the_cut(
        body in vec(prop_oneof![any::<u8>(), prop::sample::select(&b"data: {}[]\"\\:,\r\n"[..])], 0..400),
        places in vec(any::<Index>(), 0..12),
        stream: bool,
    ) {
        let head = (stream.then_some("Text/Event-Stream; charset=utf-8"), None);
        for kind in KINDS {
            let whole = decode(kind, head, [&body[..]]);
            prop_assert_eq!(decode(kind, head, cut(&body, &places)), whole);
        }
        let _ = server_message(&body);
        let _ = model_ids(&body);
    }

    #[test]
    fn a_damaged_capture_never_panics(at in any::<Index>(), byte: u8, file in any::<Index>()) {
        let files = fixture::files();
        let mut answer = Answer::load(&files[file.index(files.len())]);
        if !answer.body.is_empty() {
            let at = at.index(answer.body.len());
            answer.body[at] = byte;
        }
        for kind in KINDS {
            let whole = decode_whole(kind, &answer);
            prop_assert_eq!(decode(kind, answer.head(), answer.body.chunks(5)), whole);
        }
    }
}
