//! The files that GenAI-Perf writes, with every key, order, unit and number format of that tool; what is ours comes after.

pub mod csv;
pub(crate) mod input_config;
pub mod inputs;
pub mod json;
pub mod names;
mod server;
