//! The `streamgauge` binary: arguments in, one command, an exit code out.

mod advice;
mod args;
mod command_line;
mod commands;
mod console;
mod exit;
mod faces;
mod origins;
mod plan_words;
mod printer;
mod progress;
mod results;
mod series;
mod settings;
mod signals;
mod wording;

use command_line::Asked;
use exit::Exit;
use printer::Printer;
use std::process::ExitCode;

fn main() -> ExitCode {
    let printer = Printer::new();
    let exit = match command_line::parse() {
        Ok(Asked::Command(command, origins)) => commands::run(command, origins, &printer),
        Ok(Asked::Face(face, arguments)) => face.run(&arguments, &printer),
        Err(stop) => stop.show(&printer),
    };
    // A result that could not be printed is not a success, whatever was measured.
    let exit = match exit {
        Exit::Done | Exit::Gate if printer.has_lost_results() => Exit::Nothing,
        exit => exit,
    };
    ExitCode::from(exit.code())
}
