//! A source whose bad rows are left out and counted.

use super::{Conversation, Source, SourceError};

/// Leaves out the rows of another source that are not requests.
pub(super) struct Skipping {
    source: Box<dyn Source>,
    skipped: usize,
    /// What is wrong with the first of them, until somebody has to know it.
    first: Option<SourceError>,
    has_yielded: bool,
}

impl Skipping {
    pub fn new(source: Box<dyn Source>) -> Box<Skipping> {
        Box::new(Skipping { source, skipped: 0, first: None, has_yielded: false })
    }
}

impl Source for Skipping {
    fn next_conversation(&mut self) -> Result<Option<Conversation>, SourceError> {
        loop {
            match self.source.next_conversation() {
                Err(error @ SourceError::Row { .. }) => {
                    self.skipped += 1;
                    self.first.get_or_insert(error);
                }
                // A file without a single good row is the wrong file.
                Ok(None)
                    if !self.has_yielded
                        && let Some(first) = self.first.take() =>
                {
                    return Err(first);
                }
                other => {
                    self.has_yielded = true;
                    return other;
                }
            }
        }
    }

    fn rows(&self) -> usize {
        self.source.rows()
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = self.source.notes();
        if let Some(first) = &self.first {
            notes.push(format!("{} bad row(s) were left out; the first is {first}", self.skipped));
        }
        notes
    }
}
