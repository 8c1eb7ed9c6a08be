//! The kinds of errors that a caller tells apart. All others mean that nothing could be measured.

use anyhow::Error;

/// What was asked for cannot be done as it was asked, such as a tokenizer that does not exist.
#[derive(Debug, thiserror::Error)]
#[error("{0:#}")]
pub struct Usage(pub Error);

/// The user ended the run before there was anything to report.
#[derive(Debug, thiserror::Error)]
#[error("interrupted while the test request was waited for: nothing was measured")]
pub struct Interrupted;

/// Marks `error` as a mistake in what was asked for.
pub fn usage(error: impl Into<Error>) -> Error {
    Usage(error.into()).into()
}
