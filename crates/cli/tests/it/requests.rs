//! What the flags do to the requests: where they go, how many there are, and what is in them.

use crate::context::{TestContext, files};
use crate::flags::{instant, plan, tiny_tokenizer};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use streamgauge_prompt::Tokenizer;
use streamgauge_sim::{Service, TEMPLATE_TOKENS};

#[test]
fn urls_are_taken_as_people_give_them() {
    let context = instant();
    let port = context.addr().port();
    for url in [
        format!("127.0.0.1:{port}"),
        format!("http://127.0.0.1:{port}"),
        format!("http://127.0.0.1:{port}/"),
        format!("http://127.0.0.1:{port}/v1"),
        format!("http://localhost:{port}/v1/"),
        format!("localhost:{port}"),
    ] {
        context.run(context.command_to(&url, "--isl 10 --osl 2")).expect(0);
    }
    for url in ["ftp://127.0.0.1", "http://", "http://127.0.0.1:99999", "http://[::1"] {
        let run = context.run(context.command_to(url, "")).expect(2);
        assert!(run.stderr.contains(&format!("--url {url}: ")), "{}", run.stderr);
        assert!(run.stderr.contains("http://HOST[:PORT][/PATH]"), "{}", run.stderr);
    }
    let run = context.run(context.command_to("http://me:secret@127.0.0.1", "")).expect(2);
    assert!(
        run.stderr.contains("--url http://<hidden>@127.0.0.1: a user name is not taken")
            && !run.stderr.contains("secret")
    );
}

#[test]
fn without_a_count_it_is_ten_or_twice_the_concurrency() {
    let context = instant();
    for (concurrency, requests) in [(1, 10), (5, 10), (7, 14)] {
        let _ = fs::remove_dir_all(context.path().join("artifacts"));
        let run = context.profile(&format!("--concurrency {concurrency} --isl 10 --osl 2")).expect(0);
        assert_eq!(run.records().all.len(), requests);
    }
}

#[test]
fn a_count_is_exact_over_several_threads_and_the_warm_up_is_beside_it() {
    let context = instant();
    let run = context.profile(
        "--streaming --threads 3 --concurrency 5 --request-count 23 --warmup-request-count 11 --isl 10 --osl 2",
    );
    let records = run.expect(0).records();
    for (phase, count) in [("warmup", 11), ("profiling", 23)] {
        let numbers: BTreeSet<u64> =
            records.of_phase(phase).iter().map(|record| record["seq"].as_u64().unwrap()).collect();
        assert_eq!(numbers, (0..count).collect());
        assert_eq!(records.of_phase(phase).len() as u64, count);
    }
    let threads: BTreeSet<u64> = records.all.iter().map(|record| record["thread"].as_u64().unwrap()).collect();
    assert_eq!(threads, BTreeSet::from([0, 1, 2]));
    assert_eq!(context.requests().len(), 1 + 11 + 23, "with the probe");
}

#[test]
fn without_a_probe_nothing_goes_ahead() {
    let context = instant();
    context.profile("--no-probe --isl 10 --osl 2").expect(0);
    assert_eq!(context.requests().len(), 10);
}

#[test]
fn a_duration_ends_the_run() {
    for (args, nanos) in [("-p 300", 300_000_000), ("--benchmark-duration 0.3", 300_000_000)] {
        let context = TestContext::new();
        let run = context.profile(&format!("--streaming --isl 10 --osl 2 {args}")).expect(0);
        let records = run.records();
        let started = records.run["started"].as_i64().unwrap();
        let issued: Vec<i64> =
            records.all.iter().map(|record| record["issued_ns"].as_i64().unwrap() - started).collect();
        // The bound is far above the duration, so that a machine that stands still does no harm, and far below for ever.
        assert!(issued.iter().all(|at| (0..nanos + 10_000_000_000).contains(at)), "{issued:?}");
        assert!(records.run["ended"].as_i64().unwrap() - started >= nanos);
        assert!(records.all.iter().all(|record| record["outcome"] == "ok"), "those in flight may finish");
        let measurement = &run.summary()["input_config"]["perf_analyzer"]["measurement"];
        assert_eq!(*measurement, json!({"mode": "interval", "num": 300}));
    }
}

