//! Arguments about requests: their content and their form.

use super::refused::CUDA;
use crate::args::choice::{COMPRESSION, TENSOR_FORMAT, one_of};
use crate::args::triton::parameter;
use crate::args::values::whole;
use clap::Args;
use std::path::PathBuf;
use streamgauge_core::kserve::{Compression, RequestParameter, TensorFormat};
use streamgauge_prompt::tensors::shape;

/// Arguments of requests.
#[derive(Args, Debug)]
#[command(next_help_heading = "Requests")]
pub struct RequestArgs {
    /// Protocol: http or grpc
    #[arg(short = 'i', long = "protocol", value_name = "PROTOCOL", default_value = "http", value_parser = protocol)]
    pub protocol: Protocol,
    /// Send all requests of a slot over one stream; gRPC only; decoupled models require it
    #[arg(long)]
    pub streaming: bool,
    /// Address of the server, `host[:port]` [default: localhost:8000, with gRPC localhost:8001]
    #[arg(short = 'u', long = "url", value_name = "URL")]
    pub url: Option<String>,
    /// Header of every request, `Name:value`; with gRPC it is metadata; may be repeated
    #[arg(short = 'H', long = "header", value_name = "HEADER")]
    pub header: Vec<String>,
    /// Input data: random, zero, one or more JSON files, or a directory with a file for each input
    #[arg(long, value_name = "DATA")]
    pub input_data: Vec<String>,
    /// Batch size
    #[arg(short = 'b', long = "batch-size", value_name = "N", value_parser = whole::<u32>(1, 1_000_000))]
    pub batch: Option<u32>,
    /// Shape of an input with variable dimensions, `name:d1,d2,..`; may be repeated
    #[arg(long, value_name = "SHAPE", value_parser = shape::parse)]
    pub shape: Vec<(String, Vec<i64>)>,
    /// Length of random strings [default: 128]
    #[arg(long, value_name = "N", value_parser = whole::<u32>(1, 100_000_000))]
    pub string_length: Option<u32>,
    /// String for inputs of strings, instead of random ones
    #[arg(long, value_name = "TEXT")]
    pub string_data: Option<String>,
    /// Parameter of every request, `name:value:type` with bool, int or string; gRPC only; may be repeated
    #[arg(long, value_name = "PARAMETER", value_parser = parameter)]
    pub request_parameter: Vec<RequestParameter>,
    /// How messages are compressed: none, gzip or deflate; gRPC only
    #[arg(long, value_parser = one_of(COMPRESSION), hide_possible_values = true, value_name = "ALGORITHM")]
    pub grpc_compression_algorithm: Option<Compression>,
    /// How inputs are written: binary or json; HTTP only [default: binary]
    #[arg(long, value_parser = one_of(TENSOR_FORMAT), hide_possible_values = true, value_name = "FORMAT")]
    pub input_tensor_format: Option<TensorFormat>,
    /// How outputs are requested: binary or json; HTTP only [default: binary]
    #[arg(long, value_parser = one_of(TENSOR_FORMAT), hide_possible_values = true, value_name = "FORMAT")]
    pub output_tensor_format: Option<TensorFormat>,
    /// Pass tensors in shared memory: none or system
    #[arg(long, value_name = "KIND", default_value = "none", value_parser = shared_memory)]
    pub shared_memory: SharedMemoryKind,
    /// Size of each output in shared memory, in bytes [default: 102400]
    #[arg(long, value_name = "BYTES", value_parser = whole::<u64>(1, 1 << 40))]
    pub output_shared_memory_size: Option<u64>,
    /// Deprecated: --input-data zero
    #[arg(short = 'z', long = "zero-input", hide = true)]
    pub zero: bool,
    /// Deprecated: --input-data
    #[arg(long, hide = true, value_name = "DIR")]
    pub data_directory: Vec<PathBuf>,
}

/// The protocol of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1
    Http,
    /// gRPC
    Grpc,
}

/// The kinds of shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SharedMemoryKind {
    /// None
    None,
    /// POSIX shared memory
    System,
}

fn protocol(text: &str) -> Result<Protocol, String> {
    match text.to_ascii_lowercase().as_str() {
        "http" => Ok(Protocol::Http),
        "grpc" => Ok(Protocol::Grpc),
        _ => Err("accepted: http, grpc".to_owned()),
    }
}

fn shared_memory(text: &str) -> Result<SharedMemoryKind, String> {
    match text {
        "none" => Ok(SharedMemoryKind::None),
        "system" => Ok(SharedMemoryKind::System),
        "cuda" => Err(CUDA.to_owned()),
        _ => Err("accepted: none, system".to_owned()),
    }
}
