//! The whole command line: the program's own commands and the faces, and what was asked for by it.

use crate::args::{self, Stop};
use crate::exit::Exit;
use crate::faces::{self, FACES, Face};
use crate::origins;
use clap::ArgMatches;
use std::ffi::OsString;
use streamgauge_core::origin::Origins;

/// What the process was asked to do.
pub enum Asked {
    /// A command of the program itself, and where the values of its arguments came from.
    Command(args::Command, Origins),
    /// A face, with its arguments.
    Face(&'static Face, ArgMatches),
}

/// Reads the process's arguments.
///
/// # Errors
/// When help or the version was asked for, or the arguments make no sense.
pub fn parse() -> Result<Asked, Stop> {
    let words = faces::select(std::env::args_os().collect());
    if let Some(position) = words.iter().position(|word| word == "--") {
        let rest: Vec<_> = words[position + 1..].iter().map(|word| word.to_string_lossy()).collect();
        let text = format!(
            "error: `-- {}`: arguments for Perf Analyzer are not taken, since Perf Analyzer is not run; give them as options of this command (see --help)",
            rest.join(" ")
        );
        return Err(Stop { text, exit: Exit::Usage });
    }
    let face = words.get(1).and_then(|word| face(word.to_str()?));
    let shown: Vec<String> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    read(words).map_err(|error| match (Stop::negative_value(&error, &shown), face) {
        (Some(stop), Some(face)) => Stop { exit: face.usage, ..stop },
        (Some(stop), None) => stop,
        (None, Some(face)) => (face.refuse)(&error),
        (None, None) => Stop::explain(&error),
    })
}

/// The definition of the whole command line.
pub fn definition() -> clap::Command {
    // `profile` stands first in the help, then the faces, then the other commands.
    let behind_faces = |(position, command): (usize, &clap::Command)| {
        let order = if position == 0 { 0 } else { position + FACES.len() };
        (command.get_name().to_owned(), order)
    };
    let own = args::definition();
    let orders: Vec<(String, usize)> = own.get_subcommands().enumerate().map(behind_faces).collect();
    let own = orders
        .into_iter()
        .fold(own, |program, (name, order)| program.mut_subcommand(name, |command| command.display_order(order)));
    let faces = FACES.iter().zip(1..).map(|(face, order)| face.definition().display_order(order));
    args::with_negative_numbers(own.subcommands(faces))
}

fn face(command: &str) -> Option<&'static Face> {
    FACES.iter().find(|face| face.command == command)
}

fn read(words: Vec<OsString>) -> Result<Asked, clap::Error> {
    let definition = definition();
    let matches = definition.clone().try_get_matches_from(words)?;
    if let Some((name, arguments)) = matches.subcommand()
        && let Some(face) = face(name)
    {
        return Ok(Asked::Face(face, arguments.clone()));
    }
    let origins = matches
        .subcommand()
        .and_then(|(name, arguments)| Some(origins::of(definition.find_subcommand(name)?, arguments, origins::native)));
    args::command(&matches).map(|command| Asked::Command(command, origins.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{refused, tips};

    #[test]
    fn the_arguments_are_consistent() {
        definition().debug_assert();
    }

    #[test]
    fn no_flag_is_both_offered_and_refused() {
        let command = definition();
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
        let command = definition();
        let profile = command.find_subcommand("profile").unwrap();
        let explained = |flag: &str| {
            let Err(error) = read(["streamgauge", "profile", flag, "1"].map(OsString::from).to_vec()) else {
                panic!("{flag}")
            };
            Stop::explain(&error).text
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
            [("--image-width-mean", "media"), ("--sweep-list", "sweeps"), ("--grpc-method", "dynamic gRPC")]
        {
            let Err(error) = read(["streamgauge", "profile", flag, "1"].map(OsString::from).to_vec()) else {
                panic!("{flag}")
            };
            let text = Stop::explain(&error).text;
            assert!(text.contains(flag) && text.contains(reason), "{text}");
        }
    }
}
