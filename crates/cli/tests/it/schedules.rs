//! Schedules out of files and of rates that change, through the real binary.

use crate::context::{Run, TestContext, files};
use crate::report::comes_out_again;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use streamgauge_core::arrival::{Arrival, Rate};
use streamgauge_core::clock::Nanos;
use streamgauge_core::load::{Arrivals, Load, Ramp, RampShape, RatePoint};
use streamgauge_core::schedule::Schedule;
use streamgauge_core::seed::Seed;

const SMALL: &str = "--streaming --isl 10 --osl 2";
/// Not in order, and with an empty line.
const TRACE: &str = r#"{"timestamp": 150, "text": "The quick brown fox jumps over the lazy dog"}
{"timestamp": 100, "input_length": 5, "output_length": 4}

{"timestamp": 220.5, "input_length": 7}
{"timestamp": 220.5, "output_length": 3}
"#;

fn with_file(name: &str, text: &str) -> TestContext {
    let context = TestContext::new();
    fs::write(context.path().join(name), text).unwrap();
    context
}

fn millis(times: &[f64]) -> Vec<i64> {
    times.iter().map(|time| (time * 1e6) as i64).collect()
}

/// The first dues of `arrivals` for a run with that seed.
fn expected(arrivals: &Arrivals, seed: u64, count: usize) -> Vec<i64> {
    Schedule::new(arrivals, Seed(seed), "arrivals").take(count).map(|due| due.at.0).collect()
}

fn directory(run: &Run) -> String {
    run.dir().file_name().unwrap().to_str().unwrap().to_owned()
}

#[test]
fn intervals_come_after_their_gaps_and_begin_again() {
    let context = with_file("gaps.txt", "2000\n\n5000\n0\n");
    for threads in [1, 3] {
        let args = format!("{SMALL} --request-intervals gaps.txt --request-count 7 --threads {threads}");
        let run = context.profile(&args).expect(0);
        assert_eq!(run.dues(), millis(&[2.0, 7.0, 7.0, 9.0, 14.0, 14.0, 16.0]));
        assert_eq!(directory(&run), "sim-model-openai-chat-request_intervals");
    }
}

#[test]
fn a_time_ends_the_schedules_of_files_too() {
    let context = with_file("gaps.txt", "100000\n20000\n");
    fs::write(context.path().join("trace.jsonl"), TRACE).unwrap();
    let run = context.profile(&format!("{SMALL} --request-intervals gaps.txt --benchmark-duration 0.3")).expect(0);
    assert_eq!(run.dues(), millis(&[100.0, 120.0, 220.0, 240.0]));
    fs::remove_dir_all(context.path().join("artifacts")).unwrap();
    let args = format!("{SMALL} --fixed-schedule --input-file trace.jsonl --benchmark-duration 0.21");
    assert_eq!(context.profile(&args).expect(0).dues(), millis(&[100.0, 150.0]));
}

#[test]
fn later_turns_of_a_trace_wait_for_the_answer_and_for_their_own_times() {
    let rows = concat!(
        r#"{"timestamp": 0, "input_length": 5, "output_length": 2, "session_id": "a"}"#,
        "\n",
        r#"{"timestamp": 20, "input_length": 5, "output_length": 2}"#,
        "\n",
        r#"{"timestamp": 400, "input_length": 5, "output_length": 2, "session_id": "a"}"#,
        "\n",
        r#"{"input_length": 5, "output_length": 2, "session_id": "a", "delay": 30}"#,
        "\n"
    );
    let context = with_file("trace.jsonl", rows);
    let run = context.profile(&format!("{SMALL} --fixed-schedule --input-file trace.jsonl")).expect(0);
    let dues = run.dues();
    let records = run.records();
    let started = records.run["started"].as_i64().unwrap();
    let end = |seq: usize| records.in_order("profiling")[seq]["end_ns"].as_i64().unwrap() - started;
    let own = millis(&[0.0, 400.0, 20.0]);
    assert_eq!(dues, [own[0], own[1].max(end(0)), end(1) + 30_000_000, own[2]]);
}

