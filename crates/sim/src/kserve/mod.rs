//! KServe v2 as Triton speaks it, over gRPC and over HTTP, in front of the models of [`crate::triton`] and the engine.
//!
//! `session` takes a request through the engine at its times and `generation` makes its text. `grpc` and `json` spell requests and answers
//! in the two protocols; `calls` and `pages` take them to and from the wire.

mod calls;
mod generation;
mod grpc;
mod json;
mod pages;
mod session;

pub(crate) use calls::{Call, serve_call};
pub(crate) use pages::{InferPath, Target};

/// What the log calls the answers of models. Their own identifiers are those of the requests.
pub(crate) const ID_PREFIX: &str = "infer";
