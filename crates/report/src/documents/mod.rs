//! The files that are made from a run's results at its end.
//!
//! Each kind is one module with a value of [`DocumentKind`], and one line of [`DOCUMENTS`]. A run that has just ended and one that is
//! reported again make the same documents by the same functions.

mod full_summary;
mod summary_csv;
mod summary_json;
mod timeline_csv;

use std::io::{self, Write};
use streamgauge_core::plan::{Output, RunPlan};
use streamgauge_core::record::RunFacts;
use streamgauge_stats::Summary;

/// Every kind of document, in the order in which they are written.
pub static DOCUMENTS: [&DocumentKind; 4] =
    [&summary_json::DOCUMENT, &summary_csv::DOCUMENT, &full_summary::DOCUMENT, &timeline_csv::DOCUMENT];

/// The results of a run.
#[derive(Clone, Copy, Debug)]
pub struct Results<'a> {
    /// The plan of the run.
    pub plan: &'a RunPlan,
    /// The facts of the run that belong to no single request.
    pub facts: &'a RunFacts,
    /// The figures.
    pub summary: &'a Summary,
}

/// A kind of file that is made from a run's results.
#[derive(Debug)]
pub struct DocumentKind {
    /// The name of the file.
    pub file_name: fn(&Output) -> String,
    /// Writes the file.
    pub write: fn(&mut dyn Write, &Results<'_>) -> io::Result<()>,
}
