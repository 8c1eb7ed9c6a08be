//! What was asked for and where each value came from: with `-v`, in the stored plan, and in a report of it.

use crate::context::{TestContext, files};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// The plan in a file of records.
fn stored_plan(records: &Path) -> Value {
    let text = fs::read_to_string(records).unwrap();
    let header: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    header["plan"].clone()
}

#[test]
fn every_value_is_stored_and_shown_with_its_origin() {
    let context = TestContext::new();
    let mut command =
        context.command("-v --concurrency 2 --request-count 4 --isl 10 --osl 2 --random-seed 7 --no-probe");
    command.env("STREAMGAUGE_API_KEY", "sk-do-not-show-me");
    let run = context.run(command).expect(0);
    let asked = run.stderr.lines().find(|line| line.contains("asked for: ")).unwrap();
    for words in [
        "--api-key <hidden> (environment)",
        "--concurrency 2 (flag)",
        "--no-probe (flag)",
        "--random-seed 7 (flag)",
        "--grace-period 30s (default)",
    ] {
        assert!(asked.contains(words), "{words}: {asked}");
    }
    let plan = stored_plan(&run.dir().join("records.jsonl"));
    let asked = &plan["asked"];
    assert_eq!(asked["concurrency"], json!({"value": "2", "from": "flag"}));
    assert_eq!(asked["api-key"], json!({"value": "<hidden>", "from": "environment"}));
    assert_eq!(asked["no-probe"], json!({"from": "flag"}));
    assert_eq!(asked["grace-period"]["from"], "default");
    assert_eq!(asked["streaming"], Value::Null, "a switch that was not given");
    assert!(!run.stderr.contains("do-not-show"));

    let again = context.run(context.bare(&format!("report -v {}", run.dir().display()))).expect(0);
    let line = again.stderr.lines().find(|line| line.starts_with("asked for: ")).unwrap();
    assert!(line.contains("--concurrency 2 (flag); ") && !line.contains("(default)"), "{line}");
}

#[test]
fn a_face_says_what_it_asks_for_itself() {
    let context = TestContext::new();
    let args = format!(
        "perf-analyzer -u {} -m add_sub -v -v --concurrency-range 2 --request-count 4 --artifact-dir kept",
        context.addr()
    );
    let run = context.run(context.bare(&args)).expect(0);
    let asked = run.stderr.lines().find(|line| line.contains("asked for: ")).unwrap();
    for words in ["-m add_sub (flag)", "the load 2 (flag)", "--no-probe (face)", "--shared-memory none (default)"] {
        assert!(asked.contains(words), "{words}: {asked}");
    }
    let kept = context.path().join("kept");
    let level = kept.join(&files(&kept)[0]);
    let plan = stored_plan(&level.join("records.jsonl"));
    assert_eq!(plan["asked"]["concurrency"], json!({"value": "2", "from": "flag"}));
    assert_eq!(plan["asked"]["no-probe"], json!({"from": "face"}));
    assert!(!files(&level).contains(&"profile_export.json".to_owned()), "nobody asked for an export");
}
