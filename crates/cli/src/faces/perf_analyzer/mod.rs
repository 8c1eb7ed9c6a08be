//! `perf-analyzer`: Perf Analyzer's flags, console report, CSV, export and exit codes, for Triton and OpenAI servers.

pub mod args;
mod search;
mod settings;

pub use args::PerfAnalyzerArgs;

use crate::exit::Exit;
use crate::printer::Printer;
use settings::Task;

/// The face's command.
pub const COMMAND: &str = "perf-analyzer";

/// No stable measurement was made.
pub const UNSTABLE: Exit = Exit::Face(2);
/// An option makes no sense, or not with the others.
pub const OPTION: Exit = Exit::Face(3);
/// Anything else went wrong.
pub const GENERIC: Exit = Exit::Face(99);

/// Measures what `args` say.
pub fn run(args: PerfAnalyzerArgs, printer: &Printer) -> Exit {
    match Task::resolve(args) {
        Ok(task) => {
            printer.note(&format!("{:?} {:?} {:?}", task.mode, task.measure, task.settings.plan));
            GENERIC
        }
        Err(error) => {
            printer.error(&format!("{error:#}"));
            OPTION
        }
    }
}
