//! The lines of a text file, read one at a time.

use super::SourceError;
use std::io::{BufRead, Read};

/// A byte order mark, which some editors put before a file's text.
pub(super) const BYTE_ORDER_MARK: char = '\u{feff}';
/// The most bytes of a line: several times what a prompt of a million tokens or a few large images take, and a bound for files that
/// have no lines.
pub(super) const LONGEST_LINE: u64 = 64 << 20;

/// The lines of a text that are not blank, with their numbers. One line is in memory at a time.
pub struct Lines {
    reader: Box<dyn BufRead + Send>,
    /// The number of lines read so far, blank ones included.
    read: usize,
    line: Vec<u8>,
}

impl Lines {
    /// The lines of what `reader` reads.
    pub fn new(reader: impl BufRead + Send + 'static) -> Lines {
        Lines { reader: Box::new(reader), read: 0, line: Vec::new() }
    }

    /// The next line, with its number from 1; `None` at the end.
    ///
    /// # Errors
    /// When the text cannot be read, or the line is not UTF-8 or too long. After a line that is not UTF-8 the next one can be read.
    pub fn next_line(&mut self) -> Result<Option<(usize, &str)>, SourceError> {
        loop {
            self.line.clear();
            if self.reader.by_ref().take(LONGEST_LINE + 1).read_until(b'\n', &mut self.line)? == 0 {
                return Ok(None);
            }
            self.read += 1;
            if self.line.len() as u64 > LONGEST_LINE {
                let most = LONGEST_LINE >> 20;
                return Err(SourceError::File(format!(
                    "line {} is longer than {most} MiB; give a file with a line for each request",
                    self.read
                )));
            }
            if !self.line.trim_ascii().is_empty() {
                break;
            }
        }
        let line = std::str::from_utf8(&self.line).map_err(|error| {
            let column = String::from_utf8_lossy(&self.line[..error.valid_up_to()]).chars().count() + 1;
            let place = super::Place::line(self.read).at(Some(column));
            SourceError::Row { place, reason: "this is not text in UTF-8".to_owned() }
        })?;
        let line = if self.read == 1 { line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line) } else { line };
        Ok(Some((self.read, line.trim_end_matches(['\n', '\r']))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_lines_are_passed_over_and_counted() {
        let mut lines = Lines::new("\u{feff}a\r\n\n \n b\n".as_bytes());
        assert_eq!(lines.next_line().unwrap(), Some((1, "a")));
        assert_eq!(lines.next_line().unwrap(), Some((4, " b")));
        assert_eq!(lines.next_line().unwrap(), None);
    }

    #[test]
    fn a_line_that_is_not_utf8_is_named_and_the_next_one_is_read() {
        let mut lines = Lines::new(&b"a\n\xc3\xa4\xff\nb"[..]);
        assert_eq!(lines.next_line().unwrap(), Some((1, "a")));
        let error = lines.next_line().unwrap_err().to_string();
        assert_eq!(error, "line 2, column 2: this is not text in UTF-8");
        assert_eq!(lines.next_line().unwrap(), Some((3, "b")));
    }

    #[test]
    fn a_file_without_lines_is_refused_before_it_fills_the_memory() {
        let mut lines = Lines::new(std::io::BufReader::new(std::io::repeat(b'x')));
        let error = lines.next_line().unwrap_err().to_string();
        assert!(error.starts_with("line 1 is longer than 64 MiB; give a file with a line"), "{error}");
    }
}
