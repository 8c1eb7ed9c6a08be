//! The files that GenAI-Perf writes, with that tool's keys, order, units and number formats, followed by Streamgauge's own members.

pub mod csv;
pub(crate) mod input_config;
pub mod inputs;
pub mod json;
pub mod names;
mod server;
