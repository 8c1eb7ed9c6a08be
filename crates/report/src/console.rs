//! The report people read at the end of a run.
//!
//! The native style is GenAI-Perf's table of today and what it leaves out: spread, failures, where the token counts
//! come from, and how far all of it can be trusted. The two styles of 2024 are that tool's tables of then and nothing
//! more, for scripts that read them.

use crate::numbers::{NOT_AVAILABLE, grouped, grouped_count};
use crate::table::Table;
use std::fmt::Write;
use streamgauge_core::RunPlan;
use streamgauge_core::plan::TokenCount;
use streamgauge_stats::{
    Counts, Distribution, FailureGroup, Fidelity, Grade, Interval, Metric, Summary, TokenSources, WithFailures,
};

/// A layout of the console report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// Ours.
    #[default]
    Native,
    /// GenAI-Perf in the second half of 2024: throughput inside the table.
    GenaiPerf2024,
    /// GenAI-Perf in the first half of 2024: throughput in lines below the table.
    GenaiPerf2024Early,
}

/// The report as text; every line ends with a newline.
pub fn render(style: Style, plan: &RunPlan, summary: &Summary) -> String {
    let streaming = plan.endpoint.streaming;
    match style {
        Style::Native => native(plan, summary),
        Style::GenaiPerf2024 => {
            let mut table = table_of_2024("NVIDIA GenAI-Perf | LLM Metrics", streaming, summary);
            for (name, metric) in THROUGHPUTS_OF_2024 {
                table.row(&format!("{name} (per sec)"), system_cells(summary.scalar(metric), COLUMNS.len()));
            }
            table.render()
        }
        Style::GenaiPerf2024Early => {
            let mut text = table_of_2024("LLM Metrics", streaming, summary).render();
            for (name, metric) in THROUGHPUTS_OF_2024 {
                // That tool grouped thousands inside the table only.
                let value = summary.scalar(metric).map_or(NOT_AVAILABLE.into(), |value| format!("{value:.2}"));
                put(&mut text, format_args!("{name} (per sec): {value}\n"));
            }
            text
        }
    }
}

/// Rows with a distribution, in GenAI-Perf's order; those from due and the inter-chunk latency are ours.
const REQUEST_ROWS: [Metric; 11] = [
    Metric::TimeToFirstToken,
    Metric::TimeToFirstTokenFromDue,
    Metric::TimeToSecondToken,
    Metric::RequestLatency,
    Metric::RequestLatencyFromDue,
    Metric::SendLateness,
    Metric::InterTokenLatency,
    Metric::InterChunkLatency,
    Metric::OutputTokenThroughputPerUser,
    Metric::OutputSequenceLength,
    Metric::InputSequenceLength,
];

/// Rows with one number.
const SYSTEM_ROWS: [Metric; 4] =
    [Metric::OutputTokenThroughput, Metric::RequestThroughput, Metric::RequestGoodput, Metric::RequestCount];

/// Rows of 2024 in their order and under their names.
const ROWS_OF_2024: [(&str, Metric); 5] = [
    ("Time to first token (ms)", Metric::TimeToFirstToken),
    ("Inter token latency (ms)", Metric::InterTokenLatency),
    ("Request latency (ms)", Metric::RequestLatency),
    ("Output sequence length", Metric::OutputSequenceLength),
    ("Input sequence length", Metric::InputSequenceLength),
];

const THROUGHPUTS_OF_2024: [(&str, Metric); 2] =
    [("Output token throughput", Metric::OutputTokenThroughput), ("Request throughput", Metric::RequestThroughput)];

/// Columns that every style has.
const COLUMNS: [&str; 6] = ["avg", "min", "max", "p99", "p90", "p75"];

/// The percentiles among them.
const PERCENTILE_COLUMNS: [u8; 3] = [99, 90, 75];

/// Columns that ours adds. The figures most often compared have their `±` beside them; those of the rest are in the
/// JSON, so that a row still fits into 120 columns.
const OUR_COLUMNS: [&str; 3] = ["std", "±avg", "±p99"];

