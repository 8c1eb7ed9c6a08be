//! `profile_export_genai_perf.json`: GenAI-Perf's summary with every key in its place, followed by Streamgauge's own members, with the
//! fidelity last.

use super::{input_config, server};
use crate::text::indented;
use serde_json::{Map, Value, json};
use std::io::{self, Write};
use streamgauge_core::RunPlan;
use streamgauge_core::record::RunFacts;
use streamgauge_stats::{
    Counts, Distribution, FailureGroup, Interval, Metric, PERCENTILES, Scope, Summary, TargetCounts, WithFailures,
};

/// Writes the summary of a run, without a newline at the end, as GenAI-Perf leaves it.
///
/// # Errors
/// When `out` cannot be written.
pub fn write(out: impl Write, plan: &RunPlan, facts: &RunFacts, summary: &Summary) -> io::Result<()> {
    indented::write(out, &build(plan, facts, summary)?)
}

fn build(plan: &RunPlan, facts: &RunFacts, summary: &Summary) -> io::Result<Value> {
    let mut document = Map::new();
    put_metrics(&mut document, &Metric::of_genai_perf(), summary);
    document.insert("input_config".into(), input_config::build(plan));
    put_metrics(&mut document, &Metric::beyond_genai_perf(), summary);
    document.insert("samples".into(), samples(summary));
    document.insert("intervals".into(), intervals(summary));
    if !summary.with_failures.is_empty() {
        document.insert("with_failures".into(), with_failures(summary));
    }
    document.insert("requests".into(), requests(summary));
    if !plan.endpoint.others.is_empty() {
        document.insert("targets".into(), targets(plan, summary));
    }
    document.insert("errors".into(), summary.failures.iter().map(error).collect::<io::Result<Value>>()?);
    document.insert("token_counts".into(), token_counts(plan, summary)?);
    if let Some(steady) = &summary.steady_state {
        document.insert("steady_state".into(), steady_state(facts, steady));
    }
    document.extend(server::members(summary));
    document.insert("run".into(), run(plan, facts, summary)?);
    document.insert("fidelity".into(), serde_json::to_value(&summary.fidelity)?);
    Ok(Value::Object(document))
}

/// A metric without data has no key.
pub(crate) fn put_metrics(document: &mut Map<String, Value>, metrics: &[Metric], summary: &Summary) {
    for &metric in metrics {
        let value = match summary.scalar(metric) {
            Some(value) => Some(json!({"unit": metric.unit(), "avg": value})),
            None => summary.distribution(metric).map(|d| statistics(metric.unit(), d)),
        };
        if let Some(value) = value {
            document.insert(metric.key().into(), value);
        }
    }
}

fn statistics(unit: &str, d: &Distribution) -> Value {
    let mut members = Map::new();
    members.insert("unit".into(), json!(unit));
    members.insert("avg".into(), json!(d.avg));
    for p in PERCENTILES {
        members.insert(format!("p{p}"), json!(d.percentile(p)));
    }
    members.insert("min".into(), json!(d.min));
    members.insert("max".into(), json!(d.max));
    members.insert("std".into(), json!(d.std));
    Value::Object(members)
}

/// How many values stand behind each distribution, whether its percentiles are exact or from a histogram, and which of
/// them have too few values for a two-sided 95 % interval; how many independent values the mean is worth, and, where the values
/// depend on each other so much that the run is too short for an interval, at least how many seconds one takes. Beside the
/// distributions, whose keys are not ours.
fn samples(summary: &Summary) -> Value {
    let entry = |d: &Distribution| {
        let thin: Vec<String> = PERCENTILES.iter().filter(|&&p| !d.supports(p)).map(|p| format!("p{p}")).collect();
        let mut members =
            json!({"count": d.count, "exact": d.exact, "too_few_for": thin, "effective": d.intervals.effective});
        let needed = needed(d);
        if let (Value::Object(members), false) = (&mut members, needed.is_empty()) {
            members.insert("needed_s".into(), Value::Object(needed));
        }
        members
    };
    Value::Object(summary.distributions.iter().map(|(metric, d)| (metric.key().into(), entry(d))).collect())
}

