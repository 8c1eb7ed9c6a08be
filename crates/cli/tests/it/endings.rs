//! Runs that end by what they find, through the real binary: a figure known well enough, too many failures; and what stands
//! beside the whole run: its steady time, and the requests that were given up on purpose.

use crate::context::{Records, Run, TestContext};
use crate::levels::read;
use crate::parts::{mean, near, requests};
use crate::report::comes_out_again;
use crate::script::serve;
use crate::words::{document, stream};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};

const SMALL: &str = "--streaming --isl 10 --osl 4 --concurrency 4 --no-probe";

/// How far the farther end of a figure's interval in the summary is from it, in percent of the figure.
fn precision(summary: &Value, metric: &str, statistic: &str) -> f64 {
    let ends = &summary["intervals"][metric][statistic];
    let value = summary[metric][statistic].as_f64().unwrap();
    let farther = (ends["high"].as_f64().unwrap() - value).max(value - ends["low"].as_f64().unwrap());
    100.0 * farther / value
}

/// The number behind the `±` of a sentence.
fn told(sentence: &str) -> f64 {
    let (_, number) = sentence.split_once('±').unwrap();
    number.split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn a_figure_that_is_known_well_enough_ends_the_run() {
    let context = TestContext::faulty(&["status=500:every=10"]);
    for (metric, name, statistic) in [
        ("", "mean request_latency", "avg"),
        ("--ci-metric request_latency:p50", "request_latency p50", "p50"),
        ("--ci-metric time_to_first_token:avg", "mean time_to_first_token", "avg"),
    ] {
        let run = context.profile(&format!("{SMALL} --until-ci 50% {metric}")).expect(0);
        let records = run.records();
        let why = records.run["satisfied"].as_str().unwrap();
        assert!(why.starts_with(&format!("the 95 % interval of {name} is ±")), "{why}");
        assert!(why.ends_with(" %, 50 % was requested") && told(why) <= 50.0, "{why}");
        assert!(run.stderr.contains(&format!("the run ended: {why}\n")), "{}", run.stderr);
        assert!(records.run["ended_early"].is_null() && records.run["interrupted"] == false);
        assert!(records.ended("ok").len() >= 100, "no fewer requests are looked at");
        let summary = run.summary();
        assert_eq!(summary["run"]["satisfied"], why);
        assert_eq!(summary["requests"]["measured"], requests(&records).len(), "all of the run counts");
        let row = run.fidelity_row("confidence").unwrap();
        let key = name.trim_start_matches("mean ").trim_end_matches(" p50");
        assert_eq!(row["grade"], "good");
        // Beside other work on the machine, what came after the end may have made latencies depend on each other.
        if !summary["samples"][key]["needed_s"][statistic].is_number() {
            assert!(near(&row["number"], precision(&summary, key, statistic)), "{row}");
            assert_eq!(row["unit"], "%");
            let value = format!("±{:.2} % of {name}; 50 % was requested", row["number"].as_f64().unwrap());
            assert!(row["value"] == value && run.stdout.contains(&value), "{row} {}", run.stdout);
        }
        comes_out_again(&context, &run);
    }
}

#[test]
fn a_rate_that_is_known_well_enough_ends_the_run() {
    let context = TestContext::new();
    for (metric, limits) in [
        ("request_throughput", ""),
        ("request_goodput", "--goodput request_latency:60000"),
        ("output_token_throughput", ""),
    ] {
        let run = context.profile(&format!("{SMALL} --until-ci 90% --ci-metric {metric} {limits}")).expect(0);
        let records = run.records();
        let why = records.run["satisfied"].as_str().unwrap();
        assert!(why.starts_with(&format!("the 95 % interval of {metric} is ±")) && told(why) <= 90.0, "{why}");
        let row = run.fidelity_row("confidence").unwrap();
        assert!(near(&row["number"], precision(&run.summary(), metric, "avg")), "{row}");
        assert_eq!(row["grade"], "good");
        comes_out_again(&context, &run);
    }
}

#[test]
fn a_run_that_ends_before_the_figure_is_known_says_how_far_it_came() {
    let context = TestContext::new();
    let args = format!("{SMALL} --until-ci 0.0001%");
    // A mean takes 150 values.
    let run = context.profile(&format!("{args} --request-count 160")).expect(0);
    assert_eq!(run.records().all.len(), 160);
    assert!(run.records().run["satisfied"].is_null() && !run.stderr.contains("the run ended"), "{}", run.stderr);
    let row = run.fidelity_row("confidence").unwrap();
    assert_eq!(row["grade"], "degraded");
    match row["number"].as_f64() {
        Some(number) => {
            assert!(near(&row["number"], precision(&run.summary(), "request_latency", "avg")));
            assert_eq!(row["value"], format!("±{number:.2} % of mean request_latency; 0.0001 % was requested"));
        }
        // Beside other work on the machine, latencies may depend on each other.
        None => {
            let value = row["value"].as_str().unwrap();
            assert!(
                value.starts_with("no interval of mean request_latency: its values depend on each other"),
                "{value}"
            );
        }
    }
    assert!(run.stdout.contains("let it run longer, or request a wider interval"), "{}", run.stdout);
    comes_out_again(&context, &run);
    context.profile(&format!("{args} --request-count 160 --require-fidelity good")).expect(3);
    // Too few for an interval at all.
    let run = context.profile(&format!("{args} --ci-metric request_latency:p99 --request-count 20")).expect(0);
    let row = run.fidelity_row("confidence").unwrap();
    let value = "too few requests for an interval of request_latency p99; 0.0001 % was requested";
    assert_eq!((&row["value"], &row["number"], &row["grade"]), (&json!(value), &Value::Null, &json!("degraded")));
}

#[test]
fn a_figure_that_no_run_can_know_is_refused_with_those_that_can() {
    let context = TestContext::new();
    let all = "the metrics that have are time_to_first_token, time_to_first_token_from_due, time_to_second_token, \
               request_latency, request_latency_from_due, inter_token_latency, output_token_throughput_per_user, \
               time_per_output_token, output_sequence_length, time_to_first_byte, output_token_throughput, request_throughput, request_goodput";
    for (args, sentence) in [
        ("--ci-metric foo", format!("--ci-metric: `foo` has no interval to wait for; {all}")),
        ("--ci-metric client_lag:p50", format!("--ci-metric: `client_lag` has no interval to wait for; {all}")),
        ("--ci-metric request_throughput:p50", "--ci-metric: `request_throughput` has no p50; it is one figure".into()),
        ("--ci-metric request_goodput", "`request_goodput` is a figure of runs with limits (--goodput) only".into()),
        ("--ci-metric request_latency_from_due", "is a figure of runs with a schedule (--request-rate) only".into()),
        ("--ci-metric request_latency:p0", "--ci-metric request_latency:p0: give METRIC".into()),
        ("--ci-metric request_latency:max", "METRIC:pN with N from 1 to 99".into()),
    ] {
        let run = context.profile(&format!("{SMALL} --until-ci 5% {args}")).expect(2);
        assert!(run.stderr.contains(&sentence), "{args}: {}", run.stderr);
    }
    let whole = context.profile("--until-ci 5% --ci-metric inter_token_latency --isl 10 --osl 2").expect(2);
    assert!(whole.stderr.contains("is a figure of streams (--streaming) only"), "{}", whole.stderr);
    assert!(context.requests().is_empty(), "nothing was sent");
}

#[test]
fn each_run_of_a_series_waits_for_its_own_figure() {
    let context = TestContext::new();
    let args = "--streaming --isl 10 --osl 4 --no-probe -m sim-model --concurrency 1,2 --repeat 2 --until-ci 50%";
    let run = context.profile(args).expect(0);
    assert_eq!(run.stderr.matches("the run ended: the 95 % interval of mean request_latency").count(), 4);
    for place in ["concurrency1/run-1", "concurrency1/run-2", "concurrency2/run-1", "concurrency2/run-2"] {
        let path = format!("artifacts/sim-model-openai-chat-{place}/profile_export_genai_perf.json");
        let summary = read(&context, &path);
        assert!(told(summary["run"]["satisfied"].as_str().unwrap()) <= 50.0);
        assert!(summary["requests"]["ok"].as_u64().unwrap() >= 100, "{place}");
    }
}

/// The failed requests and the successful ones of a sentence about a budget.
fn budget(sentence: &str) -> (u64, u64) {
    let numbers: Vec<u64> = sentence.split(' ').filter_map(|word| word.parse().ok()).collect();
    (numbers[0], numbers[1])
}

#[test]
fn a_run_over_its_error_budget_is_ended() {
    let context = TestContext::faulty(&["status=503:0.5"]);
    for flag in ["--failed-request-threshold 0.1", "--error-budget 10%"] {
        let run = context.profile(&format!("{SMALL} --request-count 1000000 {flag}")).expect(3);
        let records = run.records();
        let why = records.run["ended_early"].as_str().unwrap();
        let (failed, finished) = budget(why);
        assert_eq!(why, format!("{failed} of {finished} requests failed, more than the 10 % allowed"));
        assert!(finished >= 20 && failed * 10 > finished, "{why}");
        assert!(run.stderr.contains(&format!("the run ended early: {why}\n")), "{}", run.stderr);
        assert_eq!(run.stderr.matches("requests failed").count(), 1, "said once: {}", run.stderr);
        assert!(records.ended("failed").len() as u64 >= failed && records.all.len() < 1_000_000);
        assert_eq!(run.summary()["run"]["ended_early"], why);
        let row = run.fidelity_row("ended_early").unwrap();
        assert_eq!((&row["value"], &row["grade"]), (&json!(why), &json!("degraded")));
        comes_out_again(&context, &run);
    }
}

#[test]
fn a_run_within_its_error_budget_is_one_like_any() {
    let context = TestContext::faulty(&["status=503:every=4"]);
    // One after the other: failures, which are quick, must not come first.
    let args = "--streaming --isl 10 --osl 4 --no-probe --request-count 60 --failed-request-threshold 0.25";
    let run = context.profile(args).expect(0);
    let records = run.records();
    assert_eq!((records.ended("failed").len(), records.all.len()), (15, 60), "a budget may be used up");
    assert!(records.run["ended_early"].is_null() && run.fidelity_row("ended_early").is_none());
    assert!(!run.stderr.contains("allowed"), "{}", run.stderr);
}

#[test]
fn a_run_too_short_to_be_ended_is_judged_at_its_end_and_says_so() {
    let context = TestContext::faulty(&["status=503:every=2"]);
    let run = context.profile(&format!("{SMALL} --request-count 12 --error-budget 0.4")).expect(3);
    let records = run.records();
    assert_eq!((records.ended("failed").len(), records.all.len()), (6, 12));
    assert!(records.run["ended_early"].is_null());
    let told = "the run is over its error budget: 6 of 12 requests failed, more than the 40 % allowed\n";
    assert!(run.stderr.contains(told), "{}", run.stderr);
    comes_out_again(&context, &run);
    let all = TestContext::faulty(&["status=503"]);
    let run = all.profile(&format!("{SMALL} --request-count 12 --error-budget 0.4")).expect(3);
    assert!(run.stderr.contains("12 of 12 requests failed, more than the 40 % allowed\n"), "{}", run.stderr);
}

#[test]
fn the_error_budget_is_the_whole_runs_where_figures_are_of_windows() {
    // Of the requests from 40 to 99, the last three windows, three of each twenty fail; none before, and none after.
    let answered = AtomicUsize::new(0);
    let server = serve(move |peer| {
        while peer.request().is_some() {
            let number = answered.fetch_add(1, Ordering::SeqCst);
            match (40..100).contains(&number) && number % 20 < 3 {
                true => peer.send(&document(503, "text/plain", "no")),
                false => peer.send(&stream(&["a"])),
            }
        }
    });
    let context = TestContext::new();
    let args = "--streaming --isl 10 --osl 1 --no-probe -m sim-model -s 0.0001 --measurement-request-count 20 -r 5";
    let url = format!("http://{}", server.addr());
    // 15 % of the windows' requests, and less than 11 % of the run's at any time.
    let run = context.run(context.command_to(&url, &format!("{args} --error-budget 0.12"))).expect(0);
    let requests = &run.summary()["requests"];
    assert_eq!((&requests["measured"], &requests["failed"]), (&json!(60), &json!(9)));
    assert!(!run.stderr.contains("allowed"), "{}", run.stderr);
}

#[test]
fn the_steady_time_stands_beside_the_whole_run_in_each_run_of_a_series() {
    let context = TestContext::faulty(&["status=500:every=11"]);
    let args = "--streaming --isl 10 --osl 4 --no-probe -m sim-model --threads 2 --steady-state --request-count 40 \
                --warmup-request-count 3 --goodput request_latency:60000";
    let run = context.profile(&format!("{args} --concurrency 2,4 --repeat 2")).expect(0);
    assert_eq!(run.stdout.matches("Steady state: all slots busy\n").count(), 4, "{}", run.stdout);
    for (slots, number) in [(2, 1), (2, 2), (4, 1), (4, 2)] {
        let dir = format!("artifacts/sim-model-openai-chat-concurrency{slots}/run-{number}");
        let summary = read(&context, &format!("{dir}/profile_export_genai_perf.json"));
        let text = std::fs::read_to_string(context.path().join(&dir).join("records.jsonl")).unwrap();
        verify_steady(&Records::read(&text), &summary, slots);
    }
}

/// Holds the figures of the time in which all slots were busy against the records.
#[track_caller]
fn verify_steady(records: &Records, summary: &Value, slots: u64) {
    let all = requests(records);
    let of_slot = |slot| all.iter().filter(move |request| request.slot == slot);
    let from = (0..slots).map(|slot| of_slot(slot).map(|request| request.sent).min().unwrap()).max().unwrap();
    let to = (0..slots).map(|slot| of_slot(slot).map(|request| request.end).max().unwrap()).min().unwrap();
    let steady = &summary["steady_state"];
    let seconds = (to - from) as f64 / 1e9;
    assert!(near(&steady["duration_s"], seconds), "{steady}");
    let within = |at: i64| (from..to).contains(&at);
    let sent: Vec<_> = all.iter().filter(|request| within(request.sent)).collect();
    let ok: Vec<_> = sent.iter().filter(|request| request.ok).collect();
    let counts = ["measured", "ok", "failed", "outside"].map(|key| steady["requests"][key].as_u64().unwrap() as usize);
    assert_eq!(counts, [sent.len(), ok.len(), sent.len() - ok.len(), all.len() - sent.len()]);
    assert!(near(&steady["request_latency"]["avg"], mean(ok.iter().map(|request| request.latency()))));
    let ended = all.iter().filter(|request| request.ok && within(request.last())).count() as f64;
    assert!(near(&steady["request_throughput"]["avg"], ended / seconds), "{steady}");
    // All keep such a limit.
    assert!(near(&steady["request_goodput"]["avg"], ended / seconds), "{steady}");
    assert_eq!(summary["requests"]["measured"], all.len(), "the whole run's count stays");
}

#[test]
fn a_run_without_a_steady_time_has_a_line_in_place_of_a_table() {
    let context = TestContext::new();
    let run = context.profile(&format!("{SMALL} --steady-state --request-count 4")).expect(0);
    assert!(run.summary().get("steady_state").is_none());
    let lines: Vec<&str> = run.stdout.lines().filter(|line| line.contains("Steady")).collect();
    assert_eq!(
        lines,
        [
            "Steady state: no figures, because the slots were never all busy at once or sent fewer than two requests each"
        ]
    );
    comes_out_again(&context, &run);
}

/// The row of a table, without its frame.
fn cells<'a>(run: &'a Run, label: &str) -> Vec<&'a str> {
    let row = run.stdout.lines().find(|line| line.contains(label)).unwrap_or_else(|| panic!("{}", run.stdout));
    row.trim_matches('│').split('│').map(str::trim).collect()
}

