//! Rendering: what a summary and its records look like to people ([`console`]) and to programs (one module a file).
//!
//! Nothing here prints, waits or computes a figure: functions give text, or write to what they are given. The files
//! that GenAI-Perf and Perf Analyzer also write keep every key, order, unit and number format of theirs; what is ours
//! comes after.

pub mod artifacts;
pub mod calibration;
mod compact;
pub mod console;
pub mod export;
pub mod genai_csv;
pub mod genai_json;
mod indented;
mod input_config;
pub mod inputs_json;
pub mod levels;
mod numbers;
pub mod perf_analyzer;
pub mod plot;
pub mod records;
mod salvage;
mod server;
pub mod study;
mod table;
#[cfg(test)]
mod testing;

pub use artifacts::{ArtifactError, Artifacts};
pub use console::Style;
pub use export::ExportWriter;
pub use records::{ReadError, RecordReader, RecordWriter};
pub use salvage::Salvage;
