//! Bodies and answers of OpenAI-style APIs, in the forms that different servers use.

pub(crate) mod choices;
pub(crate) mod message;
pub(crate) mod models;
pub(crate) mod options;
mod parts;
mod piece;
