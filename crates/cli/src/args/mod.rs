//! What was typed. clap's structs only; what it means is settled in [`crate::settings`].

mod profile;
mod refused;
mod sim;

pub use profile::{Clock, Export, ProfileArgs, Report, Selection, TokenCounting, Ui, Wanted};
pub use sim::{SimArgs, SimPlan};

use crate::commands::Exit;
use crate::printer::Printer;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Parser, Subcommand};

/// The whole command line.
#[derive(Debug, Parser)]
#[command(name = "streamgauge", version, about, long_about = None, disable_help_subcommand = true)]
#[command(about = "Measures LLM inference endpoints, and says how far each figure can be trusted")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// A command and its arguments.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Send load to an endpoint and report latency, throughput and fidelity
    Profile(Box<ProfileArgs>),
    /// Run a simulated inference server
    Sim(SimArgs),
}

/// Why there is no command to run: help or the version was asked for, or something made no sense.
pub struct Stop {
    text: String,
    exit: Exit,
}

impl Stop {
    /// Says it, and how the process ends.
    pub fn show(&self, printer: &Printer) -> Exit {
        match self.exit {
            Exit::Done => printer.result(&self.text),
            _ => printer.note(&self.text),
        }
        self.exit
    }
}

/// Reads the process's arguments.
pub fn parse() -> Result<Command, Stop> {
    let words: Vec<_> = std::env::args_os().collect();
    if let Some(position) = words.iter().position(|word| word == "--") {
        let rest: Vec<_> = words[position + 1..].iter().map(|word| word.to_string_lossy()).collect();
        let text = format!(
            "error: `-- {}`: arguments for Perf Analyzer are not taken, since Perf Analyzer is not run; give them as options of this command (see --help)",
            rest.join(" ")
        );
        return Err(Stop { text, exit: Exit::Usage });
    }
    Cli::try_parse_from(words).map(|cli| cli.command).map_err(explain)
}

fn explain(error: clap::Error) -> Stop {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Stop { text: error.to_string(), exit: Exit::Done },
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => Stop { text: error.to_string(), exit: Exit::Usage },
        ErrorKind::UnknownArgument => {
            let text = match error.get(ContextKind::InvalidArg) {
                Some(ContextValue::String(flag)) => refused::why(flag).map(|why| format!("error: {why}")),
                _ => None,
            };
            Stop { text: text.unwrap_or_else(|| error.to_string()), exit: Exit::Usage }
        }
        _ => Stop { text: error.to_string(), exit: Exit::Usage },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn no_flag_is_both_offered_and_refused() {
        let command = Cli::command();
        let profile = command.find_subcommand("profile").unwrap();
        for argument in profile.get_arguments() {
            let names = argument.get_long_and_visible_aliases().unwrap_or_default();
            let hidden = argument.get_all_aliases().unwrap_or_default();
            for name in names.into_iter().chain(hidden) {
                assert_eq!(refused::why(&format!("--{name}")), None, "--{name}");
            }
        }
    }

    #[test]
    fn a_flag_of_the_replaced_tools_that_is_missing_is_refused_by_name() {
        for (flag, reason) in [("--image-width-mean", "media"), ("--num-sessions", "sessions"), ("--backend", "Triton")] {
            let Err(error) = Cli::try_parse_from(["streamgauge", "profile", flag, "1"]) else { panic!("{flag}") };
            let text = explain(error).text;
            assert!(text.contains(flag) && text.contains(reason), "{text}");
        }
    }
}
