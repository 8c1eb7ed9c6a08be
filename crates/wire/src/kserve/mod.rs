//! KServe v2 as Triton speaks it: inference over gRPC and HTTP, Triton's generate extension, and questions to a server about
//! itself and its models.

mod elements;
pub mod framing;
pub(crate) mod generate;
pub(crate) mod infer;
/// The messages of `proto/kserve_v2.proto`. They are generated. A test fails if they differ from that file, and shows what they should be.
#[allow(missing_docs, clippy::all)]
#[rustfmt::skip]
pub mod proto;
mod questions;

pub use questions::{Call, KserveError, Protocol, model_info, model_info_of_metadata, ready, server_info, statistics};
