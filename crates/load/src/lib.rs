//! Drives load and turns bytes into records.
//!
//! [`run`] starts load threads. Each has a current-thread runtime, and on it one task a slot; a slot has one connection to each
//! server and one request at a time, and asks for a ticket when it has none. In a closed loop tickets come from a counter that the
//! threads share; in an open loop each thread has its own part of the schedule, and a ticket comes when it is due; a user with
//! a rhythm is a slot with dues of its own. Over gRPC a slot has a stream, and slots of a thread may share a channel. The phases of a
//! run each have a load, and follow each other on the same slots. Records leave in batches through a channel; whoever receives them
//! (counting tokens, writing files, showing progress) does so on a thread of its own.

mod acknowledgements;
mod addresses;
mod attempt;
mod balance;
mod connect;
mod connection;
mod control;
mod descriptors;
mod diagnosis;
mod drains;
mod driver;
mod ended;
mod failure;
mod forecast;
mod growth;
mod job;
mod kserve;
mod lobby;
mod notes;
mod pacer;
mod part;
mod places;
mod ports;
mod probe;
mod said;
mod sequences;
mod shard;
mod tasks;
mod tls;
mod users;
mod waits;
mod watchdog;

pub use acknowledgements::delayed_acks;
pub use connect::{NoRoute, Routes};
pub use control::Control;
pub use diagnosis::{Spoken, spoken};
pub use driver::{Progress, Run, run};
pub use forecast::{Limits, Refusal, forecast};
pub use job::{Batch, Finished, Input, Job, JobError, Output, Piece};
pub use kserve::{AskError, Client};
pub use probe::{Fetched, ProbeError, Probed, Waiting, fetch, probe};
