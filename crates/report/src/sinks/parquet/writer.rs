//! Writes the rows in groups, so that memory stays bounded however long the run is.

use super::columns::{Column, columns, schema, times};
use crate::records::writer::header;
use crate::sinks::{Out, RecordSink};
use parquet::basic::{Compression, Encoding};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnPath;
use std::io;
use std::sync::Arc;
use streamgauge_core::plan::RunPlan;
use streamgauge_core::record::RunFacts;
use streamgauge_core::{Received, Record};

/// A group of rows is written once it has this many events or rows, which take about 3 MB of memory.
const EVENTS: usize = 1 << 17;
const ROWS: usize = 1 << 13;

/// Writes records as rows, one group of rows after the other.
pub struct ParquetWriter<'a> {
    file: SerializedFileWriter<Out<'a>>,
    columns: Vec<Column>,
    /// The rows and events in the columns.
    rows: usize,
    events: usize,
}

impl<'a> ParquetWriter<'a> {
    /// Begins the file. `anchor_wall` is the wall-clock time of the run clock's zero, in nanoseconds since 1970.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn new(out: Out<'a>, plan: &RunPlan, anchor_wall: i64) -> io::Result<ParquetWriter<'a>> {
        let header = KeyValue::new("streamgauge".to_owned(), header(plan, anchor_wall)?.to_string());
        let mut properties = WriterProperties::builder().set_compression(Compression::SNAPPY);
        for name in times() {
            let path = ColumnPath::new([name, "list", "element"].map(str::to_owned).to_vec());
            properties = properties.set_column_dictionary_enabled(path.clone(), false);
            properties = properties.set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
        }
        let file = schema().and_then(|schema| SerializedFileWriter::new(out, schema, Arc::new(properties.build())));
        let mut file = file.map_err(failed)?;
        file.append_key_value_metadata(header);
        Ok(ParquetWriter { file, columns: columns(), rows: 0, events: 0 })
    }

    /// Writes the rows that have gathered.
    fn end_group(&mut self) -> io::Result<()> {
        if self.rows == 0 {
            return Ok(());
        }
        let mut write = || {
            let mut group = self.file.next_row_group()?;
            for column in &mut self.columns {
                let Some(out) = group.next_column()? else { break };
                column.write(out)?;
            }
            group.close().map(drop)
        };
        write().map_err(failed)?;
        (self.rows, self.events) = (0, 0);
        Ok(())
    }
}

/// The failure of the file where there was one, and else what the writer says.
fn failed(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(cause) => cause.downcast().map_or_else(io::Error::other, |cause| *cause),
        error => io::Error::other(error),
    }
}

