//! Writes compact JSON into a reused buffer. Records are written as fast as requests end, so nothing here allocates.

use serde_json::Value;

/// Appends a whole number.
pub(crate) fn push_int(out: &mut Vec<u8>, value: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Appends `text` as a quoted JSON string.
pub(crate) fn push_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    push_escaped(out, text);
    out.push(b'"');
}

/// Appends the inside of a JSON string. Runs of bytes that need no escape are copied whole. The hexadecimal digits are
/// capitals, as Perf Analyzer writes them.
pub(crate) fn push_escaped(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let bytes = text.as_bytes();
    let mut copied = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        if byte >= b' ' && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[copied..at]);
        copied = at + 1;
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            _ => {
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
        }
    }
    out.extend_from_slice(&bytes[copied..]);
}

/// Appends a floating-point number as Perf Analyzer writes it: the shortest digits that read back as `value`, in positional notation from
/// a millionth up to 10^21 and otherwise with an unpadded exponent (`1.5e30`, `1e-7`). NaN and infinities are written as null.
pub(crate) fn push_float(out: &mut Vec<u8>, value: f64) {
    if !value.is_finite() {
        return out.extend_from_slice(b"null");
    }
    let text = format!("{value:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let plain = matches!(exponent.parse::<i32>(), Ok(-6..21));
    let text = match plain {
        // Without an exponent Rust writes the same digits, but omits the fraction of whole numbers.
        true if value.fract() == 0.0 => format!("{value}.0"),
        true => value.to_string(),
        false => format!("{mantissa}e{exponent}"),
    };
    out.extend_from_slice(text.as_bytes());
}

/// Appends a small JSON value. It allocates, so it is not for the hot path.
pub(crate) fn push_value(out: &mut Vec<u8>, value: &Value) {
    out.extend_from_slice(value.to_string().as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn strings_and_numbers_read_back(text: String, int: i64, uint: u64) {
            let mut out = Vec::new();
            push_string(&mut out, &text);
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
            out.clear();
            push_int(&mut out, int);
            prop_assert_eq!(std::str::from_utf8(&out).unwrap(), int.to_string());
            out.clear();
            push_int(&mut out, uint);
            prop_assert_eq!(std::str::from_utf8(&out).unwrap(), uint.to_string());
        }
    }

    #[test]
    fn floats_are_written_as_perf_analyzer_writes_them() {
        for (value, text) in [
            (0.0, "0.0"),
            (-10.0, "-10.0"),
            (1.8521564417127637e31, "1.8521564417127637e31"),
            (-1.3273038267438975e-12, "-1.3273038267438975e-12"),
            (29181.97265625, "29181.97265625"),
            (1e20, "100000000000000000000.0"),
            (1e21, "1e21"),
            (0.000_001_5, "0.0000015"),
            (0.000_000_15, "1.5e-7"),
            (f64::NAN, "null"),
        ] {
            let mut out = Vec::new();
            push_float(&mut out, value);
            assert_eq!(std::str::from_utf8(&out).unwrap(), text);
        }
    }

    #[test]
    fn control_characters_are_escaped() {
        let mut out = Vec::new();
        push_string(&mut out, "\"a\\\n\r\t\u{8}\u{c}\u{1f}é");
        assert_eq!(std::str::from_utf8(&out).unwrap(), r#""\"a\\\n\r\t\b\f\u001Fé""#);
    }
}
