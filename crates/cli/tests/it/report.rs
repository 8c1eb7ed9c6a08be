//! `report`: what a run wrote, made again from its records; and the end that a killed run never had.

use crate::context::{Records, Run, TestContext, files, wait_until};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const SMALL: &str = "--streaming --isl 10 --osl 4 --num-prompts 3";
const DIR: &str = "artifacts/sim-model-openai-chat-concurrency1";

/// Every file in a directory with what is in it.
fn contents(dir: &Path) -> BTreeMap<String, String> {
    files(dir).into_iter().map(|name| (name.clone(), fs::read_to_string(dir.join(name)).unwrap())).collect()
}

/// Holds a directory against what it held before; only the names of files that differ are shown.
#[track_caller]
fn unchanged(dir: &Path, before: &BTreeMap<String, String>) {
    let now = contents(dir);
    let names: std::collections::BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    let differing: Vec<&&String> = names.iter().filter(|name| before.get(**name) != now.get(**name)).collect();
    assert!(differing.is_empty(), "{differing:?}");
}

/// The run's files and table come out of its records once more, to the last byte.
#[track_caller]
pub fn comes_out_again(context: &TestContext, run: &Run) {
    let before = contents(&run.dir());
    let again = report(context, run.dir().strip_prefix(context.path()).unwrap().to_str().unwrap());
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    assert_eq!(again.stdout, run.stdout);
    unchanged(&run.dir(), &before);
}

pub fn report(context: &TestContext, args: &str) -> Run {
    context.run(context.bare(&format!("report {args}")))
}

/// A run into `dir` that is killed once it has so many records on disk; where it wrote.
fn killed(context: &TestContext, dir: &str, args: &str, records: usize) -> PathBuf {
    let run = context.start(&format!("{args} --benchmark-duration 10m"));
    let dir = context.path().join(dir);
    wait_until("records on disk", || on_disk(&dir).is_some_and(|known| known.all.len() >= records));
    run.kill();
    dir
}

/// What a run that goes on in `dir` has on disk so far; none before its first line is.
pub fn on_disk(dir: &Path) -> Option<Records> {
    let text = fs::read_to_string(dir.join(".records.jsonl.partial")).ok()?;
    text.contains('\n').then(|| Records::read(&text))
}

fn row(summary: &Value, key: &str) -> Value {
    let rows = summary["fidelity"]["rows"].as_array().unwrap();
    rows.iter().find(|row| row["key"] == key).cloned().unwrap_or_default()
}

#[test]
fn files_of_formats_that_a_run_left_out_are_not_made_again() {
    let context = TestContext::new();
    let run = context.profile(&format!("{SMALL} --request-count 6 --record-formats jsonl")).expect(0);
    assert_eq!(files(&run.dir()).iter().filter(|name| *name == "profile_export.json").count(), 0);
    comes_out_again(&context, &run);
    let again = report(&context, DIR);
    assert_eq!((again.code, again.stderr.as_str()), (Some(0), ""));
}

#[test]
fn a_whole_run_comes_out_the_same_to_the_last_byte() {
    for (faults, args) in [
        (&[][..], "--request-count 12 --warmup-request-count 2 --goodput request_latency:0.3 time_to_first_token:1e6"),
        (&["status=500:every=4", "truncate:every=5"], "--no-probe --concurrency 3 --request-count 20"),
        (&["bad-usage=-2:every=3"], "--export-level raw --report genai-perf-2024"),
        (&[], "--request-rate 33.3 --arrival-pattern gamma --arrival-smoothness 0.7 --request-count 10"),
        (&[], "--request-rate inf --request-count 10"),
        (
            &[],
            "--osl-stddev 0.7 --extra-inputs temperature:0.1 -H X-Api-Key:hidden X-Run:7 --report genai-perf-2024-early",
        ),
    ] {
        let context = TestContext::faulty(faults);
        let original = context.profile(&format!("{SMALL} {args}")).expect(0);
        let dir = original.dir();
        let before = contents(&dir);
        let dir = dir.strip_prefix(context.path()).unwrap().display();
        let style = args.split_once("--report ").map_or(String::new(), |(_, style)| format!("--report {style}"));
        let again = report(&context, &format!("{dir} {style}")).expect(0);
        assert_eq!(again.stdout, original.stdout);
        unchanged(&original.dir(), &before);
        assert_eq!(again.stderr.contains("profile_export.json is not made again"), args.contains("raw"));
        // Elsewhere, from the file itself.
        report(&context, &format!("{dir}/records.jsonl --artifact-dir else/where")).expect(0);
        let made = contents(&context.path().join("else/where"));
        assert_eq!(made.len(), if args.contains("raw") { 4 } else { 5 });
        assert!(made.iter().all(|(name, text)| before[name] == *text));
    }
}

