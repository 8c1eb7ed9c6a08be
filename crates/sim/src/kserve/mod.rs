//! KServe v2 as Triton speaks it: models with signatures, statistics and shared memory behind gRPC and HTTP, over the same
//! engine as the OpenAI front.
//!
//! `repository` has the models and says which requests fit them, `models` and `generation` answer, `session` takes a request
//! through the engine at its times, and `config`, `statistics` and `memory` are what the server says of itself. `grpc` and `json`
//! spell all that in the two protocols; `calls` and `pages` take it to and from the wire.

mod calls;
mod config;
mod generation;
mod grpc;
mod json;
mod memory;
mod models;
mod pages;
mod problem;
mod repository;
mod session;
mod state;
mod statistics;

pub(crate) use calls::{Call, serve_call};
pub(crate) use pages::{InferPath, Target};
pub(crate) use state::Kserve;
