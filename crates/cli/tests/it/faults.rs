//! What servers, networks and systems do to a run, and what its records and its table make of it.

use crate::context::{Run, TestContext, wait_until};
use serde_json::{Value, json};
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;
use streamgauge_prompt::Tokenizer;
use streamgauge_sim::{Service, Sim, SimConfig};

const SMALL: &str = "--streaming --isl 10 --osl 6 --no-probe";

/// Stages and classes of the failed requests.
fn failures(run: &Run) -> Vec<(String, String)> {
    let name = |record: &Value, key: &str| record[key].as_str().unwrap().to_owned();
    run.records().ended("failed").into_iter().map(|failed| (name(failed, "stage"), name(failed, "class"))).collect()
}

fn failed_as(stage: &str, class: &str, count: usize) -> Vec<(String, String)> {
    vec![(stage.to_owned(), class.to_owned()); count]
}

/// A server that takes connections, keeps them, and neither reads nor writes.
fn silent() -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    // It lives as long as the process; nothing comes to it once the test is over.
    let thread = std::thread::spawn(move || {
        let _kept: Vec<TcpStream> = listener.incoming().map(Result::unwrap).collect();
    });
    (url, thread)
}

#[test]
fn every_fault_of_an_answer_has_its_place_and_class() {
    // Generous to answers that come on a busy machine; those that stall do so side by side.
    let limits = "--concurrency 4 --first-byte-timeout 1s --idle-timeout 1s";
    for (fault, stage, class, more) in [
        ("status=429", "body", "status", ""),
        ("status=503", "body", "status", ""),
        ("reset-stream", "body", "reset", ""),
        ("truncate", "body", "truncated", ""),
        ("malformed", "body", "malformed", ""),
        ("error-event", "body", "in_band", ""),
        ("stall-first=100s", "first_byte", "timeout", limits),
        ("stall-stream=100s", "body", "timeout", limits),
    ] {
        for streaming in ["--streaming", ""] {
            // Of a stream a chunk that cannot be read is passed over.
            if fault == "malformed" && !streaming.is_empty() {
                continue;
            }
            let context = TestContext::faulty(&[&format!("{fault}:every=3")]);
            let args = format!("{streaming} --isl 10 --osl 6 --no-probe --request-count 12 {more}");
            let run = context.profile(&args).expect(0);
            assert_eq!(failures(&run), failed_as(stage, class, 4), "{fault} {streaming}");
            assert_eq!(run.records().ended("ok").len(), 8, "{fault} {streaming}");
            assert_eq!(run.summary()["requests"]["failed"], 4);
            assert!(run.stdout.contains("4 x ") && run.stdout.contains("Requests: 8 ok, 4 failed"), "{}", run.stdout);
            if more.is_empty() {
                assert!(run.records().ended("failed").iter().all(|record| record["seq"].as_u64().unwrap() % 3 == 2));
            }
            crate::figures::verify(&run);
            crate::report::comes_out_again(&context, &run);
        }
    }
}

#[test]
fn faults_that_spoil_no_answer_fail_none() {
    for fault in [
        "slow-headers=1ms",
        "split-writes",
        "close-after=2",
        "bad-usage=zero",
        "bad-usage=3",
        "multi-token=4",
        "ignore-length",
    ] {
        let context = TestContext::faulty(&[fault]);
        let run = context.profile(&format!("{SMALL} --request-count 12")).expect(0);
        let requests = &run.summary()["requests"];
        assert_eq!((&requests["ok"], &requests["failed"]), (&json!(12), &json!(0)), "{fault}");
        crate::figures::verify(&run);
    }
}

#[test]
fn an_answer_with_a_missing_output_fails() {
    for (args, message) in [
        (
            "--endpoint-type embeddings --batch-size-text 3 --isl 10",
            "the answer holds 2 of the 3 outputs that the request asks for",
        ),
        (
            "--endpoint-type completions --batch-size-text 2 --isl 10 --osl 4",
            "the answer holds 1 of the 2 outputs that the request asks for",
        ),
        (
            "--endpoint-type completions --batch-size-text 2 --streaming --isl 10 --osl 4",
            "the answer holds 1 of the 2 outputs that the request asks for",
        ),
        ("--endpoint-type embeddings --isl 10", "the answer holds no output (0 tokens by the server's count)"),
    ] {
        let context = TestContext::faulty(&["missing-output:every=3"]);
        let run = context.profile(&format!("-m sim-model --no-probe {args} --request-count 12")).expect(0);
        let requests = &run.summary()["requests"];
        assert_eq!((&requests["ok"], &requests["failed"]), (&json!(8), &json!(4)), "{args}");
        let records = run.records();
        let failed = records.ended("failed");
        assert!(failed.iter().all(|record| record["message"] == message), "{failed:?}");
        crate::report::comes_out_again(&context, &run);
    }
}

