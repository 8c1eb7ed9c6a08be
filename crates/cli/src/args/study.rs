//! Arguments of `study`.

use crate::args::choice::{PHASE, one_of};
use crate::args::values::whole;
use clap::Args;
use std::path::PathBuf;
use streamgauge_report::native::study::Phase;

/// Arguments of `study`. What is not said here is as in `profile`.
#[derive(Args, Debug)]
pub struct StudyArgs {
    /// Which phase: prefill (first-token latency) or generation (token-to-token latency)
    #[arg(value_parser = one_of(PHASE), value_name = "PHASE")]
    pub phase: Phase,
    /// Prompt lengths in tokens, a run each
    #[arg(long, value_name = "TOKENS", value_delimiter = ',', required = true, value_parser = whole::<u32>(1, 10_000_000))]
    pub isl: Vec<u32>,
    /// Output length in tokens [default: 1 in prefill, 256 in generation]
    #[arg(long, value_name = "TOKENS", value_parser = whole::<u32>(1, 10_000_000))]
    pub osl: Option<u32>,
    /// Requests of each length
    #[arg(long, value_name = "N", default_value = "10", value_parser = whole::<u64>(1, 1_000_000))]
    pub request_count: u64,
    /// Requests at once
    #[arg(long, value_name = "N", default_value = "1", value_parser = whole::<u32>(1, 1_000_000))]
    pub concurrency: u32,
    /// The chart, as SVG [default: PHASE.svg in --artifact-dir]
    #[arg(long, value_name = "FILE")]
    pub chart: Option<PathBuf>,
    /// Directory of all runs' artifacts
    #[arg(long, value_name = "DIR", default_value = "artifacts")]
    pub artifact_dir: PathBuf,

    /// Model; without it, the only one that an OpenAI server lists
    #[arg(short, long, value_name = "NAME", help_heading = "Endpoint")]
    pub model: Option<String>,
    /// Server
    #[arg(short, long, value_name = "URL", help_heading = "Endpoint", conflicts_with = "sim")]
    pub url: Option<String>,
    /// Start a simulated server inside this process and study that
    #[arg(long, help_heading = "Endpoint")]
    pub sim: bool,
    /// Shape of requests and answers: chat, completions, kserve (gRPC) or generate
    #[arg(long, value_name = "TYPE", help_heading = "Endpoint")]
    pub endpoint_type: Option<String>,
    /// Kind of server: openai or triton
    #[arg(long, value_name = "KIND", help_heading = "Endpoint")]
    pub service_kind: Option<String>,
    /// Triton backend whose inputs are sent: tensorrtllm or vllm
    #[arg(long, value_name = "BACKEND", help_heading = "Endpoint")]
    pub backend: Option<String>,
    /// Path of the endpoint, where it is not the usual one
    #[arg(long, value_name = "PATH", help_heading = "Endpoint")]
    pub endpoint: Option<String>,
    /// API key, sent as a bearer token; better given in the environment
    #[arg(long, value_name = "KEY", env = "STREAMGAUGE_API_KEY", hide_env_values = true, help_heading = "Endpoint")]
    pub api_key: Option<String>,
    /// Header of every request, `Name: value`; may be repeated
    #[arg(short = 'H', long, value_name = "HEADER", help_heading = "Endpoint")]
    pub header: Vec<String>,
    /// Certificates (PEM) that an https server is trusted by, in place of the system's
    #[arg(long, value_name = "FILE", help_heading = "Endpoint")]
    pub ca_file: Option<String>,
    /// Member of every body, `name:value`, `name` (null) or a JSON object; may be repeated
    #[arg(long, value_name = "INPUT", help_heading = "Endpoint")]
    pub extra_inputs: Vec<String>,
    /// What counts tokens: a tokenizer.json, a directory with one, a name in the hub's cache, or cl100k_base
    #[arg(long, value_name = "FILE|DIR|NAME", help_heading = "Endpoint")]
    pub tokenizer: Option<String>,
    /// Seed of everything drawn by chance
    #[arg(long, value_name = "N", default_value = "0", value_parser = whole::<u64>(0, u64::MAX), help_heading = "Endpoint")]
    pub random_seed: u64,
}

impl StudyArgs {
    /// The words of the `profile` of one prompt length. Each request has a prompt of its own, and one more is there for the probe, so
    /// that no server answers from its cache.
    pub fn profile_words(&self, isl: u32) -> Vec<String> {
        let osl = self.osl.unwrap_or(match self.phase {
            Phase::Prefill => 1,
            Phase::Generation => 256,
        });
        let mut words = ["--streaming", "--output-tokens-mean-deterministic", "--ui=none"].map(str::to_owned).to_vec();
        let mut add = |flag: &str, value: &dyn std::fmt::Display| words.push(format!("--{flag}={value}"));
        add("isl", &isl);
        add("osl", &osl);
        add("request-count", &self.request_count);
        add("num-dataset-entries", &(self.request_count + 1));
        add("concurrency", &self.concurrency);
        add("random-seed", &self.random_seed);
        let given = [
            ("model", &self.model),
            ("url", &self.url),
            ("endpoint-type", &self.endpoint_type),
            ("service-kind", &self.service_kind),
            ("backend", &self.backend),
            ("endpoint", &self.endpoint),
            ("api-key", &self.api_key),
            ("ca-file", &self.ca_file),
            ("tokenizer", &self.tokenizer),
        ];
        given.into_iter().for_each(|(flag, value)| value.iter().for_each(|value| add(flag, value)));
        self.header.iter().for_each(|header| add("header", header));
        self.extra_inputs.iter().for_each(|input| add("extra-inputs", input));
        words.extend(self.sim.then(|| "--sim".to_owned()));
        words
    }
}
