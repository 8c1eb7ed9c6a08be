//! Sources of conversations: what the requests of a run are made from. Each format of files is one module and one line in [`FORMATS`].
//!
//! A source reads its file as it is asked for conversations, and keeps no more of it than the one that it is reading. What a source
//! leaves open (a text of which only the length is known, the model, the requested output length) is completed by a
//! [`Completer`](crate::Completer).

mod agents;
mod azure;
mod bailian;
mod burst_gpt;
mod columns;
mod csv;
mod dag;
mod dataset;
mod directory;
mod elements;
mod error;
mod hash_id;
mod input;
mod inputs_json;
mod jsonl;
mod lengths_table;
mod limited;
mod lines;
mod media;
mod messages;
mod multi_turn;
mod object;
mod otel;
#[cfg(feature = "parquet")]
mod parquet;
#[cfg(not(feature = "parquet"))]
mod parquet_missing;
mod raw_payload;
mod sessions;
mod sharegpt;
mod size;
mod skipping;
mod synthetic;
mod table;
mod text;
mod timed_trace;
mod times;
pub mod trace;
mod trtllm_custom;
mod turns;
mod weka;

pub use agents::AgentRules;
pub use dataset::{Dataset, DatasetError};
pub use error::{Place, SourceError, Unit};
pub use input::{Input, Sample};
pub use lines::Lines;
pub use synthetic::Synthetic;
pub use table::Columns;

use crate::limits::LONGEST;
#[cfg(not(feature = "parquet"))]
use parquet_missing as parquet;
use serde_json::{Map, Number, Value};
use skipping::Skipping;
use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use streamgauge_core::Nanos;
use streamgauge_core::prompt::{Content, History, Message};
use streamgauge_core::setting::Setting;

/// The formats of files, in the order in which they are asked whether a file is theirs. The last one takes whatever no other knows.
pub const FORMATS: &[&Format] = &[
    &weka::FORMAT,
    &otel::FORMAT,
    &azure::FORMAT,
    &burst_gpt::FORMAT,
    &bailian::FORMAT,
    &timed_trace::FORMAT,
    &dag::FORMAT,
    &directory::FORMAT,
    &inputs_json::FORMAT,
    &sharegpt::FORMAT,
    &trtllm_custom::FORMAT,
    &multi_turn::FORMAT,
    &raw_payload::FORMAT,
    &text::FORMAT,
    &csv::FORMAT,
    &parquet::FORMAT,
    &jsonl::FORMAT,
    &trace::FORMAT,
];

/// A format of files.
pub struct Format {
    /// Its name.
    pub name: &'static str,
    /// Other names that it is chosen by, such as those that other tools have for it.
    pub aliases: &'static [&'static str],
    /// Whether its rows may say when a request is sent.
    pub has_times: bool,
    /// Whether it reads a directory by itself. Otherwise the files of a directory are read one after the other.
    pub takes_directories: bool,
    /// Whether a file that begins like this is of this format.
    pub recognises: fn(&Sample) -> bool,
    /// Begins to read a file.
    pub open: fn(Input, &SourceOptions) -> Opened,
}

/// A source that was opened, or why it cannot be.
pub type Opened = Result<Box<dyn Source>, SourceError>;

/// How a source is read.
#[derive(Clone, Debug, Default)]
pub struct SourceOptions {
    /// The format of the file; `None` recognises it by the file's beginning.
    pub format: Option<&'static Format>,
    /// Whether the times in the file are followed.
    pub timing: Timing,
    /// Whether rows that are not requests are left out and counted, instead of ending the reading.
    pub skip_bad_rows: bool,
    /// Which columns of a table are which members of a row.
    pub columns: Columns,
    /// The files that are read one after the other instead of the file that is opened, such as those of a data set.
    pub files: Vec<PathBuf>,
    /// Which part of recorded chats is sent.
    pub chats: ChatRule,
    /// How the recorded work of agents is replayed.
    pub agents: AgentRules,
}

/// Which part of recorded chats is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChatRule {
    /// Whole conversations.
    #[default]
    Whole,
    /// What the benchmark scripts of vLLM and TensorRT-LLM send: the first question of chats that have an answer to it. Of
    /// `trtllm_custom` it is the second message.
    FirstQuestion,
}

/// Whether the times in a file are followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Timing {
    /// Each row has a time, and conversations begin at the times of their first rows.
    Timed,
    /// Times are left alone, and conversations come in the order of the file.
    #[default]
    Untimed,
}

/// A source of conversations.
pub trait Source: Send {
    /// The next conversation; `None` at the end.
    ///
    /// # Errors
    /// When what is read is not of the source's format. After an error of a row the next call goes on with the row after it.
    fn next_conversation(&mut self) -> Result<Option<Conversation>, SourceError>;

