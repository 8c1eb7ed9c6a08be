//! Objects of JSON, from whatever a file holds them in: lines, the elements of an array, or the rows of a table.

use super::lines::Lines;
use super::{Place, SourceError};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;

/// What an object looks like, for messages.
const EXAMPLE: &str = "expected an object such as {\"prompt\": \"Hello.\"}";

/// A file as one object after the other.
pub(super) trait Objects: Send {
    /// The next object and where it begins; `None` at the end.
    ///
    /// # Errors
    /// When the file cannot be read, or the next row is no object. After an error of a row the next call goes on with the row after it.
    fn next_object(&mut self) -> Result<Option<(Place, Object)>, SourceError>;
}

impl Objects for Lines {
    fn next_object(&mut self) -> Result<Option<(Place, Object)>, SourceError> {
        let Some((line, text)) = self.next_line()? else { return Ok(None) };
        let place = Place::line(line);
        match Object::parse(text.to_owned()) {
            Ok(object) => Ok(Some((place, object))),
            Err((text, fault)) => Err(fault.at_place(&place, &text)),
        }
    }
}

/// A JSON object, of which members are taken one after the other.
#[derive(Debug)]
pub(super) struct Object {
    /// The object as it stands in the file; empty where the file is no JSON.
    text: String,
    members: Map<String, Value>,
}

/// What is wrong with an object.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// The byte of the object's text that it concerns.
    at: Option<usize>,
    reason: String,
}

impl Object {
    /// The object that `text` is; the text comes back with the fault.
    pub fn parse(text: String) -> Result<Object, (String, Fault)> {
        match serde_json::from_str::<Members>(&text) {
            Ok(Members(members)) => Ok(Object { text, members }),
            Err(error) => {
                let fault = Fault::of_json(&error, &text);
                Err((text, fault))
            }
        }
    }

    /// An object of a file that is no JSON.
    pub fn of_members(members: Map<String, Value>) -> Object {
        Object { text: String::new(), members }
    }

    /// The text of the object, which faults refer to.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it has a member of that name.
    pub fn has(&self, name: &str) -> bool {
        self.members.contains_key(name)
    }

