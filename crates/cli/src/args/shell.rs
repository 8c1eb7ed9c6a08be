//! Arguments of `completions` and `man`, which describe this program to a shell and to `man`.

use clap::Args;
use std::path::PathBuf;

/// Arguments of `completions`.
#[derive(Args, Debug)]
pub struct CompletionsArgs {
    /// The shell that will read the script
    pub shell: clap_complete::Shell,
}

/// Arguments of `man`.
#[derive(Args, Debug)]
pub struct ManArgs {
    /// The command whose page is printed [default: the page of streamgauge itself]
    #[arg(value_name = "COMMAND", conflicts_with = "output_dir")]
    pub command: Option<String>,
    /// Write the pages of all commands to this directory instead
    #[arg(long, value_name = "DIR")]
    pub output_dir: Option<PathBuf>,
}
