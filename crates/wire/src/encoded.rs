//! The bytes of requests.

use streamgauge_core::kserve::SequenceTag;
use streamgauge_core::message;
use streamgauge_core::setting::{Explain, Message, Setting};
use thiserror::Error;

/// A request without what differs each time it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// The body. For gRPC it is one message without its prefix.
    pub body: Vec<u8>,
    /// The length of the JSON at its beginning, in bytes. It is shorter than the body where binary tensors follow it, which the header
    /// `Inference-Header-Content-Length` says, and 0 for gRPC.
    pub json: usize,
    /// How many outputs the body asks for: one for each text, or as many for each as its member `n` says. 0 if that is not known.
    pub outputs: u32,
}

/// What differs each time a request is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// The number of the request, which answers over gRPC repeat.
    pub id: u64,
    /// The sequence that the request belongs to.
    pub sequence: Option<SequenceTag>,
}

/// A request with its tag, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaggedRequest {
    /// The body. For gRPC it has its prefix.
    pub body: Vec<u8>,
    /// As in [`Encoded::json`].
    pub json: usize,
}

/// Where the tensors of a request are in memory that the client shares with the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedPlace {
    /// The region of the inputs, by the name under which it was registered.
    pub inputs: String,
    /// Where the first input begins in the region, in bytes. The others follow without gaps, in the order of the request.
    pub offset: u64,
    /// The region of the outputs. Output n of those that are asked for is written at n times the room for one output.
    pub outputs: String,
}

/// Why a prompt cannot be sent.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum EncodeError {
    /// The endpoint sends tensors, and the prompt has none.
    #[error("the prompt has no tensors, and {0} sends nothing else")]
    NoTensors(&'static str),
    /// A prompt with parts that are not text, for an endpoint that takes text alone.
    #[error("the prompt has a part that is not text, such as an image, and {0} takes text only")]
    NoMedia(&'static str),
    /// A tensor whose data do not fit its shape and type.
    #[error("input {name}: {reason}")]
    Data {
        /// The input.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A value that JSON cannot represent.
    #[error("{}", self.message())]
    NotJson {
        /// The input.
        name: String,
        /// Which value.
        reason: &'static str,
    },
    /// Outputs that go to shared memory, where they cannot be compared.
    #[error("outputs in shared memory cannot be compared with validation data")]
    SharedExpected,
    /// More bytes than a message can hold.
    #[error("the request has {0} bytes; a gRPC message has less than 2 GiB")]
    TooLong(usize),
}

impl Explain for EncodeError {
    fn message(&self) -> Message {
        match self {
            EncodeError::NotJson { name, reason } => message![
                format!("input {name}: {reason}; binary tensors (`"),
                Setting::InputTensorFormat,
                " binary`) can",
            ],
            other => other.to_string().into(),
        }
    }
}
