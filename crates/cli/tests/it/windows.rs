//! Runs that are a row of windows, through the real binary: when they end, and that every file has the figures of the last
//! three. The windows are made again here from the records, by code of the tests' own.

use crate::context::{Records, Run, TestContext, wait_until};
use crate::levels::read;
use crate::parts::{MS, Request, mean, near, requests};
use crate::report::{comes_out_again, on_disk, report};
use serde_json::{Value, json};

/// Four tokens each, over and over.
const SMALL: &str = "--streaming --isl 10 --osl 4 --concurrency 3 --no-probe";
const DIR: &str = "artifacts/sim-model-openai-chat-concurrency3";
const TOKENS: usize = 4;

/// A window that is over.
#[derive(Clone, Copy, Debug)]
struct Window {
    from: i64,
    to: i64,
    /// Successful requests a second.
    rate: f64,
    /// In milliseconds; none without a success.
    latency: Option<f64>,
}

/// The rule as the command line gave it.
struct Rule {
    /// Nanoseconds, or requests.
    length: Length,
    within: f64,
    percentile: Option<usize>,
    most: usize,
}

enum Length {
    Time(i64),
    Requests(usize),
}

impl Rule {
    /// Windows of so many milliseconds that agree within a share.
    fn time(ms: i64, within: f64, most: usize) -> Rule {
        Rule { length: Length::Time(ms * MS), within, percentile: None, most }
    }

    /// The windows of a run that started then, to the first three that agree, to the most there may be, or to the last that is
    /// over by `until`; and whether the last three agree.
    fn windows(&self, all: &[Request], started: i64, until: i64) -> (Vec<Window>, bool) {
        let mut ends: Vec<i64> = all.iter().filter(|request| !request.cut_off).map(Request::ended).collect();
        ends.sort_unstable();
        let mut windows: Vec<Window> = Vec::new();
        while windows.len() < self.most && !self.agree(&windows) {
            let from = windows.last().map_or(started, |window| window.to);
            let to = match self.length {
                Length::Time(length) => from + length,
                Length::Requests(count) => {
                    let Some(nth) = ends.iter().filter(|end| **end >= from).nth(count - 1) else { break };
                    nth + 1
                }
            };
            if to > until {
                break;
            }
            windows.push(self.window(all, from, to));
        }
        let stable = self.agree(&windows);
        (windows, stable)
    }

    fn window(&self, all: &[Request], from: i64, to: i64) -> Window {
        let ok = all.iter().filter(|request| request.ok && (from..to).contains(&request.last()));
        let mut latencies: Vec<f64> = ok.map(Request::latency).collect();
        latencies.sort_by(f64::total_cmp);
        let latency = (!latencies.is_empty()).then(|| match self.percentile {
            None => mean(latencies.iter().copied()),
            // Perf Analyzer's nearest rank.
            Some(p) => latencies[(p as f64 / 100.0 * (latencies.len() - 1) as f64 + 0.5).floor() as usize],
        });
        Window { from, to, rate: latencies.len() as f64 / seconds(from, to), latency }
    }

    fn agree(&self, windows: &[Window]) -> bool {
        let Some((_, last)) = windows.split_last_chunk::<3>() else { return false };
        let near = |values: [f64; 3]| {
            let most = values.into_iter().fold(f64::MIN, f64::max);
            most <= values.into_iter().fold(f64::MAX, f64::min) * (1.0 + self.within)
        };
        let [Some(first), Some(second), Some(third)] = last.map(|window| window.latency) else { return false };
        near(last.map(|window| window.rate)) && near([first, second, third])
    }
}

fn seconds(from: i64, to: i64) -> f64 {
    (to - from) as f64 / 1e9
}

