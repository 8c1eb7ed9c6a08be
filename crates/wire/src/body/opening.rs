//! The beginning of a body, which shows whether it is an event stream, whatever its Content-Type is.

use crate::body::sse::BYTE_ORDER_MARK;
use memchr::memchr;

/// What a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Server-sent events.
    Events,
    /// One document.
    Whole,
}

/// The ways in which an event stream begins: a comment, or one of the fields of the HTML standard.
const BEGINNINGS: [&[u8]; 5] = [b":", b"data:", b"event:", b"id:", b"retry:"];

/// The beginning of a body, kept until it shows what the body is.
#[derive(Debug)]
pub(crate) struct Opening {
    head: Vec<u8>,
    /// How many bytes at the beginning of `head` are known to be blank.
    blank: usize,
    is_promised: bool,
}

impl Opening {
    /// The beginning of a body; `is_promised` says whether the body was promised as an event stream.
    pub(crate) fn new(is_promised: bool) -> Opening {
        Opening { head: Vec::new(), blank: 0, is_promised }
    }

    /// Whether the body was promised as an event stream.
    pub(crate) fn is_promised(&self) -> bool {
        self.is_promised
    }

    /// The number of bytes that are kept.
    pub(crate) fn len(&self) -> usize {
        self.head.len()
    }

    /// What the body is, once `bytes` show it. Until then the bytes are kept.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Option<Shape> {
        if self.head.is_empty()
            && let Some(shape) = self.shape(bytes, &mut 0)
        {
            return Some(shape);
        }
        let kept = self.head.len();
        self.head.extend_from_slice(bytes);
        let mut blank = self.blank;
        let shape = self.shape(&self.head, &mut blank);
        self.blank = blank;
        if shape.is_some() {
            self.head.truncate(kept);
        }
        shape
    }

    /// The bytes that were kept.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.head)
    }

    /// What a body is that ended before it showed what it is.
    pub(crate) fn shape_at_end(&self) -> Shape {
        if self.is_promised { Shape::Events } else { Shape::Whole }
    }

    /// What a body is that begins with `head`, whose first `blank` bytes are blank.
    fn shape(&self, head: &[u8], blank: &mut usize) -> Option<Shape> {
        if head.len() < BYTE_ORDER_MARK.len() && BYTE_ORDER_MARK.starts_with(head) {
            return None;
        }
        let marked = if head.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        *blank = (*blank).max(marked);
        let more = head[*blank..].iter().position(|byte| !byte.is_ascii_whitespace());
        *blank += more.unwrap_or(head.len() - *blank);
        let begun = &head[*blank..];
        // An object is a whole answer, whatever its Content-Type is.
        if let [b'{' | b'[', ..] = begun {
            return Some(Shape::Whole);
        }
        if begun.is_empty() {
            return None;
        }
        if self.is_promised {
            return Some(Shape::Events);
        }
        let at_line = memchr(b' ', &head[marked..*blank]).is_none() && memchr(b'\t', &head[marked..*blank]).is_none();
        if at_line && BEGINNINGS.iter().any(|beginning| begun.starts_with(beginning)) {
            return Some(Shape::Events);
        }
        let may_be = at_line && BEGINNINGS.iter().any(|beginning| beginning.starts_with(begun));
        (!may_be).then_some(Shape::Whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the body is, fed as a whole and byte by byte.
    fn shape(is_promised: bool, body: &[u8]) -> Option<Shape> {
        let whole = Opening::new(is_promised).read(body);
        let mut opening = Opening::new(is_promised);
        let mut kept = 0;
        let by_byte = body.iter().find_map(|byte| {
            let shape = opening.read(&[*byte]);
            kept += usize::from(shape.is_none());
            shape
        });
        assert_eq!(whole, by_byte, "{}", body.escape_ascii());
        assert_eq!(opening.take(), body[..kept], "what was kept");
        whole
    }

    #[test]
    fn a_body_that_begins_as_a_stream_is_one() {
        for body in [
            &b"data: 1"[..],
            b"data:1",
            b"\n\r\ndata: 1",
            b": ping",
            b"event: x",
            b"id: 7",
            b"retry: 1",
            b"\xEF\xBB\xBFdata: 1",
        ] {
            assert_eq!(shape(false, body), Some(Shape::Events), "{}", body.escape_ascii());
            assert_eq!(shape(true, body), Some(Shape::Events), "{}", body.escape_ascii());
        }
    }

    #[test]
    fn an_object_is_a_whole_answer_whatever_was_promised() {
        for body in [&b"{\"a\":1}"[..], b" \n {", b"[1]", b"\xEF\xBB\xBF{"] {
            assert_eq!(shape(false, body), Some(Shape::Whole), "{}", body.escape_ascii());
            assert_eq!(shape(true, body), Some(Shape::Whole), "{}", body.escape_ascii());
        }
    }

    #[test]
    fn no_blank_is_looked_at_twice() {
        let mut opening = Opening::new(false);
        for count in 1..=10_000 {
            assert_eq!(opening.read(b"\n "), None);
            assert_eq!((opening.blank, opening.len()), (2 * count, 2 * count));
        }
        assert_eq!(opening.read(b"{"), Some(Shape::Whole));
    }

    #[test]
    fn anything_else_is_what_was_promised() {
        for body in [&b"<html>"[..], b"database", b"data 1", b"  data: 1", b"\"a\"", b"upstream timed out", b"\xFF"] {
            assert_eq!(shape(false, body), Some(Shape::Whole), "{}", body.escape_ascii());
            assert_eq!(shape(true, body), Some(Shape::Events), "{}", body.escape_ascii());
        }
        for body in [&b""[..], b"\n \n", b"\xEF\xBB", b"\xEF\xBB\xBF"] {
            assert_eq!(shape(false, body), None, "{}", body.escape_ascii());
            assert_eq!(shape(true, body), None, "{}", body.escape_ascii());
        }
        for body in [&b"d"[..], b"data", b"\r\nev", b"\xEF\xBB\xBFretr"] {
            assert_eq!(shape(false, body), None, "{}", body.escape_ascii());
        }
    }
}
