//! The report that is printed at the end of a run.
//!
//! The native style is GenAI-Perf's current table with what that tool leaves out: spread, failures, the source of the token
//! counts, and how far the figures can be trusted. The two styles of 2024 are that tool's tables of that year without additions,
//! for scripts that read them.

mod below;
mod conversations;

use super::server;
use crate::text::numbers::{NOT_AVAILABLE, grouped, grouped_count};
use crate::text::table::Table;
use crate::text::{label, put};
use streamgauge_core::RunPlan;
use streamgauge_core::plan::TokenCount;
use streamgauge_stats::{Distribution, Interval, Metric, Need, Summary, Use};
use streamgauge_wire::endpoints::spec;

/// A layout of the console report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// Streamgauge's own layout.
    #[default]
    Native,
    /// GenAI-Perf in the second half of 2024: throughput inside the table.
    GenaiPerf2024,
    /// GenAI-Perf in the first half of 2024: throughput in lines below the table.
    GenaiPerf2024Early,
}

/// Returns the report as text; every line ends with a newline. The native table leaves out columns until it is at most `width` wide, and names
/// them below it. The tables of the 2024 styles have the width that GenAI-Perf gave them.
pub fn render(style: Style, plan: &RunPlan, summary: &Summary, width: usize) -> String {
    let title = spec(plan.endpoint.kind).genai.title;
    match style {
        Style::Native => native(plan, summary, width),
        Style::GenaiPerf2024 => {
            let mut table = table_of_2024(&format!("NVIDIA GenAI-Perf | {title}"), plan, summary);
            for (metric, name) in Metric::throughputs_of_2024().into_iter().filter(|(metric, _)| applies(plan, *metric))
            {
                table.row(&format!("{name} (per sec)"), system_cells(summary.scalar(metric), COLUMNS.len()));
            }
            table.render()
        }
        Style::GenaiPerf2024Early => {
            let mut text = table_of_2024(title, plan, summary).render();
            for (metric, name) in Metric::throughputs_of_2024().into_iter().filter(|(metric, _)| applies(plan, *metric))
            {
                // GenAI-Perf of that time grouped thousands only inside the table.
                let value = summary.scalar(metric).map_or(NOT_AVAILABLE.into(), |value| format!("{value:.2}"));
                put(&mut text, format_args!("{name} (per sec): {value}\n"));
            }
            text
        }
    }
}

/// The columns of every style.
const COLUMNS: [&str; 6] = ["avg", "min", "max", "p99", "p90", "p75"];

/// The percentiles among [`COLUMNS`].
const PERCENTILE_COLUMNS: [u8; 3] = [99, 90, 75];

/// The columns that the native style adds. Only the figures that are compared most often have a `±` here; the JSON has one for every figure.
const OUR_COLUMNS: [&str; 4] = ["p50", "std", "±avg", "±p99"];

/// The columns that are left out when the table is too wide, in this order; mean, median and p99 are always shown.
const LEFT_OUT: [&str; 7] = ["±p99", "std", "p75", "min", "±avg", "p90", "max"];

/// The label width of a table that would not fit with wider labels.
const NARROW_LABELS: usize = 24;

/// Whether a run of `plan` can have values of the metric: the run asks for streams, and counts tokens, if the metric needs them.
fn applies(plan: &RunPlan, metric: Metric) -> bool {
    let has_tokens = plan.measure.token_count != TokenCount::None;
    (plan.endpoint.streaming || !metric.needs(Need::Stream)) && (has_tokens || !metric.needs(Need::Tokens))
}

fn table_of_2024(title: &str, plan: &RunPlan, summary: &Summary) -> Table {
    let mut table = Table::new(title, [&["Statistic"], &COLUMNS[..]].concat());
    for (metric, name) in Metric::rows_of_2024() {
        if applies(plan, metric) {
            table.row(name, cells(summary.distribution(metric), grouped_percentile));
        }
    }
    table
}

/// Returns one cell for each of [`COLUMNS`].
fn cells(distribution: Option<&Distribution>, percentile: fn(&Distribution, u8) -> String) -> Vec<String> {
    let Some(d) = distribution else { return vec![NOT_AVAILABLE.into(); COLUMNS.len()] };
    let mut cells = vec![grouped(d.avg), grouped(d.min), grouped(d.max)];
    cells.extend(PERCENTILE_COLUMNS.map(|p| percentile(d, p)));
    cells
}

fn grouped_percentile(d: &Distribution, p: u8) -> String {
    grouped(d.percentile(p))
}

/// A percentile, marked with `
fn marked_percentile(d: &Distribution, p: u8) -> String {
    let mark = if d.supports(p) { "" } else { "~" };
    format!("{mark}{}", grouped(d.percentile(p)))
}

fn system_cells(value: Option<f64>, columns: usize) -> Vec<String> {
    let mut cells = vec![NOT_AVAILABLE.into(); columns];
    cells[0] = value.map_or(NOT_AVAILABLE.into(), grouped);
    cells
}

