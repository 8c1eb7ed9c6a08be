//! What is printed at the end of a run.

use crate::context::{Run, TestContext};
use serde_json::Value;

/// Rows of the first box table as cells, head first; wrapped labels are joined.
fn table(text: &str) -> Vec<Vec<String>> {
    let mut rows: Vec<Vec<String>> = Vec::new();
    let (text, _) = text.split_once('└').unwrap();
    for line in text.lines().filter(|line| line.starts_with(['│', '┃'])) {
        let cells: Vec<String> =
            line.trim_matches(['│', '┃']).split(['│', '┃']).map(|cell| cell.trim().to_owned()).collect();
        match rows.last_mut() {
            Some(last) if cells[1..].iter().all(String::is_empty) => {
                last[0].push(' ');
                last[0].push_str(&cells[0]);
            }
            _ => rows.push(cells),
        }
    }
    rows
}

fn labels(rows: &[Vec<String>]) -> Vec<&str> {
    rows.iter().skip(1).map(|row| row[0].as_str()).collect()
}

const GOLDEN_CHAT: &str = include_str!("../../../report/tests/golden/chat/console.txt");
const GOLDEN_COMPLETIONS: &str = include_str!("../../../report/tests/golden/completions/console.txt");

#[test]
fn the_table_has_the_rows_of_the_real_one_and_ours() {
    let context = TestContext::new();
    let run = context
        .profile("--streaming --concurrency 2 --request-count 10 --isl 20 --osl 8 --goodput time_to_first_token:40");
    let run = run.expect(0);
    let rows = table(&run.stdout);
    assert_eq!(rows[0], ["Statistic", "avg", "min", "max", "p99", "p90", "p75", "p50", "std", "±avg", "±p99"]);
    let golden = table(GOLDEN_CHAT);
    let mut expected = labels(&golden);
    expected.insert(4, "Inter Chunk Latency (ms)");
    assert_eq!(labels(&rows), expected);
    assert!(run.stdout.starts_with("Verdict: "), "{}", run.stdout);
    assert_eq!(run.stdout.lines().nth(3).unwrap().trim(), "Streamgauge | LLM Metrics");
    assert!(rows.iter().all(|row| row.len() == 11));
    shows_the_summary(&run, &rows);
}

/// Each cell is the summary's number with two decimals, and marked where too few samples stand behind it.
fn shows_the_summary(run: &Run, rows: &[Vec<String>]) {
    let summary = run.summary();
    for row in &rows[1..] {
        let name = row[0].split(" (").next().unwrap();
        let key = name.to_lowercase().replace(' ', "_");
        let thin = summary["samples"][&key]["too_few_for"].as_array().cloned().unwrap_or_default();
        for (column, cell) in rows[0].iter().zip(row).skip(1) {
            if let Some(statistic) = column.strip_prefix('±') {
                shows_a_reach(&summary, &key, statistic, cell);
                continue;
            }
            let Some(value) = summary[&key][column].as_f64() else {
                assert_eq!(cell, "N/A", "{key} {column}");
                continue;
            };
            assert_eq!(cell.starts_with('~'), thin.contains(&Value::from(column.as_str())), "{key} {column}");
            let shown: f64 = cell.trim_start_matches('~').replace(',', "").parse().unwrap();
            assert!((shown - value).abs() <= 0.005 + 1e-9 * value, "{key} {column}: {cell} for {value}");
        }
    }
}

/// A `±` is the farther end of the interval, as far as there is one.
fn shows_a_reach(summary: &Value, key: &str, statistic: &str, cell: &str) {
    let interval = &summary["intervals"][key][statistic];
    if interval.is_null() {
        let longer = !summary["samples"][key]["needed_s"][statistic].is_null();
        return assert_eq!(cell, if longer { "†" } else { "N/A" }, "±{statistic} of {key}");
    }
    let [low, high] = ["low", "high"].map(|end| interval[end].as_f64().unwrap());
    let value = summary[key][statistic].as_f64().unwrap();
    let shown: f64 = cell.replace(',', "").parse().unwrap();
    assert!((shown - (high - value).max(value - low)).abs() <= 0.005 + 1e-9 * value, "{key}: {cell} for {interval}");
}

