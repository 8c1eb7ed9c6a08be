//! `perf-analyzer`: Perf Analyzer's flags, console report, CSV, export and exit codes, for Triton and OpenAI servers.
//!
//! Arguments ([`args`]) become a task ([`settings`]), the server's model completes it ([`model`]), and a search ([`search`]) has one
//! run made for each level ([`session`]), whose records are then folded and judged ([`level`]).

mod args;
mod export;
mod level;
mod model;
mod search;
mod session;
mod settings;
mod wording;

use super::{Face, typed};
use crate::args::Stop;
use crate::args::stop::unknown_flag;
use crate::exit::Exit;
use crate::origins;
use crate::printer::Printer;
use anyhow::Error;
use args::PerfAnalyzerArgs;
use clap::{ArgMatches, Args};
use session::NoRequests;
use settings::Task;
use streamgauge_core::origin::{Origin, Origins};
use streamgauge_core::{Setting, Wording};
use streamgauge_load::AskError;
use streamgauge_prompt::tokenizer::EMBEDDED;
use streamgauge_run::{worded, worded_first};

/// Perf Analyzer.
pub const FACE: Face = Face {
    command: "perf-analyzer",
    links: &["perf_analyzer", "perf-analyzer"],
    about: "Measure a Triton or OpenAI server by Perf Analyzer's flags, with its report and its exit codes",
    arguments: PerfAnalyzerArgs::augment_args,
    usage: OPTION,
    refuse,
    run: |arguments, printer| Ok(run(typed(arguments)?, asked(arguments), printer)),
};

/// No stable measurement was made.
const UNSTABLE: Exit = Exit::Face(2);
/// An option has a value that is not accepted, or conflicts with another one; also if windows are too short for a single answer.
const OPTION: Exit = Exit::Face(3);
/// Anything else went wrong.
const GENERIC: Exit = Exit::Face(99);

/// A refusal as Perf Analyzer ends on it: a value that is not taken is an option error, and a flag that is not known is not.
fn refuse(error: &clap::Error) -> Stop {
    let flag = unknown_flag(error);
    if let Some(why) = flag.as_deref().and_then(args::why) {
        return Stop { text: format!("error: {why}"), exit: OPTION };
    }
    match Stop::explain(error) {
        Stop { exit: Exit::Done, text } => Stop { exit: Exit::Done, text },
        Stop { text, .. } if flag.is_some() => Stop { text, exit: GENERIC },
        Stop { text, .. } => Stop { text, exit: OPTION },
    }
}

/// Where the values of arguments came from, and what this face asks for in any case.
fn asked(arguments: &ArgMatches) -> Origins {
    let mut origins = origins::of(&FACE.definition(), arguments, wording::setting);
    origins.set(Setting::NoProbe, None, Origin::Face);
    origins.set(Setting::Tokenizer, Some(EMBEDDED.to_owned()), Origin::Face);
    origins
}

/// Measures what `args` say, whose values came from where `origins` say.
fn run(args: PerfAnalyzerArgs, origins: Origins, printer: &Printer) -> Exit {
    let wording = wording::of(&args);
    let exit = match Task::resolve(args, origins) {
        Err(error) => {
            printer.error(&worded(&error, wording));
            OPTION
        }
        Ok(task) => session::run(task, wording, printer).unwrap_or_else(|error| {
            printer.error(&as_perf_analyzer_says(&error, wording));
            if error.is::<NoRequests>() { OPTION } else { GENERIC }
        }),
    };
    if exit == Exit::Done && printer.has_lost_results() { GENERIC } else { exit }
}

/// An error in words. Of what a server refused these are its own alone: what was asked, and its message without a status.
fn as_perf_analyzer_says(error: &Error, wording: Wording) -> String {
    let refused = error.chain().find_map(|cause| match cause.downcast_ref() {
        Some(AskError::Refused { message, .. }) => Some(message),
        _ => None,
    });
    match refused {
        Some(message) => format!("{}: {message}", worded_first(error, wording)),
        None => worded(error, wording),
    }
}