#[test]
fn extra_inputs_replace_ours_in_their_place() {
    let context = instant();
    let args =
        r#"--osl 9 --isl 10 --streaming --extra-inputs max_tokens:3 top:1 stop {"nested":{"a":[1]},"flag":true}"#;
    let run = context.profile(args).expect(0);
    let body = &run.bodies()[0];
    let keys: Vec<&String> = body.as_object().unwrap().keys().collect();
    let expected = ["model", "messages", "stream", "max_tokens", "stream_options", "top", "stop", "nested", "flag"];
    assert_eq!(keys, expected);
    assert_eq!((&body["max_tokens"], &body["stop"]), (&json!(3), &Value::Null));
    assert_eq!((&body["nested"], &body["flag"]), (&json!({"a": [1]}), &json!(true)));
    assert_eq!(run.summary()["output_sequence_length"]["max"], 3.0);
}

#[test]
fn an_exact_length_is_asked_for_in_the_servers_words() {
    let context = TestContext::with(|config| {
        config.service = Service::instant();
        config.lengths.early_stop = 1.0;
    });
    let short = context.profile("--isl 10 --osl 9").expect(0).summary();
    assert!(short["output_sequence_length"]["min"].as_f64().unwrap() < 9.0);
    let run = context.profile("--isl 10 --osl 9 --output-tokens-mean-deterministic").expect(0);
    let body = &run.bodies()[0];
    assert_eq!((&body["max_tokens"], &body["min_tokens"], &body["ignore_eos"]), (&json!(9), &json!(9), &json!(true)));
    let length = &run.summary()["output_sequence_length"];
    assert_eq!((&length["min"], &length["max"]), (&json!(9.0), &json!(9.0)));
}

#[test]
fn models_take_turns() {
    let context = TestContext::with(|config| {
        config.service = Service::instant();
        config.models = vec!["one".to_owned(), "two".to_owned()];
    });
    let run = context.profile("-m one two --num-prompts 5 --isl 10 --osl 2").expect(0);
    let models: Vec<Value> = run.bodies().iter().map(|body| body["model"].clone()).collect();
    assert_eq!(models, ["one", "two", "one", "two", "one"]);
    assert_eq!(run.summary()["input_config"]["model_names"], json!(["one", "two"]));
    let choose = context.profile("--isl 10 --osl 2").expect(2);
    assert!(choose.stderr.contains("--model: one, two"), "{}", choose.stderr);
}

#[test]
fn a_model_that_the_server_does_not_have_is_the_servers_to_refuse() {
    let context = TestContext::new();
    let run = context.profile("-m other --isl 10 --osl 2").expect(1);
    assert!(run.stderr.contains("The model `other` does not exist. Valid aliases: sim-model."), "{}", run.stderr);
}

#[test]
fn a_seed_gives_the_same_prompts_again_and_another_others() {
    let context = instant();
    let bodies = |seed: u32| context.profile(&format!("--random-seed {seed} --isl 20 --osl 2")).expect(0).bodies();
    let first = bodies(1);
    assert_eq!(first, bodies(1));
    assert_ne!(first, bodies(2));
    let texts: BTreeSet<String> = first.iter().map(Value::to_string).collect();
    assert_eq!(texts.len(), 100, "and all prompts differ");
}

#[test]
fn prefixes_are_shared_and_counted() {
    let context = instant();
    let args = "--num-prefix-prompts 2 --prefix-prompt-length 15 --isl 10 --osl 2 --num-prompts 20 --request-count 20";
    let run = context.profile(args).expect(0);
    let texts: Vec<String> =
        run.bodies().iter().map(|body| body["messages"][0]["content"].as_str().unwrap().to_owned()).collect();
    let openings: BTreeSet<&str> = texts.iter().map(|text| &text[..40]).collect();
    assert_eq!(openings.len(), 2, "{openings:?}");
    let length = &run.summary()["input_sequence_length"];
    assert_eq!((&length["min"], &length["max"]), (&json!(25.0), &json!(25.0)));
    assert_eq!(run.summary()["template_tokens"]["max"], f64::from(TEMPLATE_TOKENS));
}

