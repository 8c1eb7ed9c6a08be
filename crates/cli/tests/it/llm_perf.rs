//! The face of `llm_perf.py`: its lines, its file of prompts, its JSON and how it ends.

use crate::context::{Run, TestContext};
use serde_json::Value;
use std::fs;

/// The report of the tool itself at one concurrency, from the description of the tool.
const GOLDEN: &str = "\
triton_url: localhost:9001, protocol: grpc, model: ensemble
------------------------------------------------------------
Request concurrency: 1
average_input_token_per_sec: 7830.079494413578
average_output_token_per_sec: 3.7117065991177514
average_ttft: 0.03435562758944755
average_latency: 0.03720159222220266
p99_ttft: 0.03717458248138428
p99_latency: 0.10233128070831299
payload and results: 1376 1376
throughput: 23.4745319777834 infer/sec.
";

/// A context with a file of prompts.
fn with_prompts(count: usize) -> TestContext {
    let context = TestContext::new();
    let lines: String =
        (0..count).map(|number| format!("{{\"input\": \"prompt {number} ...\", \"output\": \"...\"}}\n")).collect();
    fs::write(context.path().join("prompts.jsonl"), lines).unwrap();
    context
}

/// The face with these arguments, against the server.
fn run(context: &TestContext, args: &str) -> Run {
    let args = format!(
        "llm-perf -u {} --input-data ./prompts.jsonl --tokenizer-path cl100k_base --measurement-interval 0.1 {args}",
        context.addr()
    );
    context.run(context.bare(&args))
}

/// The lines of a report with each number as `#`, and the name of the server as it is in the golden one.
fn shape(report: &str, server: &str) -> Vec<String> {
    let masked = |word: &str| match word.trim_end_matches(',').parse::<f64>() {
        Ok(_) => "#".to_owned(),
        Err(_) => word.to_owned(),
    };
    let line = |line: &str| line.split(' ').map(masked).collect::<Vec<_>>().join(" ");
    report.replace(server, "localhost:9001").lines().map(line).collect()
}

/// The numbers behind a word in a report, in its order.
fn numbers(report: &str, word: &str) -> Vec<f64> {
    let lines = report.lines().filter_map(|line| line.strip_prefix(word));
    lines.map(|rest| rest.split(' ').find(|word| !word.is_empty()).unwrap().parse().unwrap()).collect()
}

#[test]
fn the_report_has_the_lines_of_the_tool_for_each_concurrency() {
    let context = with_prompts(6);
    let run = run(&context, "-i grpc -m ensemble --concurrency 1,3").expect(0);
    let golden = shape(GOLDEN, "localhost:9001");
    let expected: Vec<String> = golden.iter().chain(&golden[1..]).cloned().collect();
    assert_eq!(shape(&run.stdout, &context.addr().to_string()), expected, "{}\n{}", run.stdout, run.stderr);
    assert_eq!(numbers(&run.stdout, "Request concurrency:"), [1.0, 3.0]);
    assert!(run.stdout.contains("payload and results: 6 6\n"), "{}", run.stdout);
    let ttfts = numbers(&run.stdout, "average_ttft:");
    let latencies = numbers(&run.stdout, "average_latency:");
    assert!(ttfts.iter().zip(&latencies).all(|(ttft, latency)| 0.0 < *ttft && ttft < latency), "{}", run.stdout);
    // Rates are per stream: all streams together give the server's.
    let throughput = numbers(&run.stdout, "throughput:");
    assert!(throughput[0] <= 1.0 / latencies[0] && throughput[1] <= 3.0 / latencies[1], "{}", run.stdout);
}

