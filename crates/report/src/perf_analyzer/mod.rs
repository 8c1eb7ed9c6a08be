//! What Perf Analyzer prints and writes of levels of load, line by line as that tool does: the console's blocks
//! ([`console`]) and the file of levels ([`csv`]); and its file of requests and replies ([`export`]).

pub mod console;
pub mod csv;
pub mod export;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use streamgauge_core::stop::Window;
use streamgauge_stats::Pass;
use streamgauge_stats::perf_analyzer::ClientFigures;
use streamgauge_stats::server::{GpuFigures, ServerFigures};

/// What all levels have in common, and how they are shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The number of inferences in a request. Absent where the service has no batches and none was asked for.
    pub batch: Option<u32>,
    /// The service that is measured.
    pub service: Service,
    /// How requests go over the wire.
    pub protocol: Protocol,
    /// Warm-up requests of a level.
    pub warmup: u64,
    /// How a level is measured.
    pub mode: Mode,
    /// The percentile that levels are judged by; none takes the mean.
    pub percentile: Option<u8>,
    /// The latency that no level may reach, in milliseconds; 0 means no limit.
    pub latency_limit_ms: u64,
    /// What load the levels are of.
    pub search: Search,
    /// Whether levels are found by halving.
    pub binary: bool,
    /// Requests do not wait for each other.
    pub asynchronous: bool,
    /// The model may answer a request by any number of responses.
    pub decoupled: bool,
    /// Requests belong to sequences.
    pub sequences: bool,
    /// Whether more is shown: each window, and what the client itself took.
    pub verbose: bool,
}

/// The service that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// An endpoint of OpenAI's kind.
    OpenAi,
    /// A Triton server.
    Triton,
}

/// How requests go over the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// gRPC.
    Grpc,
    /// HTTP/1.1.
    Http,
}

/// How a level is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// By so many requests.
    Requests(u64),
    /// By windows that agree.
    Windows(Window),
}

/// What load the levels are of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Search {
    /// Requests at once, from `start` to `end`; an end of 0 is none.
    Concurrency {
        /// First level.
        start: u32,
        /// Last level.
        end: u32,
    },
    /// Requests a second, from `start` to `end`; an end of 0 is none.
    Rate {
        /// First level.
        start: f64,
        /// Last level.
        end: f64,
        /// Gaps by chance; else all alike.
        poisson: bool,
    },
    /// Times from a file.
    Custom,
}

/// What a level is called.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Label {
    /// So many requests at once.
    Concurrency(u32),
    /// So many requests a second.
    Rate(f64),
    /// Times from a file, which come to so many requests a second.
    Custom(f64),
}

/// A level of load, measured.
#[derive(Clone, Debug, PartialEq)]
pub struct LevelReport {
    /// What it is called.
    pub label: Label,
    /// Its windows, in their order.
    pub passes: Vec<Pass>,
    /// The client's figures.
    pub client: ClientFigures,
    /// The server's; none where it has no statistics.
    pub server: Option<ServerFigures>,
    /// Its GPUs by UUID; none where its metrics were not collected.
    pub gpus: Option<BTreeMap<String, GpuFigures>>,
    /// Whether it is stable.
    pub stable: bool,
}
