//! Single numbers of a summary: a statistic of a metric.

use super::{Metric, Use};

/// One number of a summary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figure {
    /// The metric.
    pub metric: Metric,
    /// The statistic of the metric.
    pub statistic: Statistic,
}

/// Which number of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statistic {
    /// The mean, or the one number of the whole run.
    Avg,
    /// One of [`crate::PERCENTILES`].
    Percentile(u8),
}

pub(super) const P50: Statistic = Statistic::Percentile(50);
pub(super) const P99: Statistic = Statistic::Percentile(99);

impl Figure {
    /// The statistic's name in files: `avg`, `p50`.
    pub fn name(self) -> String {
        match self.statistic {
            Statistic::Avg => "avg".into(),
            Statistic::Percentile(p) => format!("p{p}"),
        }
    }
}

/// The figures by which levels and runs are compared, in the order of reports.
pub fn main_figures() -> impl Iterator<Item = Figure> {
    let compared = Metric::by_position(|known| match known {
        Use::Compare(position, statistics) => Some((position, statistics)),
        _ => None,
    });
    compared
        .into_iter()
        .flat_map(|(metric, statistics)| statistics.iter().map(move |&statistic| Figure { metric, statistic }))
}
