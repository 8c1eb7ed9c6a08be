//! Files of prompts that are longer than what is kept in memory: they are read while the load goes on.

use crate::context::{Run, TestContext};
use serde_json::Value;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

/// A file of conversations of one turn. Each line has `bytes` bytes of a member that is added to the body, and a text with its number.
fn write(path: &Path, lines: usize, bytes: usize, broken: Option<usize>) {
    let mut file = BufWriter::new(File::create(path).unwrap());
    let padding = "x".repeat(bytes);
    for number in 0..lines {
        match broken {
            Some(line) if line == number => writeln!(file, r#"{{"text": 5, "user": "{padding}"}}"#).unwrap(),
            _ => writeln!(file, r#"{{"text": "question {number}", "output_length": 2, "user": "{padding}"}}"#).unwrap(),
        }
    }
    file.flush().unwrap();
}

fn texts(bodies: &[Value]) -> Vec<String> {
    bodies.iter().map(|body| body["messages"][0]["content"].as_str().unwrap().to_owned()).collect()
}

fn questions(numbers: impl Iterator<Item = usize>) -> Vec<String> {
    numbers.map(|number| format!("question {number}")).collect()
}

/// The number and the prompt of each measured request.
fn prompts(run: &Run) -> Vec<(u64, u64)> {
    let number = |record: &Value, key: &str| record[key].as_u64().unwrap();
    let records = run.records();
    records.in_order("profiling").iter().map(|record| (number(record, "seq"), number(record, "prompt"))).collect()
}

#[cfg(target_os = "linux")]
#[test]
fn memory_does_not_grow_with_the_file() {
    let context = TestContext::new();
    write(&context.path().join("long.jsonl"), 2_000, 100_000, None);
    let args = "--input-file long.jsonl --concurrency 2 --request-count 600 --warmup-request-count 5";
    let (run, most) = context.start(args).wait_and_weigh();
    let run = run.expect(0);
    assert!((1 << 20..300 << 20).contains(&most), "{} MB", most >> 20);
    assert_eq!(prompts(&run), (0..600).map(|number| (number, number)).collect::<Vec<_>>());
    let bodies = run.bodies();
    assert!((600..2_000).contains(&bodies.len()), "{} were prepared", bodies.len());
    assert_eq!(texts(&bodies), questions(0..bodies.len()));
    assert!(run.fidelity_row("prompt_waits").is_some());
    let export = run.json("profile_export.json");
    let requests = export["experiments"][0]["requests"].as_array().unwrap();
    let payload = |request: &Value| request["request_inputs"]["payload"].as_str().unwrap().to_owned();
    let mut sent: Vec<Value> =
        requests.iter().map(|request| serde_json::from_str(&payload(request)).unwrap()).collect();
    assert_eq!(sent.len(), 600);
    sent.sort_by_key(|body| bodies.iter().position(|listed| listed == body));
    assert_eq!(texts(&sent), questions(0..600), "the export shows what each request sent");
}

#[test]
fn a_short_file_is_prepared_before_load_and_goes_round() {
    let context = TestContext::new();
    write(&context.path().join("short.jsonl"), 3, 10, None);
    let run = context.profile("--input-file short.jsonl --concurrency 2 --request-count 8").expect(0);
    assert_eq!(prompts(&run), (0..8).map(|number| (number, number % 3)).collect::<Vec<_>>());
    assert_eq!(texts(&run.bodies()), questions(0..3));
    assert!(run.fidelity_row("prompt_waits").is_none());
}

#[test]
fn a_long_file_goes_round_too() {
    let context = TestContext::new();
    write(&context.path().join("long.jsonl"), 40, 1_000_000, None);
    let run = context.profile("--input-file long.jsonl --concurrency 1 --request-count 50").expect(0);
    assert_eq!(prompts(&run), (0..50).map(|number| (number, number % 40)).collect::<Vec<_>>());
    assert_eq!(texts(&run.bodies()), questions(0..40));
}

#[test]
fn a_row_that_cannot_be_read_during_the_load_ends_the_run_and_loses_nothing() {
    let context = TestContext::new();
    write(&context.path().join("long.jsonl"), 40, 1_000_000, Some(37));
    let run = context.profile("--input-file long.jsonl --concurrency 2 --request-count 50").expect(1);
    assert_eq!(prompts(&run), (0..37).map(|number| (number, number)).collect::<Vec<_>>());
    let ended = run.fidelity_row("ended_early").unwrap()["value"].as_str().unwrap().to_owned();
    assert!(ended.contains("long.jsonl") && ended.contains("line 38"), "{ended}");
    assert_eq!(run.summary()["request_count"]["avg"], 37.0);
}

#[test]
fn a_row_that_cannot_be_read_before_load_stops_the_run() {
    let context = TestContext::new();
    write(&context.path().join("long.jsonl"), 40, 1_000_000, Some(2));
    let run = context.profile("--input-file long.jsonl --concurrency 2 --request-count 50").expect(2);
    assert!(run.stderr.contains("long.jsonl") && run.stderr.contains("line 3"), "{}", run.stderr);
    assert_eq!(context.requests().len(), 0);
}
