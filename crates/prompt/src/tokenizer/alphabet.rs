//! The characters by which vocabularies spell bytes: printable ones of Latin-1 stand for themselves, and the other bytes, in order, for the
//! characters from U+0100 on. GPT-2 introduced it (`bytes_to_unicode` in its `encoder.py`).

/// The byte that a character stands for.
pub(super) fn byte_of(character: char) -> Option<u8> {
    let code = u32::from(character);
    match code {
        0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF => u8::try_from(code).ok(),
        // The 33 bytes up to the space, the 34 from DEL to the no-break space, and the soft hyphen.
        0x100..=0x120 => u8::try_from(code - 0x100).ok(),
        0x121..=0x142 => u8::try_from(code - 0x121 + 0x7F).ok(),
        0x143 => Some(0xAD),
        _ => None,
    }
}

/// Appends the bytes that a token spells, or its own bytes where a character of it stands for none.
pub(super) fn bytes_of(token: &str, bytes: &mut Vec<u8>) {
    let start = bytes.len();
    for character in token.chars() {
        match byte_of(character) {
            Some(byte) => bytes.push(byte),
            None => {
                bytes.truncate(start);
                bytes.extend_from_slice(token.as_bytes());
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_one_character() {
        let mut bytes: Vec<u8> = ('\u{0}'..='\u{200}').filter_map(byte_of).collect();
        bytes.sort_unstable();
        assert_eq!(bytes, (0..=u8::MAX).collect::<Vec<u8>>());
        assert_eq!((byte_of('Ġ'), byte_of('Ċ'), byte_of('é')), (Some(b' '), Some(b'\n'), Some(0xE9)));
    }

    #[test]
    fn a_token_with_another_character_is_its_own_bytes() {
        let mut bytes = Vec::new();
        bytes_of("Ġthe", &mut bytes);
        bytes_of("<｜", &mut bytes);
        assert_eq!(bytes, [b" the".as_slice(), "<｜".as_bytes()].concat());
    }
}
