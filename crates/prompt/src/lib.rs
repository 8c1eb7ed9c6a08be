//! What is sent, and what counts it: tokenizers, synthetic prompts of an exact length, sources of conversations
//! such as traces, tensors for models on Triton, and words for a server to say.
//!
//! Nothing here touches the network but [`hub`], which downloads tokenizers and data sets into the hub's cache on this machine.

mod body;
#[cfg(test)]
mod fixture;
pub mod hub;
mod lexicon;
mod limits;
pub mod resolve;
pub mod sampling;
pub mod sources;
pub mod synthetic;
pub mod tensors;
pub mod tokenizer;
pub mod vocabulary;

pub use resolve::{Resolved, Source, TokenizerError, resolve};
pub use sources::{
    AgentRules, Columns, Contents, Conversation, Counts, Dataset, Format, SourceError, SourceOptions, Timing, Turn,
};
pub use synthetic::{Completer, SynthesisError, synthesize};
pub use tensors::{InputData, InputError, InputOptions, LlmInputs, LlmOptions, Made, Step, llm_inputs};
pub use tokenizer::{LoadError, Tokenizer};
