//! How runs go wrong, and how they end then.

use crate::context::{TestContext, files, wait_until};
use serde_json::json;
use std::fs;
use std::net::TcpListener;

const SMALL: &str = "--streaming --isl 10 --osl 6";

#[test]
fn a_server_that_is_not_there_ends_the_run_on_the_first_screen() {
    let context = TestContext::new();
    let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}");
    for args in [SMALL.to_owned(), format!("{SMALL} -m any")] {
        let run = context.run(context.command_to(&url, &args)).expect(1);
        assert!(run.stderr.contains("error: ") && run.stderr.contains(&url), "{}", run.stderr);
        assert!(run.stderr.contains("connection refused"), "{}", run.stderr);
        assert!(run.stdout.is_empty() && run.stderr.lines().count() <= 3, "{}", run.stderr);
    }
    let run = context.run(context.command_to("http://no-such-host.invalid", &format!("{SMALL} -m any"))).expect(1);
    assert!(run.stderr.contains("no-such-host.invalid"), "{}", run.stderr);
}

#[test]
fn a_refused_probe_ends_the_run_with_the_servers_words() {
    let context = TestContext::faulty(&["status=401"]);
    let run = context.profile(SMALL).expect(1);
    assert!(run.stderr.contains("simulated fault: status 401"), "{}", run.stderr);
    // To skip the test request would not help: the load would be refused as well.
    assert!(run.stderr.contains("/v1/chat/completions") && run.stderr.contains("--api-key"), "{}", run.stderr);
    assert!(!run.stderr.contains("--no-probe"), "{}", run.stderr);
    assert_eq!(context.requests().len(), 1, "no load was sent");
    assert!(run.stdout.is_empty());
}

#[test]
fn a_server_that_does_not_know_stream_options_is_asked_without() {
    let context = TestContext::faulty(&["reject-stream-options"]);
    let run = context.profile(SMALL).expect(0);
    assert!(run.stderr.contains("`stream_options`"), "{}", run.stderr);
    assert!(run.bodies().iter().all(|body| body.get("stream_options").is_none()));
    let summary = run.summary();
    assert_eq!((&summary["requests"]["ok"], &summary["requests"]["failed"]), (&json!(10), &json!(0)));
    assert_eq!(summary["token_counts"]["by_tokenizer"], 10);
    assert_eq!(summary["output_sequence_length"]["max"], 6.0);
}

#[test]
fn when_the_first_all_fail_the_run_ends_early() {
    let context = TestContext::faulty(&["status=500"]);
    let run = context.profile(&format!("{SMALL} --no-probe --concurrency 4 --benchmark-duration 10m")).expect(1);
    assert!(run.stderr.contains("the run ended early: the first "), "{}", run.stderr);
    let summary = run.summary();
    assert_eq!(summary["requests"]["ok"], 0);
    assert!(summary["requests"]["failed"].as_u64().unwrap() >= 20);
    assert!(summary["run"]["ended_early"].as_str().unwrap().contains("all failed"));
    assert_eq!(summary["errors"][0]["sample"], "500: simulated fault: status 500");
    assert_eq!(summary["fidelity"]["verdict"], "invalid");
    assert!(run.stdout.contains("Failed requests (not in the figures above)"), "{}", run.stdout);
}

#[test]
fn some_failures_are_counted_and_shown_once_each() {
    let faults = ["status=500:every=4", "truncate:every=5", "error-event:every=9"];
    let context = TestContext::faulty(&faults);
    let run = context.profile(&format!("{SMALL} --no-probe --request-count 60")).expect(0);
    let summary = run.summary();
    let failed = run.records().ended("failed").len();
    assert_eq!(summary["requests"]["failed"], failed);
    assert_eq!(summary["request_count"]["avg"], (60 - failed) as f64);
    let (_, shown) = run.stdout.split_once("\nFailed requests (not in the figures above)\n").unwrap();
    for (class, sample) in [
        ("error status (body)", "500: simulated fault: status 500"),
        ("truncated answer (body)", ""),
        ("error inside the answer (body)", "simulated fault: the engine died"),
    ] {
        assert_eq!(shown.matches(&format!(" x {class}, after ")).count(), 1, "{shown}");
        assert!(shown.contains(sample), "{shown}");
    }
    for error in summary["errors"].as_array().unwrap() {
        let count = run.records().ended("failed").iter().filter(|record| record["class"] == error["class"]).count();
        assert_eq!(error["count"], count);
    }
}

