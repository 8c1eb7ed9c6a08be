//! Traces of requests: a line of JSON for each, with its lengths or its text, the blocks of its prompt, and the time at which it was made. This
//! is the format of the Mooncake traces, which GenAI-Perf and AIPerf read too.

use super::hash_id::hash_ids;
use super::object::{Fault, Object};
use super::sessions::{Row, RowReader, Sessions, has_idle_delay};
use super::times::{Times, Unit};
use super::turns::{delay, session};
use super::{Blocks, Conversation, Format, Timing, Turn, note_of_added_members, tokens};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use streamgauge_core::prompt::{Content, Follows};

/// The format. It takes whatever no other format knows, and says what it misses.
pub const FORMAT: Format = Format {
    name: "trace",
    aliases: &["mooncake_trace", "mooncake"],
    has_times: true,
    takes_directories: false,
    recognises: |_| true,
    open: |input, options| Ok(Sessions::new(input.objects()?, Trace::new(options.timing, MOONCAKE))),
};

/// How a trace of this form is read.
#[derive(Clone, Copy)]
pub(super) struct Rules {
    /// Tokens of a block.
    pub block: u32,
    /// What times are in.
    pub unit: Unit,
}

const MOONCAKE: Rules = Rules { block: 512, unit: Unit::Milliseconds };

/// What a row may say of its request; anything else is added to its body.
const KNOWN: &str = "known are timestamp (ms), input_length, output_length, hash_ids, text or text_input, session_id, delay (ms) and extra; other members are added to the request's body";

/// Members of which a row has at least one, where times are not followed. A row without them is of no format that is known, and a made text would not be its prompt.
const OF_TRACES: [&str; 6] = ["hash_ids", "input_length", "output_length", "text", "text_input", "timestamp"];

/// Members by which other formats say what the prompt is. Added to a body they would be nonsense.
const OF_OTHER_FORMATS: [&str; 14] = [
    "audio",
    "audios",
    "chat_id",
    "image",
    "images",
    "messages",
    "parent_chat_id",
    "payload",
    "role",
    "texts",
    "tools",
    "turn",
    "video",
    "videos",
];

/// Reads the rows of a trace.
pub(super) struct Trace {
    rules: Rules,
    times: Times,
    seen: Seen,
}

/// What the rows hold that people should know of.
#[derive(Default)]
struct Seen {
    idle_delays: bool,
    lengths_of_texts: bool,
    hashes_of_texts: bool,
    surplus_hashes: bool,
    whole_prompts: bool,
    members: BTreeSet<String>,
}

impl Trace {
    /// Reads rows by these rules.
    pub fn new(timing: Timing, rules: Rules) -> Trace {
        Trace { rules, times: Times::new(timing, rules.unit), seen: Seen::default() }
    }

    /// The blocks of a prompt of so many tokens.
    fn blocks(&mut self, object: &Object, ids: &Value, input_tokens: Option<u32>) -> Result<Blocks, Fault> {
        let mut ids = hash_ids(ids).map_err(|reason| object.fault("hash_ids", reason))?;
        let size = self.rules.block;
        if let Some(tokens) = input_tokens {
            let needed = tokens.div_ceil(size) as usize;
            self.seen.surplus_hashes |= ids.len() > needed;
            ids.truncate(needed);
        }
        Ok(Blocks { size, ids, ..Blocks::default() })
    }
}

