//! Repairs the JSON of some servers: numbers that JSON does not have become `null`, and bytes that no text can hold become the
//! replacement character.

use std::borrow::Cow;

/// JSON that was repaired.
pub(crate) struct Repaired {
    /// The JSON.
    pub(crate) json: String,
    /// Whether characters were replaced: bytes that are not UTF-8, and halves of surrogate pairs.
    pub(crate) lost_characters: bool,
}

/// Repairs `bytes` in one pass. Other errors stay as they are.
///
/// Outside strings `NaN`, `Infinity` and their like, and numbers beyond the largest float, become `null`. Inside strings an
/// escaped half of a surrogate pair becomes U+FFFD, and control characters are escaped.
pub(crate) fn repair(bytes: &[u8]) -> Repaired {
    let text = String::from_utf8_lossy(bytes);
    let mut repair =
        Repair { rest: &text, json: String::with_capacity(text.len()), lost_characters: matches!(text, Cow::Owned(_)) };
    let mut in_string = false;
    while let Some(&byte) = repair.rest.as_bytes().first() {
        match (in_string, byte) {
            (_, b'"') => {
                in_string = !in_string;
                repair.copy(1);
            }
            (true, b'\\') => repair.escape(),
            (true, 0..0x20) => {
                repair.json.push_str(&format!("\\u{byte:04x}"));
                repair.rest = &repair.rest[1..];
            }
            (false, b'-' | b'+' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z') => repair.word(),
            _ => repair.copy_up_to(in_string),
        }
    }
    Repaired { json: repair.json, lost_characters: repair.lost_characters }
}

struct Repair<'a> {
    rest: &'a str,
    json: String,
    lost_characters: bool,
}

impl Repair<'_> {
    /// Copies so many bytes, which end between characters.
    fn copy(&mut self, bytes: usize) {
        let (copied, rest) = self.rest.split_at(bytes);
        self.json.push_str(copied);
        self.rest = rest;
    }

    /// Copies one character and the plain text after it.
    fn copy_up_to(&mut self, in_string: bool) {
        let needs_a_look = |c: char| match in_string {
            true => matches!(c, '"' | '\\' | '\0'..='\u{1f}'),
            false => matches!(c, '"' | '-' | '+') || c.is_ascii_alphanumeric(),
        };
        let first = self.rest.chars().next().map_or(0, char::len_utf8);
        let end = self.rest[first..].find(needs_a_look).map_or(self.rest.len(), |at| first + at);
        self.copy(end);
    }

    /// Reads a number, or a word outside strings.
    fn word(&mut self) {
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
        let end = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
        let word = &self.rest[..end];
        let name = word.trim_start_matches(['+', '-']);
        let is_no_number = ["nan", "inf", "infinity"].iter().any(|known| name.eq_ignore_ascii_case(known));
        let is_beyond = || name.starts_with(|c: char| c.is_ascii_digit()) && word.parse().is_ok_and(f64::is_infinite);
        if is_no_number || is_beyond() {
            self.json.push_str("null");
            self.rest = &self.rest[end..];
        } else {
            self.copy(end);
        }
    }

    /// Reads a backslash inside a string, and what it escapes.
    fn escape(&mut self) {
        match unit(self.rest) {
            Some(0xD800..0xDC00) if self.rest.get(6..).and_then(unit).is_some_and(is_low) => self.copy(12),
            Some(0xD800..0xE000) => {
                self.json.push_str("\\ufffd");
                self.lost_characters = true;
                self.rest = &self.rest[6..];
            }
            _ => {
                let escaped = self.rest[1..].chars().next().map_or(0, char::len_utf8);
                self.copy(1 + escaped);
            }
        }
    }
}

/// The UTF-16 code unit that `text` begins with, written as `\uXXXX`.
fn unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    // A sign is not a digit here.
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u16::from_str_radix(digits, 16).ok()).flatten()
}

fn is_low(unit: u16) -> bool {
    (0xDC00..0xE000).contains(&unit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn repaired(bytes: &[u8]) -> (String, bool) {
        let Repaired { json, lost_characters } = repair(bytes);
        (json, lost_characters)
    }

    #[test]
    fn what_is_repaired() {
        for (from, to, lost) in [
            (
                &br#"{"a":NaN,"b":-Infinity,"c":[Infinity,inf,-nan],"d":1e999}"#[..],
                r#"{"a":null,"b":null,"c":[null,null,null],"d":null}"#,
                false,
            ),
            (
                br#"{"NaN":"-Infinity \" NaN","b":-1.5e-3,"t":true,"n":null}"#,
                r#"{"NaN":"-Infinity \" NaN","b":-1.5e-3,"t":true,"n":null}"#,
                false,
            ),
            (br#""a\ud83dz""#, r#""a\ufffdz""#, true),
            (br#""\udc00\ud83d\ude00\ud83d\\u""#, r#""\ufffd\ud83d\ude00\ufffd\\u""#, true),
            (b"\"a\xC3\"", "\"a\u{FFFD}\"", true),
            (b"\"a\tb\x00\"", r#""a\u0009b\u0000""#, false),
            (b"\"\\", "\"\\", false),
            (br#""\u12"#, r#""\u12"#, false),
        ] {
            assert_eq!(repaired(from), (to.to_owned(), lost), "{}", from.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn good_json_stays_as_it_is(text in ".{0,40}", number: f64, whole: i64) {
            let json = serde_json::json!({"a": text, "b": [number, whole, true, null]}).to_string();
            prop_assert_eq!(repaired(json.as_bytes()), (json, false));
        }

        #[test]
        fn no_bytes_panic(bytes in vec(prop_oneof![any::<u8>(), prop::sample::select(&b"\"\\ud8dc0NaIfinity-+e9.,:{}"[..])], 0..80)) {
            // No byte becomes more than six bytes.
            prop_assert!(repair(&bytes).json.len() <= bytes.len() * 6);
        }
    }
}
