//! The order in which the prompts of a run are taken.

use serde::{Deserialize, Serialize};

/// The order in which the prompts of a run are taken, conversation by conversation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sampling {
    /// In their own order, and again from the first.
    #[default]
    Sequential,
    /// Each once in a random order, then each once in another one, and so on.
    Shuffle,
    /// One at random each time.
    Random,
}

impl Sampling {
    /// Every way, in the order in which they are listed for people.
    pub const ALL: [Sampling; 3] = [Sampling::Sequential, Sampling::Shuffle, Sampling::Random];

    /// The name in files and on command lines.
    pub fn name(self) -> &'static str {
        match self {
            Sampling::Sequential => "sequential",
            Sampling::Shuffle => "shuffle",
            Sampling::Random => "random",
        }
    }

    /// Whether it is the order of the prompts themselves.
    pub fn is_sequential(&self) -> bool {
        *self == Sampling::Sequential
    }
}
