//! Perf Analyzer's face: its reports line by line, its files, its searches, and how it ends.

use crate::context::{Run, TestContext, files, wait_until};
use serde_json::Value;
use std::fs;
use std::path::Path;
use streamgauge_core::clock::Nanos;

/// What the tool itself printed and wrote.
const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../report/tests/golden/perf_analyzer/");
/// Input data that it was given.
const INPUTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../prompt/tests/tensors/golden/");

/// The face with these arguments, against the server.
pub fn run(context: &TestContext, args: &str) -> Run {
    context.run(context.bare(&format!("perf-analyzer -u {} {args}", context.addr())))
}

/// The lines of a report with their numbers hidden. What is only there when a machine is slow is left out.
fn shape(report: &str) -> Vec<String> {
    let is_of_slow = |line: &&str| line.contains("[WARNING]") || line.contains("Avg send request rate");
    report.lines().filter(|line| !is_of_slow(line)).map(masked).collect()
}

/// A line with each number as `#`.
fn masked(line: &str) -> String {
    let mut text = String::new();
    for c in line.chars() {
        let goes_on = text.ends_with('#');
        match c {
            '0'..='9' if goes_on => {}
            '0'..='9' => text.push('#'),
            '.' if goes_on && !line.ends_with('.') => {}
            c => text.push(c),
        }
    }
    text
}

fn golden(name: &str) -> String {
    fs::read_to_string(Path::new(GOLDEN).join(name)).unwrap()
}

#[track_caller]
fn assert_shape(run: &Run, name: &str) {
    assert_eq!(shape(&run.stdout), shape(&golden(name)), "{name}\n{}\n{}", run.stdout, run.stderr);
}

/// The numbers behind a word in a report, in its order.
fn numbers(report: &str, word: &str) -> Vec<f64> {
    let after = report.split(word).skip(1);
    after.map(|rest| rest.trim_start().split([' ', '\n', ',']).next().unwrap().parse().unwrap()).collect()
}

#[test]
fn a_decoupled_ensemble_is_reported_line_by_line() {
    let context = TestContext::new();
    let run = run(
        &context,
        &format!(
            "-m ensemble -i grpc --async --streaming --input-data {INPUTS}pa_in.json --shape max_tokens:1 --shape text_input:1 \
             --concurrency-range 1:3:1 --measurement-interval 200 --stability-percentage 999 -v -f pa.csv --verbose-csv \
             --profile-export-file export.json"
        ),
    )
    .expect(0);
    assert_shape(&run, "ensemble.txt");
    // Six responses a request, as its input asks for.
    let (throughput, responses) =
        (numbers(&run.stdout, "    Throughput: "), numbers(&run.stdout, "Response Throughput: "));
    assert!(throughput.iter().zip(&responses).all(|(one, six)| (one * 6.0 - six).abs() < 1e-3 * six), "{}", run.stdout);
    let csv = fs::read_to_string(context.path().join("pa.csv")).unwrap();
    assert_eq!(csv.lines().next(), golden("ensemble.csv").lines().next());
    assert_eq!(csv.lines().count(), 4);
    for model in ["preprocessing", "tensorrt_llm", "postprocessing"] {
        let text = fs::read_to_string(context.path().join(format!("{model}_v1.pa.csv"))).unwrap();
        assert_eq!(text.lines().count(), 4, "{text}");
    }
    let export: Value = serde_json::from_str(&fs::read_to_string(context.path().join("export.json")).unwrap()).unwrap();
    let expected: Value = serde_json::from_str(&golden("ensemble_export.json")).unwrap();
    let experiments = export["experiments"].as_array().unwrap();
    assert_eq!(experiments.len(), 3);
    assert_eq!(experiments[2]["experiment"], expected["experiments"][2]["experiment"]);
    assert_eq!(export["service_kind"], expected["service_kind"]);
    for experiment in experiments {
        let boundaries: Vec<i64> = serde_json::from_value(experiment["window_boundaries"].clone()).unwrap();
        assert!(boundaries.windows(2).all(|pair| pair[1] - pair[0] == 200_000_000), "{boundaries:?}");
        assert_eq!(boundaries.len(), 4);
    }
    for request in experiments.iter().flat_map(|experiment| experiment["requests"].as_array().unwrap()) {
        let keys = |request: &Value| request.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(request), keys(&expected["experiments"][0]["requests"][0]));
        assert_eq!(request["request_inputs"]["max_tokens"], 6);
        if request["response_timestamps"].as_array().unwrap().len() == 6 {
            let outputs = request["response_outputs"].as_array().unwrap();
            assert!(outputs.iter().all(|output| output["sequence_length"] == 1), "{request}");
        }
    }
    let left = files(context.path()).into_iter().filter(|name| name.contains("partial")).count();
    assert_eq!(left, 0, "{:?}", files(context.path()));
}