/// What a reply in one piece cannot show, although it has a first token like any other.
fn needs_stream(metric: Metric) -> bool {
    matches!(
        metric,
        Metric::TimeToFirstToken
            | Metric::TimeToFirstTokenFromDue
            | Metric::TimeToSecondToken
            | Metric::InterTokenLatency
            | Metric::InterChunkLatency
            | Metric::OutputTokenThroughputPerUser
    )
}

fn table_of_2024(title: &'static str, streaming: bool, summary: &Summary) -> Table {
    let mut table = Table::new(title, [&["Statistic"], &COLUMNS[..]].concat());
    for (name, metric) in ROWS_OF_2024 {
        if streaming || !needs_stream(metric) {
            table.row(name, cells(summary.distribution(metric), grouped_percentile));
        }
    }
    table
}

/// One cell for each of [`COLUMNS`].
fn cells(distribution: Option<&Distribution>, percentile: fn(&Distribution, u8) -> String) -> Vec<String> {
    let Some(d) = distribution else { return vec![NOT_AVAILABLE.into(); COLUMNS.len()] };
    let mut cells = vec![grouped(d.avg), grouped(d.min), grouped(d.max)];
    cells.extend(PERCENTILE_COLUMNS.map(|p| percentile(d, p)));
    cells
}

fn grouped_percentile(d: &Distribution, p: u8) -> String {
    grouped(d.percentile(p))
}

/// A percentile with a mark where too few samples stand behind it.
fn marked_percentile(d: &Distribution, p: u8) -> String {
    let mark = if d.supports(p) { "" } else { "~" };
    format!("{mark}{}", grouped(d.percentile(p)))
}

fn system_cells(value: Option<f64>, columns: usize) -> Vec<String> {
    let mut cells = vec![NOT_AVAILABLE.into(); columns];
    cells[0] = value.map_or(NOT_AVAILABLE.into(), grouped);
    cells
}

fn native(plan: &RunPlan, summary: &Summary) -> String {
    let shown = |metric: Metric| plan.endpoint.streaming || !needs_stream(metric);
    // A closed loop has no schedule, and so no rows from due.
    let scheduled = |metric: Metric| !metric.is_from_due() || summary.distribution(metric).is_some();
    let rows: Vec<Metric> = REQUEST_ROWS.into_iter().filter(|&metric| shown(metric) && scheduled(metric)).collect();
    let mut text = native_table(&rows, summary).render();
    notes(&mut text, &rows, summary);
    text.push('\n');
    counts(&mut text, &summary.counts, summary.duration.as_secs_f64());
    token_sources(&mut text, plan.token_count, &summary.tokens, summary.distribution(Metric::TemplateTokens));
    failures(&mut text, &summary.failures);
    let waits: Vec<_> = summary.with_failures.iter().filter(|(metric, _)| shown(*metric)).collect();
    with_failures(&mut text, &waits);
    fidelity(&mut text, &summary.fidelity);
    text
}

fn native_table(rows: &[Metric], summary: &Summary) -> Table {
    let mut table = Table::new("Streamgauge | LLM Metrics", [&["Statistic"], &COLUMNS[..], &OUR_COLUMNS[..]].concat());
    for &metric in rows {
        let distribution = summary.distribution(metric);
        let mut cells = cells(distribution, marked_percentile);
        cells.extend(match distribution {
            Some(d) => [grouped(d.std), reach(d.intervals.avg, d.avg), reach(d.interval(99), d.percentile(99))],
            None => OUR_COLUMNS.map(|_| NOT_AVAILABLE.into()),
        });
        table.row(&label(metric), cells);
    }
    for metric in SYSTEM_ROWS {
        let value = summary.scalar(metric);
        // Goodput has a row only when limits were given.
        if value.is_some() || metric != Metric::RequestGoodput {
            let mut cells = system_cells(value, COLUMNS.len() + OUR_COLUMNS.len());
            cells[COLUMNS.len() + 1] = reach(summary.interval(metric), value.unwrap_or(f64::NAN));
            table.row(&label(metric), cells);
        }
    }
    table
}

