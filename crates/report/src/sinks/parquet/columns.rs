//! The columns: their names and types, and how each gets its values from a record.

use crate::records::writer::letter;
use parquet::basic::{LogicalType, Repetition, Type as Physical};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::errors::{ParquetError, Result};
use parquet::file::writer::SerializedColumnWriter;
use parquet::schema::types::{Type, TypePtr};
use serde::Serialize;
use serde_json::{Value, json};
use std::sync::Arc;
use streamgauge_core::record::Failure;
use streamgauge_core::{Chunk, Nanos, Outcome, OutputKind, Record, Usage};

/// How a column gets its values. A value that a record does not have is null.
#[derive(Clone, Copy)]
enum Kind {
    Int(fn(&Record) -> Option<i64>),
    Bool(fn(&Record) -> Option<bool>),
    Text(fn(&Record) -> Option<String>),
    /// A list with an element for each output event.
    Ints(fn(&Record, &Chunk) -> Option<i64>),
    /// A list with a truth value for each output event.
    Bools(fn(&Chunk) -> bool),
}

/// Every column, in order.
const COLUMNS: [(&str, Kind); 44] = [
    ("seq", Kind::Int(|record| Some(clamped(record.seq)))),
    ("phase", Kind::Text(|record| word(record.phase))),
    ("thread", Kind::Int(|record| Some(record.thread.into()))),
    ("slot", Kind::Int(|record| Some(record.slot.into()))),
    ("prompt", Kind::Int(|record| Some(record.prompt.into()))),
    ("target", Kind::Int(|record| Some(record.target.into()))),
    ("input_tokens", Kind::Int(|record| Some(record.input_tokens.into()))),
    ("want_out", Kind::Int(|record| record.requested_output_tokens.map(i64::from))),
    ("due_ns", Kind::Int(|record| nanos(record.due))),
    ("issued_ns", Kind::Int(|record| Some(record.issued.0))),
    ("connect_ns", Kind::Int(|record| nanos(record.connect))),
    ("sent_ns", Kind::Int(|record| nanos(record.sent))),
    ("written_ns", Kind::Int(|record| nanos(record.written))),
    ("first_byte_ns", Kind::Int(|record| nanos(record.first_byte))),
    ("first_event_ns", Kind::Int(|record| nanos(record.first_event))),
    ("at_ns", Kind::Ints(|record, chunk| Some(chunk.at.0.wrapping_sub(record.sent.unwrap_or(record.issued).0)))),
    ("lag_ns", Kind::Ints(|_, chunk| nanos(chunk.lag))),
    ("shared", Kind::Bools(|chunk| chunk.shared)),
    ("kinds", Kind::Text(kinds)),
    ("end_ns", Kind::Int(|record| Some(record.end.0))),
    ("turnaround_ns", Kind::Int(|record| nanos(record.turnaround))),
    ("retries", Kind::Int(|record| Some(record.retries.into()))),
    ("status", Kind::Int(|record| record.status.map(i64::from))),
    ("finish", Kind::Text(|record| record.finish.clone())),
    ("usage_prompt_tokens", Kind::Int(|record| usage(record, |usage| usage.prompt_tokens))),
    ("usage_completion_tokens", Kind::Int(|record| usage(record, |usage| usage.completion_tokens))),
    ("usage_reasoning_tokens", Kind::Int(|record| usage(record, |usage| usage.reasoning_tokens))),
    ("usage_cached_tokens", Kind::Int(|record| usage(record, |usage| usage.cached_tokens))),
    ("text_tokens", Kind::Int(|record| record.text_tokens.map(i64::from))),
    ("bytes", Kind::Int(|record| Some(clamped(record.bytes)))),
    ("unreadable_output", Kind::Int(|record| Some(record.unreadable.output.into()))),
    ("unreadable_other", Kind::Int(|record| Some(record.unreadable.other.into()))),
    ("body_end", Kind::Text(|record| record.body_end.and_then(word))),
    ("sequence_id", Kind::Int(|record| record.sequence.map(|sequence| clamped(sequence.id)))),
    ("sequence_start", Kind::Bool(|record| record.sequence.map(|sequence| sequence.start))),
    ("sequence_end", Kind::Bool(|record| record.sequence.map(|sequence| sequence.end))),
    ("conversation_number", Kind::Int(|record| record.conversation.map(|turn| clamped(turn.number)))),
    ("conversation_turn", Kind::Int(|record| record.conversation.map(|turn| turn.turn.into()))),
    ("conversation_turns", Kind::Int(|record| record.conversation.map(|turn| turn.turns.into()))),
    (
        "conversation_history_tokens",
        Kind::Int(|record| record.conversation.and_then(|turn| turn.history_tokens).map(clamped)),
    ),
    ("outcome", Kind::Text(|record| text(&json!(record.outcome)["outcome"]))),
    ("stage", Kind::Text(|record| failure(record).and_then(|failure| word(failure.stage)))),
    ("class", Kind::Text(|record| failure(record).and_then(|failure| word(failure.class)))),
    ("message", Kind::Text(|record| failure(record).map(|failure| failure.message.clone()))),
];

