//! Prepares text from other parties for people: for a terminal, a file name or a cell of a table.
//!
//! Text from a server (messages, header values, names of models) must neither control the terminal nor look like text that this program
//! wrote. All code that shows such text uses these functions.

use std::borrow::Cow;

/// The maximum length in characters of a message from another party that is kept and shown: a record is kept for every failure.
pub const LONGEST_MESSAGE: usize = 300;

/// Whether a terminal does anything with `c` other than showing it: it is a control character, changes the direction of text (the
/// bidirectional controls of Unicode's UAX #9), ends a line, or is invisible (the property Default_Ignorable_Code_Point of Unicode 16, UAX
/// #44).
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(u32::from(c),
            0xAD | 0x34F | 0x61C | 0x115F..=0x1160 | 0x17B4..=0x17B5 | 0x180B..=0x180F | 0x200B..=0x200F | 0x2028..=0x202E
            | 0x2060..=0x206F | 0x3164 | 0xFE00..=0xFE0F | 0xFEFF | 0xFFA0 | 0xFFF0..=0xFFFB | 0x1BCA0..=0x1BCA3
            | 0x1D173..=0x1D17A | 0xE0000..=0xE0FFF)
}

/// `text` for a terminal, with its line ends: every other character that would not show itself is written as its number
/// (`\u{1b}`).
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.chars().any(|c| c != '\n' && is_hidden(c)) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' => shown.push(c),
            c => push_visible(&mut shown, c),
        }
    }
    Cow::Owned(shown)
}

/// `text` as a part of one line: ends of lines and tabs become blanks, every other character that would not show itself its number.
pub fn one_line(text: &str) -> Cow<'_, str> {
    let text = text.trim();
    if !text.chars().any(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' => shown.push(' '),
            c => push_visible(&mut shown, c),
        }
    }
    Cow::Owned(shown)
}

fn push_visible(shown: &mut String, c: char) {
    if is_hidden(c) {
        shown.extend(c.escape_unicode());
    } else {
        shown.push(c);
    }
}

/// `text` as a part of a file's name: a slash and every character that would not show itself become `_`.
pub fn file_name(text: &str) -> String {
    text.chars().map(|c| if c == '/' || is_hidden(c) { '_' } else { c }).collect()
}

/// `text` as a cell of a table that a spreadsheet may open: on one line, and with an apostrophe in front where it would be read as
/// a formula.
pub fn cell(text: &str) -> String {
    let text = one_line(text);
    if text.starts_with(['=', '+', '-', '@']) { format!("'{text}") } else { text.into_owned() }
}

/// The first `most` characters; that something was left out shows as an ellipsis, which counts.
pub fn clip(text: String, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text,
        Some(_) => text.chars().take(most.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// `text` percent-encoded as a part of a path or a query: every byte but the unreserved characters of RFC 3986.
pub fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_written_out() {
        for (text, shown) in [
            ("plain ü 你好 ✓ 😀", "plain ü 你好 ✓ 😀"),
            ("\x1b[2J\x1b]0;x\x07", "\\u{1b}[2J\\u{1b}]0;x\\u{7}"),
            ("\u{9b}31m\u{7f}\r", "\\u{9b}31m\\u{7f}\\u{d}"),
            ("a\u{202e}b\u{2066}c\u{200f}\u{61c}", "a\\u{202e}b\\u{2066}c\\u{200f}\\u{61c}"),
            ("a\u{200b}b\u{feff}\u{ad}\u{e0041}\u{2028}", "a\\u{200b}b\\u{feff}\\u{ad}\\u{e0041}\\u{2028}"),
        ] {
            assert_eq!(visible(text), shown);
            assert!(!one_line(text).chars().any(is_hidden));
        }
        assert_eq!(visible("two\nlines"), "two\nlines");
        assert_eq!(one_line(" two\r\nlines\tof\x1b "), "two  lines of\\u{1b}");
    }

    #[test]
    fn no_character_that_is_hidden_gets_through() {
        for c in (0..=0x10_FFFF).filter_map(char::from_u32).filter(|c| is_hidden(*c)) {
            let text = format!("a{c}b");
            assert!(!one_line(&text).contains(c), "{:x}", u32::from(c));
            assert_eq!(file_name(&text), "a_b");
            assert!(c == '\n' || !visible(&text).contains(c));
        }
    }

    #[test]
    fn names_of_files_keep_what_shows_itself() {
        assert_eq!(file_name("org/model-1.0:latest"), "org_model-1.0:latest");
        assert_eq!(file_name("a\x1b]0;x\x07\nb\0"), "a_]0;x__b_");
    }

    #[test]
    fn a_cell_is_no_formula() {
        for formula in ["=1+1", "+1", "-1", "@SUM(A1)", " \t=1"] {
            assert!(cell(formula).starts_with('\''), "{formula}");
        }
        assert_eq!((cell("GPU-1"), cell("a\n=1")), ("GPU-1".into(), "a =1".into()));
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let exact = "ü".repeat(4);
        assert_eq!((clip(exact.clone(), 4), clip(exact.clone() + "ü", 4)), (exact, "üüü…".into()));
        assert_eq!(clip("ab".into(), 0), "…");
    }
}
