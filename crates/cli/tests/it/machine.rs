//! What the machine that measures does to a run: names with several addresses, disks that fill up, ports that run out, a
//! network that goes away. That takes name spaces of the tests' own, for files and for the network; where the system gives
//! none to this user, the tests say that they were left out.

#![cfg(target_os = "linux")]

use crate::context::{Run, TestContext};
use serde_json::{Value, json};
use std::fs;
use std::process::Command;
use streamgauge_prompt::Tokenizer;
use streamgauge_sim::{Sim, SimConfig};

const HOSTS: &str = "mount --bind hosts /etc/hosts && exec \"$@\"";

/// Whether this user may have a network of their own, with a loopback that can be taken down.
#[allow(clippy::print_stdout, reason = "a test that says that it was left out")]
fn may_network() -> bool {
    let tried = Command::new("unshare").args(["-rmn", "ip", "link", "set", "lo", "up"]).output();
    let may = tried.is_ok_and(|tried| tried.status.success());
    if !may {
        println!("skipped: this system lets this user have no network of their own");
    }
    may
}

/// Whether this user may make mounts that nobody else sees.
#[allow(clippy::print_stdout, reason = "a test that says that it was left out")]
fn may_mount() -> bool {
    let tried = Command::new("unshare").args(["-rm", "mount", "-t", "tmpfs", "none", "/mnt"]).output();
    let may = tried.is_ok_and(|tried| tried.status.success());
    if !may {
        println!("skipped: this system lets this user make no mounts of their own");
    }
    may
}

/// Runs the binary as a script does that may make mounts and finds the command in its arguments.
fn mounted(context: &TestContext, script: &str, args: &str) -> Run {
    scripted(context, "unshare -rm", script, args)
}

/// The same with a network of its own, on which there is nobody but the simulated server in the process.
fn networked(context: &TestContext, script: &str, args: &str) -> Run {
    scripted(context, "unshare -rmn", script, args)
}

fn scripted(context: &TestContext, unshare: &str, script: &str, args: &str) -> Run {
    fs::write(context.path().join("script.sh"), script).unwrap();
    context.run(context.prepared(&format!("exec {unshare} bash script.sh \"$0\" \"$@\""), args))
}

#[test]
fn a_name_with_an_address_that_is_down_is_measured_over_the_others() {
    if !may_mount() {
        return;
    }
    for (up, last) in [1, 2].map(|last| (format!("127.0.0.{last}"), last)) {
        let mut config = SimConfig::new(Tokenizer::embedded());
        config.service = streamgauge_sim::Service::instant();
        let sim = Sim::start(config, ([127, 0, 0, last], 0).into()).unwrap();
        let context = TestContext::new();
        fs::write(context.path().join("hosts"), "127.0.0.1 twice.test\n127.0.0.2 twice.test\n").unwrap();
        let url = format!("http://twice.test:{}", sim.addr().port());
        let args =
            format!("profile --url {url} --ui none --streaming --isl 10 --osl 3 --concurrency 3 --request-count 30");
        let run = mounted(&context, HOSTS, &args).expect(0);
        let requests = &run.summary()["requests"];
        assert_eq!(
            (&requests["ok"], &requests["failed"], &requests["retried"]),
            (&json!(30), &json!(0), &json!(0)),
            "{up}"
        );
        assert_eq!(run.records().run["connections_opened"], 3);
        crate::figures::verify(&run);
        crate::report::comes_out_again(&context, &run);
        // Down as a whole, it is refused.
        sim.stop().unwrap();
        let down = context.path().join("down");
        let args = format!("{args} -m any --no-probe --artifact-dir {}", down.display());
        let run = mounted(&context, HOSTS, &args).expect(1);
        assert!(run.stdout.contains("connection refused (connect), after "), "{}", run.stdout);
    }
}

