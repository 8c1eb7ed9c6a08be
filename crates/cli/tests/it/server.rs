//! The simulated server as a process of its own.

use crate::context::{TestContext, wait_until};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

#[test]
fn it_says_where_it_is_serves_and_ends_on_request() {
    let context = TestContext::new();
    let log = context.path().join("log.jsonl");
    let args = "sim --port 0 -m one --ttft 2ms --itl 1 --fault status=503:every=4 --log log.jsonl --gpus 2";
    let mut running = context.start_bare(args);
    let mut said = String::new();
    BufReader::new(running.stdout()).read_line(&mut said).unwrap();
    let url = said.split_whitespace().find(|word| word.starts_with("http://")).unwrap().to_owned();
    assert!(said.contains("models: one"), "{said}");
    let run = context.run(context.command_to(&url, "--no-probe --streaming --request-count 12 --isl 10 --osl 3"));
    let summary = run.expect(0).summary();
    assert_eq!((&summary["requests"]["ok"], &summary["requests"]["failed"]), (&9.into(), &3.into()));
    let mut metrics = TcpStream::connect(url.trim_start_matches("http://")).unwrap();
    metrics.write_all(b"GET /metrics HTTP/1.1\r\nHost: sim\r\nConnection: close\r\n\r\n").unwrap();
    let mut page = String::new();
    metrics.read_to_string(&mut page).unwrap();
    assert_eq!(page.matches("\nnv_gpu_utilization{").count(), 2, "{page}");
    running.interrupt();
    assert_eq!(running.wait().code, Some(0));
    let lines: Vec<Value> =
        fs::read_to_string(&log).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 12);
    assert_eq!(lines.iter().filter(|line| line["status"] == 503).count(), 3);
}

#[test]
fn an_address_that_is_taken_is_said() {
    let context = TestContext::new();
    let run = context.run(context.bare(&format!("sim --port {}", context.addr().port()))).expect(1);
    assert!(run.stderr.contains(&format!("cannot listen on {}", context.addr())), "{}", run.stderr);
}

#[test]
fn a_log_that_cannot_be_made_is_not_taken_for_the_address() {
    let context = TestContext::new();
    let run = context.run(context.bare("sim --port 0 --log no/such/log.jsonl")).expect(1);
    assert!(run.stderr.contains("the log file cannot be made: No such"), "{}", run.stderr);
    assert!(!run.stderr.contains("listen"), "{}", run.stderr);
}

#[test]
fn nonsense_is_refused_with_the_flag_and_what_is_accepted() {
    let context = TestContext::new();
    for (args, words) in [
        ("--port 99999", &["--port", "from 0 to 65535"][..]),
        ("--max-batch 0", &["--max-batch", "from 1"]),
        ("--ttft soon", &["--ttft", "milliseconds"]),
        ("--itl -1", &["--itl", "milliseconds"]),
        ("--early-stop 2", &["--early-stop", "from 0 to 1"]),
        ("--fault explode", &["--fault", "explode", "truncate"]),
        ("--fault status", &["--fault", "status"]),
        ("--tokenizer no/such", &["--tokenizer no/such", "cl100k_base"]),
    ] {
        let run = context.run(context.bare(&format!("sim {args}"))).expect(2);
        for word in words {
            assert!(run.stderr.contains(word), "{args}: `{word}` is not in: {}", run.stderr);
        }
    }
}

#[test]
fn ipv6_is_spoken_where_the_machine_speaks_it() {
    let context = TestContext::new();
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        return;
    }
    let mut running = context.start_bare("sim --host ::1 --port 0 --ttft 1 --itl 0");
    let mut said = String::new();
    BufReader::new(running.stdout()).read_line(&mut said).unwrap();
    let url = said.split_whitespace().find(|word| word.starts_with("http://[::1]:")).unwrap().to_owned();
    let run = context.run(context.command_to(&url, "--isl 10 --osl 3")).expect(0);
    assert_eq!(run.summary()["input_config"]["endpoint"]["url"], url.strip_prefix("http://").unwrap());
    running.interrupt();
    wait_until("its end", || running.has_ended());
}
