//! How a point of a calibration is judged, from accounts of both sides built by hand.

use crate::support::{config, facts, stream, summary, summary_of};
use streamgauge_core::record::{RunFacts, ThreadFacts};
use streamgauge_core::{Nanos, Outcome, Phase, Record};
use streamgauge_stats::calibration::{Agreement, Good, Offered, Pace, Point, Seen, Served};
use streamgauge_stats::{Grade, Summary};

/// Wall-clock time of the client's zero.
const ANCHOR: i64 = 1_795_000_000_000_000_000;
const MS: i64 = 1_000_000;
const PACE: Pace = Pace { ttft: Nanos::from_millis(10), itl: Nanos::from_millis(10) };

/// A request of the server's: when it arrived, and its writes.
type Account = (i64, Vec<(i64, u32)>);

/// Streams of ten tokens, 10 ms apart, one after the other.
fn records() -> Vec<Record> {
    (0..50).map(|seq| stream(seq, seq as i64 * 200, 10, 10)).collect()
}

/// What the server says of these records: each event left `way` ns before its stamp.
fn accounts(records: &[Record], way: i64) -> Vec<Account> {
    let account = |record: &Record| {
        let writes = record.chunks.iter().map(|chunk| (ANCHOR + chunk.at.0 - way, 1)).collect();
        (ANCHOR + record.sent.unwrap().0, writes)
    };
    records.iter().map(account).collect()
}

fn judge(records: &[Record], summary: &Summary, accounts: &[Account]) -> Point {
    let seen: Vec<Seen> = records.iter().filter_map(|record| Seen::of(record, ANCHOR)).collect();
    let served: Vec<Served<'_>> = accounts
        .iter()
        .map(|(received, writes)| Served {
            received: *received,
            writes,
            output_tokens: writes.iter().map(|(_, events)| events).sum(),
        })
        .collect();
    let offered = Offered::Streams { streams: 1, itl_ms: 10.0 };
    Point::judge(offered, PACE, summary, &seen, &served)
}

/// A run whose verdict is bad for a reason that moves no figure.
fn busy() -> RunFacts {
    RunFacts { threads: vec![ThreadFacts { cpu: Nanos(90), wall: Nanos(100) }], ..facts() }
}

#[test]
fn a_true_report_is_faithful() {
    let records = records();
    let point = judge(&records, &summary(&records), &accounts(&records, 5_000));
    let errors = point.errors.unwrap();
    assert!((errors.ttft_p99.error - 0.005).abs() < 1e-9 && (errors.ttft_p50.truth - 9.995).abs() < 1e-9);
    assert!(errors.itl_p50.error.abs() < 1e-9 && (errors.worst() - 0.005).abs() < 1e-9);
    assert_eq!((point.faithful, point.agreement), (true, Agreement::Agrees));
    assert_eq!((point.requests, point.events, point.unmatched.as_deref()), (50, 500, None));
    assert_eq!((point.client_lag_p99_ms, point.load_thread_cpu_percent), (Some(0.02), Some(50.0)));
    assert_eq!((point.send_lateness_p99_ms, point.server_late), (None, false));
    assert!(point.caveats.is_empty());
}

#[test]
fn an_error_over_the_limit_under_a_good_verdict_is_a_false_good() {
    let records = records();
    for (way, faithful, agreement) in [(99_999, true, Agreement::Agrees), (100_001, false, Agreement::FalseGood)] {
        let point = judge(&records, &summary(&records), &accounts(&records, way));
        assert_eq!((point.verdict, point.faithful, point.agreement), (Grade::Good, faithful, agreement), "{way}");
    }
    // One token in eleven that left much later than it is said to have come: an error of the gaps alone.
    let mut late = accounts(&records, 0);
    late.iter_mut().for_each(|(_, writes)| writes[5].0 -= 3 * MS);
    let point = judge(&records, &summary(&records), &late);
    assert_eq!((point.errors.unwrap().ttft_p99.error, point.agreement), (0.0, Agreement::FalseGood));
    assert!((point.errors.unwrap().itl_p99.error + 3.0).abs() < 1e-9, "{:?}", point.errors);
}

#[test]
fn a_bad_verdict_on_true_figures_is_a_false_alarm_and_on_wrong_ones_right() {
    let records = records();
    let summary = summary_of(config(), &busy(), &records);
    let point = judge(&records, &summary, &accounts(&records, 5_000));
    assert_eq!((point.faithful, point.agreement), (false, Agreement::FalseAlarm));
    assert_eq!(point.caveats, ["load_thread_cpu"]);
    let point = judge(&records, &summary, &accounts(&records, 300_000));
    assert_eq!((point.faithful, point.agreement), (false, Agreement::Agrees));
}

