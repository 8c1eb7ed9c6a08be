//! Inference over KServe v2: tensors out, tensors in, over gRPC and over HTTP.

pub(crate) mod answer;
pub(crate) mod document;
mod fields;
pub(crate) mod message;
pub(crate) mod request;
pub(crate) mod responses;