/// The number behind a `±`.
fn reach(interval: Option<Interval>, value: f64) -> String {
    interval.map_or(NOT_AVAILABLE.into(), |interval| grouped(interval.reach(value)))
}

/// A metric's name and unit as GenAI-Perf's tables have them.
pub(crate) fn label(metric: Metric) -> String {
    format!("{} ({})", metric.title(), metric.row_unit())
}

/// What must be known to read the table's figures rightly.
fn notes(text: &mut String, rows: &[Metric], summary: &Summary) {
    let shown: Vec<(Metric, &Distribution)> =
        rows.iter().filter_map(|&metric| Some((metric, summary.distribution(metric)?))).collect();
    if shown.iter().any(|(_, d)| d.intervals.avg.is_some()) {
        text.push_str("± how far the farther end of the two-sided 95 % interval is; all intervals are in the JSON\n");
    }
    if shown.iter().any(|(_, d)| PERCENTILE_COLUMNS.iter().any(|&p| !d.supports(p))) {
        text.push_str("~ too few samples for a two-sided 95 % interval of this percentile\n");
    }
    for (metric, d) in shown.iter().filter(|(_, d)| !d.exact) {
        let (title, count) = (metric.title(), grouped_count(d.count));
        put(text, format_args!("{title}: percentiles of {count} values right to 0.1 % (histogram)\n"));
    }
}

fn counts(text: &mut String, counts: &Counts, seconds: f64) {
    let n = grouped_count;
    put(
        text,
        format_args!("Requests: {} ok, {} failed, {} cut off", n(counts.ok), n(counts.failed), n(counts.cut_off)),
    );
    put(text, format_args!(", {} retried", n(counts.retried)));
    // The time is that of the successful requests.
    if counts.ok > 0 {
        put(text, format_args!(", in {seconds:.2} s"));
    }
    if counts.warmup > 0 {
        put(text, format_args!(" (and {} to warm up)", n(counts.warmup)));
    }
    text.push('\n');
}

fn token_sources(text: &mut String, chosen: TokenCount, tokens: &TokenSources, template: Option<&Distribution>) {
    let used: Vec<String> = [
        ("the server's usage", tokens.by_usage),
        ("our tokenizer", tokens.by_tokenizer),
        ("chunks, one token each", tokens.by_chunks),
    ]
    .into_iter()
    .filter(|&(_, requests)| requests > 0)
    .map(|(source, requests)| format!("{source} ({})", requests_of(requests)))
    .collect();
    if !used.is_empty() {
        let rule = if chosen == TokenCount::Auto { ", chosen automatically" } else { "" };
        put(text, format_args!("Output tokens by: {}{rule}\n", used.join("; ")));
    }
    if tokens.missing > 0 {
        put(text, format_args!("  {} without that count, in no figure that needs one\n", requests_of(tokens.missing)));
    }
    if tokens.compared > 0 {
        let (disagree, compared) = (grouped_count(tokens.disagree), requests_of(tokens.compared));
        put(text, format_args!("  usage and tokenizer differ by over 2 % in {disagree} of {compared}\n"));
    }
    if let Some(d) = template.filter(|d| (d.min, d.max) != (0.0, 0.0)) {
        let more = if d.avg < 0.0 { "fewer" } else { "more" };
        let range = if d.min == d.max { String::new() } else { format!(" ({} to {})", grouped(d.min), grouped(d.max)) };
        put(text, format_args!("  the server counts {} input tokens {more}{range} than we do", grouped(d.avg.abs())));
        text.push_str(": chat template, special tokens\n");
    }
}

fn requests_of(n: u64) -> String {
    format!("{} request{}", grouped_count(n), if n == 1 { "" } else { "s" })
}

