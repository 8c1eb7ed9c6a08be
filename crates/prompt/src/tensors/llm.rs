//! The inputs of Triton's LLM backends, made out of a prompt as GenAI-Perf makes them.

use super::InputError;
use serde_json::{Map, Value};
use streamgauge_core::Prompt;
use streamgauge_core::kserve::{Backend, ModelInfo};
use streamgauge_core::tensor::Tensor;

/// What is asked of a backend beyond the prompt.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LlmOptions {
    /// Answers come piece by piece.
    pub streaming: bool,
    /// Answers are to be exactly as long as asked for.
    pub output_exact: bool,
    /// Inputs that the user adds, or puts in place of ours.
    pub extra: Map<String, Value>,
}

/// The inputs of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LlmInputs {
    /// They, in GenAI-Perf's order.
    pub tensors: Vec<Tensor>,
    /// Names of inputs that would be sent if the model had them.
    pub left_out: Vec<&'static str>,
}

/// The inputs of `backend` for `prompt`, of the types that `model` says. A prompt of several texts is a batch.
///
/// # Errors
/// When the model lacks an input without which the prompt or its length would not be said, an input has a type or shape that
/// our value does not fit, or an extra input is not the model's.
pub fn llm_inputs(
    backend: Backend,
    model: &ModelInfo,
    prompt: &Prompt,
    options: &LlmOptions,
) -> Result<LlmInputs, InputError> {
    todo!("{backend:?} {model:?} {prompt:?} {options:?}")
}
