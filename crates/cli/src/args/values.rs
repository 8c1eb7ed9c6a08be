//! Parsers of values. Each returns a sentence that says what is accepted if it refuses a text.

use std::fmt::Display;
use std::str::FromStr;
use streamgauge_core::clock::Nanos;
use streamgauge_core::units::{Bare, parse_duration};

/// A parser of whole numbers from `least` to `most`.
pub fn whole<T>(least: T, most: T) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static
where
    T: Copy + Display + FromStr + PartialOrd + Send + Sync + 'static,
{
    move |text| match text.parse::<T>() {
        Ok(number) if number >= least && number <= most => Ok(number),
        _ => Err(format!("give a whole number from {least} to {most}")),
    }
}

fn tokens(text: &str, least: f64) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number >= least && number <= 1e7 => Ok(number),
        _ => Err(format!("give a number of tokens from {least} to 10000000")),
    }
}

/// A number of tokens, 1 or more.
pub fn at_least_one(text: &str) -> Result<f64, String> {
    tokens(text, 1.0)
}

/// A number of tokens, 0 or more.
pub fn at_least_zero(text: &str) -> Result<f64, String> {
    tokens(text, 0.0)
}

fn positive(text: &str, bare: Bare) -> Result<Nanos, String> {
    match parse_duration(text, bare)? {
        Nanos::ZERO => Err("the time must be longer than 0".to_owned()),
        time => Ok(time),
    }
}

/// A time longer than 0; a bare number is in seconds.
pub fn limit(text: &str) -> Result<Nanos, String> {
    positive(text, Bare::Seconds)
}

/// A time longer than 0; a bare number is in milliseconds.
pub fn interval(text: &str) -> Result<Nanos, String> {
    positive(text, Bare::Millis)
}

/// A time, 0 included; a bare number is in seconds.
pub fn seconds(text: &str) -> Result<Nanos, String> {
    parse_duration(text, Bare::Seconds)
}

/// A time, 0 included; a bare number is in milliseconds.
pub fn millis(text: &str) -> Result<Nanos, String> {
    parse_duration(text, Bare::Millis)
}

/// A share over 0 and up to 1, also as a percentage: `0.02` or `2%`.
pub fn share(text: &str) -> Result<f64, String> {
    let share = match text.strip_suffix('%') {
        Some(percent) => percent.trim().parse().map(|percent: f64| percent / 100.0),
        None => text.parse(),
    };
    match share {
        Ok(share) if share > 0.0 && share <= 1.0 => Ok(share),
        _ => Err("give a share over 0 and up to 1, or a percentage such as 2%".to_owned()),
    }
}

/// A percentage over 0 and up to 100, as a share: `20` or `20%`.
pub fn percent(text: &str) -> Result<f64, String> {
    match text.strip_suffix('%').unwrap_or(text).trim().parse::<f64>() {
        Ok(percent) if percent > 0.0 && percent <= 100.0 => Ok(percent / 100.0),
        _ => Err("give a percentage over 0 and up to 100".to_owned()),
    }
}

/// A number over 0.
pub fn factor(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(factor) if factor > 0.0 && factor.is_finite() => Ok(factor),
        _ => Err("give a number above 0".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_percentages() {
        assert_eq!([share("0.02"), share("2%"), share("100 %")], [Ok(0.02), Ok(0.02), Ok(1.0)]);
        assert_eq!([percent("20"), percent("20%"), percent("0.5")], [Ok(0.2), Ok(0.2), Ok(0.005)]);
        for bad in ["0", "-1", "1.1", "101%", "nan", "", "%"] {
            assert!(share(bad).is_err(), "{bad}");
        }
        for bad in ["0", "-1", "101", "nan", "inf", ""] {
            assert!(percent(bad).is_err(), "{bad}");
        }
    }
}
