//! The elements of an array of JSON, read one at a time: of a file that is an array, or of an object that has the array as a member.

use super::lines::{BYTE_ORDER_MARK, LONGEST_LINE};
use super::object::{Object, Objects};
use super::{Place, SourceError};
use std::io::BufRead;

/// The elements of an array that are objects. One element is in memory at a time.
pub(super) struct Elements {
    bytes: Bytes,
    /// The member that the array is of the file's object; `None` where the file is the array.
    member: Option<&'static str>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The array has not begun.
    Before,
    /// Between two elements.
    Within,
    /// The array is over, or cannot be read on.
    After,
}

/// Bytes with their place in the file.
struct Bytes {
    reader: Box<dyn BufRead + Send>,
    /// The line and the column of the next byte, from 1.
    place: (usize, usize),
}

impl Elements {
    pub fn new(reader: impl BufRead + Send + 'static, member: Option<&'static str>) -> Elements {
        let bytes = Bytes { reader: Box::new(reader), place: (1, 1) };
        Elements { bytes, member, state: State::Before }
    }

    /// Reads up to the first element; false where there is no array.
    fn begin(&mut self) -> Result<(), SourceError> {
        self.bytes.skip_mark()?;
        let Some(member) = self.member else {
            return self.expect(b'[', "expected a list of objects, which begins with `[`");
        };
        self.expect(b'{', "expected an object")?;
        loop {
            if self.bytes.skip_blanks()? != Some(b'"') {
                return Err(self.stop(format!("expected the member `{member}`, which is a list")));
            }
            let name = self.value()?;
            self.expect(b':', "expected `:` between a name and its value")?;
            self.bytes.skip_blanks()?;
            if name.strip_prefix('"').and_then(|name| name.strip_suffix('"')) == Some(member) {
                return self.expect(b'[', "expected a list of objects, which begins with `[`");
            }
            self.value()?;
            if self.bytes.skip_blanks()? == Some(b',') {
                self.bytes.consume(1)?;
            }
        }
    }

    fn expect(&mut self, byte: u8, words: &str) -> Result<(), SourceError> {
        if self.bytes.skip_blanks()? != Some(byte) {
            return Err(self.stop(words));
        }
        self.bytes.consume(1)?;
        Ok(())
    }

    /// The text of the value that begins here.
    fn value(&mut self) -> Result<String, SourceError> {
        let (mut value, mut depth, mut in_string, mut escaped) = (Vec::new(), 0_u32, false, false);
        let mut is_complete = false;
        while !is_complete {
            let chunk = self.bytes.reader.fill_buf()?;
            if chunk.is_empty() {
                return Err(self.stop("the JSON ends here before it is complete"));
            }
            let mut length = 0;
            for byte in chunk {
                let is_begun = !value.is_empty() || length > 0;
                if !in_string && depth == 0 && is_begun && matches!(byte, b',' | b']' | b'}' | b':') {
                    is_complete = true;
                    break;
                }
                length += 1;
                match byte {
                    _ if escaped => escaped = false,
                    b'\\' if in_string => escaped = true,
                    b'"' => in_string = !in_string,
                    b'{' | b'[' if !in_string => depth += 1,
                    b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
                    _ => {}
                }
                if depth == 0 && !in_string && matches!(byte, b'"' | b'}' | b']') {
                    is_complete = true;
                    break;
                }
            }
            value.extend_from_slice(&chunk[..length]);
            self.bytes.consume(length)?;
            if value.len() as u64 > LONGEST_LINE {
                return Err(self.stop(format!("an entry is longer than {} MiB", LONGEST_LINE >> 20)));
            }
        }
        String::from_utf8(value).map_err(|_| self.stop("the entry that ends here is not text in UTF-8"))
    }

    /// Reads the end of the array. Nothing may follow a list that is the whole file, since it would be lost.
    fn end(&mut self) -> Result<Option<(Place, Object)>, SourceError> {
        self.state = State::After;
        if self.member.is_none() {
            self.bytes.consume(1)?;
            if self.bytes.skip_blanks()?.is_some() {
                return Err(self.stop("expected the end of the file after the list; a file holds one list"));
            }
        }
        Ok(None)
    }

    /// The error that ends the reading.
    fn stop(&mut self, reason: impl Into<String>) -> SourceError {
        self.state = State::After;
        SourceError::Stop { place: self.bytes.here(), reason: reason.into() }
    }
}

impl Objects for Elements {
    fn next_object(&mut self) -> Result<Option<(Place, Object)>, SourceError> {
        match self.state {
            State::Before => {
                self.begin()?;
                self.state = State::Within;
                if self.bytes.skip_blanks()? == Some(b']') {
                    return self.end();
                }
            }
            State::After => return Ok(None),
            State::Within => match self.bytes.skip_blanks()? {
                Some(b',') => {
                    self.bytes.consume(1)?;
                }
                Some(b']') => return self.end(),
                Some(_) => return Err(self.stop("expected `,` or `]` after an entry of the list")),
                None => return Err(self.stop("the JSON ends here before it is complete")),
            },
        }
        self.bytes.skip_blanks()?;
        let place = self.bytes.here();
        let text = self.value()?;
        match Object::parse(text) {
            Ok(object) => Ok(Some((place, object))),
            Err((text, fault)) => Err(fault.at_place(&place, &text)),
        }
    }
}

