//! Bounds on what a server may send.

/// The length of the longest answer that is not a stream, and of the longest message of a gRPC answer, in bytes.
pub const MAX_BODY: usize = 64 << 20;
