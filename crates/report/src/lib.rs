//! Renders the results of runs, for people ([`native`]) and for programs. The folders are by reader: [`genai`] and [`perf_analyzer`] hold the files
//! and tables of those tools. Files that are written while a run goes on are the list in [`sinks`]; files that are made of its results at the end
//! are the list in [`documents`].
//!
//! Nothing here prints, waits or computes a figure: functions return text, or write to what they are given. The files
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
