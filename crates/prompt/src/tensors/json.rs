//! JSON as Perf Analyzer reads it, which is with `NaN`, `Inf` and `Infinity`, and where each value stands. Numbers stay as they were
//! written, so that each becomes its datatype's nearest value and a 64-bit one loses no digit.

use std::borrow::Cow;

/// Arrays and objects within each other; deeper text is refused before it exhausts the stack.
const DEPTH: u32 = 64;

/// A value and where it stands in the text, in bytes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node<'a> {
    pub(super) at: usize,
    pub(super) end: usize,
    pub(super) value: Value<'a>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    /// As written.
    Number(&'a str),
    String(Cow<'a, str>),
    Array(Vec<Node<'a>>),
    Object(Vec<(Cow<'a, str>, Node<'a>)>),
}

/// What is wrong, and where in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) at: usize,
    pub(super) reason: String,
}

impl Fault {
    pub(super) fn new(at: usize, reason: impl Into<String>) -> Fault {
        Fault { at, reason: reason.into() }
    }

    /// The same, with the place in the data that it is about.
    pub(super) fn within(self, place: &str) -> Fault {
        Fault { at: self.at, reason: format!("{place}: {}", self.reason) }
    }
}

impl Node<'_> {
    /// What it is, in a word or two.
    pub(super) fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "null",
            Value::Bool(_) => "a truth value",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Array(_) => "an array",
            Value::Object(_) => "an object",
        }
    }
}

/// The one value that `text` is.
pub(super) fn parse(text: &str) -> Result<Node<'_>, Fault> {
    let mut reader = Reader { text, at: 0 };
    let node = reader.value(DEPTH)?;
    reader.space();
    match reader.peek() {
        None => Ok(node),
        Some(_) => Err(reader.fault("there is more after the end of the value")),
    }
}

/// Line and column, from 1, of the character at byte `at`.
pub(super) fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.rfind('\n').map_or(0, |end| end + 1);
    (before.matches('\n').count() + 1, before[line..].chars().count() + 1)
}

