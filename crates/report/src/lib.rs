//! Renders the results of runs, for people ([`native`]) and for programs. There is one folder per reader: [`genai`] and [`perf_analyzer`] hold
//! the files and tables of those tools. [`sinks`] lists the files that are written during a run; [`documents`] lists the files
//! that are made from its results at the end.
//!
//! Nothing here prints, waits or computes a figure: functions return text or write to the given output. The files
//! that GenAI-Perf and Perf Analyzer also write keep those tools' keys, order, units and number formats; Streamgauge's own members
//! follow at the end.

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
