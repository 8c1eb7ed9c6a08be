//! The bytes of an HTTP body before any endpoint reads them: unpacking, telling an event stream from a document, and
//! splitting an event stream into events.

pub(crate) mod opening;
pub(crate) mod sse;
pub(crate) mod unpack;
