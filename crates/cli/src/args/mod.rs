//! The arguments of the program's own commands, as typed. [`crate::settings`] interprets them; the command lines of
//! other tools are in [`crate::faces`].

pub mod agents;
mod calibrate;
pub mod choice;
pub mod levels;
mod load;
mod profile;
pub mod refused;
pub mod repeats;
mod report;
mod sessions;
mod shell;
mod sim;
pub mod stop;
mod study;
mod synthetic;
pub mod tips;
pub mod triton;
pub mod values;

pub use calibrate::{CalibrateArgs, OpenLoop};
pub use load::{LoadArgs, MeasurementMode, Pattern};
pub use profile::{ProfileArgs, Ui};
pub use report::ReportArgs;
pub use shell::{CompletionsArgs, ManArgs};
pub use sim::SimArgs;
pub use stop::Stop;
pub use study::StudyArgs;
pub use synthetic::{RangeRatio, SyntheticArgs};

use clap::error::ErrorKind;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};

/// The command line without the faces.
#[derive(Debug, Parser)]
#[command(name = "streamgauge", version, about, long_about = None, disable_help_subcommand = true)]
#[command(propagate_version = true)]
#[command(about = "Measure LLM inference endpoints, and state how far each figure can be trusted")]
struct Native {
    #[command(subcommand)]
    command: Command,
}

/// A command and its arguments.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Send load to an endpoint and report latency, throughput and fidelity
    Profile(Box<ProfileArgs>),
    /// Find out what this machine can measure accurately, against a simulated server that logs what it really did
    Calibrate(CalibrateArgs),
    /// Rebuild a run's report from its records (also for a run that was killed)
    Report(ReportArgs),
    /// Measure how the time to first token or the inter token latency depends on the prompt's length
    Study(Box<StudyArgs>),
    /// Run a simulated inference server
    Sim(SimArgs),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
    /// Print the manual page of a command, or write the pages of all commands
    Man(ManArgs),
}

/// The definition of the program with its own commands.
pub fn definition() -> clap::Command {
    Native::command()
}

/// The command that was parsed by [`definition`].
///
/// # Errors
/// When `matches` hold another command.
pub fn command(matches: &ArgMatches) -> Result<Command, clap::Error> {
    Native::from_arg_matches(matches).map(|native| native.command)
}

/// The arguments of a `profile` without any flag, from which other commands and faces build theirs.
///
/// # Errors
/// When an environment variable that sets a flag has an invalid value.
pub fn profile_defaults() -> Result<ProfileArgs, clap::Error> {
    let matches = definition().try_get_matches_from(["streamgauge", "profile"])?;
    match command(&matches)? {
        Command::Profile(args) => Ok(*args),
        // The first word chose the command.
        _ => Err(clap::Error::new(ErrorKind::InvalidSubcommand)),
    }
}

/// `program`, with a negative number after a flag taken as that flag's value, so that its refusal names the flag.
pub fn with_negative_numbers(program: clap::Command) -> clap::Command {
    program.mut_subcommands(|command| {
        command.mut_args(|argument| {
            let takes_value = argument.get_action().takes_values();
            argument.allow_negative_numbers(takes_value)
        })
    })
}
