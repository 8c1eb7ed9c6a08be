//! The receive stamp: when the bytes of an answer arrived. It travels in one value with the bytes that it belongs to.

use crate::clock::Nanos;

/// When bytes of an answer arrived, and in which read of their connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiveStamp {
    /// The receive time on the run's clock: the kernel's where it stamps what it receives, else the time of the read.
    pub at: Nanos,
    /// How much later than the kernel the client read the bytes; `None` without a kernel stamp.
    pub lag: Option<Nanos>,
    /// The number of the read, counted over the connection's life. Bytes of the same read share one stamp.
    pub read: u64,
}
