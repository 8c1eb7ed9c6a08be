//! Drives load and turns bytes into records.
//!
//! [`run`] starts load threads. Each has a current-thread runtime, and on it one task a slot; a slot has one connection to each
//! server and one request at a time, and asks for a ticket when it has none. In a closed loop tickets come from a counter that the
//! threads share; in an open loop each thread has its own part of the schedule, and a ticket comes when it is due; a user with
//! a rhythm is a slot with dues of its own. Over gRPC a slot has a stream, and slots of a thread may share a channel. The phases of a
//! run each have a load, and follow each other on the same slots. Records leave in batches through a channel; whoever receives them
//! (counting tokens, writing files, showing progress) does so on a thread of its own.

mod balance;
mod connection;
mod control;
mod dialogue;
mod driver;
mod failure;
mod job;
mod pacing;
mod phase;
mod preflight;
mod prepared;
mod questions;
mod request;
mod routes;
mod slot;
mod supply;
mod tasks;
mod thread;

pub use control::Control;
pub use driver::{Progress, Run, run};
pub use job::{Batch, Finished, Job, JobError};
pub use preflight::{Limits, Refusal, forecast};
pub use prepared::{DialogueTurn, Input};
pub use questions::{
    AskError, Client, Fetched, ProbeError, Probed, Spoken, Waiting, delayed_acks, fetch, post, probe, spoken,
};
pub use request::HeaderError;
pub use routes::{NoRoute, Routes, TlsError};
pub use supply::Feeder;
