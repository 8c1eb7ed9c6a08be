//! Faces: the command lines of other tools, with their reports and exit codes, over the one engine.
//!
//! A face is a folder here and a line of [`FACES`]. It turns the tool's arguments into runs and what they measured into the tool's
//! own output; it knows no other face.

mod llm_perf;
mod perf_analyzer;

use crate::args::Stop;
use crate::exit::Exit;
use crate::printer::Printer;
use clap::{ArgMatches, Args, FromArgMatches};
use std::ffi::{OsStr, OsString};
use std::path::Path;

/// The faces, in the order in which the help lists them.
pub const FACES: &[Face] = &[perf_analyzer::FACE, llm_perf::FACE];

/// The command line of another tool.
pub struct Face {
    /// Its command, as in `streamgauge perf-analyzer`.
    pub command: &'static str,
    /// The names of the tool's program, without an extension. A link of one of these names to this program selects the face.
    pub links: &'static [&'static str],
    /// What the help says about it.
    about: &'static str,
    /// Adds the tool's arguments to a command.
    arguments: fn(clap::Command) -> clap::Command,
    /// How the process ends if a value is not taken.
    pub usage: Exit,
    /// Words a refusal by clap as the tool ends on it.
    pub refuse: fn(&clap::Error) -> Stop,
    /// Does what the arguments say, and returns how the process ends.
    run: fn(&ArgMatches, &Printer) -> Result<Exit, clap::Error>,
}

impl Face {
    /// The definition of its command line.
    pub fn definition(&self) -> clap::Command {
        (self.arguments)(clap::Command::new(self.command)).about(self.about)
    }

    /// Does what `arguments` say, and returns how the process ends.
    pub fn run(&self, arguments: &ArgMatches, printer: &Printer) -> Exit {
        (self.run)(arguments, printer).unwrap_or_else(|error| (self.refuse)(&error).show(printer))
    }
}

/// The words of a command line, with the face's command put in if the program was called by the name of a tool.
pub fn select(mut words: Vec<OsString>) -> Vec<OsString> {
    if let Some(face) = words.first().and_then(|name| by_link(name)) {
        words.insert(1, face.command.into());
    }
    words
}

/// The face that a program of this name stands for.
fn by_link(name: &OsStr) -> Option<&'static Face> {
    let stem = Path::new(name).file_stem()?.to_str()?;
    FACES.iter().find(|face| face.links.contains(&stem))
}

/// The typed arguments of a face.
fn typed<A: Args + FromArgMatches>(arguments: &ArgMatches) -> Result<A, clap::Error> {
    A::from_arg_matches(arguments)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_s_name_selects_its_face() {
        let selected = |name: &str| select(vec![name.into(), "-m".into()]);
        assert_eq!(selected("/usr/bin/perf_analyzer"), ["/usr/bin/perf_analyzer", "perf-analyzer", "-m"]);
        assert_eq!(selected("streamgauge"), ["streamgauge", "-m"]);
        assert_eq!(select(Vec::new()), Vec::<OsString>::new());
    }

    #[test]
    fn no_two_faces_have_a_name_in_common() {
        let mut names: Vec<_> = FACES.iter().flat_map(|face| face.links.iter().chain([&face.command])).collect();
        names.sort_unstable();
        names.dedup();
        let of_one = |face: &Face| {
            let mut names = face.links.to_vec();
            names.push(face.command);
            names.sort_unstable();
            names.dedup();
            names.len()
        };
        assert_eq!(names.len(), FACES.iter().map(of_one).sum::<usize>());
    }
}
