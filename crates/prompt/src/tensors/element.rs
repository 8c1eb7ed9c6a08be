//! One value of a tensor, as its bytes.

use streamgauge_core::tensor::{Datatype, Tensor};

/// A value as it was given.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scalar<'a> {
    Bool(bool),
    /// A number as it was written: JSON's, or `NaN`, `Inf`, `Infinity` with or without a sign.
    Number(&'a str),
    Text(&'a str),
}

/// Characters of a value that are shown.
const SHOWN: usize = 40;

/// Appends `scalar` to `data` as an element of `datatype`. Of a number it is the nearest value, ties to even.
///
/// # Errors
/// When the datatype has no such value: what was given and what is accepted.
pub(super) fn push(datatype: Datatype, scalar: Scalar<'_>, data: &mut Vec<u8>) -> Result<(), String> {
    match datatype {
        Datatype::Bytes => match scalar {
            Scalar::Text(text) if u32::try_from(text.len()).is_ok() => Tensor::push_string(data, text.as_bytes()),
            Scalar::Text(_) => return Err("a string of BYTES has less than 4 GiB".to_owned()),
            _ => return Err(unlike(datatype, scalar, "a string")),
        },
        Datatype::Bool => data.push(match scalar {
            Scalar::Bool(value) => u8::from(value),
            Scalar::Number("0") => 0,
            Scalar::Number("1") => 1,
            _ => return Err(unlike(datatype, scalar, "true, false, 1 or 0")),
        }),
        Datatype::Fp16 => data.extend_from_slice(&(small(datatype, scalar, 5, 10)? as u16).to_le_bytes()),
        Datatype::Bf16 => data.extend_from_slice(&(small(datatype, scalar, 8, 7)? as u16).to_le_bytes()),
        Datatype::Fp32 => {
            let (text, value) = float::<f32>(datatype, scalar)?;
            if value.is_infinite() && !is_word(text) {
                return Err(beyond(datatype, text));
            }
            data.extend_from_slice(&value.to_le_bytes());
        }
        Datatype::Fp64 => {
            let (text, value) = float::<f64>(datatype, scalar)?;
            if value.is_infinite() && !is_word(text) {
                return Err(beyond(datatype, text));
            }
            data.extend_from_slice(&value.to_le_bytes());
        }
        _ => {
            // Integers all fit an i128, and in two's complement a narrower one is its lower bytes.
            let value = whole(datatype, scalar)?.to_le_bytes();
            data.extend_from_slice(&value[..datatype.size().unwrap_or(value.len())]);
        }
    }
    Ok(())
}

fn whole(datatype: Datatype, scalar: Scalar<'_>) -> Result<i128, String> {
    let Scalar::Number(text) = scalar else { return Err(unlike(datatype, scalar, "whole numbers")) };
    if !text.trim_start_matches('-').bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("{} is not a whole number, which {datatype} wants", cut(text)));
    }
    let (least, most) = range(datatype);
    match text.parse() {
        Ok(value) if (least..=most).contains(&value) => Ok(value),
        _ => Err(beyond(datatype, text)),
    }
}

/// The least and the greatest whole number of an integer datatype.
fn range(datatype: Datatype) -> (i128, i128) {
    match datatype {
        Datatype::Uint8 => (0, u8::MAX.into()),
        Datatype::Uint16 => (0, u16::MAX.into()),
        Datatype::Uint32 => (0, u32::MAX.into()),
        Datatype::Uint64 => (0, u64::MAX.into()),
        Datatype::Int8 => (i8::MIN.into(), i8::MAX.into()),
        Datatype::Int16 => (i16::MIN.into(), i16::MAX.into()),
        Datatype::Int32 => (i32::MIN.into(), i32::MAX.into()),
        _ => (i64::MIN.into(), i64::MAX.into()),
    }
}

