//! Prompts and conversations, an object of JSON each: in lines, or in one array. An object has a text, the messages of a chat, media, or a
//! whole body. Objects that share a `session_id` are one conversation, and so are messages with answers of the assistant between them: the
//! server's own answers stand in the place of those.

use super::media::KINDS;
use super::sessions::Sessions;
use super::turns::{TEXTS, Turns};
use super::{Format, Sample};

/// The format.
pub const FORMAT: Format = Format {
    name: "jsonl",
    aliases: &["single_turn", "custom"],
    has_times: true,
    takes_directories: false,
    recognises,
    open: |input, options| {
        let turns = Turns::new(input.path(), options.timing);
        Ok(Sessions::new(input.objects()?, turns))
    },
};

fn recognises(sample: &Sample) -> bool {
    // A trace may have texts too, beside its times and lengths.
    let is_trace = sample.has(&["timestamp", "input_length", "hash_ids"]);
    let media = KINDS.iter().any(|(_, names)| sample.has(names));
    let text = |name: &&&str| !matches!(**name, "text" | "text_input") || !is_trace;
    media || sample.has(&["messages", "payload"]) || TEXTS.iter().filter(text).any(|name| sample.has(&[name]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::{Contents, Conversation, Input, SourceOptions, Timing, Turn, read_text, source};
    use proptest::prelude::*;
    use serde_json::Value;
    use streamgauge_core::Nanos;
    use streamgauge_core::prompt::Content;

    fn read(lines: &[&str]) -> Contents {
        read_text(&lines.join("\n"), Timing::Untimed).unwrap()
    }

    fn said(conversation: &Conversation) -> Vec<String> {
        let text = |turn: &Turn| match &turn.content {
            None => String::new(),
            Some(Content::Texts(texts)) => texts.join("|"),
            Some(Content::Messages(messages)) => messages
                .iter()
                .map(|message| format!("{}:{}", message.role, message.texts().collect::<String>()))
                .collect::<Vec<_>>()
                .join(" "),
        };
        conversation.turns.iter().map(text).collect()
    }

    #[test]
    fn each_name_of_a_text_is_a_prompt() {
        let contents = read(&[
            r#"{"text": "a", "output_length": 5}"#,
            r#"{"text_input": "b", "max_tokens": 6}"#,
            r#"{"prompt": "c", "model": "m"}"#,
            r#"{"input": ["d"], "temperature": 0}"#,
            r#"{"input_length": 9}"#,
        ]);
        assert_eq!(contents.conversations.iter().flat_map(said).collect::<Vec<_>>(), ["a", "b", "c", "d", ""]);
        let turns: Vec<_> = contents.turns().collect();
        assert_eq!([turns[0], turns[1], turns[2]].map(|turn| turn.requested_output_tokens), [Some(5), Some(6), None]);
        assert_eq!(turns[2].model.as_deref(), Some("m"));
        assert_eq!(Value::Object(turns[3].members.clone()).to_string(), r#"{"temperature":0}"#);
        assert_eq!(contents.notes, ["the requests' bodies hold these members of its rows as they are: `temperature`"]);
        let counts =
            "5 row(s): 5 conversation(s) of 5 turn(s), 9 input tokens in texts to be made, 11 output tokens asked for";
        assert_eq!(contents.counts.to_string(), counts);
    }

    #[test]
    fn answers_of_the_assistant_divide_messages_into_turns() {
        let contents = read(&[concat!(
            r#"{"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "a"}, "#,
            r#"{"role": "assistant", "content": "x"}, "#,
            r#"{"role": "user", "content": [{"type": "text", "text": "b"}, {"type": "image_url", "image_url": {"url": "u"}}]}, "#,
            r#"{"role": "assistant", "content": null, "tool_calls": []}, {"role": "tool", "content": "t"}, "#,
            r#"{"role": "assistant", "content": "y"}], "output_length": 3}"#
        )]);
        assert_eq!(said(&contents.conversations[0]), ["system:s user:a", "user:b assistant: tool:t"]);
        assert!(contents.turns().all(|turn| turn.requested_output_tokens == Some(3)));
        assert!(contents.notes[0].starts_with("answers of the assistant"), "{:?}", contents.notes);
        let alone =
            read(&[r#"{"messages": [{"role": "assistant", "content": "x"}, {"role": "user", "content": "a"}]}"#]);
        assert_eq!(said(&alone.conversations[0]), ["assistant:x user:a"]);
    }

    #[test]
    fn lines_of_a_session_are_a_conversation_wherever_they_stand() {
        let contents = read(&[
            r#"{"text": "0"}"#,
            r#"{"text": "a1", "session_id": "a", "delay": 7}"#,
            r#"{"text": "1"}"#,
            r#"{"text": "b1", "session_id": 2}"#,
            r#"{"text": "a2", "session_id": "a", "delay": 1500.5}"#,
            r#"{"text": "b2", "session_id": 2}"#,
        ]);
        let all: Vec<_> = contents.conversations.iter().map(said).collect();
        assert_eq!(all, [vec!["0"], vec!["a1", "a2"], vec!["1"], vec!["b1", "b2"]]);
        assert_eq!(contents.conversations[1].turns[1].delay, Nanos(1_500_500_000));
        assert!(contents.notes[0].starts_with("delay is not followed in the first line"), "{:?}", contents.notes);
        assert_eq!(contents.counts.to_string(), "6 row(s): 4 conversation(s) of 6 turn(s)");
    }

    #[test]
    fn a_trace_stays_a_trace() {
        let is_trace = |line: &str| !recognises(&Input::text(line).sample().unwrap().0);
        assert!(is_trace(r#"{"text": "a", "timestamp": 0}"#) && is_trace(r#"{"input_length": 3}"#) && is_trace("[]"));
        assert!(!is_trace(r#"{"text_input": "a"}"#) && !is_trace(r#"{"messages": [], "timestamp": 0}"#));
    }

    #[test]
    fn what_is_no_prompt_is_refused_by_its_line() {
        for (line, words) in [
            (r#"{"temperature": 5}"#, "there is no prompt; give one of text, "),
            (r#"{"text": "a", "messages": []}"#, "`text` and `messages` are both given"),
            (r#"{"messages": []}"#, "`messages` is empty"),
            (r#"{"messages": [{"content": "a"}]}"#, "message 1 has no `role`"),
            (r#"{"messages": [{"role": "user", "content": 5}]}"#, "the content 5 of a message is not a text"),
            (r#"{"messages": [{"role": "user", "content": [5]}]}"#, "the part 5 of a message is not an object"),
            (r#"{"input": [1, 2]}"#, "`input` is neither a text nor a list of texts"),
            (r#"{"text": "a", "prompt": "b"}"#, "`text` and `prompt` are both given"),
            (r#"{"text": "a", "text": "b"}"#, "`text` is given twice"),
            (r#"{"text": "a", "image": "b.png"}"#, "b.png cannot be read"),
            (r#"{"text": "a", "chat_id": 1}"#, "`chat_id` belongs to the formats of traces"),
            (r#"{"text": "a", "turns": []}"#, "`turns` belongs to the format multi_turn"),
            (r#"{"payload": [1, 2]}"#, "`payload` is not a body"),
            (r#"{"payload": {}, "text": "a"}"#, "`payload` is the whole body and `text` is given too"),
            (r#"{"text": "a", "extra": 5}"#, "extra 5: not an object of members"),
            (r#"{"text": "a", "model": 5}"#, "model 5: not a text"),
            (r#"{"text": "a", "max_tokens": 0}"#, "max_tokens 0: a length of 0"),
            (r#"{"text": "a", "delay": -1}"#, "delay -1: not a number of milliseconds"),
            (r#"{"text": "a", "session_id": []}"#, "session_id []: not a text or a number"),
        ] {
            let text = format!("{{\"prompt\": \"first\"}}\n\n{line}");
            let error = read_text(&text, Timing::Untimed).unwrap_err().to_string();
            assert!(error.starts_with("line 3") && error.contains(words), "{line}: {error}");
        }
    }

    #[test]
    fn each_form_of_a_prompt_is_taken() {
        let contents = read(&[
            r#"{"texts": ["a", {"name": "t", "contents": ["b", "c"]}], "output_tokens": 4}"#,
            r#"{"text": "a", "role": "system"}"#,
            r#"{"text": "What?", "images": ["https://h/a.png", "data:image/png;base64,AA=="], "audio": "wav,AA=="}"#,
            r#"{"messages": [{"role": "user", "content": "a"}], "tools": [{"type": "function"}], "extra": {"n": 1}}"#,
            r#"{"payload": [{"prompt": "a", "max_tokens": 3}], "delay": 5}"#,
        ]);
        let turns: Vec<_> = contents.turns().collect();
        let texts = ["a", "b", "c"].map(str::to_owned).to_vec();
        assert_eq!(
            (turns[0].content.as_ref(), turns[0].requested_output_tokens),
            (Some(&Content::Texts(texts)), Some(4))
        );
        let Some(Content::Messages(messages)) = &turns[1].content else { panic!("{:?}", turns[1]) };
        assert_eq!(messages[0].role, "system");
        let Some(Content::Messages(messages)) = &turns[2].content else { panic!("{:?}", turns[2]) };
        assert_eq!(messages[0].parts.len(), 4);
        let members = Value::Object(turns[3].members.clone()).to_string();
        assert_eq!(members, r#"{"tools":[{"type":"function"}],"n":1}"#);
        assert_eq!(turns[4].body.as_ref().map(Value::to_string).as_deref(), Some(r#"{"prompt":"a","max_tokens":3}"#));
        assert_eq!((turns[4].requested_output_tokens, turns[4].delay), (Some(3), Nanos::from_millis(5)));
    }

    #[test]
    fn an_array_is_read_as_lines_are() {
        let contents = read(&["[{\"prompt\": \"a\"},", " {\"prompt\": \"b\", \"output_length\": 2}]"]);
        assert_eq!(contents.conversations.iter().flat_map(said).collect::<Vec<_>>(), ["a", "b"]);
        let error = read_text("[{\"prompt\": \"a\"},\n {\"prompt\": 5}]", Timing::Untimed).unwrap_err().to_string();
        assert_eq!(error, "line 2, column 3: `prompt` is neither a text nor a list of texts");
    }

    #[test]
    fn bad_rows_are_left_out_and_counted_where_that_is_asked_for() {
        let options = SourceOptions { skip_bad_rows: true, ..SourceOptions::default() };
        let rows = "{\"prompt\": \"a\"}\n{\"prompt\": \nno\n{\"prompt\": 5}\n{\"prompt\": \"b\"}";
        let contents = Contents::of(source(Input::text(rows), &options).unwrap()).unwrap();
        assert_eq!(contents.conversations.len(), 2);
        let note =
            "3 bad row(s) were left out; the first is line 2, column 11: the JSON ends here before it is complete";
        assert_eq!(contents.notes, [note]);
        let error = Contents::of(source(Input::text("{\"prompt\": 5}"), &options).unwrap()).unwrap_err().to_string();
        assert!(error.starts_with("line 1, column 2: `prompt` is neither"), "{error}");
    }

    #[test]
    fn times_are_followed_where_they_are_asked_for() {
        let row = r#"{"messages": [{"role": "user", "content": "a"}], "timestamp": 1500}"#;
        let contents = read_text(row, Timing::Timed).unwrap();
        assert_eq!(contents.conversations[0].begins(), Nanos::from_millis(1500));
        assert_eq!(read(&[row]).notes, ["timestamp is not followed"]);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,200}") {
            let _ = read_text(&format!("{{\"prompt\": \"a\"}}\n{text}"), Timing::Untimed);
        }
    }
}
