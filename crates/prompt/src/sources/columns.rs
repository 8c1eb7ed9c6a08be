//! The rows of a table in CSV, whose first line names the columns.

use super::limited::{Allowance, Limited};
use super::lines::{BYTE_ORDER_MARK, LONGEST_LINE};
use super::object::{Object, Objects};
use super::{Input, Place, SourceError};
use csv::{ErrorKind, Position, Reader, ReaderBuilder, StringRecord};
use serde_json::{Map, Value};
use std::io::BufRead;

/// A table as one object after the other. Names of columns are in lower case, and an empty field is a missing member.
pub(super) struct Columns {
    reader: Reader<Limited<Box<dyn BufRead + Send>>>,
    left: Allowance,
    names: Vec<String>,
    record: StringRecord,
}

impl Columns {
    /// The table that `input` is.
    ///
    /// # Errors
    /// When its first line cannot be read.
    pub fn new(input: Input) -> Result<Columns, SourceError> {
        let reader: Box<dyn BufRead + Send> = Box::new(input.reader());
        let left = Allowance::new(LONGEST_LINE);
        let mut reader = ReaderBuilder::new().flexible(true).from_reader(Limited::new(reader, &left));
        let names = reader.headers().map_err(wrong)?.iter().map(name_of).collect();
        Ok(Columns { reader, left, names, record: StringRecord::new() })
    }
}

/// The name of a column as it is compared.
pub(super) fn name_of(name: &str) -> String {
    name.trim_start_matches(BYTE_ORDER_MARK).trim().to_lowercase()
}

/// Whether the first line of a text names these columns.
pub(super) fn has_columns(text: &str, columns: &[&str]) -> bool {
    let first = text.lines().next().unwrap_or_default();
    let names: Vec<_> = first.split(',').map(|name| name_of(name.trim().trim_matches('"'))).collect();
    columns.iter().all(|column| names.iter().any(|name| name == column))
}

impl Objects for Columns {
    fn next_object(&mut self) -> Result<Option<(Place, Object)>, SourceError> {
        self.left.renew();
        if !self.reader.read_record(&mut self.record).map_err(wrong)? {
            return Ok(None);
        }
        let place = place_of(self.record.position());
        if self.record.len() > self.names.len() {
            let reason = format!(
                "there are {} fields, but the first line names {} columns",
                self.record.len(),
                self.names.len()
            );
            return Err(SourceError::Row { place, reason });
        }
        let fields = self.names.iter().zip(&self.record).filter(|(_, field)| !field.trim().is_empty());
        let members: Map<_, _> =
            fields.map(|(name, field)| (name.clone(), Value::String(field.trim().to_owned()))).collect();
        Ok(Some((place, Object::of_members(members))))
    }
}

fn place_of(position: Option<&Position>) -> Place {
    Place::line(position.map_or(1, |position| usize::try_from(position.line()).unwrap_or(usize::MAX)))
}

fn wrong(error: csv::Error) -> SourceError {
    let place = place_of(error.position());
    match error.into_kind() {
        ErrorKind::Io(error) => SourceError::Read(error),
        ErrorKind::Utf8 { .. } => SourceError::Row { place, reason: "this is not text in UTF-8".to_owned() },
        _ => SourceError::Row { place, reason: "this is not a row of a table in CSV".to_owned() },
    }
}
