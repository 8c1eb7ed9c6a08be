//! How often each of the prompts was sent.

use serde::{Deserialize, Serialize};
use streamgauge_core::Record;

/// How many different prompts are counted, in 4 MiB. Where there are more, they are not counted at all.
const MOST_PROMPTS: usize = 1 << 20;

/// How often each prompt was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repeats {
    /// The number of different prompts that were sent.
    pub prompts: u64,
    /// How often the prompt was sent that was sent least often.
    pub least: u32,
    /// How often the prompt was sent that was sent most often.
    pub most: u32,
}

/// Counts how often each prompt was sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct PromptCounts {
    /// By the index of the prompt.
    counts: Vec<u32>,
    /// Whether there are more prompts than are counted.
    are_too_many: bool,
}

impl PromptCounts {
    /// Adds a request. One that was never sent does not count.
    pub fn add(&mut self, record: &Record) {
        let index = record.prompt as usize;
        self.are_too_many |= index >= MOST_PROMPTS;
        if self.are_too_many {
            self.counts = Vec::new();
        } else if record.sent.is_some() {
            if self.counts.len() <= index {
                self.counts.resize(index + 1, 0);
            }
            self.counts[index] = self.counts[index].saturating_add(1);
        }
    }

    /// Adds the counts of other records of the same run.
    pub fn merge(&mut self, other: PromptCounts) {
        self.are_too_many |= other.are_too_many;
        if self.are_too_many {
            self.counts = Vec::new();
            return;
        }
        if self.counts.len() < other.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        self.counts.iter_mut().zip(other.counts).for_each(|(ours, theirs)| *ours = ours.saturating_add(theirs));
    }

    /// How often the prompts that were sent were sent. `None` if there were none, or more than are counted.
    pub fn close(&self) -> Option<Repeats> {
        let sent = || self.counts.iter().copied().filter(|count| *count > 0);
        Some(Repeats { prompts: sent().count() as u64, least: sent().min()?, most: sent().max()? })
    }
}