#[test]
fn each_limit_of_waiting_is_a_failure_of_its_own_place() {
    for (fault, limit, stage) in [
        ("stall-first=100s", "--first-byte-timeout 400ms", "first_byte"),
        ("stall-stream=100s", "--idle-timeout 400ms", "body"),
        ("stall-stream=100s", "--request-timeout 400ms", "body"),
    ] {
        let context = TestContext::faulty(&[&format!("{fault}:every=5")]);
        let run = context.profile(&format!("{SMALL} --no-probe {limit}")).expect(0);
        let failed: Vec<_> = run.records().ended("failed").into_iter().cloned().collect();
        assert_eq!(failed.len(), 2, "{fault} {limit}");
        assert!(failed.iter().all(|record| record["class"] == "timeout" && record["stage"] == stage), "{failed:?}");
    }
}

#[test]
fn a_kept_connection_that_was_closed_costs_nothing() {
    let context = TestContext::faulty(&["close-after=3"]);
    let run = context.profile(&format!("{SMALL} --request-count 20")).expect(0);
    let requests = &run.summary()["requests"];
    assert_eq!((&requests["ok"], &requests["failed"]), (&json!(20), &json!(0)));
    assert!(run.summary()["run"]["connections_opened"].as_u64().unwrap() >= 6);
}

#[test]
fn ctrl_c_drains_reports_and_says_130() {
    let context = TestContext::new();
    let running = context.start(&format!("{SMALL} --concurrency 2 --benchmark-duration 10m"));
    wait_until("some answers", || context.requests().len() > 10);
    running.interrupt();
    let run = running.wait().expect(130);
    assert!(run.stderr.contains("interrupted: waiting up to 30 s"), "{}", run.stderr);
    let summary = run.summary();
    assert!(summary["requests"]["ok"].as_u64().unwrap() >= 9);
    assert_eq!(summary["requests"]["cut_off"], 0, "those in flight were let finish");
    assert_eq!(summary["run"]["interrupted"], true);
    assert_eq!(run.fidelity_row("ended_early").unwrap()["grade"], "degraded");
    assert!(run.stdout.contains("Artifacts: "));
    crate::figures::verify(&run);
}

#[test]
fn ctrl_c_waits_no_longer_than_the_grace_period() {
    let context = TestContext::faulty(&["stall-stream=1000s:every=8"]);
    let running = context.start(&format!("{SMALL} --concurrency 2 --benchmark-duration 10m --grace-period 500ms"));
    // Both streams come to stand still.
    wait_until("answers", || context.requests().len() >= 14);
    running.interrupt();
    let run = running.wait().expect(130);
    let cut_off: Vec<_> = run.records().ended("cut_off").into_iter().cloned().collect();
    assert!((1..=2).contains(&cut_off.len()), "{cut_off:?}");
    assert_eq!(run.summary()["requests"]["cut_off"], cut_off.len());
    assert!(cut_off.iter().all(|record| record["at_ns"].as_array().unwrap().len() == 3), "{cut_off:?}");
    crate::figures::verify(&run);
    crate::report::comes_out_again(&context, &run);
}

#[test]
fn a_second_ctrl_c_ends_at_once() {
    let context = TestContext::faulty(&["stall-stream=1000s:every=8"]);
    let running = context.start(&format!("{SMALL} --benchmark-duration 10m --grace-period 1h"));
    // The probe and six more; the eighth stands still.
    wait_until("answers", || context.requests().len() == 7);
    let run = running.interrupt_until_it_ends().expect(130);
    let records = run.records();
    assert_eq!((records.ended("ok").len(), records.ended("cut_off").len()), (6, 1));
    assert!(run.stdout.contains("Requests: 6 ok, 0 failed, 1 cut off"), "{}", run.stdout);
    crate::figures::verify(&run);
    crate::report::comes_out_again(&context, &run);
}