#[test]
fn a_chunk_that_cannot_be_read_is_a_row_and_no_failure() {
    let context = TestContext::faulty(&["malformed:every=3"]);
    let run = context.profile(&format!("{SMALL} --request-count 12")).expect(0);
    let requests = &run.summary()["requests"];
    assert_eq!((&requests["ok"], &requests["failed"]), (&json!(12), &json!(0)));
    let row = run.fidelity_row("unreadable").unwrap();
    assert_eq!(
        (&row["grade"], &row["value"]),
        (&json!("degraded"), &json!("4 may have contained output, 0 others, in 4 of 12 successful requests"))
    );
    crate::figures::verify(&run);
    crate::report::comes_out_again(&context, &run);
}

#[test]
fn a_connection_that_was_closed_while_no_request_was_due_is_replaced_before_use() {
    let context = TestContext::faulty(&["close-idle=50ms"]);
    let args = format!("{SMALL} -m sim-model --request-rate 5 --concurrency 1 --request-count 8");
    let run = context.profile(&args).expect(0);
    let requests = &run.summary()["requests"];
    assert_eq!((&requests["ok"], &requests["failed"], &requests["retried"]), (&json!(8), &json!(0), &json!(0)));
    assert!(run.records().run["connections_replaced"].as_u64().unwrap() > 0);
    crate::figures::verify(&run);
}

#[test]
fn a_reset_before_the_answer_costs_a_retry_on_a_kept_connection_and_the_request_on_a_new_one() {
    let context = TestContext::faulty(&["reset-headers:every=5"]);
    let run = context.profile(&format!("{SMALL} --request-count 12")).expect(0);
    let requests = &run.summary()["requests"];
    // Of the server's fourteen requests the fifth and the tenth are reset and come again.
    // A loss that a busy machine notices late is no race of a closing connection any more, and fails.
    let count = |name: &str| requests[name].as_u64().unwrap();
    assert_eq!((count("ok") + count("failed"), count("failed") + count("retried")), (12, 2));
    if count("retried") > 0 {
        assert_eq!(run.fidelity_row("connections").unwrap()["grade"], "degraded");
    }
    let context = TestContext::faulty(&["reset-headers"]);
    let run = context.profile(&format!("{SMALL} --request-count 4")).expect(1);
    assert_eq!(failures(&run), failed_as("first_byte", "reset", 4));
}

#[test]
fn places_before_an_answer_are_told_apart() {
    let context = TestContext::new();
    let closed = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let plain = context.url().replace("http://", "https://");
    for (url, stage, class) in [
        (format!("http://{closed}"), "connect", "refused"),
        (plain.clone(), "tls", "tls"),
        (format!("{plain} --insecure"), "tls", "tls"),
    ] {
        let (url, more) = url.split_once(' ').unwrap_or((&url, ""));
        let args = format!("{SMALL} {more} -m any --request-count 3 --artifact-dir of-{stage}");
        let run = context.run(context.command_to(url, &args)).expect(1);
        assert!(run.stdout.contains("Requests: 0 ok, 3 failed"), "{}", run.stdout);
        let dir = context.path().join(format!("of-{stage}/any-openai-chat-concurrency1"));
        let text = fs::read_to_string(dir.join("records.jsonl")).unwrap();
        let records = crate::context::Records::read(&text);
        for record in records.ended("failed") {
            assert_eq!((&record["stage"], &record["class"]), (&json!(stage), &json!(class)), "{url}");
            assert!(record["sent_ns"].is_null());
        }
    }
}

