//! What happened when, and the summary read back from its JSON.

use crate::properties::any_record;
use crate::support::{config, facts, failure, goodput, stream, summary_of};
use proptest::collection::vec;
use proptest::prelude::*;
use streamgauge_core::{FailureClass, Nanos, Record, Stage};
use streamgauge_stats::timeline::MOST_INTERVALS;
use streamgauge_stats::{Accumulator, AccumulatorConfig, MeanAndMax, Summary};

const MS: i64 = 1_000_000;

#[test]
fn each_interval_has_what_happened_in_it() {
    // 2^26 ns are 67.108864 ms. Two streams of five tokens 20 ms apart, the second sent 100 ms after the first; and a failure.
    let due = Record { due: Some(Nanos(90 * MS)), ..stream(1, 100, 20, 5) };
    let records = [stream(0, 0, 20, 5), due, failure(2, 10, Stage::Body, FailureClass::Reset, "gone")];
    let timeline = summary_of(config(), &facts(), &records).timeline;
    assert_eq!(timeline.interval, Nanos(1 << 26));
    let [first, second, third] = timeline.intervals.as_slice() else { panic!("{timeline:?}") };
    assert_eq!((first.from, second.from, third.from), (Nanos(0), Nanos(1 << 26), Nanos(2 << 26)));
    let counts = |of: &streamgauge_stats::TimelineInterval| (of.sent, of.ok, of.failed, of.tokens);
    assert_eq!((counts(first), counts(second), counts(third)), ((2, 0, 1, 3), (1, 1, 0, 3), (0, 1, 0, 4)));
    let busy = |from: f64, to: f64| (to - from) / 67.108_864;
    // The failed request was in flight for 10 ms.
    let expected =
        [1.0 + busy(0.0, 10.0), busy(67.108_864, 100.0) + busy(100.0, 134.217_728), busy(134.217_728, 200.0)];
    for (found, expected) in timeline.intervals.iter().zip(expected) {
        assert!((found.concurrency - expected).abs() < 1e-9, "{found:?} {expected}");
    }
    let one = |value: f64| Some(MeanAndMax { count: 1, mean: value, max: value });
    assert_eq!((second.request_latency, second.time_to_first_token), (one(100.0), one(20.0)));
    assert_eq!((second.send_lateness, first.send_lateness), (one(10.0), None));
}

#[test]
fn a_long_run_has_no_more_intervals_than_a_short_one() {
    let mut accumulator = Accumulator::new(config());
    (0..20_000).for_each(|index| accumulator.add(&stream(index, index as i64 * 100, 10, 2)));
    let timeline = accumulator.close(&facts()).timeline;
    assert!((MOST_INTERVALS / 2..=MOST_INTERVALS).contains(&timeline.intervals.len()));
    assert_eq!(timeline.interval, Nanos(1 << 32));
    assert_eq!(timeline.intervals.iter().map(|interval| interval.ok).sum::<u64>(), 20_000);
    assert_eq!(timeline.intervals.iter().map(|interval| interval.tokens).sum::<u64>(), 40_000);
    // One stream of 20 ms every 100 ms.
    let inner = &timeline.intervals[1..timeline.intervals.len() - 1];
    assert!(inner.iter().all(|interval| (interval.concurrency - 0.2).abs() < 0.01));
}

proptest! {
    #[test]
    fn a_summary_is_read_back_from_its_json(records in vec(any_record(), 0..40), steady in any::<bool>()) {
        let limits = goodput(&[("inter_token_latency", 4.0)]);
        let config = AccumulatorConfig { goodput: limits, opening_burst: 1, ..config() };
        let mut summary = summary_of(config.clone(), &facts(), &records);
        summary.steady_state = steady.then(|| Box::new(summary_of(config, &facts(), &records)));
        let json = serde_json::to_string(&summary).unwrap();
        let read: Summary = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(serde_json::to_string(&read).unwrap(), json);
        prop_assert_eq!(read, summary);
    }
}

#[test]
fn what_is_no_summary_is_refused() {
    let mut json = serde_json::to_value(summary_of(config(), &facts(), &[stream(0, 0, 10, 5)])).unwrap();
    json["scalars"][0][0] = "no_such_metric".into();
    let error = serde_json::from_value::<Summary>(json).unwrap_err().to_string();
    assert!(error.contains("`no_such_metric` is not a metric"), "{error}");
}
