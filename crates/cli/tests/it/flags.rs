//! The command line: what is taken and into which plan, and how nonsense is refused.

use crate::context::{Run, TestContext, files};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use streamgauge_prompt::Tokenizer;
use streamgauge_sim::Service;

/// A server that takes no time, for runs of which only the plan matters.
pub fn instant() -> TestContext {
    TestContext::with(|config| config.service = Service::instant())
}

/// The file of a tokenizer with a small vocabulary.
pub fn tiny_tokenizer() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../prompt/tests/fixtures/tiny-tokenizer.json"))
}

/// The plan that a run says it had.
pub fn plan(run: &Run) -> Value {
    run.records().header["plan"].clone()
}

#[test]
fn every_spelling_is_taken_and_means_what_it_says() {
    let context = instant();
    for (args, pointer, expected) in [
        ("-m sim-model", "/endpoint/models", json!(["sim-model"])),
        ("--model sim-model", "/endpoint/models", json!(["sim-model"])),
        ("--model-names sim-model", "/endpoint/models", json!(["sim-model"])),
        ("--model-selection-strategy random", "/endpoint/model_selection", json!("random")),
        ("--model-selection-strategy round_robin", "/endpoint/model_selection", json!("round_robin")),
        ("--endpoint-type chat", "/endpoint/path", json!("/v1/chat/completions")),
        ("--endpoint-type completions", "/endpoint/path", json!("/v1/completions")),
        ("--endpoint v1/chat/completions", "/endpoint/path", json!("/v1/chat/completions")),
        ("--custom-endpoint /v1/chat/completions", "/endpoint/path", json!("/v1/chat/completions")),
        ("--service-kind openai", "/endpoint/kind", json!("chat")),
        ("--streaming", "/endpoint/streaming", json!(true)),
        ("", "/endpoint/streaming", json!(false)),
        ("-H A:b", "/endpoint/headers", json!([{"name": "A", "value": "<hidden>"}])),
        ("-H Accept:b", "/endpoint/headers", json!([{"name": "Accept", "value": "b"}])),
        ("--header A:b C:d", "/endpoint/headers/1", json!({"name": "C", "value": "<hidden>"})),
        ("--header A:b -H C:d", "/endpoint/headers/1", json!({"name": "C", "value": "<hidden>"})),
        ("--insecure", "/endpoint/trust", json!("insecure")),
        ("--request-timeout 30", "/timeouts/total", json!(30_000_000_000_u64)),
        ("--request-timeout-seconds 30", "/timeouts/total", json!(30_000_000_000_u64)),
        ("--connect-timeout 3s", "/timeouts/connect", json!(3_000_000_000_u64)),
        ("--first-byte-timeout 2m", "/timeouts/first_byte", json!(120_000_000_000_u64)),
        ("--idle-timeout 500ms", "/timeouts/idle", json!(500_000_000)),
        ("--no-probe", "/probe", json!(false)),
        ("--delayed-acks", "/acknowledge", json!("delayed")),
        ("", "/acknowledge", json!("at_once")),
        ("--num-dataset-entries 3", "/prompts/count", json!(3)),
        ("--num-prompts 3", "/prompts/count", json!(3)),
        ("--isl 7", "/prompts/input/mean", json!(7.0)),
        ("--synthetic-input-tokens-mean 7", "/prompts/input/mean", json!(7.0)),
        ("--prompt-input-tokens-mean 7", "/prompts/input/mean", json!(7.0)),
        ("--isl-stddev 2", "/prompts/input/stddev", json!(2.0)),
        ("--synthetic-input-tokens-stddev 2", "/prompts/input/stddev", json!(2.0)),
        ("--prompt-input-tokens-stddev 2.5", "/prompts/input/stddev", json!(2.5)),
        ("", "/prompts/output", Value::Null),
        ("--osl 4", "/prompts/output/mean", json!(4.0)),
        ("--output-tokens-mean 4", "/prompts/output/mean", json!(4.0)),
        ("--prompt-output-tokens-mean 4", "/prompts/output/mean", json!(4.0)),
        ("--osl 4 --osl-stddev 1", "/prompts/output/stddev", json!(1.0)),
        ("--osl 4 --output-tokens-stddev 1", "/prompts/output/stddev", json!(1.0)),
        ("--osl 4 --prompt-output-tokens-stddev 1", "/prompts/output/stddev", json!(1.0)),
        ("--osl 4 --output-tokens-mean-deterministic", "/prompts/output_exact", json!(true)),
        ("--sampling shuffle", "/prompts/sampling", json!("shuffle")),
        ("--dataset-sampling-strategy random", "/prompts/sampling", json!("random")),
        ("--isl-range 2,4", "/prompts/synthesis/input_range", json!({"least": 2, "most": 4})),
        ("--osl-range 2,4", "/prompts/synthesis/output_range/most", json!(4)),
        ("--isl 10 --random-range-ratio 0.5", "/prompts/synthesis/input_range", json!({"least": 5, "most": 15})),
        ("--sequence-distribution 2,3:100", "/prompts/synthesis/pairs/0/output/mean", json!(3.0)),
        ("--seq-dist 2,3:100", "/prompts/output/mean", json!(3.0)),
        ("--num-sessions 2", "/prompts/synthesis/conversations/count", json!(2)),
        ("--num-conversations 2", "/prompts/count", json!(2)),
        ("--conversation-num 2 --session-turns-mean 1.5", "/prompts/synthesis/conversations/turns/mean", json!(1.5)),
        ("--num-sessions 2 --session-turns-stddev 1", "/prompts/synthesis/conversations/turns/stddev", json!(1.0)),
        (
            "--num-sessions 2 --session-turn-delay-mean 20",
            "/prompts/synthesis/conversations/delay_ms/mean",
            json!(20.0),
        ),
        (
            "--num-sessions 2 --session-turn-delay-stddev 5 --session-delay-ratio 2",
            "/prompts/synthesis/conversations/delay_ratio",
            json!(2.0),
        ),
        ("--random-seed 5", "/prompts/seed", json!(5)),
        ("--endpoint-type completions -b 2", "/prompts/batch", json!(2)),
        ("--endpoint-type completions --batch-size 2", "/prompts/batch", json!(2)),
        ("--endpoint-type completions --batch-size-text 2", "/prompts/batch", json!(2)),
        ("--endpoint-type completions --prompt-batch-size 2", "/prompts/batch", json!(2)),
        ("--num-prefix-prompts 2", "/prompts/prefixes", json!(2)),
        ("--prefix-prompt-pool-size 2", "/prompts/prefixes", json!(2)),
        ("--prompt-prefix-pool-size 2", "/prompts/prefixes", json!(2)),
        ("--prefix-prompt-length 9", "/prompts/prefix_tokens", json!(9)),
        ("--prompt-prefix-length 9", "/prompts/prefix_tokens", json!(9)),
        ("--extra-inputs a:1 b:0.5", "/endpoint/extra", json!({"a": 1, "b": 0.5})),
        ("-g request_latency:5", "/goodput", json!([["request_latency", 5.0]])),
        (
            "--streaming --goodput request_latency:5 time_to_first_token:2",
            "/goodput/1",
            json!(["time_to_first_token", 2.0]),
        ),
        ("--concurrency 3", "/load/concurrency", json!({"most": 3, "ramp": null})),
        ("--request-rate 500", "/load/open/arrivals/rate", json!({"rate": 500.0, "arrival": "constant", "ramp": null})),
        ("--request-rate=inf", "/load/open/arrivals/rate/rate", json!("inf")),
        ("--request-rate 500 --concurrency 3", "/load/open/cap/most", json!(3)),
        ("--request-rate 500 --concurrency 3", "/stop/requests", json!(10)),
        ("--request-rate 500 --concurrency 9", "/stop/requests", json!(18)),
        ("--request-rate 500 --concurrency 9 --request-count 2", "/stop/requests", json!(2)),
        ("--request-rate 500", "/stop/requests", json!(10)),
        ("--request-rate inf", "/stop/requests", json!(10)),
        ("--request-rate inf --request-count 7 --benchmark-duration 0.5", "/stop/duration", json!(500_000_000)),
        ("--request-rate 500 --arrival-pattern constant", "/load/open/arrivals/rate/arrival", json!("constant")),
        ("--request-rate 500 --arrival-pattern poisson", "/load/open/arrivals/rate/arrival", json!("poisson")),
        ("--request-rate 500 --request-rate-mode poisson", "/load/open/arrivals/rate/arrival", json!("poisson")),
        ("--request-rate 500 --request-distribution poisson", "/load/open/arrivals/rate/arrival", json!("poisson")),
        (
            "--request-rate 500 --arrival-pattern gamma",
            "/load/open/arrivals/rate/arrival",
            json!({"gamma": {"shape": 1.0}}),
        ),
        (
            "--request-rate 500 --arrival-smoothness 4",
            "/load/open/arrivals/rate/arrival",
            json!({"gamma": {"shape": 4.0}}),
        ),
        ("--request-rate 500 --burstiness 0.5", "/load/open/arrivals/rate/arrival", json!({"gamma": {"shape": 0.5}})),
        (
            "--request-rate 500 --arrival-pattern gamma --vllm-burstiness 2",
            "/load/open/arrivals/rate/arrival/gamma/shape",
            json!(2.0),
        ),
        (
            "--concurrency 3 --concurrency-ramp-duration 0.1 --request-count 6",
            "/load/concurrency/ramp",
            json!({"time": 100_000_000, "shape": "linear"}),
        ),
        (
            "--concurrency 3 --concurrency-ramp-duration 100ms --ramp-shape exponential --request-count 6",
            "/load/concurrency/ramp/shape",
            json!("exponential"),
        ),
        (
            "--request-rate 500 --concurrency 3 --concurrency-ramp-duration 100ms --request-count 6",
            "/load/open/cap/ramp/time",
            json!(100_000_000),
        ),
        (
            "--request-rate 500 --request-rate-ramp-duration 0.1 --request-count 6",
            "/load/open/arrivals/rate/ramp/time",
            json!(100_000_000),
        ),
        (
            "--request-rate-series 0:100,0.05:400 --arrival-pattern poisson --request-count 6",
            "/load/open/arrivals/series",
            json!({
                "points": [{"at": 0, "per_second": 100.0}, {"at": 50_000_000, "per_second": 400.0}],
                "arrival": "poisson",
            }),
        ),
        ("--streaming --concurrency 2 --prefill-concurrency 2", "/prefill", json!({"most": 2, "ramp": null})),
        (
            "--streaming --concurrency 2 --prefill-concurrency 2 --prefill-concurrency-ramp-duration 0.1 --request-count 4",
            "/prefill/ramp/time",
            json!(100_000_000),
        ),
        ("--user-centric-rate 500 --num-users 3", "/load/users", json!({"users": 3, "rate": 500.0})),
        ("--user-centric-rate 500 --num-users 7", "/stop/requests", json!(14)),
        (
            "--request-cancellation-rate 50 --request-cancellation-delay 5",
            "/cancel",
            json!({"share": 0.5, "delay": 5_000_000_000_u64}),
        ),
        ("--request-cancellation-rate 100 --request-cancellation-delay 60", "/cancel/share", json!(1.0)),
        ("--connections new", "/connections", json!("new")),
        ("--connections rotate:3", "/connections", json!({"rotate": 3})),
        ("--connection-reuse-strategy pooled", "/connections", json!("reuse")),
        ("--connection-reuse-strategy never", "/connections", json!("new")),
        (
            "--stability-percentage 50 -p 50",
            "/stop/stability",
            json!({"window": {"time": 50_000_000}, "within": 0.5, "percentile": null, "most": 10}),
        ),
        (
            "--measurement-mode count_windows --measurement-request-count 4 --percentile 95 -r 4",
            "/stop/stability",
            json!({"window": {"requests": 4}, "within": 0.1, "percentile": 95, "most": 4}),
        ),
        (
            "--until-ci 50% --ci-metric request_latency:p50 --request-count 20",
            "/stop/confidence",
            json!({"metric": "request_latency", "percentile": 50, "within": 0.5}),
        ),
        ("--until-ci 0.5 --request-count 20", "/stop/confidence/percentile", json!(null)),
        ("--until-ci 90%", "/stop/duration", json!(600_000_000_000_u64)),
        ("--failed-request-threshold 0.5", "/stop/failed_share", json!(0.5)),
        ("--error-budget 5%", "/stop/failed_share", json!(0.05)),
        ("--steady-state", "/steady_state", json!(true)),
        ("--warmup-duration 0.05", "/warmup/duration", json!(50_000_000)),
        ("--warmup-duration 0.05 --warmup-grace-period 5", "/warmup/grace", json!(5_000_000_000_u64)),
        ("--warmup-request-count 4 --warmup-concurrency 2", "/warmup/load/concurrency/most", json!(2)),
        (
            "--warmup-request-count 4 --warmup-request-rate 500 --warmup-arrival-pattern poisson",
            "/warmup/load/open/arrivals/rate/arrival",
            json!("poisson"),
        ),
        (
            "--request-rate 400 --arrival-pattern poisson --warmup-request-count 4",
            "/warmup/load/open/arrivals/rate",
            json!({"rate": 400.0, "arrival": "poisson", "ramp": null}),
        ),
        (
            "--warmup-request-count 4 --warmup-concurrency 2 --warmup-concurrency-ramp-duration 0.02",
            "/warmup/load/concurrency/ramp/time",
            json!(20_000_000),
        ),
        (
            "--streaming --concurrency 2 --warmup-request-count 4 --warmup-prefill-concurrency 2",
            "/warmup/prefill/most",
            json!(2),
        ),
        ("--request-count 4", "/stop/requests", json!(4)),
        ("--num-requests 4", "/stop/requests", json!(4)),
        ("--benchmark-duration 0.05", "/stop/duration", json!(50_000_000)),
        ("-p 50", "/stop/duration", json!(50_000_000)),
        ("--measurement-interval 50", "/stop/duration", json!(50_000_000)),
        ("--grace-period 5", "/stop/grace", json!(5_000_000_000_u64)),
        ("--benchmark-grace-period 5", "/stop/grace", json!(5_000_000_000_u64)),
        ("--warmup-request-count 2", "/warmup/requests", json!(2)),
        ("--num-warmup-requests 2", "/warmup/requests", json!(2)),
        ("-s 999", "/stop/requests", json!(10)),
        ("--stability-percentage 999", "/stop/requests", json!(10)),
        ("--threads 2 --concurrency 3", "/threads", json!(2)),
        ("--threads 2 --concurrency 1", "/threads", json!(1)),
        ("--clock user", "/stamps", json!("user")),
        ("--clock kernel", "/stamps", json!("kernel")),
        ("--tokenizer cl100k_base", "/prompts/tokenizer", json!("cl100k_base (embedded)")),
        ("--tokenizer-revision dev", "/prompts/tokenizer_revision", json!("dev")),
        ("--tokenizer-trust-remote-code", "/prompts/tokenizer", json!("cl100k_base (embedded)")),
        ("--token-count chunks", "/token_count", json!("chunks")),
        ("--artifact-dir artifacts", "/artifacts", json!("artifacts/sim-model-openai-chat-concurrency1")),
        ("--output-artifact-dir artifacts", "/artifacts", json!("artifacts/sim-model-openai-chat-concurrency1")),
        ("--profile-export-file profile_export.json", "/export_file", json!("profile_export.json")),
        ("--profile-export-prefix profile_export", "/export_file", json!("profile_export.json")),
        ("--export-level raw", "/export", json!("raw")),
        ("--profile-export-level records", "/export", json!("records")),
        ("--record-formats jsonl", "/record_formats", json!(["jsonl"])),
        ("--report native -v", "/export", json!("records")),
        ("--verbose", "/export", json!("records")),
    ] {
        let _ = fs::remove_dir_all(context.path().join("artifacts"));
        let run = context.profile(args).expect(0);
        assert_eq!(plan(&run).pointer(pointer), Some(&expected), "{args}");
    }
}

