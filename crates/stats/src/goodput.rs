//! Goodput: the limits that a request must keep to count as good.

use crate::answer::Answer;
use crate::metrics::{Better, Metric, Use};
use serde::Serialize;
use streamgauge_core::message;
use streamgauge_core::setting::{Explain, Message, Setting};
use thiserror::Error;

/// The limits that a good request keeps. It is empty if there are none.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Goodput {
    limits: Vec<(Metric, f64)>,
}

/// A limit is invalid.
#[derive(Clone, Debug, Error, PartialEq)]
#[error("{}", self.message())]
pub enum GoodputError {
    /// A metric is given twice.
    Repeated {
        /// The value as given.
        key: String,
    },
    /// No metric has that name, or neither direction of the metric is better.
    UnknownMetric {
        /// The value as given.
        key: String,
    },
    /// The limit is negative or not a number.
    Value {
        /// The value as given.
        key: String,
        /// The value as given.
        limit: f64,
        /// The unit of the metric.
        unit: &'static str,
    },
}

impl Explain for GoodputError {
    fn message(&self) -> Message {
        let why = match self {
            GoodputError::Repeated { key } => format!(": `{key}` is given twice; give each metric one limit"),
            GoodputError::UnknownMetric { key } => {
                format!(": `{key}` cannot be limited; the metrics that can are {}", accepted())
            }
            GoodputError::Value { key, limit, unit } => {
                format!(": `{key}:{limit}` is not a limit; give a number of {unit} of at least 0")
            }
        };
        message![Setting::Goodput, why]
    }
}

fn accepted() -> String {
    Metric::with_use(Use::Limit).map(Metric::key).collect::<Vec<_>>().join(", ")
}

impl Goodput {
    /// Parses limits by metric key, with times in milliseconds and rates per second.
    ///
    /// # Errors
    /// When a key is not a metric that can be limited or appears twice, or a limit is negative or not a finite number.
    pub fn parse(limits: &[(String, f64)]) -> Result<Goodput, GoodputError> {
        let mut goodput = Goodput::default();
        for (key, limit) in limits {
            let metric = Metric::from_key(key)
                .filter(|metric| metric.has_use(Use::Limit))
                .ok_or_else(|| GoodputError::UnknownMetric { key: key.clone() })?;
            if !(limit.is_finite() && *limit >= 0.0) {
                return Err(GoodputError::Value { key: key.clone(), limit: *limit, unit: metric.unit() });
            }
            if goodput.limits.iter().any(|&(known, _)| known == metric) {
                return Err(GoodputError::Repeated { key: key.clone() });
            }
            goodput.limits.push((metric, *limit));
        }
        Ok(goodput)
    }

    /// Whether there is no limit at all.
    pub fn is_empty(&self) -> bool {
        self.limits.is_empty()
    }

    /// Whether the answer keeps every limit. An answer without a value for a limited metric does not.
    pub(crate) fn holds(&self, answer: &Answer<'_>) -> bool {
        self.limits.iter().all(|&(metric, limit)| match metric.value(answer) {
            Some(value) if metric.better() == Better::Higher => value >= limit,
            Some(value) => value <= limit,
            None => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(limits: &[(&str, f64)]) -> Result<Goodput, String> {
        let limits: Vec<_> = limits.iter().map(|&(key, limit)| (key.to_owned(), limit)).collect();
        Goodput::parse(&limits).map_err(|error| error.to_string())
    }

    #[test]
    fn known_metrics_are_taken() {
        let goodput = parse(&[("time_to_first_token", 40.0), ("output_token_throughput_per_user", 0.0)]).unwrap();
        assert_eq!(goodput.limits, [(Metric::TimeToFirstToken, 40.0), (Metric::OutputTokenThroughputPerUser, 0.0)]);
        assert!(parse(&[]).unwrap().is_empty());
    }

    #[test]
    fn nonsense_is_refused_in_a_sentence() {
        assert_eq!(
            parse(&[("ttft", 40.0)]).unwrap_err(),
            "--goodput: `ttft` cannot be limited; the metrics that can are time_to_first_token, time_to_second_token, \
             request_latency, inter_token_latency, output_token_throughput_per_user, time_per_output_token, \
             time_to_first_byte, time_to_first_answer"
        );
        assert!(parse(&[("output_sequence_length", 1.0)]).unwrap_err().contains("cannot be limited"));
        assert_eq!(
            parse(&[("request_latency", -1.0)]).unwrap_err(),
            "--goodput: `request_latency:-1` is not a limit; give a number of ms of at least 0"
        );
        assert!(parse(&[("request_latency", f64::NAN)]).is_err());
        assert!(parse(&[("request_latency", 1.0), ("request_latency", 2.0)]).unwrap_err().contains("given twice"));
    }
}
