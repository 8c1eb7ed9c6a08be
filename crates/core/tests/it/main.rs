//! Tests of plans as files hold them.

// Clippy lets only the test functions themselves unwrap; what they call is as much a test.
#![allow(clippy::unwrap_used)]

mod stored_plan;