#[test]
fn the_file_has_every_request_and_the_figures_of_the_report() {
    let context = with_prompts(5);
    let run = run(&context, "--concurrency 2 --profile-export-file out.json").expect(0);
    let text = fs::read_to_string(context.path().join("out.json")).unwrap();
    let document: Value = serde_json::from_str(&text).unwrap();
    let level = &document["2"];
    assert_eq!((&level["concurrency"], &level["client_requests"]), (&Value::from(2), &Value::from(5)));
    let requests = level["perf_results"].as_array().unwrap();
    assert_eq!(requests.len(), 5);
    let sum = |key: &str| requests.iter().map(|request| request[key].as_f64().unwrap()).sum::<f64>();
    for request in requests {
        assert_eq!(request["output_tokens"], 300, "{request}");
        assert!(!request["output_text"].as_str().unwrap().is_empty());
    }
    for (name, value) in [
        ("average_input_token_per_sec", sum("input_tokens") / sum("e2e_latency")),
        ("average_output_token_per_sec", sum("output_tokens") / sum("e2e_latency")),
        ("average_ttft", sum("ttft") / 5.0),
        ("average_latency", sum("e2e_latency") / 5.0),
    ] {
        let shown = numbers(&run.stdout, &format!("{name}:"));
        assert_eq!(level["metrics"][name].as_f64(), shown.first().copied(), "{name}");
        assert!((shown[0] / value - 1.0).abs() < 1e-9, "{name}: {value}");
    }
    // The model was asked for what the tool asks for.
    let asked = context.requests();
    assert_eq!(asked.len(), 5);
}

#[test]
fn over_http_there_is_no_time_to_first_token() {
    let context = with_prompts(4);
    let run = run(&context, "-i http -m echo_text --concurrency 2").expect(0);
    assert!(run.stdout.contains("protocol: http, model: echo_text\n"), "{}", run.stdout);
    assert!(run.stdout.contains("average_ttft: -1.0\n") && run.stdout.contains("p99_ttft: -1.0\n"), "{}", run.stdout);
    assert!(run.stderr.contains("note: model echo_text has no inputs max_tokens, temperature"), "{}", run.stderr);
}

#[test]
fn what_it_cannot_do_is_refused_by_name() {
    let context = with_prompts(2);
    for (args, code, expected) in [
        ("--warmup 3", 2, "--warmup"),
        ("-i https", 2, "[possible values: grpc, http]"),
        ("-u https://localhost:1", 2, "TLS and paths are not available here"),
        ("--input-data missing.jsonl", 2, "--input-data missing.jsonl: cannot read the file"),
        ("-m nothing", 1, "Request for unknown model: 'nothing' is not found"),
        ("-i http -m ensemble", 2, "model ensemble is decoupled"),
    ] {
        let words = format!("llm-perf --input-data prompts.jsonl -u {}", context.addr());
        let args = format!("{words} {args}").replace(&format!("-u {} -u", context.addr()), "-u");
        let args = args.replace(
            "--input-data prompts.jsonl",
            if args.contains("missing") { "" } else { "--input-data prompts.jsonl" },
        );
        let run = context.run(context.bare(&args)).expect(code);
        assert!(run.stderr.contains(expected), "{args}: {}", run.stderr);
    }
}

#[test]
fn a_failed_request_ends_the_run_without_figures() {
    let context = TestContext::faulty(&["status=503:every=2"]);
    fs::write(context.path().join("prompts.jsonl"), "{\"input\":\"a\"}\n{\"input\":\"b\"}\n").unwrap();
    let run = run(&context, "").expect(1);
    assert!(run.stderr.contains("error: 1 of 2 requests failed: "), "{}", run.stderr);
    assert!(run.stdout.ends_with("Request concurrency: 1\n"), "{}", run.stdout);
    assert!(!context.path().join("profiling_results.json").exists());
}

#[cfg(unix)]
#[test]
fn a_link_named_like_the_tool_selects_its_face() {
    let context = with_prompts(2);
    let link = context.path().join("llm_perf.py");
    std::os::unix::fs::symlink(assert_cmd::cargo::cargo_bin!("streamgauge"), &link).unwrap();
    let mut command = assert_cmd::Command::new(&link);
    command.current_dir(context.path()).args(["-u", &context.addr().to_string(), "--input-data", "prompts.jsonl"]);
    let run = context.run(command).expect(0);
    assert_eq!(shape(&run.stdout, &context.addr().to_string()), shape(GOLDEN, "localhost:9001"), "{}", run.stderr);
}