fn float<'a, T: std::str::FromStr>(datatype: Datatype, scalar: Scalar<'a>) -> Result<(&'a str, T), String> {
    let Scalar::Number(text) = scalar else { return Err(unlike(datatype, scalar, "numbers")) };
    let value = text.parse().map_err(|_| unlike(datatype, scalar, "numbers"))?;
    Ok((text, value))
}

/// Whether a number is a word, such as `Infinity`.
fn is_word(text: &str) -> bool {
    !text.bytes().any(|byte| byte.is_ascii_digit())
}

fn small(datatype: Datatype, scalar: Scalar<'_>, exponent_bits: u32, fraction_bits: u32) -> Result<u32, String> {
    let (text, value) = float::<f64>(datatype, scalar)?;
    let bits = narrow(value, exponent_bits, fraction_bits);
    let infinity = ((1 << exponent_bits) - 1) << fraction_bits;
    let is_infinite = bits & (infinity | ((1 << fraction_bits) - 1)) == infinity;
    if is_infinite && !is_word(text) { Err(beyond(datatype, text)) } else { Ok(bits) }
}

/// The bits of the nearest binary float with so many bits of exponent and fraction, at most 8 and 23. Ties go to even, what is too
/// large to infinity.
fn narrow(value: f64, exponent_bits: u32, fraction_bits: u32) -> u32 {
    let sign = u32::from(value.is_sign_negative()) << (exponent_bits + fraction_bits);
    let infinity = ((1_u32 << exponent_bits) - 1) << fraction_bits;
    if value.is_nan() {
        return sign | infinity | 1 << (fraction_bits - 1);
    }
    let bias = (1 << (exponent_bits - 1)) - 1;
    let lowest = 1 - bias;
    // A double below its own normal numbers is far below any of these.
    let exponent = ((value.to_bits() >> 52 & 0x7ff) as i32 - 1023).clamp(lowest, bias + 1);
    // Scaling by a power of two is exact, so this rounds once.
    let steps = (value.abs() * 2_f64.powi(fraction_bits as i32 - exponent)).round_ties_even();
    // A normal number's steps include its leading one, which raises the exponent's field by the one that is taken off here; so
    // do steps that were rounded up to the next power of two.
    let bits = (((exponent - lowest) as u64) << fraction_bits) + steps.min(f64::from(u32::MAX)) as u64;
    sign | bits.min(u64::from(infinity)) as u32
}

fn beyond(datatype: Datatype, text: &str) -> String {
    let (least, most) = match datatype {
        Datatype::Fp16 => ("-65504".to_owned(), "65504".to_owned()),
        Datatype::Bf16 => ("-3.3895e38".to_owned(), "3.3895e38".to_owned()),
        Datatype::Fp32 => (format!("{:e}", f32::MIN), format!("{:e}", f32::MAX)),
        Datatype::Fp64 => (format!("{:e}", f64::MIN), format!("{:e}", f64::MAX)),
        _ => (range(datatype).0.to_string(), range(datatype).1.to_string()),
    };
    format!("{} is out of range for {datatype} ({least} to {most})", cut(text))
}

fn unlike(datatype: Datatype, scalar: Scalar<'_>, wants: &str) -> String {
    let given = match scalar {
        Scalar::Bool(value) => format!("{value} is a truth value"),
        Scalar::Number(text) => format!("{} is a number", cut(text)),
        Scalar::Text(text) => format!("\"{}\" is a string", cut(text)),
    };
    format!("{given}, and {datatype} wants {wants}")
}

