//! The lines of a text file, read one at a time.

use std::io::{self, BufRead};

/// A byte order mark, which some editors put before a file's text.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// The lines of a text that are not blank, with their numbers. One line is in memory at a time.
pub struct Lines {
    reader: Box<dyn BufRead + Send>,
    /// The number of lines read so far, blank ones included.
    read: usize,
    line: String,
    /// Whether `line` was looked at and is still to be handed out.
    is_ahead: bool,
}

impl Lines {
    /// The lines of what `reader` reads.
    pub fn new(reader: impl BufRead + Send + 'static) -> Lines {
        Lines { reader: Box::new(reader), read: 0, line: String::new(), is_ahead: false }
    }

    /// The next line, with its number from 1; `None` at the end.
    ///
    /// # Errors
    /// When the text cannot be read or is not UTF-8.
    pub fn next_line(&mut self) -> io::Result<Option<(usize, &str)>> {
        let is_there = self.advance()?;
        self.is_ahead = false;
        Ok(is_there.then_some((self.read, self.line.as_str())))
    }

    /// The line that [`Lines::next_line`] will give.
    ///
    /// # Errors
    /// As [`Lines::next_line`].
    pub fn peek(&mut self) -> io::Result<Option<&str>> {
        self.is_ahead = self.advance()?;
        Ok(self.is_ahead.then_some(self.line.as_str()))
    }

    /// Reads on to the next line that is not blank, unless that has been done; false at the end.
    fn advance(&mut self) -> io::Result<bool> {
        if self.is_ahead {
            return Ok(true);
        }
        loop {
            self.line.clear();
            if self.reader.read_line(&mut self.line)? == 0 {
                return Ok(false);
            }
            if self.read == 0 && self.line.starts_with(BYTE_ORDER_MARK) {
                self.line.drain(..BYTE_ORDER_MARK.len_utf8());
            }
            self.read += 1;
            if !self.line.trim().is_empty() {
                let without_end = self.line.trim_end_matches(['\n', '\r']).len();
                self.line.truncate(without_end);
                return Ok(true);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_lines_are_passed_over_and_counted() {
        let mut lines = Lines::new("\u{feff}a\r\n\n \n b\n".as_bytes());
        assert_eq!(lines.peek().unwrap(), Some("a"));
        assert_eq!(lines.peek().unwrap(), Some("a"));
        assert_eq!(lines.next_line().unwrap(), Some((1, "a")));
        assert_eq!(lines.next_line().unwrap(), Some((4, " b")));
        assert_eq!(lines.peek().unwrap(), None);
        assert_eq!(lines.next_line().unwrap(), None);
        assert!(Lines::new(&b"\xff\n"[..]).next_line().is_err());
    }
}
