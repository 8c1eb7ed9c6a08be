//! Several runs of one load.

use crate::support::{failure, stream, summary};
use streamgauge_core::{FailureClass, Stage};
use streamgauge_stats::{Across, Grade, Metric, Statistic, Summary};

/// Ten requests whose first tokens come after `ms` and the two others `ms` apart.
fn run(ms: i64) -> Summary {
    summary(&(0..10).map(|n| stream(n, n as i64 * 100, ms, 3)).collect::<Vec<_>>())
}

#[test]
fn figures_are_means_over_runs_and_requests_are_all_runs() {
    let (first, second) = (run(10), run(14));
    let across = Across::of(&[&first, &second]);
    assert_eq!((across.runs, across.counts.ok, across.counts.failed), (2, 20, 0));
    let p50 = across.figure(Metric::TimeToFirstToken, Statistic::Percentile(50)).unwrap();
    assert_eq!((p50.spread.mean, p50.spread.min, p50.spread.max), (12.0, 10.0, 14.0));
    // Each run's values are all the same, so that chance within it explains no difference at all.
    assert_eq!((p50.within, p50.beyond, p50.supported), (Some(0.0), true, true));
    let p99 = across.figure(Metric::TimeToFirstToken, Statistic::Percentile(99)).unwrap();
    assert_eq!((p99.within, p99.beyond, p99.supported), (None, false, false), "ten values support no p99");
    assert!(across.figure(Metric::RequestGoodput, Statistic::Avg).is_none());
    let same = Across::of(&[&first, &first]);
    assert!(same.figures.iter().all(|figure| !figure.beyond && figure.spread.std == 0.0));
}

#[test]
fn a_run_that_measured_nothing_is_in_the_counts_and_the_verdict_only() {
    let failed = summary(&[failure(0, 5, Stage::Connect, FailureClass::Refused, "nobody")]);
    let across = Across::of(&[&run(10), &failed]);
    assert_eq!((across.runs, across.counts.requests, across.counts.failed), (2, 11, 1));
    assert_eq!(across.verdict, Grade::Invalid);
    let p50 = across.figure(Metric::RequestLatency, Statistic::Percentile(50)).unwrap();
    assert_eq!((p50.spread.runs, p50.spread.mean, p50.beyond), (1, 30.0, false));
}
