//! The source of the count of output tokens that a figure uses.

use serde::Serialize;

/// The source of a count of output tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenSource {
    /// One token for each output event.
    Chunks,
    /// The client's tokenizer, applied to the whole text.
    Tokenizer,
    /// The server's usage.
    Usage,
}
