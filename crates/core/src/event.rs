//! The events that a codec may report about the bytes of an answer, whatever the protocol.

use serde::{Deserialize, Serialize};

/// One event of a server's answer. Text is borrowed from the decoder and lives as long as the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// The model produced something. The text is empty only for output that is not text.
    Output {
        /// The kind of output.
        kind: OutputKind,
        /// Which of the answers asked for (`n`, or the texts of a batch).
        choice: u32,
        /// The text itself; of a tool call, its name and its arguments, as far as they have come.
        text: &'a str,
    },
    /// A well-formed event that brings no output: a role, an empty delta, a comment that keeps the connection alive.
    Empty,
    /// One answer ended, for this reason (`stop`, `length`, ..).
    Finish {
        /// Which answer.
        choice: u32,
        /// The server's word for why.
        reason: &'a str,
    },
    /// The server's own count of tokens.
    Usage {
        /// The counts.
        usage: Usage,
        /// Whether it stood alone after the output (an event without choices, or a whole answer), and is not a running count in a delta.
        alone: bool,
    },
    /// The stream said that it is complete.
    Done,
    /// The server reported a failure inside an answer that had begun with a good status.
    Error {
        /// The server's message.
        message: &'a str,
    },
    /// A part of the answer that could not be read and was passed over. What came before it and comes after it is read.
    Unreadable {
        /// The reason, and the beginning of the bytes.
        message: &'a str,
        /// Whether output may have been in it, which the figures then lack.
        may_be_output: bool,
    },
    /// Bytes that are not what the protocol promises; nothing after them is read.
    Malformed {
        /// The reason, and the beginning of the bytes.
        message: &'a str,
    },
}

/// A kind of output of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputKind {
    /// Output that is not text: the tensors of a KServe v2 model, or a vector.
    Tensors,
    /// Thinking shown before the answer (`reasoning_content`, `reasoning`, `thinking`, or parts of that kind).
    Reasoning,
    /// The answer.
    Text,
    /// A call of a tool: its name or arguments.
    ToolCall,
}

/// Token counts as the server reports them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens of the prompt as the model saw it, chat template included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_tokens: Option<u64>,
    /// Tokens produced, reasoning included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_tokens: Option<u64>,
    /// The number of produced tokens that were reasoning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning_tokens: Option<u64>,
    /// The number of prompt tokens that came from a cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_tokens: Option<u64>,
}
