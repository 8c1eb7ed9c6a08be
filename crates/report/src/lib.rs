//! Rendering: what a summary and its records look like to people ([`native::console`]) and to programs (one module a file), on shelves by who reads them.
//!
//! Nothing here prints, waits or computes a figure: functions give text, or write to what they are given. The files
//! that GenAI-Perf and Perf Analyzer also write keep every key, order, unit and number format of theirs; what is ours
//! comes after.

pub mod artifacts;
pub mod documents;
pub mod genai;
pub mod native;
pub mod perf_analyzer;
pub mod records;
pub mod sinks;
#[cfg(test)]
mod testing;
mod text;

pub use artifacts::{ArtifactError, Artifacts};
pub use native::console::Style;
pub use perf_analyzer::export::ExportWriter;
pub use records::{ReadError, RecordReader, RecordWriter, Salvage};