#[test]
fn ten_requests_are_too_few_for_most_percentiles() {
    let context = TestContext::new();
    let run = context.profile("--streaming --request-count 10 --isl 20 --osl 2").expect(0);
    let rows = table(&run.stdout);
    let latency = rows.iter().find(|row| row[0] == "Request Latency (ms)").unwrap();
    let marked: Vec<bool> = latency[1..].iter().map(|cell| cell.starts_with('~')).collect();
    assert_eq!(marked, [false, false, false, true, true, true, false, false, false, false]);
    assert!(run.stdout.contains("\n~: too few samples to trust this percentile (no two-sided 95 % interval)\n"));
    assert!(run.stdout.contains("Requests: 10 ok, 0 failed, 0 cut off, 0 retried, in "), "{}", run.stdout);
}

#[test]
fn without_a_stream_the_rows_of_streams_are_hidden() {
    let context = TestContext::new();
    let run = context.profile("--endpoint-type completions --isl 20 --osl 8").expect(0);
    let (rows, golden) = (table(&run.stdout), table(GOLDEN_COMPLETIONS));
    assert_eq!(labels(&rows), labels(&golden));
    shows_the_summary(&run, &rows);
}

#[test]
fn a_row_without_values_says_so() {
    let context = TestContext::new();
    let run = context.profile("--streaming --isl 20 --osl 1").expect(0);
    let rows = table(&run.stdout);
    let itl = rows.iter().find(|row| row[0] == "Inter Token Latency (ms)").unwrap();
    assert!(itl[1..].iter().all(|cell| cell == "N/A"), "{itl:?}");
    shows_the_summary(&run, &rows);
}

#[test]
fn the_verdict_stands_below_with_its_reasons() {
    let context = TestContext::faulty(&["status=500:every=4"]);
    let run = context.profile("--streaming --request-count 12 --isl 20 --osl 8 --no-probe").expect(0);
    let (_, block) = run.stdout.split_once("\nFidelity: ").unwrap();
    let summary = run.summary();
    let verdict = summary["fidelity"]["verdict"].as_str().unwrap();
    assert_eq!(verdict, "invalid", "a quarter failed");
    assert!(block.starts_with(&format!("{verdict}\n")), "{block}");
    for row in summary["fidelity"]["rows"].as_array().unwrap() {
        let mark = match row["grade"].as_str().unwrap() {
            "good" => '✓',
            "degraded" => '!',
            _ => '✗',
        };
        let line = format!("  {mark} {}", row["title"].as_str().unwrap());
        let found = block.lines().find(|shown| shown.starts_with(&line)).unwrap_or_else(|| panic!("{line}: {block}"));
        assert!(found.ends_with(row["value"].as_str().unwrap()), "{found}");
        assert_eq!(row["remedy"].is_null(), mark == '✓', "{row}");
        if let Some(remedy) = row["remedy"].as_str() {
            assert!(block.contains(remedy), "{block}");
        }
    }
}

#[test]
fn failures_count_in_a_table_of_their_own() {
    let context = TestContext::faulty(&["status=500:every=4"]);
    let run = context.profile("--streaming --request-count 40 --isl 20 --osl 8 --no-probe").expect(0);
    let (_, block) = run.stdout.split_once("A failed request counts as infinitely long\n").unwrap();
    let rows = table(block);
    assert_eq!(rows[0], ["With failures", "p99", "p90", "p75"]);
    assert_eq!(labels(&rows), ["Time To First Token (ms)", "Request Latency (ms)"]);
    assert!(rows[1..].iter().all(|row| row[1] == "failed" && row[2] == "failed" && row[3] != "failed"), "{rows:?}");
    let summary = run.summary();
    let shown: f64 = rows[2][3].parse().unwrap();
    assert!((shown - summary["with_failures"]["request_latency"]["p75"].as_f64().unwrap()).abs() <= 0.005);
    let context = TestContext::new();
    let well = context.profile("--streaming --isl 20 --osl 2").expect(0);
    assert!(!well.stdout.contains("counts as infinitely long") && well.summary().get("with_failures").is_none());
}