struct Reader<'a> {
    text: &'a str,
    /// Where it is; always on a character's first byte.
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Goes past `word` if it is next.
    fn take(&mut self, word: &str) -> bool {
        let is_next = self.text.as_bytes()[self.at..].starts_with(word.as_bytes());
        if is_next {
            self.at += word.len();
        }
        is_next
    }

    fn fault(&self, reason: &str) -> Fault {
        Fault::new(self.at, if self.peek().is_none() { format!("the text ends where {reason}") } else { reason.into() })
    }

    fn value(&mut self, depth: u32) -> Result<Node<'a>, Fault> {
        self.space();
        let at = self.at;
        let value = match self.peek() {
            Some(b'[' | b'{') if depth == 0 => {
                return Err(self.fault(&format!("arrays and objects are more than {DEPTH} deep")));
            }
            Some(b'[') => self.array(depth - 1)?,
            Some(b'{') => self.object(depth - 1)?,
            Some(b'"') => Value::String(self.string()?),
            Some(b't') if self.take("true") => Value::Bool(true),
            Some(b'f') if self.take("false") => Value::Bool(false),
            Some(b'n') if self.take("null") => Value::Null,
            Some(b'-' | b'0'..=b'9' | b'N' | b'I') => Value::Number(self.number()?),
            _ => return Err(self.fault("a value is expected")),
        };
        Ok(Node { at, end: self.at, value })
    }

    fn array(&mut self, depth: u32) -> Result<Value<'a>, Fault> {
        self.at += 1;
        let mut elements = Vec::new();
        self.space();
        if self.take("]") {
            return Ok(Value::Array(elements));
        }
        loop {
            elements.push(self.value(depth)?);
            self.space();
            if self.take("]") {
                return Ok(Value::Array(elements));
            }
            if !self.take(",") {
                return Err(self.fault("`,` or `]` is expected"));
            }
        }
    }

    fn object(&mut self, depth: u32) -> Result<Value<'a>, Fault> {
        self.at += 1;
        let mut members: Vec<(Cow<'a, str>, Node<'a>)> = Vec::new();
        self.space();
        if self.take("}") {
            return Ok(Value::Object(members));
        }
        loop {
            self.space();
            if self.peek() != Some(b'"') {
                return Err(self.fault("a member's name in quotes is expected"));
            }
            let at = self.at;
            let name = self.string()?;
            if members.iter().any(|(known, _)| *known == name) {
                return Err(Fault::new(at, format!("the member `{name}` is there twice")));
            }
            self.space();
            if !self.take(":") {
                return Err(self.fault("`:` is expected"));
            }
            members.push((name, self.value(depth)?));
            self.space();
            if self.take("}") {
                return Ok(Value::Object(members));
            }
            if !self.take(",") {
                return Err(self.fault("`,` or `}` is expected"));
            }
        }
    }

    fn string(&mut self) -> Result<Cow<'a, str>, Fault> {
        let start = self.at;
        self.at += 1;
        let mut escaped = false;
        loop {
            match self.peek() {
                None => return Err(Fault::new(start, "the string that begins here does not end")),
                Some(b'"') => break,
                Some(0..0x20) => return Err(self.fault("a control character in a string must be escaped")),
                Some(b'\\') => {
                    escaped = true;
                    self.at += 1;
                    // What is escaped may be a character of several bytes, though then it is an error below.
                    self.at += self.text[self.at..].chars().next().map_or(0, char::len_utf8);
                }
                Some(_) => self.at += 1,
            }
        }
        self.at += 1;
        if !escaped {
            return Ok(Cow::Borrowed(&self.text[start + 1..self.at - 1]));
        }
        let unescaped: Result<String, _> = serde_json::from_str(&self.text[start..self.at]);
        unescaped.map(Cow::Owned).map_err(|error| {
            let error = error.to_string();
            let words = error.split_once(" at line ").map_or(error.as_str(), |(words, _)| words);
            Fault::new(start, format!("in the string that begins here: {words}"))
        })
    }

    fn number(&mut self) -> Result<&'a str, Fault> {
        let start = self.at;
        self.take("-");
        if !["NaN", "Infinity", "Inf"].iter().any(|word| self.take(word)) {
            if !self.take("0") {
                self.digits()?;
            }
            if self.take(".") {
                self.digits()?;
            }
            if self.take("e") || self.take("E") {
                let _ = self.take("+") || self.take("-");
                self.digits()?;
            }
        }
        Ok(&self.text[start..self.at])
    }

    fn digits(&mut self) -> Result<(), Fault> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { Err(self.fault("a digit is expected")) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    /// As serde_json has it; `NaN` and the like are null there.
    fn plain(node: &Node<'_>) -> serde_json::Value {
        match &node.value {
            Value::Null => json!(null),
            Value::Bool(value) => json!(value),
            // Its own reader of fractions is off by a last digit at times.
            Value::Number(text) if text.contains('.') => json!(text.parse::<f64>().unwrap()),
            Value::Number(text) => serde_json::from_str(text).unwrap_or(json!(null)),
            Value::String(text) => json!(text),
            Value::Array(elements) => elements.iter().map(plain).collect(),
            Value::Object(members) => {
                serde_json::Value::Object(members.iter().map(|(name, node)| (name.to_string(), plain(node))).collect())
            }
        }
    }

    #[test]
    fn values_stand_where_they_stand() {
        let text = "{\"a\": [1, -0.5e+3,\n \"é\\n\"], \"b\": NaN}";
        let node = parse(text).unwrap();
        assert_eq!(plain(&node), json!({"a": [1, -500.0, "é\n"], "b": null}));
        let Value::Object(members) = &node.value else { panic!("{node:?}") };
        let Value::Array(elements) = &members[0].1.value else { panic!("{node:?}") };
        assert_eq!(position(text, elements[2].at), (2, 2));
        assert_eq!(position(text, members[1].1.at), (2, 15));
        assert_eq!(&text[members[0].1.at..members[0].1.end], "[1, -0.5e+3,\n \"é\\n\"]");
    }

    #[test]
    fn numbers_that_are_none_are_numbers() {
        for text in ["NaN", "Inf", "-Inf", "Infinity", "-Infinity", "-NaN", "18446744073709551615", "-0", "1E9"] {
            assert_eq!(parse(text).unwrap().value, Value::Number(text));
        }
    }

    #[test]
    fn what_is_no_json_is_refused_where_it_goes_wrong() {
        for (text, at, reason) in [
            ("", 0, "the text ends where a value is expected"),
            ("[1 2]", 3, "`,` or `]` is expected"),
            ("[1,]", 3, "a value is expected"),
            ("{\"a\":1", 6, "the text ends where `,` or `}` is expected"),
            ("{a:1}", 1, "a member's name in quotes is expected"),
            ("{\"a\" 1}", 5, "`:` is expected"),
            ("{\"a\":1,\"a\":2}", 7, "the member `a` is there twice"),
            ("\"ab", 0, "the string that begins here does not end"),
            ("\"a\nb\"", 2, "a control character in a string must be escaped"),
            (r#""\q""#, 0, "in the string that begins here: invalid escape"),
            ("01", 1, "there is more after the end of the value"),
            ("1.", 2, "the text ends where a digit is expected"),
            ("-x", 1, "a digit is expected"),
            ("tru", 0, "a value is expected"),
        ] {
            assert_eq!(parse(text), Err(Fault::new(at, reason)), "{text}");
        }
        let deep = "[".repeat(100_000);
        assert_eq!(parse(&deep), Err(Fault::new(64, "arrays and objects are more than 64 deep")));
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(json!(null)),
            any::<bool>().prop_map(|value| json!(value)),
            any::<i64>().prop_map(|value| json!(value)),
            any::<u64>().prop_map(|value| json!(value)),
            (-1e9..1e9).prop_map(|value| json!(value)),
            any::<String>().prop_map(|value| json!(value)),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(serde_json::Value::Array),
                prop::collection::vec((any::<String>(), inner), 0..6)
                    .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn all_json_is_read_alike(value in any_json(), pretty in any::<bool>()) {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
            prop_assert_eq!(plain(&parse(&text).unwrap()), value);
        }

        #[test]
        fn no_text_makes_it_panic(text in r#"[\[\]{}",:\\a-f0-9 .eEInfNé-]{0,60}"#) {
            if let Err(fault) = parse(&text) {
                prop_assert!(fault.at <= text.len() && text.is_char_boundary(fault.at));
            }
        }
    }
}
