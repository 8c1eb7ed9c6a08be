//! Whose count of output tokens a figure uses.

use serde::Serialize;

/// Whose count of output tokens it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenSource {
    /// One for each output event.
    Chunks,
    /// Our tokenizer's, on the whole text.
    Tokenizer,
    /// The server's.
    Usage,
}
