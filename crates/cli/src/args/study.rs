//! Arguments of `study`.

use super::profile_defaults;
use crate::args::choice::{PHASE, one_of};
use crate::args::levels::Levels;
use crate::args::load::LoadArgs;
use crate::args::profile::{ProfileArgs, Ui, endpoint_type, service_kind};
use crate::args::triton::{TritonArgs, backend};
use crate::args::values::whole;
use clap::Args;
use std::path::PathBuf;
use streamgauge_core::kserve::Backend;
use streamgauge_core::plan::EndpointKind;
use streamgauge_report::native::study::Phase;

/// Arguments of `study`. Settings without an argument here have the defaults of `profile`.
#[derive(Args, Debug)]
pub struct StudyArgs {
    /// Phase to study: prefill (time to first token) or generation (inter token latency)
    #[arg(value_parser = one_of(PHASE), value_name = "PHASE")]
    pub phase: Phase,
    /// Prompt lengths in tokens; each is measured in a run of its own
    #[arg(long, value_name = "TOKENS", value_delimiter = ',', required = true, value_parser = whole::<u32>(1, 10_000_000))]
    pub isl: Vec<u32>,
    /// Output length in tokens [default: 1 in prefill, 256 in generation]
    #[arg(long, value_name = "TOKENS", value_parser = whole::<u32>(1, 10_000_000))]
    pub osl: Option<u32>,
    /// Number of requests of each length
    #[arg(long, value_name = "N", default_value = "10", value_parser = whole::<u64>(1, 1_000_000))]
    pub request_count: u64,
    /// Number of requests in flight
    #[arg(long, value_name = "N", default_value = "1", value_parser = whole::<u32>(1, 1_000_000))]
    pub concurrency: u32,
    /// File for the chart, as SVG [default: PHASE.svg in --artifact-dir]
    #[arg(long, value_name = "FILE")]
    pub chart: Option<PathBuf>,
    /// Directory for the files of all runs
    #[arg(long, value_name = "DIR", default_value = "artifacts")]
    pub artifact_dir: PathBuf,

    /// Name of the model; without it, the only one that an OpenAI server lists
    #[arg(short, long, value_name = "NAME", help_heading = "Endpoint")]
    pub model: Option<String>,
    /// URL of the server
    #[arg(short, long, value_name = "URL", help_heading = "Endpoint", conflicts_with = "sim")]
    pub url: Option<String>,
    /// Start a simulated server inside this process and measure it
    #[arg(long, help_heading = "Endpoint")]
    pub sim: bool,
    /// Shape of requests and answers: chat, completions, kserve (gRPC) or generate
    #[arg(long, value_name = "TYPE", value_parser = endpoint_type, help_heading = "Endpoint")]
    pub endpoint_type: Option<EndpointKind>,
    /// Kind of server: openai or triton
    #[arg(long, value_name = "KIND", value_parser = service_kind, help_heading = "Endpoint")]
    pub service_kind: Option<String>,
    /// Triton backend whose inputs are sent: tensorrtllm or vllm
    #[arg(long, value_name = "BACKEND", value_parser = backend, help_heading = "Endpoint")]
    pub backend: Option<Backend>,
    /// Path of the endpoint, if it differs from the usual one
    #[arg(long, value_name = "PATH", help_heading = "Endpoint")]
    pub endpoint: Option<String>,
    /// API key, sent as a bearer token; it is safer in the environment
    #[arg(long, value_name = "KEY", env = "STREAMGAUGE_API_KEY", hide_env_values = true, help_heading = "Endpoint")]
    pub api_key: Option<String>,
    /// Header of every request, `Name: value`; may be repeated
    #[arg(short = 'H', long, value_name = "HEADER", help_heading = "Endpoint")]
    pub header: Vec<String>,
    /// Trusted certificates (PEM) for https servers, instead of the system's
    #[arg(long, value_name = "FILE", help_heading = "Endpoint")]
    pub ca_file: Option<PathBuf>,
    /// Member of every body, `name:value`, `name` (null) or a JSON object; may be repeated
    #[arg(long, value_name = "INPUT", help_heading = "Endpoint")]
    pub extra_inputs: Vec<String>,
    /// Tokenizer: a tokenizer.json, tekken.json, *.model or *.tiktoken, a directory with one, a name on the hub, or cl100k_base
    #[arg(long, value_name = "FILE|DIR|NAME", help_heading = "Endpoint")]
    pub tokenizer: Option<String>,
    /// Download nothing from the hub; use only what its cache on this machine has
    #[arg(long, help_heading = "Endpoint")]
    pub no_download: bool,
    /// Seed of all random choices
    #[arg(long, value_name = "N", default_value = "0", value_parser = whole::<u64>(0, u64::MAX), help_heading = "Endpoint")]
    pub random_seed: u64,
}

impl StudyArgs {
    /// The arguments of the run for one prompt length. Each request has a prompt of its own, and there is one more for the test
    /// request, so that no server answers from its cache.
    ///
    /// # Errors
    /// As [`profile_defaults`].
    pub fn profile(&self, isl: u32) -> Result<ProfileArgs, clap::Error> {
        let osl = self.osl.unwrap_or(match self.phase {
            Phase::Prefill => 1,
            Phase::Generation => 256,
        });
        let usual = profile_defaults()?;
        Ok(ProfileArgs {
            streaming: true,
            output_tokens_mean_deterministic: true,
            ui: Some(Ui::None),
            isl: isl.into(),
            osl: Some(osl.into()),
            // At most a million and one.
            num_dataset_entries: u32::try_from(self.request_count + 1).ok(),
            random_seed: self.random_seed,
            model: self.model.iter().cloned().collect(),
            url: self.url.iter().cloned().collect(),
            sim: self.sim,
            endpoint_type: self.endpoint_type,
            service_kind: self.service_kind.clone(),
            endpoint: self.endpoint.clone(),
            api_key: self.api_key.clone(),
            header: self.header.clone(),
            ca_file: self.ca_file.clone(),
            extra_inputs: self.extra_inputs.clone(),
            tokenizer: self.tokenizer.clone(),
            no_download: self.no_download,
            load: LoadArgs {
                concurrency: Some(Levels::one(self.concurrency)),
                request_count: Some(self.request_count),
                ..usual.load
            },
            triton: TritonArgs { backend: self.backend, ..usual.triton },
            artifact_dir: self.artifact_dir.clone(),
            ..usual
        })
    }
}
