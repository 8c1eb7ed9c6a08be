//! One prepared input, ready to be encoded for any endpoint.

use serde::{Deserialize, Serialize};

/// One prepared input. It exists before load starts; a run goes round them in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prompt {
    /// The texts: one, or as many as the batch size.
    pub texts: Vec<String>,
    /// Tokens of all texts together, as our tokenizer counts them, without special tokens.
    pub tokens: u32,
    /// The output length to ask for, in tokens; none leaves it to the server.
    pub want_out: Option<u32>,
    /// The model to ask.
    pub model: String,
}
