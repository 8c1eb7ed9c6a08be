//! Which requests and which output count where figures are of a part of the run.

use crate::support::{config, facts, failure, goodput, stream, summary_of};
use proptest::collection::vec;
use proptest::prelude::*;
use streamgauge_core::{FailureClass, Nanos, Outcome, Phase, Record, Stage};
use streamgauge_stats::{
    Accumulator, AccumulatorConfig, Counts, Metric, Scope, Slots, Span, Summary, TargetCounts, WithFailures,
};

fn span(from_ms: i64, to_ms: i64) -> Span {
    Span { from: Nanos::from_millis(from_ms), to: Nanos::from_millis(to_ms) }
}

fn of(scope: Scope, records: &[Record]) -> Summary {
    let config = AccumulatorConfig { goodput: goodput(&[("request_latency", 250.0)]), ..config() };
    let mut accumulator = Accumulator::of(config, scope);
    records.iter().for_each(|record| accumulator.add(record));
    accumulator.close(&facts())
}

fn latencies(summary: &Summary) -> Option<(u64, f64, f64)> {
    summary.distribution(Metric::RequestLatency).map(|known| (known.count, known.min, known.max))
}

/// Ends at 100, 200, 300 and 500 ms, with latencies of 100, 190, 200 and 300 ms, ten tokens each.
fn four() -> Vec<Record> {
    vec![stream(0, 0, 10, 10), stream(1, 10, 19, 10), stream(2, 100, 20, 10), stream(3, 200, 30, 10)]
}

#[test]
fn windows_have_what_ended_in_them_whole_and_over_their_length() {
    // 200 ms is in it, 300 ms is not.
    let found = of(Scope::Ended(span(150, 300)), &four());
    assert_eq!(latencies(&found), Some((1, 190.0, 190.0)));
    assert_eq!((found.counts.requests, found.counts.ok, found.counts.outside), (1, 1, 3));
    assert_eq!(found.duration, Nanos::from_millis(150));
    assert_eq!(found.scalar(Metric::RequestThroughput), Some(1.0 / 0.15));
    // All ten tokens, although seven of them came before the window.
    assert_eq!(found.scalar(Metric::OutputTokenThroughput), Some(10.0 / 0.15));
    assert_eq!(found.scalar(Metric::RequestGoodput), Some(1.0 / 0.15));
    let both = of(Scope::Ended(span(150, 301)), &four());
    assert_eq!(latencies(&both), Some((2, 190.0, 200.0)));
}

#[test]
fn what_did_not_succeed_ends_when_it_was_given_up() {
    let failed = failure(7, 160, Stage::Body, FailureClass::Reset, "gone");
    let cut_off = Record { outcome: Outcome::CutOff, end: Nanos::from_millis(299), ..stream(8, 0, 10, 10) };
    let cancelled = Record { outcome: Outcome::Cancelled, end: Nanos::from_millis(300), ..stream(9, 0, 20, 10) };
    let found = of(Scope::Ended(span(150, 300)), &[failed, cut_off, cancelled]);
    let expected = Counts { requests: 2, failed: 1, cut_off: 1, outside: 1, ..Counts::default() };
    assert_eq!(found.counts, expected);
    assert_eq!(found.distribution(Metric::RequestLatency), None);
}

#[test]
fn the_steady_time_has_latencies_of_what_was_sent_and_rates_of_what_came_in_it() {
    let found = of(Scope::Held(span(100, 300)), &four());
    // Sent at 100 and at 200 ms; the second ended long after.
    assert_eq!(latencies(&found), Some((2, 200.0, 300.0)));
    assert_eq!((found.counts.requests, found.counts.outside), (2, 2));
    assert_eq!(found.duration, Nanos::from_millis(200));
    // Ends at 100 and 200 ms are in it, the one at 300 ms is not; all of them kept the limit.
    assert_eq!(found.scalar(Metric::RequestThroughput), Some(2.0 / 0.2));
    assert_eq!(found.scalar(Metric::RequestGoodput), Some(2.0 / 0.2));
    // 100 | 105 to 200 in steps of 19 | 120 to 280 in steps of 20 | 230, 260, 290.
    assert_eq!(found.scalar(Metric::OutputTokenThroughput), Some((1 + 6 + 9 + 3) as f64 / 0.2));
}

