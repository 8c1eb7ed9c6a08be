//! `calibrate` through the real binary: what it leaves behind, and what a later profile makes of it. Figures are the
//! machine's; nothing here depends on them.

use crate::context::{Run, TestContext, files, wait_until};
use serde_json::{Value, json};
use std::fs;

const TINY: &str = "calibrate --streams 1,2 --itl 5 --request-rate 40 --duration 0.3";

fn calibrate(context: &TestContext, args: &str) -> Run {
    context.run(context.bare(&format!("{TINY} {args}")))
}

fn stored(context: &TestContext, path: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(context.path().join(path)).unwrap()).unwrap()
}

/// The sentence of a profile about the calibration, if there is one.
fn note(run: &Run) -> Option<&str> {
    run.stderr.lines().find(|line| line.contains("calibration"))
}

const USUAL: &str = ".local/share/streamgauge/calibration.json";

#[test]
fn every_point_is_measured_compared_and_stored() {
    let context = TestContext::new();
    let run = calibrate(&context, "").expect(0);
    let result = stored(&context, USUAL);
    assert_eq!(files(&context.path().join(".local/share/streamgauge")), ["calibration.json", "calibration.svg"]);
    assert_eq!(
        (&result["schema"], &result["limit_ms"], &result["point_seconds"]),
        (&json!(1), &json!(0.1), &json!(0.3))
    );
    assert_eq!(result["machine"]["version"], env!("CARGO_PKG_VERSION"));
    assert!(result["machine"]["processors"].as_u64().unwrap() > 0);
    let points = result["points"].as_array().unwrap();
    let offered: Vec<&Value> = points.iter().map(|point| &point["offered"]).collect();
    let streams = |count| json!({"streams": {"streams": count, "itl_ms": 5.0}});
    assert_eq!(offered, [&streams(1), &streams(2), &json!({"rate": {"per_second": 40.0}})]);
    for (point, tokens) in points.iter().zip([60, 60, 4]) {
        assert_eq!(point["unmatched"], Value::Null, "{point}");
        let requests = point["requests"].as_u64().unwrap();
        assert!(requests > 0, "{point}");
        assert_eq!(point["events"], requests * tokens, "{point}");
        for figure in ["ttft_p50", "ttft_p99", "itl_p50", "itl_p99"] {
            let [reported, truth, error] =
                ["reported", "true", "error"].map(|name| point["errors"][figure][name].as_f64());
            assert_eq!(error.unwrap(), reported.unwrap() - truth.unwrap(), "{point}");
            // The server never writes before it is due, and its first token is due after 20 or 30 ms.
            assert!(!figure.starts_with("ttft") || truth.unwrap() >= 19.9, "{point}");
        }
        assert_eq!(point["send_lateness_p99_ms"].is_number(), point["offered"]["rate"].is_object(), "{point}");
        let small = ["ttft_p50", "ttft_p99", "itl_p50", "itl_p99"]
            .iter()
            .all(|figure| point["errors"][figure]["error"].as_f64().unwrap().abs() <= 0.1);
        assert_eq!(point["faithful"], small && point["verdict"] == "good", "{point}");
        if point["verdict"] == "good" {
            assert_eq!(point["agreement"], if small { "agrees" } else { "false_good" }, "{point}");
        }
    }
    assert_eq!(result["good"]["streams"].as_array().unwrap().len(), 1);
    assert!(fs::read_to_string(context.path().join(USUAL).with_extension("svg")).unwrap().contains("5 ms per token"));
    for text in
        ["2 x 5 ms", "40 req/s", "Measured accurately on this machine", "Fidelity verdict against real error: ", USUAL]
    {
        assert!(run.stdout.contains(text), "{text}: {}", run.stdout);
    }
    // The runs themselves leave nothing.
    assert!(!context.path().join("artifacts").exists());
}

/// Puts a calibration in place that found this good.
fn found_good(context: &TestContext, path: &str, streams: Value) {
    let mut result = stored(context, USUAL);
    result["good"]["streams"][0]["streams"] = streams;
    result["good"]["rate"]["per_second"] = json!(40.0);
    fs::write(context.path().join(path), result.to_string()).unwrap();
}

