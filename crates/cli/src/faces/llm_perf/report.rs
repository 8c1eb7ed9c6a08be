//! The report and the file of `llm_perf.py`, with numbers as Python writes them.

use super::figures::{Answered, LevelResult};
use serde_json::{Map, Value, json};
use std::fmt::Write;

/// The first line of the report.
pub fn heading(url: &str, protocol: &str, model: &str) -> String {
    format!("triton_url: {url}, protocol: {protocol}, model: {model}\n")
}

/// The lines before a concurrency is measured.
pub fn beginning(concurrency: u32) -> String {
    format!("{}\nRequest concurrency: {concurrency}\n", "-".repeat(60))
}

/// The lines of one concurrency that was measured.
pub fn figures(level: &LevelResult) -> String {
    let mut lines = String::new();
    for (name, value) in level.figures() {
        // Writing to a text does not fail.
        let _ = writeln!(lines, "{name}: {}", python_float(value));
    }
    let _ = writeln!(lines, "payload and results: {} {}", level.payloads, level.answered.len());
    let _ = writeln!(lines, "throughput: {} infer/sec.", python_float(level.throughput()));
    lines
}

/// The file of all requests and figures, keyed by the concurrency.
pub fn file(levels: &[LevelResult]) -> Value {
    let request = |answered: &Answered| {
        json!({
            "output_text": answered.output_text,
            "ttft": answered.ttft,
            "e2e_latency": answered.latency,
            "input_tokens": answered.input_tokens,
            "output_tokens": answered.output_tokens,
        })
    };
    let level = |level: &LevelResult| {
        let metrics: Map<String, Value> =
            level.figures().into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect();
        let document = json!({
            "concurrency": level.concurrency,
            "client_requests": level.payloads,
            "throughput": level.throughput(),
            "perf_results": level.answered.iter().map(request).collect::<Vec<_>>(),
            "metrics": metrics,
        });
        (level.concurrency.to_string(), document)
    };
    Value::Object(levels.iter().map(level).collect())
}

/// A number as Python's `print` writes it: the shortest digits that read back as the same number, with an exponent below 0.0001
/// and from 1e16 on.
fn python_float(value: f64) -> String {
    if value.is_nan() {
        return "nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    match exponent.parse::<i32>().unwrap_or(0) {
        -4..16 if value.fract() == 0.0 => format!("{value:.1}"),
        -4..16 => value.to_string(),
        exponent => format!("{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use streamgauge_core::Nanos;

    #[test]
    fn numbers_are_pythons() {
        for (value, text) in [
            (7830.079494413578, "7830.079494413578"),
            (0.03435562758944755, "0.03435562758944755"),
            (-1.0, "-1.0"),
            (0.0, "0.0"),
            (0.0001, "0.0001"),
            (0.000012, "1.2e-05"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.5e300, "1.5e+300"),
            (f64::NAN, "nan"),
        ] {
            assert_eq!(python_float(value), text);
        }
    }

    #[test]
    fn the_lines_are_those_of_the_tool() {
        let answered =
            |ttft, latency| Answered { output_text: "a".into(), ttft, latency, input_tokens: 291, output_tokens: 1 };
        let level = LevelResult {
            concurrency: 4,
            payloads: 2,
            answered: vec![answered(0.25, 0.5), answered(0.75, 1.5)],
            wall: Nanos::from_millis(1_600),
        };
        let text = heading("localhost:9001", "grpc", "ensemble") + &beginning(4) + &figures(&level);
        let expected = "\
triton_url: localhost:9001, protocol: grpc, model: ensemble
------------------------------------------------------------
Request concurrency: 4
average_input_token_per_sec: 291.0
average_output_token_per_sec: 1.0
average_ttft: 0.5
average_latency: 1.0
p99_ttft: 0.745
p99_latency: 1.49
payload and results: 2 2
throughput: 1.25 infer/sec.
";
        assert_eq!(text, expected);
        let document = file(&[level]);
        assert_eq!(document["4"]["metrics"]["average_ttft"], 0.5);
        assert_eq!(document["4"]["perf_results"][1]["e2e_latency"], 1.5);
        let keys: Vec<_> = document["4"].as_object().unwrap().keys().cloned().collect();
        assert_eq!(keys, ["concurrency", "client_requests", "throughput", "perf_results", "metrics"]);
    }
}