    /// What the part that was read holds and is not followed, or followed otherwise than one may think: sentences for people.
    fn notes(&self) -> Vec<String>;

    /// How many rows were read.
    fn rows(&self) -> usize;

    /// Whether [`AgentRules`] apply to what it reads.
    fn has_agents(&self) -> bool {
        false
    }
}

/// Requests that follow each other: each is sent when the one before it has been answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conversation {
    /// The name that the source has for it, such as a session's id.
    pub id: Option<String>,
    /// The requests, at least one.
    pub turns: Vec<Turn>,
}

/// One request of a conversation, as far as its source knows it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Turn {
    /// When it was made, from the source's own zero; `None` where times are not followed.
    pub at: Option<Nanos>,
    /// How long after the answer before it this turn is sent.
    pub delay: Nanos,
    /// What stands before its own words.
    pub history: History,
    /// What it says beyond the turns before it; `None` has a text made of `input_tokens`.
    pub content: Option<Content>,
    /// The whole body of the request, which is sent as it is, also where the conversation has turns before this one. `content` is then
    /// `None`.
    pub body: Option<Value>,
    /// The answer to this turn that the source has recorded.
    pub answer: Option<Message>,
    /// Whether the output length to ask for is that of the recorded answer, where neither
    /// `requested_output_tokens` nor the plan says another one.
    pub asks_for_answer_length: bool,
    /// The number of tokens of the text that is made; `None` draws it as for a synthetic prompt.
    pub input_tokens: Option<u32>,
    /// Which blocks the text that is made consists of, if the source says it.
    pub blocks: Option<Blocks>,
    /// The output length to ask for, in tokens.
    pub requested_output_tokens: Option<u32>,
    /// The model to ask.
    pub model: Option<String>,
    /// Members that are added to the body of the request.
    pub members: Map<String, Value>,
}

/// A text of which only its length is known, and which of its blocks equal those of other texts. Equal blocks become equal texts, so that
/// a server's prefix cache finds what it found when the trace was recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blocks {
    /// What the ids belong to: blocks with equal ids are equal if their scopes are.
    pub scope: u64,
    /// Tokens of a block, at least 1.
    pub size: u32,
    /// The ids of the blocks in the order of the text. What the text has beyond them is made afresh.
    pub ids: Vec<u64>,
    /// Tokens at the beginning of the first block that are not part of this text, because an earlier turn says them.
    pub skip: u32,
    /// Tokens at the beginning of the text that are the recorded answer to the turn before it; the rest is the user's.
    pub answer_tokens: u32,
}

/// Everything that a source has.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Contents {
    /// The conversations, at least one; with times in the order of their beginnings.
    pub conversations: Vec<Conversation>,
    /// See [`Source::notes`].
    pub notes: Vec<String>,
    /// How much was read.
    pub counts: Counts,
}

/// How much a source has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Rows of the file.
    pub rows: usize,
    /// Conversations.
    pub conversations: usize,
    /// Requests of all conversations.
    pub turns: usize,
    /// Tokens of the texts of which the source says the length.
    pub input_tokens: u64,
    /// Tokens that the source asks for.
    pub requested_output_tokens: u64,
}

/// Opens `file`, in the format that the options name or that its beginning shows.
///
/// # Errors
/// When the file cannot be read, or it is not of the format.
pub fn open(file: &Path, options: &SourceOptions) -> Opened {
    if options.files.is_empty() {
        return source(Input::open(file)?, options);
    }
    let each = SourceOptions { files: Vec::new(), skip_bad_rows: false, ..options.clone() };
    let source = directory::of_files(options.files.clone(), each);
    Ok(if options.skip_bad_rows { Skipping::new(source) } else { source })
}

/// Begins to read `input`, in the format that the options name or that its beginning shows.
///
/// # Errors
/// As [`open`].
pub fn source(input: Input, options: &SourceOptions) -> Opened {
    let (format, input) = match options.format {
        Some(format) => (format, input),
        None => {
            let (sample, input) = input.sample()?;
            let fits = |format: &&&Format| format.has_times || options.timing == Timing::Untimed;
            let format = FORMATS.iter().filter(fits).find(|format| (format.recognises)(&sample));
            (*format.unwrap_or(&&trace::FORMAT), input)
        }
    };
    let source = match input.path().is_dir() && !format.takes_directories {
        true => directory::open(&input, SourceOptions { skip_bad_rows: false, ..options.clone() })?,
        false => (format.open)(input, options)?,
    };
    if options.agents.is_chosen && !source.has_agents() {
        return Err(SourceError::File(format!(
            "{}, {} and {} are for recordings of agents, which this is not",
            Setting::TraceIdleGapCapSeconds,
            Setting::TrajectoryStartMinRatio,
            Setting::TrajectoryStartMaxRatio
        )));
    }
    Ok(if options.skip_bad_rows { Skipping::new(source) } else { source })
}

