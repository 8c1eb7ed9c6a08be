//! `completions` and `man`: both are generated from the definitions that parse the command line, so they cannot differ from it.

use crate::args::{CompletionsArgs, ManArgs};
use crate::command_line;
use crate::exit::Exit;
use crate::printer::Printer;
use anyhow::{Context, Result, anyhow};
use clap_mangen::Man;
use streamgauge_run::usage;

/// Prints the completion script for a shell.
pub fn completions(args: &CompletionsArgs, printer: &Printer) -> Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command_line::definition(), "streamgauge", &mut script);
    printer.exactly(&String::from_utf8(script)?);
    Ok(Exit::Done)
}

/// Prints a manual page, or writes all of them to a directory.
pub fn man(args: ManArgs, printer: &Printer) -> Result<Exit> {
    if let Some(directory) = args.output_dir {
        let failed = || format!("--output-dir {}: the pages cannot be written", directory.display());
        std::fs::create_dir_all(&directory).with_context(failed)?;
        clap_mangen::generate_to(command_line::definition(), &directory).with_context(failed)?;
        return Ok(Exit::Done);
    }
    let mut page = Vec::new();
    Man::new(page_of(args.command.as_deref())?).render(&mut page)?;
    printer.exactly(&String::from_utf8(page)?);
    Ok(Exit::Done)
}

/// The definition of the command `name`, under the name that its page has, or of the whole program.
fn page_of(name: Option<&str>) -> Result<clap::Command> {
    let mut program = command_line::definition();
    // This gives each command the full name and the usage line that it has below the program.
    program.build();
    let Some(name) = name else { return Ok(program) };
    let Some(command) = program.find_subcommand(name) else {
        let names: Vec<_> = program.get_subcommands().map(clap::Command::get_name).collect();
        return Err(usage(anyhow!("there is no command {name}; the commands are {}", names.join(", "))));
    };
    Ok(command.clone())
}
