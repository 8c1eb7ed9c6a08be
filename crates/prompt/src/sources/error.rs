//! Why a source cannot be read, and where in its file.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use streamgauge_core::setting::{Explain, Message};

/// A place in a file of prompts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The file, where the source reads several. Otherwise the message that quotes the error names it.
    pub file: Option<PathBuf>,
    /// The number of the line, or of the row where a format has no lines, from 1.
    pub line: usize,
    /// The number of the character in the line, from 1, where it is known.
    pub column: Option<usize>,
    /// What `line` counts.
    pub unit: Unit,
}

/// What a format's rows are counted in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unit {
    /// Lines of a text.
    #[default]
    Line,
    /// Rows of a table that is not a text.
    Row,
}

/// Why a source cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The file cannot be read.
    #[error("the file cannot be read: {0}")]
    Read(#[from] io::Error),
    /// A row is not a request. The rows after it can be read.
    #[error("{place}: {reason}")]
    Row {
        /// Where it is.
        place: Place,
        /// What is wrong with it, and what is expected.
        reason: String,
    },
    /// The file cannot be read on from here.
    #[error("{place}: {reason}")]
    Stop {
        /// Where it is.
        place: Place,
        /// What is wrong, and what is expected.
        reason: String,
    },
    /// What is wrong is not a row.
    #[error("{0}")]
    File(String),
    /// There is nothing in it.
    #[error(
        "there is no request in it; give a line of JSON for each, such as {{\"timestamp\": 0, \"input_length\": 100}}"
    )]
    Empty,
}

impl Place {
    /// A line of the file that the source reads.
    pub fn line(line: usize) -> Place {
        Place { line, ..Place::default() }
    }

    /// The same place, at this column if it is known.
    pub fn at(self, column: Option<usize>) -> Place {
        Place { column, ..self }
    }
}

impl SourceError {
    /// The same error, of a file of which the source reads several.
    pub(super) fn in_file(self, file: &Path) -> SourceError {
        let within = |place: Place| Place { file: Some(file.to_owned()), ..place };
        match self {
            SourceError::Row { place, reason } => SourceError::Row { place: within(place), reason },
            SourceError::Stop { place, reason } => SourceError::Stop { place: within(place), reason },
            SourceError::Read(error) => SourceError::File(format!("{} cannot be read: {error}", file.display())),
            SourceError::File(reason) => SourceError::File(format!("{}: {reason}", file.display())),
            SourceError::Empty => SourceError::Empty,
        }
    }

    /// A line that is not a request.
    pub fn line(line: usize, reason: impl Into<String>) -> SourceError {
        SourceError::Row { place: Place::line(line), reason: reason.into() }
    }
}

/// What formats say of a row names settings in their published form.
impl Explain for SourceError {
    fn message(&self) -> Message {
        Message::parse(&self.to_string())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}: ", file.display())?;
        }
        let unit = match self.unit {
            Unit::Line => "line",
            Unit::Row => "row",
        };
        write!(f, "{unit} {}", self.line)?;
        match self.column {
            Some(column) => write!(f, ", column {column}"),
            None => Ok(()),
        }
    }
}
