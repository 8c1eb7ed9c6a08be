//! Arguments of `sim`.

use crate::args::values::{millis, whole};
use clap::Args;
use std::net::IpAddr;
use std::path::PathBuf;
use streamgauge_core::clock::Nanos;
use streamgauge_sim::Fault;

/// Arguments of `sim`. Times without a unit are in milliseconds.
#[derive(Args, Debug)]
pub struct SimArgs {
    /// Port to listen on; 0 takes a free one
    #[arg(long, default_value = "8000", value_name = "PORT", value_parser = whole(0, u16::MAX))]
    pub port: u16,
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS")]
    pub host: IpAddr,
    /// Names of the models
    #[arg(short, long, num_args = 1.., default_value = "sim-model", value_name = "NAME")]
    pub model: Vec<String>,
    /// Time to the first token of an empty prompt
    #[arg(long, default_value = "30ms", value_name = "TIME", value_parser = millis)]
    pub ttft: Nanos,
    /// Prompt tokens per second; with 0 a prompt takes no time
    #[arg(long, default_value = "20000", value_name = "TOKENS", value_parser = rate)]
    pub prefill_rate: f64,
    /// Time between tokens; with 0 an answer is written as fast as possible
    #[arg(long, default_value = "8ms", value_name = "TIME", value_parser = millis)]
    pub itl: Nanos,
    /// Share of that time by which each further stream slows all streams
    #[arg(long, default_value = "0.01", value_name = "SHARE", value_parser = share)]
    pub itl_growth: f64,
    /// Standard deviation of these times, as a share of them
    #[arg(long, default_value = "0.05", value_name = "SHARE", value_parser = share)]
    pub jitter: f64,
    /// Maximum number of requests that are served concurrently; further ones wait in a queue
    #[arg(long, default_value = "64", value_name = "N", value_parser = whole(1, u32::MAX))]
    pub max_batch: u32,
    /// Mean length of answers whose length was not requested, in tokens
    #[arg(long, default_value = "64", value_name = "TOKENS", value_parser = whole(1, u32::MAX))]
    pub output_tokens: u32,
    /// Maximum total number of tokens of a prompt and its answer
    #[arg(long, default_value = "131072", value_name = "TOKENS", value_parser = whole(1, u32::MAX))]
    pub context: u32,
    /// Share of answers that end before the requested length
    #[arg(long, default_value = "0", value_name = "SHARE", value_parser = share)]
    pub early_stop: f64,
    /// Tokens per event
    #[arg(long, default_value = "1", value_name = "N", value_parser = whole(1, u32::MAX))]
    pub tokens_per_event: u32,
    /// Number of simulated GPUs on the metrics page
    #[arg(long, default_value = "0", value_name = "N", value_parser = whole::<u32>(0, 1024))]
    pub gpus: u32,
    /// Fault to inject: NAME or NAME=VALUE, then :SHARE or :every=N for some requests only, such as status=503:0.1; may be repeated
    #[arg(long, value_name = "FAULT")]
    pub fault: Vec<Fault>,
    /// Seed of all random choices
    #[arg(long, default_value = "0", value_name = "N", value_parser = whole(0, u64::MAX))]
    pub seed: u64,
    /// Tokenizer: a tokenizer.json, tekken.json, *.model or *.tiktoken, a directory with one, a name on the hub, or cl100k_base
    #[arg(long, default_value = "cl100k_base", value_name = "FILE|DIR|NAME")]
    pub tokenizer: String,
    /// Write a line of JSON for each request: when the kernel received it, and the instant before each write
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("give a share from 0 to 1".to_owned()),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate.is_finite() && rate >= 0.0 => Ok(rate),
        _ => Err("give a number of tokens per second, at least 0".to_owned()),
    }
}
