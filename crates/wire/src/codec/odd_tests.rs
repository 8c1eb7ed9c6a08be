//! Members and chunks that are not what the interface says: each costs itself, and never the answer around it.

use super::tests::{chat, endpoint, output, owned, stream, whole};
use super::*;
use proptest::prelude::*;
use streamgauge_core::plan::EndpointKind;
use streamgauge_core::{Event, OutputKind, Usage};

fn text(text: &str) -> String {
    output(OutputKind::Text, 0, text)
}

fn usage(prompt: Option<u64>, completion: Option<u64>) -> String {
    let usage = Usage { prompt_tokens: prompt, completion_tokens: completion, ..Usage::default() };
    owned(Event::Usage { usage, alone: true })
}

/// What was passed over: the message, and whether output may have been in it.
fn unreadable(event: &str) -> Option<(String, bool)> {
    let rest = event.strip_prefix("Unreadable { message: \"")?;
    let (message, may_be_output) = rest.rsplit_once("\", may_be_output: ")?;
    Some((message.replace("\\\"", "\""), may_be_output == "true }"))
}

/// The events, with those that were passed over as `output` or `other`.
fn short(seen: Vec<String>) -> Vec<String> {
    let short = |event: String| match unreadable(&event) {
        Some((_, true)) => "output".to_owned(),
        Some((_, false)) => "other".to_owned(),
        None => event,
    };
    seen.into_iter().map(short).collect()
}

