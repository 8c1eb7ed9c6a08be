//! `records.parquet`: a row for each request, for tools that read columns.
//!
//! The columns are the members of `records.jsonl` under the same names; objects are spread over several columns, and the values of events
//! are lists. The footer holds the file's header (`streamgauge`) and the facts of the run (`run`) as JSON.

use super::{Format, OpenSink, SinkKind, Source};

#[cfg(feature = "parquet")]
mod columns;
#[cfg(feature = "parquet")]
mod writer;

const MISSING_FEATURE: Option<&str> = if cfg!(feature = "parquet") { None } else { Some("parquet") };

pub(super) static SINK: SinkKind = SinkKind {
    format: Some(Format { name: "parquet", missing_feature: MISSING_FEATURE }),
    file_name: |_| "records.parquet",
    source: Source::Records,
    #[cfg(feature = "parquet")]
    open: |out, start| Ok(Box::new(writer::ParquetWriter::new(out, start.plan, start.anchor_wall)?) as OpenSink<'_>),
    #[cfg(not(feature = "parquet"))]
    open: |_, _| Err::<OpenSink<'_>, _>(std::io::ErrorKind::Unsupported.into()),
};