impl Bytes {
    fn here(&self) -> Place {
        Place::line(self.place.0).at(Some(self.place.1))
    }

    fn peek(&mut self) -> Result<Option<u8>, SourceError> {
        Ok(self.reader.fill_buf()?.first().copied())
    }

    /// Passes over bytes that were looked at.
    fn consume(&mut self, length: usize) -> Result<(), SourceError> {
        for byte in &self.reader.fill_buf()?[..length] {
            match byte {
                b'\n' => self.place = (self.place.0 + 1, 1),
                // Characters are counted, not their bytes.
                byte if (byte & 0xC0) != 0x80 => self.place.1 += 1,
                _ => {}
            }
        }
        self.reader.consume(length);
        Ok(())
    }

    /// Reads on to what is not blank.
    fn skip_blanks(&mut self) -> Result<Option<u8>, SourceError> {
        while let Some(byte) = self.peek()? {
            if !byte.is_ascii_whitespace() {
                return Ok(Some(byte));
            }
            self.consume(1)?;
        }
        Ok(None)
    }

    /// Reads over a byte order mark at the beginning.
    fn skip_mark(&mut self) -> Result<(), SourceError> {
        let mut bytes = [0; BYTE_ORDER_MARK.len_utf8()];
        let mark = BYTE_ORDER_MARK.encode_utf8(&mut bytes).as_bytes();
        if self.reader.fill_buf()?.starts_with(mark) {
            self.reader.consume(mark.len());
        }
        Ok(())
    }
}

/// The objects that a file has, be they the elements of an array or lines.
pub(super) fn objects(mut reader: impl BufRead + Send + 'static) -> Result<Box<dyn Objects>, SourceError> {
    let is_array = {
        let head = reader.fill_buf()?;
        let text = String::from_utf8_lossy(&head[..head.len().min(4096)]);
        text.trim_start_matches(BYTE_ORDER_MARK).trim_start().starts_with('[')
    };
    match is_array {
        true => Ok(Box::new(Elements::new(reader, None))),
        false => Ok(Box::new(super::Lines::new(reader))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn elements(text: &str, member: Option<&'static str>) -> Elements {
        Elements::new(std::io::Cursor::new(text.to_owned()), member)
    }

    fn all(text: &str, member: Option<&'static str>) -> Result<Vec<(String, String)>, String> {
        let mut elements = elements(text, member);
        let mut all = Vec::new();
        while let Some((place, object)) = elements.next_object().map_err(|error| error.to_string())? {
            all.push((place.to_string(), object.text().to_owned()));
        }
        Ok(all)
    }

    #[test]
    fn each_element_comes_with_its_place() {
        let text = "\u{feff}[\n  {\"ä\": [\"}\\\"\", {}]}, {\"b\": 1}\n]\n";
        let expected = [("line 2, column 3", "{\"ä\": [\"}\\\"\", {}]}"), ("line 2, column 23", "{\"b\": 1}")];
        let expected = expected.map(|(place, text)| (place.to_owned(), text.to_owned()));
        assert_eq!(all(text, None).unwrap(), expected);
        let member =
            all("{\"x\": {\"data\": [1]}, \"n\": 5,\n \"data\": [{\"b\": 1}], \"z\": 1}", Some("data")).unwrap();
        assert_eq!(member, [("line 2, column 11".to_owned(), "{\"b\": 1}".to_owned())]);
        assert_eq!(all(" [ ] ", None).unwrap(), []);
    }

    #[test]
    fn what_is_no_array_of_objects_is_told_with_its_place() {
        for (text, member, words) in [
            ("{}", None, "line 1, column 1: expected a list of objects, which begins with `[`"),
            ("[{\"a\": 1}", None, "line 1, column 10: the JSON ends here before it is complete"),
            ("[{\"a\": ", None, "line 1, column 8: the JSON ends here before it is complete"),
            ("[{}]\n[{}]", None, "line 2, column 1: expected the end of the file after the list"),
            ("[] x", None, "line 1, column 4: expected the end of the file after the list"),
            ("[{} {}]", None, "line 1, column 5: expected `,` or `]` after an entry"),
            ("[\n5]", None, "line 2, column 1: expected an object such as"),
            ("[{\"a\":\n 1 2}]", None, "line 2, column 4: expected `,` or `}`"),
            ("{\"x\": 1}", Some("data"), "line 1, column 8: expected the member `data`, which is a list"),
            ("{\"data\": 1}", Some("data"), "line 1, column 10: expected a list of objects"),
        ] {
            let error = all(text, member).unwrap_err();
            assert!(error.starts_with(words), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_or_go_on_for_ever(text in "[\\[\\]{}\",:a \\\\\n0]{0,80}") {
            for member in [None, Some("a")] {
                let mut elements = elements(&text, member);
                // Each call takes at least one byte, or is the last one.
                for _ in 0..=text.len() {
                    if let Ok(None) = elements.next_object() { break }
                }
                prop_assert!(matches!(elements.next_object(), Ok(None)), "{text}");
            }
        }
    }
}
