//! One prepared input, ready to be encoded for any endpoint.

use crate::tensor::Tensor;
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
    /// What is sent in place of the texts, where the user gave more than texts.
    #[serde(default, skip_serializing_if = "Given::is_nothing")]
    pub given: Given,
}

/// What a user gave for a request, beyond texts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Given {
    /// Nothing: the texts are the request.
    #[default]
    Nothing,
    /// A whole JSON body.
    Body(serde_json::Value),
    /// Members of the JSON body, in the place of ours of the same name; the texts are the request otherwise.
    Members(serde_json::Map<String, serde_json::Value>),
    /// The model's inputs.
    Tensors {
        /// The inputs.
        inputs: Vec<Tensor>,
        /// What the outputs must be, byte for byte; those that are not named may be anything.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        expected: Vec<Tensor>,
    },
}

impl Given {
    /// Whether there is nothing.
    pub fn is_nothing(&self) -> bool {
        *self == Given::Nothing
    }

    /// The model's inputs, where they were given.
    pub fn inputs(&self) -> &[Tensor] {
        match self {
            Given::Tensors { inputs, .. } => inputs,
            Given::Nothing | Given::Body(_) | Given::Members(_) => &[],
        }
    }
}
