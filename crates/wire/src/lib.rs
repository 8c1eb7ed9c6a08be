//! Codecs: request bodies out, events in.
//!
//! [`Codec`] knows how one endpoint spells a prompt and hands out a [`Decoder`] for each answer; a decoder is fed the
//! bytes of the body as the network cut them and reports [`streamgauge_core::Event`]s. [`server_message`] and
//! [`model_ids`] read the two answers that are not output: errors and the list of models.
//!
//! Nothing here waits, does input or output, or reads a clock, and no bytes whatever make it panic.

mod answer;
mod chat;
mod codec;
mod completions;
mod error_body;
mod models;
mod sse;
mod template;

pub use codec::{Codec, Decoder, MAX_BODY};
pub use error_body::{names_field, server_message};
pub use models::{ModelsError, model_ids};
pub use sse::{MAX_EVENT, SseEvent, SseParser};
