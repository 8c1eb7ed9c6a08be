//! What truly happened, from the simulated server's log.

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use streamgauge_core::clock::Nanos;
use streamgauge_stats::{Distribution, Metric, Sampler};

/// One line of the log.
#[derive(Debug, Deserialize)]
pub struct Line {
    /// When the request arrived, wall-clock nanoseconds.
    pub recv_ns: i64,
    /// Tokens of its prompt, template included.
    pub prompt_tokens: u64,
    /// As planned when its service began.
    output_tokens: u64,
    /// When, and how many output events.
    pub writes: Vec<(i64, u64)>,
}

impl Line {
    /// Output events of the whole reply.
    pub fn events(&self) -> u64 {
        self.writes.iter().map(|(_, events)| events).sum()
    }

    /// The first event has its share of the tokens, and the time to the last is that of all others.
    fn tokens_apart(&self) -> Option<Nanos> {
        let output = || self.writes.iter().filter(|(_, events)| *events > 0);
        let (&(first, _), &(last, _)) = (output().next()?, output().next_back()?);
        let later = self.output_tokens as f64 * (1.0 - 1.0 / self.events() as f64);
        (later > 0.0).then(|| Nanos(((last - first) as f64 / later) as i64))
    }
}

/// What truly happened.
pub struct Truth {
    /// From each request's arrival to the write of its first token, in ms.
    pub ttft: Distribution,
    /// Between tokens, pooled, in ms.
    pub gaps: Distribution,
    /// Each request, in the order of arrival.
    pub requests: Vec<Line>,
    /// Per request: the time between the first and the last write of output, by the tokens that came after the first, in ms.
    pub tokens_apart: Distribution,
    /// Tokens written.
    pub tokens: u64,
    /// When the first request of all arrived, wall-clock nanoseconds.
    pub first_request: i64,
    /// When the last write of all was made, wall-clock nanoseconds.
    pub last_write: i64,
}

impl Truth {
    /// Reads a log of which the last `requests` are the measured ones; the probe is before them.
    ///
    /// # Errors
    /// When the log cannot be read or has fewer.
    pub fn read(log: &Path, requests: u64) -> Result<Truth> {
        let mut lines = Vec::new();
        for line in BufReader::new(File::open(log)?).lines() {
            let line: Line = serde_json::from_str(&line?).with_context(|| format!("in {}", log.display()))?;
            lines.push(line);
        }
        lines.sort_by_key(|line| line.recv_ns);
        let Some(first) = lines.first().map(|line| line.recv_ns) else { bail!("the server's log is empty") };
        let Some(skip) = lines.len().checked_sub(requests as usize) else {
            bail!("the server saw {} requests, the client {requests}", lines.len());
        };
        let (mut ttft, mut gaps) = (Sampler::of(Metric::TimeToFirstToken), Sampler::of(Metric::InterChunkLatency));
        let mut tokens_apart = Sampler::of(Metric::InterTokenLatency);
        let (mut tokens, mut last_write) = (0, first);
        let lines = lines.split_off(skip);
        for line in &lines {
            if let Some(apart) = line.tokens_apart() {
                tokens_apart.add_nanos(apart);
            }
            let mut previous = None;
            for &(at, events) in &line.writes {
                for _ in 0..events {
                    match previous.replace(at) {
                        None => ttft.add_nanos(Nanos(at - line.recv_ns)),
                        Some(previous) => gaps.add_nanos(Nanos(at - previous)),
                    }
                    tokens += 1;
                }
                last_write = last_write.max(at);
            }
        }
        Ok(Truth {
            ttft: ttft.close().context("no first tokens in the server's log")?,
            gaps: gaps.close().context("no gaps between tokens in the server's log")?,
            requests: lines,
            tokens_apart: tokens_apart.close().context("no reply of several events in the server's log")?,
            tokens,
            first_request: first,
            last_write,
        })
    }
}
