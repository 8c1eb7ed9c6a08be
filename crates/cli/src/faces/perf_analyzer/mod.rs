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

use crate::exit::Exit;
use crate::printer::Printer;
use anyhow::{Error, anyhow};
use session::NoRequests;
use settings::Task;
use streamgauge_load::AskError;

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
            let exit = if error.is::<NoRequests>() { OPTION } else { GENERIC };
            (as_perf_analyzer_says(error), exit)
        })
    });
    let exit = ended.unwrap_or_else(|(error, exit)| {
        printer.error(&format!("{error:#}"));
        exit
    });
    if exit == Exit::Done && printer.has_lost_results() { GENERIC } else { exit }
}

/// What a server refused in its own words alone: what was asked, and its message without a status.
fn as_perf_analyzer_says(error: Error) -> Error {
    match error.downcast_ref::<AskError>() {
        Some(AskError::Refused { message, .. }) => anyhow!("{error}: {message}"),
        _ => error,
    }
}
