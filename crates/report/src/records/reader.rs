//! Records out of lines, as far as a file goes.

use super::origin;
use serde::Deserialize;
use serde_json::Value;
use std::io::{self, BufRead};
use streamgauge_core::plan::RunPlan;
use streamgauge_core::record::{RunFacts, SCHEMA};
use streamgauge_core::{Chunk, Nanos, OutputKind, Record};

/// Why a file of records cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file does not begin as one of ours.
    #[error(
        "this is not a records file: its first line does not give a `streamgauge` version, a `schema` and a `plan`"
    )]
    NoHeader,
    /// It was written by a later version.
    #[error("the records have schema {0}; this version reads up to {SCHEMA}")]
    Newer(u32),
    /// The plan is not one that this version knows.
    #[error("the plan in the first line of the records cannot be read by this version: {0}")]
    Plan(serde_json::Error),
    /// A line in the middle is not a record.
    #[error("line {line} of the records is not a record: {reason}")]
    Line {
        /// Its number, from 1.
        line: u64,
        /// The reason.
        reason: String,
    },
    /// The file cannot be read.
    #[error("the records cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// The first line of a file of records.
#[derive(Clone, Debug)]
pub struct Header {
    /// The version that wrote it.
    pub streamgauge: String,
    /// The version of the records' form.
    pub schema: u32,
    /// Wall-clock time of the run's clock's zero, nanoseconds since 1970.
    pub anchor_wall_ns: i64,
    /// The plan, without its secrets.
    pub plan: RunPlan,
}

/// The first line as it is read. The plan is parsed only once the schema is known to be one of this version.
#[derive(Deserialize)]
struct FirstLine {
    streamgauge: String,
    schema: u32,
    anchor_wall_ns: i64,
    plan: Value,
}

/// Reads records back, one after the other. Once it has given the last, [`RecordReader::facts`] and
/// [`RecordReader::torn`] say how the file ended.
pub struct RecordReader<R> {
    input: R,
    header: Header,
    line: Vec<u8>,
    number: u64,
    facts: Option<RunFacts>,
    torn: Option<u64>,
    failed: bool,
}

impl<R: BufRead> RecordReader<R> {
    /// Reads the first line.
    ///
    /// # Errors
    /// When the input cannot be read, is not a file of records, has a later schema, or has a plan that this version cannot read.
    pub fn new(mut input: R) -> Result<RecordReader<R>, ReadError> {
        let mut line = Vec::new();
        input.read_until(b'\n', &mut line)?;
        let first: FirstLine = serde_json::from_slice(&line).map_err(|_| ReadError::NoHeader)?;
        let FirstLine { streamgauge, schema, anchor_wall_ns, plan } = first;
        if schema > SCHEMA {
            return Err(ReadError::Newer(schema));
        }
        let plan = serde_json::from_value(plan).map_err(ReadError::Plan)?;
        let header = Header { streamgauge, schema, anchor_wall_ns, plan };
        Ok(RecordReader { input, header, line, number: 1, facts: None, torn: None, failed: false })
    }

    /// The content of the first line.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The facts of the run that belong to no single request; absent if the run was killed before its end.
    pub fn facts(&self) -> Option<&RunFacts> {
        self.facts.as_ref()
    }

    /// The number of the last line when only its beginning is there: the process was killed while writing it.
    pub fn torn(&self) -> Option<u64> {
        self.torn
    }

    fn read(&mut self) -> Result<Option<Record>, ReadError> {
        self.line.clear();
        if self.facts.is_some() || self.torn.is_some() || self.input.read_until(b'\n', &mut self.line)? == 0 {
            return Ok(None);
        }
        self.number += 1;
        let error = match serde_json::from_slice::<Line>(&self.line) {
            Ok(line) => return line.unfold().map(Some).map_err(|reason| self.refusal(reason)),
            Err(error) => error,
        };
        if let Ok(LastLine { run }) = serde_json::from_slice(&self.line) {
            self.facts = Some(run);
        } else if self.line.last() != Some(&b'\n') {
            self.torn = Some(self.number);
        } else {
            return Err(self.refusal(error.to_string()));
        }
        Ok(None)
    }

    fn refusal(&self, reason: String) -> ReadError {
        ReadError::Line { line: self.number, reason }
    }
}

impl<R: BufRead> Iterator for RecordReader<R> {
    type Item = Result<Record, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let item = self.read().transpose();
        self.failed = matches!(item, Some(Err(_)));
        item
    }
}

/// The line after the records.
#[derive(Deserialize)]
struct LastLine {
    run: RunFacts,
}

/// A line: the record's own members, and the values of its output events as lists.
#[derive(Deserialize)]
struct Line {
    #[serde(flatten)]
    record: Record,
    #[serde(default)]
    at_ns: Vec<i64>,
    lag_ns: Option<Vec<Option<Nanos>>>,
    #[serde(default)]
    shared: Vec<usize>,
    kinds: Option<String>,
}

impl Line {
    fn unfold(mut self) -> Result<Record, String> {
        self.record.chunks = self.chunks()?;
        Ok(self.record)
    }

    fn chunks(&self) -> Result<Vec<Chunk>, String> {
        let origin = origin(self.record.sent, self.record.issued);
        let chunk =
            |&at: &i64| Chunk { at: Nanos(origin.wrapping_add(at)), lag: None, shared: false, kind: OutputKind::Text };
        let mut chunks: Vec<Chunk> = self.at_ns.iter().map(chunk).collect();
        if let Some(lags) = &self.lag_ns {
            same_length("lag_ns", lags.len(), chunks.len())?;
            chunks.iter_mut().zip(lags).for_each(|(chunk, &lag)| chunk.lag = lag);
        }
        for &index in &self.shared {
            chunks.get_mut(index).ok_or("`shared` points beyond `at_ns`")?.shared = true;
        }
        if let Some(kinds) = &self.kinds {
            same_length("kinds", kinds.len(), chunks.len())?;
            for (chunk, letter) in chunks.iter_mut().zip(kinds.chars()) {
                chunk.kind = kind(letter)?;
            }
        }
        Ok(chunks)
    }
}

fn same_length(name: &str, length: usize, expected: usize) -> Result<(), String> {
    if length == expected { Ok(()) } else { Err(format!("`{name}` has {length} entries and `at_ns` {expected}")) }
}

fn kind(letter: char) -> Result<OutputKind, String> {
    match letter {
        't' => Ok(OutputKind::Text),
        'r' => Ok(OutputKind::Reasoning),
        'c' => Ok(OutputKind::ToolCall),
        'o' => Ok(OutputKind::Tensors),
        _ => Err(format!("`kinds` has the letter `{letter}`; known are t, r, c and o")),
    }
}