#[test]
fn a_server_that_takes_connections_and_never_answers_is_a_timeout() {
    let context = TestContext::new();
    let (url, _server) = silent();
    let args = "--streaming --isl 10 --osl 6 -m any --first-byte-timeout 200ms --request-count 3";
    let run = context.run(context.command_to(&url, &format!("{args} --no-probe"))).expect(1);
    assert_eq!(failures(&run), failed_as("first_byte", "timeout", 3));
    assert!(run.records().ended("failed").iter().all(|record| record["sent_ns"].is_i64()));
    assert!(run.stdout.contains("timeout (first byte)"), "{}", run.stdout);
    let probed = context.run(context.command_to(&url, args)).expect(1);
    assert!(probed.stderr.contains("the test request to"), "{probed:?}");
    assert!(probed.stderr.contains("the answer's first byte took longer than"), "{probed:?}");
}

#[test]
fn a_server_that_does_not_read_a_long_request_is_a_timeout() {
    let context = TestContext::new();
    let (url, _server) = silent();
    // More bytes than the buffers of both sockets hold, so that the request is never written whole.
    let args = "--streaming --no-probe --isl 2500000 --num-prompts 1 -m any --request-count 1 --first-byte-timeout 1s";
    let run = context.run(context.command_to(&url, args)).expect(1);
    assert!(run.bodies()[0].to_string().len() > 11_000_000);
    assert_eq!(failures(&run), failed_as("send", "timeout", 1));
    let long = context.run(context.command_to(&url, &args.replace("--first-byte-timeout", "--request-timeout")));
    assert_eq!(failures(&long.expect(1)), failed_as("send", "timeout", 1));
}

#[test]
fn a_server_that_dies_and_comes_back_is_measured_again() {
    for (load, name) in
        [("--concurrency 2", "concurrency2"), ("--request-rate 40 --arrival-pattern constant", "request_rate40.0")]
    {
        dies_and_comes_back(load, name);
    }
}

fn dies_and_comes_back(load: &str, name: &str) {
    let context = TestContext::new();
    let start = |addr: std::net::SocketAddr| {
        let mut config = SimConfig::new(Tokenizer::embedded());
        config.service = Service { ttft: streamgauge_core::Nanos::from_millis(5), ..Service::default() };
        Sim::start(config, addr).unwrap()
    };
    let first = start(([127, 0, 0, 1], 0).into());
    let addr = first.addr();
    let running = context.start_bare(&format!(
        "profile --url {} --ui none --streaming --isl 10 --osl 6 {load} --benchmark-duration 10m",
        first.url()
    ));
    wait_until("answers", || first.log().len() > 10);
    #[cfg(target_os = "linux")]
    let sockets = running.sockets();
    first.stop().unwrap();
    let records = context.path().join(format!("artifacts/sim-model-openai-chat-{name}/.records.jsonl.partial"));
    wait_until("refusals", || fs::read_to_string(&records).is_ok_and(|text| text.contains("\"refused\"")));
    let second = start(addr);
    wait_until("answers again", || second.log().len() > 20);
    #[cfg(target_os = "linux")]
    if load.starts_with("--concurrency") {
        // A connection a stream, as before.
        assert_eq!(running.sockets(), sockets);
    }
    running.interrupt();
    let run = running.wait().expect(130);
    assert!(run.summary()["run"]["ended_early"].is_null());
    let (records, failed) = (run.records(), failures(&run));
    // What was in flight broke, what came then found nobody.
    let known = ["reset", "truncated", "refused"];
    assert!(!failed.is_empty() && failed.iter().all(|(_, class)| known.contains(&class.as_str())), "{failed:?}");
    assert!(failed.iter().any(|(stage, class)| stage == "connect" && class == "refused"));
    let seq = |record: &Value| record["seq"].as_u64().unwrap();
    let last_failed = records.ended("failed").into_iter().map(seq).max().unwrap();
    let (before, after): (Vec<u64>, Vec<u64>) =
        records.ended("ok").into_iter().map(seq).partition(|&seq| seq < last_failed);
    assert!(before.len() >= 9 && after.len() >= 9, "{before:?} {after:?}");
    assert_eq!(run.summary()["requests"]["failed"], failed.len());
    // None is missing between the first and the last.
    let mut all: Vec<u64> = records.all.iter().map(seq).collect();
    all.sort_unstable();
    assert_eq!(all, (0..all.len() as u64).collect::<Vec<_>>());
    // The schedule went on as if nothing had happened.
    let dues = records.all.iter().filter_map(|record| Some((seq(record), record["due_ns"].as_i64()?)));
    let dues: std::collections::BTreeMap<u64, i64> = dues.collect();
    assert_eq!(dues.len(), if load.starts_with("--concurrency") { 0 } else { all.len() });
    assert!(dues.iter().all(|(seq, due)| (due - dues[&0] - *seq as i64 * 25_000_000).abs() <= 1), "{dues:?}");
    crate::figures::verify(&run);
    crate::report::comes_out_again(&context, &run);
}

