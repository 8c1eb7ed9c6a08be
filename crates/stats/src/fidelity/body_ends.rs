//! The fidelity row about bodies that continue after their answers are complete.

use crate::fidelity::{Evidence, FidelityRow, caveat, counted, share, share_row};
use crate::thresholds::LATE_BODIES_GOOD;
use streamgauge_core::Record;
use streamgauge_core::record::BodyEnd;

/// Counts bodies that did not end with their answers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BodyEnds {
    late: u64,
    cut: u64,
}

impl BodyEnds {
    /// Counts a measured request.
    pub fn add(&mut self, record: &Record) {
        match record.body_end {
            Some(BodyEnd::Late) => self.late += 1,
            Some(BodyEnd::Cut) => self.cut += 1,
            None => {}
        }
    }
}

/// An answer ends with its end marker, and so do its figures. A client that reads bodies to their ends waits longer.
pub(crate) fn body_ends(evidence: &Evidence<'_>) -> Option<FidelityRow> {
    let (BodyEnds { late, cut }, abandoned) = (evidence.body_ends, evidence.facts.bodies_abandoned);
    let share = share(late + cut, evidence.counts.requests).filter(|_| late + cut > 0)?;
    let mut found = Vec::new();
    if late > 0 {
        found.push(format!("{late} {} continued for over 2 ms", if late == 1 { "body" } else { "bodies" }));
    }
    if cut > 0 {
        found.push(format!("{} closed without the last chunk", counted(cut, "connection")));
    }
    if abandoned > 0 {
        found.push(format!("{} closed by this client because the body did not end", counted(abandoned, "connection")));
    }
    let row = share_row(share, caveat(share, LATE_BODIES_GOOD));
    Some(FidelityRow { value: found.join(", "), ..row }.remedy(
        "figures end at [DONE], and the next request was sent then, over another connection if the body continued; clients that read \
         bodies to their ends wait longer: find out what the server, or a proxy, does after [DONE]",
    ))
}

impl std::ops::AddAssign for BodyEnds {
    fn add_assign(&mut self, BodyEnds { late, cut }: BodyEnds) {
        self.late += late;
        self.cut += cut;
    }
}
