//! What is folded in parts is what is folded as a whole.

use crate::properties::any_record;
use crate::support::{config, facts, goodput, stream, summary_of};
use proptest::collection::vec;
use proptest::prelude::*;
use streamgauge_core::plan::TokenCount;
use streamgauge_core::{Nanos, Record};
use streamgauge_stats::distribution::EXACT_VALUES;
use streamgauge_stats::{Accumulator, AccumulatorConfig, Distribution, MergeError, Metric, Sampler, Scope, Span};

fn folded<'a>(config: &AccumulatorConfig, scope: Scope, records: impl IntoIterator<Item = &'a Record>) -> Accumulator {
    let mut accumulator = Accumulator::of(config.clone(), scope);
    records.into_iter().for_each(|record| accumulator.add(record));
    accumulator
}

proptest! {
    #[test]
    fn a_summary_in_parts_is_the_summary_of_the_whole(
        records in vec((any_record(), 0..4_usize, 0..3_u16, 0..3_u32), 1..60),
        (handed_over, burst, limited) in (any::<bool>(), 0..3_u32, any::<bool>()),
        (from, to) in (0..50_000_000_i64, 50_000_000..120_000_000_i64),
    ) {
        let records: Vec<(Record, usize)> = records
            .into_iter()
            .enumerate()
            .map(|(seq, (record, part, target, slot))| {
                (Record { seq: seq as u64, target, slot, turnaround: Some(Nanos(seq as i64)), ..record }, part)
            })
            .collect();
        let config = AccumulatorConfig {
            handed_over: handed_over.then_some(3),
            opening_burst: burst,
            goodput: if limited { goodput(&[("inter_token_latency", 4.0)]) } else { goodput(&[]) },
            ..config()
        };
        let span = Span { from: Nanos(from), to: Nanos(to) };
        for scope in [Scope::Run, Scope::Ended(span), Scope::Held(span)] {
            let whole = folded(&config, scope, records.iter().map(|(record, _)| record)).close(&facts());
            let mut merged = Accumulator::of(config.clone(), scope);
            for part in 0..4 {
                let of_part = records.iter().filter(|(_, known)| *known == part).map(|(record, _)| record);
                merged.merge(folded(&config, scope, of_part)).unwrap();
            }
            prop_assert_eq!(merged.close(&facts()), whole);
        }
    }

}

proptest! {
    // Each case has over half a million values to add.
    #![proptest_config(ProptestConfig::with_cases(8))]
    #[test]
    fn samplers_of_many_values_merge_to_the_sampler_of_all(
        (extra, shares, untimed) in (0..2_000_usize, vec(1..100_usize, 1..4), any::<bool>())
    ) {
        let count = EXACT_VALUES - 1_000 + extra;
        let value = |index: usize| ((index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as f64 / 1e3 - 2_000.0;
        let add = |sampler: &mut Sampler, index: usize| match untimed && index == 7 {
            true => sampler.add(value(index)),
            false => sampler.add_at(value(index), Nanos(index as i64 * 1_000_000)),
        };
        let mut whole = Sampler::of(Metric::RequestLatency);
        (0..count).for_each(|index| add(&mut whole, index));
        let mut merged = Sampler::of(Metric::RequestLatency);
        let (mut from, all) = (0, shares.iter().sum::<usize>());
        for share in &shares {
            let to = (from + count * share / all + 1).min(count);
            let mut part = Sampler::of(Metric::RequestLatency);
            (from..to).for_each(|index| add(&mut part, index));
            merged.merge(part);
            from = to;
        }
        (from..count).for_each(|index| add(&mut merged, index));
        same_but_for_last_bits(&merged.close().unwrap(), &whole.close().unwrap());
    }
}

/// Means and deviations are sums of as many numbers as there are values; everything else is the same.
fn same_but_for_last_bits(found: &Distribution, whole: &Distribution) {
    let near = |a: f64, b: f64| (a - b).abs() <= 1e-9 * whole.std.max(whole.avg.abs());
    assert!(near(found.avg, whole.avg) && near(found.std, whole.std), "{found:?}\n{whole:?}");
    assert_eq!((found.count, found.exact), (whole.count, whole.exact));
    assert_eq!((found.min, found.max, found.percentiles), (whole.min, whole.max, whole.percentiles));
    assert_eq!(found.intervals.percentiles, whole.intervals.percentiles);
    assert_eq!(
        (found.intervals.effective, found.intervals.needed),
        (whole.intervals.effective, whole.intervals.needed)
    );
}

#[test]
fn more_requests_than_are_kept_exactly_merge_for_every_metric() {
    let config = config();
    let record = |index: i64| {
        let sent = index * 3 + (index * index) % 7;
        Record { slot: (index % 5) as u32, ..stream(index as u64, sent, 2 + (index * 31) % 11, 2) }
    };
    let count = EXACT_VALUES as i64 + 5_000;
    let records: Vec<Record> = (0..count).map(record).collect();
    let whole = folded(&config, Scope::Run, &records).close(&facts());
    let mut merged = folded(&config, Scope::Run, &records[100_000..]);
    merged.merge(folded(&config, Scope::Run, &records[..100_000])).unwrap();
    let merged = merged.close(&facts());
    assert!(whole.distribution(Metric::RequestLatency).is_some_and(|latency| !latency.exact));
    assert_eq!(merged.distributions.len(), whole.distributions.len());
    for ((metric, found), (expected, whole)) in merged.distributions.iter().zip(&whole.distributions) {
        assert_eq!(metric, expected);
        same_but_for_last_bits(found, whole);
    }
    assert_eq!((merged.counts, merged.duration, merged.tokens), (whole.counts, whole.duration, whole.tokens));
    assert_eq!(merged.scalars, whole.scalars);
}

#[test]
fn summaries_of_different_plans_are_not_merged() {
    let records = [stream(0, 0, 10, 5)];
    let mut accumulator = folded(&config(), Scope::Run, &records);
    let other = AccumulatorConfig { token_count: TokenCount::Chunks, ..config() };
    assert_eq!(accumulator.merge(Accumulator::new(other)), Err(MergeError));
    let span = Span { from: Nanos(0), to: Nanos(1) };
    assert_eq!(accumulator.merge(Accumulator::of(config(), Scope::Held(span))), Err(MergeError));
    assert_eq!(accumulator.close(&facts()), summary_of(config(), &facts(), &records));
}
