//! Stands in for the reader of Parquet in a build without it.

use super::{Format, SourceError};

/// The format, which is refused by its name.
pub const FORMAT: Format = Format {
    name: "parquet",
    aliases: &[],
    has_times: true,
    takes_directories: false,
    recognises: |sample| sample.head.starts_with(b"PAR1"),
    open: |_, _| Err(SourceError::File("this binary was built without Parquet; give CSV or JSONL instead".to_owned())),
};
