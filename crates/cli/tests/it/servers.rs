//! Several servers and connections that do not last, through the real binary.

use crate::context::{Run, TestContext, nanos};
use crate::script::{Peer, serve};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};
use std::net::TcpListener;
use streamgauge_core::clock::Nanos;

const SMALL: &str = "--streaming --isl 10 --osl 2";

/// A run against these servers, the first of which is asked before load.
fn profile(context: &TestContext, urls: &[&str], args: &str) -> Run {
    context.run(context.bare(&format!("profile --ui none {SMALL} {args} --url {}", urls.join(" "))))
}

/// The measured requests' servers by their numbers; the first need not be said.
fn targets(run: &Run) -> Vec<u64> {
    let records = run.records();
    let target = |record: &&Value| record.get("target").map_or(0, |target| target.as_u64().unwrap());
    records.in_order("profiling").iter().map(target).collect()
}

/// What the summary says of each server: its requests, and those that came whole and failed.
fn counts(run: &Run) -> Vec<(String, [u64; 3])> {
    let summary = run.summary();
    let targets = summary["targets"].as_array().unwrap().clone();
    let of = |target: &Value| {
        let count = |name: &str| target[name].as_u64().unwrap();
        (target["url"].as_str().unwrap().to_owned(), [count("measured"), count("ok"), count("failed")])
    };
    targets.iter().map(of).collect()
}

/// An address where nobody listens.
fn nobody() -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[test]
fn servers_take_turns_by_the_requests_numbers() {
    let (one, other) = (TestContext::new(), TestContext::new());
    let args = "--concurrency 3 --request-count 20 --threads 2 --url-strategy round_robin";
    let run = profile(&one, &[&one.url(), &other.url()], args).expect(0);
    assert_eq!(targets(&run), (0..20).map(|seq| seq % 2).collect::<Vec<u64>>());
    assert_eq!((one.requests().len(), other.requests().len()), (1 + 10, 10), "the probe goes to the first");
    assert_eq!(counts(&run), [(one.url(), [10, 10, 0]), (other.url(), [10, 10, 0])]);
    for context in [&one, &other] {
        let told = format!("\n  {}: 10 requests, 10 ok, 0 failed\n", context.url());
        assert!(run.stdout.contains(&told), "{}", run.stdout);
    }
    // Each slot keeps a connection to each.
    assert_eq!(run.records().run["connections_opened"], 6);
    let connections = |context: &TestContext| -> HashSet<u64> {
        context.requests().iter().map(|request| request.connection).collect()
    };
    assert!(connections(&one).len() <= 4 && connections(&other).len() <= 3);
}

#[test]
fn one_server_is_told_of_as_ever() {
    let context = TestContext::new();
    let run = profile(&context, &[&context.url()], "").expect(0);
    assert_eq!(run.summary().get("targets"), None);
    assert!(!run.stdout.contains(&context.url()), "{}", run.stdout);
}

#[test]
fn what_is_told_of_servers_comes_out_of_the_records_again() {
    let (one, other) = (TestContext::new(), TestContext::new());
    let args = "--request-count 9 --connections rotate:2 --request-cancellation-rate 40";
    let run = profile(&one, &[&one.url(), &other.url()], args).expect(0);
    crate::report::comes_out_again(&one, &run);
}

#[test]
fn a_server_that_hangs_draws_no_more_than_the_others_have() {
    let context = TestContext::new();
    let stuck = serve(|peer: &mut Peer| {
        if peer.request().is_some() {
            peer.hang();
        }
    });
    let args =
        "--url-strategy least_in_flight --concurrency 2 --request-count 30 --first-byte-timeout 3s --threads 1 -v";
    let stuck_url = format!("http://{}", stuck.addr());
    let run = profile(&context, &[&context.url(), &stuck_url], args).expect(0);
    let records = run.records();
    assert_eq!(records.header["plan"]["endpoint"]["balance"], "least_in_flight");
    let told = format!(
        "\n  servers: {}, {stuck_url}, each request goes to the one with the fewest in flight\n",
        context.url()
    );
    assert!(run.stderr.contains(&told), "{}", run.stderr);
    // While one request hangs there, the other slot's go to the server that answers.
    let hung: Vec<(i64, i64)> = records
        .ended("failed")
        .iter()
        .map(|record| {
            assert_eq!(record["target"], 1, "{record}");
            (nanos(record, "sent_ns"), nanos(record, "end_ns"))
        })
        .collect();
    assert!(hung.len() < 15, "half of them is what taking turns would come to");
    let meanwhile = |record: &&&Value| hung.iter().any(|(from, to)| (from..to).contains(&&nanos(record, "sent_ns")));
    assert!(records.ended("ok").iter().filter(meanwhile).count() >= 15);
    assert!(records.ended("ok").iter().all(|record| record.get("target").is_none()));
}

#[test]
fn a_server_that_is_down_fails_its_own_requests_and_no_others() {
    let (context, down) = (TestContext::new(), nobody());
    let run = profile(&context, &[&context.url(), &down], "--request-count 12 --concurrency 2");
    assert_eq!(targets(&run), (0..12).map(|seq| seq % 2).collect::<Vec<u64>>());
    assert_eq!(counts(&run), [(context.url(), [6, 6, 0]), (down.clone(), [6, 0, 6])]);
    for record in run.records().ended("failed") {
        assert_eq!((&record["target"], &record["stage"]), (&json!(1), &json!("connect")));
        assert_eq!(record.get("sent_ns"), None);
    }
    let told = format!("\n  {down}: 6 requests, 0 ok, 6 failed\n");
    assert!(run.stdout.contains(&told), "{}", run.stdout);
    assert_eq!(run.records().run["ended_early"], Value::Null, "the other still answers");
    assert_eq!(run.code, Some(0), "figures there are: {}", run.stdout);
    assert_eq!(run.summary()["fidelity"]["verdict"], "invalid");
}