/// Holds every figure of a part of the run against the requests that ended in it.
#[track_caller]
fn verify(run: &Run, all: &[Request], started: i64, (windows, stable): &(Vec<Window>, bool)) {
    let summary = run.summary();
    let (from, to) = (windows[windows.len().saturating_sub(3)].from, windows[windows.len() - 1].to);
    let told = &summary["run"]["windows"];
    assert_eq!((&told["count"], &told["stable"]), (&json!(windows.len()), &json!(stable)), "{windows:?}");
    assert!(near(&told["from_s"], seconds(started, from)) && near(&told["to_s"], seconds(started, to)), "{told}");
    let within: Vec<&Request> = all.iter().filter(|request| (from..to).contains(&request.ended())).collect();
    let ok: Vec<&Request> = within.iter().copied().filter(|request| request.ok).collect();
    let cut_off = within.iter().filter(|request| request.cut_off).count();
    let counts = &summary["requests"];
    let expected = [within.len(), ok.len(), within.len() - ok.len() - cut_off, cut_off, all.len() - within.len()];
    let found = ["measured", "ok", "failed", "cut_off", "outside"].map(|key| counts[key].as_u64().unwrap() as usize);
    assert_eq!(found, expected);
    let length = seconds(from, to);
    let first = |request: &Request| (request.outputs[0] - request.sent) as f64 / 1e6;
    let latencies = || ok.iter().map(|request| request.latency());
    for (key, statistic, value) in [
        ("request_count", "avg", ok.len() as f64),
        ("request_throughput", "avg", ok.len() as f64 / length),
        ("output_token_throughput", "avg", (TOKENS * ok.len()) as f64 / length),
        ("request_latency", "avg", mean(latencies())),
        ("request_latency", "min", latencies().fold(f64::MAX, f64::min)),
        ("request_latency", "max", latencies().fold(f64::MIN, f64::max)),
        ("time_to_first_token", "avg", mean(ok.iter().map(|request| first(request)))),
    ] {
        assert!(near(&summary[key][statistic], value), "{key} {statistic}: {} is not {value}", summary[key]);
    }
    assert!(near(&summary["run"]["duration_s"], length));
    assert_eq!(summary["samples"]["request_latency"]["count"], ok.len());
    let outside = format!("in {length:.2} s of windows; {} outside the windows", all.len() - within.len());
    assert!(run.stdout.contains(&outside), "no `{outside}` in {}", run.stdout);
    let row = format!("Requests Outside Of Windows (count),{}.00", all.len() - within.len());
    assert!(run.file("profile_export_genai_perf.csv").contains(&row), "no {row}");
    let grade = if *stable { "good" } else { "degraded" };
    assert_eq!(run.fidelity_row("windows").unwrap()["grade"], grade);
}

/// A run that its windows have ended, held against its records.
#[track_caller]
fn verify_ended(run: &Run, rule: &Rule) -> (Vec<Window>, bool) {
    let records = run.records();
    let (all, started) = (requests(&records), records.run["started"].as_i64().unwrap());
    let found = rule.windows(&all, started, i64::MAX);
    verify(run, &all, started, &found);
    let (count, within) = (found.0.len(), rule.within * 100.0);
    let why = match found.1 {
        true => format!("the last 3 of {count} windows agree within {within} %"),
        false => format!("all {count} windows are over, and the last 3 do not agree within {within} %"),
    };
    assert_eq!(records.run["satisfied"], why);
    assert!(run.stderr.contains(&format!("the run ended: {why}\n")), "{}", run.stderr);
    assert!(records.run["ended_early"].is_null() && records.run["interrupted"] == false);
    let asked = found.0.last().unwrap().to;
    assert!(all.iter().any(|request| request.issued >= asked), "load went on until the last window was over");
    found
}

#[test]
fn three_windows_that_agree_end_the_run_and_are_what_it_measured() {
    let context = TestContext::faulty(&["status=500:every=9"]);
    let run = context.profile(&format!("{SMALL} --stability-percentage 900 -p 100")).expect(0);
    let (windows, stable) = verify_ended(&run, &Rule::time(100, 9.0, 10));
    assert!(stable && windows.len() >= 3, "{windows:?}");
    // Each is as long as asked, and they follow each other from the start.
    let started = run.records().run["started"].as_i64().unwrap();
    for (index, window) in (0..).zip(&windows) {
        assert_eq!((window.from - started, window.to - started), (index * 100 * MS, (index + 1) * 100 * MS));
    }
    assert!(run.summary()["requests"]["failed"].as_u64().unwrap() > 0);
    comes_out_again(&context, &run);
}

