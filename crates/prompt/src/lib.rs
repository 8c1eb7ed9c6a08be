//! What is sent, and what counts it: tokenizers, synthetic prompts of an exact length, traces that say how long prompts were
//! and when they came, and words for a server to say.
//!
//! Nothing here touches the network: a tokenizer is embedded, a file, or already in the hub's cache on this machine.

#[cfg(test)]
mod fixture;
mod lexicon;
pub mod resolve;
pub mod synthetic;
pub mod tokenizer;
pub mod trace;
pub mod vocabulary;

pub use resolve::{Resolved, Source, TokenizerError, resolve};
pub use synthetic::{SynthesisError, synthesize};
pub use tokenizer::{LoadError, Tokenizer};
pub use trace::{Trace, TraceError, TraceRow};
