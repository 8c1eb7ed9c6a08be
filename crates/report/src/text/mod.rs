//! Building blocks that several reports share: tables, numbers, JSON in two layouts, and labels of metrics.

pub(crate) mod compact;
pub(crate) mod indented;
pub(crate) mod numbers;
pub(crate) mod table;

use std::fmt::Write;
use streamgauge_stats::Metric;

/// A metric's name and unit in the form of GenAI-Perf's tables.
pub(crate) fn label(metric: Metric) -> String {
    format!("{} ({})", metric.title(), metric.row_unit())
}

/// Appends formatted text. Writing to a `String` cannot fail.
pub(crate) fn put(text: &mut String, args: std::fmt::Arguments<'_>) {
    let _ = text.write_fmt(args);
}
