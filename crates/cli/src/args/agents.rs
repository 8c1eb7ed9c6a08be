//! How recorded sessions of agents are replayed.

use crate::args::values::seconds;
use anyhow::{Result, bail};
use clap::Args;
use streamgauge_core::clock::Nanos;
use streamgauge_prompt::AgentRules;

/// The choices of a replay of agents.
#[derive(Args, Clone, Debug)]
pub struct AgentArgs {
    /// Longest wait between an answer and the next request in a recorded session of an agent [default: 10 s]
    #[arg(long, value_name = "SECONDS", value_parser = seconds, requires = "input_file", help_heading = "Input")]
    pub trace_idle_gap_cap_seconds: Option<Nanos>,
    /// Part of its recorded time after which a session starts that is under way when the load begins, at least [default: 0]
    #[arg(long, value_name = "SHARE", value_parser = part, requires = "input_file", help_heading = "Input")]
    pub trajectory_start_min_ratio: Option<f64>,
    /// The same, at most; 0 starts every session at its beginning [default: 1]
    #[arg(long, value_name = "SHARE", value_parser = part, requires = "input_file", help_heading = "Input")]
    pub trajectory_start_max_ratio: Option<f64>,
}

impl AgentArgs {
    /// The rules of the replay. How many sessions the load begins with is known to preparation.
    ///
    /// # Errors
    /// When the earliest point lies behind the latest one.
    pub fn rules(&self) -> Result<AgentRules> {
        let usual = AgentRules::default();
        let rules = AgentRules {
            longest_wait: self.trace_idle_gap_cap_seconds.unwrap_or(usual.longest_wait),
            start_from: self.trajectory_start_min_ratio.unwrap_or(usual.start_from),
            start_to: self.trajectory_start_max_ratio.unwrap_or(usual.start_to),
            is_chosen: self.trace_idle_gap_cap_seconds.is_some()
                || self.trajectory_start_min_ratio.is_some()
                || self.trajectory_start_max_ratio.is_some(),
            ..usual
        };
        if rules.start_from > rules.start_to {
            bail!(
                "--trajectory-start-min-ratio {}: it is above --trajectory-start-max-ratio {}; give at most that",
                rules.start_from,
                rules.start_to
            );
        }
        Ok(rules)
    }
}

/// A part from 0 to 1.
fn part(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(part) if (0.0..=1.0).contains(&part) => Ok(part),
        _ => Err("give a number from 0 to 1".to_owned()),
    }
}