/// The format of that name.
///
/// # Errors
/// A sentence that lists the names, where there is no such format.
pub fn format_named(name: &str) -> Result<&'static Format, String> {
    let format = FORMATS.iter().copied().find(|format| format.name == name || format.aliases.contains(&name));
    format.ok_or_else(|| {
        let names: Vec<_> = FORMATS.iter().map(|format| format.name).collect();
        format!("this format is not known; known are {}", names.join(", "))
    })
}

impl fmt::Debug for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Contents {
    /// Reads `file` to its end.
    ///
    /// # Errors
    /// When the file cannot be read, a row is not of its format, or there is no row.
    pub fn read(file: &Path, options: &SourceOptions) -> Result<Contents, SourceError> {
        Contents::of(open(file, options)?)
    }

    /// Reads `source` to its end.
    fn of(mut source: Box<dyn Source>) -> Result<Contents, SourceError> {
        let (mut conversations, mut counts) = (Vec::new(), Counts::default());
        while let Some(conversation) = source.next_conversation()? {
            counts.add(&conversation);
            conversations.push(conversation);
        }
        if conversations.is_empty() {
            return Err(SourceError::Empty);
        }
        counts.rows = source.rows();
        // Conversations without times, and those of equal times, stay in the order of the file.
        conversations.sort_by_key(Conversation::begins);
        Ok(Contents { conversations, notes: source.notes(), counts })
    }

    /// Keeps the conversations that begin from `from` to `to`, both included, and counts their times from `from`, `speedup` times as
    /// fast.
    pub fn keep(&mut self, from: Nanos, to: Option<Nanos>, speedup: f64) {
        self.conversations.retain(|conversation| {
            let begins = conversation.begins();
            begins >= from && to.is_none_or(|to| begins <= to)
        });
        for turn in self.conversations.iter_mut().flat_map(|conversation| &mut conversation.turns) {
            turn.at = turn.at.map(|at| Nanos::from_secs_f64((at - from).as_secs_f64() / speedup));
        }
    }

    /// The requests of all conversations.
    pub fn turns(&self) -> impl Iterator<Item = &Turn> {
        self.conversations.iter().flat_map(|conversation| &conversation.turns)
    }
}

impl Conversation {
    /// When its first request was made; zero where times are not followed.
    pub fn begins(&self) -> Nanos {
        self.turns.first().and_then(|turn| turn.at).unwrap_or_default()
    }
}

impl From<Turn> for Conversation {
    fn from(turn: Turn) -> Conversation {
        Conversation { id: None, turns: vec![turn] }
    }
}

impl Counts {
    /// Counts one more conversation.
    pub fn add(&mut self, conversation: &Conversation) {
        self.conversations += 1;
        self.turns += conversation.turns.len();
        for turn in &conversation.turns {
            self.input_tokens += u64::from(turn.input_tokens.unwrap_or(0));
            self.requested_output_tokens += u64::from(turn.requested_output_tokens.unwrap_or(0));
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { rows, conversations, turns, input_tokens, requested_output_tokens } = self;
        write!(f, "{rows} row(s): {conversations} conversation(s) of {turns} turn(s)")?;
        if *input_tokens > 0 {
            write!(f, ", {input_tokens} input tokens in texts to be made")?;
        }
        if *requested_output_tokens > 0 {
            write!(f, ", {requested_output_tokens} output tokens asked for")?;
        }
        Ok(())
    }
}

/// Says which members of the rows go into the bodies of their requests because the format has no meaning for them.
fn note_of_added_members(members: &BTreeSet<String>) -> Option<String> {
    let names: Vec<_> = members.iter().map(|name| format!("`{name}`")).collect();
    (!names.is_empty())
        .then(|| format!("the requests' bodies hold these members of its rows as they are: {}", names.join(", ")))
}

/// A number of tokens that can be asked for, which a row gives as `name`.
fn tokens(name: &str, length: &Number) -> Result<u32, String> {
    match length.as_u64().map(u32::try_from) {
        Some(Ok(0)) => Err(format!("{name} 0: a length of 0 tokens cannot be asked for")),
        Some(Ok(tokens)) if tokens <= LONGEST => Ok(tokens),
        Some(_) => Err(format!("{name} {length}: longer than any prompt or answer; give at most {LONGEST} tokens")),
        None => Err(format!("{name} {length}: not a whole number of tokens")),
    }
}

/// Reads `text` to its end; for tests.
#[cfg(test)]
pub(crate) fn read_text(text: &str, timing: Timing) -> Result<Contents, SourceError> {
    let options = SourceOptions { timing, ..SourceOptions::default() };
    Contents::of(source(Input::text(text), &options)?)
}
