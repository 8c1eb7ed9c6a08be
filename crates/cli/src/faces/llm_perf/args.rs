//! What was typed: the flags of `llm_perf.py` in its spellings.

use crate::args::values::{seconds, whole};
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use streamgauge_core::clock::Nanos;
use streamgauge_core::plan::EndpointKind;

/// Arguments of `llm-perf`, which are those of `llm_perf.py`.
#[derive(Args, Debug)]
#[command(override_usage = "llm_perf.py --input-data FILE [OPTIONS]")]
pub struct LlmPerfArgs {
    /// Address of the Triton server, HOST:PORT
    #[arg(short = 'u', long, value_name = "HOST:PORT", default_value = "localhost:8001")]
    pub url: String,
    /// Protocol of the server
    #[arg(short = 'i', long, value_name = "PROTOCOL", value_enum, default_value_t = Protocol::Grpc)]
    pub protocol: Protocol,
    /// Name of the model
    #[arg(short = 'm', long, value_name = "NAME", default_value = "ensemble")]
    pub model: String,
    /// Number of requests in flight; a list such as 1,4,8 is measured one after another
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "1", value_parser = whole::<u32>(1, 1_000_000))]
    pub concurrency: Vec<u32>,
    /// File of prompts: a JSON object with the member `input` on each line
    #[arg(long, value_name = "FILE")]
    pub input_data: PathBuf,
    /// Tokenizer of the model: a directory with a tokenizer.json, or such a file [default: the model's own on the hub]
    #[arg(long, value_name = "DIR")]
    pub tokenizer_path: Option<String>,
    /// Pause between two concurrencies; a bare number is in seconds
    #[arg(long, value_name = "TIME", default_value = "30", value_parser = seconds)]
    pub measurement_interval: Nanos,
    /// File of all requests and figures, as JSON
    #[arg(long, value_name = "FILE", default_value = "profiling_results.json")]
    pub profile_export_file: PathBuf,
}

/// How the server is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Protocol {
    /// A stream of responses over gRPC
    Grpc,
    /// One response over HTTP, so that no time to first token is known
    Http,
}

impl Protocol {
    /// Its name, as the report shows it.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Grpc => "grpc",
            Protocol::Http => "http",
        }
    }

    /// The kind of endpoint that is asked.
    pub fn kind(self) -> EndpointKind {
        match self {
            Protocol::Grpc => EndpointKind::KserveGrpc,
            Protocol::Http => EndpointKind::KserveHttp,
        }
    }
}
