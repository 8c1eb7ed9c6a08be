//! Rows of windows and the rule that ends them, with throughputs and latencies counted by hand.

use crate::support::{answer, config, facts, failure, row, stream, summary_of};
use proptest::collection::vec;
use proptest::prelude::*;
use streamgauge_core::record::{RunFacts, WindowFacts};
use streamgauge_core::stop::{StabilityRule, Window};
use streamgauge_core::{FailureClass, Nanos, Outcome, Phase, Record, Stage};
use streamgauge_stats::{AccumulatorConfig, Grade, Lenience, Windows};

const START: Nanos = Nanos::from_millis(1_000);

fn rule(window: Window, percent: f64) -> StabilityRule {
    StabilityRule { window, within: percent / 100.0, percentile: None, most: 10 }
}

fn second() -> Window {
    Window::Time(Nanos::from_millis(1_000))
}

/// A request of that latency that ended so long after the start.
fn ended(seq: u64, end_ms: i64, latency_ms: i64) -> Record {
    let end = START.0 + end_ms * 1_000_000;
    answer(seq, end - latency_ms * 1_000_000, &[end])
}

/// Windows of a second, each with so many requests of that latency, the first on its very first nanosecond.
fn seconds(windows: &[(i64, i64)]) -> Vec<Record> {
    let window = |(index, &(requests, latency)): (usize, &(i64, i64))| {
        (0..requests).map(move |at| ended(0, index as i64 * 1_000 + at * 1_000 / requests, latency))
    };
    let records = windows.iter().enumerate().flat_map(window);
    records.enumerate().map(|(seq, record)| Record { seq: seq as u64, ..record }).collect()
}

/// What is said, and after how many ms, when all ends are known at once and the clock is looked at every 100 ms up to just before
/// ten seconds.
fn decision(rule: StabilityRule, records: &[Record]) -> Option<(i64, String)> {
    let mut windows = Windows::new(rule);
    records.iter().for_each(|record| windows.add(record));
    (0..100)
        .find_map(|tick| Some((tick * 100, windows.look(START, START + Nanos::from_millis(tick * 100))?.to_string())))
}

/// The same with Perf Analyzer's rules beside the plan's, and the windows themselves.
fn lenient(rule: StabilityRule, lenience: Lenience, records: &[Record]) -> (Option<(i64, String)>, Windows) {
    let mut windows = Windows::new(rule).with(lenience);
    records.iter().for_each(|record| windows.add(record));
    let look = |tick: i64| Some((tick * 100, windows.look(START, START + Nanos::from_millis(tick * 100))?.to_string()));
    let found = (0..100).find_map(look);
    (found, windows)
}

/// How the windows of these records are closed, when nobody looks before the end.
fn closed(rule: StabilityRule, records: &[Record]) -> Option<WindowFacts> {
    let mut windows = Windows::new(rule);
    records.iter().for_each(|record| windows.add(record));
    windows.close(START)
}

fn window_facts(from_ms: i64, to_ms: i64, windows: u32, stable: bool) -> WindowFacts {
    WindowFacts { from: START + Nanos::from_millis(from_ms), to: START + Nanos::from_millis(to_ms), windows, stable }
}

#[test]
fn a_run_ends_with_the_third_window_that_agrees() {
    // Throughputs 10, 20, 20, 21, 20 a second: from the second on they are within 10 %.
    let records = seconds(&[(10, 100), (20, 100), (20, 105), (21, 100), (20, 100)]);
    let found = decision(rule(second(), 10.0), &records);
    assert_eq!(found, Some((4_000, "the last 3 of 4 windows agree within 10 %".to_owned())));
    // 21 is five percent over 20, and so are 105 ms over 100.
    assert_eq!(decision(rule(second(), 5.0), &records).unwrap().0, 4_000);
    assert_eq!(decision(rule(second(), 4.9), &records), None);
}

#[test]
fn latencies_must_agree_too_by_mean_or_percentile() {
    let records = seconds(&[(20, 100), (20, 100), (20, 120)]);
    assert_eq!(decision(rule(second(), 19.0), &records), None);
    assert_eq!(decision(rule(second(), 20.0), &records).unwrap().0, 3_000);
    // One of twenty is slow in the last window: the mean is 5 % higher, p50 the same, p99 (rank 19 of 0 to 19) twice as high.
    let mut slow = seconds(&[(20, 100), (20, 100), (20, 100)]);
    slow[50] = Record { seq: 50, ..ended(50, 2_500, 200) };
    let by = |percentile, percent| {
        decision(StabilityRule { percentile, ..rule(second(), percent) }, &slow).map(|(at, _)| at)
    };
    assert_eq!((by(None, 5.1), by(None, 4.9)), (Some(3_000), None));
    assert_eq!((by(Some(50), 0.1), by(Some(99), 99.0), by(Some(99), 100.0)), (Some(3_000), None, Some(3_000)));
    // floor(0.95 * 19 + 0.5) = 18: just below the slow one.
    assert_eq!(by(Some(95), 0.1), Some(3_000));
}

