//! Why there is no command to run.

use crate::args::{refused, tips};
use crate::exit::Exit;
use crate::printer::Printer;
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// A text in place of a command: the help or the version that was asked for, or what is wrong with the command line.
#[derive(Debug)]
pub struct Stop {
    /// The text.
    pub text: String,
    /// How the process ends.
    pub exit: Exit,
}

impl Stop {
    /// The text of a refusal by clap, with what a flag of another tool is called here.
    pub fn explain(error: &clap::Error) -> Stop {
        let (text, exit) = match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => (None, Exit::Done),
            ErrorKind::UnknownArgument => (unknown_flag(error).and_then(|flag| elsewhere(&flag)), Exit::Usage),
            _ => (None, Exit::Usage),
        };
        Stop { text: text.unwrap_or_else(|| error.to_string()), exit }
    }

    /// A negative value after a flag that takes none, if `words` hold one that was read as a flag.
    pub fn negative_value(error: &clap::Error, words: &[String]) -> Option<Stop> {
        let (flag, value) = tips::negative_value(words).filter(|_| error.kind() == ErrorKind::UnknownArgument)?;
        let text = format!("error: {flag} {value}: a negative value is not taken here; give one of at least 0");
        Some(Stop { text, exit: Exit::Usage })
    }

    /// Prints the text, and returns how the process ends.
    pub fn show(&self, printer: &Printer) -> Exit {
        match self.exit {
            Exit::Done => printer.result(&self.text),
            _ => printer.lines(&self.text),
        }
        self.exit
    }
}

/// The flag that `error` does not know, if that is what it is about.
pub fn unknown_flag(error: &clap::Error) -> Option<String> {
    match (error.kind(), error.get(ContextKind::InvalidArg)) {
        (ErrorKind::UnknownArgument, Some(ContextValue::String(flag))) => Some(flag.clone()),
        _ => None,
    }
}

/// What is said of a flag that other tools have.
fn elsewhere(flag: &str) -> Option<String> {
    let meant = || Some(format!("error: {flag} is not known; use {} (see --help)", tips::meant(flag)?));
    refused::why(flag).map(|why| format!("error: {why}")).or_else(meant)
}
