//! The members under which vendors send text, thinking and calls of tools, each as its interface documents it.

use super::tests::{chat, output, stream, whole};
use streamgauge_core::OutputKind::{Reasoning, Text, ToolCall};
use streamgauge_core::plan::EndpointKind;

fn delta(members: &str) -> Vec<String> {
    chat(&format!(r#"{{"choices":[{{"index":0,"delta":{{{members}}}}}]}}"#))
}

#[test]
fn content_in_parts() {
    // Mistral's reasoning models stream thinking as a part of the content.
    assert_eq!(
        delta(
            r#""content":[{"type":"thinking","thinking":[{"type":"text","text":"hm"},{"type":"text","text":".."}]}]"#
        ),
        [output(Reasoning, 0, "hm..")]
    );
    assert_eq!(delta(r#""content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]"#), [output(Text, 0, "ab")]);
    // Anthropic's models behind gateways.
    assert_eq!(
        delta(r#""content":[{"type":"thinking","thinking":"hm","signature":"x"},{"type":"text","text":"a"}]"#),
        [output(Reasoning, 0, "hm"), output(Text, 0, "a")]
    );
    assert_eq!(delta(r#""content":{"type":"output_text","text":"a"}"#), [output(Text, 0, "a")]);
    assert_eq!(delta(r#""content":["a","b"]"#), [output(Text, 0, "ab")]);
    // What holds no text says nothing.
    assert_eq!(
        delta(r#""content":[{"type":"reference","reference_ids":[1]},{"type":"image_url","image_url":{}}]"#),
        ["Empty"]
    );
    assert_eq!(delta(r#""content":[]"#), ["Empty"]);
}

#[test]
fn thinking_under_every_name() {
    for member in [
        r#""reasoning_content":"hm""#,
        r#""reasoning":"hm""#,
        r#""reasoning_text":"hm""#,
        r#""thinking":"hm""#,
        r#""reasoning":{"content":"hm"}"#,
        // OpenRouter and LiteLLM say the same again as a list.
        r#""reasoning":"hm","reasoning_details":[{"type":"reasoning.text","text":"hm","index":0}]"#,
        r#""reasoning_content":"hm","thinking_blocks":[{"type":"thinking","thinking":"hm","signature":null}]"#,
        r#""reasoning_content":null,"thinking_blocks":[{"type":"thinking","thinking":"hm"}]"#,
        r#""reasoning_details":[{"type":"reasoning.summary","summary":"hm"}]"#,
        r#""reasoning":"hm","thinking":"hm","content":"""#,
    ] {
        assert_eq!(delta(member), [output(Reasoning, 0, "hm")], "{member}");
    }
    assert_eq!(delta(r#""reasoning_details":[{"type":"reasoning.encrypted","data":"AAAA"}]"#), ["Empty"]);
    assert_eq!(delta(r#""thinking":"hm","content":"a""#), [output(Reasoning, 0, "hm"), output(Text, 0, "a")]);
}

#[test]
fn refusals_and_speech_are_text() {
    assert_eq!(delta(r#""content":null,"refusal":"no""#), [output(Text, 0, "no")]);
    assert_eq!(delta(r#""audio":{"id":"x","transcript":"hello"}"#), [output(Text, 0, "hello")]);
    assert_eq!(delta(r#""audio":{"data":"AAAA"}"#), ["Empty"]);
    let body = br#"{"choices":[{"message":{"content":null,"refusal":"no"}}]}"#;
    assert_eq!(whole(EndpointKind::Chat, body), [output(Text, 0, "no")]);
}

#[test]
fn calls_of_tools_in_every_form() {
    let call = |member: &str| delta(&format!(r#""tool_calls":{member}"#));
    assert_eq!(call(r#"[{"index":0,"id":"c","function":{"name":"f","arguments":""}}]"#), [output(ToolCall, 0, "f")]);
    assert_eq!(call(r#"[{"function":{"name":"f","arguments":"{}"}}]"#), [output(ToolCall, 0, "f{}")]);
    // Arguments as an object, a call without its list, and one without its function.
    assert_eq!(call(r#"[{"function":{"name":"f","arguments":{"a":1}}}]"#), [output(ToolCall, 0, r#"f{"a":1}"#)]);
    assert_eq!(call(r#"{"function":{"arguments":"{}"}}"#), [output(ToolCall, 0, "{}")]);
    assert_eq!(call(r#"[{"name":"f","arguments":"{}"}]"#), [output(ToolCall, 0, "f{}")]);
    assert_eq!(call(r#"[{"type":"custom","custom":{"name":"f","input":"x"}}]"#), [output(ToolCall, 0, "fx")]);
    assert_eq!(call(r#"[{"function":{"name":null}},null]"#), ["Empty"]);
    assert_eq!(delta(r#""function_call":{"name":"f","arguments":"{}"}"#), [output(ToolCall, 0, "f{}")]);
}

#[test]
fn an_endpoint_takes_the_others_member_where_its_own_says_nothing() {
    let both = r#"{"choices":[{"text":"t","delta":{"content":"c"}}]}"#;
    assert_eq!(stream(EndpointKind::Chat, &[both]), [output(Text, 0, "c")]);
    assert_eq!(stream(EndpointKind::Completions, &[both]), [output(Text, 0, "t")]);
    let other = r#"{"choices":[{"text":"t","delta":{"role":"assistant"}}]}"#;
    assert_eq!(stream(EndpointKind::Chat, &[other]), [output(Text, 0, "t")]);
    let other = r#"{"choices":[{"text":"","delta":{"content":"c"}}]}"#;
    assert_eq!(stream(EndpointKind::Completions, &[other]), [output(Text, 0, "c")]);
}