    /// Takes a member out of the object. A member that is `null` counts as missing.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.members.shift_remove(name).filter(|value| !value.is_null())
    }

    /// Adds a member.
    pub fn put(&mut self, name: &str, value: Value) {
        self.members.insert(name.to_owned(), value);
    }

    /// Puts the one element of a list in the place of the list.
    pub fn unwrap_list(&mut self, name: &str) {
        if let Some(Value::Array(list)) = self.members.get_mut(name)
            && list.len() == 1
            && let Some(element) = list.pop()
        {
            self.members.insert(name.to_owned(), element);
        }
    }

    /// Takes the one member that has any of these names.
    ///
    /// # Errors
    /// When there are several.
    pub fn take_one(&mut self, names: &[&'static str]) -> Result<Option<(&'static str, Value)>, Fault> {
        let mut taken: Option<(&'static str, Value)> = None;
        for name in names {
            let Some(value) = self.take(name) else { continue };
            if let Some((first, _)) = taken {
                return Err(self.fault(name, format!("`{first}` and `{name}` are both given; give one of them")));
            }
            taken = Some((name, value));
        }
        Ok(taken)
    }

    /// Takes all members that are left.
    pub fn take_rest(&mut self) -> Map<String, Value> {
        std::mem::take(&mut self.members)
    }

    /// A fault of the member of that name.
    pub fn fault(&self, name: &str, reason: impl Into<String>) -> Fault {
        Fault { at: position(&self.text, name), reason: reason.into() }
    }
}

impl Fault {
    /// A fault of the whole object.
    pub fn new(reason: impl Into<String>) -> Fault {
        Fault { at: None, reason: reason.into() }
    }

    /// What is wrong.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// What JSON's reader found in `text`, in plain words.
    fn of_json(error: &serde_json::Error, text: &str) -> Fault {
        let message = error.to_string();
        let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
        let begin = text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum::<usize>();
        let at = match error.is_eof() {
            true => text.trim_end().len(),
            false => begin + error.column().saturating_sub(1),
        };
        let reason = match message {
            _ if error.is_eof() => "the JSON ends here before it is complete".to_owned(),
            _ if message.starts_with("invalid type") => EXAMPLE.to_owned(),
            "expected ident" | "expected value" => format!("this is not JSON; {EXAMPLE}"),
            "expected `:`" => "expected `:` between a name and its value".to_owned(),
            "expected `,` or `}`" => "expected `,` or `}` after the value".to_owned(),
            "expected `,` or `]`" => "expected `,` or `]` after the value".to_owned(),
            "key must be a string" => "expected a name in double quotes".to_owned(),
            "trailing comma" => "there is a comma and no entry after it".to_owned(),
            "trailing characters" => "the JSON ends before this; expected one object in a line".to_owned(),
            _ if message.starts_with("control character") => {
                "a line break or another control character stands in a text; expected an escape such as \\n".to_owned()
            }
            "recursion limit exceeded" => "the JSON is nested too deeply to be read".to_owned(),
            message => message.to_owned(),
        };
        Fault { at: Some(at.min(text.len())), reason }
    }

    /// The error of the row that begins at `place` with `text`.
    pub fn at_place(self, place: &Place, text: &str) -> SourceError {
        let place = match self.at {
            Some(at) if !text.is_empty() => place.clone().after(&text.as_bytes()[..at.min(text.len())]),
            _ => place.clone(),
        };
        SourceError::Row { place, reason: self.reason }
    }
}

impl Place {
    /// The place behind `bytes`, which begin here.
    fn after(mut self, bytes: &[u8]) -> Place {
        let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
        let last = bytes.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
        let characters = last.iter().filter(|byte| (**byte & 0xC0) != 0x80).count();
        self.line += lines;
        self.column = Some(if lines == 0 { self.column.unwrap_or(1) } else { 1 } + characters);
        self
    }
}

/// The members of an object, none of them twice.
struct Members(Map<String, Value>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Members, A::Error> {
                let mut members = Map::new();
                while let Some(name) = access.next_key::<String>()? {
                    if members.contains_key(&name) {
                        return Err(A::Error::custom(format!("`{name}` is given twice")));
                    }
                    let value = access.next_value()?;
                    members.insert(name, value);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

/// Where the member of that name begins in the text of an object.
fn position(text: &str, name: &str) -> Option<usize> {
    let (mut depth, mut string, mut escaped) = (0_u32, None, false);
    for (at, byte) in text.bytes().enumerate() {
        match (string, byte) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), b'\\') => escaped = true,
            (Some(begin), b'"') => {
                string = None;
                let is_name = depth == 1 && text[at + 1..].trim_start().starts_with(':');
                if is_name && &text[begin + 1..at] == name {
                    return Some(begin);
                }
            }
            (Some(_), _) => {}
            (None, b'"') => string = Some(at),
            (None, b'{' | b'[') => depth += 1,
            (None, b'}' | b']') => depth = depth.saturating_sub(1),
            (None, _) => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_object_is_told_in_plain_words() {
        for (text, words) in [
            ("{\"text\": \"a", "line 2, column 12: the JSON ends here before it is complete"),
            ("{\"text\": ", "line 2, column 9: the JSON ends here before it is complete"),
            ("nonsense", "line 2, column 2: this is not JSON; expected an object such as"),
            ("[1]", "line 2, column 1: expected an object such as"),
            ("5", "line 2, column 1: expected an object such as"),
            ("{\"a\" 1}", "line 2, column 6: expected `:` between"),
            ("{\"ä\": 1 \"b\": 2}", "line 2, column 9: expected `,` or `}`"),
            ("{a: 1}", "line 2, column 2: expected a name in double quotes"),
            ("{\"a\": 1,}", "line 2, column 9: there is a comma and no entry after it"),
            ("{} {}", "line 2, column 4: the JSON ends before this; expected one object in a line"),
            ("{\"a\": 1, \"a\": 2}", "line 2, column 12: `a` is given twice"),
        ] {
            let mut lines = Lines::new(std::io::Cursor::new(format!("{{}}\n{text}\n{{}}")));
            assert!(lines.next_object().unwrap().is_some());
            let error = lines.next_object().unwrap_err().to_string();
            assert!(error.starts_with(words), "{text}: {error}");
            assert!(lines.next_object().unwrap().is_some(), "the line after {text} is read");
        }
    }

    #[test]
    fn a_fault_of_a_member_has_its_column() {
        let text = r#"{"a": "\"b\": {", "ü": {"b": 1}, "b": 2, "c": 3}"#;
        let mut object = Object::parse(text.to_owned()).unwrap();
        let error = object.take_one(&["b", "c"]).unwrap_err().at_place(&Place::line(7), text).to_string();
        assert_eq!(error, "line 7, column 42: `b` and `c` are both given; give one of them");
        assert_eq!(object.fault("none", "x").at_place(&Place::line(7), text).to_string(), "line 7: x");
    }
}