/// The statistics whose intervals take a longer run, each with its length in seconds.
fn needed(d: &Distribution) -> Map<String, Value> {
    let needed = d.intervals.needed;
    let avg = needed.avg.map(|seconds| ("avg".to_owned(), json!(seconds)));
    let percentiles = PERCENTILES.iter().zip(needed.percentiles);
    avg.into_iter().chain(percentiles.filter_map(|(p, seconds)| Some((format!("p{p}"), json!(seconds?))))).collect()
}

/// The two-sided 95 % intervals that the run supports, by metric and statistic.
fn intervals(summary: &Summary) -> Value {
    let ends = |interval: Interval| json!({"low": interval.low, "high": interval.high});
    let mut document = Map::new();
    for metric in Metric::ALL {
        let mut members = Map::new();
        members.extend(summary.interval(metric).map(|interval| ("avg".into(), ends(interval))));
        if let Some(d) = summary.distribution(metric) {
            let known = PERCENTILES.iter().filter_map(|&p| Some((format!("p{p}"), ends(d.interval(p)?))));
            members.extend(known);
        }
        if !members.is_empty() {
            document.insert(metric.key().into(), Value::Object(members));
        }
    }
    Value::Object(document)
}

/// Percentiles with each failed request as the longest of all; one that is a failed request is null.
fn with_failures(summary: &Summary) -> Value {
    let entry = |metric: Metric, waits: &WithFailures| {
        let mut members = Map::new();
        members.insert("unit".into(), json!(metric.unit()));
        for p in PERCENTILES {
            members.insert(format!("p{p}"), json!(waits.percentile(p)));
        }
        members.insert("requests".into(), json!(waits.requests));
        members.insert("failed".into(), json!(waits.failed));
        members.insert("cut_off".into(), json!(waits.cut_off));
        Value::Object(members)
    };
    let entries = summary.with_failures.iter();
    Value::Object(entries.map(|(metric, waits)| (metric.key().into(), entry(*metric, waits))).collect())
}

/// Members that an ordinary run has nothing for are written only where there is something.
fn requests(summary: &Summary) -> Value {
    let Counts { requests, ok, failed, cut_off, cancelled, warmup, retried, sent_late, never_sent, outside } =
        summary.counts;
    let mut members = Map::new();
    let mut put = |key: &str, count: u64| members.insert(key.into(), json!(count));
    put("measured", requests);
    put("ok", ok);
    put("failed", failed);
    put("cut_off", cut_off);
    if cancelled > 0 {
        put("cancelled", cancelled);
    }
    put("retried", retried);
    put("sent_late", sent_late);
    put("never_sent", never_sent);
    if summary.scope != Scope::Run {
        put("outside", outside);
    }
    put("warmup", warmup);
    Value::Object(members)
}

/// Requests by server, in the order of the plan.
fn targets(plan: &RunPlan, summary: &Summary) -> Value {
    let counts = summary.targets.iter().copied().chain(std::iter::repeat(TargetCounts::default()));
    plan.endpoint
        .targets()
        .zip(counts)
        .map(|(target, counts)| {
            json!({
                "url": target.to_string(),
                "measured": counts.requests,
                "ok": counts.ok,
                "failed": counts.failed,
            })
        })
        .collect()
}

/// The steady state: its span, counted from the run's start, and the same figures as the document has for the whole run.
fn steady_state(facts: &RunFacts, steady: &Summary) -> Value {
    let mut members = Map::new();
    if let Some(span) = steady.scope.span() {
        members.insert("from_s".into(), json!((span.from - facts.started).as_secs_f64()));
        members.insert("to_s".into(), json!((span.to - facts.started).as_secs_f64()));
    }
    members.insert("duration_s".into(), json!(steady.duration.as_secs_f64()));
    members.insert("requests".into(), requests(steady));
    put_metrics(&mut members, &Metric::of_genai_perf(), steady);
    put_metrics(&mut members, &Metric::beyond_genai_perf(), steady);
    members.insert("samples".into(), samples(steady));
    members.insert("intervals".into(), intervals(steady));
    if !steady.with_failures.is_empty() {
        members.insert("with_failures".into(), with_failures(steady));
    }
    Value::Object(members)
}

