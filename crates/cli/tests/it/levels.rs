//! Series through the real binary: levels, repeats, the table and the files over them, and how they end.

use crate::context::{Run, TestContext, files, wait_until};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::fs;
use std::net::TcpListener;
use std::path::Path;

const SMALL: &str = "--streaming --isl 12 --osl 4";
const PREFIX: &str = "artifacts/sim-model-openai-chat-";
const SUMMARY: &str = "profile_export_genai_perf.json";

/// A JSON file in the context's directory.
pub fn read(context: &TestContext, path: &str) -> Value {
    let path = context.path().join(path);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap()
}

/// The file over the levels whose name goes on like this.
fn levels(context: &TestContext, stem: &str) -> Value {
    read(context, &format!("{PREFIX}{stem}_levels.json"))
}

/// A run's own summary.
fn summary(context: &TestContext, run: &str) -> Value {
    read(context, &format!("{PREFIX}{run}/{SUMMARY}"))
}

fn prompts(context: &TestContext, run: &str) -> HashSet<String> {
    let inputs = read(context, &format!("{PREFIX}{run}/inputs.json"));
    let text = |entry: &Value| entry["payload"][0]["messages"].to_string();
    inputs["data"].as_array().unwrap().iter().map(text).collect()
}

/// The rows of the table with that title, and of the last of that name.
fn rows<'a>(run: &'a Run, title: &str) -> Vec<Vec<&'a str>> {
    let start = run.stdout.rfind(title).unwrap_or_else(|| panic!("no {title} in {}", run.stdout));
    let lines = run.stdout[start..].lines().skip(1).take_while(|line| !line.starts_with('└'));
    let rows = lines.filter(|line| line.starts_with('│'));
    rows.map(|line| line.trim_matches('│').split('│').map(str::trim).collect()).collect()
}

#[track_caller]
fn assert_shown(cell: &str, value: &Value) {
    let shown: f64 = cell.trim_start_matches(['~', '±']).replace(',', "").parse().unwrap();
    assert!((shown - value.as_f64().unwrap()).abs() < 0.005_001, "{cell} is not {value}");
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect()
}

#[test]
fn levels_are_runs_of_their_own_and_the_table_shows_their_numbers() {
    let context = TestContext::new();
    let run = context.profile(&format!("{SMALL} --concurrency 1,3 --request-count 12")).expect(0);
    let expected = ["concurrency1", "concurrency1,3_levels.csv", "concurrency1,3_levels.json", "concurrency3"];
    let there = files(&context.path().join("artifacts"));
    assert_eq!(there, expected.map(|name| format!("sim-model-openai-chat-{name}")));
    assert_eq!(context.requests().len(), 1 + 2 * 12, "one probe for all");
    let heads: Vec<&str> = run.stdout.lines().filter(|line| line.starts_with('━')).collect();
    assert_eq!(heads, ["━━━ concurrency 1 (1 of 2) ━━━", "━━━ concurrency 3 (2 of 2) ━━━"]);
    assert!(run.stderr.contains("each run draws prompts of its own"), "{}", run.stderr);

    let document = levels(&context, "concurrency1,3");
    let (throughputs, times) = (rows(&run, "Streamgauge | Levels"), rows(&run, "Times (ms)"));
    // No cell of it needs quotes.
    let table = fs::read_to_string(context.path().join(format!("{PREFIX}concurrency1,3_levels.csv"))).unwrap();
    let csv: Vec<Vec<&str>> = table.lines().map(|line| line.split(',').collect()).collect();
    for (index, level) in [1, 3].into_iter().enumerate() {
        let own = summary(&context, &format!("concurrency{level}"));
        let entry = &document["levels"][index];
        assert_eq!(
            (&entry["name"], &entry["fidelity"]),
            (&json!(format!("concurrency {level}")), &own["fidelity"]["verdict"])
        );
        assert_eq!(entry["requests"]["ok"], 12);
        let one = &entry["runs"][0];
        assert_eq!(one["directory"], format!("sim-model-openai-chat-concurrency{level}"));
        assert_eq!((&one["seed"], &one["duration_s"]), (&own["run"]["seed"], &own["run"]["duration_s"]));
        let metrics = one["metrics"].as_object().unwrap();
        assert!(metrics.len() > 8);
        assert!(metrics.iter().all(|(key, value)| own[key] == *value));

        let row = &throughputs[index];
        assert_eq!(row[..3], [level.to_string().as_str(), "12", "0"]);
        let rates = [
            ("request_throughput", "avg"),
            ("output_token_throughput", "avg"),
            ("output_token_throughput_per_user", "p50"),
        ];
        for (cell, (key, statistic)) in row[3..].iter().zip(rates) {
            assert_shown(cell, &own[key][statistic]);
            assert_eq!(entry["figures"][key][statistic], own[key][statistic]);
        }
        assert_eq!(row[6], own["fidelity"]["verdict"].as_str().unwrap());
        let keys = ["time_to_first_token", "inter_token_latency", "request_latency"];
        let statistics = keys.iter().flat_map(|key| ["p50", "p99"].map(|p| (*key, p)));
        for (cell, (key, p)) in times[index][1..].iter().zip(statistics) {
            assert_shown(cell, &own[key][p]);
            assert_eq!(cell.starts_with('~'), p == "p99", "twelve values say little of a p99");
            assert_eq!(entry["figures"][key][p], own[key][p]);
        }
        let column = csv[0].iter().position(|name| *name == "Request Latency p50 (ms)").unwrap();
        assert_eq!(csv[index + 1][column].parse::<f64>().unwrap(), own["request_latency"]["p50"].as_f64().unwrap());
    }
}

