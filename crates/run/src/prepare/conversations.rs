//! The conversations that the requests of a run are made from, and whether their prompts are kept in memory.

use crate::error::{About, about};
use anyhow::{Result, anyhow};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use streamgauge_core::plan::PromptPlan;
use streamgauge_core::setting::{self, Setting};
use streamgauge_prompt::sampling::{self, Sampled};
use streamgauge_prompt::sources::{self, Source};
use streamgauge_prompt::{Conversation, Counts, SourceError, SourceOptions, Turn};

/// Prompts that take no more bytes than this are all made before load and kept in memory. Longer ones are prepared while the load goes on.
const KEPT: usize = 32 << 20;

/// About how many bytes of text a token is, where the text is still to be made.
const BYTES_OF_TOKEN: usize = 6;

/// Why the prompts of a long pipe are refused.
const TOO_LONG_FOR_A_PIPE: &str = "its prompts take over 32 MB, so it would be read again as the run goes on, and a pipe cannot be; write it into a file first";

/// The conversations that the requests of a run are made from.
#[derive(Clone, Debug, Default)]
pub enum Conversations {
    /// No source gives any: every text is made.
    #[default]
    Made,
    /// These.
    Read(Arc<[Conversation]>),
    /// Those of a file that is too long to be kept in memory. It is read again as the run goes on.
    File {
        /// The file.
        path: PathBuf,
        /// How it is read.
        options: SourceOptions,
        /// The last one that was read before load.
        last: Arc<Conversation>,
        /// What of the part that was read before load is not followed.
        notes: Vec<String>,
    },
}

/// Conversations that come one after another.
pub enum Reading {
    /// These, from this place on, and their order if it is not their own.
    Kept(Arc<[Conversation]>, Option<Vec<u32>>, usize),
    /// Those of an open file.
    Open(Box<dyn Source>),
}

/// What was read of a file before load.
pub struct Opened {
    /// All of its conversations, or that it is read again.
    pub conversations: Conversations,
    /// How much was read.
    pub counts: Counts,
    /// What of it is not followed.
    pub notes: Vec<String>,
}

impl Conversations {
    /// Reads `path` until it ends, or until it is clear that its prompts are too long to be kept in memory.
    ///
    /// # Errors
    /// When the file cannot be read, a row is not of its format, or there is no row.
    pub fn open(path: &Path, options: &SourceOptions) -> Result<Opened, SourceError> {
        let mut source = sources::open(path, options)?;
        let (mut read, mut counts, mut bytes) = (Vec::new(), Counts::default(), 0);
        while let Some(conversation) = source.next_conversation()? {
            counts.add(&conversation);
            bytes += conversation.size();
            read.push(conversation);
            if bytes > KEPT {
                break;
            }
        }
        counts.rows = source.rows();
        let conversations = match read.pop() {
            None => return Err(SourceError::Empty),
            Some(last) if bytes > KEPT => {
                if !path.is_file() && !path.is_dir() {
                    return Err(io::Error::other(TOO_LONG_FOR_A_PIPE).into());
                }
                let notes = source.notes();
                Conversations::File { path: path.to_owned(), options: options.clone(), last: Arc::new(last), notes }
            }
            Some(last) => {
                read.push(last);
                // Conversations of equal times, and those without, stay in the order of the file.
                read.sort_by_key(Conversation::begins);
                Conversations::Read(read.into())
            }
        };
        Ok(Opened { conversations, counts, notes: source.notes() })
    }

    /// The number of requests, as far as it is known before load: 0 for a file that is read as the run goes on.
    ///
    /// # Errors
    /// When there are more than a plan can count.
    pub fn count(&self) -> Result<u32> {
        let Conversations::Read(read) = self else { return Ok(0) };
        let turns = read.iter().map(|conversation| conversation.turns.len()).sum::<usize>();
        u32::try_from(turns).map_err(|_| anyhow!("the file has too many requests"))
    }

    /// The requests of a schedule that begins so many conversations; `None` where it has no end.
    pub fn requests(&self, begun: Option<u64>) -> Option<u64> {
        match self.kept() {
            [] => begun,
            kept => begun.map(|_| kept.iter().map(|conversation| conversation.turns.len() as u64).sum()),
        }
    }

    /// Whether all texts are made, so that each run has prompts of its own.
    pub fn makes_texts(&self) -> bool {
        let is_made = |conversation: &Conversation| {
            conversation.turns.iter().all(|turn| turn.content.is_none() && turn.body.is_none())
        };
        match self {
            Conversations::Made => true,
            Conversations::Read(read) => read.iter().all(is_made),
            Conversations::File { last, .. } => is_made(last),
        }
    }

