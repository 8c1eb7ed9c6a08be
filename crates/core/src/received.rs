//! The data that a client received for one request, besides the record: the texts of the answer and, if they are kept, its bytes. It lives
//! until the record is stored.

use crate::event::OutputKind;
use crate::record::RawPiece;
use crate::secrets::Secrets;

/// The content of one answer. It is empty if the record is read from a file, which keeps no contents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// One text for each choice and kind of output, in the order in which they began.
    pub texts: Vec<OutputText>,
    /// How the output events divide those texts; empty where nothing needs to know.
    pub parts: TextParts,
    /// The bytes of the body as they came, where they are kept.
    pub raw: Vec<RawPiece>,
}

/// All text of one kind in one choice of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputText {
    /// The number of the choice.
    pub choice: u32,
    /// The kind of output.
    pub kind: OutputKind,
    /// The text.
    pub text: String,
}

/// How the output events of an answer divide its texts: for each event, which text it continues and by how many bytes. Nearly every event
/// takes one byte here, since records wait in memory until they are stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextParts {
    /// For each event its length, shifted by one to the left, as a variable-length number. The lowest bit is set where the event
    /// continues another text than the event before it; then the index of that text follows.
    encoded: Vec<u8>,
    /// How many events there are.
    count: usize,
    /// The text that the last event continued.
    last: u32,
}

impl TextParts {
    /// Adds the next event, which continues the text with that index by this number of bytes.
    pub fn push(&mut self, text: u32, bytes: u32) {
        let is_other = text != self.last;
        push_number(&mut self.encoded, u64::from(bytes) << 1 | u64::from(is_other));
        if is_other {
            push_number(&mut self.encoded, u64::from(text));
            self.last = text;
        }
        self.count += 1;
    }

    /// How many events there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are no events.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// For each event the index of its text and its length in bytes.
    pub fn iter(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        let (mut rest, mut text) = (self.encoded.as_slice(), 0);
        std::iter::from_fn(move || {
            let number = take_number(&mut rest)?;
            if number & 1 == 1 {
                text = take_number(&mut rest)? as u32;
            }
            Some((text, (number >> 1) as u32))
        })
    }
}

/// Appends seven bits a byte, the lowest first; the high bit of a byte says that more follow (LEB128).
fn push_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn take_number(bytes: &mut &[u8]) -> Option<u64> {
    let (mut number, mut shift) = (0_u64, 0);
    loop {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
        shift = (shift + 7).min(63);
    }
}

impl Received {
    /// The text of each output event, in order. There are none where the events are not kept, or do not fit the texts.
    pub fn event_texts(&self) -> impl Iterator<Item = &str> {
        let mut read = vec![0_usize; self.texts.len()];
        self.parts.iter().map_while(move |(index, bytes)| {
            let (whole, from) = (self.texts.get(index as usize)?, read.get_mut(index as usize)?);
            let to = from.checked_add(bytes as usize)?;
            let text = whole.text.get(*from..to)?;
            *from = to;
            Some(text)
        })
    }

    /// Overwrites every secret in the texts and in the bytes.
    pub fn overwrite(&mut self, secrets: &Secrets) {
        if secrets.is_empty() {
            return;
        }
        let mut raw: Vec<&mut [u8]> = self.raw.iter_mut().map(|piece| piece.bytes.as_mut_slice()).collect();
        secrets.overwrite(&mut raw);
        for output in &mut self.texts {
            let mut bytes = std::mem::take(&mut output.text).into_bytes();
            secrets.overwrite(&mut [&mut bytes]);
            // Whole characters are overwritten by as many bytes of ASCII.
            output.text = String::from_utf8(bytes).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(parts: &[(u32, u32)]) -> Received {
        let output = |kind, text: &str| OutputText { choice: 0, kind, text: text.to_owned() };
        let mut received = Received {
            texts: vec![output(OutputKind::Reasoning, "why"), output(OutputKind::Text, "böcause")],
            ..Received::default()
        };
        parts.iter().for_each(|&(text, bytes)| received.parts.push(text, bytes));
        received
    }

    #[test]
    fn texts_are_those_of_the_events() {
        let whole = received(&[(0, 3), (1, 3), (1, 0), (1, 5)]);
        assert_eq!(whole.event_texts().collect::<Vec<_>>(), ["why", "bö", "", "cause"]);
        assert_eq!((whole.parts.len(), received(&[]).event_texts().count()), (4, 0));
        // Parts beyond the texts, and within a character.
        for odd in [(7, 1), (1, 2), (0, 4)] {
            assert_eq!(received(&[odd]).event_texts().count(), 0);
        }
    }

    #[test]
    fn parts_come_back_as_they_were_and_take_a_byte_each_where_they_are_short() {
        let parts = [(0, 5), (0, 63), (0, 64), (1, 0), (1, u32::MAX), (u32::MAX, 7), (0, 1)];
        assert_eq!(received(&parts).parts.iter().collect::<Vec<_>>(), parts);
        assert_eq!(received(&[(0, 4); 100]).parts.encoded.len(), 100);
    }
}
