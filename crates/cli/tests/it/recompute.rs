//! Every statistic that is written follows from the records, whatever the run was like.

use crate::context::TestContext;
use crate::figures::verify;

#[test]
fn of_a_stream_with_limits_and_varied_lengths() {
    let context = TestContext::faulty(&["stall-stream=40ms:every=3"]);
    for goodput in [
        "",
        "--goodput request_latency:30",
        "--goodput output_token_throughput_per_user:300",
        "--goodput time_to_first_token:4 inter_token_latency:2 request_latency:40 output_token_throughput_per_user:100",
    ] {
        let run = context.profile(&format!(
            "--streaming --concurrency 4 --request-count 30 --isl 30 --isl-stddev 10 --osl 12 --osl-stddev 5 {goodput}"
        ));
        let run = run.expect(0);
        verify(&run);
        let summary = run.summary();
        match summary["request_goodput"]["avg"].as_f64() {
            // The third that stands still for a while keeps none of these limits.
            Some(good) => assert!(good < 0.7 * summary["request_throughput"]["avg"].as_f64().unwrap()),
            None => assert!(goodput.is_empty()),
        }
    }
}

#[test]
fn of_a_run_with_failures_warm_up_and_several_threads() {
    let faults = ["status=500:every=5", "truncate:every=7", "error-event:every=11", "reset-headers:every=13"];
    let context = TestContext::faulty(&faults);
    let run = context.profile(
        "--streaming --concurrency 6 --threads 3 --request-count 60 --warmup-request-count 7 --isl 20 --osl 8 \
         --goodput time_to_second_token:50 --no-probe",
    );
    let run = run.expect(0);
    verify(&run);
    let requests = &run.summary()["requests"];
    assert_eq!((&requests["measured"], &requests["warmup"]), (&60.into(), &7.into()));
    let classes: Vec<String> = run.summary()["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| format!("{}/{}", error["stage"].as_str().unwrap(), error["class"].as_str().unwrap()))
        .collect();
    for class in ["body/status", "body/truncated", "body/in_band"] {
        assert!(classes.iter().any(|known| known == class), "{classes:?}");
    }
}

#[test]
fn of_answers_in_one_piece() {
    let context = TestContext::faulty(&["status=503:every=6"]);
    let run = context.profile("--concurrency 3 --request-count 20 --isl 15 --osl 6 --goodput request_latency:1000");
    let run = run.expect(0);
    verify(&run);
    let summary = run.summary();
    assert_eq!(summary["time_to_first_token"], summary["request_latency"]);
    assert!(
        ["inter_token_latency", "time_to_second_token", "inter_chunk_latency", "output_token_throughput_per_user"]
            .iter()
            .all(|key| summary.get(key).is_none())
    );
}

#[test]
fn of_batches_of_completions() {
    for streaming in ["--streaming", ""] {
        let context = TestContext::with(|config| config.service.tokens_per_event = 2);
        let args = format!("{streaming} --endpoint-type completions -b 3 --request-count 12 --isl 10 --osl 7");
        let run = context.profile(&args).expect(0);
        verify(&run);
        assert_eq!(run.summary()["output_sequence_length"]["avg"], 21.0);
        assert_eq!(run.summary()["input_sequence_length"]["avg"], 30.0);
        let length = run.fidelity_row("output_length").unwrap();
        assert_eq!((&length["number"], &length["grade"]), (&0.0.into(), &"good".into()), "all texts were that long");
    }
}

#[test]
fn of_each_count_of_tokens() {
    for count in ["auto", "usage", "tokenizer", "chunks"] {
        let context = TestContext::faulty(&["multi-token=3:every=2", "bad-usage=zero:every=5", "bad-usage=1:every=7"]);
        let args = format!("--streaming --token-count {count} --request-count 20 --isl 10 --osl 9");
        verify(&context.profile(&args).expect(0));
    }
}

#[test]
fn of_a_server_that_tells_no_counts() {
    let context = TestContext::faulty(&["reject-stream-options"]);
    for count in ["auto", "usage", "tokenizer", "chunks"] {
        let args = format!("--streaming --token-count {count} --request-count 5 --isl 10 --osl 4");
        let run = context.profile(&args).expect(0);
        verify(&run);
        assert_eq!(run.summary().get("output_token_throughput").is_none(), count == "usage");
    }
}

#[test]
fn of_a_run_that_cuts_requests_off() {
    let context = TestContext::faulty(&["stall-stream=100s:every=9"]);
    let run = context.profile(
        "--streaming --concurrency 3 --benchmark-duration 300ms --grace-period 100ms --isl 10 --osl 5 --no-probe",
    );
    let run = run.expect(0);
    verify(&run);
    assert!(run.summary()["requests"]["cut_off"].as_u64().unwrap() >= 1);
}

#[test]
fn of_connections_that_the_server_closes() {
    let context = TestContext::faulty(&["close-after=2"]);
    let run = context.profile("--streaming --concurrency 2 --request-count 20 --isl 10 --osl 3").expect(0);
    verify(&run);
    let connects = run.summary()["samples"]["connect_time"]["count"].as_u64().unwrap();
    assert!(connects >= 8, "{connects}");
}

#[test]
fn of_stamps_of_the_read() {
    let context = TestContext::new();
    let run = context.profile("--streaming --clock user --request-count 10 --isl 10 --osl 5").expect(0);
    verify(&run);
    assert!(run.summary().get("client_lag").is_none());
    assert_eq!(run.fidelity_row("clock").unwrap()["grade"], "degraded");
}

#[test]
fn of_a_run_in_which_all_fails() {
    let context = TestContext::faulty(&["status=500"]);
    let run = context.profile("--streaming --request-count 10 --isl 10 --osl 5 --no-probe").expect(1);
    verify(&run);
    assert_eq!(run.summary()["fidelity"]["verdict"], "invalid");
}

#[test]
fn of_open_loops() {
    let faults = ["status=500:every=6", "stall-stream=150ms:every=7"];
    for (faults, args) in [
        (&[][..], "--streaming --request-rate 300 --request-count 60"),
        (
            &faults[..],
            "--streaming --request-rate 200 --arrival-pattern poisson --concurrency 3 --request-count 40 --threads 2",
        ),
        (&faults[..1], "--request-rate 100 --request-count 15 --warmup-request-count 3"),
    ] {
        let context = TestContext::faulty(faults);
        let run = context.profile(&format!("{args} --isl 10 --osl 4 --no-probe")).expect(0);
        verify(&run);
        let summary = run.summary();
        assert!(run.fidelity_row("turnaround").is_none() && run.fidelity_row("send_lateness").is_some());
        let [sent, due] =
            ["request_latency", "request_latency_from_due"].map(|key| summary[key]["avg"].as_f64().unwrap());
        assert!(due >= sent, "a request leaves no earlier than it is due");
        let failed = summary["requests"]["failed"].as_u64().unwrap();
        let metrics = summary.get("with_failures").map_or(0, |waits| waits.as_object().unwrap().len());
        assert_eq!(metrics, if failed > 0 { 4 } else { 0 });
    }
}

#[test]
fn of_a_schedule_that_a_cap_holds_up() {
    let context = TestContext::new();
    let args = "--streaming --request-rate 400 --concurrency 1 --benchmark-duration 200ms --grace-period 50ms";
    let run = context.profile(&format!("{args} --isl 10 --osl 10 --no-probe")).expect(0);
    verify(&run);
    assert!(run.summary()["requests"]["never_sent"].as_u64().unwrap() > 40, "one at a time, of some thirty ms each");
    assert_eq!(run.fidelity_row("send_lateness").unwrap()["grade"], "invalid");
}

#[test]
fn of_a_run_long_enough_for_intervals_of_its_rates() {
    let context = TestContext::new();
    let args = "--streaming --concurrency 4 --request-count 320 --isl 10 --osl 4 --goodput request_latency:1000";
    let run = context.profile(args).expect(0);
    verify(&run);
    let intervals = &run.summary()["intervals"];
    for rate in ["request_throughput", "output_token_throughput", "request_goodput"] {
        assert!(intervals[rate]["avg"]["low"].is_number(), "{rate}: {intervals}");
    }
    assert!(intervals["request_latency"]["p99"]["high"].is_number() || is_too_short(&run.summary(), "p99"));
    assert!(intervals.get("request_count").is_none());
}

/// Whether the summary says that the run is too short for that statistic of request latency: on a busy machine it is.
fn is_too_short(summary: &serde_json::Value, statistic: &str) -> bool {
    summary["samples"]["request_latency"]["needed_s"][statistic].is_number()
}

#[test]
fn of_a_run_with_failures_that_cuts_requests_off() {
    let context =
        TestContext::faulty(&["status=500:every=5", "stall-stream=100s:every=9", "stall-first=100s:every=11"]);
    let args = "--streaming --concurrency 8 --benchmark-duration 600ms --grace-period 50ms --isl 10 --osl 5 --no-probe";
    let run = context.profile(args).expect(0);
    verify(&run);
    let waits = &run.summary()["with_failures"];
    let count = |key: &str, name: &str| waits[key][name].as_u64().unwrap();
    assert!(count("request_latency", "failed") >= 1 && count("request_latency", "cut_off") >= 1, "{waits}");
    assert!(count("time_to_first_token", "cut_off") <= count("request_latency", "cut_off"), "{waits}");
}
