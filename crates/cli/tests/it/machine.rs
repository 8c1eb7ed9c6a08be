//! What the machine that measures does to a run: names with several addresses, disks that fill up. Both need a name space of
//! their own for files; where the system gives none to this user, the tests say that they were left out.

#![cfg(target_os = "linux")]

use crate::context::{Run, TestContext};
use serde_json::{Value, json};
use std::fs;
use std::process::Command;
use streamgauge_prompt::Tokenizer;
use streamgauge_sim::{Sim, SimConfig};

const HOSTS: &str = "mount --bind hosts /etc/hosts && exec \"$@\"";

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
    fs::write(context.path().join("script.sh"), script).unwrap();
    context.run(context.prepared("exec unshare -rm bash script.sh \"$0\" \"$@\"", args))
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
    assert!(again.stdout.contains("Ended before its plan"), "{}", again.stdout);
}
