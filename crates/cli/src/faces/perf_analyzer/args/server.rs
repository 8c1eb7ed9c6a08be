//! Arguments of the server: how it is trusted, and what it is asked beside inference.

use crate::args::values::{interval, limit, whole};
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use streamgauge_core::clock::Nanos;

/// Arguments of the server.
#[derive(Args, Debug)]
#[command(next_help_heading = "Server")]
pub struct ServerArgs {
    /// Longest wait between two pieces of an answer, or for the sign that there are no more; a bare number is in seconds
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = limit)]
    pub idle_timeout: Nanos,
    /// Use TLS; gRPC only (with HTTP, -u https://..)
    #[arg(long)]
    pub ssl_grpc_use_ssl: bool,
    /// Certificates (PEM) that a gRPC server is trusted by, in place of the system's
    #[arg(long, value_name = "FILE")]
    pub ssl_grpc_root_certifications_file: Option<PathBuf>,
    /// Key of the client's certificate
    #[arg(long, value_name = "FILE")]
    pub ssl_grpc_private_key_file: Option<PathBuf>,
    /// The client's certificate and those that lead to its root
    #[arg(long, value_name = "FILE")]
    pub ssl_grpc_certificate_chain_file: Option<PathBuf>,
    /// Check the server's certificate: 0 or 1 [default: 1]
    #[arg(long, value_name = "0|1", value_parser = whole::<u8>(0, 1))]
    pub ssl_https_verify_peer: Option<u8>,
    /// Check the name in it: 0, or 1 or 2 [default: 2]
    #[arg(long, value_name = "0|1|2", value_parser = whole::<u8>(0, 2))]
    pub ssl_https_verify_host: Option<u8>,
    /// Certificates (PEM) that an https server is trusted by, in place of the system's
    #[arg(long, value_name = "FILE")]
    pub ssl_https_ca_certificates_file: Option<PathBuf>,
    /// The client's certificate
    #[arg(long, value_name = "FILE")]
    pub ssl_https_client_certificate_file: Option<PathBuf>,
    /// Its form: PEM or DER [default: what the file shows]
    #[arg(long, value_enum, hide_possible_values = true, value_name = "FORM")]
    pub ssl_https_client_certificate_type: Option<FileForm>,
    /// Its key
    #[arg(long, value_name = "FILE")]
    pub ssl_https_private_key_file: Option<PathBuf>,
    /// The key's form: PEM or DER [default: what the file shows]
    #[arg(long, value_enum, hide_possible_values = true, value_name = "FORM")]
    pub ssl_https_private_key_type: Option<FileForm>,
    /// Read the server's metrics of its GPUs
    #[arg(long)]
    pub collect_metrics: bool,
    /// Where they are [default: port 8002 of -u, /metrics]
    #[arg(long, value_name = "URL")]
    pub metrics_url: Option<String>,
    /// Between two readings; a bare number is in milliseconds [default: 1000]
    #[arg(long, value_name = "TIME", value_parser = interval)]
    pub metrics_interval: Option<Nanos>,
    /// What the server is to trace: OFF, TIMESTAMPS or TENSORS
    #[arg(long, value_enum, hide_possible_values = true, value_name = "LEVEL")]
    pub trace_level: Option<TraceLevel>,
    /// It traces one request of so many
    #[arg(long, value_name = "N", value_parser = whole::<u32>(1, u32::MAX))]
    pub trace_rate: Option<u32>,
    /// It traces so many at most; -1 has no bound
    #[arg(long, value_name = "N", value_parser = whole::<i64>(-1, i64::MAX))]
    pub trace_count: Option<i64>,
    /// It writes a trace file for each so many; 0 writes one
    #[arg(long, value_name = "N", value_parser = whole::<u32>(0, u32::MAX))]
    pub log_frequency: Option<u32>,
}

/// The form of a certificate or a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "UPPER")]
pub enum FileForm {
    /// Text
    Pem,
    /// Bytes
    Der,
}

/// What the server is to trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "UPPER")]
pub enum TraceLevel {
    /// Nothing
    Off,
    /// When what happened
    Timestamps,
    /// Tensors too
    Tensors,
}
