//! The console's blocks, in the order in which Perf Analyzer prints them: [`settings`], then of each level its [`heading`], a
//! [`pass`] a window where it is asked for, and the [`level`] itself, and [`closing`] at the end.

use super::{Label, LevelReport, Settings};
use streamgauge_stats::Pass;

/// What is going to be done, with an empty line after it.
pub fn settings(settings: &Settings) -> String {
    let _ = settings;
    String::new()
}

/// The line that a level begins with; of times from a file there is none.
pub fn heading(label: Label) -> String {
    let _ = label;
    String::new()
}

/// The line of a level's window number `number`, from 1.
pub fn pass(number: usize, pass: &Pass, settings: &Settings) -> String {
    let _ = (number, pass, settings);
    String::new()
}

/// A level's figures, without its heading and its windows.
pub fn level(level: &LevelReport, settings: &Settings) -> String {
    let _ = (level, settings);
    String::new()
}

/// All levels in short, a line each.
pub fn closing(levels: &[LevelReport], settings: &Settings) -> String {
    let _ = (levels, settings);
    String::new()
}