#[test]
fn old_commands_run_as_they_are() {
    let zephyr = "HuggingFaceH4/zephyr-7b-beta";
    let tokenizer = Tokenizer::from_file(&tiny_tokenizer()).unwrap();
    for (model, args, kind) in [
        (
            zephyr,
            "-m HuggingFaceH4/zephyr-7b-beta --service-kind openai --endpoint-type chat \
             --synthetic-input-tokens-mean 200 --synthetic-input-tokens-stddev 0 --output-tokens-mean 100 \
             --output-tokens-stddev 0 --streaming --tokenizer HuggingFaceH4/zephyr-7b-beta",
            "HuggingFaceH4_zephyr-7b-beta-openai-chat-concurrency1",
        ),
        (
            "gpt2",
            "-m gpt2 --service-kind openai --endpoint-type completions --synthetic-input-tokens-mean 200 \
             --synthetic-input-tokens-stddev 0 --output-tokens-mean 100 --output-tokens-stddev 0",
            "gpt2-openai-completions-concurrency1",
        ),
    ] {
        let context = TestContext::with(|config| {
            config.models = vec![model.to_owned()];
            config.service = Service::instant();
            config.tokenizer = tokenizer.clone();
        });
        let cached = context.path().join(format!(".cache/huggingface/hub/models--{}", model.replace('/', "--")));
        fs::create_dir_all(cached.join("refs")).unwrap();
        fs::create_dir_all(cached.join("snapshots/abc")).unwrap();
        fs::write(cached.join("refs/main"), "abc").unwrap();
        fs::copy(tiny_tokenizer(), cached.join("snapshots/abc/tokenizer.json")).unwrap();
        let run = context.profile(args).expect(0);
        assert_eq!(files(&context.path().join("artifacts")), [kind]);
        let summary = run.summary();
        assert_eq!(summary["request_count"]["avg"], 10.0);
        for (metric, tokens) in [("input_sequence_length", 200.0), ("output_sequence_length", 100.0)] {
            assert_eq!((&summary[metric]["min"], &summary[metric]["max"]), (&json!(tokens), &json!(tokens)), "{model}");
        }
        assert!(!run.stderr.contains("embedded"), "{}", run.stderr);
    }
}

