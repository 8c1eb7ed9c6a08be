//! Fidelity rows about prompts that are prepared while a run goes on: those of long files, and those of the later turns of conversations.

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

/// How many conversations ended before their last turn because a turn failed.
pub(super) fn conversations(evidence: &Evidence<'_>) -> Option<FidelityRow> {
    let facts = evidence.facts.conversations?;
    let share = share(facts.failed, facts.begun)?;
    let begun = counted(facts.begun, "conversation");
    let unsent = counted(facts.unsent_turns, "turn");
    let value = match facts.failed {
        0 => format!("none of {begun}; {} reached their last answer", facts.finished),
        failed => format!("{failed} of {begun}, whose other {unsent} were not sent"),
    };
    let grade = caveat(share, limit::FAILED_GOOD);
    let row = share_row(share, grade);
    Some(FidelityRow { value, ..row }.remedy(
        "fewer late turns, which have the longest prompts, are in the figures than there should be; look at the failures first",
    ))
}

/// Whether making the later turns of conversations from the answers before them delayed them.
pub(super) fn follow_ups(evidence: &Evidence<'_>) -> Option<FidelityRow> {
    let facts = evidence.facts.conversations.filter(|facts| facts.making.count > 0)?;
    let share = share(facts.made_late, facts.making.count)?;
    let mean = facts.making.total.as_millis_f64() / facts.making.count as f64;
    let value = format!(
        "{} of {} took over 1 ms longer than the pause before them; {mean:.3} ms on average, {:.3} ms at most",
        facts.made_late,
        counted(facts.making.count, "later turn"),
        facts.making.longest.as_millis_f64()
    );
    let grade = caveat(share, limit::PROMPT_WAITS_GOOD);
    let row = share_row(share, grade);
    Some(FidelityRow { value, ..row }.remedy(message![
        "joining the history and encoding it delayed these turns and what shares their load thread; raise ",
        Setting::Threads,
        " or lower ",
        Setting::Concurrency
    ]))
}
