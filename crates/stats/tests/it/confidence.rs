//! Runs that end when a figure is known well enough.

use crate::support::{answer, config, facts, goodput, plan, row, stream, summary_of};
use streamgauge_core::arrival::Arrival;
use streamgauge_core::load::Load;
use streamgauge_core::record::RunFacts;
use streamgauge_core::stop::ConfidenceRule;
use streamgauge_core::{Nanos, Record, Satisfied};
use streamgauge_stats::confidence::{APART, LOOK_FROM};
use streamgauge_stats::{Accumulator, AccumulatorConfig, Confidence, Estimate, Grade, Interval};

fn rule(metric: &str, percentile: Option<u8>, percent: f64) -> ConfidenceRule {
    ConfidenceRule { metric: metric.into(), percentile, within: percent / 100.0 }
}

fn confidence(rule: ConfidenceRule) -> Confidence {
    let mut plan = plan();
    plan.measure.goodput = vec![("request_latency".into(), 1e9)];
    plan.load.stop.confidence = Some(rule);
    Confidence::of(&plan).unwrap().unwrap()
}

/// Latencies of 90 to 110 ms in a fixed disorder without any period, one request after the other.
fn record(seq: u64) -> Record {
    let mixed = (seq + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let (sent, latency) = (seq as i64 * 110, 90 + ((mixed ^ (mixed >> 27)) % 21) as i64);
    answer(seq, sent * 1_000_000, &[(sent + latency) * 1_000_000])
}

/// After how many records the run is told to end, of up to `most`, and why; each record is `gap` after the one before.
fn decision(rule: ConfidenceRule, most: u64, gap: Nanos) -> Option<(u64, String)> {
    decide(rule, (0..most).map(record), gap)
}

/// The same of other records, half a second apart.
fn decision_of(rule: ConfidenceRule, records: impl Iterator<Item = Record>) -> Option<(u64, String)> {
    decide(rule, records, APART)
}

fn decide(rule: ConfidenceRule, records: impl Iterator<Item = Record>, gap: Nanos) -> Option<(u64, String)> {
    let mut confidence = confidence(rule);
    let mut accumulator =
        Accumulator::new(AccumulatorConfig { goodput: goodput(&[("request_latency", 1e9)]), ..config() });
    records.zip(0..).find_map(|(record, seq): (Record, i64)| {
        accumulator.add(&record);
        Some((seq as u64 + 1, confidence.look(&mut accumulator, Nanos(gap.0 * seq))?.to_string()))
    })
}

#[test]
fn a_mean_is_waited_for_until_its_interval_is_narrow_enough() {
    // Uniform over 21 values: deviation 6.055, so ±2.0 * 6.055 / 12.8 = ±0.95 of 100 at the first look from a hundred and fifty
    // on, and somewhat more by what chance makes of their dependence. Looks are at 100, 110, 121, 134, 148 and 163.
    let (count, why) = decision(rule("request_latency", None, 1.3), 10_000, APART).unwrap();
    assert_eq!((LOOK_FROM, count), (100, 163));
    assert!(why.starts_with("the 95 % interval of mean request_latency is ±1.1"), "{why}");
    assert!(why.ends_with(" %, 1.3 % was requested"), "{why}");
    // ±0.5 % takes some (1.96 * 6.055 / 0.5)² = 563 requests, looked for at every ten percent more.
    let (count, _) = decision(rule("request_latency", None, 0.5), 10_000, APART).unwrap();
    assert!((540..=800).contains(&count), "{count}");
    assert_eq!(decision(rule("request_latency", None, 0.5), 500, APART), None);
}

#[test]
fn any_percentile_and_every_rate_can_be_waited_for() {
    // p99 has an interval from 299 on; 109 to 110 ms around p99 are ±0.5 %.
    let (count, why) = decision(rule("request_latency", Some(99), 1.0), 10_000, APART).unwrap();
    assert!((299..=330).contains(&count) && why.contains("request_latency p99 is ±"), "{count}: {why}");
    assert!(
        decision(rule("request_latency", Some(42), 2.0), 10_000, APART).unwrap().1.contains("request_latency p42 is")
    );
    for key in ["output_token_throughput", "request_throughput", "request_goodput"] {
        let (_, why) = decision(rule(key, None, 3.0), 10_000, APART).unwrap();
        assert!(why.contains(&format!("interval of {key} is ±")), "{why}");
    }
    // A second token that never comes has no interval.
    assert_eq!(decision(rule("time_to_second_token", None, 50.0), 1_000, APART), None);
}

#[test]
fn looks_are_apart_in_requests_and_in_time() {
    // All within half a second: there is one look, at the hundredth, and a mean takes more.
    assert_eq!(decision(rule("request_latency", None, 1.1), 4_000, Nanos(1_000)), None);
    // A hundredth of the time between two: from the 100th on at every 50th.
    let (count, _) = decision(rule("request_latency", None, 1.1), 4_000, Nanos(APART.0 / 50)).unwrap();
    assert_eq!(count, 150 + 50);
    // With time enough, ten percent more: 148, 163, 180.
    let (count, _) = decision(rule("request_latency", None, 1.1), 4_000, APART).unwrap();
    assert!([163, 180, 198].contains(&count), "{count}");
}

#[test]
fn looking_changes_nothing() {
    for rule in [rule("request_latency", Some(90), 0.001), rule("request_throughput", None, 0.001)] {
        let looked = || AccumulatorConfig { confidence: Some(rule.clone()), ..config() };
        let mut accumulator = Accumulator::new(looked());
        let mut confidence = confidence(rule.clone());
        let records: Vec<Record> = (0..1_000).map(record).collect();
        for record in &records {
            accumulator.add(record);
            assert_eq!(confidence.look(&mut accumulator, record.end), None);
        }
        assert_eq!(accumulator.close(&facts()), summary_of(looked(), &facts(), &records));
    }
}

#[test]
fn the_row_says_how_well_it_is_known() {
    let of = |rule: ConfidenceRule, count: u64, satisfied: bool| {
        let config = AccumulatorConfig { confidence: Some(rule), ..config() };
        let facts = RunFacts { satisfied: satisfied.then(|| Satisfied::Stored("known".into())), ..facts() };
        let summary = summary_of(config, &facts, &(0..count).map(record).collect::<Vec<_>>());
        let row = row(&summary, "confidence").unwrap().clone();
        (row.grade, row.value, row.remedy.is_some())
    };
    let (grade, value, remedy) = of(rule("request_latency", None, 1.3), 163, false);
    assert_eq!((grade, remedy), (Grade::Good, false));
    assert!(value.starts_with("±1.1") && value.ends_with(" % of mean request_latency; 1.3 % was requested"), "{value}");
    let (grade, value, remedy) = of(rule("request_latency", None, 0.9), 163, false);
    assert_eq!((grade, remedy), (Grade::Degraded, true));
    assert!(value.ends_with("0.9 % was requested"), "{value}");
    // It was narrow enough when the run ended; what came after may have moved it.
    assert_eq!(of(rule("request_latency", None, 0.9), 163, true).0, Grade::Good);
    let (grade, value, _) = of(rule("request_latency", Some(99), 1.0), 298, false);
    assert_eq!(
        (grade, value.as_str()),
        (Grade::Degraded, "too few requests for an interval of request_latency p99; 1 % was requested")
    );
    assert_eq!(row(&summary_of(config(), &facts(), &[stream(0, 0, 1, 1)]), "confidence"), None);
    // Two hundred requests, of which the second hundred took twice as long.
    let risen =
        |seq: u64| answer(seq, seq as i64 * 1_000_000, &[seq as i64 * 1_000_000 + 90_000_000 * (1 + seq as i64 / 100)]);
    let config = AccumulatorConfig { confidence: Some(rule("request_latency", None, 1.0)), ..config() };
    let summary = summary_of(config, &facts(), &(0..200).map(risen).collect::<Vec<_>>());
    let value = &row(&summary, "confidence").unwrap().value;
    let named =
        "no interval of mean request_latency: its values depend on each other for so long that a run of at least ";
    assert!(value.starts_with(named) && value.ends_with(" s is needed; 1 % was requested"), "{value}");
    assert_eq!(decision_of(rule("request_latency", None, 99.0), (0..200).map(risen)), None);
    let found = row(&summary, "run_length").unwrap();
    assert!(
        found.value.starts_with("too short for some intervals: at least ") && found.grade == Grade::Good,
        "{found:?}"
    );
    assert!(found.value.contains("for time to first token, request latency"), "{}", found.value);
    assert!(found.number.unwrap() > 0.2, "{found:?}");
}

#[test]
fn the_farther_end_counts_and_nothing_has_no_precision() {
    let figure = |value, interval| Estimate { value, interval, needed: None };
    let precision = figure(-10.0, Some(Interval { low: -11.0, high: -7.0 })).precision();
    assert_eq!(precision, Some(0.3));
    assert_eq!(figure(0.0, Some(Interval { low: 0.0, high: 0.0 })).precision(), None);
    assert_eq!(figure(0.0, Some(Interval { low: -1.0, high: 1.0 })).precision(), None);
    assert_eq!(figure(1.0, None).precision(), None);
}

#[test]
fn rules_that_no_run_can_meet_are_refused_in_a_sentence() {
    let refusal = |rule: ConfidenceRule| {
        let mut plan = plan();
        plan.load.stop.confidence = Some(rule);
        Confidence::of(&plan).unwrap_err().to_string()
    };
    let metrics = "time_to_first_token, time_to_first_token_from_due, time_to_second_token, request_latency, \
                   request_latency_from_due, inter_token_latency, output_token_throughput_per_user, time_per_output_token, \
                   output_sequence_length, time_to_first_byte, output_token_throughput, request_throughput, request_goodput";
    for key in ["ttft", "inter_chunk_latency", "request_count", ""] {
        let expected = format!("--ci-metric: `{key}` has no interval to wait for; the metrics that have are {metrics}");
        assert_eq!(refusal(rule(key, None, 2.0)), expected);
    }
    assert_eq!(
        refusal(rule("request_throughput", Some(50), 2.0)),
        "--ci-metric: `request_throughput` has no p50; it is one figure of the whole run: leave the percentile out"
    );
    assert_eq!(
        refusal(rule("request_latency", Some(100), 2.0)),
        "--ci-metric: `request_latency` has no p100; give one from p1 to p99"
    );
    assert!(refusal(rule("request_latency", Some(0), 2.0)).contains("has no p0"));
    for percent in [0.0, -1.0, 100.0, f64::NAN, f64::INFINITY] {
        let refusal = refusal(rule("request_latency", None, percent));
        assert!(
            refusal.ends_with("is not a share to wait for; give one over 0 % and under 100 %, such as 2%"),
            "{refusal}"
        );
    }
    assert_eq!(
        refusal(rule("request_goodput", None, 2.0)),
        "--ci-metric: `request_goodput` is a figure of runs with limits (--goodput) only"
    );
    assert_eq!(
        refusal(rule("request_latency_from_due", None, 2.0)),
        "--ci-metric: `request_latency_from_due` is a figure of runs with a schedule (--request-rate) only"
    );
    let mut plan = plan();
    plan.endpoint.streaming = false;
    plan.load.stop.confidence = Some(rule("inter_token_latency", None, 2.0));
    let expected = "--ci-metric: `inter_token_latency` is a figure of streams (--streaming) only";
    assert_eq!(Confidence::of(&plan).unwrap_err().to_string(), expected);
    plan.load.stop.confidence = Some(rule("request_latency_from_due", None, 2.0));
    plan.load.mode = Load::rate("10".parse().unwrap(), Arrival::Poisson);
    assert!(Confidence::of(&plan).unwrap().is_some());
    plan.load.stop.confidence = None;
    assert!(Confidence::of(&plan).unwrap().is_none());
}
