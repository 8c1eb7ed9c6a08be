//! What was typed. clap's structs only; what it means is settled in [`crate::settings`].

mod calibrate;
mod levels;
mod load;
mod profile;
mod refused;
mod report;
mod shell;
mod sim;
mod study;
mod tips;
pub mod triton;
pub mod values;

pub use calibrate::{CalibrateArgs, OpenLoop};
pub use load::{Clock, LoadArgs, MeasurementMode, Pattern, Shapes};
pub use profile::{Export, ProfileArgs, Report, Selection, TokenCounting, Ui, UrlStrategy, Wanted};
pub use report::ReportArgs;
pub use shell::{CompletionsArgs, ManArgs};
pub use sim::SimArgs;
pub use study::StudyArgs;

use crate::exit::Exit;
use crate::faces;
use crate::faces::perf_analyzer::{self, PerfAnalyzerArgs};
use crate::printer::Printer;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use std::ffi::OsString;

/// The whole command line.
#[derive(Debug, Parser)]
#[command(name = "streamgauge", version, about, long_about = None, disable_help_subcommand = true)]
#[command(propagate_version = true)]
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
    /// Measure a Triton or OpenAI server by Perf Analyzer's flags, with its report and its exit codes
    PerfAnalyzer(Box<PerfAnalyzerArgs>),
    /// Find out what figures this machine measures faithfully, against a server that knows the truth
    Calibrate(CalibrateArgs),
    /// Make the report of a run again from its records; that of a killed run for the first time
    Report(ReportArgs),
    /// Study how first-token or token-to-token latency depends on the prompt's length
    Study(Box<StudyArgs>),
    /// Run a simulated inference server
    Sim(SimArgs),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
    /// Print the manual page of a command, or write the pages of all commands
    Man(ManArgs),
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
            _ => printer.lines(&self.text),
        }
        self.exit
    }
}

/// Reads the process's arguments.
pub fn parse() -> Result<Command, Stop> {
    let words = faces::select(std::env::args_os().collect());
    let is_perf_analyzer = words.get(1).is_some_and(|word| word == perf_analyzer::COMMAND);
    if let Some(position) = words.iter().position(|word| word == "--") {
        let rest: Vec<_> = words[position + 1..].iter().map(|word| word.to_string_lossy()).collect();
        let text = format!(
            "error: `-- {}`: arguments for Perf Analyzer are not taken, since Perf Analyzer is not run; give them as options of this command (see --help)",
            rest.join(" ")
        );
        return Err(Stop { text, exit: Exit::Usage });
    }
    let shown: Vec<String> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    read(words).map_err(|error| match (error.kind(), tips::negative_value(&shown)) {
        (ErrorKind::UnknownArgument, Some((flag, value))) => {
            let text = format!("error: {flag} {value}: a negative value is not taken here; give one of at least 0");
            Stop { text, exit: if is_perf_analyzer { perf_analyzer::OPTION } else { Exit::Usage } }
        }
        _ if is_perf_analyzer => of_perf_analyzer(error),
        _ => explain(error),
    })
}

/// The arguments of a `profile` that this program gives itself.
///
/// # Errors
/// As for the same words on the command line.
pub fn profile(words: impl IntoIterator<Item = String>) -> Result<Box<ProfileArgs>, clap::Error> {
    let own = ["streamgauge", "profile"].map(str::to_owned);
    match read(own.into_iter().chain(words))? {
        Command::Profile(args) => Ok(args),
        // The first word chose the command.
        _ => Err(clap::Error::new(ErrorKind::InvalidSubcommand)),
    }
}

fn read(words: impl IntoIterator<Item: Into<OsString> + Clone>) -> Result<Command, clap::Error> {
    let matches = command().try_get_matches_from(words)?;
    Cli::from_arg_matches(&matches).map(|cli| cli.command)
}

/// The definition of the whole command line. A negative number after a flag is that flag's value, so that its refusal names the flag.
pub fn command() -> clap::Command {
    Cli::command().mut_subcommands(|command| {
        command.mut_args(|argument| {
            let takes_value = argument.get_action().takes_values();
            argument.allow_negative_numbers(takes_value)
        })
    })
}

/// A refusal as Perf Analyzer ends on it: a value that is not taken is an option error, and a flag that is not known is not.
fn of_perf_analyzer(error: clap::Error) -> Stop {
    let flag = match (error.kind(), error.get(ContextKind::InvalidArg)) {
        (ErrorKind::UnknownArgument, Some(ContextValue::String(flag))) => Some(flag.clone()),
        _ => None,
    };
    if let Some(why) = flag.as_deref().and_then(perf_analyzer::args::why) {
        return Stop { text: format!("error: {why}"), exit: perf_analyzer::OPTION };
    }
    match explain(error) {
        Stop { exit: Exit::Done, text } => Stop { exit: Exit::Done, text },
        Stop { text, .. } if flag.is_some() => Stop { text, exit: perf_analyzer::GENERIC },
        Stop { text, .. } => Stop { text, exit: perf_analyzer::OPTION },
    }
}

fn explain(error: clap::Error) -> Stop {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Stop { text: error.to_string(), exit: Exit::Done },
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => Stop { text: error.to_string(), exit: Exit::Usage },
        ErrorKind::UnknownArgument => {
            let text = match error.get(ContextKind::InvalidArg) {
                Some(ContextValue::String(flag)) => {
                    let meant = || Some(format!("error: {flag} is not known; use {} (see --help)", tips::meant(flag)?));
                    refused::why(flag).map(|why| format!("error: {why}")).or_else(meant)
                }
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

    #[test]
    fn the_arguments_are_consistent() {
        command().debug_assert();
    }

    #[test]
    fn no_flag_is_both_offered_and_refused() {
        let command = command();
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
    fn a_flag_of_another_tool_is_answered_with_ours() {
        let command = command();
        let profile = command.find_subcommand("profile").unwrap();
        let explained = |flag: &str| {
            let Err(error) = read(["streamgauge", "profile", flag, "1"]) else { panic!("{flag}") };
            explain(error).text
        };
        assert!(explained("--input-len").contains("--isl"), "{}", explained("--input-len"));
        for (flag, meant) in tips::ELSEWHERE {
            let meant = meant.split(' ').next().unwrap();
            let text = explained(flag);
            assert!(text.contains(&format!("{flag} is not known")) && text.contains(meant), "{flag}: {text}");
            let known = |argument: &clap::Arg| {
                let names = argument.get_long_and_visible_aliases().unwrap_or_default();
                names.iter().any(|name| format!("--{name}") == meant)
            };
            assert!(profile.get_arguments().any(known), "{meant}");
        }
    }

    #[test]
    fn a_flag_of_the_replaced_tools_that_is_missing_is_refused_by_name() {
        for (flag, reason) in
            [("--image-width-mean", "media"), ("--num-sessions", "sessions"), ("--grpc-method", "dynamic gRPC")]
        {
            let Err(error) = read(["streamgauge", "profile", flag, "1"]) else { panic!("{flag}") };
            let text = explain(error).text;
            assert!(text.contains(flag) && text.contains(reason), "{text}");
        }
    }
}