#[test]
fn a_request_that_was_never_sent_is_where_it_was_issued() {
    let refused = Record { sent: None, ..failure(7, 400, Stage::Connect, FailureClass::Refused, "no") };
    let found = of(Scope::Held(span(0, 300)), std::slice::from_ref(&refused));
    assert_eq!((found.counts.failed, found.counts.outside), (1, 0));
    let found = of(Scope::Held(span(1, 300)), &[refused]);
    assert_eq!((found.counts.failed, found.counts.outside), (0, 1));
}

#[test]
fn warm_up_is_outside_of_every_part_and_no_request_of_it() {
    let warmup = Record { phase: Phase::Warmup, ..stream(0, 0, 10, 10) };
    for scope in [Scope::Run, Scope::Ended(span(0, 500)), Scope::Held(span(0, 500)), Scope::Held(span(400, 500))] {
        let found = of(scope, std::slice::from_ref(&warmup));
        assert_eq!(found.counts, Counts { warmup: 1, ..Counts::default() });
        assert_eq!(found.scalar(Metric::RequestCount), Some(0.0));
    }
}

#[test]
fn a_rate_of_waves_that_are_all_alike_has_no_interval_rather_than_none_of_width() {
    // An end each 100 ms, and two in each of 64 blocks.
    let alike: Vec<Record> = (0..200).map(|number| stream(number, 100 * number as i64, 10, 10)).collect();
    let scope = Scope::Ended(span(1_050, 13_850));
    let found = of(scope, &alike);
    assert_eq!((found.counts.ok, found.interval(Metric::RequestThroughput)), (128, None));
    assert_eq!(found.interval(Metric::OutputTokenThroughput), None);
    // One in ten is left out.
    let uneven: Vec<Record> = alike.into_iter().filter(|record| record.seq % 10 > 0).collect();
    let interval = of(scope, &uneven).interval(Metric::RequestThroughput).unwrap();
    assert!(interval.low < interval.high);
}

#[test]
fn an_empty_span_has_no_rates() {
    for scope in [Scope::Ended(span(300, 300)), Scope::Held(span(300, 200))] {
        let found = of(scope, &four());
        assert_eq!((found.duration, found.scalar(Metric::RequestThroughput)), (Nanos::ZERO, None));
        assert_eq!(found.counts.requests, 0);
    }
}

#[test]
fn cancelled_requests_are_in_no_figure_and_wait_longer_than_they_were_let() {
    let cancelled = |seq, after_ms| Record {
        outcome: Outcome::Cancelled,
        end: Nanos::from_millis(after_ms),
        ..stream(seq, 0, 10, 2)
    };
    let failed = failure(9, 1, Stage::Body, FailureClass::Reset, "gone");
    let records = [stream(0, 0, 10, 10), stream(1, 0, 20, 10), cancelled(2, 50), cancelled(3, 150), failed];
    let found = summary_of(config(), &facts(), &records);
    let expected = Counts { requests: 5, ok: 2, failed: 1, cancelled: 2, ..Counts::default() };
    assert_eq!(found.counts, expected);
    assert_eq!(latencies(&found), Some((2, 100.0, 200.0)));
    // Twenty tokens in 200 ms: those of the cancelled are in no rate.
    assert_eq!(found.scalar(Metric::OutputTokenThroughput), Some(20.0 / 0.2));
    let waits = |metric| &found.with_failures.iter().find(|(known, _)| *known == metric).unwrap().1;
    let WithFailures { requests, failed, cut_off, .. } = *waits(Metric::RequestLatency);
    assert_eq!((requests, failed, cut_off), (5, 1, 2));
    // Cancelled at 50 ms: a fifth shared out among four. At 100 ms 5/4 of a request ends, so 75 % are left; cancelled at 150 ms:
    // that one's 1.25 is shared out among two; at 200 ms half of 75 % is left.
    assert_eq!(waits(Metric::RequestLatency).percentile(25), Some(100.0));
    assert_eq!(waits(Metric::RequestLatency).percentile(50), Some(200.0));
    assert_eq!(waits(Metric::RequestLatency).percentile(75), None);
    // Their first tokens had come.
    let first = waits(Metric::TimeToFirstToken);
    assert_eq!((first.requests, first.cut_off, first.percentile(75)), (5, 0, Some(20.0)));
}

