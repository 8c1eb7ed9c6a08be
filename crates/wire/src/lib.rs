//! Codecs: request bodies out, events in.
//!
//! [`Codec`] knows how one endpoint spells a prompt and hands out a [`Decoder`] for each answer; a decoder is fed the
//! bytes of the body as the network cut them and reports [`streamgauge_core::Event`]s. [`server_message`] and
//! [`model_ids`] read the two answers that are not output: errors and the list of models. For KServe v2 there are besides
//! its messages ([`proto`]), their framing ([`grpc`]), the questions to a server ([`kserve`]) and the outputs of an answer as files
//! show them ([`infer_responses`]).
//!
//! Nothing here waits, does input or output, or reads a clock, and no bytes whatever make it panic.

mod answer;
mod chat;
mod codec;
mod completions;
mod decoder;
mod elements;
mod encoded;
mod error_body;
mod generate;
pub mod grpc;
mod infer;
mod json;
pub mod kserve;
mod message;
mod models;
mod objects;
mod opening;
mod parts;
/// The messages of `proto/kserve_v2.proto`. They are generated; where they are no longer the file's, the test that says so shows
/// what they should be.
#[allow(missing_docs, clippy::all)]
#[rustfmt::skip]
pub mod proto;
mod repair;
mod sse;
mod template;
mod unpack;

pub use codec::{AnswerTo, Codec};
pub use decoder::{Decoder, MAX_BODY};
pub use encoded::{Dressed, EncodeError, Encoded, SharedPlace, Tag};
pub use error_body::{names_field, server_message};
pub use infer::responses::{InferResponse, infer_responses};
pub use models::{ModelsError, model_ids};
pub use sse::{MAX_EVENT, SseEvent, SseParser};
pub use unpack::{MAX_UNPACKED, Unpacker};
