//! A server and a client as processes of their own, and what the server's log knows to be true of them.

pub mod pair;
pub mod truth;
