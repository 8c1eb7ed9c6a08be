//! Bodies and answers of OpenAI-style APIs, as their many servers spell them.

pub(crate) mod chat;
pub(crate) mod choices;
pub(crate) mod completions;
pub(crate) mod message;
pub(crate) mod models;
mod parts;
mod piece;