#[test]
fn requests_are_counted_by_server() {
    let at = |target, record| Record { target, ..record };
    let failed = failure(9, 1, Stage::Body, FailureClass::Reset, "gone");
    let empty = Record { chunks: Vec::new(), ..stream(4, 0, 10, 1) };
    let cut_off = Record { outcome: Outcome::CutOff, ..stream(5, 0, 10, 1) };
    let records = [
        at(0, stream(0, 0, 10, 10)),
        at(3, stream(1, 0, 20, 10)),
        at(3, failed),
        at(3, empty),
        at(1, cut_off),
        at(3, Record { phase: Phase::Warmup, ..stream(6, 0, 10, 1) }),
    ];
    let counts = |requests, ok, failed| TargetCounts { requests, ok, failed };
    let found = summary_of(config(), &facts(), &records);
    assert_eq!(found.targets, [counts(1, 1, 0), counts(1, 0, 0), counts(0, 0, 0), counts(3, 1, 2)]);
}

fn held(records: &[Record]) -> Option<Span> {
    let mut slots = Slots::default();
    records.iter().for_each(|record| slots.add(record));
    slots.busy()
}

#[test]
fn all_slots_are_busy_from_the_last_first_request_to_the_first_last_end() {
    let on = |slot, record| Record { slot, ..record };
    // Slot 0 from 0 to 400 ms, slot 7, which a ramp started later, from 50 to 350 ms.
    let mut records = vec![
        on(0, stream(0, 0, 20, 10)),
        on(7, stream(1, 50, 10, 10)),
        on(7, stream(2, 150, 20, 10)),
        on(0, stream(3, 200, 20, 10)),
    ];
    assert_eq!(held(&records), Some(span(50, 350)));
    records.reverse();
    assert_eq!(held(&records), Some(span(50, 350)));
    // What came to nothing kept its slot busy too; what was never sent, and the warm-up, did not.
    let failed = Record { sent: Some(Nanos::from_millis(350)), end: Nanos::from_millis(390), ..records[0].clone() };
    let failed = Record { outcome: Outcome::CutOff, ..on(7, failed) };
    let unsent = on(9, Record { sent: None, ..failed.clone() });
    let warmup = on(9, Record { phase: Phase::Warmup, ..stream(9, 0, 10, 10) });
    records.extend([failed, unsent, warmup]);
    assert_eq!(held(&records), Some(span(50, 390)));
}

#[test]
fn one_wave_is_no_steady_time() {
    let on = |slot, record| Record { slot, ..record };
    let wave = [on(0, stream(0, 0, 20, 10)), on(1, stream(1, 50, 20, 10))];
    assert_eq!(held(&wave), None);
    assert_eq!(held(&[]), None);
    // Four requests of two slots that were never busy at once.
    let turns = [stream(0, 0, 10, 1), stream(1, 10, 10, 1), stream(2, 30, 10, 1), stream(3, 40, 10, 1)];
    let turns: Vec<Record> = turns.into_iter().enumerate().map(|(index, turn)| on(index as u32 / 2, turn)).collect();
    assert_eq!(held(&turns), None);
}

proptest! {
    #[test]
    fn a_row_of_spans_shares_out_the_run(
        requests in vec((0..1_000_i64, 1..30_i64, 1..12_i64), 1..30), cuts in vec(0..1_500_i64, 0..4)
    ) {
        let records: Vec<Record> =
            requests.iter().enumerate().map(|(seq, &(sent, gap, n))| stream(seq as u64, sent, gap, n)).collect();
        let mut ends = cuts;
        ends.extend([0, 10_000]);
        ends.sort_unstable();
        let spans = || ends.windows(2).map(|pair| span(pair[0], pair[1]));
        let whole = of(Scope::Run, &records);
        let total = |scope: fn(Span) -> Scope, metric: Metric| -> f64 {
            let of_span = |span: Span| {
                of(scope(span), &records).scalar(metric).map_or(0.0, |rate| rate * span.length().as_secs_f64())
            };
            spans().map(of_span).sum()
        };
        for metric in [Metric::RequestThroughput, Metric::OutputTokenThroughput, Metric::RequestGoodput] {
            let all = whole.scalar(metric).map_or(0.0, |rate| rate * whole.duration.as_secs_f64());
            for scope in [Scope::Ended, Scope::Held] {
                prop_assert!((total(scope, metric) - all).abs() < 1e-6, "{metric}: {all}");
            }
        }
        for scope in [Scope::Ended, Scope::Held] {
            let counted: u64 = spans().map(|span| of(scope(span), &records).counts.requests).sum();
            prop_assert_eq!(counted, records.len() as u64);
        }
    }
}
