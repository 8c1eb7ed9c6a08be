//! What is sent, and what counts it: tokenizers, synthetic prompts of an exact length, traces that say how long prompts were
//! and when they came, tensors for models on Triton, and words for a server to say.
//!
//! Nothing here touches the network: a tokenizer is embedded, a file, or already in the hub's cache on this machine.

#[cfg(test)]
mod fixture;
mod lexicon;
pub mod resolve;
pub mod synthetic;
pub mod tensors;
pub mod tokenizer;
pub mod trace;
pub mod vocabulary;

pub use resolve::{Resolved, Source, TokenizerError, resolve};
pub use synthetic::{SynthesisError, synthesize};
pub use tensors::{InputData, InputError, InputOptions, LlmInputs, LlmOptions, Made, Step, llm_inputs};
pub use tokenizer::{LoadError, Tokenizer};
pub use trace::{Timing, Trace, TraceError, TraceRow};
