//! Drives load and turns bytes into records.
//!
//! [`run`] starts load threads that share nothing but a counter of tickets. Each has a current-thread runtime, and on it one
//! task a slot; a slot has one connection and one request at a time. Records leave in batches through a channel; whoever
//! receives them (counting tokens, writing files, showing progress) does so on a thread of its own.

mod attempt;
mod connect;
mod connection;
mod control;
mod descriptors;
mod driver;
mod failure;
mod job;
mod probe;
mod shard;
mod tls;

pub use connect::Route;
pub use control::Control;
pub use descriptors::{TooFewDescriptors, raise_descriptor_limit};
pub use driver::{Progress, Run, run};
pub use job::{Batch, Finished, Input, Job, JobError, Output};
pub use probe::{ProbeError, fetch, probe};
