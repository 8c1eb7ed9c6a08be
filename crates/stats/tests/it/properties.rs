//! What holds for any records and any values.

use crate::support::{answer, config, facts, failure, goodput, summary_of};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use streamgauge_core::{FailureClass, Nanos, Outcome, Record, Stage};
use streamgauge_stats::distribution::EXACT_VALUES;
use streamgauge_stats::intervals::percentile_ranks;
use streamgauge_stats::thresholds::MEAN_VALUES;
use streamgauge_stats::{AccumulatorConfig, Interval, Metric, PERCENTILES, Sampler};

pub fn any_record() -> impl Strategy<Value = Record> {
    let succeeded =
        (0..100_000_000_i64, vec(0..10_000_000_i64, 1..8), any::<bool>()).prop_map(|(sent, gaps, shared)| {
            let at: Vec<i64> = gaps
                .iter()
                .scan(sent, |at, gap| {
                    *at += gap;
                    Some(*at)
                })
                .collect();
            let mut record = answer(0, sent, &at);
            record.chunks.iter_mut().skip(1).for_each(|chunk| chunk.shared = shared);
            record
        });
    let failed = (0..50_i64).prop_map(|after| failure(0, after, Stage::Body, FailureClass::Reset, &after.to_string()));
    let cut_off = succeeded.clone().prop_map(|record| Record { outcome: Outcome::CutOff, ..record });
    let due = of((0..1_000_i64).prop_map(Nanos));
    (prop_oneof![4 => succeeded, 1 => failed, 1 => cut_off], due).prop_map(|(record, due)| Record { due, ..record })
}

fn exact_percentile(sorted: &[f64], p: u8) -> f64 {
    let index = (sorted.len() - 1) as f64 * f64::from(p) / 100.0;
    let (low, part) = (index.floor() as usize, index.fract());
    sorted[low] + (sorted[(low + 1).min(sorted.len() - 1)] - sorted[low]) * part
}

fn close(a: f64, b: f64, tolerance: f64) -> bool {
    (a - b).abs() <= tolerance * b.abs().max(1e-9)
}

proptest! {
    #[test]
    fn the_order_of_records_does_not_matter(
        (records, shuffled) in vec(any_record(), 1..40)
            .prop_map(|records| {
                records.into_iter().enumerate().map(|(seq, record)| Record { seq: seq as u64, ..record }).collect()
            })
            .prop_flat_map(|records: Vec<Record>| (Just(records.clone()), Just(records).prop_shuffle()))
    ) {
        let limits = goodput(&[("inter_token_latency", 4.0)]);
        let config = AccumulatorConfig { goodput: limits, ..config() };
        prop_assert_eq!(summary_of(config.clone(), &facts(), &records), summary_of(config, &facts(), &shuffled));
    }

    #[test]
    fn statistics_of_few_values(values in vec(-1e6..1e6_f64, 1..200)) {
        let mut sampler = Sampler::of(Metric::RequestLatency);
        values.iter().for_each(|&value| sampler.add(value));
        let found = sampler.close().unwrap();
        let mut sorted = values;
        sorted.sort_by(f64::total_cmp);
        let mean = sorted.iter().sum::<f64>() / sorted.len() as f64;
        let variance = sorted.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / sorted.len() as f64;
        prop_assert!(found.exact && found.count == sorted.len() as u64);
        prop_assert!((found.avg - mean).abs() < 1e-6 && (found.std - variance.sqrt()).abs() < 1e-6);
        for p in PERCENTILES {
            prop_assert!((found.percentile(p) - exact_percentile(&sorted, p)).abs() < 1e-6);
        }
        prop_assert!(found.percentiles.is_sorted());
        prop_assert!(found.min <= found.percentiles[0] && found.percentiles[8] <= found.max);
        for p in PERCENTILES {
            prop_assert_eq!(found.interval(p).is_some(), found.supports(p));
            if let Some(Interval { low, high }) = found.interval(p) {
                prop_assert!(low <= found.percentile(p) && found.percentile(p) <= high);
                prop_assert!(sorted.contains(&low) && sorted.contains(&high));
            }
        }
        let mean = found.intervals.avg;
        prop_assert_eq!(mean.is_some(), sorted.len() as u64 >= MEAN_VALUES);
        prop_assert!(mean.is_none_or(|interval| interval.low <= found.avg && found.avg <= interval.high));
    }

    #[test]
    fn goodput_never_counts_a_request_that_lacks_a_limited_metric(records in vec(any_record(), 1..40)) {
        let config = AccumulatorConfig { goodput: goodput(&[("inter_token_latency", 1e9)]), ..config() };
        let summary = summary_of(config, &facts(), &records);
        let with = summary.distribution(Metric::InterTokenLatency).map_or(0, |known| known.count);
        if let Some(rate) = summary.scalar(Metric::RequestGoodput) {
            prop_assert!(close(rate * summary.duration.as_secs_f64(), with as f64, 1e-9));
        }
    }
}

proptest! {
    // Each case is a quarter of a million values; the interesting part is their spread, not their number.
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn a_histogram_stays_within_a_thousandth(scale in 1e-3..1e3_f64, spread in 0.0..6.0_f64, shift in 0.0..1.0_f64) {
        let count = EXACT_VALUES + 1_000;
        // Log-uniform over `spread` decades, some of it below zero, in an order that is neither up nor down.
        let value = |index: usize| {
            let at = (index * 48_271 % count) as f64 / count as f64;
            scale * (10f64.powf(at * spread) - shift)
        };
        let mut sampler = Sampler::of(Metric::RequestLatency);
        (0..count).for_each(|index| sampler.add(value(index)));
        let found = sampler.close().unwrap();
        let mut sorted: Vec<f64> = (0..count).map(value).collect();
        sorted.sort_by(f64::total_cmp);
        prop_assert!(!found.exact);
        prop_assert_eq!((found.count, found.min, found.max), (count as u64, sorted[0], sorted[count - 1]));
        prop_assert!(close(found.avg, sorted.iter().sum::<f64>() / count as f64, 1e-9));
        for p in PERCENTILES {
            // A thousandth of the value, or one histogram step where the value is smaller than a thousand of them.
            let exact = exact_percentile(&sorted, p);
            let near = |found: f64, exact: f64| (found - exact).abs() <= (exact.abs() * 1e-3).max(1e-6);
            prop_assert!(near(found.percentile(p), exact), "p{p}: {exact}");
            let (low, high) = percentile_ranks(count as u64, p).unwrap();
            let interval = found.interval(p).unwrap();
            prop_assert!(near(interval.low, sorted[low as usize]) && near(interval.high, sorted[high as usize]));
        }
    }
}
