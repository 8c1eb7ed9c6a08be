//! Perf Analyzer's flags: their spellings, what is refused by name, and what does not go together.

use crate::context::TestContext;
use crate::perf_analyzer::run;
use crate::tap::Tap;
use std::fs;

/// A command that is refused before any server is asked, with its exit code and what it says.
#[track_caller]
fn refused(context: &TestContext, args: &str, code: i32, words: &[&str]) {
    let run = context.run(context.bare(&format!("perf-analyzer {args}"))).expect(code);
    assert!(words.iter().all(|word| run.stderr.contains(word)), "{args}: {}", run.stderr);
    assert_eq!(run.stdout, "", "{args}");
}

#[test]
fn every_spelling_is_the_same_load() {
    let context = TestContext::new();
    for args in [
        "-m add_sub --concurrency-range 2 --request-count 4 --measurement-interval 900",
        "-madd_sub -ihttp -t 2 -c 2 --request-count=4 -p 900",
        "--model=add_sub -i HTTP --concurrency-range=2:2:1 --request-count 1 --request-count 4 -p=900 -a",
    ] {
        let run = run(&context, args).expect(0);
        let lines = ["  Sending 4 benchmark requests\n", "Request concurrency: 2\n", "    Request count: 4\n"];
        assert!(lines.iter().all(|line| run.stdout.contains(line)), "{args}: {}", run.stdout);
    }
    let deprecated = run(&context, "-m add_sub -t 2 -z --request-count 4").expect(0);
    assert!(["-t is deprecated", "-z is deprecated"].iter().all(|note| deprecated.stderr.contains(note)));
    run(&context, "-m add_sub --zero-input --request-count 4").expect(0);
    let short = run(&context, "-m add_sub --request-cou 4 --measurement-int 900").expect(0);
    assert!(short.stdout.contains("  Sending 4 benchmark requests\n"), "a beginning that is no other's is enough");
}

#[test]
fn what_belongs_to_something_else_is_refused_by_name() {
    let context = TestContext::new();
    for (args, words) in [
        ("--service-kind triton_c_api", ["--service-kind", "in-process server"]),
        ("--service-kind tfserving", ["--service-kind", "TensorFlow Serving"]),
        ("--service-kind torchserve", ["--service-kind", "TorchServe"]),
        ("--service-kind dynamic_grpc", ["--service-kind", "gRPC services of one's own"]),
        ("--triton-server-directory /opt", ["--triton-server-directory", "in-process server"]),
        ("--model-repository=/models", ["--model-repository", "in-process server"]),
        ("--model-signature-name s", ["--model-signature-name", "TensorFlow Serving"]),
        ("--grpc-method a.b/c", ["--grpc-method", "gRPC services of one's own"]),
        ("--enable-mpi", ["--enable-mpi", "MPI"]),
        ("--session-concurrency 2", ["--session-concurrency", "multi-turn sessions"]),
        ("--shared-memory cuda", ["--shared-memory", "CUDA"]),
    ] {
        refused(&context, &format!("-m m {args}"), 3, &words);
    }
}

