//! `profile_export_genai_perf.csv`.

use super::DocumentKind;
use crate::genai::{csv, names};

pub(super) static DOCUMENT: DocumentKind = DocumentKind {
    file_name: |output| names::summary_file(&output.export_file, "csv"),
    write: |out, results| csv::write(out, results.plan.endpoint.streaming, results.summary),
};
