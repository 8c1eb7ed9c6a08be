//! Runs whose slots go over from a warm-up one by one: exact rates, whatever the slots' phases; and what a run without a warm-up
//! says of its opening burst.

use crate::support::{config, facts, row, stream, summary_of};
use streamgauge_core::{Nanos, Phase, Record};
use streamgauge_stats::{AccumulatorConfig, Grade, Metric};

/// A request of slot `slot` that takes 1,000 ms and has ten tokens.
fn second(slot: u32, seq: u64, sent_ms: i64) -> Record {
    Record { slot, ..stream(seq, sent_ms, 100, 10) }
}

/// Four slots, each with a warm-up request that ends at its offset and as many requests after it as given.
fn run(offsets_ms: [i64; 4], requests: [i64; 4]) -> Vec<Record> {
    let mut records = Vec::new();
    for ((slot, offset), requests) in (0..).zip(offsets_ms).zip(requests) {
        records.push(Record { phase: Phase::Warmup, ..second(slot, u64::from(slot), offset - 1_000) });
        for number in 0..requests {
            records.push(second(slot, records.len() as u64, offset + number * 1_000));
        }
    }
    records
}

fn rates(records: &[Record]) -> (f64, f64, f64) {
    let config = AccumulatorConfig { handed_over: Some(4), ..config() };
    let summary = summary_of(config, &facts(), records);
    let scalar = |metric| summary.scalar(metric).unwrap();
    let seconds = summary.duration.as_secs_f64();
    (seconds, scalar(Metric::RequestThroughput), scalar(Metric::OutputTokenThroughput))
}

#[test]
fn four_slots_of_a_second_make_four_requests_a_second_in_any_phase() {
    // Apart: over 10.75 s from the first request to the last end it would be 3.72.
    assert_eq!(rates(&run([0, 250, 500, 750], [10; 4])), (10.0, 4.0, 40.0));
    // In step, and with a count that ends in the middle of a wave: over 2 s it would be 3, over 1 s it would be 6.
    assert_eq!(rates(&run([0; 4], [2, 2, 1, 1])), (1.5, 4.0, 40.0));
    // A last warm-up request that is long keeps its slot from nothing but its own share.
    assert_eq!(rates(&run([0, 0, 0, 9_000], [10, 10, 10, 1])), (7.75, 4.0, 40.0));
    // Slots that never came to a measured request: the load is of four all the same.
    assert_eq!(rates(&run([0, 250, 500, 750], [3, 3, 0, 0])), (1.5, 4.0, 40.0));
}

#[test]
fn slots_beyond_the_warm_up_count_from_their_first_request() {
    let mut records = run([0, 250, 500, 750], [5; 4]);
    records.retain(|record| record.phase == Phase::Profiling || record.slot < 2);
    assert_eq!(rates(&records), (5.0, 4.0, 40.0));
}

#[test]
fn records_in_any_order_give_the_same_rates() {
    let mut records = run([0, 300, 100, 700], [7, 6, 7, 6]);
    let found = rates(&records);
    records.reverse();
    assert_eq!(rates(&records), found);
    assert_eq!((found.0, found.1), (6.5, 4.0));
}

#[test]
fn a_steady_load_has_the_same_rate_in_each_part_and_so_a_narrow_interval() {
    let config = AccumulatorConfig { handed_over: Some(4), ..config() };
    let records = run([0, 250, 500, 750], [40; 4]);
    let summary = summary_of(config, &facts(), &records);
    // What the last slots bring after 40 s is what the first were short of at the start: every bin of time has as much.
    let tokens = summary.interval(Metric::OutputTokenThroughput);
    assert!(tokens.is_none_or(|tokens| tokens.low > 39.0 && tokens.high < 41.0), "{tokens:?}");
}

#[test]
fn a_run_that_was_not_handed_over_has_its_rates_from_first_to_last() {
    let summary = summary_of(config(), &facts(), &run([0; 4], [2, 2, 1, 1]));
    assert_eq!(summary.duration, Nanos::from_millis(2_000));
    assert_eq!(summary.scalar(Metric::RequestThroughput), Some(3.0));
}

/// 4 requests with a first token after `burst_ms`, sent at once, and 196 after 50 ms.
fn with_burst(burst_ms: i64) -> Vec<Record> {
    let gap = |seq: u64| if seq < 4 { burst_ms } else { 50 };
    (0..200).map(|seq| stream(seq, seq as i64 * 100, gap(seq), 2)).collect()
}

#[test]
fn a_run_says_what_of_its_first_tokens_is_the_opening_burst() {
    let config = || AccumulatorConfig { opening_burst: 4, ..config() };
    let summary = summary_of(config(), &facts(), &with_burst(400));
    let found = row(&summary, "opening_burst").unwrap();
    assert_eq!(
        found.value,
        "TTFT p99 400.000 ms, 50.000 without the 4 requests sent together at the start; warm up to measure the load without its start (--warmup-request-count)"
    );
    assert_eq!((found.number, found.unit.as_ref(), found.grade), (Some(87.5), "%", Grade::Good));
    let summary = summary_of(config(), &facts(), &with_burst(50));
    let found = row(&summary, "opening_burst").unwrap();
    let expected = "TTFT p99 50.000 ms, 50.000 without the 4 requests sent together at the start";
    assert_eq!((found.value.as_str(), found.number), (expected, Some(0.0)));
}

#[test]
fn a_run_that_is_nothing_but_a_burst_says_so() {
    let config = AccumulatorConfig { opening_burst: 4, ..config() };
    let summary = summary_of(config, &facts(), &with_burst(400)[..4]);
    let found = row(&summary, "opening_burst").unwrap();
    assert_eq!(
        found.value,
        "TTFT p99 400.000 ms comes only from the 4 requests sent together at the start; send more requests, or warm up (--warmup-request-count)"
    );
    assert_eq!(found.number, Some(100.0));
}

#[test]
fn without_a_burst_or_without_streams_there_is_no_row() {
    let summary = summary_of(config(), &facts(), &with_burst(400));
    assert!(row(&summary, "opening_burst").is_none());
    let whole = AccumulatorConfig { opening_burst: 4, streaming: false, ..config() };
    assert!(row(&summary_of(whole, &facts(), &with_burst(400)), "opening_burst").is_none());
}
