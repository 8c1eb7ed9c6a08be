//! The commands. Each takes its arguments and a printer, and returns how the process ends.

mod calibrate;
mod grid;
mod profile;
mod report;
mod shell;
mod sim;
mod study;

use crate::args::Command;
use crate::exit::Exit;
use crate::printer::Printer;
use crate::settings::Settings;
use crate::wording::native;
use anyhow::Error;
use streamgauge_core::origin::Origins;
use streamgauge_run::{Interrupted, Usage, worded};

/// Runs `command`, whose arguments came from where `origins` say.
pub fn run(command: Command, origins: Origins, printer: &Printer) -> Exit {
    match command {
        Command::Profile(args) => match Settings::resolve(*args, origins, &|name| std::env::var(name).ok()) {
            Ok(settings) => settle(profile::run(settings, printer), printer),
            Err(error) => refuse(&error, printer),
        },
        Command::Calibrate(args) => settle(calibrate::run(args, printer), printer),
        Command::Report(args) => settle(report::run(args, printer), printer),
        Command::Study(args) => settle(study::run(*args, &origins, printer), printer),
        Command::Sim(args) => settle(sim::run(args, printer), printer),
        Command::Completions(args) => settle(shell::completions(&args, printer), printer),
        Command::Man(args) => settle(shell::man(args, printer), printer),
    }
}

fn settle(ended: Result<Exit, Error>, printer: &Printer) -> Exit {
    match ended {
        Ok(exit) => exit,
        Err(error) if error.is::<Usage>() => refuse(&error, printer),
        Err(error) if error.is::<Interrupted>() => {
            printer.note(&error.to_string());
            Exit::Interrupted
        }
        Err(error) => {
            printer.error(&worded(&error, native));
            Exit::Nothing
        }
    }
}

fn refuse(error: &Error, printer: &Printer) -> Exit {
    printer.error(&worded(error, native));
    Exit::Usage
}
