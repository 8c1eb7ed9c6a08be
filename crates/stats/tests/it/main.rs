//! What records come to, from records built by hand, from real GenAI-Perf runs, and from random ones.

// Helpers of tests may unwrap too; clippy knows only functions marked as tests.
#![allow(clippy::unwrap_used)]

mod across;
mod calibration;
mod confidence;
mod conversations;
mod coverage;
mod fidelity;
mod genai_perf;
mod handover;
mod merge;
mod perf_analyzer;
mod properties;
mod scope;
mod server_rows;
mod summary;
mod support;
mod timeline;
mod tokens;
mod windows;