#[test]
fn the_first_of_the_servers_must_be_there_before_load() {
    let (context, down) = (TestContext::new(), nobody());
    let run = profile(&context, &[&down, &context.url()], "-m sim-model").expect(1);
    assert!(run.stderr.contains(&format!("the test request to {down}/v1/chat/completions failed")), "{}", run.stderr);
    assert!(context.requests().is_empty());
    let args = "-m sim-model --no-probe --url-strategy least_in_flight --request-count 12";
    let run = profile(&context, &[&down, &context.url()], args);
    assert!(run.records().ended("ok").len() >= 6, "{}", run.stdout);
    assert!(run.records().ended("ok").iter().all(|record| record["target"] == 1));
}

#[test]
fn connections_last_as_long_as_their_policy_has_it() {
    for (policy, requests) in [("new", 1), ("rotate:3", 3), ("never", 1)] {
        let context = TestContext::new();
        let args = format!("--no-probe --concurrency 1 --request-count 12 --connections {policy}");
        let run = profile(&context, &[&context.url()], &args).expect(0);
        let mut each: BTreeMap<u64, usize> = BTreeMap::new();
        for request in context.requests() {
            *each.entry(request.connection).or_default() += 1;
        }
        assert_eq!(each.into_values().collect::<Vec<_>>(), vec![requests; 12 / requests], "{policy}");
        let records = run.records();
        assert_eq!(records.run["connections_opened"], 12 / requests);
        assert_eq!(records.run["connections_replaced"], 0, "they were given back, not lost");
        // The first was opened ahead of load; each later one by the request that needed it.
        let opened = records.in_order("profiling").into_iter().filter(|record| record.get("connect_ns").is_some());
        let opened: Vec<u64> = opened.map(|record| record["seq"].as_u64().unwrap()).collect();
        assert_eq!(opened, (1..12 / requests as u64).map(|n| n * requests as u64).collect::<Vec<_>>());
        for record in records.of_phase("profiling") {
            let connect = record["connect_ns"].as_i64().unwrap_or(0);
            assert!(nanos(record, "sent_ns") - nanos(record, "issued_ns") >= connect, "opened before it was sent");
        }
    }
}

#[test]
fn connections_are_kept_unless_told_otherwise() {
    let context = TestContext::new();
    for policy in ["", "--connections reuse", "--connection-reuse-strategy pooled"] {
        let run =
            profile(&context, &[&context.url()], &format!("--concurrency 2 --request-count 20 {policy}")).expect(0);
        assert_eq!(run.records().run["connections_opened"], 2);
        assert!(run.records().all.iter().all(|record| record.get("connect_ns").is_none()));
    }
}

/// What is foretold needs the system's own numbers, which only Linux tells.
#[test]
#[cfg(target_os = "linux")]
fn a_plan_that_would_use_up_the_ports_is_told_of_before_load() {
    let context = TestContext::new();
    // A loopback's ports come back after a second: no range has this many of them. The run itself is over at once.
    let huge = "--connections new --request-rate 100000 --request-count 1000000 --concurrency 2";
    // What is foretold is of the plan; the probe that fails keeps it from being carried out.
    let gone = nobody();
    let run = profile(&context, &[&gone], &format!("-m sim-model {huge}")).expect(1);
    let (note, failed) =
        (run.stderr.find("note: --connections new, 100000.0 requests/s"), run.stderr.find("the test request to"));
    assert!(note.is_some() && failed.is_some() && note < failed, "{}", run.stderr);
    for words in
        ["a port is in use for", "was closed", "--connections reuse, or rotate:N with N of", "ip_local_port_range"]
    {
        assert!(run.stderr.contains(words), "{words}: {}", run.stderr);
    }
    for few in [
        "--connections reuse --request-rate 100000 --request-count 1000000",
        "--connections new --request-rate 100 --request-count 1000",
    ] {
        let run = profile(&context, &[&gone], &format!("-m sim-model --concurrency 2 {few}")).expect(1);
        assert!(!run.stderr.contains("a port is in use"), "{}", run.stderr);
    }
}

#[test]
fn servers_that_make_no_sense_are_refused() {
    let context = TestContext::new();
    for (urls, words) in [
        (&["http://a:1", "http://a:1"][..], "--url http://a:1: given twice"),
        (
            &["http://a:1/x", "http://a:2/y"],
            "--url http://a:2/y: its path is /y/v1/chat/completions, and that of the first",
        ),
        (&["http://a:1", "ftp://b"], "--url ftp://b: the scheme `ftp` is not known"),
    ] {
        let run = profile(&context, urls, "").expect(2);
        assert!(run.stderr.contains(words), "{}", run.stderr);
    }
    for policy in ["rotate:0", "rotate", "often"] {
        let run = profile(&context, &[&context.url()], &format!("--connections {policy}")).expect(2);
        assert!(
            run.stderr.contains("--connections") && run.stderr.contains("rotate:N with N from 1"),
            "{}",
            run.stderr
        );
    }
}

#[test]
fn a_warm_up_and_levels_go_to_all_servers() {
    let (one, other) = (TestContext::new(), TestContext::with(|config| config.service.ttft = Nanos::from_millis(6)));
    let args = "--concurrency 1,2 --repeat 2 --request-count 8 --warmup-request-count 4";
    profile(&one, &[&one.url(), &other.url()], args).expect(0);
    assert_eq!((one.requests().len(), other.requests().len()), (1 + 4 * 6, 4 * 6));
}
