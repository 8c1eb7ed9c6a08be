//! Tokens: whose count is used, and what is said when counts or lengths do not agree.

use crate::context::{Run, TestContext};
use serde_json::{Value, json};
use streamgauge_sim::TEMPLATE_TOKENS;

fn ok(run: &Run) -> Vec<Value> {
    run.records().ended("ok").into_iter().cloned().collect()
}

#[test]
fn the_servers_count_and_ours_are_the_same() {
    for args in ["--streaming", "", "--endpoint-type completions --streaming", "--endpoint-type completions"] {
        let context = TestContext::new();
        let run = context.profile(&format!("{args} --isl 40 --isl-stddev 15 --osl 20 --osl-stddev 8")).expect(0);
        let template = if args.contains("completions") { 0 } else { u64::from(TEMPLATE_TOKENS) };
        let records = ok(&run);
        assert_eq!(records.len(), 10);
        for record in &records {
            let count = |value: &Value| value.as_u64().unwrap();
            assert_eq!(count(&record["usage"]["completion_tokens"]), count(&record["text_tokens"]));
            assert_eq!(count(&record["want_out"]), count(&record["text_tokens"]));
            assert_eq!(count(&record["usage"]["prompt_tokens"]), count(&record["input_tokens"]) + template);
        }
        let lengths: Vec<u64> = records.iter().map(|record| record["input_tokens"].as_u64().unwrap()).collect();
        assert!(lengths.iter().any(|length| *length != lengths[0]), "{lengths:?}");
        let summary = run.summary();
        assert_eq!(summary["token_counts"]["by_usage"], 10);
        for key in ["min", "max"] {
            assert_eq!(summary["template_tokens"][key], template as f64);
        }
        // Each prompt's length as the server saw it.
        let mut seen: Vec<u64> =
            context.requests()[1..].iter().map(|r| u64::from(r.prompt_tokens) - template).collect();
        let mut sent = lengths;
        seen.sort_unstable();
        sent.sort_unstable();
        assert_eq!(sent, seen);
    }
}

#[test]
fn prompts_have_exactly_the_length_asked_for() {
    for length in [1, 2, 17, 550, 3_000] {
        let context = TestContext::new();
        let args = format!("--isl {length} --isl-stddev 0 --osl 1 --num-prompts 10");
        let run = context.profile(&args).expect(0);
        assert!(ok(&run).iter().all(|record| record["input_tokens"] == length), "{length}");
        let seen: Vec<u32> = context.requests().iter().map(|request| request.prompt_tokens).collect();
        assert!(seen.iter().all(|tokens| *tokens == length + TEMPLATE_TOKENS), "{length}: {seen:?}");
    }
}

#[test]
fn a_count_of_zero_beside_text_is_not_believed() {
    let context = TestContext::faulty(&["bad-usage=zero"]);
    let run = context.profile("--streaming --isl 10 --osl 12").expect(0);
    let summary = run.summary();
    assert_eq!(summary["output_sequence_length"]["min"], 12.0);
    let counts = &summary["token_counts"];
    assert_eq!((&counts["by_usage"], &counts["by_tokenizer"]), (&json!(0), &json!(10)));
    assert!(
        run.stdout.contains("Output tokens counted by: the client's tokenizer (10 requests), chosen automatically"),
        "{}",
        run.stdout
    );
    assert!(ok(&run).iter().all(|record| record["usage"]["completion_tokens"] == 0), "it is kept as it came");
}

#[test]
fn counts_that_differ_are_a_row() {
    let context = TestContext::faulty(&["bad-usage=5"]);
    let run = context.profile("--streaming --isl 10 --osl 12").expect(0);
    let summary = run.summary();
    assert_eq!(summary["output_sequence_length"]["max"], 17.0, "the server's count is used");
    assert!(ok(&run).iter().all(|record| record["text_tokens"] == 12), "the other is kept");
    let row = run.fidelity_row("token_counts").unwrap();
    assert_eq!((&row["grade"], &row["number"]), (&json!("degraded"), &json!(100.0)));
    assert!(row["remedy"].as_str().unwrap().contains("--tokenizer"), "{row}");
    let by_tokenizer = context.profile("--streaming --isl 10 --osl 12 --token-count tokenizer").expect(0);
    assert_eq!(by_tokenizer.summary()["output_sequence_length"]["max"], 12.0);
}