#[test]
fn a_gate_on_fidelity_is_an_exit_code() {
    let context = TestContext::faulty(&["status=500:every=20"]);
    let args = format!("{SMALL} --no-probe --concurrency 2 --request-count 40");
    let grade = |run: &crate::context::Run| run.fidelity_row("failed_requests").unwrap()["grade"].clone();
    let open = context.profile(&args).expect(0);
    assert_eq!(grade(&open), "degraded");
    assert_eq!(grade(&context.profile(&format!("{args} --require-fidelity good")).expect(3)), "degraded");
    let invalid = TestContext::faulty(&["status=500:every=2"]);
    invalid.profile(&format!("{args} --require-fidelity degraded")).expect(3);
}

#[test]
fn a_bad_directory_fails_before_anything_is_sent() {
    let context = TestContext::new();
    fs::write(context.path().join("taken"), "").unwrap();
    let run = context.profile(&format!("{SMALL} --artifact-dir taken"));
    assert!(run.code.is_some_and(|code| code == 1 || code == 2), "{run:?}");
    assert!(run.stderr.contains("taken/sim-model-openai-chat-concurrency1"), "{}", run.stderr);
    assert!(context.requests().is_empty());
    fs::create_dir_all(context.path().join("artifacts/sim-model-openai-chat-concurrency1/records.jsonl")).unwrap();
    let run = context.profile(SMALL);
    assert_ne!(run.code, Some(0));
    assert!(run.stderr.contains("records.jsonl"), "{}", run.stderr);
    assert!(context.requests().is_empty());
    assert_eq!(
        files(&context.path().join("artifacts/sim-model-openai-chat-concurrency1"))
            .iter()
            .filter(|name| !name.ends_with(".partial"))
            .collect::<Vec<_>>(),
        ["records.jsonl"]
    );
}

#[test]
fn failures_are_listed_by_status_and_message_with_what_their_heads_say() {
    use crate::script::serve;
    use crate::words::{document, stream};
    use std::sync::atomic::{AtomicUsize, Ordering};
    let refusal = |status: u16, head: &str, message: &str| {
        let body = json!({"error": {"message": message}}).to_string();
        document(status, "application/json", &body).replacen("\r\n", &format!("\r\n{head}"), 1)
    };
    let number = AtomicUsize::new(0);
    let refusing = serve(move |peer| {
        while peer.request().is_some() {
            let number = number.fetch_add(1, Ordering::SeqCst);
            let retry = format!("Retry-After: {number}\r\n");
            peer.send(&match number % 5 {
                0 => stream(&["a", "b"]),
                1 => refusal(429, &retry, &format!("rate limit reached by request {number}")),
                2 => refusal(500, "", "out of memory"),
                3 => refusal(500, "", "the engine died"),
                _ => refusal(307, "Location: http://me:word@other/v1?key=word\r\n", "moved"),
            });
        }
    });
    let context = TestContext::new();
    let args = "-m m --streaming --no-probe --isl 10 --osl 2 --request-count 20";
    let run = context.run(context.command_to(&format!("http://{}", refusing.addr()), args)).expect(0);
    let summary = run.summary();
    let errors = summary["errors"].as_array().unwrap();
    let mut found: Vec<_> =
        errors.iter().map(|error| (error["status"].clone(), error["count"].clone(), error["sample"].clone())).collect();
    found.sort_by_key(|error| error.2.to_string());
    let expected = [
        (307, "307 (Location: http://<hidden>@other/v1?key=<hidden>): moved"),
        (429, "429 (Retry-After: 1): rate limit reached by request 1"),
        (500, "500: out of memory"),
        (500, "500: the engine died"),
    ];
    assert_eq!(found, expected.map(|(status, sample)| (json!(status), json!(4), json!(sample))));
    for (_, sample) in expected {
        assert!(run.stdout.contains(&format!("      {sample}\n")), "{}", run.stdout);
    }
    assert_eq!(run.stdout.matches("  4 x error status (body), after ").count(), 4, "{}", run.stdout);
}