#[test]
fn each_run_asks_with_prompts_of_its_own_which_its_seed_gives_again() {
    let context = TestContext::new();
    let args = format!("{SMALL} --num-prompts 12 --request-count 12 --random-seed 5");
    context.profile(&format!("{args} --concurrency 1,2 --repeat 2")).expect(0);
    let runs = ["concurrency1/run-1", "concurrency1/run-2", "concurrency2/run-1", "concurrency2/run-2"];
    let sent: Vec<HashSet<String>> = runs.iter().map(|run| prompts(&context, run)).collect();
    assert!(sent.iter().all(|prompts| prompts.len() == 12));
    assert_eq!(sent.iter().flatten().collect::<HashSet<_>>().len(), 4 * 12, "none comes twice");
    // What the files say was sent is what was sent.
    let header = |run: &str| {
        let text = fs::read_to_string(context.path().join(format!("{PREFIX}{run}/records.jsonl"))).unwrap();
        crate::context::Records::read(&text).header["plan"].clone()
    };
    assert_eq!(header(runs[0])["prompts"]["seed"], 5);
    let plan = header(runs[3]);
    assert!(plan["artifacts"].as_str().unwrap().ends_with("concurrency2/run-2"));
    let seed = plan["prompts"]["seed"].as_u64().unwrap();
    assert_eq!(levels(&context, "concurrency1,2-repeat2")["levels"][1]["runs"][1]["seed"], seed);

    let alone = TestContext::new();
    alone.profile(&format!("{args} --concurrency 1")).expect(0);
    assert_eq!(prompts(&alone, "concurrency1"), sent[0], "the first run is the one that there would be alone");
    alone.profile(&args.replace("seed 5", &format!("seed {seed}"))).expect(0);
    assert_eq!(prompts(&alone, "concurrency1"), sent[3]);
}

#[test]
fn what_follows_from_the_level_is_settled_for_each() {
    let context = TestContext::new();
    let args = format!("{SMALL} --concurrency 2:18:*3 --warmup-request-count 3 --threads 4");
    context.profile(&args).expect(0);
    let document = levels(&context, "concurrency2,6,18");
    for (index, (level, requests, threads)) in [(2, 10, 2), (6, 12, 4), (18, 36, 4)].into_iter().enumerate() {
        let own = summary(&context, &format!("concurrency{level}"));
        let plan = &own["run"]["plan"];
        assert_eq!((&plan["stop"]["requests"], &plan["threads"]), (&json!(requests), &json!(threads)));
        assert_eq!(plan["warmup"]["load"]["concurrency"]["most"], level);
        let counts = &document["levels"][index]["requests"];
        assert_eq!((&counts["ok"], &counts["warmup"]), (&json!(requests), &json!(3)));
    }
}