#[test]
fn a_run_without_streams_comes_out_the_same_too() {
    let context = TestContext::with(|config| config.models = vec!["first".into(), "second".into()]);
    let args = "-m first second --endpoint-type completions --batch-size 2 --isl 10 --osl 4 --profile-export-file mine";
    let original = context.profile(args).expect(0);
    let before = contents(&original.dir());
    let again = report(&context, "artifacts/first_multi-openai-completions-concurrency1").expect(0);
    unchanged(&original.dir(), &before);
    assert_eq!(again.stdout, original.stdout);
}

#[test]
fn an_interrupted_run_is_reported_as_that_and_the_report_is_all_well() {
    let context = TestContext::new();
    let running = context.start(&format!("{SMALL} --benchmark-duration 10m"));
    wait_until("some answers", || context.requests().len() > 5);
    running.interrupt();
    let original = running.wait().expect(130);
    comes_out_again(&context, &original);
}

#[test]
fn a_killed_run_gets_its_report_from_what_it_had_finished() {
    kill_and_report("--concurrency 1", "concurrency1");
    kill_and_report("--request-rate 40", "request_rate40.0");
}

fn kill_and_report(load: &str, name: &str) {
    let context = TestContext::faulty(&["status=500:every=7"]);
    let place = &format!("artifacts/sim-model-openai-chat-{name}");
    let dir = killed(&context, place, &format!("{SMALL} --no-probe {load}"), 9);
    let records = Records::read(&fs::read_to_string(dir.join(".records.jsonl.partial")).unwrap());
    let run = report(&context, place).expect(0);
    assert!(run.stderr.contains("the run ended early: killed"), "{}", run.stderr);
    assert!(run.stdout.contains("Ended early"), "{}", run.stdout);
    assert!(run.stdout.ends_with(&format!("Artifacts: {place}\n")), "{}", run.stdout);
    let summary = run.summary();
    let [ok, failed] = ["ok", "failed"].map(|outcome| records.ended(outcome).len());
    assert!(ok > 0 && failed > 0);
    assert_eq!((&summary["requests"]["ok"], &summary["requests"]["failed"]), (&json!(ok), &json!(failed)));
    assert_eq!(row(&summary, "ended_early")["grade"], "degraded");
    assert!(row(&summary, "ended_early")["value"].as_str().unwrap().starts_with("killed"));
    let started = records.all.iter().map(|record| record["issued_ns"].as_i64().unwrap()).min().unwrap();
    assert_eq!(summary["run"]["started_ns"], records.header["anchor_wall_ns"].as_i64().unwrap() + started);
    assert_eq!(summary["run"]["kernel_stamps"], cfg!(target_os = "linux"));
    let export = run.json("profile_export.json");
    let requests = export["experiments"][0]["requests"].as_array().unwrap();
    assert_eq!(requests.len(), records.all.len());
    let inputs: Value = serde_json::from_slice(&fs::read(dir.join(".inputs.json.partial")).unwrap()).unwrap();
    for (request, record) in requests.iter().zip(&records.all) {
        let prompt = record["prompt"].as_u64().unwrap() as usize;
        let payload = request["request_inputs"]["payload"].as_str().unwrap();
        assert_eq!(serde_json::from_str::<Value>(payload).unwrap(), inputs["data"][prompt]["payload"][0]);
    }
    // Once more gives the same: nothing of the run was used up.
    let before = contents(&dir);
    assert_eq!(report(&context, place).expect(0).stdout, run.stdout);
    unchanged(&dir, &before);
    // The figures, by formulas of the tests' own.
    fs::copy(dir.join(".records.jsonl.partial"), dir.join("records.jsonl")).unwrap();
    crate::figures::verify(&run);
}

