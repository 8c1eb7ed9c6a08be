//! Durations as people type them, and dates as they read them.

use crate::clock::Nanos;

/// The unit of a number that comes without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bare {
    /// Milliseconds.
    Millis,
    /// Seconds.
    Seconds,
}

/// Reads `10`, `2.5s`, `500ms`, `3m` or `1h`; a bare number is in `bare`.
///
/// # Errors
/// A sentence that says what is accepted, for anything else, negative numbers included.
pub fn parse_duration(text: &str, bare: Bare) -> Result<Nanos, String> {
    let text = text.trim();
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let scale = match (unit, bare) {
        ("ms", _) | ("", Bare::Millis) => 1e-3,
        ("us", _) => 1e-6,
        ("s" | "sec", _) | ("", Bare::Seconds) => 1.0,
        ("m" | "min", _) => 60.0,
        ("h", _) => 3600.0,
        _ => return Err(refusal(text, bare)),
    };
    match number.trim().parse::<f64>() {
        Ok(n) if n.is_finite() && n >= 0.0 && n * scale < 1e9 => Ok(Nanos::from_secs_f64(n * scale)),
        _ => Err(refusal(text, bare)),
    }
}

fn refusal(text: &str, bare: Bare) -> String {
    let unit = match bare {
        Bare::Millis => "milliseconds",
        Bare::Seconds => "seconds",
    };
    format!("`{text}` is not a duration: give a number of {unit}, or one with a unit such as 500ms, 10s, 2m or 1h")
}

/// A share as people write it, with the digits that it was given with: `10 %`, `2.5 %`, `0.0001 %`.
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    // Ten digits are without the dust that the factor leaves.
    format!("{} %", format!("{percent:.9e}").parse().unwrap_or(percent))
}

/// The moment `seconds` after the beginning of 1970, in UTC: `2026-11-22T06:30:00Z`. A moment beyond the years that the calendar
/// covers (-9999 to 9999) is written as its number of seconds.
pub fn utc(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds)
        .map_or_else(|_| format!("{seconds} s after 1970"), |moment| moment.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_written_without_dust_and_to_the_last_digit() {
        let shares = [0.1, 0.07, 0.025, 1.0, 0.000_001, 1e-9, 0.0];
        assert_eq!(shares.map(percent), ["10 %", "7 %", "2.5 %", "100 %", "0.0001 %", "0.0000001 %", "0 %"]);
    }

    #[test]
    fn dates_keep_leap_years() {
        assert_eq!(utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(utc(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(utc(1_795_329_061), "2026-11-22T06:31:01Z");
        assert_eq!(utc(-1), "1969-12-31T23:59:59Z");
        assert_eq!(utc(i64::MAX), "9223372036854775807 s after 1970");
    }

    #[test]
    fn units_and_bare_numbers() {
        assert_eq!(parse_duration("10", Bare::Seconds), Ok(Nanos::from_millis(10_000)));
        assert_eq!(parse_duration("4000", Bare::Millis), Ok(Nanos::from_millis(4_000)));
        assert_eq!(parse_duration("2.5s", Bare::Millis), Ok(Nanos::from_millis(2_500)));
        assert_eq!(parse_duration("2m", Bare::Millis), Ok(Nanos::from_millis(120_000)));
        assert_eq!(parse_duration("1h", Bare::Seconds), Ok(Nanos::from_millis(3_600_000)));
    }

    #[test]
    fn nonsense_is_refused_in_a_sentence() {
        for text in ["", "s", "-1", "1x", "nan", "inf", "1e99", "ten"] {
            let error = parse_duration(text, Bare::Seconds).unwrap_err();
            assert!(error.contains("give a number of seconds"), "{text}: {error}");
        }
    }
}
