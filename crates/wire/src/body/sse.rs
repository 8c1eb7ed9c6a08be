//! Server-sent events: a push parser, bytes in, borrowed events out.
//!
//! It follows the HTML standard's event stream format (lines end with CR, LF or CRLF; a leading byte order mark;
//! comments; `data`, `event`, `id`, `retry`) with two differences, both because a benchmark must not lose what a server
//! said: the last event may end with the body instead of a blank line, and an event that has a name but no data is
//! still reported. Whether the bytes are UTF-8 is for the reader of the data to check: it may know without looking.

use memchr::memchr2;
use std::mem;

/// The longest line, and the longest data of one event, in bytes. A server that sends more is not sending tokens.
pub const MAX_EVENT: usize = 16 << 20;

/// What may stand before a text in UTF-8.
pub(crate) const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// An item of an event stream. The bytes live as long as the call that reports them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SseEvent<'a> {
    /// A comment line, which servers send to keep a connection alive.
    Comment,
    /// An event.
    Message {
        /// Its type; empty when the server gave none.
        name: &'a [u8],
        /// Its data lines, joined by line feeds.
        data: &'a [u8],
    },
    /// A line or an event longer than [`MAX_EVENT`]; nothing after it is read.
    TooLong,
}

/// Splits an event stream into events, wherever the network cut it.
#[derive(Debug, Default)]
pub struct SseParser {
    /// The beginning of a line that continues in the next slice.
    line: Vec<u8>,
    /// The data lines of the current event, as far as they had to be copied; valid if `has_data`.
    data: Vec<u8>,
    has_data: bool,
    /// The name of the current event.
    name: Vec<u8>,
    /// The last byte was a CR: a LF right after it belongs to the same line end.
    after_cr: bool,
    /// The first line, which may begin with a byte order mark, is over.
    begun: bool,
    /// Whether nothing more is read.
    over: bool,
}

