//! Figures of a part of a run, made again from its records: of its last windows, and of the time in which all slots were busy.

use crate::context::{Records, Run, TestContext};
use serde_json::{Value, json};
use std::fs;

pub const MS: i64 = 1_000_000;

/// What one request left behind, as far as it matters here; times in nanoseconds.
pub struct Request {
    pub slot: u64,
    pub issued: i64,
    pub sent: i64,
    pub outputs: Vec<i64>,
    pub end: i64,
    pub ok: bool,
    pub cut_off: bool,
}

impl Request {
    pub fn last(&self) -> i64 {
        *self.outputs.last().unwrap()
    }

    /// A successful request ends with its last output, any other when it was given up.
    pub fn ended(&self) -> i64 {
        if self.ok { self.last() } else { self.end }
    }

    /// In milliseconds.
    pub fn latency(&self) -> f64 {
        (self.last() - self.sent) as f64 / 1e6
    }
}

/// The measured ones.
pub fn requests(records: &Records) -> Vec<Request> {
    let request = |record: &Value| {
        let issued = record["issued_ns"].as_i64().unwrap();
        let sent = record["sent_ns"].as_i64().unwrap_or(issued);
        let at = |at: &Value| sent + at.as_i64().unwrap();
        Request {
            slot: record["slot"].as_u64().unwrap(),
            issued,
            sent,
            outputs: record["at_ns"].as_array().map_or(Vec::new(), |all| all.iter().map(at).collect()),
            end: record["end_ns"].as_i64().unwrap(),
            ok: record["outcome"] == "ok",
            cut_off: record["outcome"] == "cut_off",
        }
    };
    records.of_phase("profiling").into_iter().map(request).collect()
}

/// A run's records under a plan that asks for more, and with other facts; none is a run that was killed.
fn altered(records: &Records, steady: bool, stability: Value, facts: Option<Value>) -> String {
    let mut header = records.header.clone();
    header["plan"]["steady_state"] = json!(steady);
    header["plan"]["stop"]["stability"] = stability;
    let last = facts.map(|facts| json!({"run": facts}));
    let lines = std::iter::once(&header).chain(&records.all).chain(&last);
    lines.map(|line| format!("{line}\n")).collect()
}

/// Reports such records in the place of the run's own.
fn reported(context: &TestContext, run: &Run, text: &str) -> Run {
    fs::write(run.dir().join("records.jsonl"), text).unwrap();
    report_again(context, run)
}

fn report_again(context: &TestContext, run: &Run) -> Run {
    let dir = run.dir();
    context.run(context.bare(&format!("report {}", dir.strip_prefix(context.path()).unwrap().display()))).expect(0)
}

pub fn near(found: &Value, expected: f64) -> bool {
    (found.as_f64().unwrap() - expected).abs() <= 1e-9 * expected.abs()
}

pub fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (count, sum) = values.fold((0, 0.0), |(count, sum), value| (count + 1, sum + value));
    sum / f64::from(count)
}

fn stability(window: Value, within: f64) -> Value {
    json!({"window": window, "within": within, "percentile": null, "most": 1_000})
}

#[test]
fn the_last_windows_are_what_ended_in_them() {
    let context = TestContext::faulty(&["status=500:every=7"]);
    let run = context.profile("--streaming --isl 10 --osl 6 --no-probe --concurrency 3 --request-count 60").expect(0);
    let records = run.records();
    let all = requests(&records);
    let mut ends: Vec<i64> = all.iter().map(Request::ended).collect();
    ends.sort_unstable();
    let (from, to) = (ends[20], ends[50]);
    let mut facts = records.run.clone();
    facts["window"] = json!({"from": from, "to": to, "windows": 9, "stable": true});
    facts["satisfied"] = json!("the last 3 of 9 windows agree within 10 %");
    let text = altered(&records, false, stability(json!({"time": 10 * MS}), 0.1), Some(facts.clone()));
    let again = reported(&context, &run, &text);
    let summary = again.summary();
    let within: Vec<&Request> = all.iter().filter(|request| (from..to).contains(&request.ended())).collect();
    let ok: Vec<&Request> = within.iter().copied().filter(|request| request.ok).collect();
    assert_eq!(within.len(), 30);
    let counted =
        ["measured", "ok", "failed", "outside"].map(|key| summary["requests"][key].as_u64().unwrap() as usize);
    assert_eq!(counted, [30, ok.len(), 30 - ok.len(), 30]);
    let seconds = (to - from) as f64 / 1e9;
    assert!(near(&summary["run"]["duration_s"], seconds));
    assert!(near(&summary["request_throughput"]["avg"], ok.len() as f64 / seconds));
    assert!(near(&summary["output_token_throughput"]["avg"], 6.0 * ok.len() as f64 / seconds));
    let latency = mean(ok.iter().map(|request| request.latency()));
    assert!(near(&summary["request_latency"]["avg"], latency));
    let started = facts["started"].as_i64().unwrap();
    let windows = &summary["run"]["windows"];
    assert!(
        near(&windows["from_s"], (from - started) as f64 / 1e9) && near(&windows["to_s"], (to - started) as f64 / 1e9)
    );
    assert_eq!((&windows["count"], &windows["stable"]), (&json!(9), &json!(true)));
    assert_eq!(again.fidelity_row("windows").unwrap()["value"], "the last 3 of 9 agree within 10 %");
    assert!(again.stdout.contains(" s of windows; 30 outside the windows\n"), "{}", again.stdout);
    assert!(again.stderr.contains("the run ended: the last 3 of 9 windows agree within 10 %"), "{}", again.stderr);
    // Once more, to the last byte.
    let before = again.file("profile_export_genai_perf.json");
    let once_more = report_again(&context, &run);
    assert_eq!((once_more.stdout, again.file("profile_export_genai_perf.json")), (again.stdout.clone(), before));
}

