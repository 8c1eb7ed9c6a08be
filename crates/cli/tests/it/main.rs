//! The real binary against a simulated server in this process: its command line, its files, its console and how it ends.

// Helpers of tests may unwrap too; clippy knows only functions marked as tests.
#![allow(clippy::unwrap_used)]

mod console;
mod context;
mod counts;
mod failures;
mod faults;
mod figures;
mod files;
mod flags;
mod open_loop;
mod parts;
mod recompute;
mod report;
mod server;
mod tap;
mod tls;
