//! Writes the files of a series: all figures as JSON, and one row per level as CSV. Numbers are written without grouping, for programs.

use super::{LevelRuns, OneRun, Series};
use crate::genai::json::put_metrics;
use crate::text::indented;
use crate::text::numbers::python_repr;
use serde_json::{Map, Value, json};
use std::io::{self, Write};
use streamgauge_stats::{Across, Counts, Figure, FigureAcross, Metric, Need, Statistic, Use, main_figures};

/// Writes a series as JSON.
///
/// # Errors
/// When `out` cannot be written.
pub fn write_json(mut out: impl Write, series: &Series) -> io::Result<()> {
    let document = json!({
        "streamgauge": env!("CARGO_PKG_VERSION"),
        "repeat": series.repeat,
        "levels": series.levels.iter().map(level).collect::<io::Result<Value>>()?,
        "not_run": series.not_run.iter().map(ToString::to_string).collect::<Value>(),
        "ended_early": series.ended_early.as_ref().map(ToString::to_string),
    });
    indented::write(&mut out, &document)?;
    out.flush()
}

fn level(level: &LevelRuns) -> io::Result<Value> {
    let across = level.across();
    let mut document = Map::new();
    document.insert("name".into(), json!(level.load.to_string()));
    document.insert("load".into(), serde_json::to_value(&level.load)?);
    document.insert("requests".into(), requests(&across.counts));
    document.insert("fidelity".into(), serde_json::to_value(across.verdict)?);
    document.insert("figures".into(), by_metric(&across, |across| json!(across.spread.mean)));
    if level.runs.len() > 1 {
        document.insert("between_runs".into(), by_metric(&across, between));
    }
    document.insert("runs".into(), level.runs.iter().map(run).collect::<io::Result<Value>>()?);
    Ok(Value::Object(document))
}

/// An object with one member per metric, each with the metric's unit and one member per statistic.
fn by_metric(across: &Across, value: impl Fn(&FigureAcross) -> Value) -> Value {
    let mut document = Map::new();
    for figure in &across.figures {
        let metric = figure.figure.metric;
        let unit = || json!({"unit": metric.unit()});
        document.entry(metric.key()).or_insert_with(unit)[figure.figure.name()] = value(figure);
    }
    Value::Object(document)
}

fn between(across: &FigureAcross) -> Value {
    let spread = &across.spread;
    json!({
        "runs": spread.runs,
        "mean": spread.mean,
        "std": spread.std,
        "cv": spread.cv,
        "min": spread.min,
        "max": spread.max,
        "low": spread.interval.map(|interval| interval.low),
        "high": spread.interval.map(|interval| interval.high),
        "one_run": across.within,
        "beyond_one_run": across.beyond,
    })
}

fn run(run: &OneRun) -> io::Result<Value> {
    let summary = &run.summary;
    let mut metrics = Map::new();
    put_metrics(&mut metrics, &Metric::of_genai_perf(), summary);
    // The latencies from due are what a user experiences under a schedule.
    put_metrics(&mut metrics, &Metric::with_use(Use::Levels).collect::<Vec<_>>(), summary);
    Ok(json!({
        "directory": run.directory,
        "seed": run.seed,
        "prompts": run.prompts,
        "prompts_known": run.prompts_known,
        "duration_s": summary.duration.as_secs_f64(),
        "requests": requests(&summary.counts),
        "fidelity": serde_json::to_value(summary.fidelity.verdict)?,
        "interrupted": run.interrupted,
        "ended_early": run.ended_early,
        "metrics": metrics,
    }))
}

fn requests(counts: &Counts) -> Value {
    json!({
        "measured": counts.requests,
        "ok": counts.ok,
        "failed": counts.failed,
        "cut_off": counts.cut_off,
        "cancelled": counts.cancelled,
        "outside": counts.outside,
        "warmup": counts.warmup,
    })
}

/// Writes a row for each level: its requests and main figures, as means over its runs, and with repeats the `±` of each mean.
///
/// # Errors
/// When `out` cannot be written.
pub fn write_csv(out: impl Write, series: &Series) -> io::Result<()> {
    let repeated = series.repeat > 1;
    let shown = |figure: &Figure| series.streaming || !figure.metric.needs(Need::Stream);
    let levels: Vec<(&LevelRuns, Across)> = series.levels.iter().map(|level| (level, level.across())).collect();
    let has =
        |figure: &Figure| levels.iter().any(|(_, across)| across.figures.iter().any(|known| known.figure == *figure));
    let figures: Vec<Figure> = main_figures().filter(shown).filter(has).collect();
    let mut rows = csv::Writer::from_writer(out);
    let mut head =
        ["Level", "Directory", "Runs", "Requests", "Ok", "Failed", "Cut Off", "Cancelled"].map(String::from).to_vec();
    for figure in &figures {
        let name = column(*figure);
        let reach = repeated.then(|| format!("{name} ± 95 %"));
        head.push(name);
        head.extend(reach);
    }
    head.push("Fidelity".into());
    rows.write_record(head)?;
    for (level, across) in &levels {
        let directory = level.runs.first().map(|run| match repeated {
            true => run.directory.parent().unwrap_or(&run.directory),
            false => &run.directory,
        });
        let Counts { requests, ok, failed, cut_off, cancelled, .. } = across.counts;
        let counts = [across.runs, requests, ok, failed, cut_off, cancelled];
        let mut row = vec![level.load.to_string(), directory.map_or(String::new(), |path| path.display().to_string())];
        row.extend(counts.map(|count| count.to_string()));
        for figure in &figures {
            let found = across.figure(figure.metric, figure.statistic);
            row.push(found.map_or(String::new(), |found| python_repr(found.spread.mean)));
            if repeated {
                let reach = found.and_then(|found| Some(found.spread.interval?.reach(found.spread.mean)));
                row.push(reach.map_or(String::new(), python_repr));
            }
        }
        row.push(across.verdict.to_string());
        rows.write_record(row)?;
    }
    rows.flush()
}