#[test]
fn a_trace_says_when_and_what() {
    let context = with_file("trace.jsonl", TRACE);
    for threads in [1, 2] {
        let args = format!("{SMALL} --fixed-schedule --input-file trace.jsonl --threads {threads}");
        let run = context.profile(&args).expect(0);
        assert_eq!(run.dues(), millis(&[100.0, 150.0, 220.5, 220.5]));
        assert_eq!(directory(&run), "sim-model-openai-chat-fixed_schedule");
        let records = run.records();
        let lengths: Vec<(u64, u64, u64)> = records
            .in_order("profiling")
            .iter()
            .map(|record| ["input_tokens", "want_out", "prompt"].map(|name| record[name].as_u64().unwrap()))
            .map(|[input, output, prompt]| (input, output, prompt))
            .collect();
        assert_eq!(lengths, [(5, 4, 0), (9, 2, 1), (7, 2, 2), (10, 3, 3)]);
        let bodies = run.bodies();
        assert_eq!(bodies.len(), 4);
        assert_eq!(bodies[1]["messages"][0]["content"], "The quick brown fox jumps over the lazy dog");
        assert_eq!(run.summary()["request_count"]["avg"], 4.0);
    }
    // The probe is the last prompt.
    let asked: Vec<u32> = context.requests().iter().skip(1).take(4).map(|request| request.output_tokens).collect();
    assert_eq!(asked, [4, 2, 2, 3]);
}

#[test]
fn a_part_of_a_trace_at_another_pace() {
    let context = with_file("trace.jsonl", TRACE);
    for (args, dues) in [
        ("--request-count 2", &[100.0, 150.0][..]),
        ("--fixed-schedule-auto-offset", &[0.0, 50.0, 120.5, 120.5]),
        ("--fixed-schedule-start-offset 140", &[10.0, 80.5, 80.5]),
        ("--fixed-schedule-start-offset 120ms --fixed-schedule-end-offset 0.2s", &[30.0]),
        ("--fixed-schedule-end-offset 150", &[100.0, 150.0]),
        ("--fixed-schedule-auto-offset --fixed-schedule-end-offset 150", &[0.0, 50.0]),
        ("--replay-speedup 2", &[50.0, 75.0, 110.25, 110.25]),
        ("--synthesis-speedup-ratio 0.5 --fixed-schedule-end-offset 120", &[200.0]),
        ("--concurrency 1 --replay-speedup 4", &[25.0, 37.5, 55.125, 55.125]),
    ] {
        let _ = fs::remove_dir_all(context.path().join("artifacts"));
        let run = context.profile(&format!("{SMALL} --fixed-schedule --input-file trace.jsonl {args}")).expect(0);
        assert_eq!(run.dues(), millis(dues), "{args}");
    }
}

#[test]
fn lines_without_times_are_prompts_of_any_load() {
    let lines = concat!(
        r#"{"text_input": "First message!", "input_length": 6755, "output_length": 3, "priority": 2}"#,
        "\n",
        r#"{"input_length": 12, "output_length": 2, "session_id": "a", "delay": 5}"#,
        "\n"
    );
    let context = with_file("prompts.jsonl", lines);
    let args = "--streaming --input-file payload:prompts.jsonl --request-count 4 --concurrency 2";
    let run = context.profile(args).expect(0);
    let bodies = run.bodies();
    assert_eq!(bodies.len(), 2);
    assert_eq!(bodies[0]["messages"][0]["content"], "First message!");
    let members = |index: usize| (bodies[index]["max_tokens"].clone(), bodies[index]["priority"].clone());
    assert_eq!([members(0), members(1)], [(json!(3), json!(2)), (json!(2), json!(null))]);
    let lengths: BTreeSet<u64> =
        run.records().all.iter().map(|record| record["input_tokens"].as_u64().unwrap()).collect();
    assert_eq!(lengths, BTreeSet::from([3, 12]), "a text has its own length");
    for words in [
        "members of its rows as they are: `priority`",
        "delay is not followed in the first row",
        "input_length beside a text",
    ] {
        assert!(run.stderr.contains(words), "{}", run.stderr);
    }
}

