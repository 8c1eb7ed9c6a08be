//! Codecs make request bodies from prompts, and events from the bytes of answers.
//!
//! A [`Codec`] makes the requests of one endpoint and a [`Decoder`] for each answer. The decoder is fed the bytes of the body in the pieces in
//! which they arrive and reports [`streamgauge_core::Event`]s, from which a [`Transcript`] makes the record of the request. The endpoints are
//! listed in [`endpoints`]. [`server_message`] and
//! [`model_ids`] read the two answers that are not output: errors and the list of models. For KServe v2 there are besides
//! its messages ([`proto`]), their framing ([`grpc`]), the questions to a server ([`kserve`]) and the outputs of an answer as files
//! show them ([`infer_responses`]).
//!
//! This crate does not wait, does no input or output and reads no clock, and no bytes make it panic.

mod body;
mod codec;
mod decoder;
mod encoded;
pub mod endpoints;
mod error_body;
mod infer_responses;
mod json;
pub mod kserve;
mod limits;
mod objects;
mod openai;
mod options;
mod transcript;

pub use body::sse::{MAX_EVENT, SseEvent, SseParser};
pub use body::unpack::{MAX_UNPACKED, Unpacker};
pub use codec::Codec;
pub use decoder::{AnswerContext, Decoder};
pub use encoded::{EncodeError, Encoded, SharedPlace, Tag, TaggedRequest};
pub use error_body::{names_field, server_message};
pub use infer_responses::{InferResponse, infer_responses};
pub use kserve::{framing as grpc, proto};
pub use limits::MAX_BODY;
pub use openai::models::{ModelsError, model_ids};
pub use transcript::{AnswerHead, Keep, Transcript};