fn column(figure: Figure) -> String {
    let (title, unit) = (figure.metric.title(), figure.metric.row_unit());
    match figure.statistic {
        Statistic::Avg => format!("{title} ({unit})"),
        Statistic::Percentile(_) => format!("{title} {} ({unit})", figure.name()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{run, two_levels};
    use super::*;
    use streamgauge_core::load::Load;

    fn document(series: &Series) -> Value {
        let mut out = Vec::new();
        write_json(&mut out, series).unwrap();
        serde_json::from_slice(&out).unwrap()
    }

    fn rows(series: &Series) -> Vec<Vec<String>> {
        let mut out = Vec::new();
        write_csv(&mut out, series).unwrap();
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(&out[..]);
        reader.records().map(|row| row.unwrap().iter().map(String::from).collect()).collect()
    }

    fn repeated() -> Series {
        let mut series = two_levels();
        series.repeat = 3;
        let runs = [10.0, 12.0, 14.0].iter().zip(0..).map(|(ms, k)| run(&format!("c4/run-{}", k + 1), k, *ms, 1.9));
        series.levels = vec![LevelRuns { load: Load::concurrency(4), runs: runs.collect() }];
        series
    }

    #[test]
    fn every_level_and_every_run_is_told() {
        let document = document(&two_levels());
        let level = &document["levels"][1];
        assert_eq!((&level["name"], &level["load"]["concurrency"]["most"]), (&json!("concurrency 4"), &json!(4)));
        assert_eq!(level["figures"]["time_to_first_token"], json!({"unit": "ms", "p50": 12.5, "p99": 25.0}));
        let per_user = &level["figures"]["output_token_throughput_per_user"];
        assert!(per_user["avg"].is_f64() && per_user["p50"].is_f64(), "{per_user}");
        assert_eq!(level["figures"]["request_throughput"], json!({"unit": "requests/sec", "avg": 80.0}));
        let run = &level["runs"][0];
        assert_eq!(run["directory"], "tinychat-openai-chat-concurrency4");
        assert_eq!((&run["seed"], &run["duration_s"]), (&json!(4), &json!(0.262)));
        assert_eq!((&run["metrics"]["request_latency"]["avg"], &run["requests"]["ok"]), (&json!(12.5), &json!(8)));
        assert!(level.get("between_runs").is_none());
        assert_eq!((&document["not_run"], &document["ended_early"]), (&json!([]), &Value::Null));
    }

    #[test]
    fn repeats_have_their_spread_in_both_files() {
        let between = document(&repeated())["levels"][0]["between_runs"]["time_to_first_token"]["p50"].clone();
        assert_eq!((&between["mean"], &between["std"], &between["runs"]), (&json!(12.0), &json!(2.0), &json!(3)));
        assert!((between["one_run"].as_f64().unwrap() - 1.9).abs() < 1e-9 && between["beyond_one_run"] == false);
        assert!((between["high"].as_f64().unwrap() - 16.968).abs() < 1e-3);
        let rows = rows(&repeated());
        let at = |name: &str| rows[0].iter().position(|head| head == name).unwrap();
        assert_eq!(rows[1][at("Time To First Token p50 (ms)")], "12.0");
        assert!(rows[1][at("Time To First Token p50 (ms) ± 95 %")].starts_with("4.968"));
        assert_eq!(rows[1][..6], ["concurrency 4", "c4", "3", "24", "24", "0"]);
    }

    #[test]
    fn what_a_level_does_not_have_is_blank() {
        let mut series = two_levels();
        series.levels[1].runs[0].summary.distributions.clear();
        let rows = rows(&series);
        let at = |name: &str| rows[0].iter().position(|head| head == name).unwrap();
        let column = at("Request Latency p99 (ms)");
        assert_eq!((rows[1][column].as_str(), rows[2][column].as_str()), ("20.0", ""));
        assert_eq!(rows[0].last().unwrap(), "Fidelity");
        series.streaming = false;
        assert!(!self::rows(&series)[0].iter().any(|head| head.contains("Token p50") || head.contains("User")));
    }
}
