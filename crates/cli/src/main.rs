//! The `streamgauge` binary: arguments in, one command, an exit code out.

mod advice;
mod args;
mod calibrated;
mod commands;
mod console;
mod exit;
mod faces;
mod plan_words;
mod printer;
mod progress;
mod results;
mod series;
mod settings;
mod signals;

use exit::Exit;
use printer::Printer;
use std::process::ExitCode;

fn main() -> ExitCode {
    let printer = Printer::new();
    let exit = match args::parse() {
        Ok(command) => commands::run(command, &printer),
        Err(stop) => stop.show(&printer),
    };
    // A table that nobody got is not a success, whatever was measured.
    let exit = match exit {
        Exit::Done | Exit::Gate if printer.has_lost_results() => Exit::Nothing,
        exit => exit,
    };
    ExitCode::from(exit.code())
}
