//! The `streamgauge` binary: arguments in, one command, an exit code out.

mod args;
mod books;
mod commands;
mod exit;
mod printer;
mod progress;
mod recorder;
mod results;
mod schedules;
mod settings;
mod signals;

use printer::Printer;
use std::process::ExitCode;

fn main() -> ExitCode {
    let printer = Printer::new();
    let exit = match args::parse() {
        Ok(command) => commands::run(command, &printer),
        Err(stop) => stop.show(&printer),
    };
    ExitCode::from(exit as u8)
}