#[test]
fn failures_are_no_valid_requests_and_a_window_without_any_is_not_stable() {
    let mut records = seconds(&[(10, 100), (10, 100), (10, 100), (10, 100)]);
    assert_eq!(decision(rule(second(), 10.0), &records).unwrap().0, 3_000);
    let failed = |seq, at_ms| failure(seq, 1_000 + at_ms, Stage::Body, FailureClass::Reset, "gone");
    // More failures change nothing.
    records.extend((100..150).map(|seq| failed(seq, 500)));
    assert_eq!(decision(rule(second(), 10.0), &records).unwrap().0, 3_000);
    // Two failures in the place of successes do: 8 against 10.
    (records[5], records[6]) = (failed(5, 500), failed(6, 600));
    assert_eq!(decision(rule(second(), 10.0), &records).unwrap().0, 4_000);
    let none: Vec<Record> = (0..40).map(|seq| failed(seq, seq as i64 * 100)).collect();
    assert_eq!(decision(rule(second(), 10.0), &none), None);
    let empty = decision(StabilityRule { most: 3, ..rule(second(), 10.0) }, &[]).unwrap();
    assert_eq!(empty.1, "all 3 windows are over, and the last 3 do not agree within 10 %");
}

#[test]
fn a_run_that_never_settles_ends_with_its_windows() {
    let records = seconds(&[(10, 100), (20, 100), (10, 100), (20, 100), (10, 100)]);
    let found = |most| decision(StabilityRule { most, ..rule(second(), 10.0) }, &records);
    let expected = "all 4 windows are over, and the last 3 do not agree within 10 %".to_owned();
    assert_eq!(found(4), Some((4_000, expected)));
    assert_eq!(found(2), Some((2_000, "all 2 windows are over, too few to agree".to_owned())));
}

#[test]
fn with_asynchronous_calls_throughput_is_enough_in_the_end() {
    let lenience = Lenience { by_throughput: true, latency_limit: None };
    let rule = StabilityRule { most: 4, ..rule(second(), 10.0) };
    let records = seconds(&[(20, 100), (20, 120), (20, 140), (20, 160)]);
    let (found, windows) = lenient(rule, lenience, &records);
    let said = "all 4 windows are over; by throughput alone the last 3 agree within 10 %";
    assert_eq!(found, Some((4_000, said.to_owned())));
    assert!(windows.by_throughput() && !windows.over_limit());
    assert_eq!(windows.close(START), Some(window_facts(1_000, 4_000, 4, true)));
    // Throughputs that do not agree are not enough, and latencies that do need no leniency.
    let (_, windows) = lenient(rule, lenience, &seconds(&[(20, 100), (20, 100), (30, 100), (20, 100)]));
    assert!(!windows.by_throughput());
    assert_eq!(windows.close(START), Some(window_facts(1_000, 4_000, 4, false)));
    let (found, windows) = lenient(rule, lenience, &seconds(&[(20, 100), (20, 100), (20, 100)]));
    assert_eq!((found.unwrap().0, windows.by_throughput()), (3_000, false));
}

#[test]
fn a_latency_over_its_limit_ends_the_windows() {
    let by = |limit_ms, latencies: [i64; 5]| {
        let lenience = Lenience { by_throughput: false, latency_limit: Some(Nanos::from_millis(limit_ms)) };
        let (found, windows) = lenient(rule(second(), 1.0), lenience, &seconds(&latencies.map(|ms| (20, ms))));
        (found.map(|(at, _)| at), windows.over_limit())
    };
    // Not before there are three, and from exactly the limit on.
    assert_eq!(by(150, [150, 100, 110, 120, 130]), (Some(3_000), true));
    assert_eq!(by(150, [100, 110, 120, 149, 150]), (Some(5_000), true));
    // Ten seconds are looked at, and the last five are empty: a window without requests is over any limit.
    assert_eq!(by(151, [100, 110, 120, 149, 150]), (Some(6_000), true));
}

#[test]
fn a_window_says_what_it_came_to() {
    let mut records = seconds(&[(10, 100), (4, 100)]);
    records[13] = ended(13, 1_750, 180);
    let rule = StabilityRule { percentile: Some(90), ..rule(second(), 10.0) };
    let (_, windows) = lenient(rule, Lenience::default(), &records);
    let [first, second, third, ..] = windows.passes() else { panic!("too few windows") };
    assert_eq!((first.requests, first.throughput, first.inferences(3)), (10, 10.0, 30.0));
    assert_eq!((first.latency_us, first.latency_std_us, first.percentile_us), (100_000, Some(0), Some(100_000)));
    // 100, 100, 100 and 180 ms: the root of (3 * 20^2 + 60^2) / 3.
    assert_eq!(
        (second.latency_us, second.latency_std_us, second.percentile_us),
        (120_000, Some(40_000), Some(180_000))
    );
    assert_eq!((second.span.from, second.span.to), (first.span.to, third.span.from));
    assert_eq!((third.requests, third.latency, third.latency_std_us, third.percentile_us), (0, None, None, None));
}