#[test]
fn a_later_profile_beyond_what_was_good_says_so() {
    let context = TestContext::new();
    let load = |args: &str| format!("--streaming --isl 10 --osl 2 {args}");
    let profile = |args: &str| context.profile(&load(args)).expect(0);
    assert_eq!(note(&profile("--concurrency 3 --request-count 3")), None);

    calibrate(&context, "").expect(0);
    found_good(&context, USUAL, json!(2));
    assert_eq!(note(&profile("--concurrency 2 --request-count 2")), None);
    assert_eq!(note(&profile("--request-rate 40 --request-count 2")), None);
    let run = profile("--concurrency 3 --request-count 3");
    assert!(
        note(&run).unwrap().starts_with("note: 3 concurrent requests exceed what the calibration found accurate"),
        "{}",
        run.stderr
    );
    assert!(note(&run).unwrap().contains("up to 2 streams at 5 ms per token; "), "{}", run.stderr);
    let run = profile("--request-rate 41 --request-count 2");
    assert!(note(&run).unwrap().contains("up to 40 requests/s"), "{}", run.stderr);

    // Another machine's is not used, and only who asks is told.
    let mut result = stored(&context, USUAL);
    result["machine"]["cpu"] = json!("another");
    fs::write(context.path().join(USUAL), result.to_string()).unwrap();
    assert_eq!(note(&profile("--concurrency 3 --request-count 3")), None);
    let run = profile("--concurrency 3 --request-count 3 --verbose");
    assert!(note(&run).unwrap().contains("is not used") && note(&run).unwrap().contains("its processor: another"));

    // One that cannot be read is not passed over in silence, and stops nothing.
    fs::write(context.path().join(USUAL), "{\"schema\": 99}").unwrap();
    let run = profile("--concurrency 3 --request-count 3");
    assert!(note(&run).unwrap().contains("it has schema 99, and this version reads 1"), "{}", run.stderr);
}

#[test]
fn the_variable_names_the_file_for_both() {
    let context = TestContext::new();
    let with = |mut command: assert_cmd::Command, file: &str| {
        command.env("STREAMGAUGE_CALIBRATION", context.path().join(file));
        context.run(command)
    };
    with(context.bare("calibrate --streams 1 --itl 5 --request-rate none --duration 0.1"), "mine.json").expect(0);
    assert_eq!(files(context.path()), ["mine.json", "mine.svg"]);
    assert_eq!(stored(&context, "mine.json")["good"]["rate"], Value::Null);
    let run = with(context.command("--streaming --isl 10 --osl 2 --request-count 2"), "missing.json").expect(0);
    assert!(note(&run).unwrap().contains("missing.json cannot be used"), "{}", run.stderr);
}

#[test]
fn what_cannot_be_is_refused_before_any_load() {
    let context = TestContext::new();
    for (args, words) in [
        ("calibrate --streams 0", "--streams"),
        ("calibrate --itl 0", "at least 0.001 ms"),
        ("calibrate --request-rate inf", "above 0, or none"),
        ("calibrate --request-rate none,5", "`none` stands alone"),
        ("calibrate --duration 0", "longer than 0"),
        ("calibrate --output plot.svg", "the plot's"),
        ("calibrate --output .", "--output ."),
    ] {
        let run = context.run(context.bare(args)).expect(2);
        assert!(run.stderr.contains(words), "{args}: {}", run.stderr);
        assert!(!run.stderr.contains("calibrating"), "{args}: {}", run.stderr);
    }
    assert_eq!(files(context.path()), [""; 0]);
}

#[cfg(unix)]
#[test]
fn an_interrupted_calibration_stores_nothing() {
    let context = TestContext::new();
    let running = context.start_bare("calibrate --streams 1,2 --itl 5 --request-rate none --duration 60");
    // The directory is made once signals are watched for.
    let dir = context.path().join(".local/share/streamgauge");
    wait_until("the first point", || dir.exists());
    let run = running.interrupt_until_it_ends().expect(130);
    assert!(run.stderr.contains("interrupted: nothing is stored"), "{}", run.stderr);
    assert_eq!(files(&dir), [""; 0]);
}