#[test]
fn rates_are_levels_too_and_timed_from_due() {
    let context = TestContext::new();
    let args = format!("{SMALL} --request-rate 100:200:50 --concurrency 1 --request-count 10");
    let run = context.profile(&args).expect(0);
    let document = levels(&context, "concurrency1-request_rate100.0,150.0,200.0");
    let times = rows(&run, "Times (ms)");
    for (index, rate) in ["100.0", "150.0", "200.0"].into_iter().enumerate() {
        let own = summary(&context, &format!("concurrency1-request_rate{rate}"));
        assert_eq!(times[index][0], rate);
        assert_shown(times[index][1], &own["time_to_first_token_from_due"]["p50"]);
        assert_shown(times[index][6], &own["request_latency_from_due"]["p99"]);
        let metrics = &document["levels"][index]["runs"][0]["metrics"];
        assert_eq!(metrics["send_lateness"], own["send_lateness"]);
    }
}

#[test]
fn the_spread_is_that_of_the_runs_own_files() {
    let context = TestContext::new();
    let run = context.profile(&format!("{SMALL} --num-profile-runs 3 --concurrency 2 --request-count 30")).expect(0);
    let own: Vec<Value> = (1..=3).map(|n| summary(&context, &format!("concurrency2/run-{n}"))).collect();
    let document = levels(&context, "concurrency2-repeat3");
    let level = &document["levels"][0];
    assert_eq!((&level["requests"]["ok"], document["levels"].as_array().unwrap().len()), (&json!(90), 1));
    let close = |found: &Value, expected: f64, what: &str| {
        let found = found.as_f64().unwrap();
        assert!((found - expected).abs() <= 1e-6 * expected.abs().max(1e-3), "{what}: {found}, not {expected}");
    };
    let between = level["between_runs"].as_object().unwrap();
    assert_eq!(between.len(), 6);
    let rows = rows(&run, "concurrency 2 | 3 Runs");
    let mut row = rows.iter().filter(|row| row[1..].iter().any(|cell| !cell.is_empty()));
    for (key, statistics) in between {
        for (statistic, spread) in statistics.as_object().unwrap().iter().filter(|(name, _)| *name != "unit") {
            let values: Vec<f64> = own.iter().map(|summary| summary[key][statistic].as_f64().unwrap()).collect();
            let mean = values.iter().sum::<f64>() / 3.0;
            let std = (values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / 2.0).sqrt();
            // Student's t of two degrees of freedom.
            let reach = 4.302653 * std / 3f64.sqrt();
            close(&spread["mean"], mean, key);
            close(&spread["std"], std, key);
            close(&spread["cv"], std / mean, key);
            close(&spread["low"], mean - reach, key);
            close(&spread["high"], mean + reach, key);
            assert_eq!(spread["max"].as_f64().unwrap(), values.iter().copied().fold(f64::MIN, f64::max));
            assert_eq!(level["figures"][key][statistic], spread["mean"]);
            let row = row.next().unwrap();
            assert_shown(row[1], &spread["mean"]);
            assert_shown(row[6], &json!(reach));
            let ends: Option<Vec<f64>> = own
                .iter()
                .zip(&values)
                .map(|(summary, value)| {
                    let ends = summary["intervals"][key].get(statistic)?;
                    Some((ends["high"].as_f64()? - value).max(value - ends["low"].as_f64()?))
                })
                .collect();
            match ends {
                Some(reaches) => close(&spread["one_run"], reaches.iter().sum::<f64>() / 3.0, key),
                None => assert!(spread["one_run"].is_null() && row[7] == "N/A"),
            }
        }
    }
    assert!(row.next().is_none());
}

