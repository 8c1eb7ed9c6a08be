//! Streamgauge's own reports: the console, series of levels, calibrations, studies, and their plots.

pub mod calibration;
pub mod console;
pub mod levels;
pub mod plot;
mod server;
pub mod study;
