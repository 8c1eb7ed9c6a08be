//! The `streamgauge` binary: arguments in, one command, an exit code out.

mod args;
mod commands;
mod printer;
mod progress;
mod recorder;
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

#[cfg(test)]
mod tests {
    #[test]
    fn exit_codes_are_an_interface() {
        use crate::commands::Exit;
        assert_eq!([Exit::Done as u8, Exit::Nothing as u8, Exit::Usage as u8, Exit::Gate as u8], [0, 1, 2, 3]);
        assert_eq!(Exit::Interrupted as u8, 130);
    }
}