/// The beginning of a text, where it is long.
fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}..", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(datatype: Datatype, scalar: Scalar<'_>) -> Result<Vec<u8>, String> {
        let mut data = Vec::new();
        push(datatype, scalar, &mut data).map(|()| data)
    }

    fn number(datatype: Datatype, text: &str) -> Result<Vec<u8>, String> {
        bytes(datatype, Scalar::Number(text))
    }

    /// 16 bits, little-endian, as a number.
    fn half(datatype: Datatype, text: &str) -> u16 {
        u16::from_le_bytes(number(datatype, text).unwrap().try_into().unwrap())
    }

    #[test]
    fn halves_have_their_known_bits() {
        for (text, bits) in [
            ("0", 0x0000),
            ("-0.0", 0x8000),
            ("1", 0x3c00),
            ("-2", 0xc000),
            ("0.333251953125", 0x3555),
            ("65504", 0x7bff),
            ("65519.99", 0x7bff),
            ("6.103515625e-5", 0x0400),
            ("6.097555160522461e-5", 0x03ff),
            ("5.960464477539063e-8", 0x0001),
            ("2.98e-8", 0x0000),
            ("2.98023223876953125e-8", 0x0000),
            ("2.980232238769532e-8", 0x0001),
            ("1.00048828125", 0x3c00),
            ("1.000488281250001", 0x3c01),
            ("1.00146484375", 0x3c02),
            ("Inf", 0x7c00),
            ("-Infinity", 0xfc00),
            ("1e-400", 0x0000),
        ] {
            assert_eq!(half(Datatype::Fp16, text), bits, "{text}");
        }
        for (text, bits) in [
            ("1", 0x3f80),
            ("-1.5", 0xbfc0),
            ("3.140625", 0x4049),
            ("1.00390625", 0x3f80),
            ("1.003906250000001", 0x3f81),
            ("3.3895313892515355e38", 0x7f7f),
            ("1.1754943508222875e-38", 0x0080),
            ("9.183549615799121e-41", 0x0001),
            ("Infinity", 0x7f80),
        ] {
            assert_eq!(half(Datatype::Bf16, text), bits, "{text}");
        }
        for (datatype, infinity) in [(Datatype::Fp16, 0x7c00), (Datatype::Bf16, 0x7f80)] {
            let nan = half(datatype, "NaN") & 0x7fff;
            assert!(nan > infinity, "{datatype}: {nan:x}");
        }
    }

    #[test]
    fn what_a_datatype_does_not_have_is_refused() {
        let number = Scalar::Number;
        for (datatype, scalar, words) in [
            (Datatype::Uint8, number("300"), "300 is out of range for UINT8 (0 to 255)"),
            (Datatype::Uint8, number("-1"), "-1 is out of range for UINT8 (0 to 255)"),
            (Datatype::Int8, number("128"), "128 is out of range for INT8 (-128 to 127)"),
            (
                Datatype::Int64,
                number("9223372036854775808"),
                "9223372036854775808 is out of range for INT64 (-9223372036854775808 to 9223372036854775807)",
            ),
            (
                Datatype::Uint64,
                number("1111111111111111111111111111111111111111111111111111"),
                "1111111111111111111111111111111111111111.. is out of range for UINT64 (0 to 18446744073709551615)",
            ),
            (Datatype::Int32, number("1.5"), "1.5 is not a whole number, which INT32 wants"),
            (Datatype::Int32, number("NaN"), "NaN is not a whole number, which INT32 wants"),
            (Datatype::Int32, Scalar::Bool(true), "true is a truth value, and INT32 wants whole numbers"),
            (Datatype::Int32, Scalar::Text("5"), "\"5\" is a string, and INT32 wants whole numbers"),
            (Datatype::Bool, number("2"), "2 is a number, and BOOL wants true, false, 1 or 0"),
            (Datatype::Bytes, number("5"), "5 is a number, and BYTES wants a string"),
            (Datatype::Fp32, Scalar::Text("x"), "\"x\" is a string, and FP32 wants numbers"),
            (Datatype::Fp16, number("65520"), "65520 is out of range for FP16 (-65504 to 65504)"),
            (Datatype::Bf16, number("3.4e38"), "3.4e38 is out of range for BF16 (-3.3895e38 to 3.3895e38)"),
            (Datatype::Fp32, number("1e39"), "1e39 is out of range for FP32 (-3.4028235e38 to 3.4028235e38)"),
            (
                Datatype::Fp64,
                number("1e400"),
                "1e400 is out of range for FP64 (-1.7976931348623157e308 to 1.7976931348623157e308)",
            ),
        ] {
            assert_eq!(bytes(datatype, scalar).unwrap_err(), words);
        }
    }

    #[test]
    fn ends_of_ranges_are_within() {
        assert_eq!(number(Datatype::Uint64, "18446744073709551615").unwrap(), u64::MAX.to_le_bytes());
        assert_eq!(number(Datatype::Int64, "-9223372036854775808").unwrap(), i64::MIN.to_le_bytes());
        assert_eq!(number(Datatype::Int8, "-128").unwrap(), [0x80]);
        assert_eq!(number(Datatype::Bool, "1").unwrap(), [1]);
        assert_eq!(bytes(Datatype::Bool, Scalar::Bool(false)).unwrap(), [0]);
        assert_eq!(number(Datatype::Fp32, "-Inf").unwrap(), f32::NEG_INFINITY.to_le_bytes());
        assert_eq!(bytes(Datatype::Bytes, Scalar::Text("é")).unwrap(), [2, 0, 0, 0, 0xc3, 0xa9]);
    }

    proptest! {
        #[test]
        fn whole_numbers_come_back(value in any::<i64>(), shift in 0_u32..64) {
            let value = value >> shift;
            let text = value.to_string();
            for datatype in [Datatype::Int8, Datatype::Int16, Datatype::Int32, Datatype::Int64, Datatype::Uint8,
                Datatype::Uint16, Datatype::Uint32, Datatype::Uint64]
            {
                let (least, most) = range(datatype);
                let encoded = number(datatype, &text);
                prop_assert_eq!(encoded.is_ok(), (least..=most).contains(&value.into()));
                if let Ok(encoded) = encoded {
                    let filler = if value < 0 { 0xff } else { 0 };
                    let mut wide = [filler; 8];
                    wide[..encoded.len()].copy_from_slice(&encoded);
                    prop_assert_eq!(i64::from_le_bytes(wide), value);
                }
            }
        }

        #[test]
        fn floats_come_back(single in any::<f32>(), double in any::<f64>()) {
            if single.is_finite() {
                prop_assert_eq!(number(Datatype::Fp32, &format!("{single:e}")).unwrap(), single.to_le_bytes());
            }
            if double.is_finite() {
                prop_assert_eq!(number(Datatype::Fp64, &format!("{double:e}")).unwrap(), double.to_le_bytes());
            }
        }

        // The rule of narrowing is the processor's, which knows it for 32 bits.
        #[test]
        fn narrowing_is_what_the_processor_does(bits in any::<u64>(), single in any::<f32>()) {
            for value in [f64::from_bits(bits), f64::from(single), f64::from(single) * 1.000_000_03] {
                let (ours, its) = (narrow(value, 8, 23), value as f32);
                prop_assert!(ours == its.to_bits() || f32::from_bits(ours).is_nan() && its.is_nan());
            }
        }

        #[test]
        fn a_half_is_the_nearest(value in -70_000.0_f64..70_000.0) {
            let bits = narrow(value, 5, 10);
            let back = |bits: u32| {
                let fraction = f64::from(bits & 0x3ff);
                match bits >> 10 & 0x1f {
                    0 => fraction * 2_f64.powi(-24),
                    exponent => (1024.0 + fraction) * 2_f64.powi(exponent as i32 - 25),
                }
            };
            let size = bits & 0x7fff;
            let off = (back(size) - value.abs()).abs();
            prop_assert!(size == 0 || off <= (back(size - 1) - value.abs()).abs());
            prop_assert!(size >= 0x7c00 || off <= (back(size + 1) - value.abs()).abs());
        }
    }
}
