//! Inference over KServe v2: tensors out, tensors in, over gRPC and over HTTP.

pub(crate) mod document;
mod fields;
pub(crate) mod message;
pub(crate) mod outputs;
pub(crate) mod request;
