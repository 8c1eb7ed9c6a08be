//! What the answer said, and how its pieces came, as it reaches the record.

use crate::script::{serve, settle};
use crate::trial::{Ended, Trial};
use crate::words::{DONE, LAST_CHUNK, STREAM_HEAD, chunk, delta, document, finish, stream, token};
use std::time::Duration;
use streamgauge_core::event::OutputKind::{self, Reasoning, Text, ToolCall};
use streamgauge_core::event::Usage;
use streamgauge_core::plan::{EndpointKind, ExportLevel};
use streamgauge_core::received::OutputText;

/// The one request of a run whose answer comes in these writes, with a rest between them.
fn told(trial: impl FnOnce(Trial) -> Trial, writes: Vec<String>) -> Ended {
    let server = serve(move |peer| {
        while peer.request().is_some() {
            for (number, text) in writes.iter().enumerate() {
                if number > 0 {
                    settle();
                }
                peer.send(text);
            }
        }
    });
    let ended = trial(Trial::at(server.addr())).run();
    ended.all_ok(1);
    ended
}

/// A stream of these events, a chunk each, in one write.
fn events(events: &[String]) -> String {
    let chunks: Vec<String> = events.iter().map(|event| chunk(event)).collect();
    format!("{STREAM_HEAD}{}{LAST_CHUNK}", chunks.concat())
}

fn output(choice: u32, kind: OutputKind, text: &str) -> OutputText {
    OutputText { choice, kind, text: text.to_owned() }
}

fn kinds(ended: &Ended) -> Vec<OutputKind> {
    ended.only().record.chunks.iter().map(|chunk| chunk.kind).collect()
}

fn shared(ended: &Ended) -> Vec<bool> {
    ended.only().record.chunks.iter().map(|chunk| chunk.shared).collect()
}

fn usage(prompt: u64, completion: u64) -> String {
    format!("data: {{\"choices\":[],\"usage\":{{\"prompt_tokens\":{prompt},\"completion_tokens\":{completion}}}}}\n\n")
}

