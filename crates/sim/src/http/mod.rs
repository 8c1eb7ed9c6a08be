//! HTTP/1.1 and the bytes of HTTP/2: `request` reads what arrives, `response` spells answers, `exchange` takes one request to its answer, and
//! `carrier` follows the bytes of HTTP/2 between the kernel and the protocol library.

pub(crate) mod carrier;
mod exchange;
pub(crate) mod request;
mod response;

pub(crate) use exchange::{Buffers, Entry, Exchange};
pub(crate) use response::{End, JSON, document, document_with};
