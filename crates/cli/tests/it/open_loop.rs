//! Open loops through the real binary: what the files say of them.

use crate::context::{TestContext, files, nanos};
use serde_json::json;

#[test]
fn a_rate_names_the_run_in_every_file() {
    let context = TestContext::new();
    for (args, directory, value) in [
        ("--request-rate 200", "sim-model-openai-chat-request_rate200.0", json!(200.0)),
        ("--request-rate 250.5", "sim-model-openai-chat-request_rate250.5", json!(250.5)),
        ("--request-rate 200 --concurrency 2", "sim-model-openai-chat-concurrency2-request_rate200.0", json!(200.0)),
    ] {
        let _ = std::fs::remove_dir_all(context.path().join("artifacts"));
        let run = context.profile(&format!("--streaming --isl 10 --osl 2 {args}")).expect(0);
        assert_eq!(files(&context.path().join("artifacts")), [directory]);
        let experiment = &run.json("profile_export.json")["experiments"][0]["experiment"];
        assert_eq!(*experiment, json!({"mode": "request_rate", "value": value}));
        let summary = run.summary();
        assert_eq!(summary["input_config"]["perf_analyzer"]["stimulus"], json!({"request_rate": value}));
        assert_eq!(summary["request_count"]["avg"], 10.0);
    }
}

#[test]
fn constant_arrivals_are_due_at_even_gaps_on_however_many_threads() {
    let context = TestContext::new();
    for threads in [1, 3] {
        let args = format!("--request-rate 100 --request-count 20 --threads {threads} --streaming --isl 10 --osl 2");
        let run = context.profile(&args).expect(0);
        assert_eq!(run.dues(), (0..20).map(|number| number * 10_000_000).collect::<Vec<i64>>());
    }
}

#[test]
fn a_seed_gives_the_same_arrivals_again() {
    let context = TestContext::new();
    let arrivals = |args: &str| {
        let fixed = "--request-rate 400 --request-count 30 --isl 10 --osl 2";
        context.profile(&format!("{fixed} {args}")).expect(0).dues()
    };
    let first = arrivals("--arrival-pattern poisson --random-seed 3");
    assert_eq!(first, arrivals("--arrival-pattern poisson --random-seed 3 --threads 3 --warmup-request-count 5"));
    assert_ne!(first, arrivals("--arrival-pattern poisson --random-seed 4"));
    assert_ne!(first, arrivals("--random-seed 3 --burstiness 0.2"));
}

#[test]
fn an_infinite_rate_is_due_at_once_and_a_cap_keeps_it_in_line() {
    let context = TestContext::new();
    let run = context.profile("--request-rate inf --concurrency 2 --request-count 12 --isl 10 --osl 2").expect(0);
    assert_eq!(run.dues(), [0; 12]);
    let records = run.records();
    let mut spans: Vec<(i64, i64)> =
        records.all.iter().map(|record| (nanos(record, "sent_ns"), nanos(record, "end_ns"))).collect();
    spans.sort_unstable();
    for (index, (sent, _)) in spans.iter().enumerate() {
        assert!(spans[..index].iter().filter(|(_, end)| end > sent).count() < 2, "{spans:?}");
    }
    assert_eq!(run.json("profile_export.json")["experiments"][0]["experiment"]["value"], 0.0);
}

#[test]
fn time_ends_the_schedule() {
    let context = TestContext::new();
    let run = context.profile("--request-rate 100 --benchmark-duration 0.25 --isl 10 --osl 2").expect(0);
    assert_eq!(run.dues().len(), 25);
}

#[test]
fn the_plan_is_told_in_words() {
    let context = TestContext::new();
    let args = "-v --request-rate 300 --burstiness 4 --concurrency 5 --isl 10 --osl 2 --threads 1";
    let run = context.profile(args).expect(0);
    let told =
        "\n  load: 300.0 requests/s (gamma of shape 4), at most 5 at once, on 1 load thread(s)\n  until: 10 requests\n";
    assert!(run.stderr.contains(told), "{}", run.stderr);
}

#[test]
#[cfg(target_os = "linux")]
fn without_descriptors_requests_wait_and_none_is_lost() {
    let context = TestContext::new();
    let args = format!(
        "profile --url {} --ui none --streaming --isl 10 --osl 2 --threads 1 --request-rate inf --request-count 70",
        context.url()
    );
    // 29 of them are not for connections.
    let run = context.run(context.prepared("ulimit -n 55", &args)).expect(0);
    assert_eq!(run.dues(), [0; 70]);
    let records = run.records();
    assert_eq!(records.ended("ok").len(), 70);
    assert!(records.all.iter().all(|record| record["slot"].as_u64().unwrap() < 26));
}
