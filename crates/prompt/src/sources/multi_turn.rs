//! AIPerf's conversations: `{"session_id": .., "turns": [..]}`, each turn in the form of a line of JSONL. Rows of the same session go on with its
//! conversation.

use super::object::{Fault, Object};
use super::sessions::{Row, RowReader, Sessions};
use super::turns::{Turns, session};
use super::{Conversation, Format, Timing};
use serde_json::Value;
use streamgauge_core::prompt::{Content, Message};

/// The format.
pub const FORMAT: Format = Format {
    name: "multi_turn",
    aliases: &[],
    has_times: true,
    takes_directories: false,
    recognises: |sample| sample.has(&["turns"]),
    open: |input, options| {
        let turns = Turns::new(input.path(), options.timing);
        Ok(Sessions::new(input.objects()?, MultiTurn { turns }))
    },
};

struct MultiTurn {
    turns: Turns,
}

impl RowReader for MultiTurn {
    fn read(&mut self, object: &mut Object) -> Result<Row, Fault> {
        let session = session(object)?;
        let Some(Value::Array(list)) = object.take("turns") else {
            return Err(object.fault("turns", "there is no `turns`, a list of objects with a text each"));
        };
        if list.is_empty() {
            return Err(object.fault("turns", "`turns` is empty; give at least one"));
        }
        if let Some((name, _)) = object.take_rest().into_iter().find(|(name, value)| !is_type(name, value)) {
            let reason = format!("`{name}` is not known beside the turns; known are session_id and turns");
            return Err(object.fault(&name, reason));
        }
        let (mut turns, mut system) = (Vec::new(), None);
        for (index, turn) in list.into_iter().enumerate() {
            let Value::Object(mut members) = turn else {
                return Err(object.fault("turns", format!("turn {} is not an object", index + 1)));
            };
            members.retain(|name, value| !is_type(name, value));
            // AIPerf's rule: a system turn with nothing but a text goes with all turns, and is no request.
            let is_system = members.get("role").is_some_and(|role| role == "system") && members.len() == 2;
            let mut read = self
                .turns
                .turns(&mut Object::of_members(members))
                .map_err(|fault| object.fault("turns", format!("turn {}: {}", index + 1, fault.reason())))?;
            match read.as_mut_slice() {
                [turn] if index == 0 && is_system => system = take_message(turn.content.take()),
                _ => turns.append(&mut read),
            }
        }
        match (turns.first_mut(), system) {
            (Some(first), Some(system)) => first.content = Some(after(system, first.content.take())),
            (None, Some(_)) => return Err(object.fault("turns", "there is no turn but that of the system")),
            (_, None) => {}
        }
        Ok(Row { session, id: None, turns })
    }

    fn timing(&self) -> Timing {
        self.turns.timing()
    }

    fn finish(&mut self, conversation: &mut Conversation) {
        self.turns.finish(conversation);
    }

    fn notes(&self) -> Vec<String> {
        self.turns.notes()
    }
}

/// Whether a member only names AIPerf's type of the row.
fn is_type(name: &str, value: &Value) -> bool {
    name == "type" && matches!(value.as_str(), Some("single_turn" | "multi_turn" | "random_pool"))
}

fn take_message(content: Option<Content>) -> Option<Message> {
    match content {
        Some(Content::Messages(mut messages)) => messages.pop(),
        Some(Content::Texts(texts)) => Some(Message::text("system", texts.join("\n"))),
        None => None,
    }
}

/// What a first turn says after the system's message.
fn after(system: Message, content: Option<Content>) -> Content {
    let said = match content {
        Some(Content::Messages(messages)) => messages,
        Some(Content::Texts(texts)) => texts.into_iter().map(|text| Message::text("user", text)).collect(),
        None => Vec::new(),
    };
    Content::Messages(std::iter::once(system).chain(said).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::read_text;
    use proptest::prelude::*;
    use streamgauge_core::Nanos;

    #[test]
    fn the_turns_of_a_row_are_one_conversation() {
        let rows = concat!(
            r#"{"type": "multi_turn", "session_id": "a", "turns": [{"role": "system", "text": "Be brief."}, {"text": "One?"}, "#,
            r#"{"text": "Two?", "delay": 20, "output_length": 3, "extra": {"top_k": 1}}]}"#,
            "\n",
            r#"{"turns": [{"text": "Alone.", "type": "single_turn"}]}"#,
            "\n",
            r#"{"session_id": "a", "turns": [{"text": "Three?"}]}"#
        );
        let contents = read_text(rows, Timing::Untimed).unwrap();
        let [first, second] = contents.conversations.as_slice() else { panic!("{contents:?}") };
        assert_eq!((first.id.as_deref(), first.turns.len(), second.turns.len()), (Some("a"), 3, 1));
        let system = Content::Messages(vec![Message::text("system", "Be brief."), Message::text("user", "One?")]);
        assert_eq!(first.turns[0].content.as_ref(), Some(&system));
        assert_eq!(first.turns[1].delay, Nanos::from_millis(20));
        assert_eq!(first.turns[1].requested_output_tokens, Some(3));
        assert_eq!(Value::Object(first.turns[1].members.clone()).to_string(), r#"{"top_k":1}"#);
        assert_eq!(contents.notes, Vec::<String>::new());
    }

    #[test]
    fn times_of_turns_are_followed_where_they_are_asked_for() {
        let row = r#"{"turns": [{"text": "a", "timestamp": 5}, {"text": "b", "timestamp": 7.5}]}"#;
        let times = |timing| read_text(row, timing).unwrap().turns().map(|turn| turn.at).collect::<Vec<_>>();
        assert_eq!(times(Timing::Timed), [Some(Nanos::from_millis(5)), Some(Nanos(7_500_000))]);
        assert_eq!(times(Timing::Untimed), [None, None]);
    }

    #[test]
    fn what_is_no_conversation_is_refused_by_its_place() {
        for (row, words) in [
            (r#"{"turns": 5}"#, "line 1, column 2: there is no `turns`, a list"),
            (r#"{"turns": []}"#, "line 1, column 2: `turns` is empty"),
            (r#"{"turns": [5]}"#, "line 1, column 2: turn 1 is not an object"),
            (r#"{"turns": [{"text": "a"}, {"delay": 5}]}"#, "line 1, column 2: turn 2: there is no prompt"),
            (r#"{"turns": [{"text": "a"}], "colour": 1}"#, "line 1, column 28: `colour` is not known beside"),
            (r#"{"turns": [{"role": "system", "text": "a"}]}"#, "line 1, column 2: there is no turn but"),
        ] {
            let error = read_text(row, Timing::Untimed).unwrap_err().to_string();
            assert!(error.starts_with(words), "{row}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,200}") {
            let _ = read_text(&format!("{{\"turns\": [{{\"text\": \"a\"}}]}}\n{text}"), Timing::Untimed);
            let _ = read_text(&format!("{{\"turns\": [{{\"text\": \"a\"}}]}}\n{{\"turns\": {text}}}"), Timing::Timed);
        }
    }
}