/// Parquet's usual integers are signed; no count of a run comes near their limit.
fn clamped(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn nanos(time: Option<Nanos>) -> Option<i64> {
    time.map(|time| time.0)
}

fn usage(record: &Record, count: fn(&Usage) -> Option<u64>) -> Option<i64> {
    record.usage.as_ref().and_then(count).map(clamped)
}

fn failure(record: &Record) -> Option<&Failure> {
    match &record.outcome {
        Outcome::Failed(failure) => Some(failure),
        _ => None,
    }
}

/// A letter for each event, as in `records.jsonl`, or `None` if all are text.
fn kinds(record: &Record) -> Option<String> {
    let has_others = record.chunks.iter().any(|chunk| chunk.kind != OutputKind::Text);
    has_others.then(|| record.chunks.iter().map(|chunk| char::from(letter(chunk.kind))).collect())
}

/// The word for a value in `records.jsonl`.
fn word(value: impl Serialize) -> Option<String> {
    text(&serde_json::to_value(value).ok()?)
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// One column of some rows.
pub struct Column {
    cells: Cells,
    levels: Levels,
}

/// How a column gets its values, and those that it has got: nulls are in the levels only.
enum Cells {
    Int(fn(&Record) -> Option<i64>, Vec<i64>),
    Bool(fn(&Record) -> Option<bool>, Vec<bool>),
    Text(fn(&Record) -> Option<String>, Vec<ByteArray>),
    Ints(fn(&Record, &Chunk) -> Option<i64>, Vec<i64>),
    Bools(fn(&Chunk) -> bool, Vec<bool>),
}

/// The positions of nulls and lists in a column, in the form in which Parquet stores them.
#[derive(Default)]
struct Levels {
    /// For each value, null or empty list, how many of the optional and repeated types around the value are there.
    definition: Vec<i16>,
    /// For each element of a list, whether it continues the list (1) or begins the next one (0).
    repetition: Vec<i16>,
}

/// Every column, without rows.
pub fn columns() -> Vec<Column> {
    let cells = |kind| match kind {
        Kind::Int(value) => Cells::Int(value, Vec::new()),
        Kind::Bool(value) => Cells::Bool(value, Vec::new()),
        Kind::Text(value) => Cells::Text(value, Vec::new()),
        Kind::Ints(value) => Cells::Ints(value, Vec::new()),
        Kind::Bools(value) => Cells::Bools(value, Vec::new()),
    };
    COLUMNS.into_iter().map(|(_, kind)| Column { cells: cells(kind), levels: Levels::default() }).collect()
}

/// The names of the columns whose values are long lists of times, which are stored by their differences.
pub fn times() -> impl Iterator<Item = &'static str> {
    COLUMNS.into_iter().filter(|(_, kind)| matches!(kind, Kind::Ints(_))).map(|(name, _)| name)
}

/// The types of the columns.
pub fn schema() -> Result<TypePtr> {
    let fields = COLUMNS.into_iter().map(|(name, kind)| {
        let (physical, logical, is_list) = match kind {
            Kind::Int(_) => (Physical::INT64, None, false),
            Kind::Bool(_) => (Physical::BOOLEAN, None, false),
            Kind::Text(_) => (Physical::BYTE_ARRAY, Some(LogicalType::String), false),
            Kind::Ints(_) => (Physical::INT64, None, true),
            Kind::Bools(_) => (Physical::BOOLEAN, None, true),
        };
        let primitive = |name| {
            let builder = Type::primitive_type_builder(name, physical).with_repetition(Repetition::OPTIONAL);
            builder.with_logical_type(logical.clone()).build().map(Arc::new)
        };
        if !is_list {
            return primitive(name);
        }
        let group = |name, repetition, logical, field| {
            let builder = Type::group_type_builder(name).with_repetition(repetition).with_logical_type(logical);
            builder.with_fields(vec![field]).build().map(Arc::new)
        };
        let list = group("list", Repetition::REPEATED, None, primitive("element")?)?;
        group(name, Repetition::REQUIRED, Some(LogicalType::List), list)
    });
    Type::group_type_builder("record").with_fields(fields.collect::<Result<_>>()?).build().map(Arc::new)
}

impl Column {
    /// Adds a row.
    pub fn push(&mut self, record: &Record) {
        let Column { cells, levels } = self;
        match cells {
            Cells::Int(value, values) => levels.add(values, value(record)),
            Cells::Bool(value, values) => levels.add(values, value(record)),
            Cells::Text(value, values) => {
                levels.add(values, value(record).map(|text| ByteArray::from(text.into_bytes())));
            }
            Cells::Ints(value, values) => {
                levels.add_list(values, record.chunks.iter().map(|chunk| value(record, chunk)));
            }
            Cells::Bools(value, values) => {
                levels.add_list(values, record.chunks.iter().map(|chunk| Some(value(chunk))));
            }
        }
    }

    /// Writes the rows and forgets them.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&mut self, mut out: SerializedColumnWriter<'_>) -> Result<()> {
        let Column { cells, levels: Levels { definition, repetition } } = self;
        let repetition_levels = (!repetition.is_empty()).then_some(repetition.as_slice());
        let levels = (Some(definition.as_slice()), repetition_levels);
        match (cells, out.untyped()) {
            (Cells::Int(_, values) | Cells::Ints(_, values), ColumnWriter::Int64ColumnWriter(out)) => {
                out.write_batch(values, levels.0, levels.1)?;
                values.clear();
            }
            (Cells::Bool(_, values) | Cells::Bools(_, values), ColumnWriter::BoolColumnWriter(out)) => {
                out.write_batch(values, levels.0, levels.1)?;
                values.clear();
            }
            (Cells::Text(_, values), ColumnWriter::ByteArrayColumnWriter(out)) => {
                out.write_batch(values, levels.0, levels.1)?;
                values.clear();
            }
            _ => return Err(ParquetError::General("a column has another type than its schema".into())),
        }
        definition.clear();
        repetition.clear();
        out.close()
    }
}

impl Levels {
    fn add<T>(&mut self, values: &mut Vec<T>, value: Option<T>) {
        self.definition.push(i16::from(value.is_some()));
        values.extend(value);
    }

    fn add_list<T>(&mut self, values: &mut Vec<T>, elements: impl Iterator<Item = Option<T>>) {
        let before = self.repetition.len();
        for element in elements {
            self.repetition.push(i16::from(self.repetition.len() > before));
            self.definition.push(1 + i16::from(element.is_some()));
            values.extend(element);
        }
        if self.repetition.len() == before {
            self.repetition.push(0);
            self.definition.push(0);
        }
    }
}