#[test]
fn counts_that_can_be_read_are_read_and_others_passed_over() {
    let with_usage = |usage: &str| short(chat(&format!(r#"{{"choices":[],"usage":{usage}}}"#)));
    assert_eq!(with_usage(r#"{"prompt_tokens":20.0,"completion_tokens":"8"}"#), [usage(Some(20), Some(8))]);
    assert_eq!(with_usage(r#"{"prompt_tokens":20,"completion_tokens":-35}"#), [usage(Some(20), None), "other".into()]);
    assert_eq!(with_usage(r#"{"prompt_tokens":20,"completion_tokens":8.5}"#), [usage(Some(20), None), "other".into()]);
    assert_eq!(with_usage(r#"{"completion_tokens":8,"prompt_tokens_details":[]}"#), [usage(None, Some(8))]);
    assert_eq!(
        with_usage(r#"{"completion_tokens":8,"prompt_tokens_details":7}"#),
        [usage(None, Some(8)), "other".into()]
    );
    assert_eq!(with_usage(r#"{"completion_tokens":{"n":8}}"#), ["other"]);
    for odd in ["[1,2]", "7", "\"8\"", "true"] {
        assert_eq!(with_usage(odd), ["other"], "{odd}");
    }
    // A count that no reply can have.
    assert_eq!(with_usage(r#"{"completion_tokens":18446744073709551615}"#), ["other"]);
}

#[test]
fn a_usage_without_counts_is_none() {
    for none in [r#"{"total_tokens":28}"#, "{}", r#"{"prompt_tokens":null,"prompt_tokens_details":{}}"#] {
        assert_eq!(chat(&format!(r#"{{"choices":[],"usage":{none}}}"#)), ["Empty"], "{none}");
    }
    // That zeros are no counts is for the figures to know.
    let zeros = r#"{"choices":[],"usage":{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}}"#;
    assert_eq!(chat(zeros), [usage(Some(0), Some(0))]);
}

#[test]
fn tokens_from_a_cache_are_read_by_each_servers_name_for_them() {
    let of = |prompt: Option<u64>, cached: Option<u64>| {
        let usage = Usage { prompt_tokens: prompt, cached_tokens: cached, ..Usage::default() };
        [owned(Event::Usage { usage, alone: true })]
    };
    let with = |members: &str| chat(&format!(r#"{{"choices":[],{members}}}"#));
    let details = r#""usage":{"prompt_tokens":20,"prompt_tokens_details":{"cached_tokens":16}}"#;
    assert_eq!(with(details), of(Some(20), Some(16)));
    assert_eq!(
        with(&format!(r#"{details},"timings":{{"cache_n":19}}"#)),
        of(Some(20), Some(16)),
        "the usage comes first"
    );
    assert_eq!(
        with(r#""usage":{"prompt_tokens":20,"prompt_cache_hit_tokens":12,"prompt_cache_miss_tokens":8}"#),
        of(Some(20), Some(12))
    );
    assert_eq!(with(r#""usage":{"prompt_tokens":20},"timings":{"cache_n":19,"prompt_n":1}"#), of(Some(20), Some(19)));
    assert_eq!(with(r#""usage":{"prompt_tokens":20},"timings":{"cache_n":0}"#), of(Some(20), Some(0)));
    assert_eq!(with(r#""timings":{"cache_n":19,"prompt_n":1}"#), of(None, Some(19)));
    for nothing in [
        r#""timings":{"cache_n":0}"#,
        r#""timings":{}"#,
        r#""timings":null"#,
        r#""timings":[19]"#,
        r#""timings":{"cache_n":"x"}"#,
    ] {
        assert_eq!(with(nothing), ["Empty"], "{nothing}");
    }
    let odd = r#""usage":{"prompt_tokens":20,"prompt_cache_hit_tokens":-1}"#;
    assert_eq!(short(with(odd)), [of(Some(20), None)[0].clone(), "other".into()]);
}

#[test]
fn what_says_nothing_is_nothing() {
    for data in [
        "null",
        ": OPENROUTER PROCESSING",
        r#"{"choices":[],"error":""}"#,
        r#"{"choices":[null],"error":false}"#,
        r#"{"choices":[],"error":{"code":0,"message":null}}"#,
        r#"{"choices":[{"index":0,"delta":[],"finish_reason":"null"}]}"#,
        r#"{"choices":[{"index":0,"delta":false,"finish_reason":false}]}"#,
    ] {
        assert_eq!(chat(data), ["Empty"], "{data}");
    }
}

#[test]
fn what_no_figure_needs_may_be_anything() {
    for odd in [
        r#""logprobs":{"content":[{"logprob":-Infinity,"top":NaN}]}"#,
        r#""logprobs":1e999"#,
        r#""id":7,"created":"now","role":[[[]]]"#,
        r#""token_ids":"\ud800""#,
    ] {
        let data = format!(r#"{{"choices":[{{"index":0,"delta":{{"content":" word"}},{odd}}}]}}"#);
        let seen: Vec<_> = short(chat(&data)).into_iter().filter(|event| event != "other").collect();
        assert_eq!(seen, [text(" word")], "{data}");
    }
}

#[test]
fn numbers_that_json_does_not_have_are_not_counted_as_unreadable() {
    let data = r#"{"choices":[{"delta":{"content":"a"},"logprobs":[-Infinity]}],"usage":{"completion_tokens":NaN}}"#;
    assert_eq!(chat(data), [text("a")]);
    assert_eq!(whole(EndpointKind::Chat, data.as_bytes()), [text("a")]);
}

#[test]
fn what_is_no_character_is_replaced_and_said() {
    let data = r#"{"choices":[{"delta":{"content":"a\ud83d"}}]}"#;
    assert_eq!(short(chat(data)), [text("a\u{FFFD}"), "other".into()]);
    let data = b"{\"choices\":[{\"delta\":{\"content\":\"a\xC3\"}}]}";
    assert_eq!(short(stream(EndpointKind::Chat, &[data])), [text("a\u{FFFD}"), "other".into()]);
    assert_eq!(short(whole(EndpointKind::Chat, data)), [text("a\u{FFFD}"), "other".into()]);
    let pair = r#"{"choices":[{"delta":{"content":"\ud83d\ude00"}}]}"#;
    assert_eq!(chat(pair), [text("😀")]);
}

#[test]
fn of_members_that_stand_twice_the_last_counts() {
    let data = r#"{"choices":[{"delta":{"content":"a"}}],"choices":[{"delta":{"content":"b","content":"c"},"index":1,"index":0}]}"#;
    assert_eq!(chat(data), [text("c")]);
    let data = r#"{"text_output":"a","text_output":"b"}"#;
    assert_eq!(stream(EndpointKind::Generate, &[data]), [text("b")]);
}

#[test]
fn odd_finish_reasons_and_indices() {
    let finish = |choice, reason| owned(Event::Finish { choice, reason });
    let choice = |members: &str| short(chat(&format!(r#"{{"choices":[{{"delta":{{}},{members}}}]}}"#)));
    assert_eq!(choice(r#""finish_reason":{"type":"length"}"#), [finish(0, "length")]);
    assert_eq!(choice(r#""index":1.0,"finish_reason":2"#), [finish(1, "2")]);
    assert_eq!(choice(r#""index":"3","finish_reason":true"#), [finish(3, "true")]);
    assert_eq!(choice(r#""index":-1,"finish_reason":"stop""#), [finish(0, "stop"), "other".into()]);
    assert_eq!(choice(r#""finish_reason":[1]"#), ["other"]);
    let mut at_most = chat(r#"{"choices":[{"index":4294967295,"delta":{"content":"a"}}]}"#);
    assert_eq!(at_most.pop(), Some(output(OutputKind::Text, u32::MAX, "a")));
}

#[test]
fn where_output_may_be_missing_it_is_said() {
    for data in [
        r#"{"choices":[{"delta":{"content":1}}]}"#,
        r#"{"choices":[{"delta":["x"]}]}"#,
        r#"{"choices":[{"delta":{"content":[{"type":"text","text":7}]}}]}"#,
        r#"{"choices":[{"delta":{"tool_calls":7}}]}"#,
        r#"{"choices":[{"delta":{"tool_calls":[{"function":{"arguments":7}}]}}]}"#,
        r#"{"choices":[[0]]}"#,
        r#"{"choices":7}"#,
        r#"{"choices":[{"delta":{"conte"#,
        "{'choices': []}",
        "[1]",
    ] {
        assert_eq!(short(chat(data)), ["output"], "{data}");
    }
    for data in ["1", "\"a\"", "ping", "<html>"] {
        assert_eq!(short(chat(data)), ["other"], "{data}");
    }
    // What can be read of a chunk is read.
    let data = r#"{"choices":[{"delta":{"content":1,"reasoning":"r"},"finish_reason":"stop"}]}"#;
    let finish = owned(Event::Finish { choice: 0, reason: "stop" });
    assert_eq!(short(chat(data)), [output(OutputKind::Reasoning, 0, "r"), finish, "output".into()]);
}

#[test]
fn messages_show_the_chunk_and_name_no_types() {
    let message = |data: &str| unreadable(chat(data).last().unwrap()).unwrap().0;
    assert_eq!(message(r#"{"choices":[{"de"#), r#"not a chat chunk: the JSON ends too early: {"choices":[{"de"#);
    assert_eq!(message(r#"{"choices":]}"#), r#"not a chat chunk: not JSON at column 12: {"choices":]}"#);
    assert_eq!(message("ping"), "not a chat chunk: not a JSON object: ping");
    assert_eq!(message(r#"{"choices":7}"#), r#"`choices` has a value that cannot be read: {"choices":7}"#);
    assert_eq!(
        message(r#"{"choices":[],"usage":{"completion_tokens":-35}}"#),
        r#"`usage.completion_tokens` has a value that cannot be read: {"choices":[],"usage":{"completion_tokens":-35}}"#
    );
    let seen = stream(EndpointKind::Generate, &["{\"text_output\":"]);
    assert_eq!(unreadable(&seen[0]).unwrap().0, r#"not a generate chunk: the JSON ends too early: {"text_output":"#);
}

#[test]
fn reading_goes_on_after_what_cannot_be_read() {
    let good = r#"{"choices":[{"delta":{"content":"x"}}]}"#;
    let seen = short(stream(EndpointKind::Chat, &[good, "{", good, "[DONE]"]));
    assert_eq!(seen, [text("x"), "output".into(), text("x"), "Done".into()]);
}

#[test]
fn events_without_a_blank_line_between_them() {
    let chunk = |text: &str| format!(r#"{{"choices":[{{"delta":{{"content":"{text}"}}}}]}}"#);
    let data = format!("{}\ndata: {}\ndata: [DONE]", chunk("a"), chunk("b"));
    assert_eq!(chat(&data), [text("a"), text("b"), "Done".into()]);
    let data = format!("{}{}", chunk("a"), chunk(r"b\ud800"));
    assert_eq!(short(chat(&data)), [text("a"), text("b\u{FFFD}"), "other".into()]);
    assert_eq!(short(chat(&format!("{} x", chunk("a")))), [text("a"), "output".into()]);
    // None of them is what the next event looks like.
    let seen = stream(EndpointKind::Chat, &[data.as_str(), &data]);
    assert_eq!(seen.len(), 6);
}

#[test]
fn what_is_said_of_odd_parts_grows_with_them_and_no_faster() {
    let said = |objects: usize| {
        let data = r#"{"choices":7}"#.repeat(objects);
        let seen = stream(EndpointKind::Chat, &[&data]);
        assert_eq!(seen.len(), objects);
        seen.iter().map(String::len).sum::<usize>()
    };
    assert_eq!(said(4_000), 4_000 * said(1));
    // Of something long, only the beginning.
    let long = format!(r#"{{"choices":7,"x":"{}"}}"#, "x".repeat(1 << 20));
    assert!(chat(&long)[0].len() < 5_000);
}

#[test]
fn the_end_in_every_spelling() {
    for data in ["[DONE]", " [DONE] ", "\"[DONE]\"", "[done]"] {
        assert_eq!(chat(data), ["Done"], "{data}");
    }
}

#[test]
fn of_a_generate_stream_a_cut_event_at_the_end_is_malformed() {
    let codec = Codec::new(&endpoint(EndpointKind::Generate, true), false);
    let mut decoder = codec.decoder(Some("text/event-stream"), AnswerContext::default());
    let mut seen = Vec::new();
    decoder.feed(b"data: {\"text_output\":\"a\"}\n\ndata: {\"text_ou", &mut |event| seen.push(owned(event)));
    decoder.finish(&mut |event| seen.push(owned(event)));
    assert_eq!(seen[0], text("a"));
    assert!(seen[1].starts_with("Malformed { message: \"not a generate chunk: the JSON ends too early"), "{seen:?}");
}

proptest! {
    /// Whatever value stands in the place of a member that is not the text, the text is read.
    #[test]
    fn no_member_beside_it_costs_a_text(
        member in prop::sample::select(&["id", "usage", "system_fingerprint", "created"][..]),
        beside in prop::sample::select(&["index", "logprobs", "finish_reason", "role", "matched_stop"][..]),
        value in prop::sample::select(&["null", "true", "-7", "1e999", "NaN", "\"\\ud800\"", "[[{}]]", "{\"a\":{\"a\":1,\"a\":2}}"][..]),
        other in prop::sample::select(&["false", "0.5", "-Infinity", "\"x\"", "[]", "{}", "18446744073709551616"][..]),
    ) {
        let data = format!(r#"{{"{member}":{value},"choices":[{{"{beside}":{other},"delta":{{"content":"word"}}}}]}}"#);
        let seen = chat(&data);
        prop_assert!(seen.contains(&text("word")), "{} {:?}", data, seen);
    }
}
