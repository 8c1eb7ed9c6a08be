//! Arguments about the server: how it is trusted, and what it is asked besides inference.

use crate::args::values::{interval, limit, whole};
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use streamgauge_core::clock::Nanos;

/// Arguments of the server.
#[derive(Args, Debug)]
#[command(next_help_heading = "Server")]
pub struct ServerArgs {
    /// Time limit between two pieces of an answer, and until its end; a bare number is in seconds
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = limit)]
    pub idle_timeout: Nanos,
    /// Use TLS; gRPC only (with HTTP, -u https://..)
    #[arg(long)]
    pub ssl_grpc_use_ssl: bool,
    /// Trusted certificates (PEM) for gRPC servers, instead of the system's
    #[arg(long, value_name = "FILE")]
    pub ssl_grpc_root_certifications_file: Option<PathBuf>,
    /// Private key of the client's certificate
    #[arg(long, value_name = "FILE")]
    pub ssl_grpc_private_key_file: Option<PathBuf>,
    /// Client certificate chain, for servers that require one
    #[arg(long, value_name = "FILE")]
    pub ssl_grpc_certificate_chain_file: Option<PathBuf>,
    /// Check the server's certificate: 0 or 1 [default: 1]
    #[arg(long, value_name = "0|1", value_parser = whole::<u8>(0, 1))]
    pub ssl_https_verify_peer: Option<u8>,
    /// Check the name in the certificate: 0, or 1 or 2 [default: 2]
    #[arg(long, value_name = "0|1|2", value_parser = whole::<u8>(0, 2))]
    pub ssl_https_verify_host: Option<u8>,
    /// Trusted certificates (PEM) for https servers, instead of the system's
    #[arg(long, value_name = "FILE")]
    pub ssl_https_ca_certificates_file: Option<PathBuf>,
    /// Client certificate, for servers that require one
    #[arg(long, value_name = "FILE")]
    pub ssl_https_client_certificate_file: Option<PathBuf>,
    /// Format of the client certificate: PEM or DER [default: detected]
    #[arg(long, value_enum, hide_possible_values = true, value_name = "FORM")]
    pub ssl_https_client_certificate_type: Option<FileForm>,
    /// Private key of the client certificate
    #[arg(long, value_name = "FILE")]
    pub ssl_https_private_key_file: Option<PathBuf>,
    /// Format of the private key: PEM or DER [default: detected]
    #[arg(long, value_enum, hide_possible_values = true, value_name = "FORM")]
    pub ssl_https_private_key_type: Option<FileForm>,
    /// Read the metrics of the server's GPUs from its metrics page
    #[arg(long)]
    pub collect_metrics: bool,
    /// URL of the metrics page [default: port 8002 of -u, /metrics]
    #[arg(long, value_name = "URL")]
    pub metrics_url: Option<String>,
    /// Time between two readings of the metrics page; a bare number is in milliseconds [default: 1000]
    #[arg(long, value_name = "TIME", value_parser = interval)]
    pub metrics_interval: Option<Nanos>,
    /// Trace level of the server: OFF, TIMESTAMPS or TENSORS
    #[arg(long, value_enum, hide_possible_values = true, value_name = "LEVEL")]
    pub trace_level: Option<TraceLevel>,
    /// Trace one of this many requests
    #[arg(long, value_name = "N", value_parser = whole::<u32>(1, u32::MAX))]
    pub trace_rate: Option<u32>,
    /// Maximum number of traced requests; -1 means no limit
    #[arg(long, value_name = "N", value_parser = whole::<i64>(-1, i64::MAX))]
    pub trace_count: Option<i64>,
    /// Number of traces in a file; 0 writes one file
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

/// The trace level of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "UPPER")]
pub enum TraceLevel {
    /// Nothing
    Off,
    /// Times of events
    Timestamps,
    /// Times and tensors
    Tensors,
}
