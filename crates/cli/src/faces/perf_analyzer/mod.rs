//! `perf-analyzer`: Perf Analyzer's flags, console report, CSV, export and exit codes, for Triton and OpenAI servers.
//!
//! Arguments ([`args`]) become a task ([`settings`]), the server's model completes it ([`model`]), and a search ([`search`]) has one
//! run made for each level ([`session`]), whose records are then folded and judged ([`level`]).

pub mod args;
mod export;
mod level;
mod model;
mod search;
mod session;
mod settings;

pub use args::PerfAnalyzerArgs;

use crate::commands::Usage;
use crate::exit::Exit;
use crate::printer::Printer;
use settings::Task;

/// The face's command.
pub const COMMAND: &str = "perf-analyzer";

/// No stable measurement was made.
pub const UNSTABLE: Exit = Exit::Face(2);
/// An option makes no sense, or not with the others; also where windows are too short for a single answer.
pub const OPTION: Exit = Exit::Face(3);
/// Anything else went wrong.
pub const GENERIC: Exit = Exit::Face(99);

/// Measures what `args` say.
pub fn run(args: PerfAnalyzerArgs, printer: &Printer) -> Exit {
    let ended = Task::resolve(args).map_err(|error| (error, OPTION)).and_then(|task| {
        session::run(task, printer).map_err(|error| {
            let exit = if error.is::<Usage>() { OPTION } else { GENERIC };
            (error, exit)
        })
    });
    ended.unwrap_or_else(|(error, exit)| {
        printer.error(&format!("{error:#}"));
        exit
    })
}
