//! Sockets that know when bytes came, and a timer finer than a millisecond. What `load` needs to measure a server is what
//! `sim` needs to be a server whose own times are true, so it lives below both.

pub mod stamped;
pub mod timer;

pub use stamped::{Idle, Receipt, StampedStream};
pub use timer::Timer;