#[test]
fn windows_that_never_agree_end_the_run_when_there_are_enough_of_them() {
    let context = TestContext::new();
    let args = format!("{SMALL} -s 0.001 --max-trials 3 -p 50");
    let run = context.profile(&args).expect(0);
    let (windows, stable) = verify_ended(&run, &Rule::time(50, 0.00001, 3));
    assert_eq!((windows.len(), stable), (3, false));
    let row = run.fidelity_row("windows").unwrap();
    assert_eq!(row["value"], "the last 3 of 3 do not agree within 0.001 %");
    assert_ne!(run.summary()["fidelity"]["verdict"], "good");
    assert!(run.stdout.contains("use longer windows (--measurement-interval"), "{}", run.stdout);
    comes_out_again(&context, &run);
    context.profile(&format!("{args} --require-fidelity good")).expect(3);
}

#[test]
fn windows_of_requests_close_with_their_last_one() {
    let context = TestContext::faulty(&["status=500:every=13"]);
    for (args, within) in [("", 0.1), ("-s 800", 8.0), ("-s 0.001", 0.00001)] {
        let args = format!(
            "{SMALL} --measurement-mode count_windows --measurement-request-count 20 --percentile 95 {args} --threads 2"
        );
        let run = context.profile(&args).expect(0);
        let rule = Rule { length: Length::Requests(20), within, percentile: Some(95), most: 10 };
        let (windows, stable) = verify_ended(&run, &rule);
        assert_eq!(run.summary()["requests"]["measured"], 60, "{windows:?}");
        assert!(within > 0.0001 || (windows.len(), stable) == (10, false), "{windows:?}");
        comes_out_again(&context, &run);
    }
}

#[test]
fn a_count_alone_makes_windows_of_requests() {
    let context = TestContext::new();
    let run = context.profile(&format!("{SMALL} -s 900 --measurement-request-count 15")).expect(0);
    let rule = Rule { length: Length::Requests(15), within: 9.0, percentile: None, most: 10 };
    verify_ended(&run, &rule);
    assert_eq!(run.summary()["requests"]["measured"], 45);
}

#[test]
fn windows_of_an_open_loop_are_counted_from_its_start() {
    let context = TestContext::new();
    let args = "--streaming --isl 10 --osl 4 --no-probe --request-rate 200 -s 900 -p 100 --warmup-request-count 5";
    let run = context.profile(args).expect(0);
    let (windows, _) = verify_ended(&run, &Rule::time(100, 9.0, 10));
    assert!(windows.len() >= 3);
    assert_eq!(run.summary()["requests"]["warmup"], 5);
    comes_out_again(&context, &run);
}

#[test]
fn the_steady_time_of_a_row_of_windows_is_the_whole_runs() {
    let context = TestContext::new();
    let run = context.profile(&format!("{SMALL} -s 900 -p 60 --steady-state")).expect(0);
    verify_ended(&run, &Rule::time(60, 9.0, 10));
    let all = requests(&run.records());
    let of_slot = |slot| all.iter().filter(move |request| request.slot == slot);
    let from = (0..3).map(|slot| of_slot(slot).map(|request| request.sent).min().unwrap()).max().unwrap();
    let to = (0..3).map(|slot| of_slot(slot).map(|request| request.end).max().unwrap()).min().unwrap();
    assert!(near(&run.summary()["steady_state"]["duration_s"], seconds(from, to)));
    comes_out_again(&context, &run);
}

/// Three windows or more that are over, and are on disk.
fn some_windows(known: &Records) -> bool {
    let all = requests(known);
    let started = all.iter().map(|request| request.issued).min();
    started.is_some_and(|started| all.iter().any(|request| request.issued > started + 400 * MS))
}

/// Windows that go on for ever.
const ENDLESS: &str = "-s 0.0000001 --max-trials 1000000 -p 100";

#[test]
fn an_interrupted_row_of_windows_has_its_last_whole_ones() {
    let context = TestContext::new();
    let running = context.start(&format!("{SMALL} {ENDLESS}"));
    wait_until("some windows", || on_disk(&context.path().join(DIR)).as_ref().is_some_and(some_windows));
    running.interrupt();
    let run = running.wait().expect(130);
    let records = run.records();
    let (all, started) = (requests(&records), records.run["started"].as_i64().unwrap());
    let issued = all.iter().map(|request| request.issued).max().unwrap();
    let found = Rule::time(100, 1e-9, 1_000_000).windows(&all, started, issued);
    assert!(found.0.len() >= 4 && !found.1);
    verify(&run, &all, started, &found);
    assert_eq!((&records.run["satisfied"], &records.run["interrupted"]), (&Value::Null, &json!(true)));
    assert!(!run.stderr.contains("the run ended:"), "{}", run.stderr);
    comes_out_again(&context, &run);
}