#[test]
fn a_chunk_is_not_a_token() {
    let context = TestContext::faulty(&["multi-token=4"]);
    let args = "--streaming --isl 10 --osl 12";
    for (count, expected) in [("auto", 12.0), ("usage", 12.0), ("tokenizer", 12.0), ("chunks", 3.0)] {
        let run = context.profile(&format!("{args} --token-count {count}")).expect(0);
        let length = &run.summary()["output_sequence_length"];
        assert_eq!((&length["min"], &length["max"]), (&json!(expected), &json!(expected)), "{count}");
        for record in ok(&run) {
            assert_eq!(record["at_ns"].as_array().unwrap().len(), 3);
        }
    }
}

#[test]
fn a_server_that_chooses_the_length_is_told_of() {
    let context = TestContext::faulty(&["ignore-length"]);
    let run = context.profile("--streaming --isl 10 --osl 5 --output-tokens-mean-deterministic").expect(0);
    let row = run.fidelity_row("output_length").unwrap();
    assert_eq!(row["grade"], "degraded");
    assert!(row["remedy"].as_str().unwrap().contains("does not honour min_tokens and ignore_eos"), "{row}");
    assert!(ok(&run).iter().all(|record| record["want_out"] == 5));
    assert!(run.summary()["output_sequence_length"]["min"].as_f64().unwrap() > 5.0);
}

#[test]
fn without_a_length_nothing_is_held_against_the_server() {
    let context = TestContext::new();
    let run = context.profile("--streaming --isl 10").expect(0);
    assert!(run.fidelity_row("output_length").is_none());
    let body = &run.bodies()[0];
    assert!(["max_tokens", "min_tokens", "ignore_eos"].iter().all(|key| body.get(key).is_none()), "{body}");
}

#[test]
fn usage_that_was_asked_for_and_did_not_come_is_missing() {
    let context = TestContext::faulty(&["reject-stream-options"]);
    let run = context.profile("--streaming --isl 10 --osl 5 --token-count usage").expect(0);
    let summary = run.summary();
    assert_eq!(summary["token_counts"]["missing"], 10);
    assert!(
        ["output_sequence_length", "output_token_throughput", "inter_token_latency"]
            .iter()
            .all(|key| summary.get(key).is_none())
    );
    assert_eq!(run.fidelity_row("uncounted_requests").unwrap()["grade"], "degraded");
}

#[test]
fn hidden_reasoning_and_cached_prompts_are_told() {
    use crate::script::serve;
    use crate::words::{DONE, LAST_CHUNK, STREAM_HEAD, chunk, finish, token};
    let usage = json!({"choices": [], "usage": {
        "prompt_tokens": 40, "completion_tokens": 108,
        "completion_tokens_details": {"reasoning_tokens": 100}, "prompt_tokens_details": {"cached_tokens": 30},
    }});
    let server = serve(move |peer| {
        while peer.request().is_some() {
            peer.send(STREAM_HEAD);
            for _ in 0..8 {
                peer.send(&chunk(&token(" word")));
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
            peer.send(&format!("{}{LAST_CHUNK}", chunk(&format!("{}data: {usage}\n\n{DONE}", finish(0, "stop")))));
        }
    });
    let context = TestContext::new();
    let args = "-m m --streaming --no-probe --isl 40 --osl 8 --request-count 5";
    let run = context.run(context.command_to(&format!("http://{}", server.addr()), args)).expect(0);
    let (summary, records) = (run.summary(), ok(&run));
    assert_eq!(summary["output_sequence_length"]["avg"], 108.0);
    let paces: Vec<f64> = records
        .iter()
        .map(|record| {
            let at: Vec<i64> = record["at_ns"].as_array().unwrap().iter().map(|at| at.as_i64().unwrap()).collect();
            (at[7] - at[0]) as f64 / 7.0 / 1e6
        })
        .collect();
    let mean = paces.iter().sum::<f64>() / paces.len() as f64;
    assert!((summary["inter_token_latency"]["avg"].as_f64().unwrap() - mean).abs() < 1e-5, "{summary}");
    let hidden = run.fidelity_row("hidden_tokens").unwrap();
    assert_eq!(hidden["value"], "92.59 % of 540 output tokens, in 5 of 5 requests");
    assert!(records.iter().all(|record| record["usage"]["cached_tokens"] == 30));
    assert_eq!(
        (&summary["cached_prompt_tokens"]["avg"], &summary["cached_prompt_tokens"]["unit"]),
        (&json!(30.0), &json!("tokens"))
    );
    let cached = run.fidelity_row("cached_prompts").unwrap();
    assert_eq!((&cached["value"], &cached["grade"]), (&json!("75.00 % of 200 prompt tokens"), &json!("degraded")));
    assert!(cached["remedy"].as_str().unwrap().contains("the same seed sends the same prompts"), "{cached}");
}
