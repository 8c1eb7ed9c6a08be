//! How connections are made, how long the client waits, and where its stamps come from.

use crate::clock::Nanos;
use crate::kserve::Channels;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How connections are made, how long the client waits, and where its stamps come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transport {
    /// How long a connection is kept.
    #[serde(default)]
    pub connections: ConnectionPolicy,
    /// How long to wait for each step of a request.
    pub timeouts: Timeouts,
    /// The number of load threads.
    pub threads: u16,
    /// Where receive stamps come from.
    pub stamps: Stamps,
    /// When the client acknowledges what it receives. A plan that does not say so was run with [`Acknowledge::Delayed`].
    #[serde(default)]
    pub acknowledge: Acknowledge,
    /// How gRPC connections are used. Only endpoints over gRPC have them.
    #[serde(skip)]
    pub channels: Channels,
}

/// How long a connection is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConnectionPolicy {
    /// A connection serves requests for as long as the server keeps it open.
    #[default]
    Reuse,
    /// A connection serves one request.
    New,
    /// A connection serves this many requests, at least 1.
    Rotate(u32),
}

impl fmt::Display for ConnectionPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConnectionPolicy::Reuse => f.write_str("reuse"),
            ConnectionPolicy::New => f.write_str("new"),
            ConnectionPolicy::Rotate(requests) => write!(f, "rotate:{requests}"),
        }
    }
}

/// How long the client waits for each step of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeouts {
    /// The resolution of the address, the connection and the TLS handshake together.
    pub connect: Nanos,
    /// From `sent` to the answer's first byte.
    pub first_byte: Nanos,
    /// The time between two pieces of an answer.
    pub idle: Nanos,
    /// The whole request, from when it was issued.
    pub total: Nanos,
}

/// Where receive stamps come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stamps {
    /// The kernel stamps what it receives, where the system offers that.
    Kernel,
    /// The stamp is the time of the read.
    User,
}

/// When the client's kernel acknowledges what it receives. A server that leaves Nagle's algorithm on sends the first event of
/// an answer only when the head of the answer has been acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Acknowledge {
    /// The kernel acknowledges data as soon as it arrives (`TCP_QUICKACK`), where the system offers that.
    AtOnce,
    /// The kernel may delay acknowledgements, as for an ordinary client: on kept connections by up to 40 ms.
    #[default]
    Delayed,
}