impl RowReader for Trace {
    fn read(&mut self, object: &mut Object) -> Result<Row, Fault> {
        if let Some(name) = OF_OTHER_FORMATS.iter().find(|name| object.has(name)) {
            return Err(object.fault(name, format!("`{name}` belongs to another format; {KNOWN}")));
        }
        let is_timed = self.times.timing() == Timing::Timed;
        if !is_timed && !OF_TRACES.iter().any(|name| object.has(name)) {
            return Err(Fault::new(format!("nothing here says what the prompt is; {KNOWN}")));
        }
        let session = session(object)?;
        let delay = delay(object)?;
        let timestamp = object.take("timestamp");
        // A later turn of a session has a delay in the place of a time.
        let at = match (&timestamp, &session) {
            (None, Some(_)) => None,
            _ => self.times.at("timestamp", timestamp.as_ref()).map_err(|reason| object.fault("timestamp", reason))?,
        };
        let mut length = |name: &'static str| match object.take(name) {
            None => Ok(None),
            Some(Value::Number(length)) => tokens(name, &length).map(Some).map_err(|reason| object.fault(name, reason)),
            Some(other) => Err(object.fault(name, format!("{name} {other}: not a whole number of tokens"))),
        };
        let (input_length, requested_output_tokens) = (length("input_length")?, length("output_length")?);
        let text = match object.take_one(&["text", "text_input"])? {
            None => None,
            Some((_, Value::String(text))) => Some(text),
            Some((name, other)) => return Err(object.fault(name, format!("{name} {other}: not a text"))),
        };
        let ids = object.take("hash_ids");
        // Beside a text they mean nothing.
        self.seen.lengths_of_texts |= text.is_some() && input_length.is_some();
        self.seen.hashes_of_texts |= text.is_some() && ids.is_some();
        let input_tokens = input_length.filter(|_| text.is_none());
        let blocks = ids.filter(|_| text.is_none()).map(|ids| self.blocks(object, &ids, input_tokens)).transpose()?;
        let members = members(object)?;
        self.seen.members.extend(members.keys().cloned());
        let content = text.map(|text| Content::Texts(vec![text]));
        let turn =
            Turn { at, delay, content, input_tokens, blocks, requested_output_tokens, members, ..Turn::default() };
        Ok(Row { session, id: None, turns: vec![turn] })
    }

    fn timing(&self) -> Timing {
        self.times.timing()
    }

    /// Rows of a session whose blocks begin as those of the row before it hold the whole context.
    fn finish(&mut self, conversation: &mut Conversation) {
        self.seen.idle_delays |= has_idle_delay(conversation);
        let first = |turn: &Turn| turn.blocks.as_ref().and_then(|blocks| blocks.ids.first().copied());
        let firsts: Vec<_> = conversation.turns.iter().map(first).collect();
        for (turn, pair) in conversation.turns.iter_mut().skip(1).zip(firsts.windows(2)) {
            if pair[0].is_some() && pair[0] == pair[1] {
                turn.history.follows = Follows::Nothing;
                self.seen.whole_prompts = true;
            }
        }
    }

    fn notes(&self) -> Vec<String> {
        let Seen { idle_delays, lengths_of_texts, hashes_of_texts, surplus_hashes, whole_prompts, members } =
            &self.seen;
        let mut notes: Vec<String> = [
            (*idle_delays, "delay is not followed in the first row of a conversation, before which there is no answer"),
            (*lengths_of_texts, "input_length beside a text is not followed: the text's own length counts"),
            (*hashes_of_texts, "hash_ids beside a text are not followed"),
            (
                *surplus_hashes,
                "some rows have more hash_ids than their input_length has blocks; those beyond it are not used",
            ),
            (
                *whole_prompts,
                "rows of a session whose hash_ids begin as those before them are whole prompts, so nothing is put before them",
            ),
        ]
        .into_iter()
        .filter(|(is_so, _)| *is_so)
        .map(|(_, note)| note.to_owned())
        .collect();
        notes.extend(self.times.note());
        notes.extend(note_of_added_members(members));
        notes
    }
}

