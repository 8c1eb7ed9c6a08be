//! The fidelity row about parts of answers that could not be parsed.

use crate::fidelity::{Evidence, FidelityRow, Grade, caveat, counted, share, share_row};
use crate::thresholds as limit;
use streamgauge_core::Record;
use streamgauge_core::{Setting, message};

/// Counts the parts of successful answers that could not be parsed and were skipped.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct UnreadableParts {
    /// Parts that may have contained output.
    pub output: u64,
    /// Other parts.
    pub other: u64,
    /// Requests with such parts.
    pub requests: u64,
    /// Output events of all requests.
    pub events: u64,
}

impl UnreadableParts {
    /// Counts one successful request.
    pub fn add(&mut self, record: &Record) {
        self.events += record.chunks.len() as u64;
        if !record.unreadable.is_none() {
            self.requests += 1;
            self.output += u64::from(record.unreadable.output);
            self.other += u64::from(record.unreadable.other);
        }
    }
}

/// A chunk that could not be parsed may have contained output. Then one gap is the sum of two, and the token count of the text is too
/// low. If a token count could not be parsed, the tokenizer's count is used instead.
pub(crate) fn row(evidence: &Evidence<'_>) -> Option<FidelityRow> {
    let UnreadableParts { output, other, requests, events } = evidence.unreadable;
    let of_requests = share(requests, evidence.counts.ok).filter(|_| requests > 0)?;
    let of_events = share(output, output + events).unwrap_or(0.0);
    let grade = match of_events > limit::UNREADABLE_DEGRADED {
        true => Grade::Invalid,
        false => caveat(of_requests, limit::UNREADABLE_GOOD),
    };
    let of = counted(evidence.counts.ok, "successful request");
    let value = format!("{output} may have contained output, {other} others, in {requests} of {of}");
    let row = FidelityRow { value, ..share_row(of_requests, grade) };
    let remedy = match output {
        0 => message![
            "these parts do not follow the API's format; where a token count could not be read, the figures use the tokenizer's count"
        ],
        _ => {
            message![
                "output may be missing from the figures: gaps between tokens may be too long and the tokenizer's counts too small; look at the server's answers (",
                Setting::ProfileExportLevel,
                " raw keeps them)"
            ]
        }
    };
    Some(row.remedy(remedy))
}

impl std::ops::AddAssign for UnreadableParts {
    fn add_assign(&mut self, UnreadableParts { output, other, requests, events }: UnreadableParts) {
        self.output = self.output.saturating_add(output);
        self.other = self.other.saturating_add(other);
        self.requests += requests;
        self.events += events;
    }
}
