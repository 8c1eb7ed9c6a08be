//! Traces of requests: a line of JSON for each, with its lengths or its text, and with the time at which it was made where the trace is
//! replayed at its times. This is the format of the Mooncake traces, which GenAI-Perf and AIPerf read too.

use super::hash_id::hash_ids;
use super::times::{Times, Unit};
use super::{Blocks, Conversation, Format, Lines, Source, SourceError, Timing, Turn, json_fault, tokens};
use serde::Deserialize;
use serde_json::{Map, Number, Value};
use std::collections::BTreeSet;
use streamgauge_core::prompt::Content;

/// The format. It takes whatever no other format knows, and says what it misses.
pub const FORMAT: Format = Format {
    name: "trace",
    aliases: &[],
    has_times: true,
    takes_directories: false,
    recognises: |_| true,
    open: |input, options| Ok(Box::new(Trace::new(input.lines(), options.timing))),
};

/// Tokens of a block.
const BLOCK: u32 = 512;

/// What a line may say of its request; anything else is added to its body.
const KNOWN: &str = "timestamp (ms), input_length, output_length, text or text_input, hash_ids, session_id and delay; other members are added to the request's body";

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

#[derive(Deserialize)]
struct Line {
    timestamp: Option<Value>,
    input_length: Option<Number>,
    output_length: Option<Number>,
    #[serde(alias = "text_input")]
    text: Option<String>,
    hash_ids: Option<Value>,
    session_id: Option<Value>,
    delay: Option<Value>,
    #[serde(flatten)]
    members: Map<String, Value>,
}

/// A trace that is being read. Each row is a conversation of one turn.
struct Trace {
    lines: Lines,
    times: Times,
    seen: Seen,
    rows: usize,
}

/// What the rows hold that people should know of.
#[derive(Default)]
struct Seen {
    hashes_of_texts: bool,
    surplus_hashes: bool,
    sessions: bool,
    lengths_of_texts: bool,
    members: BTreeSet<String>,
}

impl Trace {
    fn new(lines: Lines, timing: Timing) -> Trace {
        Trace { lines, times: Times::new(timing, Unit::Milliseconds), seen: Seen::default(), rows: 0 }
    }
}

impl Source for Trace {
    fn next_conversation(&mut self) -> Result<Option<Conversation>, SourceError> {
        let Some((line, text)) = self.lines.next_line()? else { return Ok(None) };
        let turn = turn(text, &mut self.times, &mut self.seen).map_err(|reason| SourceError::line(line, reason))?;
        self.rows += 1;
        Ok(Some(turn.into()))
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn notes(&self) -> Vec<String> {
        let Seen { hashes_of_texts, surplus_hashes, sessions, lengths_of_texts, members } = &self.seen;
        let mut notes = Vec::new();
        let mut note = |is_so: bool, text: &str| {
            if is_so {
                notes.push(text.to_owned());
            }
        };
        note(*hashes_of_texts, "hash_ids beside a text are not followed");
        note(
            *surplus_hashes,
            "some rows have more hash_ids than blocks of 512 tokens in their input_length; those beyond it are not used",
        );
        note(
            *sessions,
            "session_id and delay are not followed: each request is sent by itself, without what came before it in its session",
        );
        note(*lengths_of_texts, "input_length beside a text is not followed: the text's own length counts");
        notes.extend(self.times.note());
        if !members.is_empty() {
            let names: Vec<_> = members.iter().map(|name| format!("`{name}`")).collect();
            notes.push(format!("{} of its lines are added to the requests' bodies", names.join(", ")));
        }
        notes
    }
}

/// The request of one line.
fn turn(line: &str, times: &mut Times, seen: &mut Seen) -> Result<Turn, String> {
    let line: Line =
        serde_json::from_str(line).map_err(|error| format!("{}; known are {KNOWN}", json_fault(&error)))?;
    if let Some(name) = line.members.keys().find(|name| OF_OTHER_FORMATS.contains(&name.as_str())) {
        return Err(format!("`{name}` belongs to another form of traces, which is not available; known are {KNOWN}"));
    }
    let at = times.at("timestamp", line.timestamp.as_ref())?;
    seen.lengths_of_texts |= line.text.is_some() && line.input_length.is_some();
    // Beside a text the length means nothing.
    let input_length = line.input_length.filter(|_| line.text.is_none());
    let input_tokens = input_length.map(|length| tokens("input_length", &length)).transpose()?;
    let requested_output_tokens = line.output_length.map(|length| tokens("output_length", &length)).transpose()?;
    seen.hashes_of_texts |= line.text.is_some() && line.hash_ids.is_some();
    let ids = line.hash_ids.filter(|_| line.text.is_none());
    let mut ids = ids.map(|ids| hash_ids(&ids)).transpose()?;
    if let (Some(ids), Some(tokens)) = (&mut ids, input_tokens) {
        let needed = tokens.div_ceil(BLOCK) as usize;
        seen.surplus_hashes |= ids.len() > needed;
        ids.truncate(needed);
    }
    let blocks = ids.map(|ids| Blocks { size: BLOCK, ids, ..Blocks::default() });
    seen.sessions |= line.session_id.is_some() || line.delay.is_some();
    seen.members.extend(line.members.keys().cloned());
    let content = line.text.map(|text| Content::Texts(vec![text]));
    Ok(Turn { at, content, input_tokens, blocks, requested_output_tokens, members: line.members, ..Turn::default() })
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
    fn what_is_no_trace_is_refused_by_its_line() {
        for (text, words) in [
            ("", "no request in it"),
            ("\n{\"timestamp\": -1}", "line 2: the `timestamp` -1"),
            (r#"{"timestamp": 0, "input_length": 10000001}"#, "line 1: input_length 10000001: longer than any"),
            (
                "{\"timestamp\": 0}\n{\"timestamp\": 1, \"output_length\": 5000000000}",
                "line 2: output_length 5000000000: longer",
            ),
            (r#"{"timestamp": 0, "input_length": 2.5}"#, "line 1: input_length 2.5: not a whole number of tokens"),
            (r#"{"timestamp": 0, "output_length": -4}"#, "line 1: output_length -4: not a whole number of tokens"),
            (r#"{"timestamp": 0, "input_length": 0}"#, "line 1: input_length 0: a length of 0"),
            (r#"{"timestamp": 0, "messages": []}"#, "line 1, column 18: `messages` is empty"),
            (r#"{"timestamp": 0, "hash_ids": [0.5]}"#, "line 1: `hash_ids` is not a list of whole numbers"),
            (r#"{"input_length": 5}"#, "line 1: there is no `timestamp`"),
            (r#"{"timestamp": 0, "text": "a", "text_input": "b"}"#, "line 1: duplicate field `text`"),
            ("{\"timestamp\": 0}\nnonsense", "line 2: expected ident (column 2); known are"),
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
        let beginnings = ["session_id and delay are not", "input_length beside a text", "`priority` of its lines"];
        assert_eq!(trace.notes.len(), beginnings.len());
        for (note, beginning) in trace.notes.iter().zip(beginnings) {
            assert!(note.starts_with(beginning), "{note}");
        }
    }

    #[test]
    fn more_hashes_than_blocks_are_not_used() {
        let trace = read_text(r#"{"input_length": 655, "hash_ids": [7, 8, 9]}"#, Timing::Untimed).unwrap();
        assert_eq!(trace.turns().next().unwrap().blocks.as_ref().unwrap().ids, [7, 8]);
        assert!(trace.notes[0].starts_with("some rows have more hash_ids than blocks"), "{:?}", trace.notes);
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
