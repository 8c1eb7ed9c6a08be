//! The names of loads in files and in the names of directories. GenAI-Perf and Perf Analyzer have names for a concurrency, a rate and a
//! schedule from a file; other loads are named in the same style.

use super::{Arrivals, Growth, Load};
use crate::arrival::Rate;
use serde_json::{Value, json};

/// The figure that a load is known by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Level {
    /// Requests in flight at once.
    Concurrency(u32),
    /// Requests per second; 0 where the load has no rate of its own, and infinite where all requests are due at once.
    Rate(f64),
}

impl Load {
    /// The load in the name of a run's directory, as names each followed by its level: `concurrency` and 4, `request_rate` and 10.0, or
    /// the like. The level is empty where a file says what the load is. A rate with a cap has both, as AIPerf writes it, so that two caps
    /// have two directories.
    pub fn stimulus(&self) -> Vec<(&'static str, String)> {
        match self {
            Load::Concurrency(places) => vec![("concurrency", places.most.to_string())],
            Load::Growing(Growth { start, end, step, .. }) => {
                vec![("periodic_concurrency", format!("{start}-{end}-{step}"))]
            }
            Load::Users { users, rate } => vec![("users", users.to_string()), ("-request_rate", rate.to_string())],
            Load::Open { arrivals, cap } => {
                let (alone, capped, level) = match arrivals {
                    Arrivals::Intervals { .. } => ("request_intervals", "-request_intervals", String::new()),
                    Arrivals::Rate { rate, .. } => ("request_rate", "-request_rate", rate.to_string()),
                    Arrivals::Series { .. } => ("request_rate_series", "-request_rate_series", String::new()),
                    Arrivals::Trace { .. } => ("fixed_schedule", "-fixed_schedule", String::new()),
                };
                match cap {
                    Some(cap) => vec![("concurrency", cap.most.to_string()), (capped, level)],
                    None => vec![(alone, level)],
                }
            }
        }
    }

    /// The `stimulus` of GenAI-Perf's input configuration. Settings without a key in that tool appear only in Streamgauge's own plan. Gaps
    /// from a file have no rate here.
    pub fn stimulus_json(&self) -> Value {
        match self {
            Load::Concurrency(places) => json!({"concurrency": places.most}),
            Load::Growing(Growth { start, end, step, responses }) => {
                json!({"periodic_concurrency_range": format!("{start}:{end}:{step}"), "request_period": responses})
            }
            Load::Users { rate, .. } => json!({"request_rate": rate}),
            Load::Open { arrivals, .. } => match arrivals {
                Arrivals::Rate { rate, .. } => json!({"request_rate": rate}),
                Arrivals::Trace { .. } => json!({"fixed_schedule": true}),
                Arrivals::Intervals { file, .. } => json!({"request_intervals": file}),
                Arrivals::Series { .. } => json!({"request_rate": arrivals.peak_rate()}),
            },
        }
    }

    /// The figure that Perf Analyzer's export knows the load by. Times from files have no rate, for which Perf Analyzer
    /// writes 0.
    pub fn level(&self) -> Level {
        match self {
            Load::Concurrency(places) => Level::Concurrency(places.most),
            Load::Open { arrivals: Arrivals::Intervals { .. } | Arrivals::Trace { .. }, .. } => Level::Rate(0.0),
            Load::Growing(_) | Load::Users { .. } | Load::Open { .. } => Level::Rate(self.peak_rate()),
        }
    }

    /// Whether a part of the run can be measured separately. The figures of a load that grows belong to no part.
    pub fn has_windows(&self) -> bool {
        !matches!(self, Load::Growing(_))
    }

    /// The one rate that requests are sent at, where there is one.
    pub fn one_rate(&self) -> Option<Rate> {
        match self {
            Load::Open { arrivals: Arrivals::Rate { rate, .. }, .. } | Load::Users { rate, .. } => Some(*rate),
            Load::Open { .. } | Load::Concurrency(_) | Load::Growing(_) => None,
        }
    }

    /// The most requests in flight at once of an open loop that has such a cap.
    pub fn cap(&self) -> Option<u32> {
        match self {
            Load::Open { cap, .. } => cap.map(|cap| cap.most),
            Load::Concurrency(_) | Load::Growing(_) | Load::Users { .. } => None,
        }
    }
}
