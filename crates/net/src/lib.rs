//! Sockets with receive stamps, and a timer finer than a millisecond. `load` needs them to measure a server, and `sim` needs them to be a
//! server whose own times are accurate, so this crate is below both.

pub mod stamped;
pub mod timer;

pub use stamped::{Idle, Receipt, StampedStream};
pub use timer::Timer;