impl SseParser {
    /// Reads the next bytes of the stream and reports each event that they complete.
    ///
    /// An event with one data line that lies wholly in `bytes` is reported without copying anything.
    pub fn feed(&mut self, bytes: &[u8], on: &mut impl FnMut(SseEvent<'_>)) {
        let mut rest = bytes;
        let mut held = None;
        while !self.over && !rest.is_empty() {
            if mem::take(&mut self.after_cr) && rest[0] == b'\n' {
                rest = &rest[1..];
                continue;
            }
            let Some(end) = memchr2(b'\n', b'\r', rest) else {
                self.cut(rest, on);
                break;
            };
            let line = &rest[..end];
            self.after_cr = rest[end] == b'\r';
            rest = &rest[end + 1..];
            if self.line.is_empty() {
                self.accept(line, &mut held, on);
            } else {
                self.keep(held.take());
                self.accept_joined(line, on);
            }
        }
        self.keep(held);
    }

    /// Ends the stream: lines without a blank line after them are the last event. Call this only when the body ended as its framing
    /// promised; an event that a lost connection cut off does not count.
    pub fn finish(&mut self, on: &mut impl FnMut(SseEvent<'_>)) {
        if !self.over && !self.line.is_empty() {
            self.accept_joined(&[], on);
        }
        if !self.over {
            self.dispatch(None, on);
        }
        self.over = true;
    }

    /// Keeps the beginning of a line for the next slice.
    fn cut(&mut self, part: &[u8], on: &mut impl FnMut(SseEvent<'_>)) {
        if self.line.len() + part.len() > MAX_EVENT {
            self.give_up(on);
        } else {
            self.line.extend_from_slice(part);
        }
    }

    /// Reads a line that began in an earlier slice and ends with `part`.
    fn accept_joined(&mut self, part: &[u8], on: &mut impl FnMut(SseEvent<'_>)) {
        let mut line = mem::take(&mut self.line);
        line.extend_from_slice(part);
        let mut held = None;
        self.accept(&line, &mut held, on);
        self.keep(held);
        line.clear();
        self.line = line;
    }

    /// Reads a whole line. `held` is the event's only data line so far, where it need not be copied yet.
    fn accept<'b>(&mut self, line: &'b [u8], held: &mut Option<&'b [u8]>, on: &mut impl FnMut(SseEvent<'_>)) {
        if line.len() > MAX_EVENT {
            return self.give_up(on);
        }
        let begun = mem::replace(&mut self.begun, true);
        let line = if begun { line } else { line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line) };
        match Line::read(line) {
            Line::Blank => self.dispatch(held.take(), on),
            Line::Comment => on(SseEvent::Comment),
            Line::Data(value) if held.is_none() && !self.has_data => *held = Some(value),
            Line::Data(value) => {
                self.keep(held.take());
                if self.data.len() + 1 + value.len() > MAX_EVENT {
                    return self.give_up(on);
                }
                self.keep(Some(value));
            }
            Line::Name(value) => {
                self.name.clear();
                self.name.extend_from_slice(value);
            }
            Line::Other => {}
        }
    }

    /// Copies a data line whose slice is about to be released.
    fn keep(&mut self, value: Option<&[u8]>) {
        let Some(value) = value else { return };
        if mem::replace(&mut self.has_data, true) {
            self.data.push(b'\n');
        }
        self.data.extend_from_slice(value);
    }

    fn dispatch(&mut self, held: Option<&[u8]>, on: &mut impl FnMut(SseEvent<'_>)) {
        if held.is_some() || self.has_data || !self.name.is_empty() {
            on(SseEvent::Message { name: &self.name, data: held.unwrap_or(&self.data) });
        }
        self.data.clear();
        self.has_data = false;
        self.name.clear();
    }

    fn give_up(&mut self, on: &mut impl FnMut(SseEvent<'_>)) {
        self.over = true;
        on(SseEvent::TooLong);
    }
}

/// What a line means.
enum Line<'a> {
    Blank,
    Comment,
    Data(&'a [u8]),
    Name(&'a [u8]),
    /// `id`, `retry`, and fields that the standard says to ignore.
    Other,
}

impl Line<'_> {
    fn read(line: &[u8]) -> Line<'_> {
        if line.is_empty() {
            return Line::Blank;
        }
        if let Some(value) = line.strip_prefix(b"data:") {
            return Line::Data(without_space(value));
        }
        if let Some(value) = line.strip_prefix(b"event:") {
            return Line::Name(without_space(value));
        }
        match line {
            [b':', ..] => Line::Comment,
            // A line that is only a field name is a field with an empty value.
            b"data" => Line::Data(b""),
            b"event" => Line::Name(b""),
            _ => Line::Other,
        }
    }
}

/// One space after the colon belongs to the format, any further one to the value.
fn without_space(value: &[u8]) -> &[u8] {
    value.strip_prefix(b" ").unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(event: SseEvent<'_>) -> String {
        match event {
            SseEvent::Comment => ":".into(),
            SseEvent::Message { name, data } => format!("{}|{}", name.escape_ascii(), data.escape_ascii()),
            SseEvent::TooLong => "too long".into(),
        }
    }

    fn parse<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
        let mut parser = SseParser::default();
        let mut seen = Vec::new();
        for part in parts {
            parser.feed(part, &mut |event| seen.push(show(event)));
        }
        parser.finish(&mut |event| seen.push(show(event)));
        seen
    }

    /// The events of the whole text, of single bytes, and of two parts cut at every place, which must all be the same.
    fn parse_all_ways(bytes: &[u8]) -> Vec<String> {
        let whole = parse([bytes]);
        assert_eq!(parse(bytes.chunks(1)), whole);
        for at in 0..=bytes.len() {
            assert_eq!(parse([&bytes[..at], &[], &bytes[at..]]), whole, "cut at {at}");
        }
        whole
    }

    #[test]
    fn line_ends_of_all_three_kinds_and_mixed() {
        for end in ["\n", "\r", "\r\n"] {
            let text = ["event: a", "data: 1", "data: 2", "", ": hi", "data:3", "", ""].join(end);
            assert_eq!(parse_all_ways(text.as_bytes()), ["a|1\\n2", ":", "|3"], "{end:?}");
        }
        assert_eq!(parse_all_ways(b"data: 1\r\n\ndata: 2\n\r\n"), ["|1", "|2"]);
        assert_eq!(parse_all_ways(b"data: 1\r\rdata: 2\n\r"), ["|1", "|2"]);
    }

    #[test]
    fn fields_without_value_or_colon_and_fields_nobody_reads() {
        assert_eq!(parse_all_ways(b"data\n\ndata:\ndata\n\n"), ["|", "|\\n"]);
        assert_eq!(parse_all_ways(b"id: 7\nretry: 1\nwhat: x\ndata1: y\n\n\n\n"), [""; 0]);
        assert_eq!(parse_all_ways(b"event: ping\n\nevent: a\nevent: b\ndata:  x \n\n"), ["ping|", "b| x "]);
    }

    #[test]
    fn byte_order_mark_only_at_the_very_beginning() {
        assert_eq!(parse_all_ways(b"\xEF\xBB\xBFdata: 1\n\ndata: 2"), ["|1", "|2"]);
        assert_eq!(parse_all_ways(b"data: 1\n\n\xEF\xBB\xBFdata: 2\n\n"), ["|1"]);
    }

    #[test]
    fn the_last_event_may_end_with_the_body() {
        assert_eq!(parse_all_ways(b"data: 1\n\ndata: 2"), ["|1", "|2"]);
        assert_eq!(parse_all_ways(b"data: 1\n\ndata: 2\n"), ["|1", "|2"]);
        assert_eq!(parse_all_ways(b""), [""; 0]);
    }

    #[test]
    fn one_data_line_in_one_slice_is_not_copied() {
        let bytes = b"data: first\n\nevent: x\ndata: second\n\n";
        let mut parser = SseParser::default();
        let mut places = Vec::new();
        parser.feed(bytes, &mut |event| {
            if let SseEvent::Message { data, .. } = event {
                places.push((data.as_ptr() as usize).wrapping_sub(bytes.as_ptr() as usize));
            }
        });
        assert_eq!(places, [6, 28]);
    }

    #[test]
    fn an_endless_line_ends_the_reading() {
        let part = vec![b'x'; MAX_EVENT / 2];
        assert_eq!(parse([b"data: ", &part[..], &part, b"\n\ndata: 1\n\n"]), ["too long"]);
        let whole = [b"data: 0\n\ndata: ", &part[..], &part, b"\n\ndata: 1\n\n"].concat();
        assert_eq!(parse([&whole[..]]), ["|0", "too long"]);
    }

    #[test]
    fn endless_data_lines_end_the_reading() {
        let line = [b"data: ", &vec![b'x'; MAX_EVENT / 2][..], b"\n"].concat();
        assert_eq!(parse([&line[..], &line, b"\ndata: 1\n\n"]), ["too long"]);
        assert_eq!(parse([&[&line[..], &line, b"\n"].concat()[..]]), ["too long"]);
    }
}
