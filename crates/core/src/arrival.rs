//! How requests arrive in an open loop: at which rate, and how regularly.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// The bounds of the shape of a gamma distribution. At the lower bound the gaps vary 32 times as much as their mean, at the upper bound by
/// a thousandth of it. Beyond these bounds arrivals are a few heaps, or constant.
const SHAPES: std::ops::RangeInclusive<f64> = 0.001..=1_000_000.0;

/// Why a number cannot describe arrivals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ArrivalError {
    /// The number is not a rate.
    #[error("give a number of requests per second above 0, or inf")]
    Rate,
    /// The number is not the shape of a gamma distribution.
    #[error("give a number from {} to {}", SHAPES.start(), SHAPES.end())]
    Shape,
}

/// Requests per second: above 0. Infinitely many are all due at once, which only a count of requests makes an end of.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "Form", into = "Form")]
pub struct Rate(f64);

impl Rate {
    /// A rate in requests per second.
    ///
    /// # Errors
    /// When it is not above 0.
    pub fn try_new(per_second: f64) -> Result<Rate, ArrivalError> {
        if per_second > 0.0 { Ok(Rate(per_second)) } else { Err(ArrivalError::Rate) }
    }

    /// Requests per second; may be infinite.
    pub fn per_second(self) -> f64 {
        self.0
    }
}

impl fmt::Display for Rate {
    /// Writes the rate as Python prints a float, which is how the replaced tools name their directories: `10.0`, `0.5`, `inf`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl FromStr for Rate {
    type Err = ArrivalError;

    fn from_str(text: &str) -> Result<Rate, ArrivalError> {
        Rate::try_new(text.parse().map_err(|_| ArrivalError::Rate)?)
    }
}

/// A rate in files: JSON has no infinite number, so that one is a word.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Form {
    Number(f64),
    Word(String),
}

impl From<Rate> for Form {
    fn from(rate: Rate) -> Form {
        if rate.0.is_finite() { Form::Number(rate.0) } else { Form::Word(rate.to_string()) }
    }
}

impl TryFrom<Form> for Rate {
    type Error = ArrivalError;

    fn try_from(form: Form) -> Result<Rate, ArrivalError> {
        match form {
            Form::Number(number) => Rate::try_new(number),
            Form::Word(word) => word.parse(),
        }
    }
}

/// The shape of a gamma distribution. The gaps' coefficient of variation is 1/sqrt(shape): 1 is a Poisson process, less comes
/// in bursts, more is more even.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Shape(f64);

impl Shape {
    /// The shape of a Poisson process.
    pub const POISSON: Shape = Shape(1.0);

    /// The shape as a number.
    pub fn value(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for Shape {
    type Error = ArrivalError;

    fn try_from(value: f64) -> Result<Shape, ArrivalError> {
        if SHAPES.contains(&value) { Ok(Shape(value)) } else { Err(ArrivalError::Shape) }
    }
}

impl From<Shape> for f64 {
    fn from(shape: Shape) -> f64 {
        shape.0
    }
}

impl FromStr for Shape {
    type Err = ArrivalError;

    fn from_str(text: &str) -> Result<Shape, ArrivalError> {
        text.parse::<f64>().map_err(|_| ArrivalError::Shape)?.try_into()
    }
}

/// How the gaps between requests are distributed; their mean is one over the rate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arrival {
    /// All gaps are equal.
    Constant,
    /// Gaps have a gamma distribution.
    Gamma {
        /// Its shape.
        shape: Shape,
    },
    /// Gaps have an exponential distribution, as for requests of many independent users (a Poisson process).
    Poisson,
}

impl Arrival {
    /// The coefficient of variation of the gaps: standard deviation over mean.
    pub fn variation(self) -> f64 {
        match self {
            Arrival::Constant => 0.0,
            Arrival::Gamma { shape } => 1.0 / shape.value().sqrt(),
            Arrival::Poisson => 1.0,
        }
    }
}

impl fmt::Display for Arrival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Arrival::Constant => f.write_str("constant"),
            Arrival::Gamma { shape } => write!(f, "gamma of shape {}", shape.value()),
            Arrival::Poisson => f.write_str("poisson"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_above_nothing_and_survive_files() {
        for (text, shown, json) in [("10", "10.0", "10.0"), ("0.5", "0.5", "0.5"), ("inf", "inf", "\"inf\"")] {
            let rate: Rate = text.parse().unwrap();
            assert_eq!((rate.to_string(), serde_json::to_string(&rate).unwrap()), (shown.into(), json.into()));
            assert_eq!(serde_json::from_str::<Rate>(json).unwrap(), rate);
        }
        for bad in ["0", "-1", "nan", "-inf", "", "fast"] {
            assert_eq!(bad.parse::<Rate>(), Err(ArrivalError::Rate), "{bad}");
        }
        assert!(serde_json::from_str::<Rate>("0").is_err());
    }

    #[test]
    fn shapes_have_bounds_and_arrivals_survive_files() {
        for bad in ["0", "-1", "nan", "inf", "0.0001", "1e7", "smooth"] {
            assert_eq!(bad.parse::<Shape>(), Err(ArrivalError::Shape), "{bad}");
        }
        let shape: Shape = "0.25".parse().unwrap();
        assert_eq!(Arrival::Gamma { shape }.variation(), 2.0);
        for (arrival, json) in [
            (Arrival::Constant, r#""constant""#),
            (Arrival::Poisson, r#""poisson""#),
            (Arrival::Gamma { shape }, r#"{"gamma":{"shape":0.25}}"#),
        ] {
            assert_eq!(serde_json::to_string(&arrival).unwrap(), json);
            assert_eq!(serde_json::from_str::<Arrival>(json).unwrap(), arrival);
        }
    }
}
