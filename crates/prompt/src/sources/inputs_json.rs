//! The files of requests that GenAI-Perf and AIPerf write, `inputs.json`: whole bodies in the list `data`, which are sent as they are.
//!
//! AIPerf's entries are conversations, `{"session_id": .., "payloads": [..]}`, whose bodies hold what was said before. GenAI-Perf's are requests,
//! `{"payload": [..]}`; where they have a `session_id`, each body holds one message of its session, so that its message becomes a turn of a
//! conversation and the other members of the body stay beside it.

use super::elements::Elements;
use super::messages::messages;
use super::object::{Fault, Object};
use super::sessions::{Row, RowReader, Sessions};
use super::turns::{Turns, session, turn_of_body};
use super::{Conversation, Format, Sample, Timing, Turn};
use serde_json::{Map, Value};
use streamgauge_core::prompt::Content;

/// The format.
pub const FORMAT: Format = Format {
    name: "inputs_json",
    aliases: &["inputs.json"],
    has_times: true,
    takes_directories: false,
    recognises,
    open: |input, options| {
        let turns = Turns::new(input.path(), options.timing);
        Ok(Sessions::new(Box::new(Elements::new(input.reader(), Some("data"))), Entries { turns }))
    },
};

/// Members of a body that are a turn's own.
const OF_TURNS: [&str; 3] = ["model", "max_tokens", "max_completion_tokens"];

fn recognises(sample: &Sample) -> bool {
    let mut text = sample.text();
    for token in ["{", "\"data\"", ":", "["] {
        match text.strip_prefix(token) {
            Some(rest) => text = rest.trim_start(),
            None => return false,
        }
    }
    true
}

struct Entries {
    turns: Turns,
}

impl RowReader for Entries {
    fn read(&mut self, object: &mut Object) -> Result<Row, Fault> {
        for name in ["session_id", "timestamp", "delay"] {
            object.unwrap_list(name);
        }
        let session = session(object)?;
        if let Some(bodies) = object.take("payloads") {
            only(object, &["session_id", "payloads"])?;
            let Value::Array(bodies) = bodies else {
                return Err(object.fault("payloads", "`payloads` is not a list of bodies"));
            };
            let turns = bodies.into_iter().map(turn_of_body).collect::<Option<Vec<_>>>();
            let turns = turns.filter(|turns| !turns.is_empty());
            let turns = turns.ok_or_else(|| object.fault("payloads", "`payloads` is not a list of objects"))?;
            return Ok(Row { session: None, id: session, turns });
        }
        if !object.has("payload") {
            let reason = "there is no `payload` and no `payloads`, the bodies that are sent; a file of tensors is no file of prompts";
            return Err(Fault::new(reason));
        }
        let mut turns = self.turns.turns(object)?;
        only(object, &["session_id", "payload", "timestamp", "delay"])?;
        if session.is_some() {
            for turn in &mut turns {
                *turn = message_of(std::mem::take(turn));
            }
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

fn only(object: &mut Object, known: &[&str]) -> Result<(), Fault> {
    match object.take_rest().keys().next() {
        Some(name) => Err(object.fault(name, format!("`{name}` is not known; known are {}", known.join(", ")))),
        None => Ok(()),
    }
}

/// The turn that says what its body says, to be sent with what was said before it. A body without messages is sent as it is.
fn message_of(turn: Turn) -> Turn {
    let Some(Value::Object(body)) = &turn.body else { return turn };
    let Some(Ok(messages)) = body.get("messages").cloned().map(messages) else { return turn };
    let members: Map<_, _> = body
        .iter()
        .filter(|(name, _)| *name != "messages" && !OF_TURNS.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    Turn { content: Some(Content::Messages(messages)), body: None, members, ..turn }
}

#[cfg(test)]
mod tests {
    use crate::sources::{Timing, read_text};
    use proptest::prelude::*;
    use serde_json::Value;
    use streamgauge_core::Nanos;

    #[test]
    fn aiperfs_sessions_are_conversations_of_whole_bodies() {
        let text = r#"{
  "data": [
    {"session_id": "a", "payloads": [{"messages": [{"role": "user", "content": "1"}], "max_completion_tokens": 8}, {"n": 2}]},
    {"session_id": "b", "payloads": [{"n": 3}]}
  ]
}"#;
        let contents = read_text(text, Timing::Untimed).unwrap();
        let ids: Vec<_> = contents.conversations.iter().map(|c| (c.id.as_deref(), c.turns.len())).collect();
        assert_eq!(ids, [(Some("a"), 2), (Some("b"), 1)]);
        let bodies: Vec<_> = contents.turns().map(|turn| turn.body.as_ref().unwrap().to_string()).collect();
        let first = r#"{"messages":[{"role":"user","content":"1"}],"max_completion_tokens":8}"#;
        assert_eq!(bodies, [first, r#"{"n":2}"#, r#"{"n":3}"#]);
        assert_eq!(contents.turns().next().unwrap().requested_output_tokens, Some(8));
    }

    #[test]
    fn genai_perfs_entries_are_requests_and_its_sessions_are_conversations() {
        let text = r#"{"data": [{"payload": [{"prompt": ["x"], "model": "m"}], "timestamp": [20]},
            {"payload": [{"model": "m", "messages": [{"role": "user", "content": "1"}], "max_tokens": 8, "top_p": 1}], "session_id": ["s"], "delay": [20], "timestamp": [5]},
            {"payload": [{"model": "m", "messages": [{"role": "user", "content": "2"}], "max_tokens": 8}], "session_id": ["s"]}]}"#;
        let contents = read_text(text, Timing::Timed).unwrap();
        let [session, alone] = contents.conversations.as_slice() else { panic!("{contents:?}") };
        assert_eq!((session.begins(), alone.begins()), (Nanos::from_millis(5), Nanos::from_millis(20)));
        assert_eq!(alone.turns[0].body.as_ref().unwrap().to_string(), r#"{"prompt":["x"],"model":"m"}"#);
        assert_eq!((session.id.as_deref(), session.turns.len()), (Some("s"), 2));
        let turn = &session.turns[0];
        assert!(turn.body.is_none() && turn.content.is_some(), "{turn:?}");
        assert_eq!((turn.model.as_deref(), turn.requested_output_tokens), (Some("m"), Some(8)));
        assert_eq!(Value::Object(turn.members.clone()).to_string(), r#"{"top_p":1}"#);
        assert!(contents.notes[0].starts_with("delay is not followed"), "{:?}", contents.notes);
    }

    #[test]
    fn what_is_no_request_is_refused_by_its_place() {
        for (entry, words) in [
            (r#"{"INPUT0": [1]}"#, "line 2, column 1: there is no `payload` and no `payloads`"),
            (r#"{"payloads": []}"#, "line 2, column 2: `payloads` is not a list of objects"),
            (r#"{"payloads": [1]}"#, "line 2, column 2: `payloads` is not a list of objects"),
            (r#"{"payload": 1}"#, "line 2, column 2: `payload` is not a body"),
            (r#"{"payload": {}, "colour": 1}"#, "line 2, column 17: `colour` is not known"),
            (r#"{"payload": {}"#, "line 2, column 15: expected `,`"),
        ] {
            let error = read_text(&format!("{{\"data\": [\n{entry}]}}"), Timing::Untimed).unwrap_err().to_string();
            assert!(error.starts_with(words) || error.contains("the JSON ends here"), "{entry}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,200}") {
            let _ = read_text(&format!("{{\"data\": [{text}"), Timing::Untimed);
        }
    }
}