#[test]
fn flags_of_what_does_not_exist_are_refused_by_name() {
    let context = TestContext::new();
    for (args, why) in [
        ("--input-file prompts.jsonl", "the file cannot be read"),
        ("--grpc-method a.B/C", "dynamic gRPC"),
        ("--server-metrics-url http://localhost:9400/metrics", "metrics"),
        ("--server-metrics-urls http://localhost:9400/metrics", "metrics"),
        ("--image-width-mean 100", "media"),
        ("--audio-length-mean 1", "media"),
        ("--batch-size-image 2", "media"),
        ("--generate-plots", "plots"),
        ("--enable-checkpointing", "checkpoints"),
        ("--checkpoint-dir x", "checkpoints"),
        ("--sweep-type concurrency", "sweeps"),
        ("-f config.yaml", "configuration files"),
        ("--use-server-token-count", ""),
        ("--no-such-flag", ""),
    ] {
        let run = context.profile(args).expect(2);
        let flag = args.split([' ', '=']).next().unwrap();
        assert!(run.stderr.contains(flag) && run.stderr.contains(why), "{args}: {}", run.stderr);
        assert_eq!(run.stdout, "");
    }
    assert!(context.requests().is_empty(), "nothing was sent");
}

#[test]
fn nonsense_is_refused_with_the_flag_and_what_is_accepted() {
    let context = TestContext::new();
    for (args, words) in [
        ("--concurrency 0", &["--concurrency", "from 1 to 1000000"][..]),
        ("--concurrency many", &["--concurrency", "many", "whole number"]),
        ("--concurrency -4", &["--concurrency", "-4", "from 1"]),
        ("--isl -1", &["--isl", "-1", "from 1 to 10000000"]),
        ("--isl 0", &["--isl", "from 1"]),
        ("--isl-stddev -1", &["--isl-stddev", "from 0"]),
        ("--osl nan", &["--osl", "from 1"]),
        ("--osl-stddev 2", &["--osl"]),
        ("--output-tokens-mean-deterministic", &["--output-tokens-mean-deterministic", "--osl"]),
        ("--endpoint-type rankings", &["--endpoint-type", "rankings", "chat, completions"]),
        ("--service-kind tfserving", &["--service-kind", "tfserving", "openai, triton"]),
        ("--service-kind triton", &["--model", "Triton", "give one"]),
        ("--service-kind triton -m a b", &["--model", "give one"]),
        ("--service-kind triton -m a --endpoint-type chat", &["--endpoint-type chat", "--service-kind triton"]),
        ("--service-kind openai -m a --endpoint-type kserve", &["--endpoint-type kserve", "--service-kind triton"]),
        ("--service-kind triton -m a --endpoint v1/x", &["v1/x", "gRPC has no path"]),
        ("--backend onnx", &["--backend", "onnx", "tensorrtllm, vllm"]),
        ("--backend vllm -m a --endpoint-type generate", &["--backend", "gRPC"]),
        ("--model-version 1", &["--model-version", "Triton"]),
        ("--request-parameter a:1:float -m a --service-kind triton", &["--request-parameter", "bool, int or string"]),
        (
            "--bls-composing-models b -m a --service-kind triton --no-server-statistics",
            &["--bls-composing-models", "--no-server-statistics"],
        ),
        ("--metrics-url http://x:8002/metrics", &["--metrics-url", "--collect-metrics"]),
        ("--grpc-compression-algorithm gzip", &["--grpc-compression-algorithm", "gRPC"]),
        ("--model-selection-strategy best", &["--model-selection-strategy", "round_robin", "random"]),
        ("--request-count 0", &["--request-count", "from 1"]),
        ("--request-count 1 --concurrency 8", &["--request-count 1", "--concurrency 8", "at least 8"]),
        ("--request-rate 0", &["--request-rate", "above 0, or inf"]),
        ("--request-rate -2", &["--request-rate", "-2", "above 0, or inf"]),
        ("--request-rate fast", &["--request-rate", "fast", "above 0, or inf"]),
        ("--request-rate 5 --arrival-pattern even", &["--arrival-pattern", "even", "constant, poisson, gamma"]),
        ("--request-rate 5 --arrival-smoothness 0", &["--arrival-smoothness", "from 0.001 to 1000000"]),
        ("--request-rate 5 --burstiness -1", &["--arrival-smoothness", "-1", "from 0.001"]),
        ("--arrival-pattern poisson", &["--request-rate"]),
        ("--arrival-smoothness 2", &["--request-rate"]),
        (
            "--request-rate 5 --arrival-pattern poisson --arrival-smoothness 2",
            &["--arrival-smoothness 2", "--arrival-pattern gamma"],
        ),
        ("--request-rate inf -p 50", &["--request-rate inf", "--request-count"]),
        ("--request-count 9 -p 50", &["--request-count", "--measurement-interval"]),
        ("--benchmark-duration 1s -p 50", &["--benchmark-duration", "--measurement-interval"]),
        ("--benchmark-duration 0", &["--benchmark-duration", "longer than 0"]),
        ("--benchmark-duration -1", &["--benchmark-duration", "10s"]),
        ("-p soon", &["--measurement-interval", "milliseconds", "500ms"]),
        ("-s 0", &["--stability-percentage", "above 0"]),
        ("-s 10 --request-count 9", &["--request-count", "--stability-percentage"]),
        ("-s 10 --export-level summary", &["--stability-percentage", "--export-level summary", "records"]),
        ("--percentile 95", &["--percentile", "--measurement-mode"]),
        ("-s 10 --percentile 100", &["--percentile", "from 1 to 99"]),
        ("--max-trials 2 -s 10", &["--max-trials", "from 3"]),
        (
            "--measurement-mode time_windows --measurement-request-count 4",
            &["--measurement-request-count 4", "count_windows"],
        ),
        ("--measurement-mode count_windows -p 50", &["--measurement-interval", "time_windows"]),
        ("--until-ci 0", &["--until-ci", "2%"]),
        ("--until-ci 100%", &["--until-ci", "less than 100%"]),
        ("--until-ci 5% --ci-metric request_latency:p100", &["--ci-metric request_latency:p100", "from 1 to 99"]),
        ("--until-ci 5% --ci-metric foo", &["--ci-metric", "foo", "request_latency"]),
        ("--ci-metric request_latency", &["--until-ci"]),
        ("--failed-request-threshold 2", &["--failed-request-threshold", "up to 1"]),
        ("--steady-state --request-rate 5", &["--steady-state", "closed loop"]),
        ("--steady-state --export-level summary", &["--steady-state", "--export-level summary"]),
        ("--concurrency-ramp-duration 1", &["--concurrency"]),
        ("--concurrency 4 --concurrency-ramp-duration 5", &["5 s", "--benchmark-duration"]),
        ("--request-rate inf --request-rate-ramp-duration 5", &["--request-rate-ramp-duration", "inf"]),
        ("--request-rate-series 5:1 --request-count 9", &["--request-rate-series", "begin at 0"]),
        ("--request-rate-series 0:1,0:2 --request-count 9", &["--request-rate-series", "follow each other"]),
        ("--request-rate-series 0:0 --request-count 9", &["--request-rate-series", "every rate is 0"]),
        ("--request-rate-series 0-1", &["--request-rate-series", "`0-1`", "SECONDS:RATE"]),
        ("--request-rate-series 0:1,9:5", &["9 s", "--benchmark-duration"]),
        ("--request-rate 5 --request-intervals x", &["--request-rate", "--request-intervals"]),
        ("--request-intervals ./nowhere", &["--request-intervals ./nowhere", "cannot be read"]),
        ("--request-intervals ./nowhere --arrival-pattern poisson", &["--arrival-pattern", "--request-rate"]),
        ("--fixed-schedule", &["--input-file"]),
        ("--fixed-schedule --input-file ./nowhere", &["--input-file ./nowhere", "cannot be read"]),
        ("--replay-speedup 2", &["--fixed-schedule"]),
        ("--fixed-schedule --input-file x --replay-speedup 0", &["--replay-speedup", "above 0"]),
        ("--user-centric-rate 5", &["--num-users"]),
        ("--num-users 5", &["--user-centric-rate"]),
        ("--user-centric-rate inf --num-users 2", &["--user-centric-rate inf"]),
        ("--prefill-concurrency 2", &["--prefill-concurrency 2", "--streaming"]),
        ("--request-cancellation-rate 101", &["--request-cancellation-rate", "up to 100"]),
        ("--request-cancellation-delay 1", &["--request-cancellation-rate"]),
        ("--connections sticky", &["--connections", "rotate:N"]),
        ("--connections rotate:0", &["--connections", "from 1"]),
        ("--url-strategy best", &["--url-strategy", "round_robin, least_in_flight"]),
        ("--warmup-concurrency 2", &["--warmup-concurrency", "--warmup-duration"]),
        ("--warmup-duration 1 --warmup-request-rate inf", &["--warmup-duration", "--warmup-request-count"]),
        ("--warmup-duration 1 --request-rate-series 0:1,9:5 --request-count 9", &["--warmup-concurrency"]),
        ("--warmup-request-count 2 --warmup-prefill-concurrency 2", &["--warmup-prefill-concurrency 2", "stream"]),
        ("--num-prompts 0", &["--num-dataset-entries", "from 1"]),
        ("--random-seed -1", &["--random-seed", "whole number"]),
        ("--random-seed x", &["--random-seed", "whole number"]),
        ("--warmup-request-count -1", &["--warmup-request-count", "whole number"]),
        ("--threads 0", &["--threads", "from 1 to 1024"]),
        ("-b 2", &["--batch-size 2", "completions"]),
        ("-b 0 --endpoint-type completions", &["--batch-size", "from 1 to 4096"]),
        ("--goodput foo:1", &["--goodput", "foo", "time_to_first_token", "request_latency"]),
        ("--goodput request_latency", &["--goodput request_latency", "metric:value"]),
        ("--goodput request_latency:-1", &["--goodput", "at least 0"]),
        ("--goodput request_latency:1 request_latency:2", &["--goodput", "given twice"]),
        ("-H nocolon", &["--header nocolon", "Name: value"]),
        ("-H :value", &["--header", "Name: value"]),
        ("--extra-inputs a:b:c", &["--extra-inputs a:b:c", "name:value"]),
        ("--extra-inputs {broken", &["--extra-inputs {broken", "JSON"]),
        ("--extra-inputs a:1 a:2", &["--extra-inputs", "`a` is given twice"]),
        ("--tokenizer no/such-model", &["--tokenizer no/such-model", "cl100k_base", "hf download"]),
        ("--tokenizer ./nowhere/tokenizer.json", &["--tokenizer ./nowhere/tokenizer.json", "no such file"]),
        ("--token-count some", &["--token-count", "auto, usage, tokenizer, chunks"]),
        ("--export-level some", &["--export-level", "summary, records, raw"]),
        ("--record-formats some", &["--record-formats", "accepted: jsonl, perf-analyzer, parquet"]),
        ("--record-formats perf-analyzer", &["--record-formats perf-analyzer", "give jsonl too", "records.jsonl"]),
        ("--record-formats jsonl --export-level summary", &["--record-formats jsonl", "--export-level summary"]),
        ("--report some", &["--report", "genai-perf-2024"]),
        ("--require-fidelity bad", &["--require-fidelity", "good, degraded"]),
        ("--clock wall", &["--clock", "kernel, user"]),
        ("--profile-export-file a/b.json", &["--profile-export-file", "without a directory"]),
        ("--profile-export-file inputs.json", &["--profile-export-file", "inputs.json"]),
        ("--request-timeout 0", &["--request-timeout", "longer than 0"]),
        ("--ca-file x --insecure", &["--ca-file", "--insecure"]),
        ("--sim", &["--sim", "--url"]),
        ("-m", &["--model"]),
        ("stray", &["stray"]),
        ("-- -v --max-threads 256", &["-- -v --max-threads 256", "Perf Analyzer"]),
    ] {
        let run = context.profile(args).expect(2);
        for word in words {
            assert!(run.stderr.contains(word), "{args}: `{word}` is not in: {}", run.stderr);
        }
        assert_eq!(run.stdout, "", "{args}");
    }
    assert!(context.requests().is_empty(), "nothing was sent");
}