#[test]
fn a_torn_last_line_is_said_and_left_out() {
    let context = TestContext::new();
    let run = context.profile(&format!("{SMALL} --request-count 10")).expect(0);
    let whole = run.file("records.jsonl");
    let facts = whole.trim_end().rfind('\n').unwrap() + 1;
    let last = whole[..facts - 1].rfind('\n').unwrap() + 1;
    let torn = context.path().join("torn");
    fs::create_dir(&torn).unwrap();
    fs::write(torn.join(".records.jsonl.partial"), &whole[..last + 40]).unwrap();
    let again = report(&context, "torn").expect(0);
    // A header, ten records, of which the last is torn.
    assert!(again.stderr.contains("torn/.records.jsonl.partial: line 11, the last, is torn and left out"), "{again:?}");
    // There are no prompts, so there is no file that repeats them.
    assert!(again.stderr.contains("profile_export.json is not made again: torn/.inputs.json.partial"), "{again:?}");
    let names = [
        ".records.jsonl.partial",
        "profile_export_genai_perf.csv",
        "profile_export_genai_perf.json",
        "summary.json",
        "timeline.csv",
    ];
    assert_eq!(files(&torn), names);
    let summary: Value = serde_json::from_slice(&fs::read(torn.join(names[2])).unwrap()).unwrap();
    assert_eq!(summary["requests"]["ok"], 9);
    // Torn before the first record: nothing was measured, and nothing is left behind.
    names[1..].iter().for_each(|name| fs::remove_file(torn.join(name)).unwrap());
    let header = whole.find('\n').unwrap() + 1;
    fs::write(torn.join(names[0]), &whole[..header]).unwrap();
    let nothing = report(&context, "torn").expect(1);
    assert!(nothing.stdout.contains("Fidelity: invalid"), "{}", nothing.stdout);
    assert_eq!(files(&torn), [names[0]]);
}

#[test]
fn an_old_file_that_knows_fewer_facts_is_read() {
    let context = TestContext::new();
    let run = context.profile(&format!("{SMALL} --request-count 10")).expect(0);
    let whole = run.file("records.jsonl");
    let facts = whole.trim_end().rfind('\n').unwrap() + 1;
    fs::write(context.path().join("old.jsonl"), format!("{}{{\"run\":{{\"started\":1}}}}\n", &whole[..facts])).unwrap();
    let again = report(&context, "old.jsonl --artifact-dir again").expect(0);
    assert!(again.stdout.contains("Requests: 10 ok"), "{}", again.stdout);
    assert!(!again.stdout.contains("Ended early"), "{}", again.stdout);
}

#[test]
fn a_killed_run_is_kept_apart_from_the_one_before_it() {
    let context = TestContext::new();
    context.profile(&format!("{SMALL} --request-count 10")).expect(0);
    let dir = killed(&context, DIR, SMALL, 3);
    let before = contents(&dir);
    let first = report(&context, DIR).expect(0);
    assert!(first.stdout.contains("Requests: 10 ok") && !first.stdout.contains("killed"), "{}", first.stdout);
    assert!(first.stderr.contains(".records.jsonl.partial --artifact-dir"), "{}", first.stderr);
    let refused = report(&context, &format!("{DIR}/.records.jsonl.partial")).expect(2);
    assert!(refused.stderr.contains("another run") && refused.stderr.contains("--artifact-dir"), "{}", refused.stderr);
    let second = report(&context, &format!("{DIR}/.records.jsonl.partial --artifact-dir killed")).expect(0);
    assert!(second.stdout.contains("killed"), "{}", second.stdout);
    unchanged(&dir, &before);
    let names = [
        "profile_export.json",
        "profile_export_genai_perf.csv",
        "profile_export_genai_perf.json",
        "summary.json",
        "timeline.csv",
    ];
    assert_eq!(files(&context.path().join("killed")), names);
}

