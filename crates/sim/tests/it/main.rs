//! The simulated server as its clients see it: raw bytes over real sockets.

// A helper that unwraps fails its test, which is what it is for; the lint's own exception sees only the test functions.
#![allow(clippy::unwrap_used)]

mod client;
mod faults;
mod grpc;
mod shapes;
mod times;
mod triton_grpc;
mod triton_http;