#[test]
fn a_tokenizer_comes_as_a_file_or_a_directory() {
    let context = TestContext::with(|config| {
        config.service = Service::instant();
        config.tokenizer = Tokenizer::from_file(&tiny_tokenizer()).unwrap();
    });
    let directory = context.path().join("model");
    fs::create_dir(&directory).unwrap();
    fs::copy(tiny_tokenizer(), directory.join("tokenizer.json")).unwrap();
    for path in [tiny_tokenizer(), directory] {
        let run = context.profile(&format!("--tokenizer {} --streaming --isl 33 --osl 12", path.display())).expect(0);
        let summary = run.summary();
        for key in ["min", "max"] {
            assert_eq!(summary["input_sequence_length"][key], 33.0);
            assert_eq!(summary["template_tokens"][key], f64::from(TEMPLATE_TOKENS), "the server counts the same");
            assert_eq!(summary["output_sequence_length"][key], 12.0);
        }
        assert_eq!(summary["token_counts"]["disagree"], 0);
        assert_eq!(run.fidelity_row("token_counts").unwrap()["grade"], "good");
    }
    let empty = context.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let refused = context.profile(&format!("--tokenizer {}", empty.display())).expect(2);
    assert!(
        refused.stderr.contains("there is no tokenizer.json, tekken.json, tokenizer.model or *.tiktoken in"),
        "{}",
        refused.stderr
    );
}

#[test]
fn the_embedded_vocabulary_is_told_of_when_nobody_asked_for_it() {
    let context = instant();
    let run = context.profile("--isl 10 --osl 2").expect(0);
    assert!(run.stderr.contains("note: tokens are counted with cl100k_base (embedded)"), "{}", run.stderr);
    let args = "--isl 10 --osl 2 --tokenizer cl100k_base --streaming --artifact-dir other";
    let asked = context.profile(args).expect(0);
    assert_eq!(asked.stderr, "");
}

#[test]
fn a_simulated_server_comes_with_the_binary() {
    let context = TestContext::new();
    let run = context.run(context.bare("profile --sim --ui none --request-count 16 --isl 10 --osl 3")).expect(0);
    assert_eq!(files(&context.path().join("artifacts")), ["sim-model-openai-chat-concurrency8"]);
    let plan = plan(&run);
    assert_eq!((&plan["endpoint"]["streaming"], &plan["load"]["concurrency"]["most"]), (&json!(true), &json!(8)));
    assert!(context.requests().is_empty());
    let ui = context.run(context.bare("profile --sim --ui-type none --request-count 8 --isl 10 --osl 3")).expect(0);
    // The second run says that it replaces what the first has left, and nothing else.
    assert!(
        ui.stderr
            .starts_with("note: artifacts/sim-model-openai-chat-concurrency8 holds the artifacts of an earlier run")
    );
    assert_eq!(ui.stderr.lines().count(), 1, "{}", ui.stderr);
}

#[test]
fn help_and_version_are_results() {
    let context = TestContext::new();
    for args in ["--version", "profile --version", "-V"] {
        let run = context.run(context.bare(args)).expect(0);
        assert!(run.stdout.contains(env!("CARGO_PKG_VERSION")), "{args}: {}", run.stdout);
    }
    let commands = context.run(context.bare("--help")).expect(0).stdout;
    assert!(commands.contains("profile") && commands.contains("sim"), "{commands}");
    let help = context.run(context.bare("profile --help")).expect(0).stdout;
    for flag in ["--model-names", "--synthetic-input-tokens-mean", "--num-prompts", "--goodput", "--require-fidelity"] {
        assert!(help.contains(flag), "{flag}");
    }
    context.run(context.bare("")).expect(2);
    context.run(context.bare("analyze")).expect(2);
}
