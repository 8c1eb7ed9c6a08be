//! Formats numbers as the replaced tools do.

/// Shown instead of a missing number.
pub(crate) const NOT_AVAILABLE: &str = "N/A";

/// Formats with two decimals and commas between thousands, as Python's `{:,.2f}` does. NaN and infinities are `N/A`.
pub(crate) fn grouped(value: f64) -> String {
    if !value.is_finite() {
        return NOT_AVAILABLE.into();
    }
    let plain = format!("{value:.2}");
    let (whole, fraction) = plain.split_at(plain.len() - ".00".len());
    with_commas(whole) + fraction
}

/// A whole number with commas between thousands.
pub(crate) fn grouped_count(value: u64) -> String {
    with_commas(&value.to_string())
}

fn with_commas(number: &str) -> String {
    let (sign, digits) = number.strip_prefix('-').map_or(("", number), |digits| ("-", digits));
    let mut text = String::from(sign);
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The shortest text that reads back as `value`, as Python's `repr` writes it. Rust's `{:?}` chooses the same digits and uses
/// exponents at the same magnitudes, but writes the exponent differently (`1e-5` instead of `1e-05`).
pub(crate) fn python_repr(value: f64) -> String {
    let text = format!("{value:?}");
    let Some((mantissa, exponent)) = text.split_once('e') else { return text };
    let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
    format!("{mantissa}e{sign}{digits:0>2}")
}

/// Formats with six significant digits and no trailing zeros, as C++ streams and C's `%g` write a float.
pub(crate) fn cpp_default(value: f64) -> String {
    if !value.is_finite() {
        return if value.is_nan() {
            "nan"
        } else if value > 0.0 {
            "inf"
        } else {
            "-inf"
        }
        .into();
    }
    // The exponent is taken from the rounded number: 999999.5 is 1e+06.
    let rounded = format!("{value:.5e}");
    let (mantissa, exponent) = rounded.split_once('e').unwrap_or((&rounded, "0"));
    let trimmed = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    match exponent.parse::<i32>().unwrap_or(0) {
        at @ -4..6 => trimmed(&format!("{value:.*}", usize::try_from(5 - at).unwrap_or(0))),
        at => format!("{}e{}{:02}", trimmed(mantissa), if at < 0 { '-' } else { '+' }, at.abs()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_read_as_cpp_streams_write_them() {
        // As `printf("%g")` writes them.
        for (value, text) in [
            (8.5121, "8.5121"),
            (102.081, "102.081"),
            (2827.8146, "2827.81"),
            (168.52, "168.52"),
            (50.0, "50"),
            (0.0, "0"),
            (999_999.4, "999999"),
            (999_999.5, "1e+06"),
            (1_234_567.0, "1.23457e+06"),
            (0.000_123_456_78, "0.000123457"),
            (0.000_012_3, "1.23e-05"),
            (-45.962_39, "-45.9624"),
            (1e120, "1e+120"),
            (f64::INFINITY, "inf"),
        ] {
            assert_eq!(cpp_default(value), text);
        }
    }

    #[test]
    fn thousands_are_grouped() {
        assert_eq!(grouped(0.0), "0.00");
        assert_eq!(grouped(999.994), "999.99");
        assert_eq!(grouped(1915.41), "1,915.41");
        assert_eq!(grouped(-1234567.891), "-1,234,567.89");
        assert_eq!(grouped(f64::NAN), "N/A");
        assert_eq!(grouped_count(7), "7");
        assert_eq!(grouped_count(1_234_567), "1,234,567");
    }

    #[test]
    fn floats_read_as_python_writes_them() {
        assert_eq!(python_repr(8.0), "8.0");
        assert_eq!(python_repr(65.44895199999999), "65.44895199999999");
        assert_eq!(python_repr(0.0001), "0.0001");
        assert_eq!(python_repr(0.00001), "1e-05");
        assert_eq!(python_repr(1.5e-7), "1.5e-07");
        assert_eq!(python_repr(9999999999999998.0), "9999999999999998.0");
        assert_eq!(python_repr(1e16), "1e+16");
        assert_eq!(python_repr(-2.5e120), "-2.5e+120");
    }
}