#[test]
fn a_level_that_measures_nothing_is_a_level_and_the_series_goes_on() {
    let context = TestContext::faulty(&["status=503"]);
    let run = context.profile(&format!("{SMALL} -m sim-model --no-probe --concurrency 1,2")).expect(1);
    let document = levels(&context, "concurrency1,2");
    for (index, name) in ["concurrency 1", "concurrency 2"].into_iter().enumerate() {
        assert_eq!(document["levels"][index]["requests"]["failed"], 10);
        assert_eq!(document["levels"][index]["figures"], json!({}));
        assert!(run.stdout.contains(&format!("! {name}: nothing was measured")), "{}", run.stdout);
    }
    assert_eq!(rows(&run, "Times (ms)")[1], ["2", "N/A", "N/A", "N/A", "N/A", "N/A", "N/A"]);
}

#[test]
fn a_server_that_is_gone_ends_the_series() {
    let context = TestContext::new();
    let closed = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let args = format!("{SMALL} -m sim-model --concurrency 1,2,4 --request-count 4");
    let run = context.run(context.command_to(&format!("http://{closed}"), &format!("{args} --no-probe"))).expect(1);
    let document = levels(&context, "concurrency1,2,4");
    assert_eq!(names(&document["not_run"]), ["concurrency 2", "concurrency 4"]);
    assert_eq!(
        (document["levels"].as_array().unwrap().len(), &document["ended_early"]),
        (1, &json!("no request was answered"))
    );
    let told = "! the series ended early: no request was answered; not run: concurrency 2; concurrency 4";
    assert!(run.stdout.contains(told), "{}", run.stdout);
    // With the probe there is no series at all.
    let probed =
        context.run(context.command_to(&format!("http://{closed}"), &format!("{args} --artifact-dir other"))).expect(1);
    assert!(probed.stderr.contains("the test request to") && !probed.stdout.contains("Levels"), "{probed:?}");
}

#[test]
fn one_level_below_the_gate_is_the_gate() {
    let context = TestContext::faulty(&["bad-usage=5"]);
    let args = format!("{SMALL} --concurrency 1,2");
    let run = context.profile(&format!("{args} --require-fidelity good")).expect(3);
    assert_eq!(rows(&run, "Streamgauge | Levels").len(), 2, "both are run all the same");
}

#[test]
fn a_directory_that_cannot_be_is_said_at_once_and_a_file_when_its_level_comes() {
    let context = TestContext::new();
    let args = format!("{SMALL} --concurrency 1,2,4 --request-count 5");
    let second = context.path().join(format!("{PREFIX}concurrency2"));
    fs::create_dir_all(second.parent().unwrap()).unwrap();
    fs::write(&second, "").unwrap();
    let run = context.profile(&args).expect(1);
    assert!(run.stderr.contains("concurrency2` cannot be created"), "{}", run.stderr);
    assert!(context.requests().is_empty() && run.stdout.is_empty());

    fs::remove_file(&second).unwrap();
    fs::create_dir_all(second.join("inputs.json")).unwrap();
    let run = context.profile(&args).expect(1);
    let document = levels(&context, "concurrency1,2,4");
    assert_eq!(document["levels"][0]["requests"]["ok"], 5);
    assert_eq!(names(&document["not_run"]), ["concurrency 2", "concurrency 4"]);
    assert!(document["ended_early"].as_str().unwrap().contains("inputs.json` cannot be written"), "{document}");
    assert_eq!(rows(&run, "Streamgauge | Levels").len(), 1);
    assert!(run.stderr.contains("error: the artifact `"), "{}", run.stderr);
}

/// The fifteenth request never ends: the second level's, which so cannot end either.
fn stuck_in_the_second() -> (TestContext, String) {
    let context = TestContext::faulty(&["stall-stream=1000s:every=15"]);
    (context, format!("{SMALL} -m sim-model --no-probe --request-count 10 --concurrency 1,2,3 --grace-period 1h"))
}

