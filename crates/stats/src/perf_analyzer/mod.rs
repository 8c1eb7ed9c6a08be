//! What Perf Analyzer says of a level of load: its client's figures, the server's, and those of the server's GPUs.
//!
//! Its arithmetic is in whole numbers that are cut off and not rounded, and this follows it: figures that are compared with
//! those of that tool should not differ by its way of counting. Whatever is called `_us` is whole microseconds.

mod client;
mod latencies;
mod network;

pub use client::{ClientFigures, FoldPlan, LATE_SEND, LevelFold};
pub use latencies::{Latencies, PERCENTILES};
pub use network::network_us;