#[test]
fn what_is_no_run_is_refused_in_a_sentence() {
    let context = TestContext::new();
    let run = context.profile(&format!("{SMALL} --export-level summary")).expect(0);
    let summaries = contents(&run.dir());
    let write = |name: &str, text: &str| fs::write(context.path().join(name), text).unwrap();
    write("empty.jsonl", "");
    write("other.jsonl", "{\"data\":[]}\n");
    write("newer.jsonl", "{\"streamgauge\":\"9.0.0\",\"schema\":99,\"anchor_wall_ns\":0,\"plan\":{\"new\":1}}\n");
    write("plan.jsonl", "{\"streamgauge\":\"0.1.0\",\"schema\":1,\"anchor_wall_ns\":0,\"plan\":{}}\n");
    for (args, words) in [
        ("", &["<DIR|FILE>"][..]),
        ("nowhere", &["nowhere: No such file"]),
        (DIR, &[DIR, "there is no records.jsonl", "--export-level"]),
        ("empty.jsonl", &["empty.jsonl: this is not a records file"]),
        ("other.jsonl", &["other.jsonl: this is not a records file"]),
        ("newer.jsonl", &["newer.jsonl: the records have schema 99; this version reads up to 1"]),
        ("plan.jsonl", &["plan.jsonl: the plan in the first line", "missing field"]),
        ("newer.jsonl --report fancy", &["--report", "native"]),
    ] {
        let refused = report(&context, args).expect(2);
        assert!(refused.stdout.is_empty());
        for word in words {
            assert!(refused.stderr.contains(word), "{args}: `{word}` is not in: {}", refused.stderr);
        }
    }
    unchanged(&run.dir(), &summaries);
}

#[test]
fn a_line_in_the_middle_that_is_no_record_ends_it_and_leaves_the_files() {
    let context = TestContext::new();
    let run = context.profile(&format!("{SMALL} --request-count 10")).expect(0);
    let records = run.file("records.jsonl").replacen("\"seq\":4,", "\"seq\":\"x\",", 1);
    fs::write(run.dir().join("records.jsonl"), records).unwrap();
    let before = contents(&run.dir());
    let broken = report(&context, DIR).expect(1);
    assert!(broken.stderr.contains("records.jsonl: line 6 of the records is not a record"), "{}", broken.stderr);
    unchanged(&run.dir(), &before);
}

#[test]
#[cfg(target_os = "linux")]
fn a_run_whose_disk_was_full_is_reported_as_far_as_it_was_written() {
    let context = TestContext::new();
    // Sixteen blocks of 1024 bytes a file, and an error in place of the signal that would end the process.
    let args = format!("profile --url {} --ui none {SMALL} --request-count 100", context.url());
    let run = context.run(context.prepared("trap '' XFSZ; ulimit -f 16", &args)).expect(1);
    assert!(run.stdout.contains("Requests: 100 ok, 0 failed"), "{}", run.stdout);
    assert!(run.stderr.contains("are not complete: File too large"), "{}", run.stderr);
    let written = fs::read_to_string(context.path().join(DIR).join(".records.jsonl.partial")).unwrap();
    let lines: Vec<bool> = written.lines().map(|line| serde_json::from_str::<Value>(line).is_ok()).collect();
    let records = lines.iter().filter(|whole| **whole).count() - 1;
    let again = report(&context, DIR).expect(0);
    assert!(records < 100 && again.stdout.contains(&format!("Requests: {records} ok")), "{}", again.stdout);
    assert_eq!(again.stderr.contains("is torn and left out"), lines.contains(&false), "{}", again.stderr);
}
