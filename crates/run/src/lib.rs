//! The engine around the load: it prepares a run, executes it, observes the server during the load and stores the results.
//!
//! A front end, such as the command line, says what to measure ([`RunSpec`]) and passes a [`Listener`], which is informed of events.
//! Nothing here knows the syntax of a command-line flag, prints, or ends the process.

pub mod calibrated;
pub mod campaign;
mod error;
mod execute;
mod listener;
mod observe;
mod prepare;
mod reopen;
mod spec;
mod stored;
#[cfg(test)]
mod testing;

pub use campaign::{Levels, Runner, Stage, Strategy, drive};
pub use error::{Interrupted, Usage, usage, worded, worded_first};
pub use listener::Listener;
pub use prepare::earlier;
pub use prepare::hints;
pub use prepare::shared::{GivenInputs, Preparation};
pub use prepare::shared_memory::Regions;
pub use prepare::triton::{LIMIT, TENSORRT_LLM_OUTPUT, Triton};
pub use reopen::reopen;
pub use spec::{Level, Metrics, Observe, Position, RunSpec, Subdirectory, TracePart};
pub use stored::{Files, PromptsSent, StoredRun};