#[test]
fn the_layouts_of_2024_are_those_and_nothing_more() {
    let context = TestContext::new();
    let args = "--streaming --isl 20 --osl 8 --tokenizer cl100k_base --export-level summary --report";
    let late = context.profile(&format!("{args} genai-perf-2024")).expect(0);
    assert_eq!(late.stdout.lines().next().unwrap().trim(), "NVIDIA GenAI-Perf | LLM Metrics");
    let rows = table(&late.stdout);
    assert_eq!(rows[0], ["Statistic", "avg", "min", "max", "p99", "p90", "p75"]);
    let measured = [
        "Time to first token (ms)",
        "Inter token latency (ms)",
        "Request latency (ms)",
        "Output sequence length",
        "Input sequence length",
    ];
    let rates = ["Output token throughput (per sec)", "Request throughput (per sec)"];
    assert_eq!(labels(&rows), [&measured[..], &rates[..]].concat());
    assert!(!late.stdout.contains("Fidelity") && !late.stdout.contains('~'), "{}", late.stdout);

    let early = context.profile(&format!("{args} genai-perf-2024-early")).expect(0);
    assert_eq!(early.stdout.lines().next().unwrap().trim(), "LLM Metrics");
    assert_eq!(labels(&table(&early.stdout)), measured);
    let (_, below) = early.stdout.split_once("┘\n").unwrap();
    let names: Vec<&str> = below.lines().filter_map(|line| line.split_once(": ")).map(|(name, _)| name).collect();
    assert_eq!(names, [rates[0], rates[1], "Artifacts"]);

    let whole = context.profile("--isl 20 --osl 8 --report genai-perf-2024").expect(0);
    let rows = table(&whole.stdout);
    assert_eq!(labels(&rows), [&measured[2..], &rates[..]].concat());
}

#[test]
fn numbers_have_commas_between_thousands() {
    let context = TestContext::new();
    let run = context.profile("--isl 1234 --num-prompts 2 --osl 2").expect(0);
    let rows = table(&run.stdout);
    let input = rows.iter().find(|row| row[0] == "Input Sequence Length (tokens)").unwrap();
    assert_eq!(input[1], "1,234.00");
    assert!(run.file("profile_export_genai_perf.csv").contains("Input Sequence Length (tokens),\"1,234.00\","));
}

#[cfg(target_os = "linux")]
#[test]
fn a_result_that_cannot_be_said_is_an_error_and_a_reader_that_left_is_none() {
    let context = TestContext::new();
    let args = format!("profile --url {} --isl 10 --osl 2 --ui none", context.url());
    let perf_analyzer = format!("perf-analyzer -u {} -m add_sub --request-count 2", context.addr());
    for (shell, args, code) in [
        ("exec >/dev/full", &args, 1),
        ("exec >/dev/full", &perf_analyzer, 99),
        ("exec > >(exec true); wait $!", &args, 0),
    ] {
        let run = context.run(context.prepared(shell, args)).expect(code);
        let said = run.stderr.matches("standard output cannot be written: No space").count();
        assert_eq!(said, usize::from(code != 0), "{shell}: {}", run.stderr);
    }
}

#[test]
fn what_would_measure_something_else_is_refused() {
    let context = TestContext::new();
    for (args, words) in [
        ("--streaming --extra-inputs stream:false", "--extra-inputs stream:false: --streaming says"),
        ("--extra-inputs stream:true", "--extra-inputs stream:true: --streaming says"),
        ("--model=", "--model: a name is empty"),
        ("--header content-length:5", "--header content-length: each body brings its own"),
    ] {
        let run = context.profile(args).expect(2);
        assert!(run.stderr.contains(words), "{args}: {}", run.stderr);
    }
    let run = context.profile("--streaming --extra-inputs stream:true --isl 10 --osl 2 --request-count 10").expect(0);
    assert!(run.stdout.contains("Time To First Token (ms)"), "{}", run.stdout);
}

#[test]
fn the_table_fits_into_the_columns_that_there_are() {
    let context = TestContext::new();
    for columns in [80, 100, 120] {
        let mut command = context.command("--streaming --request-count 10 --isl 20 --osl 4");
        let run = context.run({
            command.env("COLUMNS", columns.to_string());
            command
        });
        let run = run.expect(0);
        let widest =
            run.stdout.lines().filter(|line| line.starts_with(['┃', '│'])).map(|line| line.chars().count()).max();
        assert!(widest.unwrap() <= columns, "{columns}: {}", run.stdout);
        assert!(table(&run.stdout)[0].contains(&"p50".to_owned()));
    }
}
