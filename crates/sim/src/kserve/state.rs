//! What KServe v2 needs beside the engine.

use super::memory::Memory;
use super::models::Sums;
use super::repository::Repository;
use super::statistics::Statistics;
use std::cell::RefCell;

/// The models, their statistics, and the shared memory that clients have registered.
#[derive(Debug)]
pub(crate) struct Kserve {
    pub(crate) repository: Repository,
    pub(crate) statistics: Statistics,
    pub(super) memory: RefCell<Memory>,
    pub(super) sums: Sums,
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