#[test]
fn the_other_reports_have_their_lines_too() {
    let context = TestContext::new();
    for (args, name) in [
        ("-m add_sub --concurrency-range 2 -p 150 -s 999 -f add_sub.csv".to_owned(), "add_sub"),
        (
            "-m add_sub -i grpc --request-rate-range 50:100:50 --request-distribution poisson \
             --measurement-mode count_windows --measurement-request-count 10 -s 999 -f rate.csv"
                .to_owned(),
            "rate",
        ),
        (
            "-m add_sub --concurrency-range 1:8 --binary-search -l 20000 --percentile 95 -v -p 150 -s 999".to_owned(),
            "binary",
        ),
        (
            format!(
                "-m vllm_model -i grpc --async --streaming --input-data={INPUTS}prompts.json \
                 --profile-export-file=vllm.json --measurement-mode=count_windows --measurement-request-count=10 \
                 --stability-percentage=999"
            ),
            "vllm",
        ),
    ] {
        let run = run(&context, &args).expect(0);
        assert_shape(&run, &format!("{name}.txt"));
        if let Ok(csv) = fs::read_to_string(context.path().join(format!("{name}.csv"))) {
            assert_eq!(csv.lines().next(), golden(&format!("{name}.csv")).lines().next());
        }
    }
}

#[test]
fn an_openai_server_is_reported_line_by_line() {
    let context = TestContext::with(|config| config.models = vec!["tinychat".into()]);
    let args = format!(
        "-m tinychat --service-kind openai --endpoint v1/chat/completions --async --input-data {INPUTS}oai_in.json \
         --request-count 8 --profile-export-file export.json"
    );
    let run = run(&context, &args).expect(0);
    assert_shape(&run, "openai.txt");
    assert_eq!(context.requests().len(), 8, "no request but those that were asked for");
    let export: Value = serde_json::from_str(&fs::read_to_string(context.path().join("export.json")).unwrap()).unwrap();
    assert_eq!(export["experiments"][0]["requests"].as_array().unwrap().len(), 8);
    assert_eq!(export["endpoint"], "v1/chat/completions");
}