#[test]
fn a_disk_that_fills_up_costs_records_and_no_figure() {
    if !may_mount() {
        return;
    }
    let context = TestContext::new();
    let args = format!(
        "profile --url {} --ui none --streaming --isl 10 --osl 3 --num-prompts 10 --request-count 400",
        context.url()
    );
    fs::create_dir(context.path().join("artifacts")).unwrap();
    // The mount is gone with the process: what is on it is copied from within.
    let script = "mount -t tmpfs -o size=80k disk artifacts && \"$@\"; code=$?; cp -r artifacts kept; exit $code";
    let run = mounted(&context, script, &args).expect(1);
    assert!(run.stdout.contains("Requests: 400 ok, 0 failed"), "{}", run.stdout);
    assert!(run.stderr.contains("are not complete: No space left on device"), "{}", run.stderr);
    assert!(!run.stdout.contains("Artifacts: "), "{}", run.stdout);
    let dir = "kept/sim-model-openai-chat-concurrency1";
    let written = fs::read_to_string(context.path().join(dir).join(".records.jsonl.partial")).unwrap();
    let whole = written.lines().filter(|line| serde_json::from_str::<Value>(line).is_ok()).count() - 1;
    assert!((1..400).contains(&whole), "{whole}");
    let again = context.run(context.bare(&format!("report {dir} --artifact-dir again"))).expect(0);
    assert!(again.stdout.contains(&format!("Requests: {whole} ok")), "{}", again.stdout);
    assert!(again.stdout.contains("Ended early"), "{}", again.stdout);
}

#[test]
fn running_out_of_ports_is_a_failure_of_this_machine() {
    if !may_network() {
        return;
    }
    let context = TestContext::new();
    let script = "ip link set lo up && echo 20000 20007 >/proc/sys/net/ipv4/ip_local_port_range && exec \"$@\"";
    let args = "profile --sim --ui none --streaming --isl 10 --osl 3 --no-probe --request-rate inf --request-count 60";
    let run = networked(&context, script, args).expect(0);
    let records = run.records();
    let (ok, failed) = (records.ended("ok").len(), records.ended("failed"));
    assert!(ok > 0 && !failed.is_empty() && ok + failed.len() == 60, "{ok} {failed:?}");
    assert!(failed.iter().all(|failed| failed["stage"] == "connect" && failed["class"] == "exhausted"), "{failed:?}");
    let said = format!("{} x no port or descriptor left here (connect), after ", failed.len());
    assert!(run.stdout.contains(&said), "{}", run.stdout);
    crate::figures::verify(&run);
    crate::report::comes_out_again(&context, &run);
}

/// Takes the loopback down once there are answers, and up again once requests have failed for it; ends the run when there are
/// answers again.
const OUTAGE: &str = r#"
ip link set lo up
"$@" &
run=$!
count() { cat artifacts/*/.records.jsonl.partial 2>/dev/null | grep -c "$1"; }
reach() { for _ in {1..600}; do [ "$(count "$1")" -gt "$2" ] && return; sleep 0.1; done; kill -KILL $run; exit 99; }
reach '"outcome":"ok"' 10
ip link set lo down
reach '"class":"timeout"' 0
ip link set lo up
reach '"outcome":"ok"' $(($(count '"outcome":"ok"') + 10))
kill -TERM $run
wait $run
"#;

#[test]
fn a_network_that_goes_away_and_comes_back_costs_what_was_under_way() {
    if !may_network() {
        return;
    }
    let limits = "--first-byte-timeout 1s --idle-timeout 1s --connect-timeout 1s --grace-period 5s";
    for load in ["--concurrency 3", "--request-rate 20 --arrival-pattern constant"] {
        let context = TestContext::new();
        let args =
            format!("profile --sim --ui none --streaming --isl 10 --osl 20 {load} {limits} --benchmark-duration 10m");
        let run = networked(&context, OUTAGE, &args).expect(130);
        let records = run.records();
        let seq = |record: &Value| record["seq"].as_u64().unwrap();
        let failed = records.ended("failed");
        // What was under way got no more bytes and no word of it; what came then found no way.
        let known = ["timeout", "io", "reset", "exhausted"];
        assert!(failed.iter().all(|failed| known.contains(&failed["class"].as_str().unwrap())), "{failed:?}");
        let silent = failed.iter().filter(|failed| failed["class"] == "timeout").map(|failed| seq(failed));
        let silent: Vec<u64> = silent.collect();
        assert!(!silent.is_empty());
        let last = failed.iter().map(|failed| seq(failed)).max().unwrap();
        let ok: Vec<u64> = records.ended("ok").into_iter().map(seq).collect();
        assert!(ok.iter().any(|ok| *ok < silent[0]) && ok.iter().any(|ok| *ok > last), "{ok:?} {silent:?} {last}");
        let mut all: Vec<u64> = records.of_phase("profiling").into_iter().map(seq).collect();
        all.sort_unstable();
        assert_eq!(all, (0..all.len() as u64).collect::<Vec<_>>());
        assert_eq!(run.summary()["requests"]["failed"], failed.len());
        assert!(run.stdout.contains(" x timeout ("), "{}", run.stdout);
        crate::figures::verify(&run);
        crate::report::comes_out_again(&context, &run);
    }
}
