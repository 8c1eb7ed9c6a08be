//! `llm-perf`: the command line, the report and the file of `llm_perf.py`, which sends real prompts to TensorRT-LLM behind Triton.
//!
//! Arguments ([`args`]) and a file of prompts ([`prompts`]) become one run for each concurrency ([`session`]), whose requests are
//! folded by that tool's arithmetic ([`figures`]) and shown in its lines ([`report`]).

mod args;
mod figures;
mod plan;
mod prompts;
mod report;
mod session;
mod wording;

use super::{Face, typed};
use crate::args::Stop;
use crate::exit::Exit;
use crate::origins;
use crate::printer::Printer;
use args::LlmPerfArgs;
use clap::{ArgMatches, Args};
use session::Interrupted;
use streamgauge_core::Setting;
use streamgauge_core::origin::{Origin, Origins};
use streamgauge_run::{Usage, worded};
use wording::{setting, wording};

/// `llm_perf.py`.
pub const FACE: Face = Face {
    command: "llm-perf",
    links: &["llm_perf", "llm-perf"],
    about: "Send the prompts of a file to TensorRT-LLM behind Triton by the flags of llm_perf.py, with its report",
    arguments: LlmPerfArgs::augment_args,
    // The exit code of Python's argparse.
    usage: Exit::Usage,
    refuse: Stop::explain,
    run: |arguments, printer| Ok(run(&typed(arguments)?, asked(arguments), printer)),
};

/// Where the values of arguments came from, and what this face asks for in any case.
fn asked(arguments: &ArgMatches) -> Origins {
    let mut origins = origins::of(&FACE.definition(), arguments, setting);
    origins.set(Setting::NoProbe, None, Origin::Face);
    origins.set(Setting::Osl, Some(plan::OUTPUT_TOKENS.to_string()), Origin::Face);
    origins.set(Setting::FailedRequestThreshold, Some("0".to_owned()), Origin::Face);
    origins
}

/// Measures what `args` say, whose values came from where `origins` say. A failure ends the process as an exception ends a Python program, by 1.
fn run(args: &LlmPerfArgs, origins: Origins, printer: &Printer) -> Exit {
    match session::run(args, origins, printer) {
        Ok(()) => Exit::Done,
        Err(error) => {
            printer.error(&worded(&error, wording));
            if error.is::<Usage>() {
                Exit::Usage
            } else if error.is::<Interrupted>() {
                Exit::Interrupted
            } else {
                Exit::Nothing
            }
        }
    }
}
