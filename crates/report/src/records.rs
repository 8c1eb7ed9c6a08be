//! `records.jsonl`: all that a run left behind, one line a request, and the source of everything else that is written.
//!
//! The first line says what wrote it, under which schema, and what the plan was; the last holds what belongs to no
//! single request. In between each line is a record. Times are nanoseconds on the run's clock; the stamps of the output
//! events are counted from `sent_ns`, which keeps them short, and stand in parallel arrays:
//!
//! | member | meaning |
//! | --- | --- |
//! | `at_ns` | receive stamps of the output events, from `sent_ns` (from `issued_ns` when it was never sent) |
//! | `lag_ns` | how much later than the kernel each was read; absent without kernel stamps |
//! | `shared` | indices of those that came in the same read as the one before; absent when there are none |
//! | `kinds` | one letter each: `t` text, `r` reasoning, `c` tool call; absent when all are text |
//!
//! A member that would hold nothing is absent. A killed process leaves at most its last line torn, and the reader
//! gives everything before it.

mod reader;
mod salvage;
pub(crate) mod writer;

pub use reader::{Header, ReadError, RecordReader};
pub use salvage::Salvage;
use streamgauge_core::Nanos;
pub use writer::RecordWriter;

/// The name of the file.
pub const RECORDS: &str = "records.jsonl";

/// The time from which the stamps of output events are counted.
fn origin(sent: Option<Nanos>, issued: Nanos) -> i64 {
    sent.unwrap_or(issued).0
}

#[cfg(test)]
mod tests;