#[test]
fn a_killed_row_of_windows_has_its_last_whole_ones() {
    let context = TestContext::new();
    let run = context.profile("--streaming --isl 10 --osl 4 --concurrency 2 --request-count 50").expect(0);
    let records = run.records();
    let text = altered(&records, false, stability(json!({"requests": 10}), 1e-9), None);
    let again = reported(&context, &run, &text);
    let summary = again.summary();
    // Fifty requests are five windows of ten; the last of them has nothing after it that shows that load went on.
    let mut ends: Vec<i64> = requests(&records).iter().map(Request::last).collect();
    ends.sort_unstable();
    let issued =
        records.of_phase("profiling").iter().map(|record| record["issued_ns"].as_i64().unwrap()).max().unwrap();
    let closes: Vec<i64> = (1..=5).map(|k| ends[10 * k - 1] + 1).filter(|close| *close <= issued).collect();
    assert!(closes.len() >= 3, "{closes:?}");
    let started =
        records.of_phase("profiling").iter().map(|record| record["issued_ns"].as_i64().unwrap()).min().unwrap();
    let windows = &summary["run"]["windows"];
    assert_eq!((&windows["count"], &windows["stable"]), (&json!(closes.len()), &json!(false)));
    assert!(near(&windows["to_s"], (closes[closes.len() - 1] - started) as f64 / 1e9));
    let measured = summary["requests"]["measured"].as_u64().unwrap();
    assert_eq!((measured, summary["requests"]["outside"].as_u64().unwrap()), (30, 20));
    assert_eq!(again.fidelity_row("windows").unwrap()["grade"], "degraded");
}

#[test]
fn the_steady_time_stands_beside_the_whole_run() {
    let context = TestContext::new();
    let run = context.profile("--streaming --isl 10 --osl 6 --concurrency 4 --request-count 40").expect(0);
    let records = run.records();
    assert!(run.summary().get("steady_state").is_none() && !run.stdout.contains("Steady"));
    let whole = run.summary();
    let again = reported(&context, &run, &altered(&records, true, Value::Null, Some(records.run.clone())));
    let summary = again.summary();
    for key in ["request_latency", "request_throughput", "requests", "intervals"] {
        assert_eq!(summary[key], whole[key], "the whole run's {key} stays as it was");
    }
    let all = requests(&records);
    let of_slot = |slot| all.iter().filter(move |request| request.slot == slot);
    let from = (0..4).map(|slot| of_slot(slot).map(|request| request.sent).min().unwrap()).max().unwrap();
    let to = (0..4).map(|slot| of_slot(slot).map(|request| request.end).max().unwrap()).min().unwrap();
    let seconds = (to - from) as f64 / 1e9;
    let steady = &summary["steady_state"];
    let started = records.run["started"].as_i64().unwrap();
    assert!(
        near(&steady["from_s"], (from - started) as f64 / 1e9) && near(&steady["to_s"], (to - started) as f64 / 1e9)
    );
    assert!(near(&steady["duration_s"], seconds));
    let within = |at: i64| (from..to).contains(&at);
    let sent: Vec<&Request> = all.iter().filter(|request| within(request.sent)).collect();
    assert_eq!(steady["requests"]["ok"].as_u64().unwrap() as usize, sent.len());
    let latency = mean(sent.iter().map(|request| request.latency()));
    assert!(near(&steady["request_latency"]["avg"], latency));
    let ended = all.iter().filter(|request| within(request.last())).count();
    assert!(near(&steady["request_throughput"]["avg"], ended as f64 / seconds));
    // Six tokens over the output events, the first of them with one more where they do not come out even.
    let tokens: usize = all
        .iter()
        .flat_map(|request| {
            let events = request.outputs.len();
            request
                .outputs
                .iter()
                .enumerate()
                .filter(|(_, at)| within(**at))
                .map(move |(index, _)| 6 / events + usize::from(index < 6 % events))
        })
        .sum();
    assert!(near(&steady["output_token_throughput"]["avg"], tokens as f64 / seconds));
    assert!(again.stdout.contains("Steady state: all slots busy\n"), "{}", again.stdout);
}

#[test]
fn a_run_without_a_steady_time_says_so() {
    let context = TestContext::new();
    let run = context.profile("--streaming --isl 10 --osl 4 --concurrency 4 --request-count 4").expect(0);
    let records = run.records();
    let again = reported(&context, &run, &altered(&records, true, Value::Null, Some(records.run.clone())));
    assert!(again.summary().get("steady_state").is_none());
    assert!(again.stdout.contains("\nSteady state: no figures, "), "{}", again.stdout);
}
