//! Traces of requests: a line of JSON each, with what is known of its lengths or its text, and with the time it was made where the
//! trace is replayed at its times. The form is that of the Mooncake traces, which GenAI-Perf and AIPerf read too.

use crate::synthetic::LONGEST;
use serde::Deserialize;
use serde_json::{Map, Number, Value};
use std::collections::BTreeSet;
use streamgauge_core::Nanos;

/// One request of a trace.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceRow {
    /// Its timestamp, from the trace's own zero; zero where the trace has no times.
    pub at: Nanos,
    /// Tokens of its prompt; none where it has a text, which has its own length.
    pub input_length: Option<u32>,
    /// Tokens of its answer, to be asked for.
    pub output_length: Option<u32>,
    /// Its prompt.
    pub text: Option<String>,
    /// Members that are added to its body.
    pub members: Map<String, Value>,
}

/// Whether a trace is replayed at its times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timing {
    /// Each line has a time, and the rows come in the order of their times.
    Timed,
    /// Times are left alone, and the rows come in the order of their lines.
    Untimed,
}

/// A trace.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trace {
    /// The requests, at least one.
    pub rows: Vec<TraceRow>,
    /// What stands in its lines and is not followed, or otherwise than one may think: sentences for people.
    pub notes: Vec<String>,
}

/// Why a text is no trace.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TraceError {
    /// A line is not a request.
    #[error("line {line}: {reason}")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// There is nothing in it.
    #[error(
        "there is no request in it; give a line of JSON for each, such as {{\"timestamp\": 0, \"input_length\": 100}}"
    )]
    Empty,
}

/// Milliseconds in a signed 64-bit number of nanoseconds.
const LATEST: f64 = 9e12;

/// What a line may say of its request; anything else is added to its body.
const KNOWN: &str = "timestamp (ms), input_length, output_length, text or text_input, hash_ids, session_id and delay; other members are added to the request's body";

/// Members by which other forms of traces say what the prompt is. Added to a body they would be nonsense.
const OF_OTHER_FORMS: [&str; 14] = [
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

/// A byte order mark, which some editors put before a file's text.
const BYTE_ORDER_MARK: char = '\u{feff}';

#[derive(Deserialize)]
struct Line {
    timestamp: Option<f64>,
    input_length: Option<Number>,
    output_length: Option<Number>,
    #[serde(alias = "text_input")]
    text: Option<String>,
    hash_ids: Option<Vec<Value>>,
    session_id: Option<Value>,
    delay: Option<Value>,
    #[serde(flatten)]
    members: Map<String, Value>,
}

/// What the lines hold that people should know of.
#[derive(Default)]
struct Seen {
    hashes: bool,
    sessions: bool,
    lengths_of_texts: bool,
    times: bool,
    members: BTreeSet<String>,
}

impl Trace {
    /// Reads a trace. With times its lines need not be in order; lines of the same time stay in theirs.
    ///
    /// # Errors
    /// When a line is not a request, has no time where one is needed, or there is none.
    pub fn parse(text: &str, timing: Timing) -> Result<Trace, TraceError> {
        let (mut rows, mut seen) = (Vec::new(), Seen::default());
        let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let row = row(line, timing, &mut seen);
            rows.push(row.map_err(|reason| TraceError::Line { line: index + 1, reason })?);
        }
        if rows.is_empty() {
            return Err(TraceError::Empty);
        }
        rows.sort_by_key(|row| row.at);
        Ok(Trace { rows, notes: seen.notes(timing) })
    }

    /// Keeps the rows from `from` to `to`, both included, and counts their times from `from`, `speedup` times as fast.
    pub fn part(&mut self, from: Nanos, to: Option<Nanos>, speedup: f64) {
        self.rows.retain(|row| row.at >= from && to.is_none_or(|to| row.at <= to));
        for row in &mut self.rows {
            row.at = Nanos::from_secs_f64((row.at - from).as_secs_f64() / speedup);
        }
    }
}

impl Seen {
    fn notes(self, timing: Timing) -> Vec<String> {
        let mut notes = Vec::new();
        let mut note = |is_so: bool, text: &str| {
            if is_so {
                notes.push(text.to_owned());
            }
        };
        note(self.hashes, "hash_ids are not followed, so prompts share no beginnings");
        note(
            self.sessions,
            "session_id and delay are not followed: each request is sent by itself, without what came before it in its session",
        );
        note(self.lengths_of_texts, "input_length beside a text is not followed: the text's own length counts");
        note(
            self.times && timing == Timing::Untimed,
            "timestamps are not followed; --fixed-schedule sends each request at its own",
        );
        if !self.members.is_empty() {
            let names: Vec<_> = self.members.iter().map(|name| format!("`{name}`")).collect();
            notes.push(format!("{} of its lines are added to the requests' bodies", names.join(", ")));
        }
        notes
    }
}

