//! The engine around the load: it prepares a run, executes it, observes the server beside it and stores what was measured.
//!
//! A front end, such as the command line, says what to measure ([`RunSpec`]) and passes a [`Listener`], which hears what happens
//! meanwhile. Nothing here knows a command-line flag's syntax, prints, or ends the process.

mod error;
mod execute;
mod listener;
mod observe;
mod prepare;
mod spec;
#[cfg(test)]
mod testing;

pub use error::{Interrupted, Usage, usage};
pub use execute::books::{Books, Recorded};
pub use execute::{Measured, measure, refold, write_summaries};
pub use listener::Listener;
pub use prepare::shared::{GivenInputs, Preparation};
pub use prepare::shared_memory::Regions;
pub use prepare::triton::{LIMIT, TENSORRT_LLM_OUTPUT, Triton};
pub use prepare::{hints, prepare};
pub use spec::{Level, Metrics, Observe, RunSpec, TracePart};
