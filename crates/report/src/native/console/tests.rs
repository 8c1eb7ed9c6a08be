//! The native table, what stands below it, and the tables of 2024.

use super::*;
use crate::testing::{add_ours, distribution, empty_summary, golden_runs, golden_summary, plan};
use streamgauge_core::plan::{EndpointKind, Target};
use streamgauge_core::{FailureClass, Nanos, Stage};
use streamgauge_stats::{
    Counts, FailureGroup, Grade, PERCENTILES, Scope, Span, TargetCounts, TokenSources, WithFailures,
};

/// Wide enough for every column.
const WIDE: usize = 200;

fn render(style: Style, plan: &RunPlan, summary: &Summary) -> String {
    super::render(style, plan, summary, WIDE)
}

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
        if let Some((metric, _)) = Metric::throughputs_of_2024().iter().find(|(_, known)| *known == name) {
            summary.scalars.push((*metric, number(row[1])));
        } else {
            let (metric, _) = *Metric::rows_of_2024().iter().find(|(_, known)| *known == name).unwrap();
            let cell = |column: usize| number(row[column]);
            let shown = |p| COLUMNS.iter().position(|name| *name == format!("p{p}")).map(|at| cell(at + 1));
            let d = distribution([cell(1), cell(2), cell(3), 0.0], |p| shown(p).unwrap_or(0.0));
            summary.distributions.push((metric, d));
        }
    }
    summary
}

