//! The real binary against a simulated server in this process: its command line, its files, its console and how it ends.

// Helpers of tests may unwrap too; clippy knows only functions marked as tests.
#![allow(clippy::unwrap_used)]

mod arithmetic;
mod asked;
mod asking;
mod calibrate;
mod console;
mod context;
mod counts;
#[cfg(unix)]
mod docs;
mod embeddings;
mod endings;
mod failures;
mod faults;
mod figures;
mod files;
mod flags;
mod formats;
mod levels;
mod llm_perf;
mod long_files;
mod machine;
mod modes;
mod open_loop;
mod parquet;
mod parts;
mod perf_analyzer;
mod perf_analyzer_flags;
mod prefix_cache;
mod recompute;
mod report;
mod requests;
mod schedules;
mod scripted;
mod server;
mod servers;
mod sessions;
mod shell;
mod stages;
mod study;
mod synthetic;
mod tap;
mod tls;
mod traces;
mod untrusted;
mod windows;
mod wording;

// Scripted servers are those of the engine's tests.
#[allow(dead_code, reason = "the engine's tests need more of them")]
#[path = "../../../load/tests/it/script.rs"]
mod script;
#[allow(dead_code, reason = "the engine's tests need more of them")]
#[path = "../../../load/tests/it/words.rs"]
mod words;
