//! `profile_export_genai_perf.json`.

use super::DocumentKind;
use crate::genai::{json, names};

pub(super) static DOCUMENT: DocumentKind = DocumentKind {
    file_name: |output| names::summary_file(&output.export_file, "json"),
    write: |out, results| json::write(out, results.plan, results.facts, results.summary),
};