#[test]
fn tables_of_2024_come_back_byte_for_byte() {
    for (kind, golden) in [
        (EndpointKind::Chat, include_str!("../../../tests/golden/genai-perf-2024-1.txt")),
        (EndpointKind::Chat, include_str!("../../../tests/golden/genai-perf-2024-2.txt")),
        (EndpointKind::Chat, include_str!("../../../tests/golden/genai-perf-2024-3.txt")),
        (EndpointKind::Completions, include_str!("../../../tests/golden/genai-perf-2024-4.txt")),
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
    let golden = include_str!("../../../tests/golden/genai-perf-2024-early.txt");
    let mut summary = summary_of_2024(golden);
    summary.scalars = vec![(Metric::OutputTokenThroughput, 635.61), (Metric::RequestThroughput, 6.15)];
    assert_eq!(render(Style::GenaiPerf2024Early, &plan(EndpointKind::Chat), &summary), golden);
}

#[test]
fn the_native_table_has_the_rows_and_cells_of_the_real_one() {
    let consoles = [
        include_str!("../../../tests/golden/chat/console.txt"),
        include_str!("../../../tests/golden/completions/console.txt"),
        include_str!("../../../tests/golden/trtllm/console.txt"),
        include_str!("../../../tests/golden/vllm/console.txt"),
    ];
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
        assert!(text.starts_with("Verdict: ") && text.contains("\n\n"), "{text}");
        assert_eq!(text.lines().nth(3).unwrap().trim(), "Streamgauge | LLM Metrics");
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
    summary.failures =
        vec![FailureGroup { stage, class, status: None, count: 3, sample, mixed: false, time_to_failure }];
    let text = render(Style::Native, &plan(EndpointKind::Chat), &summary);
    let (table, below) = text.split_at(text.rfind('┘').unwrap() + '┘'.len_utf8() + 1);
    assert_eq!(body(table)[0][4], "~30.69");
    let expected = "\
~: too few samples to trust this percentile (no two-sided 95 % interval)
Inter Token Latency: percentiles of 8 values, accurate to 0.1 % (from a histogram)

Requests: 1,008 ok, 3 failed, 0 cut off, 1 retried, in 0.26 s (and 2 in the warm-up)
Output tokens counted by: the server's usage (8 requests), chosen automatically
  usage and tokenizer differ by more than 2 % in 0 of 8 requests
  the server counts 11.00 input tokens more per request than this client (chat template, special tokens)

Failed requests (not in the figures above)
  3 x error inside the answer (body), after 1,000.00 ms on average and 1,100.50 ms at most
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
    let cells = |label: &str| body(&text).into_iter().find(|row| row[0] == label).unwrap()[9..].to_vec();
    assert_eq!(cells("Request Latency (ms)"), ["1.25", "4.00"]);
    assert_eq!(cells("Time To First Token (ms)"), ["N/A", "N/A"]);
    assert_eq!(cells("Request Throughput (per sec)"), ["2.51", "N/A"]);
    assert_eq!(cells("Request Count (count)"), ["N/A", "N/A"]);
    assert!(text.contains("\n±: 95 % confidence interval"));
}

#[test]
fn an_interval_that_takes_a_longer_run_is_marked_and_says_how_long() {
    let mut summary = golden_summary(golden_runs()[0].1);
    let (_, latency) = summary.distributions.iter_mut().find(|(m, _)| *m == Metric::RequestLatency).unwrap();
    latency.intervals.needed.avg = Some(53.2);
    latency.intervals.needed.percentiles[8] = Some(899.1);
    let text = render(Style::Native, &plan(EndpointKind::Chat), &summary);
    let row = body(&text).into_iter().find(|row| row[0] == "Request Latency (ms)").unwrap();
    assert_eq!(row[9..], ["†", "†"]);
    assert!(text.contains("\n†: no interval, because successive values depend on each other"), "{text}");
    assert!(text.contains("a run of at least 900 s"), "{text}");
    assert!(!render(Style::Native, &plan(EndpointKind::Chat), &golden_summary(golden_runs()[0].1)).contains('†'));
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
        let (_, table) = text.split_once("A failed request counts as infinitely long\n").unwrap();
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
fn the_steady_time_has_a_table_of_its_own() {
    let mut plan = plan(EndpointKind::Chat);
    let mut summary = golden_summary(golden_runs()[0].1);
    let mut steady = golden_summary(golden_runs()[0].1);
    steady.distributions.iter_mut().for_each(|(_, d)| d.avg = 2_222.0);
    (steady.counts.requests, steady.counts.ok) = (1_009, 1_006);
    steady.duration = Nanos::from_millis(1_250);
    summary.steady_state = Some(Box::new(steady));
    assert!(!render(Style::Native, &plan, &summary).contains("Steady"), "it was not asked for");
    plan.measure.steady_state = true;
    let text = render(Style::Native, &plan, &summary);
    let (_, below) = text.split_once("Steady state: all slots busy").unwrap();
    let labels: Vec<&str> = body(below).iter().map(|row| row[0]).collect();
    let expected = [
        "Time To First Token (ms)",
        "Request Latency (ms)",
        "Inter Token Latency (ms)",
        "Output Token Throughput (tokens/sec)",
        "Request Throughput (per sec)",
        "Request Goodput (per sec)",
        "Request Count (count)",
    ];
    assert_eq!(labels, expected);
    assert_eq!(body(below)[0][1], "2,222.00");
    let line = "\nall slots were busy for 1.25 s: latencies are of the 1,006 requests sent in that time and answered,\n  rates are \
                of the output and the completed requests in that time\n";
    assert!(below.contains(line), "{below}");
    plan.endpoint.streaming = false;
    assert_eq!(
        body(render(Style::Native, &plan, &summary).split_once("Steady").unwrap().1)[0][0],
        "Request Latency (ms)"
    );
    summary.steady_state = None;
    let text = render(Style::Native, &plan, &summary);
    assert!(
        text.contains("\nSteady state: no figures, because the slots were never all busy at once or sent fewer than two requests each\n")
    );
}

#[test]
fn what_an_ordinary_run_has_none_of_is_counted_where_there_was_some() {
    let mut plan = plan(EndpointKind::Chat);
    let mut summary = golden_summary(golden_runs()[0].1);
    summary.counts = Counts { requests: 1_004, ok: 1_001, cancelled: 3, outside: 1_200, ..Counts::default() };
    summary.scope = Scope::Ended(Span { from: Nanos(0), to: Nanos(1) });
    summary.targets = vec![TargetCounts { requests: 1_004, ok: 1_001, failed: 0 }];
    plan.endpoint.others = vec![Target { tls: false, host: "other".into(), port: 80 }];
    let text = render(Style::Native, &plan, &summary);
    let expected = "\nRequests: 1,001 ok, 0 failed, 0 cut off, 3 cancelled, 0 retried, in 0.26 s of windows; \
                        1,200 outside the windows\n  http://localhost:18700: 1,004 requests, 1,001 ok, 0 failed\n  \
                        http://other: 0 requests, 0 ok, 0 failed\n";
    assert!(text.contains(expected), "{text}");
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
    assert!(!text.contains("Output tokens counted by"));
    let early = render(Style::GenaiPerf2024Early, &plan(EndpointKind::Chat), &summary);
    assert!(early.ends_with("Request throughput (per sec): N/A\n"));
}

#[test]
fn the_native_table_fits_into_the_terminal() {
    let mut plan = plan(EndpointKind::Chat);
    plan.measure.steady_state = true;
    let mut summary = golden_summary(golden_runs()[0].1);
    add_ours(&mut summary);
    for (_, d) in &mut summary.distributions {
        (d.avg, d.min, d.max, d.std) = (12_345.67, 1_234.56, 123_456.78, 4_321.09);
        d.percentiles = [23_456.78; 9];
    }
    summary.steady_state = Some(Box::new(summary.clone()));
    for (width, left_out) in
        [(200, ""), (120, "±p99, std"), (100, "±p99, std, p75, min"), (80, "±p99, std, p75, min, ±avg, p90")]
    {
        let text = super::render(Style::Native, &plan, &summary, width);
        let tables = text.lines().filter(|line| line.starts_with(['┏', '┃', '┡', '│', '└']));
        let widest = tables.map(|line| line.chars().count()).max().unwrap();
        assert!(widest <= width, "{widest} at {width}: {text}");
        let said = text
            .lines()
            .find_map(|line| line.strip_prefix("columns left out to fit the terminal: "))
            .unwrap_or_default();
        assert_eq!(said.trim_end_matches("; they are in the JSON"), left_out, "{text}");
        let head = text.lines().find(|line| line.starts_with('┃')).unwrap();
        assert!(["avg", "p50", "p99"].iter().all(|column| head.contains(column)), "{head}");
    }
    // Less than it needs is no reason to fail.
    assert!(super::render(Style::Native, &plan, &summary, 10).contains("p50"));
}

#[test]
fn the_verdict_comes_first_with_one_line_of_reason() {
    let mut summary = golden_summary(golden_runs()[0].1);
    add_ours(&mut summary);
    let first = |summary: &Summary, width: usize| {
        let text = super::render(Style::Native, &plan(EndpointKind::Chat), summary, width);
        text.lines().take(3).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(first(&summary, 80), ["Verdict: degraded", "  Client's share: 2.1 % of latency", ""]);
    let again = summary.fidelity.rows.iter().find(|row| row.grade == Grade::Degraded).unwrap().clone();
    summary.fidelity.rows.push(again);
    assert_eq!(first(&summary, 80)[1], "  Client's share: 2.1 % of latency (and 1 more below)");
    assert_eq!(first(&summary, 40)[1].chars().count(), 40);
    summary.fidelity.verdict = Grade::Good;
    assert_eq!(first(&summary, 80)[0], "Verdict: good");
}