#[test]
fn conversations_hold_the_answers_of_the_server() {
    let lines = concat!(
        r#"{"session_id": "a", "prompt": "Name three rivers.", "output_length": 6}"#,
        "\n",
        r#"{"messages": [{"role": "user", "content": "Hello."}], "max_tokens": 4, "seed": 1}"#,
        "\n",
        r#"{"session_id": "a", "prompt": "Which of them is the longest?", "output_length": 5, "delay": 20}"#,
        "\n"
    );
    let context = with_file("prompts.jsonl", lines);
    for load in ["--concurrency 2", "--request-rate 100"] {
        let args = format!("--streaming --input-file prompts.jsonl --request-count 6 {load} -v");
        let run = context.profile(&args).expect(0);
        let said = "--input-file prompts.jsonl: 3 row(s): 2 conversation(s) of 3 turn(s), 15 output tokens asked for";
        assert!(
            run.stderr.contains(said) && run.stderr.contains("members of its rows as they are: `seed`"),
            "{}",
            run.stderr
        );
        let records = run.records();
        let records = records.in_order("profiling");
        assert_eq!(records.len(), 6);
        for (seq, record) in records.into_iter().enumerate() {
            let (round, place) = (seq as u64 / 3, seq % 3);
            assert_eq!(record["prompt"], place);
            // The server counts the messages as they came, and each answer is as long as it was asked for.
            assert!(record["usage"]["prompt_tokens"].as_u64() >= record["input_tokens"].as_u64(), "{record}");
            let history = [0, 4 + 6][usize::from(place == 1)];
            let conversation = &record["conversation"];
            match place {
                0 | 1 => assert_eq!(
                    *conversation,
                    json!({"number": round * 2, "turn": place, "turns": 2, "history_tokens": history})
                ),
                _ => assert_eq!(*conversation, Value::Null, "a conversation of one turn is a request like any other"),
            }
            assert_eq!(record["input_tokens"], [4, 7 + history, 2][place]);
        }
        comes_out_again(&context, &run);
        fs::remove_dir_all(context.path().join("artifacts")).unwrap();
    }
}

#[test]
fn moments_since_1970_are_counted_from_the_first_row() {
    for unit in [1.0, 1e3, 1e6] {
        let lines =
            [0.0, 0.05].map(|at| format!("{{\"timestamp\": {}, \"input_length\": 5}}\n", (1_732e6 + at) * unit));
        let context = with_file("trace.jsonl", &lines.concat());
        let run = context.profile(&format!("{SMALL} --fixed-schedule --input-file trace.jsonl")).expect(0);
        let dues: Vec<_> = run.dues().into_iter().map(|due| due / 1_000_000).collect();
        assert!(dues == [0, 50] || dues == [0, 49], "{unit}: {dues:?}");
        assert!(run.stderr.contains("its times are moments since 1970"), "{}", run.stderr);
    }
}

#[test]
fn hashes_beside_a_text_are_told_of() {
    let line = r#"{"timestamp": 0, "text": "Hello there.", "hash_ids": [1, 2]}"#;
    let context = with_file("trace.jsonl", line);
    let told = "note: --input-file trace.jsonl: hash_ids beside a text are not followed";
    let run = context.profile(&format!("{SMALL} --fixed-schedule --input-file trace.jsonl")).expect(0);
    assert!(run.stderr.contains(told), "{}", run.stderr);
    let context = with_file("trace.jsonl", TRACE);
    let run = context.profile(&format!("{SMALL} --fixed-schedule --input-file trace.jsonl")).expect(0);
    assert!(!run.stderr.contains("hash_ids"), "{}", run.stderr);
}

#[test]
fn files_that_make_no_schedule_are_refused_before_anything_is_sent() {
    let context = TestContext::new();
    let trace = "--fixed-schedule --input-file file";
    for (text, args, words) in [
        ("", "--request-intervals file", "--request-intervals file: there is no gap in it"),
        ("1\nx\n", "--request-intervals file", "--request-intervals file: line 2: `x` is not a whole number"),
        ("", trace, "--input-file file: there is no request in it"),
        (
            "{\"timestamp\": 0}\n{\"timestamp\": -3}",
            trace,
            "--input-file file: line 2, column 2: the `timestamp` -3 is not",
        ),
        ("{\"delay\": 2}", trace, "--input-file file: line 1: there is no `timestamp`"),
        ("{\"timestamp\": 0, \"messages\": []}", trace, "--input-file file: line 1, column 18: `messages` is empty"),
        ("{\"prompt\": \"a\"}", trace, "--input-file file: line 1: there is no timestamp"),
        ("{\"timestamp\": 90000000}", trace, "1.0 days after the start: give --fixed-schedule-auto-offset"),
        ("{\"timestamp\": 9}", &format!("{trace} --fixed-schedule-start-offset 10"), "between the offsets"),
        ("{\"timestamp\": 9}", &format!("{trace} --request-count 2"), "--request-count 2: the trace has 1 request"),
    ] {
        fs::write(context.path().join("file"), text).unwrap();
        let run = context.profile(&format!("{SMALL} {args}")).expect(2);
        assert!(run.stderr.contains(words), "{args}: {}", run.stderr);
        assert_eq!(run.stderr.trim_end().lines().count(), 1, "{}", run.stderr);
    }
    assert!(context.requests().is_empty());
}