#[test]
fn ctrl_c_in_the_second_level_ends_the_series_with_what_there_is() {
    let (context, args) = stuck_in_the_second();
    let running = context.start(&args);
    wait_until("the second level's other requests", || context.requests().len() == 19);
    let run = running.interrupt_until_it_ends().expect(130);
    assert_eq!(run.stderr.matches("interrupted: waiting up to 3600 s").count(), 1, "{}", run.stderr);
    let document = levels(&context, "concurrency1,2,3");
    assert_eq!((&document["ended_early"], names(&document["not_run"])), (&json!("interrupted"), vec!["concurrency 3"]));
    assert_eq!(document["levels"][0]["requests"]["ok"], 10);
    let second = &document["levels"][1]["runs"][0];
    assert_eq!((&second["interrupted"], &second["requests"]["cut_off"]), (&json!(true), &json!(1)));
    assert_eq!(summary(&context, "concurrency2")["run"]["interrupted"], true);
    assert_eq!(rows(&run, "Streamgauge | Levels").len(), 2);
    assert!(run.stdout.contains("! concurrency 2: interrupted"), "{}", run.stdout);
    assert!(!Path::new(&context.path().join(format!("{PREFIX}concurrency3"))).exists());
}

#[test]
fn a_kill_in_the_second_level_loses_nothing_of_the_first() {
    let (context, args) = stuck_in_the_second();
    let running = context.start(&args);
    wait_until("the second level", || context.requests().len() > 10);
    running.kill();
    let document = levels(&context, "concurrency1,2,3");
    assert_eq!(document["levels"].as_array().unwrap().len(), 1);
    assert_eq!(document["levels"][0]["requests"]["ok"], 10);
    assert_eq!(names(&document["not_run"]), ["concurrency 2", "concurrency 3"]);
    assert!(context.path().join(format!("{PREFIX}concurrency1,2,3_levels.csv")).is_file());
}

#[test]
fn prompts_that_go_round_are_told() {
    let context = TestContext::new();
    let run =
        context.profile(&format!("{SMALL} --num-prompts 15 --concurrency 2,10 --warmup-request-count 2")).expect(0);
    let told = "! prompts were sent more than once at concurrency 10: a server with a prefix cache";
    assert!(run.stdout.contains(told) && run.stdout.contains("--num-prompts 22 is enough"), "{}", run.stdout);
    let run =
        context.profile(&format!("{SMALL} --num-prompts 22 --concurrency 2,10 --warmup-request-count 2")).expect(0);
    assert!(!run.stdout.contains("more than once"), "{}", run.stdout);
}

#[test]
fn prompts_that_cannot_all_differ_are_told() {
    let context = TestContext::new();
    let args = "--streaming --isl 1 --osl 2 --num-prompts 2000 --concurrency 1,2";
    let run = context.profile(args).expect(0);
    let (first, second) = (prompts(&context, "concurrency1"), prompts(&context, "concurrency2"));
    let known = &levels(&context, "concurrency1,2")["levels"][1]["runs"][0]["prompts_known"];
    // Several prompts of the second may be the same, each of which the first had too.
    assert!(known.as_u64().unwrap() >= first.intersection(&second).count() as u64 && *known != 0, "{known}");
    let told = "of its 2,000 prompts had been sent by an earlier run: a server with a prefix cache";
    assert!(run.stdout.contains(told), "{}", run.stdout);
    let run = context.profile(&args.replace("isl 1", "isl 30")).expect(0);
    assert!(!run.stdout.contains("by an earlier run"), "{}", run.stdout);
}

#[test]
fn one_run_is_no_series() {
    let context = TestContext::new();
    let run = context.profile(&format!("{SMALL} --concurrency 2:2 --repeat 1")).expect(0);
    assert_eq!(files(&context.path().join("artifacts")), ["sim-model-openai-chat-concurrency2"]);
    assert!(!run.stdout.contains("Levels") && !run.stdout.contains("━━━ concurrency"), "{}", run.stdout);
    assert!(!run.stderr.contains("prompts of its own"), "{}", run.stderr);
}

