//! What a Triton server has beside the engine: models with signatures, their statistics, and shared memory. How clients reach them is in
//! [`crate::kserve`].
//!
//! `repository` holds the models and checks which requests fit them, `models` computes the answers of those that generate no text, `config`
//! describes them, `statistics` counts their requests, and `memory` holds the regions that clients register.

pub(crate) mod config;
pub(crate) mod memory;
pub(crate) mod models;
pub(crate) mod problem;
pub(crate) mod repository;
pub(crate) mod statistics;

use memory::Memory;
use models::Sums;
use repository::Repository;
use statistics::Statistics;
use std::cell::RefCell;

/// The models, their statistics, and the shared memory that clients have registered.
#[derive(Debug)]
pub(crate) struct Triton {
    pub(crate) repository: Repository,
    pub(crate) statistics: Statistics,
    pub(crate) memory: RefCell<Memory>,
    pub(crate) sums: Sums,
    /// Fake GPUs on the metrics page.
    gpus: u32,
}

impl Triton {
    /// The fixed models, and one like `ensemble` for each of `names`.
    pub(crate) fn new(names: &[String], gpus: u32) -> Triton {
        let repository = Repository::new(names);
        let statistics = Statistics::new(&repository);
        Triton { repository, statistics, memory: RefCell::default(), sums: Sums::default(), gpus }
    }

    /// The metrics in Triton's names.
    pub(crate) fn metrics(&self, page: &mut String) {
        self.statistics.page(&self.repository, self.gpus, page);
    }
}
