//! The true values, from the simulated server's log.

use anyhow::{Context, Result, bail};
use std::path::Path;
use streamgauge_sim::{LogLine, log};
use streamgauge_stats::calibration::truth::TruthSampler;

/// The true values.
pub struct Truth {
    /// Of the measured requests.
    pub measured: streamgauge_stats::calibration::truth::Truth,
    /// Each measured request, in the order of arrival.
    pub requests: Vec<LogLine>,
    /// When the first request of all arrived, the probe included; wall-clock nanoseconds.
    pub first_request: i64,
}

impl Truth {
    /// Reads a log of which the last `requests` are the measured ones; the probe is before them.
    ///
    /// # Errors
    /// When the log cannot be read or has fewer.
    pub fn read(file: &Path, requests: u64) -> Result<Truth> {
        let mut lines = log::read(file).with_context(|| format!("in {}", file.display()))?;
        let Some(first_request) = lines.first().map(|line| line.recv_ns) else { bail!("the server's log is empty") };
        let Some(skip) = lines.len().checked_sub(requests as usize) else {
            bail!("the server saw {} requests, the client {requests}", lines.len());
        };
        let mut sampler = TruthSampler::default();
        let requests = lines.split_off(skip);
        requests.iter().for_each(|line| sampler.add(line.recv_ns, &line.writes, line.output_tokens));
        let measured = sampler.close().context("no two tokens of an answer in the server's log")?;
        Ok(Truth { measured, requests, first_request })
    }
}
