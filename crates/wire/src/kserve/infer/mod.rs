//! Inference over KServe v2: requests and answers with tensors, over gRPC and over HTTP.

pub(crate) mod document;
mod fields;
pub(crate) mod message;
pub(crate) mod outputs;
pub(crate) mod request;