#[test]
fn a_rate_that_changes_has_the_dues_of_its_curve() {
    let context = TestContext::new();
    let point = |at, per_second| RatePoint { at: Nanos::from_millis(at), per_second };
    let points = vec![point(0, 20.0), point(100, 400.0), point(200, 100.0)];
    for (pattern, arrival) in [("constant", Arrival::Constant), ("poisson", Arrival::Poisson)] {
        let arrivals = Arrivals::Series { points: points.clone(), arrival };
        let args = format!("--request-rate-series 0:20,0.1:400,200ms:100 --arrival-pattern {pattern}");
        let run = context.profile(&format!("{SMALL} {args} --request-count 60 --random-seed 7 --threads 2")).expect(0);
        assert_eq!(run.dues(), expected(&arrivals, 7, 60));
        assert_eq!(directory(&run), "sim-model-openai-chat-request_rate_series");
    }
}

#[test]
fn a_rate_of_one_point_is_a_rate() {
    let context = TestContext::new();
    let run = context.profile(&format!("{SMALL} --request-rate-series 0:100")).expect(0);
    assert_eq!(run.dues(), (0..10).map(|number| number * 10_000_000).collect::<Vec<i64>>());
}

#[test]
fn a_rate_that_is_reached_has_the_dues_of_its_ramp() {
    let context = TestContext::new();
    for (shape, name) in [(RampShape::Linear, "linear"), (RampShape::Exponential, "exponential")] {
        let ramp = Some(Ramp { time: Nanos::from_millis(200), shape });
        let rate = Rate::try_new(200.0).unwrap();
        let arrivals = Arrivals::Rate { rate, arrival: Arrival::Constant, ramp };
        let args = "--request-rate 200 --request-rate-ramp-duration 0.2 --request-count 40";
        let run = context.profile(&format!("{SMALL} {args} --ramp-shape {name}")).expect(0);
        assert_eq!(run.dues(), expected(&arrivals, 0, 40));
    }
}

#[test]
fn reports_of_schedules_are_made_again_from_their_records() {
    let context = TestContext::new();
    for args in [
        "--fixed-schedule --input-file trace.jsonl --replay-speedup 2",
        "--request-intervals gaps.txt --request-count 5",
        "--request-rate-series 0:100,0.1:200 --request-count 12",
        "--request-rate 200 --request-rate-ramp-duration 0.1 --request-count 12",
        "--user-centric-rate 200 --num-users 3 --request-count 12",
    ] {
        let _ = fs::remove_dir_all(context.path().join("artifacts"));
        fs::write(context.path().join("trace.jsonl"), TRACE).unwrap();
        fs::write(context.path().join("gaps.txt"), "3000\n").unwrap();
        let run = context.profile(&format!("{SMALL} {args}")).expect(0);
        // From the records alone, whose plan holds the gaps and the times of a trace.
        let _ = (fs::remove_file(context.path().join("trace.jsonl")), fs::remove_file(context.path().join("gaps.txt")));
        comes_out_again(&context, &run);
        let load = serde_json::from_value(run.records().header["plan"]["load"].clone()).unwrap();
        if let Load::Open { arrivals, .. } = load
            && matches!(arrivals, Arrivals::Intervals { .. } | Arrivals::Trace { .. })
        {
            let dues = expected(&arrivals, 0, run.records().all.len());
            assert_eq!(run.dues(), dues, "the stored plan is the one that ran");
        }
    }
}

#[test]
fn a_trace_is_replayed_at_each_level() {
    let context = with_file("trace.jsonl", TRACE);
    let run =
        context.profile(&format!("{SMALL} --fixed-schedule --input-file trace.jsonl --concurrency 1,2")).expect(0);
    let prefix = "sim-model-openai-chat-concurrency";
    let there = files(&context.path().join("artifacts"));
    let names =
        ["1,2-fixed_schedule_levels.csv", "1,2-fixed_schedule_levels.json", "1-fixed_schedule", "2-fixed_schedule"];
    assert_eq!(there, names.map(|name| format!("{prefix}{name}")), "{}", run.stdout);
    for cap in [1, 2] {
        let path = context.path().join(format!("artifacts/{prefix}{cap}-fixed_schedule/records.jsonl"));
        let records = crate::context::Records::read(&fs::read_to_string(path).unwrap());
        let started = crate::context::nanos(&records.run, "started");
        let due = |record: &&Value| crate::context::nanos(record, "due_ns") - started;
        let dues: Vec<i64> = records.in_order("profiling").iter().map(due).collect();
        assert_eq!(dues, millis(&[100.0, 150.0, 220.5, 220.5]));
        assert_eq!(records.header["plan"]["load"]["open"]["cap"]["most"], json!(cap));
        let most_at_once = records.all.iter().map(|record| record["slot"].as_u64().unwrap()).max().unwrap();
        assert!(most_at_once < cap);
    }
}
