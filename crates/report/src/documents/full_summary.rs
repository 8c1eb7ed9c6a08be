//! `summary.json`: the complete summary of a run, with all its figures unrounded and its timeline. It can be read back as a
//! [`Summary`](streamgauge_stats::Summary).

use super::DocumentKind;

pub(super) static DOCUMENT: DocumentKind = DocumentKind {
    file_name: |_| "summary.json".to_owned(),
    write: |out, results| {
        serde_json::to_writer(&mut *out, results.summary)?;
        out.write_all(b"\n")
    },
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::documents::Results;
    use crate::testing::{add_ours, facts, golden_runs, golden_summary};
    use streamgauge_stats::Summary;

    #[test]
    fn the_summary_reads_back_as_it_was() {
        for (plan, golden) in golden_runs() {
            let mut summary = golden_summary(golden);
            add_ours(&mut summary);
            let mut text = Vec::new();
            (DOCUMENT.write)(&mut text, &Results { plan: &plan, facts: &facts(), summary: &summary }).unwrap();
            assert_eq!(serde_json::from_slice::<Summary>(&text).unwrap(), summary);
        }
    }
}
