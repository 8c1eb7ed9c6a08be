//! Faces: the command lines of other tools, with their reports and exit codes, over the one engine.

pub mod perf_analyzer;

use std::ffi::{OsStr, OsString};
use std::path::Path;

/// The face that a program's name stands for, as a command.
fn of_name(name: &OsStr) -> Option<&'static str> {
    let stem = Path::new(name).file_stem()?.to_str()?;
    matches!(stem, "perf_analyzer" | "perf-analyzer").then_some(perf_analyzer::COMMAND)
}

/// The words of a command line, with the face's command put in where the program was called by a tool's name.
pub fn select(mut words: Vec<OsString>) -> Vec<OsString> {
    if let Some(face) = words.first().and_then(|name| of_name(name)) {
        words.insert(1, face.into());
    }
    words
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
}
