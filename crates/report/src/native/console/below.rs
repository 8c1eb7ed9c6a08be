//! The blocks above and below the native table: the verdict, request counts, sources of token counts, failures, the steady state and fidelity.

use super::{COLUMNS, PERCENTILE_COLUMNS, fitting_table, label, put};
use crate::text::numbers::{grouped, grouped_count};
use crate::text::table::Table;
use streamgauge_core::RunPlan;
use streamgauge_core::plan::TokenCount;
use streamgauge_core::text::{LONGEST_MESSAGE, clip, one_line};
use streamgauge_stats::{
    Distribution, FailureGroup, Fidelity, Grade, Metric, Scope, Summary, TargetCounts, TokenSources, Use, WithFailures,
};

/// Writes the verdict and, on one line, its most severe reason. This block precedes all figures.
pub(super) fn verdict(text: &mut String, fidelity: &Fidelity, width: usize) {
    let mut worst = fidelity.rows.iter().filter(|row| row.grade == fidelity.verdict);
    let reason = match (fidelity.verdict, worst.next()) {
        (Grade::Good, _) => "no check found a problem; the fidelity block below lists all checks".to_owned(),
        (_, None) => "the fidelity block below says why".to_owned(),
        (_, Some(row)) => {
            let more = match worst.count() {
                0 => String::new(),
                more => format!(" (and {more} more below)"),
            };
            // Room on the line is reserved for the number of further reasons.
            let room = width.saturating_sub(2 + more.chars().count());
            format!("{}{more}", clip(format!("{}: {}", row.title, message_line(&row.value)), room))
        }
    };
    put(text, format_args!("Verdict: {}\n  {reason}\n\n", fidelity.verdict));
}

/// Writes the number of requests by outcome and the duration that they cover.
pub(super) fn counts(text: &mut String, summary: &Summary) {
    let (n, counts, seconds) = (grouped_count, &summary.counts, summary.duration.as_secs_f64());
    put(
        text,
        format_args!("Requests: {} ok, {} failed, {} cut off", n(counts.ok), n(counts.failed), n(counts.cut_off)),
    );
    if counts.cancelled > 0 {
        put(text, format_args!(", {} cancelled", n(counts.cancelled)));
    }
    put(text, format_args!(", {} retried", n(counts.retried)));
    // The duration is that of the successful requests.
    if counts.ok > 0 {
        put(text, format_args!(", in {seconds:.2} s"));
    }
    if let Scope::Ended(_) = summary.scope {
        put(text, format_args!(" of windows; {} outside the windows", n(counts.outside)));
    }
    if counts.warmup > 0 {
        put(text, format_args!(" (and {} in the warm-up)", n(counts.warmup)));
    }
    text.push('\n');
}

/// Writes one line for each server.
pub(super) fn targets(text: &mut String, plan: &RunPlan, targets: &[TargetCounts]) {
    let known = targets.iter().copied().chain(std::iter::repeat(TargetCounts::default()));
    for (target, counts) in plan.endpoint.targets().zip(known) {
        let (requests, ok, failed) =
            (requests_of(counts.requests), grouped_count(counts.ok), grouped_count(counts.failed));
        put(text, format_args!("  {target}: {requests}, {ok} ok, {failed} failed\n"));
    }
}

/// Writes the figures of the time in which all slots were busy, or the reason why there are none.
pub(super) fn steady_state(text: &mut String, rows: &[Metric], steady: Option<&Summary>, width: usize) {
    let Some(steady) = steady else {
        text.push_str("\nSteady state: no figures, because the slots were never all busy at once or sent fewer than two requests each\n");
        return;
    };
    let system = rows.iter().copied().filter(|metric| metric.is_system());
    let rows: Vec<Metric> =
        Metric::with_use(Use::SteadyState).filter(|metric| rows.contains(metric)).chain(system).collect();
    text.push('\n');
    text.push_str(&fitting_table("Steady state: all slots busy", &rows, steady, width).0.render());
    let (ok, seconds) = (requests_of(steady.counts.ok), steady.duration.as_secs_f64());
    put(
        text,
        format_args!(
            "all slots were busy for {seconds:.2} s: latencies are of the {ok} sent in that time and answered,\n"
        ),
    );
    text.push_str("  rates are of the output and the completed requests in that time\n");
}

