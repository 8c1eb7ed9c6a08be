//! Traces of requests: a line of JSON each, with the time it was made and what is known of its lengths or its text. The form is
//! that of the Mooncake traces, which GenAI-Perf and AIPerf read too.

use serde::Deserialize;
use streamgauge_core::Nanos;

/// One request of a trace.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceRow {
    /// Its timestamp, from the trace's own zero.
    pub at: Nanos,
    /// Tokens of its prompt.
    pub input_length: Option<u32>,
    /// Tokens of its answer, to be asked for.
    pub output_length: Option<u32>,
    /// Its prompt.
    pub text: Option<String>,
}

/// A trace, in the order of its times.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trace {
    /// The requests, at least one.
    pub rows: Vec<TraceRow>,
    /// Whether rows name blocks of their prompts by hashes, which are not followed: synthetic prompts share no beginnings.
    pub hashes: bool,
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    timestamp: f64,
    input_length: Option<u32>,
    output_length: Option<u32>,
    #[serde(alias = "text_input")]
    text: Option<String>,
    hash_ids: Option<Vec<serde_json::Value>>,
}

impl Trace {
    /// Reads a trace. Its lines need not be in order; lines of the same time stay in theirs.
    ///
    /// # Errors
    /// When a line is not a request, has a member that is not known, or there is none.
    pub fn parse(text: &str) -> Result<Trace, TraceError> {
        let mut trace = Trace::default();
        for (index, line) in text.lines().enumerate() {
            if line.trim().is_empty() {
                continue;
            }
            let refuse = |reason: String| TraceError::Line { line: index + 1, reason };
            let line: Line = serde_json::from_str(line).map_err(|error| {
                // Its own "at line 1" would stand beside the file's line.
                let (text, column) = (error.to_string(), error.column());
                let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
                refuse(format!(
                    "{text} (column {column}); known are timestamp (ms), input_length, output_length, text and hash_ids"
                ))
            })?;
            if !(0.0..=LATEST).contains(&line.timestamp) {
                return Err(refuse(format!("the timestamp {} is not a number of milliseconds from 0", line.timestamp)));
            }
            if line.input_length == Some(0) || line.output_length == Some(0) {
                return Err(refuse("a length of 0 tokens cannot be asked for".to_owned()));
            }
            if line.text.is_some() && line.input_length.is_some() {
                return Err(refuse("both text and input_length are given; a text has its own length".to_owned()));
            }
            trace.hashes |= line.hash_ids.is_some();
            trace.rows.push(TraceRow {
                at: Nanos::from_secs_f64(line.timestamp / 1e3),
                input_length: line.input_length,
                output_length: line.output_length,
                text: line.text,
            });
        }
        trace.rows.sort_by_key(|row| row.at);
        if trace.rows.is_empty() { Err(TraceError::Empty) } else { Ok(trace) }
    }

    /// Keeps the rows from `from` to `to`, both included, and counts their times from `from`, `speedup` times as fast.
    pub fn part(&mut self, from: Nanos, to: Option<Nanos>, speedup: f64) {
        self.rows.retain(|row| row.at >= from && to.is_none_or(|to| row.at <= to));
        for row in &mut self.rows {
            row.at = Nanos::from_secs_f64((row.at - from).as_secs_f64() / speedup);
        }
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
        let mut trace = Trace::parse(text).unwrap();
        assert!(trace.hashes);
        let row = |at, input_length, output_length, text: Option<&str>| TraceRow {
            at: Nanos(at),
            input_length,
            output_length,
            text: text.map(Into::into),
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
            (r#"{"timestamp": 0, "input_length": 0}"#, "line 1: a length of 0"),
            (r#"{"timestamp": 0, "session_id": "a"}"#, "line 1: unknown field `session_id`"),
            (r#"{"input_length": 5}"#, "line 1: missing field `timestamp`"),
            (r#"{"timestamp": 0, "input_length": 5, "text": "hi"}"#, "both text and input_length"),
            ("{\"timestamp\": 0}\nnonsense", "line 2: expected ident (column 2); known are"),
        ] {
            let error = Trace::parse(text).unwrap_err().to_string();
            assert!(error.contains(words) && !error.contains("at line"), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,200}") {
            let _ = Trace::parse(&text);
        }
    }
}
