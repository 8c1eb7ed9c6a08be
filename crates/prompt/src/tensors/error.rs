//! What can be wrong with inputs.

use std::path::PathBuf;
use streamgauge_core::setting::{Explain, Message};

/// Why inputs cannot be had. Each says where, what, and what is accepted.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// A file or directory cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Something in a file is not as it must be.
    #[error("{}, line {line}, column {column}: {reason}", path.display())]
    At {
        /// The file.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// The character of that line, from 1.
        column: usize,
        /// What is wrong, with the step and member where there are any.
        reason: String,
    },
    /// A file as a whole is not as it must be.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// What was asked for does not fit the model or the data.
    #[error("{0}")]
    Asked(Message),
}

impl Explain for InputError {
    fn message(&self) -> Message {
        match self {
            InputError::Asked(message) => message.clone(),
            InputError::Read { .. } | InputError::At { .. } | InputError::File { .. } => self.to_string().into(),
        }
    }
}
