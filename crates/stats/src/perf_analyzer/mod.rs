//! Perf Analyzer's figures of a level of load: those of the client, the server and the server's GPUs.
//!
//! That tool computes with integers and truncates instead of rounding. This module does the same, so that figures
//! can be compared with that tool's. Names that end in `_us` are whole microseconds.

mod client;
mod latencies;
mod network;

pub use client::{ClientFigures, FoldPlan, LATE_SEND, LevelFold};
pub use latencies::{Latencies, PERCENTILES};
pub use network::network_us;