#[test]
fn counts_are_the_server_s() {
    let context = TestContext::new();
    for args in [
        "-m add_sub -i grpc -b 4 --request-count 12 --concurrency-range 3",
        "-m add_sub -x 1 --request-count 12 --input-tensor-format json --output-tensor-format json --input-data zero",
        "-m add_sub -i grpc --request-count 12 --grpc-compression-algorithm gzip --request-parameter a:1:int",
        "-m echo_text --request-count 12 --string-length 7",
    ] {
        let run = run(&context, args).expect(0);
        assert_eq!(numbers(&run.stdout, "Request count: "), [12.0], "{args}\n{}", run.stdout);
        assert_eq!(numbers(&run.stdout, "Successful request count: "), [12.0], "{args}");
        let batch = if args.contains("-b 4") { 4.0 } else { 1.0 };
        assert_eq!(numbers(&run.stdout, "Inference count: "), [12.0 * batch], "{args}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn tensors_in_shared_memory_are_not_sent() {
    let context = TestContext::new();
    for protocol in ["http", "grpc"] {
        let args = format!("-m add_sub -i {protocol} --shared-memory system --request-count 5 -b 2");
        let run = run(&context, &args).expect(0);
        assert_eq!(numbers(&run.stdout, "Inference count: "), [10.0]);
        let ours = |name: &String| name.starts_with("streamgauge-");
        assert!(!files(Path::new("/dev/shm")).iter().any(ours), "nothing is left of it");
    }
}

#[test]
fn a_directory_that_another_run_writes_in_is_refused_before_load() {
    let context = TestContext::new();
    let other = streamgauge_report::artifacts::RunDirectory::lock(&context.path().join("kept")).unwrap();
    let refused = run(&context, "-m add_sub --request-count 2 --artifact-dir kept").expect(99);
    assert!(refused.stderr.contains("`kept` is in use by another run"), "{}", refused.stderr);
    assert!(context.requests().is_empty());
    drop(other);
    run(&context, "-m add_sub --request-count 2 --artifact-dir kept").expect(0);
}

#[test]
fn sequences_are_made_for_a_model_that_wants_them() {
    let context = TestContext::new();
    let args =
        "-m sequence_sum --request-count 12 --sequence-length 4 --sequence-length-variation 0 --artifact-dir kept";
    let made = run(&context, args).expect(0);
    assert_eq!(numbers(&made.stdout, "Sequence count: "), [3.0], "{}", made.stdout);
    assert!(made.stdout.contains("Using asynchronous calls"), "as such models have it by default");
    let refused = run(&context, "-m sequence_sum --sequence-id-range 1:3 --concurrency-range 4").expect(99);
    assert!(refused.stderr.contains("--sequence-id-range 1:3 has 2 ids"), "{}", refused.stderr);
    let idle = run(&context, "-m add_sub --request-count 2 --sequence-length 4").expect(0);
    assert!(idle.stderr.contains("note: --sequence-length has no effect"), "{}", idle.stderr);
}

#[test]
fn a_schedule_in_the_input_data_is_kept() {
    let context = TestContext::new();
    let step = |at: u32| format!(r#"{{"text_input":["a"],"max_tokens":[2],"timestamp":[{at}]}}"#);
    let steps: Vec<String> = [0, 10, 60, 90].map(step).into();
    fs::write(context.path().join("schedule.json"), format!(r#"{{"data":[{}]}}"#, steps.join(","))).unwrap();
    let args = "-m ensemble -i grpc --streaming --input-data schedule.json --fixed-schedule --warmup-request-count 1 \
                --artifact-dir kept";
    let run = run(&context, args).expect(0);
    assert_eq!(numbers(&run.stdout, "    Request count: "), [3.0], "{}", run.stdout);
    let dir = fs::read_dir(context.path().join("kept")).unwrap().map(|entry| entry.unwrap().path());
    let records = dir.map(|dir| dir.join("records.jsonl")).find(|file| file.exists()).unwrap();
    let records = fs::read_to_string(records).unwrap();
    let dues: Vec<i64> =
        records.split("\"due_ns\":").skip(1).map(|rest| rest.split(',').next().unwrap().parse().unwrap()).collect();
    let first = dues.iter().min().unwrap();
    let mut gaps: Vec<i64> = dues.iter().map(|due| (due - first) / 1_000_000).collect();
    gaps.sort_unstable();
    assert_eq!(gaps, [0, 50, 80]);
}

#[test]
fn a_search_without_an_end_goes_on_to_the_latency_that_ends_it() {
    // A second stream makes both twice as slow: 31 ms become 61.
    let context = TestContext::with(|config| {
        config.service.itl = Nanos::from_millis(6);
        config.service.itl_growth = 1.0;
    });
    let args = format!(
        "-m ensemble -i grpc --streaming --input-data {INPUTS}pa_in.json --concurrency-range 1:0 -l 50 -p 200 -s 999"
    );
    let run = run(&context, &args).expect(0);
    let levels = |report: &str| report.lines().filter(|line| line.starts_with("Request concurrency")).count();
    assert_eq!(levels(&run.stdout), 2, "{}", run.stdout);
    assert_eq!(run.stdout.matches("Client: ").count(), 1, "{}", run.stdout);
    assert!(run.stdout.contains("\nConcurrency: 1, ") && !run.stdout.contains("\nConcurrency: 2, "));
    assert!(run.stderr.contains("Measured latency went over the set limit of 50 msec."), "{}", run.stderr);
}

#[test]
fn it_ends_with_perf_analyzers_codes() {
    let context = TestContext::new();
    let unknown = golden_error("nosuch");
    for (args, code, words) in [
        ("-m nosuch", 99, unknown.as_str()),
        ("-m nosuch -i grpc", 99, unknown.as_str()),
        ("-m ensemble", 99, "is decoupled"),
        ("-m ensemble -i grpc", 99, "--streaming"),
        ("-m add_sub -b 16", 99, "-b 16: model add_sub accepts batches of at most 8"),
        ("-m vllm_model -i grpc --streaming -b 2", 99, "does not support batching"),
        ("-m ensemble -i grpc --streaming --shape max_tokens:2", 99, "error: --shape max_tokens:2: input max_tokens"),
        ("-m add_sub --bls-composing-models add_sub,nosuch", 99, "error: --bls-composing-models nosuch: "),
        ("-m echo_text --string-data fail --request-count 3", 99, "3 of 3 requests failed"),
        ("-m add_sub -p 30 -r 2", 2, "Failed to obtain stable measurement"),
        ("-m add_sub --nosuch", 99, "--nosuch"),
        ("-m add_sub --max-threads 0", 3, "--max-threads"),
    ] {
        let run = run(&context, args).expect(code);
        assert!(run.stderr.contains(words), "{args}: {}", run.stderr);
    }
    let gone = context.run(context.bare("perf-analyzer -m add_sub -u 127.0.0.1:1")).expect(99);
    assert!(gone.stderr.contains("connection refused"), "{}", gone.stderr);
}

/// What the tool says of a model that is not there.
fn golden_error(model: &str) -> String {
    format!("error: failed to get model metadata: Request for unknown model: '{model}' is not found")
}

#[test]
fn a_percentile_is_what_levels_are_called_by_also_where_requests_are_counted() {
    let context = TestContext::new();
    let run = run(&context, "-m add_sub --request-count 20 --percentile 96").expect(0);
    let p96 = run.stdout.split("    p96 latency: ").nth(1).unwrap().lines().next().unwrap();
    assert!(run.stdout.contains("Inferences/Second vs. Client p96 Batch Latency\n"), "{}", run.stdout);
    assert!(run.stdout.trim_end().ends_with(&format!("latency {p96}")), "{}", run.stdout);
}

#[test]
fn what_failed_is_in_no_figure_and_in_the_exit_code() {
    let context = TestContext::faulty(&["status=503:every=5"]);
    let run = run(&context, "-m add_sub --request-count 20 -f pa.csv").expect(99);
    assert_eq!(numbers(&run.stdout, "    Request count: "), [16.0], "{}", run.stdout);
    assert!(
        run.stderr.contains("error: 4 of 20 requests failed and are not in the figures: error status"),
        "{}",
        run.stderr
    );
    assert!(context.path().join("pa.csv").exists(), "the others are reported");
}

#[test]
fn windows_without_an_answer_are_an_option_error() {
    let context = TestContext::with(|config| config.service.ttft = Nanos::from_millis(2_000));
    let args = format!("-m ensemble -i grpc --streaming --input-data {INPUTS}pa_in.json -p 20 -r 3");
    let run = run(&context, &args).expect(3);
    assert!(run.stderr.contains("no request was answered within the measured time"), "{}", run.stderr);
}

#[cfg(unix)]
#[test]
fn an_interrupt_drains_and_reports() {
    let context = TestContext::new();
    let args = format!("perf-analyzer -u {} -m add_sub -p 200 -s 0.0001 -r 100000 -f pa.csv", context.addr());
    let running = context.start_bare(&args);
    wait_until("some load", || context.requests().len() > 100);
    running.interrupt();
    let run = running.wait().expect(0);
    assert!(run.stderr.contains("interrupted"), "{}", run.stderr);
    assert!(run.stdout.contains("\nConcurrency: 1, throughput: "), "{}", run.stdout);
    assert!(context.path().join("pa.csv").exists());
}

#[cfg(unix)]
#[test]
fn a_link_of_that_name_is_the_face() {
    let context = TestContext::new();
    let link = context.path().join("perf_analyzer");
    std::os::unix::fs::symlink(assert_cmd::cargo::cargo_bin!("streamgauge"), &link).unwrap();
    let run =
        context.run(context.shell(&format!("./perf_analyzer -m add_sub -u {} --request-count=3", context.addr())));
    assert!(run.expect(0).stdout.starts_with("*** Measurement Settings ***\n"));
}

#[test]
fn gpus_of_the_server_are_shown_where_their_metrics_are_collected() {
    let context = TestContext::with(|config| config.gpus = 2);
    let args = format!(
        "-m add_sub -p 200 -s 999 --collect-metrics --metrics-url {}/metrics --metrics-interval 50 -f pa.csv --verbose-csv",
        context.addr()
    );
    let run = run(&context, &args).expect(0);
    let block = run.stdout.split("Server Prometheus Metrics:").nth(1).unwrap();
    for line in ["Avg GPU Utilization:", "Avg GPU Power Usage:", "Max GPU Memory Usage:", "Total GPU Memory:"] {
        let figures = block.split(line).nth(1).unwrap().lines().skip(1).take(2);
        assert_eq!(figures.filter(|figure| figure.contains("GPU-")).count(), 2, "{line}\n{block}");
    }
    let csv = fs::read_to_string(context.path().join("pa.csv")).unwrap();
    assert!(
        csv.lines()
            .next()
            .unwrap()
            .ends_with("Avg GPU Utilization,Avg GPU Power Usage,Max GPU Memory Usage,Total GPU Memory")
    );
    assert_eq!(csv.lines().nth(1).unwrap().matches("GPU-").count(), 8, "{csv}");
}

/// The requests of an export in the order in which they were sent: when, and the times of their responses.
fn sent(export: &Value) -> Vec<(i64, Vec<i64>)> {
    let requests = export["experiments"][0]["requests"].as_array().unwrap().iter();
    let stamps = |request: &Value| serde_json::from_value(request["response_timestamps"].clone()).unwrap();
    let mut sent: Vec<(i64, Vec<i64>)> =
        requests.map(|request| (request["timestamp"].as_i64().unwrap(), stamps(request))).collect();
    sent.sort_unstable();
    sent
}

#[test]
fn a_concurrency_grows_by_the_responses_of_its_requests() {
    let context = TestContext::new();
    let six = format!("-m ensemble -i grpc --async --streaming --input-data {INPUTS}pa_in.json");
    // Three of the six responses that each has, and more than there are: then the next batch is sent after the ends.
    for (args, start, end, step, responses) in
        [("--request-period 3", 2, 6, 2, 3), ("", 1, 5, 2, 10), ("--request-period 1 --max-threads 1", 3, 3, 1, 1)]
    {
        let file = format!("grown{start}.json");
        let args = format!(
            "{six} --periodic-concurrency-range {start}:{end}:{step} {args} --profile-export-file {file} -f grown.csv --percentile 95"
        );
        let run = run(&context, &args).expect(0);
        let settings = format!("  Sending {end} benchmark requests\n");
        assert!(run.stdout.contains(&settings) && !run.stdout.contains("Client:"), "{}", run.stdout);
        for idle in ["-f has no effect", "--percentile has no effect"] {
            assert!(run.stderr.contains(idle), "{}", run.stderr);
        }
        assert!(!context.path().join("grown.csv").exists());
        let export: Value = serde_json::from_str(&fs::read_to_string(context.path().join(file)).unwrap()).unwrap();
        let experiment = &export["experiments"][0];
        assert_eq!(experiment["experiment"], serde_json::json!({"mode": "request_rate", "value": 0.0}));
        assert_eq!(experiment["window_boundaries"], serde_json::json!([0, u64::MAX]));
        let sent = sent(&export);
        assert_eq!(sent.iter().map(|(_, stamps)| stamps.len()).collect::<Vec<_>>(), vec![6; end]);
        for (place, (at, _)) in sent.iter().enumerate().skip(start) {
            let batches = start + (place - start) / step * step;
            let last = sent[..batches].iter().map(|(_, stamps)| stamps[responses.min(stamps.len()) - 1]).max();
            assert!(last.is_some_and(|last| *at >= last), "request {place} came before its time: {sent:?}");
        }
    }
}

#[test]
fn a_concurrency_that_grows_is_of_decoupled_models() {
    let context = TestContext::new();
    let args = "-m add_sub -i grpc --streaming --periodic-concurrency-range 1:4 --profile-export-file grown.json";
    let run = run(&context, args).expect(99);
    assert!(run.stderr.contains("--periodic-concurrency-range needs a decoupled model"), "{}", run.stderr);
}

#[cfg(unix)]
#[test]
fn an_interrupt_waits_for_the_requests_of_a_count_too() {
    let context = TestContext::with(|config| config.service.itl = Nanos::from_millis(50));
    let args = format!("-m ensemble -i grpc --streaming --input-data {INPUTS}pa_in.json --request-count 100000");
    let running = context.start_bare(&format!("perf-analyzer -u {} {args}", context.addr()));
    wait_until("some load", || context.requests().len() > 2);
    running.interrupt();
    let run = running.wait().expect(0);
    assert!(run.stderr.contains("interrupted: waiting up to 30 s"), "{}", run.stderr);
    assert!(!run.stderr.contains("cut off"), "{}", run.stderr);
}

#[test]
fn a_final_response_that_never_comes_is_a_failure_in_time() {
    let context = TestContext::faulty(&["no-final:every=4"]);
    let args = format!("-m ensemble -i grpc --streaming --input-data {INPUTS}pa_in.json --request-count 8");
    let run = run(&context, &format!("{args} --idle-timeout 1s")).expect(99);
    assert_eq!(numbers(&run.stdout, "    Request count: "), [6.0], "{}", run.stdout);
    assert!(
        run.stderr.contains("error: 2 of 8 requests failed and are not in the figures: timeout (body)"),
        "{}",
        run.stderr
    );
}

#[test]
fn what_is_said_of_figures_names_flags_that_are_there() {
    let context = TestContext::faulty(&["status=503:every=2", "slow-headers=1ms:every=3"]);
    let help = run(&context, "--help").expect(0).stdout;
    let run = run(&context, "-m add_sub --request-rate-range 400 --request-count 400 --max-threads 1").expect(99);
    assert!(run.stderr.contains("note: Failed requests"), "{}", run.stderr);
    for flag in run.stderr.split([' ', ',', ';', '(', ')', '\n']).filter(|word| word.starts_with("--")) {
        assert!(help.contains(&format!("{flag} ")), "{flag}\n{}", run.stderr);
    }
}
