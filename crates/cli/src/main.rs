//! The `streamgauge` binary: arguments in, one command, an exit code out.

mod advice;
mod args;
mod books;
mod calibrated;
mod commands;
mod exit;
mod faces;
mod observer;
mod plan_words;
mod preparation;
mod printer;
mod progress;
mod recorder;
mod refold;
mod results;
mod rules;
mod run;
mod schedules;
mod series;
mod settings;
mod shared_memory;
mod signals;
mod triton;

use printer::Printer;
use std::process::ExitCode;

fn main() -> ExitCode {
    let printer = Printer::new();
    let exit = match args::parse() {
        Ok(command) => commands::run(command, &printer),
        Err(stop) => stop.show(&printer),
    };
    ExitCode::from(exit.code())
}