fn error(group: &FailureGroup) -> io::Result<Value> {
    Ok(json!({
        "stage": serde_json::to_value(group.stage)?,
        "class": serde_json::to_value(group.class)?,
        "status": group.status,
        "count": group.count,
        "sample": group.sample,
        "time_to_failure": statistics(Metric::TimeToFailure.unit(), &group.time_to_failure),
    }))
}

fn token_counts(plan: &RunPlan, summary: &Summary) -> io::Result<Value> {
    let tokens = &summary.tokens;
    Ok(json!({
        "asked": serde_json::to_value(plan.measure.token_count)?,
        "by_usage": tokens.by_usage,
        "by_tokenizer": tokens.by_tokenizer,
        "by_chunks": tokens.by_chunks,
        "missing": tokens.missing,
        "compared": tokens.compared,
        "disagree": tokens.disagree,
    }))
}

fn run(plan: &RunPlan, facts: &RunFacts, summary: &Summary) -> io::Result<Value> {
    let windows = facts.window.map(|window| {
        json!({
            "from_s": (window.from - facts.started).as_secs_f64(),
            "to_s": (window.to - facts.started).as_secs_f64(),
            "count": window.windows,
            "stable": window.stable,
        })
    });
    Ok(json!({
        "streamgauge": env!("CARGO_PKG_VERSION"),
        "started_ns": facts.anchor_wall.saturating_add(facts.started.0),
        "duration_s": summary.duration.as_secs_f64(),
        "seed": plan.prompts.seed,
        "kernel_stamps": facts.kernel_stamps,
        "interrupted": facts.interrupted,
        "ended_early": facts.ended_early,
        "satisfied": facts.satisfied,
        "windows": windows,
        "connections_opened": facts.connections_opened,
        "connections_replaced": facts.connections_replaced,
        "plan": serde_json::to_value(plan)?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{add_ours, distribution, facts, golden_runs, golden_summary, plan, secret_header};
    use streamgauge_core::plan::{EndpointKind, Target};
    use streamgauge_core::record::WindowFacts;
    use streamgauge_core::stop::StopRule;
    use streamgauge_core::{FailureClass, Nanos, Satisfied, Stage};
    use streamgauge_stats::Span;

    fn written(plan: &RunPlan, summary: &Summary) -> String {
        let mut out = Vec::new();
        write(&mut out, plan, &facts(), summary).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn read(plan: &RunPlan, summary: &Summary) -> Value {
        serde_json::from_str(&written(plan, summary)).unwrap()
    }

    /// Settings of that tool's own that we do not pretend to have.
    fn with_our_settings(golden: &str) -> String {
        golden
            .replace(r#""path": "perf_analyzer""#, r#""path": "streamgauge""#)
            .replace("[\n        \"http://localhost:9400/metrics\"\n      ]", "[]")
            .replace(r#""_enable_debug_logging": true"#, r#""_enable_debug_logging": false"#)
    }

    #[test]
    fn real_files_come_back_byte_for_byte_and_ours_follows() {
        for (plan, golden) in golden_runs() {
            let mut summary = golden_summary(golden);
            add_ours(&mut summary);
            let text = written(&plan, &summary);
            let theirs = with_our_settings(golden);
            let theirs = theirs.strip_suffix("\n}").unwrap();
            assert!(text.starts_with(theirs), "{text}");
            assert!(text[theirs.len()..].starts_with(",\n  \"inter_chunk_latency\": {\n    \"unit\": \"ms\""));
            assert!(text.ends_with("\n}"));
        }
    }

    #[test]
    fn keys_of_ours_are_in_order_and_fidelity_is_last() {
        let (plan, golden) = golden_runs().into_iter().next().unwrap();
        let mut summary = golden_summary(golden);
        add_ours(&mut summary);
        let document = read(&plan, &summary);
        let theirs: Value = serde_json::from_str(golden).unwrap();
        let keys: Vec<&str> = document.as_object().unwrap().keys().map(String::as_str).collect();
        let (before, after) = keys.split_at(theirs.as_object().unwrap().len());
        assert_eq!(before, theirs.as_object().unwrap().keys().collect::<Vec<_>>());
        let ours = ["inter_chunk_latency", "time_to_first_byte", "template_tokens", "client_lag"];
        let rest = ["samples", "intervals", "requests", "errors", "token_counts", "run", "fidelity"];
        assert_eq!(after, [&ours[..], &rest[..]].concat());
        assert_eq!(document["fidelity"]["verdict"], "degraded");
        assert_eq!(document["fidelity"]["rows"][1]["remedy"], "give it more threads");
        assert_eq!(document["run"]["started_ns"], 1_795_314_657_000_000_005_i64);
        assert_eq!(document["run"]["duration_s"], 0.262);
        assert_eq!(document["run"]["plan"]["load"]["concurrency"]["most"], 2);
        assert_eq!(document["requests"]["ok"], 8);
    }

    #[test]
    fn thin_percentiles_and_failures_are_told() {
        let mut summary = golden_summary(golden_runs()[0].1);
        summary.distributions[0].1.count = 59;
        summary.distributions[0].1.exact = false;
        summary.distributions[0].1.intervals.effective = 20.5;
        summary.distributions[0].1.intervals.needed.avg = Some(54.5);
        summary.distributions[0].1.intervals.needed.percentiles[8] = Some(900.0);
        let time_to_failure = distribution([2.0, 1.0, 3.0, 0.5], |_| 2.0);
        let (stage, class) = (Stage::FirstByte, FailureClass::Timeout);
        summary.failures = vec![FailureGroup {
            stage,
            class,
            status: None,
            count: 3,
            sample: "late".into(),
            mixed: false,
            time_to_failure,
        }];
        let document = read(&plan(EndpointKind::Chat), &summary);
        let expected = json!({
            "count": 59, "exact": false, "too_few_for": ["p1", "p99"], "effective": 20.5,
            "needed_s": {"avg": 54.5, "p99": 900.0},
        });
        assert!(document["samples"]["request_latency"].get("needed_s").is_none());
        assert_eq!(document["samples"]["time_to_first_token"], expected);
        let error = &document["errors"][0];
        assert_eq!((&error["stage"], &error["class"]), (&json!("first_byte"), &json!("timeout")));
        assert_eq!((&error["count"], &error["sample"]), (&json!(3), &json!("late")));
        assert_eq!(error["time_to_failure"]["max"], 3.0);
    }

    #[test]
    fn intervals_and_failures_are_told_by_statistic() {
        let mut summary = golden_summary(golden_runs()[0].1);
        assert_eq!(read(&plan(EndpointKind::Chat), &summary)["intervals"], json!({}));
        let between = |low, high| Some(Interval { low, high });
        summary.distributions[0].1.intervals.avg = between(1.0, 2.5);
        summary.distributions[0].1.intervals.percentiles[4] = between(0.5, 3.0);
        summary.rate_intervals = vec![(Metric::RequestThroughput, Interval { low: 28.0, high: 32.0 })];
        let mut percentiles = [Some(7.5); 9];
        percentiles[8] = None;
        let waits = WithFailures { requests: 11, failed: 2, cut_off: 1, percentiles };
        summary.with_failures = vec![(Metric::RequestLatency, waits)];
        let document = read(&plan(EndpointKind::Chat), &summary);
        let expected = json!({
            "time_to_first_token": {"avg": {"low": 1.0, "high": 2.5}, "p50": {"low": 0.5, "high": 3.0}},
            "request_throughput": {"avg": {"low": 28.0, "high": 32.0}},
        });
        assert_eq!(document["intervals"], expected);
        let waits = &document["with_failures"]["request_latency"];
        assert_eq!((&waits["unit"], &waits["p95"], &waits["p99"]), (&json!("ms"), &json!(7.5), &Value::Null));
        assert_eq!((&waits["requests"], &waits["failed"], &waits["cut_off"]), (&json!(11), &json!(2), &json!(1)));
        assert_eq!(document["with_failures"].as_object().unwrap().len(), 1);
    }

    #[test]
    fn windows_and_the_steady_time_are_told_from_the_start() {
        let mut summary = golden_summary(golden_runs()[0].1);
        let plain = read(&plan(EndpointKind::Chat), &summary);
        assert!(plain.get("steady_state").is_none() && plain["requests"].get("outside").is_none());
        assert_eq!((&plain["run"]["windows"], &plain["run"]["satisfied"]), (&Value::Null, &Value::Null));
        let span = Span { from: Nanos(500_000_005), to: Nanos(1_750_000_005) };
        summary.scope = Scope::Ended(span);
        summary.counts.outside = 40;
        let mut steady = golden_summary(golden_runs()[0].1);
        (steady.scope, steady.duration) = (Scope::Held(span), span.length());
        steady.counts = Counts { requests: 6, ok: 6, outside: 2, ..Counts::default() };
        summary.steady_state = Some(Box::new(steady));
        let window = WindowFacts { from: span.from, to: span.to, windows: 7, stable: true };
        let facts =
            RunFacts { window: Some(window), satisfied: Some(Satisfied::Stored("they agree".into())), ..facts() };
        let document = build(&plan(EndpointKind::Chat), &facts, &summary).unwrap();
        let expected = json!({"from_s": 0.5, "to_s": 1.75, "count": 7, "stable": true});
        assert_eq!((&document["run"]["windows"], &document["run"]["satisfied"]), (&expected, &json!("they agree")));
        assert_eq!(document["requests"]["outside"], 40);
        let steady = &document["steady_state"];
        assert_eq!(
            (&steady["from_s"], &steady["to_s"], &steady["duration_s"]),
            (&json!(0.5), &json!(1.75), &json!(1.25))
        );
        assert_eq!((&steady["requests"]["ok"], &steady["requests"]["outside"]), (&json!(6), &json!(2)));
        for key in ["request_latency", "output_token_throughput", "samples", "intervals"] {
            assert_eq!(steady[key], document[key], "{key}");
        }
        let keys: Vec<&String> = document.as_object().unwrap().keys().collect();
        assert_eq!(keys[keys.len() - 3..], ["steady_state", "run", "fidelity"]);
    }

    #[test]
    fn cancelled_requests_and_several_servers_are_counted() {
        let mut plan = plan(EndpointKind::Chat);
        let mut summary = golden_summary(golden_runs()[0].1);
        summary.targets = vec![TargetCounts { requests: 8, ok: 7, failed: 1 }];
        assert!(read(&plan, &summary).get("targets").is_none());
        plan.endpoint.others = vec![Target { tls: true, host: "::1".into(), port: 443 }];
        summary.counts.cancelled = 3;
        let document = read(&plan, &summary);
        assert_eq!(document["requests"]["cancelled"], 3);
        let expected = json!([
            {"url": "http://localhost:18700", "measured": 8, "ok": 7, "failed": 1},
            {"url": "https://[::1]", "measured": 0, "ok": 0, "failed": 0},
        ]);
        assert_eq!(document["targets"], expected);
    }

    #[test]
    fn settings_take_the_shapes_that_the_real_tool_gives_them() {
        let mut plan = plan(EndpointKind::Chat);
        plan.endpoint.headers = vec![secret_header()];
        plan.endpoint.extra.insert("temperature".into(), json!(0.5));
        plan.endpoint.target.tls = true;
        plan.prompts.output = None;
        plan.prompts.input.stddev = 2.5;
        plan.load.stop = StopRule { requests: None, duration: Some(Nanos::from_millis(4_000)), ..StopRule::after(1) };
        plan.output.artifacts = "elsewhere".into();
        let text = written(&plan, &golden_summary(golden_runs()[0].1));
        assert!(!text.contains("sk-secret"));
        let config = &serde_json::from_str::<Value>(&text).unwrap()["input_config"];
        assert_eq!(config["input"]["header"], json!(["Authorization:<hidden>"]));
        assert_eq!(config["input"]["extra"], json!({"temperature": 0.5}));
        assert_eq!(config["endpoint"]["url"], "https://localhost:18700");
        assert_eq!(config["input"]["output_tokens"], json!({"mean": -1, "deterministic": false, "stddev": 0}));
        assert_eq!(config["input"]["synthetic_tokens"], json!({"mean": 20, "stddev": 2.5}));
        assert_eq!(config["perf_analyzer"]["measurement"], json!({"mode": "interval", "num": 4000}));
        assert_eq!(config["output"]["artifact_directory"], "elsewhere");
    }
}