    /// Whether their prompts are prepared while the load goes on, because they are too long to be kept in memory. Texts that are made for no
    /// conversation of a source are kept whatever their length: making them would take longer than sending them.
    pub fn are_streamed(&self, plan: &PromptPlan) -> bool {
        match self {
            Conversations::Made => false,
            Conversations::File { .. } => true,
            Conversations::Read(read) => {
                let made = |turn: &Turn| match turn.content.is_some() || turn.body.is_some() {
                    true => 0,
                    false => {
                        let length =
                            turn.input_tokens.unwrap_or(plan.input.mean as u32).saturating_add(plan.prefix_tokens);
                        (length as usize).saturating_mul(plan.batch as usize).saturating_mul(BYTES_OF_TOKEN)
                    }
                };
                let bytes = |conversation: &Conversation| {
                    conversation.turns.iter().map(made).fold(conversation.size(), usize::saturating_add)
                };
                read.iter().map(bytes).fold(0, usize::saturating_add) > KEPT
            }
        }
    }

    /// All of them, if they are in memory. Where every text is made there are none.
    pub fn kept(&self) -> &[Conversation] {
        match self {
            Conversations::Read(read) => read,
            Conversations::Made | Conversations::File { .. } => &[],
        }
    }

    /// The last one of those that were read before load.
    pub fn last(&self) -> Option<&Conversation> {
        match self {
            Conversations::Made => None,
            Conversations::Read(read) => read.last(),
            Conversations::File { last, .. } => Some(last),
        }
    }

    /// What of the part that was read before load is not followed, if there is another part.
    pub fn notes(&self) -> &[String] {
        match self {
            Conversations::Made | Conversations::Read(_) => &[],
            Conversations::File { notes, .. } => notes,
        }
    }

    /// All of them from the first on, in the order that `plan` samples them in, which is the same each time.
    ///
    /// # Errors
    /// When a file cannot be opened.
    pub fn begin(&self, plan: &PromptPlan) -> Result<Reading> {
        let PromptPlan { sampling, seed, .. } = *plan;
        Ok(match self {
            Conversations::Made => Reading::Kept(Arc::default(), None, 0),
            Conversations::Read(read) => {
                let count = u32::try_from(read.len()).unwrap_or(u32::MAX);
                Reading::Kept(read.clone(), sampling::order(sampling, seed, count, 0), 0)
            }
            Conversations::File { path, options, .. } => {
                let source = sources::open(path, options).about(|| named(path))?;
                Reading::Open(Sampled::over(source, sampling, seed))
            }
        })
    }

    /// `error` of one of them, with where they come from.
    pub fn located(&self, error: SourceError) -> anyhow::Error {
        match self {
            Conversations::File { path, .. } => about(error, named(path)),
            Conversations::Made | Conversations::Read(_) => error.into(),
        }
    }
}

impl Reading {
    /// What was read and is not followed: sentences for people.
    pub fn notes(&self) -> Vec<String> {
        match self {
            Reading::Kept(..) => Vec::new(),
            Reading::Open(source) => source.notes(),
        }
    }

    /// The next conversation; `None` after the last one.
    ///
    /// # Errors
    /// When a row of the file is not of its format.
    pub fn next_conversation(&mut self) -> Result<Option<Conversation>, SourceError> {
        match self {
            Reading::Kept(read, order, next) => {
                let place = *next;
                *next += 1;
                let index = order.as_ref().map_or(Some(place), |order| order.get(place).map(|index| *index as usize));
                Ok(index.and_then(|index| read.get(index)).cloned())
            }
            Reading::Open(source) => source.next_conversation(),
        }
    }
}

/// A file of prompts, as messages name it.
pub fn named(path: &Path) -> setting::Message {
    streamgauge_core::message![Setting::InputFile, format!(" {}", path.display())]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn file(lines: usize, line: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        (0..lines).for_each(|_| writeln!(file, "{line}").unwrap());
        file
    }

    #[test]
    fn a_short_file_is_kept_and_a_long_one_is_read_again() {
        let options = SourceOptions::default();
        let text = format!(r#"{{"text":"{}"}}"#, "x".repeat(1 << 20));
        let short = file(3, &text);
        let opened = Conversations::open(short.path(), &options).unwrap();
        assert_eq!((opened.conversations.count().unwrap(), opened.conversations.kept().len()), (3, 3));
        assert!(!opened.conversations.are_streamed(&streamgauge_testing::prompts()));
        let long = file(40, &text);
        let opened = Conversations::open(long.path(), &options).unwrap();
        assert!(opened.counts.conversations < 40, "reading stops when it is clear that it is too long");
        assert!(opened.conversations.are_streamed(&streamgauge_testing::prompts()));
        assert!(!opened.conversations.makes_texts() && opened.conversations.last().is_some());
        let mut reading = opened.conversations.begin(&streamgauge_testing::prompts()).unwrap();
        assert_eq!(std::iter::from_fn(|| reading.next_conversation().unwrap()).count(), 40);
    }

    #[test]
    fn texts_that_would_be_too_long_are_made_while_the_load_goes_on() {
        let rows = file(100, r#"{"input_length":100000}"#);
        let opened = Conversations::open(rows.path(), &SourceOptions::default()).unwrap();
        assert_eq!(opened.conversations.count().unwrap(), 100);
        assert!(opened.conversations.makes_texts());
        assert!(opened.conversations.are_streamed(&streamgauge_testing::prompts()));
        assert!(!Conversations::Made.are_streamed(&streamgauge_testing::prompts()));
    }
}
