//! The delta template: how a steady stream is read without parsing.
//!
//! A server sends the same chunk over and over with another text in it. After one chunk has been parsed and its text
//! found to stand, unescaped, in one JSON string, the bytes before and after that text are kept. Let a later event
//! begin with the same bytes, end with the same bytes, and have between them valid UTF-8 without `"`, `\` and control
//! characters. Then a JSON parser that has read the beginning is in the state in which it was then, inside that string;
//! none of the bytes between can end the string, escape anything or be refused; and it reads the end from the same state
//! as then. So the event is the parsed chunk with another text: proven, not guessed, at the price of a comparison.
//!
//! What a chunk says may depend on its text in no way but being that text. Hence empty texts are left to the parser (they
//! are no output), and so are chunks in which the text is compared with another (see [`Piece::in_place`]).
//!
//! [`Piece::in_place`]: crate::openai::piece::Piece::in_place

use streamgauge_core::OutputKind;

/// The bytes around the text of the last chunk that brought one text and nothing else.
#[derive(Debug)]
pub(crate) struct Template {
    before: Vec<u8>,
    after: Vec<u8>,
    kind: OutputKind,
    choice: u32,
}

impl Default for Template {
    /// A template that fits no event.
    fn default() -> Template {
        Template { before: Vec::new(), after: Vec::new(), kind: OutputKind::Text, choice: 0 }
    }
}

impl Template {
    /// Kind, choice and text of `event`, if it is the learnt chunk with another text.
    pub(crate) fn read<'a>(&self, event: &'a [u8]) -> Option<(OutputKind, u32, &'a str)> {
        if self.before.is_empty() {
            return None;
        }
        let text = event.strip_prefix(&self.before[..])?.strip_suffix(&self.after[..])?;
        if text.is_empty() || !is_plain(text) {
            return None;
        }
        Some((self.kind, self.choice, std::str::from_utf8(text).ok()?))
    }

    /// Learns from `event`, of which `text` must be a part; if it is not, or not a whole JSON string, nothing is learnt.
    pub(crate) fn learn(&mut self, event: &[u8], text: &str, kind: OutputKind, choice: u32) {
        let Some((before, after)) = around(event, text) else { return };
        self.before.clear();
        self.before.extend_from_slice(before);
        self.after.clear();
        self.after.extend_from_slice(after);
        self.kind = kind;
        self.choice = choice;
    }
}

/// The bytes before and after `text` in `event`, found by their addresses in memory.
fn around<'a>(event: &'a [u8], text: &str) -> Option<(&'a [u8], &'a [u8])> {
    let start = (text.as_ptr() as usize).checked_sub(event.as_ptr() as usize)?;
    let before = event.get(..start)?;
    let after = event.get(start.checked_add(text.len())?..)?;
    (before.ends_with(b"\"") && after.starts_with(b"\"")).then_some((before, after))
}

/// Whether a JSON string may hold these bytes as they are. It has no branch for each byte, since most texts are short.
fn is_plain(text: &[u8]) -> bool {
    text.iter().fold(true, |plain, &byte| plain & (byte >= 0x20) & (byte != b'"') & (byte != b'\\'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learnt() -> Template {
        let event = r#"{"a":"x","t":"one","b":1}"#;
        let mut template = Template::default();
        template.learn(event.as_bytes(), &event[14..17], OutputKind::Reasoning, 3);
        template
    }

    #[test]
    fn the_same_chunk_with_another_text() {
        let event = r#"{"a":"x","t":"zwölf","b":1}"#;
        assert_eq!(learnt().read(event.as_bytes()), Some((OutputKind::Reasoning, 3, "zwölf")));
    }

    #[test]
    fn anything_else_is_left_to_the_parser() {
        let template = learnt();
        for event in [
            r#"{"a":"x","t":"","b":1}"#,
            r#"{"a":"x","t":"a\"b","b":1}"#,
            r#"{"a":"x","t":"a","t":"b","b":1}"#,
            "{\"a\":\"x\",\"t\":\"a\u{1f}b\",\"b\":1}",
            r#"{"a":"y","t":"one","b":1}"#,
            r#"{"a":"x","t":"one","b":2}"#,
            r#"{"a":"x","t":"one"}"#,
            r#"{"a":"x","t":","b":1}"#,
        ] {
            assert_eq!(template.read(event.as_bytes()), None, "{event}");
        }
        assert_eq!(template.read(b"{\"a\":\"x\",\"t\":\"\xC3\",\"b\":1}"), None);
        assert_eq!(Template::default().read(b"x"), None);
    }

    #[test]
    fn text_from_elsewhere_teaches_nothing() {
        let mut template = Template::default();
        template.learn(br#"{"t":"one"}"#, "one", OutputKind::Text, 0);
        template.learn(b"{one}", "", OutputKind::Text, 0);
        assert_eq!(template.read(br#"{"t":"two"}"#), None);
    }
}
