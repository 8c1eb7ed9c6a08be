//! The files that are written while a run goes on.
//!
//! Each kind is one module with a value of [`SinkKind`], and one line of [`SINKS`]. Everything else follows from that value: whether the
//! file is opened, its temporary name, what an older run may have left under its name, and whether `report` makes it again from records.

mod inputs;
mod parquet;
mod perf_analyzer;
mod records;

use serde_json::Value;
use std::io::{self, Write};
use streamgauge_core::plan::{ExportLevel, Output, RunPlan};
use streamgauge_core::record::RunFacts;
use streamgauge_core::{Received, Record};

/// Every kind of file that is written while a run goes on. They get their final names in this order: those that others are made from come
/// first.
pub static SINKS: [&SinkKind; 4] = [&records::SINK, &perf_analyzer::SINK, &parquet::SINK, &inputs::SINK];

/// The writer of one file that grows during a run.
pub trait RecordSink {
    /// Adds the next input of the run: the body or the tensors of a prompt, as `inputs.json` shows them. Records refer to inputs by their
    /// order. Inputs that are all prepared before load come before the first record.
    ///
    /// # Errors
    /// When the file cannot be written.
    fn input(&mut self, _input: &Value) -> io::Result<()> {
        Ok(())
    }

    /// No input follows.
    ///
    /// # Errors
    /// When the file cannot be written.
    fn end_of_inputs(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Adds one request, whatever its phase and outcome. `received` is empty where the record is read from a file. `input` is what
    /// [`request_inputs`](crate::perf_analyzer::export::request_inputs) makes of its input, if inputs are prepared while the run goes on.
    ///
    /// # Errors
    /// When the file cannot be written.
    fn record(&mut self, record: &Record, received: &Received, input: Option<&str>) -> io::Result<()>;

    /// Passes everything that is readable on its own to the operating system, so that it outlives this process.
    ///
    /// # Errors
    /// When the file cannot be written.
    fn flush(&mut self) -> io::Result<()>;

    /// Completes the file with what belongs to no single request, and returns how many bytes of answers its format could not hold.
    ///
    /// # Errors
    /// When the file cannot be written.
    fn finish(self: Box<Self>, facts: &RunFacts) -> io::Result<u64>;
}

/// The output of a sink.
pub type Out<'a> = &'a mut (dyn Write + Send);

/// A sink that has written the beginning of its file.
pub type OpenSink<'a> = Box<dyn RecordSink + Send + 'a>;

/// The facts of a run that are known before its first record.
#[derive(Clone, Copy, Debug)]
pub struct Start<'a> {
    /// The plan, with every default resolved.
    pub plan: &'a RunPlan,
    /// The wall-clock time of the run clock's zero, in nanoseconds since 1970.
    pub anchor_wall: i64,
}

/// A kind of file that is written while a run goes on.
#[derive(Debug)]
pub struct SinkKind {
    /// The format by which a plan asks for the file, for a file with an entry for each request; `None` for a file that every run writes.
    pub format: Option<Format>,
    /// The name of the file.
    pub file_name: fn(&Output) -> &str,
    /// The source from which the file can be rebuilt.
    pub source: Source,
    /// Begins the file.
    pub open: for<'a> fn(Out<'a>, &Start<'_>) -> io::Result<OpenSink<'a>>,
}

/// The format of a file with an entry for each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// The name by which a plan asks for it.
    pub name: &'static str,
    /// The cargo feature that writes it, where this program was built without that.
    pub missing_feature: Option<&'static str>,
}

/// All formats of files with an entry for each request.
pub fn formats() -> impl Iterator<Item = Format> {
    SINKS.into_iter().filter_map(|kind| kind.format)
}

/// The source from which a file can be rebuilt after its run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nothing: other files are made from this one.
    Itself,
    /// The records of the run.
    Records,
    /// The records of the run, and its inputs.
    RecordsAndInputs,
}

impl SinkKind {
    /// Whether a run with such output writes the file.
    pub fn is_wanted(&self, output: &Output) -> bool {
        self.format.is_none_or(|format| {
            let is_asked_for = output.record_formats.iter().any(|name| name == format.name);
            is_asked_for && format.missing_feature.is_none() && output.export != ExportLevel::Summary
        })
    }

    /// Whether the file of a run with such output can be made again, where the run's inputs are known or not.
    pub fn can_be_remade(&self, output: &Output, has_inputs: bool) -> bool {
        let has_source = match self.source {
            Source::Itself => false,
            Source::Records => true,
            Source::RecordsAndInputs => has_inputs,
        };
        self.is_wanted(output) && has_source
    }
}
