//! What a source reads: a file whose format its beginning shows, or a directory.

use super::SourceError;
use super::elements::{self, Elements};
use super::lines::{BYTE_ORDER_MARK, LONGEST_LINE, Lines};
use super::object::Objects;
use serde_json::{Map, Value};
use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};

/// How much of a file its format is recognised from, beside its first row.
const HEAD_BYTES: usize = 64 * 1024;

/// A file or a directory of prompts that is being opened.
pub struct Input {
    path: PathBuf,
    reader: Box<dyn BufRead + Send>,
}

/// What formats are recognised by.
pub struct Sample {
    /// Where the file or the directory is. Only its name is of use: there may be nothing to open.
    pub path: PathBuf,
    /// Whether it is a directory, which has neither a head nor a row.
    pub is_directory: bool,
    /// The first bytes of the file, at most 64 KiB and at least one if the file has any.
    pub head: Vec<u8>,
    /// The members of the first row, if the first line that is not blank is a JSON object, or the file is an array and its first element is
    /// one.
    pub first_row: Option<Map<String, Value>>,
}

impl Input {
    /// Opens `path`.
    ///
    /// # Errors
    /// When there is no such file, or it may not be read.
    pub fn open(path: &Path) -> Result<Input, SourceError> {
        let reader: Box<dyn BufRead + Send> = match path.is_dir() {
            true => Box::new(std::io::empty()),
            false => Box::new(BufReader::with_capacity(HEAD_BYTES, File::open(path)?)),
        };
        Ok(Input { path: path.to_owned(), reader })
    }

    /// A text instead of a file.
    pub fn text(text: impl Into<String>) -> Input {
        Input { path: PathBuf::new(), reader: Box::new(Cursor::new(text.into())) }
    }

    /// Where the file or the directory is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the format is recognised by, and the input, which begins at its beginning again also where it is a pipe.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn sample(mut self) -> Result<(Sample, Input), SourceError> {
        let mut sample = Sample {
            is_directory: self.path.is_dir(),
            path: self.path.clone(),
            head: self.reader.fill_buf()?.to_vec(),
            first_row: None,
        };
        sample.head.truncate(HEAD_BYTES);
        // The first line of an array may be all of a large file.
        if sample.text().starts_with('{') {
            let mut read = Vec::new();
            while self.reader.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut read)? > 0 {
                let line = String::from_utf8_lossy(&read);
                let line = line.trim_start_matches(BYTE_ORDER_MARK).trim();
                if !line.is_empty() {
                    sample.first_row = serde_json::from_str(line).ok();
                    break;
                }
            }
            self.reader = Box::new(Cursor::new(read).chain(self.reader));
        } else if sample.text().starts_with('[') {
            let mut elements = Elements::new(Cursor::new(sample.head.clone()), None);
            sample.first_row = elements.next_object().ok().flatten().map(|(_, mut object)| object.take_rest());
        }
        Ok((sample, self))
    }

    /// The lines of the file.
    pub fn lines(self) -> Lines {
        Lines::new(self.reader)
    }

    /// The objects that the file has, be they lines or the elements of an array.
    pub(super) fn objects(self) -> Result<Box<dyn Objects>, SourceError> {
        elements::objects(self.reader)
    }

    /// The bytes of the file.
    pub fn reader(self) -> impl BufRead + Send + 'static {
        self.reader
    }
}

impl Sample {
    /// The beginning of the file as a text, without a byte order mark and blanks in front of it; empty where it is not UTF-8.
    pub fn text(&self) -> &str {
        let text = match std::str::from_utf8(&self.head) {
            Ok(text) => text,
            // The last character may be cut.
            Err(error) if error.error_len().is_none() => {
                std::str::from_utf8(&self.head[..error.valid_up_to()]).unwrap_or_default()
            }
            Err(_) => "",
        };
        text.trim_start_matches(BYTE_ORDER_MARK).trim_start()
    }

    /// Whether the first row has one of these members.
    pub fn has(&self, names: &[&str]) -> bool {
        self.first_row.as_ref().is_some_and(|row| names.iter().any(|name| row.contains_key(*name)))
    }
}
