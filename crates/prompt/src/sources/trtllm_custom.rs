//! TensorRT-LLM's `trtllm_custom`: lines of `{"input": {"messages": [..], "max_tokens": ..}}`.

use super::object::{Fault, Object};
use super::sessions::{Row, RowReader, Sessions};
use super::turns::Turns;
use super::{ChatRule, Conversation, Format};
use serde_json::Value;
use streamgauge_core::prompt::Content;

/// The format.
pub const FORMAT: Format = Format {
    name: "trtllm_custom",
    aliases: &[],
    has_times: false,
    takes_directories: false,
    recognises: |sample| {
        let input = sample.first_row.as_ref().and_then(|row| row.get("input"));
        input.is_some_and(|input| input.get("messages").is_some())
    },
    open: |input, options| {
        let turns = Turns::new(input.path(), options.timing);
        Ok(Sessions::new(input.objects()?, Inputs { turns, rule: options.chats }))
    },
};

struct Inputs {
    turns: Turns,
    rule: ChatRule,
}

impl RowReader for Inputs {
    fn read(&mut self, object: &mut Object) -> Result<Row, Fault> {
        let Some(Value::Object(input)) = object.take("input") else {
            return Err(object.fault("input", "there is no `input`, an object with messages and max_tokens"));
        };
        if let Some(name) = object.take_rest().keys().next() {
            return Err(object.fault(name, format!("`{name}` is not known beside the input")));
        }
        let turns = self.turns.turns(&mut Object::of_members(input));
        let mut turns = turns.map_err(|fault| object.fault("input", format!("input: {}", fault.reason())))?;
        if self.rule == ChatRule::FirstQuestion {
            // The script drops the system's message, which is the first one.
            turns.truncate(1);
            for turn in &mut turns {
                let Some(Content::Messages(messages)) = &turn.content else { continue };
                let Some(second) = messages.get(1) else {
                    return Err(object.fault("input", "input: there is no second message, which is the prompt"));
                };
                turn.content = Some(Content::Texts(vec![second.texts().collect()]));
            }
        }
        Ok(Row { turns, ..Row::default() })
    }

    fn finish(&mut self, conversation: &mut Conversation) {
        self.turns.finish(conversation);
    }

    fn notes(&self) -> Vec<String> {
        self.turns.notes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::{Contents, Input, SourceOptions, Timing, read_text, source};
    use proptest::prelude::*;

    const ROW: &str = r#"{"input": {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}], "max_tokens": 7}}"#;

    #[test]
    fn all_messages_are_sent_or_the_second_alone_by_the_tools_rule() {
        let contents = read_text(ROW, Timing::Untimed).unwrap();
        let turn = &contents.conversations[0].turns[0];
        assert!(matches!(&turn.content, Some(Content::Messages(messages)) if messages.len() == 2), "{turn:?}");
        assert_eq!(turn.requested_output_tokens, Some(7));
        let options = SourceOptions { chats: ChatRule::FirstQuestion, ..SourceOptions::default() };
        let contents = Contents::of(source(Input::text(ROW), &options).unwrap()).unwrap();
        assert_eq!(contents.conversations[0].turns[0].content, Some(Content::Texts(vec!["u".to_owned()])));
    }

    #[test]
    fn what_is_no_input_is_refused_by_its_line() {
        for (row, words) in [
            (r#"{"input": 5}"#, "line 2, column 2: there is no `input`, an object"),
            (r#"{"input": {"messages": []}}"#, "line 2, column 2: input: `messages` is empty"),
            (r#"{"input": {"prompt": "a"}, "x": 1}"#, "line 2, column 28: `x` is not known beside"),
        ] {
            let error = read_text(&format!("{ROW}\n{row}"), Timing::Untimed).unwrap_err().to_string();
            assert!(error.starts_with(words), "{row}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,200}") {
            let _ = read_text(&format!("{ROW}\n{text}"), Timing::Untimed);
        }
    }
}