fn failures(text: &mut String, groups: &[FailureGroup]) {
    if groups.is_empty() {
        return;
    }
    text.push_str("\nFailed requests (in no figure above)\n");
    for group in groups {
        let (count, after) = (grouped_count(group.count), &group.time_to_failure);
        put(text, format_args!("  {count} x {} ({})", group.class, group.stage));
        put(text, format_args!(", after {} ms on average, {} at most\n", grouped(after.avg), grouped(after.max)));
        if !group.sample.is_empty() {
            put(text, format_args!("      {}\n", one_line(&group.sample)));
        }
    }
}

/// The percentiles once more, with failed requests as the longest of all.
fn with_failures(text: &mut String, waits: &[&(Metric, WithFailures)]) {
    if waits.is_empty() {
        return;
    }
    let mut table = Table::new("A failed request counts as endless", [&["With failures"], &COLUMNS[3..]].concat());
    for (metric, waits) in waits {
        let cell = |p| waits.percentile(p).map_or("failed".into(), grouped);
        table.row(&label(*metric), PERCENTILE_COLUMNS.map(cell).to_vec());
    }
    text.push('\n');
    text.push_str(&table.render());
}

fn fidelity(text: &mut String, fidelity: &Fidelity) {
    put(text, format_args!("\nFidelity: {}\n", fidelity.verdict));
    let width = fidelity.rows.iter().map(|row| row.title.chars().count()).max().unwrap_or(0);
    for row in &fidelity.rows {
        put(text, format_args!("  {} {:<width$}  {}\n", mark(row.grade), row.title, one_line(&row.value)));
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

/// Longest part of a foreign message that is shown, in characters.
const MESSAGE_LENGTH: usize = 300;

/// A server's message on one line. Control characters are written out: the terminal is not the server's to steer.
fn one_line(message: &str) -> String {
    let mut text = String::new();
    for c in message.trim().chars().take(MESSAGE_LENGTH) {
        match c {
            '\n' | '\r' | '\t' => text.push(' '),
            c if c.is_control() => text.extend(c.escape_default()),
            c => text.push(c),
        }
    }
    if message.trim().chars().count() > MESSAGE_LENGTH {
        text.push('…');
    }
    text
}

/// Appends formatted text; a string takes whatever it is given.
fn put(text: &mut String, args: std::fmt::Arguments<'_>) {
    let _ = text.write_fmt(args);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{add_ours, distribution, empty_summary, golden_runs, golden_summary, plan};
    use streamgauge_core::plan::EndpointKind;
    use streamgauge_core::{FailureClass, Stage};
    use streamgauge_stats::PERCENTILES;

    /// Cells of a box table, row by row, without the head.
    fn body(table: &str) -> Vec<Vec<&str>> {
        let rows = table.lines().filter(|line| line.starts_with('│'));
        rows.map(|line| line.trim_matches('│').split('│').map(str::trim).collect()).collect()
    }

    /// The figures that a box of 2024 shows, read back into a summary.
    fn summary_of_2024(golden: &str) -> Summary {
        let number = |text: &str| text.replace(',', "").parse::<f64>().unwrap();
        let mut summary = empty_summary();
        for row in body(golden) {
            let name = row[0].trim_end_matches(" (per sec)");
            if let Some((_, metric)) = THROUGHPUTS_OF_2024.iter().find(|(known, _)| *known == name) {
                summary.scalars.push((*metric, number(row[1])));
            } else {
                let (_, metric) = ROWS_OF_2024.iter().find(|(known, _)| *known == name).unwrap();
                let cell = |column: usize| number(row[column]);
                let shown = |p| COLUMNS.iter().position(|name| *name == format!("p{p}")).map(|at| cell(at + 1));
                let d = distribution([cell(1), cell(2), cell(3), 0.0], |p| shown(p).unwrap_or(0.0));
                summary.distributions.push((*metric, d));
            }
        }
        summary
    }

    #[test]
    fn tables_of_2024_come_back_byte_for_byte() {
        for (kind, golden) in [
            (EndpointKind::Chat, include_str!("../tests/golden/genai-perf-2024-1.txt")),
            (EndpointKind::Chat, include_str!("../tests/golden/genai-perf-2024-2.txt")),
            (EndpointKind::Chat, include_str!("../tests/golden/genai-perf-2024-3.txt")),
            (EndpointKind::Completions, include_str!("../tests/golden/genai-perf-2024-4.txt")),
        ] {
            let mut summary = summary_of_2024(golden);
            add_ours(&mut summary);
            // The last one's title stands one blank further left than rich puts it: its rows were cut by hand.
            let by_hand = if kind == EndpointKind::Completions { " " } else { "" };
            assert_eq!(render(Style::GenaiPerf2024, &plan(kind), &summary), format!("{by_hand}{golden}"));
        }
    }

    #[test]
    fn the_early_layout_has_its_throughput_below() {
        let golden = include_str!("../tests/golden/genai-perf-2024-early.txt");
        let mut summary = summary_of_2024(golden);
        summary.scalars = vec![(Metric::OutputTokenThroughput, 635.61), (Metric::RequestThroughput, 6.15)];
        assert_eq!(render(Style::GenaiPerf2024Early, &plan(EndpointKind::Chat), &summary), golden);
    }

    #[test]
    fn the_native_table_has_the_rows_and_cells_of_the_real_one() {
        let consoles =
            [include_str!("../tests/golden/chat/console.txt"), include_str!("../tests/golden/completions/console.txt")];
        for ((plan, json), golden) in golden_runs().into_iter().zip(consoles) {
            let mut summary = golden_summary(json);
            add_ours(&mut summary);
            let text = render(Style::Native, &plan, &summary);
            let ours = body(&text);
            let without_ours: Vec<Vec<&str>> = ours
                .iter()
                .filter(|row| row[0] != "Inter Chunk Latency (ms)")
                .map(|row| row[..=COLUMNS.len()].to_vec())
                .collect();
            assert_eq!(without_ours, body(golden));
            assert!(ours.iter().all(|row| row.len() == 1 + COLUMNS.len() + OUR_COLUMNS.len()));
            assert_eq!(text.lines().next().unwrap().trim(), "Streamgauge | LLM Metrics");
            assert_eq!(text.contains("Inter Chunk Latency"), plan.endpoint.streaming);
        }
    }

    #[test]
    fn what_the_table_leaves_out_stands_below_it() {
        let mut summary = golden_summary(golden_runs()[0].1);
        add_ours(&mut summary);
        for (_, d) in &mut summary.distributions {
            d.count = 8;
        }
        summary.distributions[3].1.exact = false;
        summary.counts =
            Counts { requests: 1_011, ok: 1_008, failed: 3, cut_off: 0, warmup: 2, retried: 1, ..Counts::default() };
        let sample = "engine \u{1b}[31mdied\nbadly".to_owned();
        let time_to_failure = distribution([1_000.0, 900.0, 1_100.5, 0.0], |_| 1_000.0);
        let (stage, class) = (Stage::Body, FailureClass::InBand);
        summary.failures = vec![FailureGroup { stage, class, count: 3, sample, time_to_failure }];
        let text = render(Style::Native, &plan(EndpointKind::Chat), &summary);
        let (table, below) = text.split_at(text.rfind('┘').unwrap() + '┘'.len_utf8() + 1);
        assert_eq!(body(table)[0][4], "~30.69");
        let expected = "\
~ too few samples for a two-sided 95 % interval of this percentile
Inter Token Latency: percentiles of 8 values right to 0.1 % (histogram)

Requests: 1,008 ok, 3 failed, 0 cut off, 1 retried, in 0.26 s (and 2 to warm up)
Output tokens by: the server's usage (8 requests), chosen automatically
  usage and tokenizer differ by over 2 % in 0 of 8 requests
  the server counts 11.00 input tokens more than we do: chat template, special tokens

Failed requests (in no figure above)
  3 x error inside the answer (body), after 1,000.00 ms on average, 1,100.50 at most
      engine \\u{1b}[31mdied badly

Fidelity: degraded
  ✓ Receive stamps  kernel
  ! Client's share  2.1 % of latency
                    give it more threads
";
        assert_eq!(below, expected);
    }

    #[test]
    fn what_chance_may_have_done_stands_beside_the_figures() {
        let mut summary = golden_summary(golden_runs()[0].1);
        let between = |low, high| Some(Interval { low, high });
        let (_, latency) = summary.distributions.iter_mut().find(|(m, _)| *m == Metric::RequestLatency).unwrap();
        (latency.avg, latency.percentiles[8]) = (1_065.0, 1_065.5);
        latency.intervals.avg = between(1_064.0, 1_066.25);
        latency.intervals.percentiles[8] = between(1_065.25, 1_069.5);
        summary.rate_intervals = vec![(Metric::RequestThroughput, Interval { low: 28.0, high: 32.0 })];
        let text = render(Style::Native, &plan(EndpointKind::Chat), &summary);
        let cells = |label: &str| body(&text).into_iter().find(|row| row[0] == label).unwrap()[8..].to_vec();
        assert_eq!(cells("Request Latency (ms)"), ["1.25", "4.00"]);
        assert_eq!(cells("Time To First Token (ms)"), ["N/A", "N/A"]);
        assert_eq!(cells("Request Throughput (per sec)"), ["2.51", "N/A"]);
        assert_eq!(cells("Request Count (count)"), ["N/A", "N/A"]);
        assert!(text.contains("\n± how far the farther end of the two-sided 95 % interval is"));
        let widest = text.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(widest <= 120, "{widest}: {text}");
    }

    #[test]
    fn failed_requests_are_endless_in_a_table_of_their_own() {
        let mut summary = golden_summary(golden_runs()[0].1);
        let mut percentiles = PERCENTILES.map(|p| Some(f64::from(p)));
        percentiles[8] = None;
        let waits = WithFailures { requests: 11, failed: 3, cut_off: 0, percentiles };
        let metrics = [Metric::TimeToFirstToken, Metric::RequestLatency, Metric::RequestLatencyFromDue];
        summary.with_failures = metrics.map(|metric| (metric, waits.clone())).to_vec();
        let shown = |kind| {
            let text = render(Style::Native, &plan(kind), &summary);
            let (_, table) = text.split_once("A failed request counts as endless\n").unwrap();
            body(table).into_iter().map(|row| row.join("|")).collect::<Vec<_>>()
        };
        let expected = [
            "Time To First Token (ms)|failed|90.00|75.00",
            "Request Latency (ms)|failed|90.00|75.00",
            "Request Latency From Due (ms)|failed|90.00|75.00",
        ];
        assert_eq!(shown(EndpointKind::Chat), expected);
        assert_eq!(shown(EndpointKind::Completions), expected[1..]);
    }

    #[test]
    fn a_schedule_has_rows_from_due() {
        let mut summary = golden_summary(golden_runs()[0].1);
        let due = [Metric::TimeToFirstTokenFromDue, Metric::RequestLatencyFromDue, Metric::SendLateness];
        summary.distributions.extend(due.map(|metric| (metric, distribution([1.5; 4], |_| 1.5))));
        let text = render(Style::Native, &plan(EndpointKind::Chat), &summary);
        let labels: Vec<&str> = body(&text).iter().take(6).map(|row| row[0]).collect();
        let expected = [
            "Time To First Token (ms)",
            "Time To First Token From Due (ms)",
            "Time To Second Token (ms)",
            "Request Latency (ms)",
            "Request Latency From Due (ms)",
            "Send Lateness (ms)",
        ];
        assert_eq!(labels, expected);
    }

    #[test]
    fn a_run_without_any_answer_still_has_a_report() {
        let mut summary = empty_summary();
        summary.tokens = TokenSources::default();
        let text = render(Style::Native, &plan(EndpointKind::Chat), &summary);
        assert!(body(&text).iter().all(|row| row[1..].iter().all(|cell| matches!(*cell, "N/A" | ""))));
        assert!(!text.contains("Output tokens by"));
        let early = render(Style::GenaiPerf2024Early, &plan(EndpointKind::Chat), &summary);
        assert!(early.ends_with("Request throughput (per sec): N/A\n"));
    }
}