#[test]
fn what_does_not_go_together_is_refused() {
    let context = TestContext::new();
    let here = |name: &str| context.path().join(name).display().to_string();
    fs::write(here("there.json"), "{}").unwrap();
    let grows = |args: &str| format!("-m m -i grpc --streaming --profile-export-file grown.json {args}");
    for (args, words) in [
        ("", "-m NAME is required"),
        ("-m m --async --sync", "--async and --sync"),
        ("-m m -i grpc --streaming --sync", "leave out --sync"),
        ("-m m --streaming", "--streaming needs gRPC"),
        ("-m m --collect-metrics --metrics-interval 3600001", "--metrics-interval: give at most 3600000 (an hour)"),
        ("-m m --collect-metrics --metrics-interval 2h", "--metrics-interval: give at most 3600000 (an hour)"),
        ("-m m --grpc-compression-algorithm gzip", "--grpc-compression-algorithm needs gRPC"),
        ("-m m --request-parameter a:1:int", "--request-parameter needs gRPC"),
        ("-m m -i grpc --request-parameter a:1", "give name:value:type"),
        ("-m m --concurrency-range 1 --request-rate-range 1", "cannot be used with"),
        ("-m m -c 2 --request-rate-range 1", "-c cannot be combined with another kind of load"),
        ("-m m --concurrency-range 0", "START[:END[:STEP]]"),
        ("-m m --concurrency-range 1:0", "an end of 0 needs --latency-threshold"),
        ("-m m --concurrency-range 1:8 --binary-search", "--binary-search needs --latency-threshold"),
        ("-m m --concurrency-range 1:0 --binary-search -l 5", "an end above 0"),
        ("-m m --concurrency-range 4:2 --binary-search -l 5", "must not be below its start"),
        (
            "-m m --concurrency-range 1:4 --request-count 9",
            "--request-count cannot be combined with several levels (--concurrency-range)",
        ),
        (
            "-m m --request-rate-range 1:4 --warmup-request-count 9",
            "--warmup-request-count cannot be combined with several levels (--request-rate-range)",
        ),
        ("-m m --concurrency-range 4 --request-count 3", "--request-count 3 is less than --concurrency-range 4"),
        ("-m m --request-rate-range 4.5 --request-count 3", "--request-count 3 is less than --request-rate-range 4.5"),
        ("-m m -c 2 --periodic-concurrency-range 1:4", "-c cannot be combined with another kind of load"),
        ("-m m --periodic-concurrency-range 1:4 --request-rate-range 5", "cannot be used with"),
        ("-m m --periodic-concurrency-range 1:4", "needs streams of --service-kind triton; add -i grpc --streaming"),
        (
            "-m m -i grpc --streaming --periodic-concurrency-range 1:4",
            "writes only the export; add --profile-export-file FILE",
        ),
        (&*grows("--periodic-concurrency-range 4"), "4:1:1: give an end that is not below the start"),
        (&*grows("--periodic-concurrency-range 4:0"), "4:0:1: give an end"),
        (
            &*grows("--periodic-concurrency-range 2:7:2"),
            "2:7:2: steps of 2 from 2 do not reach 7 exactly; give a step that divides 5",
        ),
        (
            &*grows("--periodic-concurrency-range 2:8:2 --request-count 8"),
            "--request-count: the end of --periodic-concurrency-range gives",
        ),
        (
            &*grows("--periodic-concurrency-range 2:8:2 --warmup-request-count 1"),
            "--warmup-request-count: the end of --periodic",
        ),
        (&*grows("--periodic-concurrency-range 2:8:2 --binary-search"), "--binary-search needs a range"),
        (&*grows("--periodic-concurrency-range 2:8:2 --request-period 0"), "--request-period"),
        ("-m m --request-intervals nosuch", "--request-intervals nosuch: the file does not exist"),
        ("-m m --fixed-schedule", "--fixed-schedule needs --input-data FILE"),
        ("-m m --input-data nosuch", "--input-data nosuch: the file does not exist"),
        ("-m m -z --input-data there.json", "--input-data zero"),
        ("-m m --shape x", "a shape is NAME:D1,D2"),
        ("-m m --metrics-interval 5", "--metrics-interval needs --collect-metrics"),
        ("-m m --profile-export-file there.json", "the file exists already"),
        ("-m m -f nosuch/pa.csv", "the directory nosuch does not exist"),
        ("-m m --ssl-grpc-use-ssl", "--ssl-grpc-use-ssl needs gRPC"),
        ("-m m --ssl-https-ca-certificates-file there.json", "the connection does not use TLS"),
        ("-m m -u https://h --ssl-https-client-certificate-file there.json", "must be given together"),
        ("-m m --percentile 100", "from 1 to 99"),
        ("-m m --service-kind openai --async --endpoint x", "--service-kind openai needs --input-data FILE"),
        ("-m m --service-kind openai --async --input-data there.json", "--service-kind openai needs --endpoint PATH"),
        ("-m m --service-kind openai --endpoint x --input-data there.json", "--service-kind openai needs --async"),
        ("-m m --service-kind openai --async --endpoint x --input-data there.json -b 2", "-b 2: --service-kind openai"),
        (
            "-m m --service-kind openai --async --endpoint x --input-data there.json --collect-metrics",
            "--collect-metrics needs --service-kind triton",
        ),
    ] {
        refused(&context, args, 3, &[words]);
    }
}

#[test]
fn what_has_no_effect_is_said() {
    let context = TestContext::new();
    for (args, words) in [
        // As a command that is passed around has it.
        ("--endpoint v1/chat/completions", "--endpoint has no effect"),
        ("--verbose-csv", "--verbose-csv has no effect"),
        ("-s 999", "--stability-percentage has no effect: --request-count measures by a count"),
        ("-p 200 -r 4", "--measurement-interval has no effect"),
        ("-p 200 -r 4", "--max-trials has no effect"),
        ("--measurement-request-count 9", "--measurement-request-count has no effect"),
        ("--request-distribution poisson", "--request-distribution has no effect"),
        ("--output-shared-memory-size 5", "--output-shared-memory-size has no effect"),
        ("-i grpc --input-tensor-format json", "--input-tensor-format has no effect"),
        ("--string-data a --string-length 3", "--string-length has no effect"),
        ("--ssl-https-verify-peer 0", "--ssl-https-verify-peer has no effect"),
    ] {
        let run = run(&context, &format!("-m add_sub --request-count 2 {args}")).expect(0);
        assert!(run.stderr.contains(words), "{args}: {}", run.stderr);
    }
}

#[test]
fn the_key_in_this_programs_variable_reaches_the_server_unless_a_header_has_one() {
    let context = TestContext::new();
    for (args, expected) in
        [("", "authorization: bearer sk-1\r\n"), (" -H Authorization:Other", "authorization: other\r\n")]
    {
        let tap = Tap::before(context.addr());
        let address = tap.url().replace("http://", "");
        let args = format!("perf-analyzer -u {address} -m add_sub --request-count 2{args}");
        let mut command = context.bare(&args);
        command.env("STREAMGAUGE_API_KEY", "sk-1").env("OPENAI_API_KEY", "sk-2");
        context.run(command).expect(0);
        let heads: Vec<String> = tap.exchanges().iter().map(|exchange| exchange.head.to_lowercase()).collect();
        assert!(!heads.is_empty() && heads.iter().all(|head| head.contains(expected)), "{heads:?}");
    }
}