fn native(plan: &RunPlan, summary: &Summary, width: usize) -> String {
    let shown = |metric: Metric| applies(plan, metric);
    // A closed loop has no schedule, so it has no latencies from due.
    let scheduled = |metric: Metric| !metric.needs(Need::Schedule) || summary.distribution(metric).is_some();
    let rows: Vec<Metric> =
        Metric::with_use(Use::Console).filter(|&metric| shown(metric) && scheduled(metric)).collect();
    let mut text = String::new();
    below::verdict(&mut text, &summary.fidelity, width);
    let title = format!("Streamgauge | {}", spec(plan.endpoint.kind).genai.title);
    let (table, left_out) = fitting_table(&title, &rows, summary, width);
    text.push_str(&table.render());
    if !left_out.is_empty() {
        put(
            &mut text,
            format_args!("columns left out to fit the terminal: {}; they are in the JSON\n", left_out.join(", ")),
        );
    }
    notes(&mut text, &rows, summary);
    text.push('\n');
    below::counts(&mut text, summary);
    if !plan.endpoint.others.is_empty() {
        below::targets(&mut text, plan, &summary.targets);
    }
    conversations::repeats(&mut text, summary.repeats.as_ref());
    below::token_sources(
        &mut text,
        plan.measure.token_count,
        &summary.tokens,
        summary.distribution(Metric::TemplateTokens),
    );
    below::failures(&mut text, &summary.failures);
    let waits: Vec<_> = summary.with_failures.iter().filter(|(metric, _)| shown(*metric)).collect();
    below::with_failures(&mut text, &waits);
    if let Some(figures) = &summary.conversations {
        conversations::conversations(&mut text, figures, plan.endpoint.streaming);
    }
    if plan.measure.steady_state {
        below::steady_state(&mut text, &rows, summary.steady_state.as_deref(), width);
    }
    server::lines(&mut text, summary);
    below::fidelity(&mut text, &summary.fidelity);
    text
}

/// Returns the native table, made to fit `width`, and the columns that were left out for that. Labels are narrowed before columns are left out.
fn fitting_table(title: &str, rows: &[Metric], summary: &Summary, width: usize) -> (Table, Vec<&'static str>) {
    let new = || Table::new(title, [&["Statistic"], &COLUMNS[..], &OUR_COLUMNS[..]].concat());
    let mut table = filled(new(), rows, summary);
    if table.width() > width {
        table = filled(new().with_labels(NARROW_LABELS), rows, summary);
    }
    let mut left_out = Vec::new();
    for name in LEFT_OUT {
        if table.width() <= width {
            break;
        }
        table.leave_out(name);
        left_out.push(name);
    }
    (table, left_out)
}

fn filled(mut table: Table, rows: &[Metric], summary: &Summary) -> Table {
    for &metric in rows.iter().filter(|metric| !metric.is_system()) {
        let distribution = summary.distribution(metric);
        let mut cells = cells(distribution, marked_percentile);
        cells.extend(match distribution {
            Some(d) => {
                let needed = d.intervals.needed;
                let avg = needed.avg.map_or_else(|| reach(d.intervals.avg, d.avg), |_| TOO_SHORT.into());
                let p99 =
                    needed.percentiles[8].map_or_else(|| reach(d.interval(99), d.percentile(99)), |_| TOO_SHORT.into());
                [marked_percentile(d, 50), grouped(d.std), avg, p99]
            }
            None => OUR_COLUMNS.map(|_| NOT_AVAILABLE.into()),
        });
        table.row(&label(metric), cells);
    }
    for &metric in rows.iter().filter(|metric| metric.is_system()) {
        let value = summary.scalar(metric);
        // Goodput has a row only if limits were given.
        if value.is_some() || !metric.needs(Need::Limits) {
            let mut cells = system_cells(value, COLUMNS.len() + OUR_COLUMNS.len());
            cells[COLUMNS.len() + 2] = reach(summary.interval(metric), value.unwrap_or(f64::NAN));
            table.row(&label(metric), cells);
        }
    }
    table
}

/// Shown instead of an interval that would need a longer run.
const TOO_SHORT: &str = "†";

/// The number after a `±`.
fn reach(interval: Option<Interval>, value: f64) -> String {
    interval.map_or(NOT_AVAILABLE.into(), |interval| grouped(interval.reach(value)))
}

/// Explains the marks in the table.
fn notes(text: &mut String, rows: &[Metric], summary: &Summary) {
    let shown: Vec<(Metric, &Distribution)> =
        rows.iter().filter_map(|&metric| Some((metric, summary.distribution(metric)?))).collect();
    if shown.iter().any(|(_, d)| d.intervals.avg.is_some()) {
        text.push_str("±: 95 % confidence interval (distance to its farther end; the JSON has both ends)\n");
    }
    let needed = shown.iter().flat_map(|(_, d)| [d.intervals.needed.avg, d.intervals.needed.percentiles[8]]).flatten();
    if let Some(longest) = needed.reduce(f64::max) {
        put(
            text,
            format_args!(
                "†: no interval, because successive values depend on each other and the run is too short to estimate by how much; \
                 a run of at least {} s gives all of these intervals\n",
                longest.ceil()
            ),
        );
    }
    if shown.iter().any(|(_, d)| PERCENTILE_COLUMNS.iter().chain(&[50]).any(|&p| !d.supports(p))) {
        text.push_str("~: too few samples to trust this percentile (no two-sided 95 % interval)\n");
    }
    for (metric, d) in shown.iter().filter(|(_, d)| !d.exact) {
        let (title, count) = (metric.title(), grouped_count(d.count));
        put(text, format_args!("{title}: percentiles of {count} values, accurate to 0.1 % (from a histogram)\n"));
    }
}

#[cfg(test)]
mod tests;