#[test]
fn what_ended_on_a_boundary_belongs_to_the_window_that_begins_there() {
    // Ten a second but for the third window, whose first request is a nanosecond early.
    let mut records = seconds(&[(10, 100), (10, 100), (10, 100)]);
    let exact = decision(rule(second(), 0.1), &records);
    assert_eq!(exact.unwrap().0, 3_000);
    let early = START.0 + 2_000_000_000 - 1;
    records[20] = answer(20, early - 100_000_000, &[early]);
    assert_eq!(decision(rule(second(), 0.1), &records), None);
}

#[test]
fn warm_up_and_what_was_cut_off_end_in_no_window() {
    let mut records = seconds(&[(10, 100), (10, 100), (10, 100)]);
    let warmup = (0..5).map(|seq| Record { phase: Phase::Warmup, ..ended(seq, 100, 100) });
    let cut_off = (50..55).map(|seq| Record { outcome: Outcome::CutOff, ..ended(seq, 1_100, 100) });
    let others: Vec<Record> = warmup.chain(cut_off).collect();
    records.extend(others);
    assert_eq!(decision(rule(second(), 0.1), &records).unwrap().0, 3_000);
    assert_eq!(
        decision(rule(Window::Requests(10), 25.0), &records).unwrap().1,
        "the last 3 of 3 windows agree within 25 %"
    );
}

#[test]
fn a_window_of_requests_closes_with_its_last_end_and_all_of_that_moment() {
    // Every 100 ms one; of three a window: it closes at 200, 500, 800 ms and a nanosecond, and has 3 / 0.2 and 3 / 0.3 a second.
    let mut records: Vec<Record> = (0..12).map(|seq| ended(seq, seq as i64 * 100, 50)).collect();
    let three = rule(Window::Requests(3), 1.0);
    assert_eq!(decision(three, &records[..11]).map(|(at, _)| at), None);
    let (at, reason) = decision(three, &records).unwrap();
    assert_eq!((at, reason.as_str()), (1_200, "the last 3 of 4 windows agree within 1 %"));
    let facts = closed(three, &records).unwrap();
    // Nothing was issued after the end of the fourth.
    assert_eq!((facts.windows, facts.stable), (3, false));
    // A fourth request at the moment of the third belongs to the same window, wherever it stands.
    records.insert(0, ended(77, 200, 50));
    let facts = closed(StabilityRule { most: 2, ..three }, &records).unwrap();
    assert_eq!(facts.to, START + Nanos(500_000_001));
    records.remove(0);
    // Failures end a window like others, and are no part of its throughput.
    let failed = failure(5, 1_500, Stage::Body, FailureClass::Reset, "gone");
    records[5] = failed;
    assert_eq!(decision(three, &records), None);
}

#[test]
fn nothing_is_decided_before_all_ends_are_known() {
    let mut windows = Windows::new(rule(second(), 10.0));
    let records = seconds(&[(10, 100), (10, 100), (10, 100)]);
    let (late, early): (Vec<_>, Vec<_>) = records.iter().partition(|record| record.seq == 25);
    early.iter().for_each(|record| windows.add(record));
    assert_eq!(windows.look(START, START + Nanos::from_millis(2_999)), None);
    late.iter().for_each(|record| windows.add(record));
    assert!(windows.look(START, START + Nanos::from_millis(3_000)).is_some());
    assert_eq!(windows.look(START, START + Nanos::from_millis(9_000)), None, "it is said once");
    assert_eq!(windows.close(START), Some(window_facts(0, 3_000, 3, true)));
}

#[test]
fn a_run_that_ends_otherwise_has_the_windows_under_load() {
    // Issued up to 3,850 ms; the fourth window is not over by then, and in it load had begun to fall.
    let mut records = seconds(&[(10, 100), (20, 100), (10, 100), (10, 50)]);
    let ten = rule(second(), 10.0);
    assert_eq!(closed(ten, &records), Some(window_facts(0, 3_000, 3, false)));
    // One that was still to be seen issued in the fifth makes the fourth whole.
    records.push(ended(99, 4_500, 400));
    assert_eq!(closed(ten, &records), Some(window_facts(1_000, 4_000, 4, false)));
    assert_eq!(closed(ten, &records[..8]), None);
    assert_eq!(closed(ten, &[]), None);
    // Looked at in the drain, too: what closed there is forgotten again.
    let mut windows = Windows::new(ten);
    records[..50].iter().for_each(|record| windows.add(record));
    assert_eq!(windows.look(START, START + Nanos::from_millis(4_100)), None);
    assert_eq!(windows.close(START), Some(window_facts(0, 3_000, 3, false)));
}

