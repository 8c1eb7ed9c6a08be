//! Bodies and answers of OpenAI-style APIs, as their many servers spell them.

pub(crate) mod choices;
pub(crate) mod message;
pub(crate) mod models;
pub(crate) mod options;
mod parts;
mod piece;