#[test]
fn a_name_with_an_address_that_is_down_is_no_obstacle() {
    // The server has one address of the name; where the name has another, nobody listens there.
    let context = TestContext::new();
    let url = format!("http://localhost:{}", context.addr().port());
    let run = context.run(context.command_to(&url, &format!("{SMALL} --concurrency 3"))).expect(0);
    assert_eq!(run.summary()["requests"]["failed"], 0);
}

#[test]
#[cfg(target_os = "linux")]
fn running_out_of_descriptors_is_a_failure_of_this_machine() {
    let context = TestContext::new();
    let profile = |shell: &str, concurrency: u32, count: u32| {
        let url = context.url();
        let load = format!("--threads 1 --concurrency {concurrency} --request-count {count}");
        context.run(context.prepared(shell, &format!("profile --url {url} --ui none {SMALL} {load}")))
    };
    // Too few for what was asked: said before anything is sent. 29 are for the program and its load thread.
    let refused = profile("ulimit -n 45", 30, 90).expect(2);
    let said = "raise the limit to 59 or more (ulimit -n 59) or give at most 16";
    assert!(refused.stderr.contains("--concurrency 30: ") && refused.stderr.contains(said), "{}", refused.stderr);
    assert!(context.requests().is_empty());
    // Enough by the system's word, but others have taken most of them.
    let run = profile("ulimit -n 100; for i in {1..70}; do exec {held}</dev/null; done", 30, 90).expect(0);
    let failed = failures(&run);
    assert!(!failed.is_empty(), "{}", run.stdout);
    assert_eq!(failed, failed_as("connect", "exhausted", failed.len()));
    assert_eq!(run.records().ended("ok").len() + failed.len(), 90);
    assert!(run.stdout.contains("no port or descriptor left here (connect)"), "{}", run.stdout);
    crate::figures::verify(&run);
    crate::report::comes_out_again(&context, &run);
}

#[test]
#[cfg(target_os = "linux")]
fn a_simulated_server_takes_as_many_descriptors_again() {
    let simulated = |streams: u32, code: i32| {
        let context = TestContext::new();
        let args = format!("profile --sim --ui none {SMALL} --threads 1 --concurrency {streams} --request-count 80");
        let run = context.run(context.prepared("ulimit -n 100", &args)).expect(code);
        (run.stderr.clone(), (code == 0).then(|| run.records().ended("ok").len()))
    };
    let (refused, _) = simulated(33, 2);
    assert!(
        refused.contains("takes 2, the simulated server's included;") && refused.contains("at most 32"),
        "{refused}"
    );
    assert_eq!(simulated(32, 0).1, Some(80));
}

#[test]
fn a_request_to_terminate_is_ctrl_c() {
    let context = TestContext::faulty(&["stall-stream=1000s:every=8"]);
    let running = context.start(&format!("{SMALL} --benchmark-duration 10m --grace-period 1h"));
    wait_until("answers", || context.requests().len() == 7);
    running.terminate();
    // It drains: a signal is not the end of what is in flight, a second one is.
    let run = running.interrupt_until_it_ends().expect(130);
    assert!(run.stderr.contains("interrupted: waiting up to 3600 s"), "{}", run.stderr);
    assert_eq!((run.records().ended("ok").len(), run.records().ended("cut_off").len()), (7, 1));
    crate::report::comes_out_again(&context, &run);
    let context = TestContext::new();
    let running = context.start(&format!("{SMALL} --concurrency 2 --benchmark-duration 10m"));
    wait_until("answers", || context.requests().len() > 10);
    running.terminate();
    let run = running.wait().expect(130);
    let summary = run.summary();
    assert_eq!((&summary["run"]["interrupted"], &summary["requests"]["cut_off"]), (&json!(true), &json!(0)));
    assert!(run.stdout.contains("Artifacts: "));
    crate::figures::verify(&run);
    crate::report::comes_out_again(&context, &run);
}
