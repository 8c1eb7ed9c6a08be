//! Recorded chats in the form of ShareGPT: an array (or lines) of `{"id": .., "conversations": [{"from": "human", "value": ..}, ..]}`. Each
//! question is a turn, which asks for as many tokens as its recorded answer has.

use super::messages::turns_of;
use super::object::{Fault, Object};
use super::sessions::{Row, RowReader, Sessions};
use super::{ChatRule, Format, Sample, Turn};
use serde_json::Value;
use std::collections::BTreeSet;
use streamgauge_core::prompt::{Content, Message};

/// The format.
pub const FORMAT: Format = Format {
    name: "sharegpt",
    aliases: &[],
    has_times: false,
    takes_directories: false,
    recognises,
    open: |input, options| {
        let chats = Chats { rule: options.chats, empty: 0, leading: 0, unused: BTreeSet::new() };
        Ok(Sessions::new(input.objects()?, chats))
    },
};

/// The name of the list of messages.
const LIST: &str = "conversations";

fn recognises(sample: &Sample) -> bool {
    // A first chat may be longer than what is looked at.
    sample.has(&[LIST])
        || sample.text().starts_with('[') && sample.first_row.is_none() && sample.text().contains("\"conversations\"")
}

struct Chats {
    rule: ChatRule,
    /// Chats without a question, or without what the rule wants.
    empty: usize,
    /// Answers with no question before them.
    leading: usize,
    unused: BTreeSet<String>,
}

impl RowReader for Chats {
    fn read(&mut self, object: &mut Object) -> Result<Row, Fault> {
        let id = match object.take("id") {
            Some(Value::String(id)) => Some(id),
            Some(other) => Some(other.to_string()),
            None => None,
        };
        let Some(Value::Array(list)) = object.take(LIST) else {
            return Err(object.fault(LIST, "there is no `conversations`, a list of messages with `from` and `value`"));
        };
        let messages = list.into_iter().enumerate().map(|(index, value)| message(index + 1, value));
        let mut messages = messages.collect::<Result<Vec<_>, _>>().map_err(|reason| object.fault(LIST, reason))?;
        self.unused.extend(object.take_rest().into_iter().map(|(name, _)| name));
        let turns = match self.rule {
            ChatRule::Whole => {
                let leading = messages.iter().take_while(|message| message.role == "assistant").count();
                messages.drain(..leading);
                self.leading += leading;
                turns_of(messages)
            }
            // Whoever speaks: the scripts take the first value and the second one.
            ChatRule::FirstQuestion if messages.len() >= 2 => {
                let answer = messages.swap_remove(1);
                let text = messages.swap_remove(0).texts().collect::<String>();
                vec![(vec![Message::text("user", text)], Some(Message { role: "assistant".to_owned(), ..answer }))]
            }
            ChatRule::FirstQuestion => Vec::new(),
        };
        self.empty += usize::from(turns.is_empty());
        let turns = turns.into_iter().map(|(messages, answer)| Turn {
            asks_for_answer_length: answer.is_some(),
            content: Some(content(messages)),
            answer,
            ..Turn::default()
        });
        Ok(Row { session: None, id, turns: turns.collect() })
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.empty > 0 {
            notes.push(format!("{} chat(s) have no question with an answer and are left out", self.empty));
        }
        if self.leading > 0 {
            notes.push(format!("{} answer(s) have no question before them and are left out", self.leading));
        }
        if !self.unused.is_empty() {
            let names: Vec<_> = self.unused.iter().map(|name| format!("`{name}`")).collect();
            notes.push(format!("{} of its chats are not used", names.join(", ")));
        }
        notes
    }
}

/// What a turn says: a question alone is a text, which endpoints without messages take too.
fn content(mut messages: Vec<Message>) -> Content {
    match messages.as_slice() {
        [one] if one.role == "user" => {
            Content::Texts(vec![messages.pop().map(|one| one.texts().collect::<String>()).unwrap_or_default()])
        }
        _ => Content::Messages(messages),
    }
}