#[test]
fn several_answers_are_kept_apart_and_their_usage_adds_up() {
    let text = |choice, text: &str| delta(choice, &format!(r#""content":"{text}""#));
    let answer = events(&[
        text(0, "a"),
        text(1, "x"),
        text(0, "b"),
        finish(0, "stop"),
        text(1, "y"),
        finish(1, "length"),
        usage(20, 2),
        usage(20, 3),
        DONE.to_owned(),
    ]);
    let ended = told(|trial| trial, vec![answer]);
    assert_eq!(ended.only().received.texts, [output(0, Text, "ab"), output(1, Text, "xy")]);
    assert_eq!(ended.only().record.finish.as_deref(), Some("stop"));
    let sum = Usage { prompt_tokens: Some(20), completion_tokens: Some(5), ..Usage::default() };
    assert_eq!(ended.only().record.usage, Some(sum));
}

#[test]
fn one_usage_for_all_answers_is_taken_as_it_is() {
    let answer = events(&[
        delta(0, r#""content":"a""#),
        delta(1, r#""content":"x""#),
        finish(0, "stop"),
        finish(1, "stop"),
        usage(20, 2),
        DONE.to_owned(),
    ]);
    let ended = told(|trial| trial, vec![answer]);
    assert_eq!(ended.only().record.usage.unwrap().completion_tokens, Some(2));
}

#[test]
fn reasoning_and_tool_calls_are_output_of_their_kind() {
    let answer = events(&[
        delta(0, r#""role":"assistant","content":"""#),
        delta(0, r#""reasoning_content":"hm""#),
        delta(0, r#""reasoning":"..""#),
        token("so"),
        delta(0, r#""tool_calls":[{"index":0,"id":"c","function":{"name":"f","arguments":""}}]"#),
        delta(0, r#""tool_calls":[{"index":0,"function":{"arguments":"{}"}}]"#),
        finish(0, "tool_calls"),
        DONE.to_owned(),
    ]);
    let ended = told(|trial| trial, vec![answer]);
    assert_eq!(kinds(&ended), [Reasoning, Reasoning, Text, ToolCall, ToolCall]);
    let outputs = [output(0, Reasoning, "hm.."), output(0, Text, "so"), output(0, ToolCall, "f{}")];
    assert_eq!(ended.only().received.texts, outputs);
    assert!(ended.only().record.first_event.unwrap() <= ended.only().record.chunks[0].at);
}

#[test]
fn whole_answers_have_all_their_outputs() {
    let body = r#"{"choices":[{"index":1,"message":{"content":"y"},"finish_reason":"stop"},
        {"index":0,"message":{"reasoning_content":"hm","content":"x"},"finish_reason":"length"}],
        "usage":{"prompt_tokens":4,"completion_tokens":9,"completion_tokens_details":{"reasoning_tokens":2}}}"#;
    let answer = document(200, "application/json", body);
    let ended = told(|trial| trial.streaming(false), vec![answer]);
    assert_eq!(ended.only().received.texts, [output(1, Text, "y"), output(0, Reasoning, "hm"), output(0, Text, "x")]);
    let record = &ended.only().record;
    assert_eq!(record.finish.as_deref(), Some("stop"));
    assert_eq!(shared(&ended), [false, true, true]);
    let usage = record.usage.unwrap();
    assert_eq!((usage.completion_tokens, usage.reasoning_tokens), (Some(9), Some(2)));
}

#[test]
fn completions_bring_texts() {
    let event = |text: &str, reason: &str| {
        format!("data: {{\"choices\":[{{\"index\":0,\"text\":\"{text}\",\"finish_reason\":{reason}}}]}}\n\n")
    };
    let answer = events(&[event("a", "null"), event(" b", "\"stop\""), DONE.to_owned()]);
    let ended = told(|trial| trial.kind(EndpointKind::Completions), vec![answer]);
    assert_eq!(ended.only().received.texts, [output(0, Text, "a b")]);
    assert_eq!(ended.only().record.chunks.len(), 2);
}

#[test]
fn raw_bytes_are_the_bodys_as_they_came() {
    let writes = [format!("{}: ping\r\n\r\n", token("é")), token("b"), format!("{}{DONE}", finish(0, "stop"))];
    let framed = |text: &String| chunk(text);
    let mut wire: Vec<String> = writes.iter().map(framed).collect();
    wire[0].insert_str(0, STREAM_HEAD);
    wire.push(LAST_CHUNK.to_owned());
    let ended = told(|trial| trial.export(ExportLevel::Raw), wire);
    let raw = &ended.only().received.raw;
    assert_eq!(raw.iter().map(|piece| piece.bytes.clone()).collect::<Vec<_>>(), writes.clone().map(String::into_bytes));
    let record = &ended.only().record;
    assert_eq!(record.bytes, writes.concat().len() as u64);
    assert_eq!([raw[0].at, raw[1].at], [record.chunks[0].at, record.chunks[1].at]);
    assert!(raw[2].at <= record.end);
}

#[test]
fn raw_bytes_of_a_failure_are_kept_too() {
    let server = serve(|peer| {
        while peer.request().is_some() {
            peer.send(&document(500, "text/plain", "sorry"))
        }
    });
    let ended = Trial::at(server.addr()).export(ExportLevel::Raw).run();
    assert_eq!(ended.only().received.raw[0].bytes, b"sorry");
}

#[test]
fn outputs_do_not_depend_on_how_the_network_cuts_them() {
    let texts = ["é", " für", "\\u00e9", " \\ud83d\\ude00", "日本"];
    let answer = stream(&texts);
    let whole = told(|trial| trial, vec![answer.clone()]);
    assert_eq!(whole.only().received.texts, [output(0, Text, "é füré 😀日本")]);
    let server = serve(move |peer| {
        while peer.request().is_some() {
            for byte in answer.as_bytes() {
                peer.send_bytes(&[*byte]);
                if byte % 7 == 0 {
                    std::thread::sleep(Duration::from_micros(300));
                }
            }
        }
    });
    let cut = Trial::at(server.addr()).requests(2).run();
    cut.all_ok(2);
    for finished in &cut.finished {
        assert_eq!(finished.received.texts, whole.only().received.texts);
        assert_eq!((finished.record.chunks.len(), finished.record.bytes), (5, whole.only().record.bytes));
    }
}

#[test]
fn chunks_of_one_read_share_its_stamp() {
    let three = [token("a"), token("b"), token("c")];
    let one_body_chunk = chunk(&three.concat());
    let three_body_chunks = three.map(|event| chunk(&event)).concat();
    for together in [one_body_chunk, three_body_chunks] {
        let rest = format!("{}{}{LAST_CHUNK}", chunk(&token("d")), chunk(DONE));
        let ended = told(|trial| trial, vec![STREAM_HEAD.to_owned(), together, rest]);
        assert_eq!(shared(&ended), [false, true, true, false]);
        let at: Vec<_> = ended.only().record.chunks.iter().map(|chunk| chunk.at).collect();
        assert!(at[0] == at[1] && at[1] == at[2] && at[2] < at[3], "{at:?}");
        assert!(ended.only().record.first_byte.unwrap() < at[0]);
    }
}

#[test]
fn an_event_in_two_reads_has_the_stamp_of_its_last_part() {
    let (first, second) = (token("a"), token("b"));
    let framed = chunk(&format!("{first}{second}"));
    let (one, two) = framed.split_at(framed.len() - 20);
    let rest = format!("{}{LAST_CHUNK}", chunk(DONE));
    let ended = told(|trial| trial, vec![format!("{STREAM_HEAD}{one}"), two.to_owned(), rest]);
    let record = &ended.only().record;
    assert_eq!(shared(&ended), [false, false]);
    assert!(record.chunks[0].at < record.chunks[1].at && record.chunks[1].at < record.end);
}