impl RecordSink for ParquetWriter<'_> {
    fn record(&mut self, record: &Record, _: &Received, _: Option<&str>) -> io::Result<()> {
        self.columns.iter_mut().for_each(|column| column.push(record));
        self.rows += 1;
        self.events += record.chunks.len();
        if self.rows >= ROWS || self.events >= EVENTS { self.end_group() } else { Ok(()) }
    }

    /// A group is not ended for it: small ones make a large file, and none can be read before the footer is there.
    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }

    fn finish(mut self: Box<Self>, facts: &RunFacts) -> io::Result<u64> {
        self.end_group()?;
        self.file.append_key_value_metadata(KeyValue::new("run".to_owned(), serde_json::to_string(facts)?));
        self.file.finish().map_err(failed)?;
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{facts, plan, record, secret_header};
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::{Field, Row};
    use std::fs::File;
    use streamgauge_core::kserve::SequenceTag;
    use streamgauge_core::plan::EndpointKind;
    use streamgauge_core::record::{BodyEnd, Failure, FailureClass, Outcome, Phase, Stage, Unreadable};
    use streamgauge_core::{Chunk, Nanos, OutputKind, Usage};

    fn written(records: &[Record]) -> SerializedFileReader<File> {
        let mut plan = plan(EndpointKind::Chat);
        plan.endpoint.headers = vec![secret_header()];
        let mut file = tempfile::tempfile().unwrap();
        let mut writer = Box::new(ParquetWriter::new(&mut file, &plan, 77).unwrap());
        for record in records {
            writer.record(record, &Received::default(), None).unwrap();
        }
        writer.flush().unwrap();
        assert_eq!(writer.finish(&facts()).unwrap(), 0);
        SerializedFileReader::new(file).unwrap()
    }

    fn chunk(at: i64, lag: Option<i64>, shared: bool, kind: OutputKind) -> Chunk {
        Chunk { at: Nanos(at), lag: lag.map(Nanos), shared, kind }
    }

    /// The cells of a row that are not null, as text.
    fn cells(row: &Row) -> Vec<String> {
        let shown = |(name, field): (&String, &Field)| (*field != Field::Null).then(|| format!("{name}={field}"));
        row.get_column_iter().filter_map(shown).collect()
    }

    #[test]
    fn a_row_has_the_members_of_a_line_and_its_events_as_lists() {
        let whole = Record {
            seq: 3,
            due: Some(Nanos(90)),
            sent: Some(Nanos(100)),
            chunks: vec![
                chunk(120, Some(3), false, OutputKind::Reasoning),
                chunk(120, None, true, OutputKind::Text),
                chunk(170, Some(5), false, OutputKind::Text),
            ],
            end: Nanos(180),
            status: Some(200),
            finish: Some("stop".into()),
            usage: Some(Usage { prompt_tokens: Some(31), ..Usage::default() }),
            sequence: Some(SequenceTag { id: 9, start: true, end: false }),
            unreadable: Unreadable { output: 1, other: 2 },
            body_end: Some(BodyEnd::Cut),
            ..record()
        };
        let failure = Failure { stage: Stage::FirstByte, class: FailureClass::InBand, message: "ü \"x\"".into() };
        let failed = Record { phase: Phase::Warmup, outcome: Outcome::Failed(failure), ..record() };
        let reader = written(&[whole, failed]);
        let rows: Vec<Row> = reader.get_row_iter(None).unwrap().map(Result::unwrap).collect();
        let expected = [
            "seq=3",
            "phase=\"profiling\"",
            "thread=0",
            "slot=0",
            "prompt=0",
            "target=0",
            "input_tokens=20",
            "want_out=8",
            "due_ns=90",
            "issued_ns=0",
            "sent_ns=100",
            "at_ns=[20, 20, 70]",
            "lag_ns=[3, null, 5]",
            "shared=[false, true, false]",
            "kinds=\"rtt\"",
            "end_ns=180",
            "retries=0",
            "status=200",
            "finish=\"stop\"",
            "usage_prompt_tokens=31",
            "bytes=0",
            "unreadable_output=1",
            "unreadable_other=2",
            "body_end=\"cut\"",
            "sequence_id=9",
            "sequence_start=true",
            "sequence_end=false",
            "outcome=\"ok\"",
        ];
        assert_eq!(cells(&rows[0]), expected);
        let last = cells(&rows[1]);
        assert!(last.contains(&"at_ns=[]".to_owned()) && last.contains(&"phase=\"warmup\"".to_owned()), "{last:?}");
        assert_eq!(
            last[last.len() - 4..],
            ["outcome=\"failed\"", "stage=\"first_byte\"", "class=\"in_band\"", "message=\"ü \"x\"\""]
        );
        assert_eq!(rows.len(), 2);
    }

    #[test]
    fn the_footer_has_the_plan_without_secrets_and_the_facts() {
        let reader = written(&[]);
        let metadata = reader.metadata().file_metadata();
        assert_eq!(metadata.num_rows(), 0);
        let values = metadata.key_value_metadata().unwrap();
        let value = |key: &str| {
            let value = values.iter().find(|value| value.key == key).unwrap().value.clone().unwrap();
            assert!(!value.contains("sk-secret"));
            serde_json::from_str::<serde_json::Value>(&value).unwrap()
        };
        assert_eq!(value("streamgauge")["anchor_wall_ns"], 77);
        assert_eq!(value("streamgauge")["plan"]["models"], serde_json::Value::Null);
        assert_eq!(value("streamgauge")["plan"]["endpoint"]["models"][0], "tinychat");
        assert_eq!(value("run"), serde_json::to_value(facts()).unwrap());
    }

    #[test]
    fn rows_are_written_in_groups_so_that_memory_stays_bounded() {
        let chunks: Vec<Chunk> = (0..1_000).map(|at| chunk(at * 1_000, Some(at), false, OutputKind::Text)).collect();
        let long = Record { sent: Some(Nanos(0)), chunks, ..record() };
        let count = 300;
        let reader = written(&vec![long; count]);
        let groups = reader.metadata().row_groups();
        assert_eq!(groups.iter().map(|group| group.num_rows()).collect::<Vec<_>>(), [132, 132, 36]);
        let mut rows = reader.get_row_iter(None).unwrap().map(Result::unwrap);
        let stamps = rows.next().unwrap();
        let list = stamps.get_column_iter().find(|(name, _)| *name == "at_ns").unwrap().1.to_string();
        assert!(list.starts_with("[0, 1000, 2000,") && list.ends_with(" 999000]"), "{list}");
        assert_eq!(rows.count() + 1, count);
        let short = written(&vec![record(); ROWS + 1]);
        assert_eq!(short.metadata().num_row_groups(), 2);
        // Differences of times take little room.
        let bytes: i64 = groups.iter().flat_map(|group| group.columns()).map(|column| column.compressed_size()).sum();
        assert!(bytes < 400_000, "{bytes} bytes for 300,000 events");
    }
}
