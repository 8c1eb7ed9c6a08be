//! Tables in Apache Parquet, as the hub's data sets have them.

use super::object::{Object, Objects};
use super::sessions::Sessions;
use super::table::{self, TableRows};
use super::turns::Turns;
use super::{Format, Input, Opened, Place, SourceError, SourceOptions, Unit};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::reader::RowIter;
use parquet::record::{Field, Row};
use parquet::schema::types::Type;
use serde_json::{Map, Number, Value};
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The format, which the first four bytes show.
pub const FORMAT: Format = Format {
    name: "parquet",
    aliases: &[],
    has_times: true,
    takes_directories: false,
    recognises: |sample| sample.head.starts_with(b"PAR1"),
    open,
};

fn open(input: Input, options: &SourceOptions) -> Opened {
    let file = File::open(input.path())?;
    let file = whole(|| SerializedFileReader::new(file))?;
    let schema = file.metadata().file_metadata().schema_descr().root_schema().clone();
    let table: Vec<_> = schema.get_fields().iter().map(|field| field.name().to_owned()).collect();
    let members = options.columns.members(&table)?;
    let rows = TableRows::new(Turns::new(input.path(), options.timing), &table, &members);
    // Columns that are not used may be far larger than those that are.
    let used = schema.get_fields().iter().zip(&members).filter(|(_, member)| member.is_some());
    let fields = used.map(|(field, _)| field.clone()).collect();
    let projection =
        Type::group_type_builder(schema.name()).with_fields(fields).build().map_err(|error| of_parquet(&error))?;
    let rows_of_file = whole(move || RowIter::from_file_into(Box::new(file)).project(Some(projection)))?;
    let members = members.into_iter().flatten().collect();
    Ok(Sessions::new(Box::new(Table { rows: rows_of_file, members, read: 0, is_over: false }), rows))
}

struct Table {
    rows: RowIter<'static>,
    /// The members that the columns are.
    members: Vec<String>,
    read: usize,
    is_over: bool,
}

impl Objects for Table {
    fn next_object(&mut self) -> Result<Option<(Place, Object)>, SourceError> {
        if self.is_over {
            return Ok(None);
        }
        let place = Place { line: self.read + 1, unit: Unit::Row, ..Place::default() };
        let row = whole(|| self.rows.next().transpose()).map_err(|error| {
            self.is_over = true;
            SourceError::Stop { place: place.clone(), reason: error.to_string() }
        })?;
        let Some(row) = row else { return Ok(None) };
        self.read += 1;
        let mut members = Map::new();
        for (member, (_, field)) in self.members.iter().zip(row.into_columns()) {
            let value = match value(field) {
                Value::String(text) => table::of_text(member, &text),
                value => value,
            };
            members.insert(member.clone(), value);
        }
        Ok(Some(table::row(place, members)))
    }
}

/// What the reader of Parquet says. A damaged file may make it panic, which then ends the reading and nothing else.
fn whole<T>(read: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, SourceError> {
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(Ok(read)) => Ok(read),
        Ok(Err(error)) => Err(of_parquet(&error)),
        Err(_) => Err(SourceError::File("the Parquet file is damaged".to_owned())),
    }
}

fn of_parquet(error: &ParquetError) -> SourceError {
    let text = error.to_string();
    match text.rsplit_once("Disabled feature at compile time: ") {
        Some((_, codec)) => SourceError::File(format!(
            "the Parquet file is compressed with {codec}, which is not read; give one that is compressed with Snappy or not at all"
        )),
        None => SourceError::File(format!("the Parquet file cannot be read: {text}")),
    }
}