#[test]
fn a_doubt_about_the_load_is_no_false_alarm_about_times() {
    let behind = |record: Record| Record { due: Some(record.sent.unwrap() - Nanos(2 * MS)), ..record };
    let records: Vec<Record> = records().into_iter().map(behind).collect();
    let point = judge(&records, &summary(&records), &accounts(&records, 5_000));
    assert_eq!((point.verdict, point.agreement, point.faithful), (Grade::Degraded, Agreement::OfLoad, false));
    assert_eq!((point.caveats, point.send_lateness_p99_ms), (vec!["send_lateness".to_owned()], Some(2.0)));
    // And no warning of an error in them.
    let point = judge(&records, &summary(&records), &accounts(&records, 300_000));
    assert_eq!((point.verdict, point.agreement), (Grade::Degraded, Agreement::FalseGood));
}

#[test]
fn requests_that_are_not_one_for_one_are_named_and_never_faithful() {
    let records = records();
    let summary = summary(&records);
    let unmatched = |accounts: &[Account], why: &str| {
        let point = judge(&records, &summary, accounts);
        assert!(point.unmatched.as_deref().is_some_and(|found| found.contains(why)), "{:?}", point.unmatched);
        assert_eq!((point.faithful, point.agreement), (false, Agreement::FalseGood));
    };
    let whole = accounts(&records, 5_000);
    unmatched(&whole[1..], "50 complete answers, but the server's log has 49 requests");
    let mut early = whole.clone();
    early[7].0 -= 150 * MS;
    unmatched(&early, "1 requests reached the server before the client sent them");
    let mut long = whole.clone();
    long[49].1[9].0 += 50 * MS;
    unmatched(&long, "1 answers ended at the client before the server had written them");
    let mut fewer = whole.clone();
    fewer[3].1.pop();
    fewer[4].1[2].1 = 2;
    unmatched(&fewer, "2 answers have a different number of events");
}

#[test]
fn only_measured_successes_are_held_against_the_log() {
    let mut records = records();
    let measured = accounts(&records, 5_000);
    records.push(Record { phase: Phase::Warmup, ..stream(0, 0, 10, 10) });
    records.push(Record { outcome: Outcome::CutOff, ..stream(50, 0, 10, 10) });
    assert_eq!(judge(&records, &summary(&records), &measured).unmatched, None);
}

#[test]
fn a_server_that_wrote_late_is_named_and_its_truth_stands() {
    let records = records();
    let mut late = records.clone();
    late.iter_mut().for_each(|record| {
        record.chunks.iter_mut().for_each(|chunk| chunk.at += Nanos(3 * MS));
        record.end += Nanos(3 * MS);
    });
    let point = judge(&late, &summary(&late), &accounts(&late, 0));
    assert_eq!((point.server_late, point.faithful), (true, true));
    assert!((point.server_late_p99_ms.unwrap() - 3.0).abs() < 1e-9);
    let point = judge(&records, &summary(&records), &accounts(&records, 0));
    assert_eq!((point.server_late, point.server_late_p99_ms), (false, Some(0.0)));
}

#[test]
fn nothing_to_compare_is_not_faithful() {
    let records = records();
    let point = judge(&[], &summary(&[]), &[]);
    assert_eq!((point.errors, point.faithful, point.agreement), (None, false, Agreement::Agrees));
    let point = judge(&records, &summary(&records), &[]);
    assert_eq!((point.errors, point.agreement), (None, Agreement::FalseGood));
}

fn point(offered: Offered, faithful: bool) -> Point {
    let records = records();
    let way = if faithful { 0 } else { MS };
    Point { offered, ..judge(&records, &summary(&records), &accounts(&records, way)) }
}

#[test]
fn the_largest_good_load_has_no_bad_one_below_it() {
    let streams = |streams, itl_ms, good| point(Offered::Streams { streams, itl_ms }, good);
    let rate = |per_second, good| point(Offered::Rate { per_second }, good);
    let good = Good::of(&[
        streams(64, 5.0, false),
        streams(256, 20.0, true),
        streams(8, 20.0, true),
        streams(1_024, 20.0, true),
        streams(64, 20.0, false),
        streams(8, 50.0, true),
        rate(500.0, true),
        rate(100.0, true),
        rate(2_000.0, false),
    ]);
    let found: Vec<_> = good.streams.iter().map(|at| (at.itl_ms, at.streams, at.beyond)).collect();
    assert_eq!(found, [(50.0, Some(8), None), (20.0, Some(8), Some(64)), (5.0, None, Some(64))]);
    assert!(good.streams[0].tokens_per_second.is_some() && good.streams[2].tokens_per_second.is_none());
    let rate = good.rate.unwrap();
    assert_eq!((rate.per_second, rate.beyond), (Some(500.0), Some(2_000.0)));
    assert_eq!(good.slowest().unwrap().itl_ms, 50.0);
    assert_eq!(Good::of(&[]), Good::default());
}