/// The members that are added to the body.
fn members(object: &mut Object) -> Result<Map<String, Value>, Fault> {
    let extra = object.take("extra");
    let mut members = object.take_rest();
    match extra {
        None => {}
        Some(Value::Object(extra)) => members.extend(extra),
        Some(other) => {
            return Err(object.fault("extra", format!("extra {other}: not an object of members of the body")));
        }
    }
    Ok(members)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::read_text;
    use proptest::prelude::*;
    use streamgauge_core::Nanos;

    fn content(text: &str) -> Option<Content> {
        Some(Content::Texts(vec![text.to_owned()]))
    }

    #[test]
    fn rows_are_read_sorted_and_cut() {
        let text = concat!(
            r#"{"timestamp": 1500.5, "input_length": 700, "output_length": 2, "hash_ids": [0, 1]}"#,
            "\n\n",
            r#"{"timestamp": 500, "text_input": "hi"}"#,
            "\n{\"timestamp\": 2500}\n"
        );
        let mut trace = read_text(text, Timing::Timed).unwrap();
        assert_eq!(trace.notes, [""; 0]);
        let turn = |at, input_tokens, requested_output_tokens, content| Turn {
            at: Some(Nanos(at)),
            input_tokens,
            requested_output_tokens,
            content,
            ..Turn::default()
        };
        let turns = [
            turn(500_000_000, None, None, content("hi")),
            Turn {
                blocks: Some(Blocks { size: 512, ids: vec![0, 1], ..Blocks::default() }),
                ..turn(1_500_500_000, Some(700), Some(2), None)
            },
            turn(2_500_000_000, None, None, None),
        ];
        assert!(trace.turns().eq(&turns));
        let read =
            "3 row(s): 3 conversation(s) of 3 turn(s), 700 input tokens in texts to be made, 2 output tokens asked for";
        assert_eq!(trace.counts.to_string(), read);
        trace.keep(Nanos::from_millis(500), Some(Nanos::from_millis(2_000)), 2.0);
        let left: Vec<i64> = trace.conversations.iter().map(|conversation| conversation.begins().0).collect();
        assert_eq!(left, [0, 500_250_000]);
    }

    #[test]
    fn a_row_that_says_nothing_of_its_prompt_is_refused() {
        let error = read_text(r#"{"question": "Which rivers?"}"#, Timing::Untimed).unwrap_err().to_string();
        assert!(error.starts_with("line 1: nothing here says what the prompt is; known are"), "{error}");
    }

    #[test]
    fn what_is_no_trace_is_refused_by_its_line() {
        for (text, words) in [
            ("", "no request in it"),
            ("\n{\"timestamp\": -1}", "line 2, column 2: the `timestamp` -1"),
            (
                r#"{"timestamp": 0, "input_length": 10000001}"#,
                "line 1, column 18: input_length 10000001: longer than any",
            ),
            (
                "{\"timestamp\": 0}\n{\"timestamp\": 1, \"output_length\": 5000000000}",
                "line 2, column 18: output_length 5000000000: longer",
            ),
            (
                r#"{"timestamp": 0, "input_length": 2.5}"#,
                "line 1, column 18: input_length 2.5: not a whole number of tokens",
            ),
            (
                r#"{"timestamp": 0, "output_length": -4}"#,
                "line 1, column 18: output_length -4: not a whole number of tokens",
            ),
            (r#"{"timestamp": 0, "input_length": 0}"#, "line 1, column 18: input_length 0: a length of 0"),
            (r#"{"timestamp": 0, "messages": []}"#, "line 1, column 18: `messages` is empty"),
            (r#"{"timestamp": 0, "hash_ids": [0.5]}"#, "line 1, column 18: `hash_ids` is not a list of whole numbers"),
            (r#"{"input_length": 5}"#, "line 1: there is no `timestamp`"),
            (
                r#"{"timestamp": 0, "text": "a", "text_input": "b"}"#,
                "line 1, column 31: `text` and `text_input` are both given",
            ),
            ("{\"timestamp\": 0}\nnonsense", "line 2, column 2: this is not JSON; expected an object"),
        ] {
            let error = read_text(text, Timing::Timed).unwrap_err().to_string();
            assert!(error.contains(words) && !error.contains("at line"), "{text}: {error}");
        }
    }

    #[test]
    fn lines_as_genai_perf_documents_them() {
        let text = concat!(
            "\u{feff}",
            r#"{"timestamp": 0, "text_input": "First message!", "input_length": 6755, "output_length": 5}"#,
            "\n",
            r#"{"timestamp": 1, "input_length": 10, "session_id": "a", "delay": 3, "priority": 1}"#
        );
        let trace = read_text(text, Timing::Timed).unwrap();
        let lengths: Vec<_> = trace.turns().map(|turn| (turn.input_tokens, turn.content.clone())).collect();
        assert_eq!(lengths, [(None, content("First message!")), (Some(10), None)]);
        assert_eq!(Value::Object(trace.conversations[1].turns[0].members.clone()).to_string(), r#"{"priority":1}"#);
        let beginnings =
            ["delay is not followed in the first row", "input_length beside a text", "the requests' bodies hold"];
        assert_eq!(trace.notes.len(), beginnings.len());
        for (note, beginning) in trace.notes.iter().zip(beginnings) {
            assert!(note.starts_with(beginning), "{note}");
        }
    }

    #[test]
    fn rows_of_a_session_are_a_conversation() {
        let text = [
            r#"{"timestamp": 5, "input_length": 600, "session_id": "a", "hash_ids": [1, 2]}"#,
            r#"{"timestamp": 6, "input_length": 9, "output_length": 2}"#,
            r#"{"input_length": 20, "session_id": "a", "delay": 30, "extra": {"nvext": 1}}"#,
            r#"{"input_length": 700, "session_id": "a", "delay": 30, "hash_ids": [1, 2]}"#,
            r#"{"input_length": 800, "session_id": "a", "delay": 30, "hash_ids": [1, 3]}"#,
        ];
        let trace = read_text(&text.join("\n"), Timing::Timed).unwrap();
        assert_eq!(trace.conversations.iter().map(|conversation| conversation.turns.len()).collect::<Vec<_>>(), [4, 1]);
        let turns = &trace.conversations[0].turns;
        // Only the last one says again what the row before it says.
        let follows: Vec<_> = turns.iter().map(|turn| turn.history.follows).collect();
        assert_eq!(follows, [Follows::Previous, Follows::Previous, Follows::Previous, Follows::Nothing]);
        assert_eq!((turns[1].at, turns[1].delay), (None, Nanos::from_millis(30)));
        assert_eq!(Value::Object(turns[1].members.clone()).to_string(), r#"{"nvext":1}"#);
        assert!(trace.notes[0].starts_with("rows of a session whose hash_ids begin"), "{:?}", trace.notes);
        let error = read_text(&text[2..].join("\n"), Timing::Timed).unwrap_err().to_string();
        assert!(error.starts_with("line 1: there is no timestamp"), "{error}");
    }

    #[test]
    fn more_hashes_than_blocks_are_not_used() {
        let trace = read_text(r#"{"input_length": 655, "hash_ids": [7, 8, 9]}"#, Timing::Untimed).unwrap();
        assert_eq!(trace.turns().next().unwrap().blocks.as_ref().unwrap().ids, [7, 8]);
        assert!(trace.notes[0].starts_with("some rows have more hash_ids than their"), "{:?}", trace.notes);
    }

    #[test]
    fn without_times_rows_keep_the_order_of_their_lines() {
        let text =
            "{\"timestamp\": 5, \"input_length\": 1}\n{\"input_length\": 2}\n{\"timestamp\": 1, \"input_length\": 3}";
        let trace = read_text(text, Timing::Untimed).unwrap();
        let turns: Vec<_> = trace.turns().map(|turn| (turn.at, turn.input_tokens)).collect();
        assert_eq!(turns, [(None, Some(1)), (None, Some(2)), (None, Some(3))]);
        assert_eq!(
            trace.notes,
            ["the times of its rows are not followed; --fixed-schedule sends each request at its own"]
        );
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,200}") {
            let _ = read_text(&text, Timing::Timed);
            let _ = read_text(&text, Timing::Untimed);
        }
    }
}