/// Writes which token counts the figures use and how far the other counts differ.
pub(super) fn token_sources(
    text: &mut String,
    chosen: TokenCount,
    tokens: &TokenSources,
    template: Option<&Distribution>,
) {
    let used: Vec<String> = [
        ("the server's usage", tokens.by_usage),
        ("the client's tokenizer", tokens.by_tokenizer),
        ("chunks, one token each", tokens.by_chunks),
    ]
    .into_iter()
    .filter(|&(_, requests)| requests > 0)
    .map(|(source, requests)| format!("{source} ({})", requests_of(requests)))
    .collect();
    if !used.is_empty() {
        let rule = if chosen == TokenCount::Auto { ", chosen automatically" } else { "" };
        put(text, format_args!("Output tokens counted by: {}{rule}\n", used.join("; ")));
    }
    if tokens.missing > 0 {
        put(
            text,
            format_args!(
                "  {} have no such count and are excluded from the figures that need one\n",
                requests_of(tokens.missing)
            ),
        );
    }
    if tokens.compared > 0 {
        let (disagree, compared) = (grouped_count(tokens.disagree), requests_of(tokens.compared));
        put(text, format_args!("  usage and tokenizer differ by more than 2 % in {disagree} of {compared}\n"));
    }
    if let Some(d) = template.filter(|d| (d.min, d.max) != (0.0, 0.0)) {
        let more = if d.avg < 0.0 { "fewer" } else { "more" };
        let range = if d.min == d.max { String::new() } else { format!(" ({} to {})", grouped(d.min), grouped(d.max)) };
        put(
            text,
            format_args!(
                "  the server counts {} input tokens {more}{range} per request than this client",
                grouped(d.avg.abs())
            ),
        );
        text.push_str(" (chat template, special tokens)\n");
    }
}

fn requests_of(n: u64) -> String {
    format!("{} request{}", grouped_count(n), if n == 1 { "" } else { "s" })
}

/// The maximum number of kinds of failures that are shown; the most frequent ones are.
const KINDS_SHOWN: usize = 12;

/// Writes the failures, grouped by kind.
pub(super) fn failures(text: &mut String, groups: &[FailureGroup]) {
    if groups.is_empty() {
        return;
    }
    text.push_str("\nFailed requests (not in the figures above)\n");
    for group in groups.iter().take(KINDS_SHOWN) {
        let (count, after) = (grouped_count(group.count), &group.time_to_failure);
        let others = if group.mixed { ", several kinds together" } else { "" };
        put(text, format_args!("  {count} x {} ({}){others}", group.class, group.stage));
        put(text, format_args!(", after {} ms on average and {} ms at most\n", grouped(after.avg), grouped(after.max)));
        if !group.sample.is_empty() {
            put(text, format_args!("      {}\n", message_line(&group.sample)));
        }
    }
    let rest = groups.get(KINDS_SHOWN..).unwrap_or_default();
    if !rest.is_empty() {
        let requests = requests_of(rest.iter().map(|group| group.count).sum());
        put(text, format_args!("  {requests} of {} more kinds (listed in the JSON)\n", rest.len()));
    }
}

/// Writes the percentiles again with each failed request counted as longer than any other.
pub(super) fn with_failures(text: &mut String, waits: &[&(Metric, WithFailures)]) {
    if waits.is_empty() {
        return;
    }
    let mut table =
        Table::new("A failed request counts as infinitely long", [&["With failures"], &COLUMNS[3..]].concat());
    for (metric, waits) in waits {
        let cell = |p| waits.percentile(p).map_or("failed".into(), grouped);
        table.row(&label(*metric), PERCENTILE_COLUMNS.map(cell).to_vec());
    }
    text.push('\n');
    text.push_str(&table.render());
}

/// Writes the fidelity rows, each with its remedy unless it is good.
pub(super) fn fidelity(text: &mut String, fidelity: &Fidelity) {
    put(text, format_args!("\nFidelity: {}\n", fidelity.verdict));
    let width = fidelity.rows.iter().map(|row| row.title.chars().count()).max().unwrap_or(0);
    for row in &fidelity.rows {
        put(text, format_args!("  {} {:<width$}  {}\n", mark(row.grade), row.title, message_line(&row.value)));
        if let Some(remedy) = row.remedy.as_ref().filter(|_| row.grade != Grade::Good) {
            put(text, format_args!("    {:width$}  {remedy}\n", ""));
        }
    }
}

fn mark(grade: Grade) -> char {
    match grade {
        Grade::Good => '✓',
        Grade::Degraded => '!',
        Grade::Invalid => '✗',
    }
}

/// Returns a server's message on one line. A message from a file of records may be longer than this program would store, so it is clipped.
fn message_line(message: &str) -> String {
    one_line(&clip(message.trim().to_owned(), LONGEST_MESSAGE)).into_owned()
}
