//! `records.jsonl`, from which all other files can be made.

use super::{Format, OpenSink, Out, RecordSink, SinkKind, Source};
use crate::records::{RECORDS, RecordWriter};
use std::io;
use streamgauge_core::plan::JSONL;
use streamgauge_core::record::RunFacts;
use streamgauge_core::{Received, Record};

pub(super) static SINK: SinkKind = SinkKind {
    format: Some(Format { name: JSONL, missing_feature: None }),
    file_name: |_| RECORDS,
    source: Source::Itself,
    open: |out, start| Ok(Box::new(RecordWriter::new(out, start.plan, start.anchor_wall)?) as OpenSink<'_>),
};

impl RecordSink for RecordWriter<Out<'_>> {
    fn record(&mut self, record: &Record, _: &Received, _: Option<&str>) -> io::Result<()> {
        self.write(record)
    }

    fn flush(&mut self) -> io::Result<()> {
        RecordWriter::flush(self)
    }

    fn finish(self: Box<Self>, facts: &RunFacts) -> io::Result<u64> {
        RecordWriter::finish(*self, facts).map(|()| 0)
    }
}