fn message(number: usize, value: Value) -> Result<Message, String> {
    let said = |names: [&str; 2]| names.iter().find_map(|name| value.get(name)).and_then(Value::as_str);
    let (Some(from), Some(text)) = (said(["from", "role"]), said(["value", "content"])) else {
        return Err(format!("message {number} has no `from` and `value`, which are texts"));
    };
    let role = match from {
        "human" | "user" => "user",
        "gpt" | "chatgpt" | "assistant" | "bing" | "bard" => "assistant",
        other => other,
    };
    Ok(Message::text(role, text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::{Contents, Input, SourceOptions, Timing, read_text, source};
    use proptest::prelude::*;

    const CHATS: &str = r#"[
  {"id": "x_0", "conversations": [{"from": "gpt", "value": "Hm."}, {"from": "human", "value": "One?"}, {"from": "gpt", "value": "Yes, one."},
    {"from": "human", "value": "Two?"}, {"from": "gpt", "value": "No."}], "lang": "en"},
  {"id": "x_1", "conversations": []},
  {"id": "x_2", "conversations": [{"from": "system", "value": "Be kind."}, {"from": "human", "value": "Three?"}]}
]"#;

    #[test]
    fn whole_conversations_are_sent_by_default() {
        let contents = read_text(CHATS, Timing::Untimed).unwrap();
        let [first, second] = contents.conversations.as_slice() else { panic!("{contents:?}") };
        assert_eq!((first.id.as_deref(), second.id.as_deref()), (Some("x_0"), Some("x_2")));
        let texts: Vec<_> = first.turns.iter().map(|turn| turn.content.clone().unwrap()).collect();
        assert_eq!(texts, ["One?", "Two?"].map(|text| Content::Texts(vec![text.to_owned()])));
        assert_eq!(first.turns[0].answer, Some(Message::text("assistant", "Yes, one.")));
        assert!(first.turns.iter().all(|turn| turn.asks_for_answer_length));
        let last = &second.turns[0];
        assert!(!last.asks_for_answer_length && matches!(&last.content, Some(Content::Messages(m)) if m.len() == 2));
        let notes = [
            "1 chat(s) have no question with an answer and are left out",
            "1 answer(s) have no question before them and are left out",
            "`lang` of its chats are not used",
        ];
        assert_eq!(contents.notes, notes);
    }

    #[test]
    fn the_rule_of_the_benchmark_scripts_takes_the_first_two_messages() {
        let options = SourceOptions { chats: ChatRule::FirstQuestion, ..SourceOptions::default() };
        let contents = Contents::of(source(Input::text(CHATS), &options).unwrap()).unwrap();
        let turns: Vec<_> = contents.turns().collect();
        assert_eq!(turns.len(), 2);
        assert_eq!(turns[0].content, Some(Content::Texts(vec!["Hm.".to_owned()])));
        assert_eq!(turns[0].answer, Some(Message::text("assistant", "One?")));
        assert_eq!(turns[1].answer, Some(Message::text("assistant", "Three?")));
    }

    #[test]
    fn what_is_no_chat_is_refused_by_its_place() {
        for (chat, words) in [
            (r#"{"conversations": 5}"#, "line 2, column 2: there is no `conversations`, a list"),
            (r#"{"conversations": [{"from": "human"}]}"#, "line 2, column 2: message 1 has no `from` and `value`"),
            (r#"{"conversations": [5]}"#, "line 2, column 2: message 1 has no"),
        ] {
            let text = format!("[{{\"conversations\": []}},\n{chat}]");
            let error = read_text(&text, Timing::Untimed).unwrap_err().to_string();
            assert!(error.starts_with(words), "{chat}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,200}") {
            let _ = read_text(&format!("[{{\"conversations\": []}}, {text}"), Timing::Untimed);
        }
    }
}
