//! Inputs of models on Triton: as users give them, as they are made up, and as LLM backends want them.

// Helpers of tests may unwrap too; clippy knows only functions marked as tests.
#![allow(clippy::unwrap_used)]

mod batches;
mod context;
mod files;
mod llm;
mod made;
mod models;
