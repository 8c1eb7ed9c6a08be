//! The statistics that GenAI-Perf 0.0.16 itself computed from two runs against a real server, from the same stamps.

use crate::support::{answer, config, facts, goodput, summary_of};
use serde_json::Value;
use streamgauge_core::{Nanos, Record};
use streamgauge_stats::{AccumulatorConfig, Distribution, Metric, PERCENTILES, Summary};

/// The runs' first request was sent after this; it takes the place of our clock's zero.
const ANCHOR: i64 = 1_795_314_657_000_000_000;

fn records(run: &Value) -> Vec<Record> {
    let record = |(seq, request): (usize, &Value)| {
        let at: Vec<i64> =
            request["at"].as_array().unwrap().iter().map(|stamp| stamp.as_i64().unwrap() - ANCHOR).collect();
        let sent = request["sent"].as_i64().unwrap() - ANCHOR;
        Record { issued: Nanos(sent), usage: None, text_tokens: Some(8), ..answer(seq as u64, sent, &at) }
    };
    run["requests"].as_array().unwrap().iter().enumerate().map(record).collect()
}

fn assert_close(ours: f64, theirs: &Value, what: &str) {
    let theirs = theirs.as_f64().unwrap();
    assert!((ours - theirs).abs() <= 1e-9 * theirs.abs(), "{what}: {ours} is not {theirs}");
}

fn assert_distribution(ours: &Distribution, theirs: &Value, key: &str) {
    assert!(ours.exact);
    assert_close(ours.avg, &theirs["avg"], key);
    assert_close(ours.min, &theirs["min"], key);
    assert_close(ours.max, &theirs["max"], key);
    assert_close(ours.std, &theirs["std"], key);
    for p in PERCENTILES {
        assert_close(ours.percentile(p), &theirs[format!("p{p}")], key);
    }
}

fn assert_as_genai_perf(summary: &Summary, run: &Value) {
    for (key, theirs) in run["statistics"].as_object().unwrap() {
        let metric = Metric::from_key(key).unwrap();
        assert_eq!(metric.unit(), theirs["unit"]);
        if metric.is_system() {
            assert_close(summary.scalar(metric).unwrap(), &theirs["avg"], key);
        } else {
            assert_distribution(summary.distribution(metric).unwrap(), theirs, key);
        }
    }
}

#[test]
fn chat_streaming() {
    let run: Value = serde_json::from_str(include_str!("genai_perf_chat.json")).unwrap();
    let limits = goodput(&[("time_to_first_token", 40.0), ("inter_token_latency", 6.0)]);
    let summary = summary_of(AccumulatorConfig { goodput: limits, ..config() }, &facts(), &records(&run));
    assert_as_genai_perf(&summary, &run);
    assert_eq!(run["statistics"].as_object().unwrap().len(), 11);
    assert_eq!(summary.distribution(Metric::InterChunkLatency).unwrap().count, 8 * 7);
}

#[test]
fn completions_without_streaming() {
    let run: Value = serde_json::from_str(include_str!("genai_perf_completions.json")).unwrap();
    let summary = summary_of(AccumulatorConfig { streaming: false, ..config() }, &facts(), &records(&run));
    assert_as_genai_perf(&summary, &run);
    let theirs = run["statistics"].as_object().unwrap();
    for metric in Metric::ALL {
        let known = summary.distribution(metric).is_some() || summary.scalar(metric).is_some();
        assert_eq!(known, theirs.contains_key(metric.key()) || metric == Metric::ClientLag, "{metric}");
    }
}