/// A value as JSON has it. Bytes that are no text and points in time are left out: no member is one.
fn value(field: Field) -> Value {
    let float = |number: f64| Number::from_f64(number).map_or(Value::Null, Value::Number);
    match field {
        Field::Bool(value) => value.into(),
        Field::Byte(number) => number.into(),
        Field::Short(number) => number.into(),
        Field::Int(number) => number.into(),
        Field::Long(number) | Field::TimestampMillis(number) => number.into(),
        Field::UByte(number) => number.into(),
        Field::UShort(number) => number.into(),
        Field::UInt(number) => number.into(),
        Field::ULong(number) => number.into(),
        Field::Float(number) => float(number.into()),
        Field::Double(number) => float(number),
        Field::Str(text) => text.into(),
        Field::Bytes(bytes) => bytes.as_utf8().map_or(Value::Null, Into::into),
        Field::Group(row) => object(row),
        Field::ListInternal(list) => list.elements().iter().cloned().map(value).collect(),
        _ => Value::Null,
    }
}

fn object(row: Row) -> Value {
    Value::Object(row.into_columns().into_iter().map(|(name, field)| (name, value(field))).collect())
}

/// A Parquet file with these columns of texts and whole numbers; for tests.
#[cfg(test)]
pub(super) fn write(path: &std::path::Path, texts: &[(&str, &[&str])], numbers: &[(&str, &[i64])]) {
    use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;
    use std::sync::Arc;
    let columns = texts.iter().map(|(name, _)| format!("required binary {name} (UTF8);"));
    let columns: String = columns.chain(numbers.iter().map(|(name, _)| format!("required int64 {name};"))).collect();
    let schema = Arc::new(parse_message_type(&format!("message rows {{ {columns} }}")).unwrap());
    let properties = WriterProperties::builder().set_compression(parquet::basic::Compression::SNAPPY).build();
    let mut writer = SerializedFileWriter::new(File::create(path).unwrap(), schema, Arc::new(properties)).unwrap();
    let mut group = writer.next_row_group().unwrap();
    for (_, values) in texts {
        let values: Vec<ByteArray> = values.iter().map(|text| ByteArray::from(*text)).collect();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<ByteArrayType>().write_batch(&values, None, None).unwrap();
        column.close().unwrap();
    }
    for (_, values) in numbers {
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<Int64Type>().write_batch(values, None, None).unwrap();
        column.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::Contents;
    use streamgauge_core::prompt::Content;

    #[test]
    fn rows_of_the_columns_are_prompts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rows.parquet");
        write(&path, &[("id", &["x", "y"]), ("question", &["a", "b"])], &[("n", &[5, 0])]);
        let contents = Contents::read(&path, &SourceOptions::default()).unwrap();
        let texts: Vec<_> = contents.turns().map(|turn| turn.content.clone().unwrap()).collect();
        assert_eq!(texts, ["a", "b"].map(|text| Content::Texts(vec![text.to_owned()])));
        assert_eq!(contents.notes, ["`id`, `n` of its columns are not used"]);
        let columns = "prompt=question,output_length=n".parse().unwrap();
        let options = SourceOptions { columns, ..SourceOptions::default() };
        let error = Contents::read(&path, &options).unwrap_err().to_string();
        assert_eq!(error, "row 2: output_length 0: a length of 0 tokens cannot be asked for");
        let skipping = SourceOptions { skip_bad_rows: true, ..options };
        let contents = Contents::read(&path, &skipping).unwrap();
        assert_eq!(contents.turns().map(|turn| turn.requested_output_tokens).collect::<Vec<_>>(), [Some(5)]);
    }

    #[test]
    fn a_damaged_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rows.parquet");
        write(&path, &[("prompt", &["a", "b", "c"])], &[]);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        let error = Contents::read(&path, &SourceOptions::default()).unwrap_err().to_string();
        assert!(error.starts_with("the Parquet file cannot be read: "), "{error}");
        // Every byte damaged in turn: an error or other rows, and nothing else.
        for index in 4..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[index] ^= 0x55;
            std::fs::write(&path, damaged).unwrap();
            let _ = Contents::read(&path, &SourceOptions::default());
        }
    }
}
