//! The arithmetic of `llm_perf.py`: all requests of one concurrency, and their six figures.
//!
//! The rates are per stream and not of the server: the tokens of all requests over the sum of their latencies. Averages are
//! arithmetic means, and a percentile is numpy's with linear interpolation.

use streamgauge_core::Nanos;

/// One answered request.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    /// The text of the answer.
    pub output_text: String,
    /// The time to the first response in seconds; -1 if the answer is no stream.
    pub ttft: f64,
    /// The time to the last response in seconds.
    pub latency: f64,
    /// The tokens of the prompt, special ones included.
    pub input_tokens: u32,
    /// The tokens of the answer, special ones included.
    pub output_tokens: u32,
}

/// All requests of one concurrency.
#[derive(Clone, Debug, PartialEq)]
pub struct LevelResult {
    /// The number of requests in flight.
    pub concurrency: u32,
    /// The number of prompts that were to be sent.
    pub payloads: usize,
    /// The answered requests.
    pub answered: Vec<Answered>,
    /// From the first request to the end of the last.
    pub wall: Nanos,
}

/// The name of a figure in the report and in the file, and its value.
pub type Figure = (&'static str, f64);

impl LevelResult {
    /// Answered requests per second.
    pub fn throughput(&self) -> f64 {
        self.answered.len() as f64 / self.wall.as_secs_f64()
    }

    /// The six figures, in the order of the report.
    pub fn figures(&self) -> [Figure; 6] {
        let values = |of: fn(&Answered) -> f64| self.answered.iter().map(of).collect::<Vec<f64>>();
        let (ttfts, latencies) = (values(|answered| answered.ttft), values(|answered| answered.latency));
        let input: f64 = values(|answered| f64::from(answered.input_tokens)).iter().sum();
        let output: f64 = values(|answered| f64::from(answered.output_tokens)).iter().sum();
        let time: f64 = latencies.iter().sum();
        [
            ("average_input_token_per_sec", input / time),
            ("average_output_token_per_sec", output / time),
            ("average_ttft", mean(&ttfts)),
            ("average_latency", mean(&latencies)),
            ("p99_ttft", percentile(ttfts, 99.0)),
            ("p99_latency", percentile(latencies, 99.0)),
        ]
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// `numpy.percentile` with its default method, `linear`: the value at `percent / 100 * (n - 1)` of the ascending values, between
/// two of them by a straight line. NaN without values.
fn percentile(mut values: Vec<f64>, percent: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let position = percent / 100.0 * values.len().saturating_sub(1) as f64;
    let (below, share) = (position.floor(), position.fract());
    let at = |index: f64| values.get(index as usize).copied();
    match (at(below), at(below + 1.0)) {
        (Some(low), Some(high)) => low + (high - low) * share,
        (Some(low), None) => low,
        (None, _) => f64::NAN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(ttft: f64, latency: f64, input_tokens: u32, output_tokens: u32) -> Answered {
        Answered { output_text: String::new(), ttft, latency, input_tokens, output_tokens }
    }

    #[test]
    fn rates_are_per_stream_and_percentiles_are_numpys() {
        let answered = vec![answered(0.1, 0.5, 10, 2), answered(0.3, 1.5, 30, 4), answered(0.2, 2.0, 40, 10)];
        let level = LevelResult { concurrency: 2, payloads: 3, answered, wall: Nanos::from_millis(2_500) };
        let figures = level.figures();
        let near = |index: usize, expected: f64| {
            let (name, value) = figures[index];
            assert!((value - expected).abs() < 1e-12, "{name} {value}");
        };
        near(0, 20.0);
        near(1, 4.0);
        near(2, 0.2);
        near(3, 4.0 / 3.0);
        // At 1.98 of three values.
        near(4, 0.298);
        near(5, 1.99);
        assert_eq!(level.throughput(), 1.2);
    }

    #[test]
    fn percentiles_of_few_values() {
        assert_eq!(percentile(vec![7.0], 99.0), 7.0);
        assert_eq!(percentile(vec![-1.0, -1.0], 99.0), -1.0);
        assert!(percentile(Vec::new(), 99.0).is_nan());
    }
}
