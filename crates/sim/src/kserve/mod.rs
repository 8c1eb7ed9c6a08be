//! KServe v2 as Triton speaks it: models with signatures, statistics and shared memory behind gRPC and HTTP, over the same
//! engine as the OpenAI front.
//!
//! `repository` has the models and says which requests fit them, `models` and `generation` answer, `session` takes a request
//! through the engine at its times, and `config`, `statistics` and `memory` are what the server says of itself. `grpc` and `json`
//! spell all that in the two protocols; `calls` and `pages` take it to and from the wire.

mod calls;
mod config;
mod generation;
mod grpc;
mod json;
mod memory;
mod models;
mod pages;
mod repository;
mod session;
mod statistics;

pub(crate) use calls::{Call, serve_call};
pub(crate) use pages::{InferPath, Target};

use memory::Memory;
use models::Sums;
use repository::Repository;
use statistics::Statistics;
use std::cell::RefCell;

/// What KServe v2 needs beside the engine.
#[derive(Debug)]
pub(crate) struct Kserve {
    pub(crate) repository: Repository,
    pub(crate) statistics: Statistics,
    memory: RefCell<Memory>,
    sums: Sums,
    /// Fake GPUs on the metrics page.
    gpus: u32,
}

impl Kserve {
    /// The fixed models, and one like `ensemble` for each of `names`.
    pub(crate) fn new(names: &[String], gpus: u32) -> Kserve {
        let repository = Repository::new(names);
        let statistics = Statistics::new(&repository);
        Kserve { repository, statistics, memory: RefCell::default(), sums: Sums::default(), gpus }
    }

    /// The metrics in Triton's names.
    pub(crate) fn metrics(&self, page: &mut String) {
        self.statistics.page(&self.repository, self.gpus, page);
    }
}

/// Why a call failed, in Triton's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// As HTTP says it; [`Problem::code`] is gRPC's.
    pub(crate) status: u16,
    pub(crate) message: String,
    /// The model failed. Else the request did not reach it.
    pub(crate) ran: bool,
}

impl Problem {
    fn new(status: u16, message: impl Into<String>) -> Problem {
        Problem { status, message: message.into(), ran: false }
    }

    fn invalid(message: impl Into<String>) -> Problem {
        Problem::new(400, message)
    }

    fn missing(message: impl Into<String>) -> Problem {
        Problem::new(404, message)
    }

    fn internal(message: impl Into<String>) -> Problem {
        Problem::new(500, message)
    }

    /// Of a model that was asked and failed.
    fn of_model(status: u16, message: impl Into<String>) -> Problem {
        Problem { ran: true, ..Problem::new(status, message) }
    }

    /// What a fault wants.
    fn simulated(status: u16) -> Problem {
        Problem::new(status, format!("simulated fault: status {status}"))
    }

    /// The code of gRPC.
    fn code(&self) -> u32 {
        match self.status {
            400 => 3,
            401 => 16,
            403 => 7,
            404 => 5,
            409 => 6,
            429 => 8,
            500 => 13,
            501 => 12,
            502 | 503 => 14,
            504 => 4,
            _ => 2,
        }
    }

    /// The body over HTTP.
    fn body(&self) -> Vec<u8> {
        serde_json::json!({"error": self.message}).to_string().into_bytes()
    }
}
