//! Streamgauge's own reports: the console report, the tables of a series, calibrations, studies, and their plots.

pub mod calibration;
pub mod console;
pub mod levels;
pub mod plot;
mod server;
pub mod study;
