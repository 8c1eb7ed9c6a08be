//! Requests as bytes.

use streamgauge_core::kserve::SequenceTag;
use thiserror::Error;

/// A request as it is sent, but for what only its sending knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// The body. Of gRPC it is one message without its prefix.
    pub body: Vec<u8>,
    /// Bytes of the JSON at its beginning: all of them, but for tensors written as bytes behind it (whose sender says so in
    /// `Inference-Header-Content-Length`) and for gRPC (0).
    pub json: usize,
}

/// What only the sending of a request knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// Tells it from others; the answers repeat it.
    pub id: u64,
    /// The sequence that it belongs to.
    pub sequence: Option<SequenceTag>,
}

/// The bytes of one sending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dressed {
    /// The body; of gRPC with its prefix.
    pub body: Vec<u8>,
    /// As in [`Encoded::json`].
    pub json: usize,
}

/// Where the tensors of a request lie in memory that the server shares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedPlace {
    /// The region of the inputs, as it was registered.
    pub inputs: String,
    /// Where in it the first input begins, in bytes; the others follow without gaps, in the request's order.
    pub offset: u64,
    /// The region of the outputs. The n-th of those asked for is written at n times the room of one.
    pub outputs: String,
}

/// Why a prompt cannot be sent.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum EncodeError {
    /// KServe v2 sends tensors, and there are none.
    #[error("the prompt has no tensors, and {0} sends nothing else")]
    NoTensors(&'static str),
    /// A prompt with parts that are not text, for an endpoint that takes text alone.
    #[error("the prompt has a part that is not text, such as an image, and {0} takes text only")]
    NoMedia(&'static str),
    /// A tensor whose data are not what its shape and type say.
    #[error("input {name}: {reason}")]
    Data {
        /// The input.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A value that JSON cannot say.
    #[error("input {name}: {reason}; binary tensors (`--input-tensor-format binary`) can")]
    NotJson {
        /// The input.
        name: String,
        /// Which value.
        reason: &'static str,
    },
    /// Outputs that go to shared memory, and cannot be compared there.
    #[error("outputs in shared memory cannot be compared with validation data")]
    SharedExpected,
    /// More bytes than a message can have.
    #[error("the request has {0} bytes; a gRPC message has less than 2 GiB")]
    TooLong(usize),
}
