//! Writes JSON in the layout of Python's `json.dumps(.., indent=2)`. The replaced tools are written in Python, and a file
//! should differ from theirs only in content. Floats are therefore written like `repr` (`8.0`, `1e-05`), and non-ASCII
//! characters are escaped.

use crate::text::numbers::python_repr;
use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};
use std::io::{self, Write};

/// Writes `value`, without a newline at the end.
pub(crate) fn write<W: Write>(out: W, value: &impl Serialize) -> io::Result<()> {
    let mut serializer = Serializer::with_formatter(out, Python(PrettyFormatter::with_indent(b"  ")));
    value.serialize(&mut serializer).map_err(io::Error::from)
}

struct Python(PrettyFormatter<'static>);

impl Formatter for Python {
    fn write_f64<W: ?Sized + Write>(&mut self, out: &mut W, value: f64) -> io::Result<()> {
        out.write_all(python_repr(value).as_bytes())
    }

    fn write_string_fragment<W: ?Sized + Write>(&mut self, out: &mut W, text: &str) -> io::Result<()> {
        let mut rest = text;
        while let Some(at) = rest.find(|c: char| !matches!(c, ' '..='~')) {
            out.write_all(&rest.as_bytes()[..at])?;
            let mut tail = rest[at..].chars();
            let mut units = [0; 2];
            for unit in tail.next().unwrap_or_default().encode_utf16(&mut units) {
                write!(out, "\\u{unit:04x}")?;
            }
            rest = tail.as_str();
        }
        out.write_all(rest.as_bytes())
    }

    fn begin_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.begin_array(out)
    }

    fn end_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_array(out)
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_array_value(out, first)
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_array_value(out)
    }

    fn begin_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.begin_object(out)
    }

    fn end_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_object(out)
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_object_key(out, first)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.begin_object_value(out)
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_object_value(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_layout_is_pythons() {
        let value = json!({"a": [1, 8.0, 1e-5], "b": {}, "c": [], "é\u{1f600}\u{7f}": "x\n\"ü"});
        let mut out = Vec::new();
        write(&mut out, &value).unwrap();
        let expected = "{\n  \"a\": [\n    1,\n    8.0,\n    1e-05\n  ],\n  \"b\": {},\n  \"c\": [],\n  \
                        \"\\u00e9\\ud83d\\ude00\\u007f\": \"x\\n\\\"\\u00fc\"\n}";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