#[test]
fn one_that_is_interrupted_in_its_first_window_has_the_whole_runs_figures_and_says_so() {
    let context = TestContext::new();
    let running = context.start(&format!("{SMALL} -s 10 -p 10m"));
    wait_until("some answers", || context.requests().len() > 20);
    running.interrupt();
    let run = running.wait().expect(130);
    let summary = run.summary();
    assert!(summary["run"]["windows"].is_null() && summary["requests"].get("outside").is_none());
    assert_eq!(summary["requests"]["measured"], requests(&run.records()).len());
    let row = run.fidelity_row("windows").unwrap();
    assert_eq!(
        (&row["value"], &row["grade"]),
        (&json!("no complete window; the figures cover the whole run"), &json!("degraded"))
    );
    assert!(run.stdout.contains("the run ended before there were enough windows; let it end on its own"));
    comes_out_again(&context, &run);
}

#[test]
fn a_killed_row_of_windows_gets_the_figures_of_its_last_whole_ones() {
    let context = TestContext::new();
    let running = context.start(&format!("{SMALL} {ENDLESS}"));
    let dir = context.path().join(DIR);
    wait_until("some windows", || on_disk(&dir).as_ref().is_some_and(some_windows));
    running.kill();
    let all = requests(&on_disk(&dir).unwrap());
    let run = report(&context, DIR).expect(0);
    let started = all.iter().map(|request| request.issued).min().unwrap();
    let issued = all.iter().map(|request| request.issued).max().unwrap();
    let found = Rule::time(100, 1e-9, 1_000_000).windows(&all, started, issued);
    assert!(found.0.len() >= 4 && !found.1);
    verify(&run, &all, started, &found);
    assert!(run.stderr.contains("the run ended early: killed"), "{}", run.stderr);
}

#[test]
fn each_run_of_a_series_has_windows_of_its_own() {
    let context = TestContext::new();
    let args = "--streaming --isl 10 --osl 4 --concurrency 1,2 --repeat 2 -s 900 -p 80 --steady-state --num-prompts 3";
    let run = context.profile(args).expect(0);
    assert_eq!(run.stderr.matches("the run ended: the last 3 of ").count(), 4, "{}", run.stderr);
    let place = "artifacts/sim-model-openai-chat-";
    let document: Value = read(&context, &format!("{place}concurrency1,2-repeat2_levels.json"));
    let mut sent = Vec::new();
    for (level, concurrency) in [(0, 1), (1, 2)] {
        for number in [0, 1] {
            let dir = format!("{place}concurrency{concurrency}/run-{}", number + 1);
            let summary = read(&context, &format!("{dir}/profile_export_genai_perf.json"));
            let text = std::fs::read_to_string(context.path().join(&dir).join("records.jsonl")).unwrap();
            let records = Records::read(&text);
            let (all, started) = (requests(&records), records.run["started"].as_i64().unwrap());
            let (windows, stable) = Rule::time(80, 9.0, 10).windows(&all, started, i64::MAX);
            let told = &summary["run"]["windows"];
            assert_eq!((&told["count"], &told["stable"]), (&json!(windows.len()), &json!(stable)), "{dir}");
            let outside = summary["requests"]["outside"].as_u64().unwrap();
            let measured = summary["requests"]["measured"].as_u64().unwrap();
            assert_eq!(measured + outside, all.len() as u64);
            assert!(summary["steady_state"]["request_latency"]["avg"].is_number(), "{dir}");
            let entry = &document["levels"][level]["runs"][number];
            assert_eq!(
                (&entry["requests"]["measured"], &entry["requests"]["outside"]),
                (&json!(measured), &json!(outside))
            );
            assert_eq!(entry["metrics"]["request_throughput"], summary["request_throughput"]);
            sent.push(all.len());
        }
    }
    // Those outside of the windows were sent too.
    let most = sent.into_iter().max().unwrap();
    assert!(run.stdout.contains(&format!("--num-prompts {most} is enough")), "{most}: {}", run.stdout);
}