#[test]
fn requests_that_were_given_up_are_counted_and_are_neither_good_nor_failed() {
    let context = TestContext::new();
    let args = "--request-cancellation-rate 40 --request-cancellation-delay 0 --request-count 50 --random-seed 3";
    let run = context.profile(&format!("{SMALL} {args} --goodput request_latency:60000 --error-budget 0.1")).expect(0);
    let records = run.records();
    let [ok, cancelled] = ["ok", "cancelled"].map(|outcome| records.ended(outcome).len());
    assert!(ok + cancelled == 50 && ok > 0 && cancelled > 0, "{ok} {cancelled}");
    let summary = run.summary();
    let counts =
        ["measured", "ok", "failed", "cancelled"].map(|key| summary["requests"][key].as_u64().unwrap() as usize);
    assert_eq!(counts, [50, ok, 0, cancelled]);
    let line = format!("Requests: {ok} ok, 0 failed, 0 cut off, {cancelled} cancelled, 0 retried, in ");
    assert!(run.stdout.contains(&line), "{}", run.stdout);
    let csv = run.file("profile_export_genai_perf.csv");
    assert!(csv.contains(&format!("\r\nCancelled Requests (count),{cancelled}.00\r\n")), "{csv}");
    // Good are the answers within the limit, over the time of the answers.
    let all: Vec<_> = requests(&records).into_iter().filter(|request| request.ok).collect();
    let from = all.iter().map(|request| request.sent).min().unwrap();
    let to = all.iter().map(|request| request.last()).max().unwrap();
    let rate = ok as f64 / ((to - from) as f64 / 1e9);
    assert!(near(&summary["request_goodput"]["avg"], rate) && near(&summary["request_throughput"]["avg"], rate));
    assert_eq!(cells(&run, "Request Goodput")[1], cells(&run, "Request Throughput")[1]);
    assert!(near(&summary["request_latency"]["avg"], mean(all.iter().map(|request| request.latency()))));
    comes_out_again(&context, &run);
    // Among failures they are no failures either.
    let context = TestContext::faulty(&["status=500:every=5"]);
    let run = context.profile(&format!("{SMALL} {args}")).expect(0);
    let [ok, failed, cancelled] = ["ok", "failed", "cancelled"].map(|outcome| run.records().ended(outcome).len());
    assert!(ok > 0 && failed > 0 && cancelled > 0 && ok + failed + cancelled == 50);
    let waits = &run.summary()["with_failures"]["request_latency"];
    assert_eq!((&waits["failed"], &waits["cut_off"]), (&json!(failed), &json!(cancelled)), "{waits}");
}
