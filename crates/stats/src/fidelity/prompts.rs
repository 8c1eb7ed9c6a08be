//! Fidelity rows about prompts that are prepared while a run goes on.

use crate::fidelity::{Evidence, FidelityRow, caveat, counted, hundredths, share, share_row};
use crate::thresholds as limit;
use streamgauge_core::{Setting, message};

/// Whether prompts were ready when they were to be sent. A run whose prompts are all made before load has no such row.
pub(super) fn waits(evidence: &Evidence<'_>) -> Option<FidelityRow> {
    let waits = evidence.facts.prompt_waits?;
    let share = share(waits.count, evidence.counts.requests)?;
    let requests = counted(evidence.counts.requests, "request");
    let value = match waits.count {
        0 => format!("all, of {requests}"),
        late => format!(
            "{late} of {requests} ({}) had to wait, for {:.3} ms at most",
            hundredths(share),
            waits.longest.as_millis_f64()
        ),
    };
    let row = share_row(share, caveat(share, limit::PROMPT_WAITS_GOOD));
    Some(FidelityRow { value, ..row }.remedy(message![
        "these requests were sent late because their prompts were still being read or made; lower ",
        Setting::Concurrency,
        " or ",
        Setting::RequestRate,
        ", give the client more processors, or use a file of less than 32 MB, whose prompts are all prepared before load"
    ]))
}
