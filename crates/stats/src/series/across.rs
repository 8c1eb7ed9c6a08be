//! Combines several runs of the same load: each main figure over the runs, and whether the runs differ by more than
//! their intervals allow.

use super::spread::{Spread, spread};
use crate::counts::Counts;
use crate::fidelity::Grade;
use crate::intervals::{Interval, NORMAL};
use crate::metrics::{Figure, Metric, Statistic, main_figures};
use crate::summary::Summary;

impl Figure {
    /// The number, in the metric's unit, when the run has it.
    pub fn of(self, summary: &Summary) -> Option<f64> {
        match (self.statistic, summary.distribution(self.metric)) {
            (Statistic::Avg, Some(d)) => Some(d.avg),
            (Statistic::Percentile(p), Some(d)) => Some(d.percentile(p)),
            (Statistic::Avg, None) => summary.scalar(self.metric),
            (Statistic::Percentile(_), None) => None,
        }
    }

    /// The confidence interval of the figure within the run.
    pub fn interval(self, summary: &Summary) -> Option<Interval> {
        match self.statistic {
            Statistic::Avg => summary.interval(self.metric),
            Statistic::Percentile(p) => summary.distribution(self.metric)?.interval(p),
        }
    }

    /// Whether the run has enough values for the figure, if it is a percentile.
    fn is_supported(self, summary: &Summary) -> bool {
        match (self.statistic, summary.distribution(self.metric)) {
            (Statistic::Percentile(p), Some(d)) => d.supports(p),
            _ => true,
        }
    }
}

/// The significance level of differences between runs: one in a hundred, because a series has many
/// figures that may differ by chance. The value is the 99th percentile of the normal distribution.
const RARE: f64 = 2.326_347_874;

/// One figure over the runs of a load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FigureAcross {
    /// The figure.
    pub figure: Figure,
    /// The mean over the runs that have the figure, and how much they differ.
    pub spread: Spread,
    /// The mean of the `±` of the individual runs; `None` if one of them has none.
    pub within: Option<f64>,
    /// Whether each of those runs has enough values for it.
    pub supported: bool,
    /// Whether the runs differ by more than their own intervals allow. Then something changes from run to run that a single
    /// run cannot show, and its `±` is too small for the next run. The test is Cochran's Q (the squared deviations over the
    /// squared standard error that the intervals imply) above the 99th percentile of its chi-square distribution.
    pub beyond: bool,
}

/// The runs of one load together.
#[derive(Clone, Debug, PartialEq)]
pub struct Across {
    /// The number of runs.
    pub runs: u64,
    /// The total number of requests.
    pub counts: Counts,
    /// The worst verdict.
    pub verdict: Grade,
    /// The figures of [`main_figures`] that at least one run has.
    pub figures: Vec<FigureAcross>,
}

impl Across {
    /// Combines these runs.
    pub fn of(runs: &[&Summary]) -> Across {
        let sum = |field: fn(&Counts) -> u64| runs.iter().map(|run| field(&run.counts)).sum();
        Across {
            runs: runs.len() as u64,
            counts: Counts {
                requests: sum(|counts| counts.requests),
                ok: sum(|counts| counts.ok),
                failed: sum(|counts| counts.failed),
                cut_off: sum(|counts| counts.cut_off),
                cancelled: sum(|counts| counts.cancelled),
                warmup: sum(|counts| counts.warmup),
                retried: sum(|counts| counts.retried),
                sent_late: sum(|counts| counts.sent_late),
                never_sent: sum(|counts| counts.never_sent),
                outside: sum(|counts| counts.outside),
            },
            verdict: runs.iter().map(|run| run.fidelity.verdict).max().unwrap_or(Grade::Good),
            figures: main_figures().filter_map(|figure| FigureAcross::of(figure, runs)).collect(),
        }
    }

    /// One figure, if a run has it.
    pub fn figure(&self, metric: Metric, statistic: Statistic) -> Option<&FigureAcross> {
        self.figures.iter().find(|across| across.figure == Figure { metric, statistic })
    }
}

impl FigureAcross {
    fn of(figure: Figure, runs: &[&Summary]) -> Option<FigureAcross> {
        let with = runs.iter().filter_map(|&run| Some((run, figure.of(run).filter(|value| value.is_finite())?)));
        let (runs, values): (Vec<&Summary>, Vec<f64>) = with.unzip();
        let spread = spread(&values)?;
        let reach = |(run, value): (&&Summary, &f64)| Some(figure.interval(run)?.reach(*value));
        let reaches: Option<Vec<f64>> = runs.iter().zip(&values).map(reach).collect();
        let within = reaches.map(|reaches| reaches.iter().sum::<f64>() / values.len() as f64);
        Some(FigureAcross {
            figure,
            spread,
            within,
            supported: runs.iter().all(|run| figure.is_supported(run)),
            beyond: within.is_some_and(|within| is_beyond(&spread, within)),
        })
    }
}

/// Cochran's test (1954), with one standard error for all runs: the mean `±` of the intervals divided by that of the normal distribution.
/// Intervals by Student's t, and asymmetric ones, are wider, so the test is conservative.
fn is_beyond(spread: &Spread, within: f64) -> bool {
    let freedom = spread.runs.saturating_sub(1) as f64;
    freedom > 0.0 && freedom * (spread.std * NORMAL).powi(2) > chi_square(freedom) * within.powi(2)
}

/// The 99th percentile of the chi-square distribution, to 1 % (Wilson and Hilferty, Abramowitz and Stegun 26.4.17).
fn chi_square(freedom: f64) -> f64 {
    let part = 2.0 / (9.0 * freedom);
    freedom * (1.0 - part + RARE * part.sqrt()).powi(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chi_square_percentiles_are_as_tabled() {
        for (freedom, expected) in [(1.0, 6.635), (2.0, 9.210), (4.0, 13.277), (9.0, 21.666), (99.0, 134.642)] {
            assert!((chi_square(freedom) / expected - 1.0).abs() < 0.01, "{freedom}: {}", chi_square(freedom));
        }
    }

    #[test]
    fn runs_differ_by_more_than_their_intervals_or_they_do_not() {
        // Of 10, 12, 14 the squared deviations are 8; two degrees allow 9.21 squared standard errors.
        let three = spread(&[10.0, 12.0, 14.0]).unwrap();
        let limit = NORMAL * (8.0f64 / 9.21).sqrt();
        assert!(is_beyond(&three, 0.98 * limit));
        assert!(!is_beyond(&three, 1.02 * limit));
        assert!(!is_beyond(&spread(&[10.0]).unwrap(), 0.0), "one run differs from none");
        assert!(!is_beyond(&spread(&[3.0, 3.0]).unwrap(), 0.0), "runs that are all the same do not differ");
        assert!(is_beyond(&spread(&[3.0, 3.1]).unwrap(), 0.0));
    }
}