#[test]
fn levels_that_make_no_sense_are_refused_with_what_is_accepted() {
    let context = TestContext::new();
    for (args, words) in [
        ("--concurrency 4:1", &["--concurrency", "'4:1'", "lead from its start up to its end", "1:64:*2"][..]),
        ("--concurrency 1,1", &["--concurrency", "'1,1'", "twice", "--repeat"]),
        ("--concurrency 0,2", &["--concurrency", "'0,2'", "from 1 to 1000000"]),
        ("--concurrency a", &["--concurrency", "'a'", "1,4,8"]),
        ("--concurrency 1:64:*1", &["--concurrency", "'1:64:*1'", "a factor above 1"]),
        ("--concurrency 1:1000", &["--concurrency", "more than 100 levels"]),
        ("--request-rate 1:inf", &["--request-rate", "'1:inf'", "above 0, or inf"]),
        ("--request-rate 2,2.0", &["--request-rate", "twice"]),
        ("--concurrency 1,2 --request-rate 3,4", &["--concurrency", "--request-rate", "single number"]),
        ("--concurrency 1,8 --request-count 4", &["--request-count 4", "--concurrency 8", "at least 8"]),
        ("--repeat 0", &["--repeat", "from 1 to 100"]),
    ] {
        let run = context.profile(args).expect(2);
        for word in words {
            assert!(run.stderr.contains(word), "{args}: `{word}` is not in: {}", run.stderr);
        }
    }
    assert!(context.requests().is_empty(), "nothing was sent");
}

#[test]
fn a_level_is_repeated_until_its_runs_agree_and_no_longer() {
    let context = TestContext::new();
    // The mean length of answers is the same in each run, so three runs are enough; a share that no latency keeps takes all of them.
    let flags = format!("{SMALL} --concurrency 1,2 --request-count 4 --repeat 5 --repeat-until-ci");
    let run = context.profile(&format!("{flags} 1% --repeat-ci-metric output_sequence_length")).expect(0);
    assert!(run.stdout.contains("concurrency 2 (2 of 2, run 3 of at most 5)"), "{}", run.stdout);
    let found = levels(&context, "concurrency1,2-repeat5");
    let counts: Vec<usize> =
        found["levels"].as_array().unwrap().iter().map(|level| level["runs"].as_array().unwrap().len()).collect();
    assert_eq!(counts, [3, 3]);
    assert!(!run.stdout.contains("of 5 runs\n"), "no run is missing: {}", run.stdout);
    let context = TestContext::new();
    context.profile(&format!("{SMALL} --request-count 4 --repeat 4 --repeat-until-ci 0.0001%")).expect(0);
    assert_eq!(levels(&context, "concurrency1-repeat4")["levels"][0]["runs"].as_array().unwrap().len(), 4);
}

#[test]
fn a_figure_that_runs_cannot_agree_on_is_refused() {
    let context = TestContext::new();
    for (flags, why) in [
        ("--repeat-until-ci 2%", "give at least 3, such as --repeat 10"),
        ("--repeat 5 --repeat-until-ci 100%", "--repeat-until-ci: an interval as wide as the figure"),
        (
            "--repeat 5 --repeat-until-ci 2% --repeat-ci-metric x",
            "--repeat-ci-metric x: it takes the figures that a run can wait for",
        ),
        (
            "--repeat 5 --repeat-until-ci 2% --repeat-ci-metric request_latency:p0",
            "--repeat-ci-metric request_latency:p0: ",
        ),
        ("--repeat 5 --repeat-until-ci 2% --repeat-ci-metric time_to_first_token", "--streaming"),
        ("--repeat 5 --repeat-ci-metric request_latency", "--repeat-until-ci"),
    ] {
        let run = context.profile(&format!("--isl 12 --osl 4 {flags}")).expect(2);
        assert!(run.stderr.contains(why), "{flags}: {}", run.stderr);
    }
}