#[test]
fn nonsense_from_a_file_ends_all_the_same() {
    for window in [Window::Time(Nanos::ZERO), Window::Time(Nanos(-5)), Window::Requests(0)] {
        let records = seconds(&[(10, 100), (10, 100)]);
        let facts = closed(StabilityRule { most: 0, ..rule(window, 10.0) }, &records).unwrap();
        assert_eq!(facts.windows, 1);
    }
}

#[test]
fn the_row_says_how_it_came_out() {
    let of = |window: Option<WindowFacts>| {
        let config = AccumulatorConfig { stability: Some(rule(second(), 10.0)), ..config() };
        let summary = summary_of(config, &RunFacts { window, ..facts() }, &[stream(0, 0, 10, 10)]);
        let row = row(&summary, "windows").unwrap();
        (row.grade, row.value.clone(), row.number, row.remedy.is_some())
    };
    let agree = "the last 3 of 7 agree within 10 %".to_owned();
    assert_eq!(of(Some(window_facts(0, 1, 7, true))), (Grade::Good, agree, Some(7.0), false));
    let differ = "the last 3 of 7 do not agree within 10 %".to_owned();
    assert_eq!(of(Some(window_facts(0, 1, 7, false))), (Grade::Degraded, differ, Some(7.0), true));
    let few = "2 before the end; 3 must agree".to_owned();
    assert_eq!(of(Some(window_facts(0, 1, 2, false))), (Grade::Degraded, few, Some(2.0), true));
    let none = "no complete window; the figures cover the whole run".to_owned();
    assert_eq!(of(None), (Grade::Degraded, none, None, true));
    assert_eq!(row(&summary_of(config(), &facts(), &[]), "windows"), None);
}

#[test]
fn windows_of_few_latencies_are_a_caveat() {
    let of = |length_ms| {
        let config = AccumulatorConfig { stability: Some(rule(second(), 10.0)), ..config() };
        let window = WindowFacts { from: Nanos::ZERO, to: Nanos::from_millis(length_ms), windows: 3, stable: true };
        let summary = summary_of(config, &RunFacts { window: Some(window), ..facts() }, &[stream(0, 0, 10, 10)]);
        row(&summary, "window_length").map(|row| (row.grade, row.value.clone()))
    };
    // A latency of 100 ms.
    assert_eq!(of(2_000), Some((Grade::Good, "2000 ms in total; mean latency is 5.00 % of that".to_owned())));
    assert_eq!(of(1_999).map(|(grade, _)| grade), Some(Grade::Degraded));
    assert_eq!(of(0), None);
    assert_eq!(row(&summary_of(config(), &facts(), &[stream(0, 0, 10, 10)]), "window_length"), None);
}

proptest! {
    #[test]
    fn the_order_of_records_and_the_looks_between_do_not_matter(
        (records, shuffled) in vec((0..6_000_i64, 1..500_i64, any::<bool>()), 1..80)
            .prop_map(|requests| {
                let record = |(seq, (end, latency, ok)): (usize, (i64, i64, bool))| match ok {
                    true => ended(seq as u64, end, latency),
                    false => failure(seq as u64, 1_000 + end, Stage::Body, FailureClass::Reset, ""),
                };
                requests.into_iter().enumerate().map(record).collect()
            })
            .prop_flat_map(|records: Vec<Record>| (Just(records.clone()), Just(records).prop_shuffle())),
        window in prop_oneof![(1..900_i64).prop_map(|ms| Window::Time(Nanos::from_millis(ms))),
                              (1..20_u64).prop_map(Window::Requests)],
        percentile in proptest::option::of(1..=99_u8),
    ) {
        let rule = StabilityRule { percentile, ..rule(window, 30.0) };
        prop_assert_eq!(decision(rule, &records), decision(rule, &shuffled));
        // Fed as they end, with a look after each, the run is told to end for the same reason.
        let mut sorted = records.clone();
        sorted.sort_by_key(|record| record.end);
        let mut windows = Windows::new(rule);
        let mut fed = sorted.iter().find_map(|record| {
            let found = windows.look(START, record.end);
            windows.add(record);
            found
        });
        let whole = START + Nanos::from_millis(20_000);
        fed = fed.or_else(|| windows.look(START, whole));
        let mut at_once = Windows::new(rule);
        shuffled.iter().for_each(|record| at_once.add(record));
        prop_assert_eq!(fed, at_once.look(START, whole));
    }
}