/// The request of one line.
fn row(line: &str, timing: Timing, seen: &mut Seen) -> Result<TraceRow, String> {
    let line: Line = serde_json::from_str(line).map_err(|error| {
        // Its own "at line 1" would stand beside the file's line.
        let (text, column) = (error.to_string(), error.column());
        let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
        format!("{text} (column {column}); known are {KNOWN}")
    })?;
    if let Some(name) = line.members.keys().find(|name| OF_OTHER_FORMS.contains(&name.as_str())) {
        return Err(format!("`{name}` belongs to another form of traces, which is not available; known are {KNOWN}"));
    }
    let at = match (timing, line.timestamp) {
        (Timing::Timed, None) => {
            return Err("there is no timestamp, at which --fixed-schedule would send the request; give one in ms, or leave out --fixed-schedule and give a load such as --concurrency".to_owned());
        }
        (Timing::Timed, Some(timestamp)) if !(0.0..=LATEST).contains(&timestamp) => {
            return Err(format!("the timestamp {timestamp} is not a number of milliseconds from 0"));
        }
        (Timing::Timed, Some(timestamp)) => Nanos::from_secs_f64(timestamp / 1e3),
        (Timing::Untimed, timestamp) => {
            seen.times |= timestamp.is_some();
            Nanos::ZERO
        }
    };
    seen.lengths_of_texts |= line.text.is_some() && line.input_length.is_some();
    // Beside a text the length means nothing.
    let input_length = line.input_length.filter(|_| line.text.is_none());
    let input_length = input_length.map(|length| tokens("input_length", &length)).transpose()?;
    let output_length = line.output_length.map(|length| tokens("output_length", &length)).transpose()?;
    seen.hashes |= line.hash_ids.is_some();
    seen.sessions |= line.session_id.is_some() || line.delay.is_some();
    seen.members.extend(line.members.keys().cloned());
    Ok(TraceRow { at, input_length, output_length, text: line.text, members: line.members })
}

/// A number of tokens that can be asked for.
fn tokens(name: &str, length: &Number) -> Result<u32, String> {
    match length.as_u64().map(u32::try_from) {
        Some(Ok(0)) => Err(format!("{name} 0: a length of 0 tokens cannot be asked for")),
        Some(Ok(tokens)) if tokens <= LONGEST => Ok(tokens),
        Some(_) => Err(format!("{name} {length}: longer than any prompt or answer; give at most {LONGEST} tokens")),
        None => Err(format!("{name} {length}: not a whole number of tokens")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rows_are_read_sorted_and_cut() {
        let text = concat!(
            r#"{"timestamp": 1500.5, "input_length": 7, "output_length": 2, "hash_ids": [0, 1]}"#,
            "\n\n",
            r#"{"timestamp": 500, "text_input": "hi"}"#,
            "\n{\"timestamp\": 2500}\n"
        );
        let mut trace = Trace::parse(text, Timing::Timed).unwrap();
        assert_eq!(trace.notes, ["hash_ids are not followed, so prompts share no beginnings"]);
        let row = |at, input_length, output_length, text: Option<&str>| TraceRow {
            at: Nanos(at),
            input_length,
            output_length,
            text: text.map(Into::into),
            members: Map::new(),
        };
        let rows = [
            row(500_000_000, None, None, Some("hi")),
            row(1_500_500_000, Some(7), Some(2), None),
            row(2_500_000_000, None, None, None),
        ];
        assert_eq!(trace.rows, rows);
        trace.part(Nanos::from_millis(500), Some(Nanos::from_millis(2_000)), 2.0);
        let left: Vec<i64> = trace.rows.iter().map(|row| row.at.0).collect();
        assert_eq!(left, [0, 500_250_000]);
    }

    #[test]
    fn what_is_no_trace_is_refused_by_its_line() {
        for (text, words) in [
            ("", "no request in it"),
            ("\n{\"timestamp\": -1}", "line 2: the timestamp -1"),
            (r#"{"timestamp": 0, "input_length": 10000001}"#, "line 1: input_length 10000001: longer than any"),
            (
                "{\"timestamp\": 0}\n{\"timestamp\": 1, \"output_length\": 5000000000}",
                "line 2: output_length 5000000000: longer",
            ),
            (r#"{"timestamp": 0, "input_length": 2.5}"#, "line 1: input_length 2.5: not a whole number of tokens"),
            (r#"{"timestamp": 0, "output_length": -4}"#, "line 1: output_length -4: not a whole number of tokens"),
            (r#"{"timestamp": 0, "input_length": 0}"#, "line 1: input_length 0: a length of 0"),
            (r#"{"timestamp": 0, "messages": []}"#, "line 1: `messages` belongs to another form of traces"),
            (r#"{"input_length": 5}"#, "line 1: there is no timestamp"),
            (r#"{"timestamp": 0, "text": "a", "text_input": "b"}"#, "line 1: duplicate field `text`"),
            ("{\"timestamp\": 0}\nnonsense", "line 2: expected ident (column 2); known are"),
        ] {
            let error = Trace::parse(text, Timing::Timed).unwrap_err().to_string();
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
        let trace = Trace::parse(text, Timing::Timed).unwrap();
        let lengths: Vec<_> = trace.rows.iter().map(|row| (row.input_length, row.text.as_deref())).collect();
        assert_eq!(lengths, [(None, Some("First message!")), (Some(10), None)]);
        assert_eq!(Value::Object(trace.rows[1].members.clone()).to_string(), r#"{"priority":1}"#);
        let beginnings = ["session_id and delay are not", "input_length beside a text", "`priority` of its lines"];
        assert_eq!(trace.notes.len(), beginnings.len());
        for (note, beginning) in trace.notes.iter().zip(beginnings) {
            assert!(note.starts_with(beginning), "{note}");
        }
    }

    #[test]
    fn without_times_rows_keep_the_order_of_their_lines() {
        let text =
            "{\"timestamp\": 5, \"input_length\": 1}\n{\"input_length\": 2}\n{\"timestamp\": 1, \"input_length\": 3}";
        let trace = Trace::parse(text, Timing::Untimed).unwrap();
        let rows: Vec<_> = trace.rows.iter().map(|row| (row.at, row.input_length)).collect();
        assert_eq!(rows, [(Nanos::ZERO, Some(1)), (Nanos::ZERO, Some(2)), (Nanos::ZERO, Some(3))]);
        assert_eq!(trace.notes, ["timestamps are not followed; --fixed-schedule sends each request at its own"]);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,200}") {
            let _ = Trace::parse(&text, Timing::Timed);
            let _ = Trace::parse(&text, Timing::Untimed);
        }
    }
}
