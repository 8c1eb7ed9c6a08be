//! The engine as its callers see it: a plan and a server in, records and facts out. Servers are the simulated one where
//! it can do the thing, scripts over raw sockets where it can't.

// Helpers of tests may unwrap too; clippy knows only functions marked as tests.
#![allow(clippy::unwrap_used)]

mod acknowledgements;
mod balance;
mod bodies;
mod body_ends;
mod cancel;
mod clock_steps;
mod connections;
mod conversations;
mod endings;
mod failures;
mod growing;
mod grpc;
mod grpc_channels;
mod grpc_server;
mod handover;
mod happy_path;
mod inputs;
mod kserve;
mod limits;
mod open_loop;
mod outputs;
mod prefill;
mod questions;
mod ramps;
mod script;
mod sequences;
mod streamed;
mod tls;
mod trial;
mod truth;
mod users;
mod warmup;
mod words;
