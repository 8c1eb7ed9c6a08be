//! A flag's value that may be one number, a list, or a range: the levels that are run one after another.

use std::str::FromStr;
use streamgauge_core::arrival::Rate;

/// The maximum number of levels of one flag. Each level is a run, so a larger number is probably a typing error (`1:1000` instead of `1:1000:*2`).
pub const MOST_LEVELS: usize = 100;

/// One or several distinct numbers, in the order of their runs: `4`, the list `1,4,8`, or the range
/// `start:end[:step]`. The step is added (the default is 1) or, if written `*factor`, multiplied. A range
/// begins with its start and contains its end only if a step falls on it: `1:8:3` is 1, 4, 7.
#[derive(Clone, Debug, PartialEq)]
pub struct Levels<T>(Vec<T>);

impl<T> Levels<T> {
    /// One level.
    pub fn one(value: T) -> Levels<T> {
        Levels(vec![value])
    }

    /// The numbers, at least one.
    pub fn values(&self) -> &[T] {
        &self.0
    }
}

/// A number of which a flag may have several.
pub trait Level: Copy + PartialEq {
    /// What one number must be, for error messages.
    const ACCEPTED: &str;
    /// Examples of a list and of ranges.
    const EXAMPLES: &str;
    /// Parses one number.
    fn one(text: &str) -> Option<Self>;
    /// The numbers from `start` to `end` by `step`, if [`Level::leads`] allows that range. The list may stop after more than [`MOST_LEVELS`]
    /// numbers. Returns `None` if the step is invalid or does not lead upwards.
    fn range(start: Self, end: Self, step: Step<'_>) -> Option<Vec<Self>>;
    /// Whether a range can go from `start` to `end`.
    fn leads(start: Self, end: Self) -> bool;
}

/// A range's step, as it was written.
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    /// The step is added.
    Plus(&'a str),
    /// The step is a factor.
    Times(&'a str),
}

/// A number of streams, from 1 to a million.
impl Level for u32 {
    const ACCEPTED: &str = "a whole number from 1 to 1000000";
    const EXAMPLES: &str = "a list such as 1,4,8, or a range start:end[:step] such as 1:8, 2:8:2 or 1:64:*2";

    fn one(text: &str) -> Option<u32> {
        text.parse().ok().filter(|number| (1..=1_000_000).contains(number))
    }

    fn range(start: u32, end: u32, step: Step<'_>) -> Option<Vec<u32>> {
        let next: Box<dyn Fn(u32) -> Option<u32>> = match step {
            Step::Plus(text) => {
                let step = u32::one(text)?;
                Box::new(move |number| number.checked_add(step))
            }
            Step::Times(text) => {
                let factor = u32::one(text).filter(|factor| *factor > 1)?;
                Box::new(move |number| number.checked_mul(factor))
            }
        };
        let numbers = std::iter::successors(Some(start), |number| next(*number));
        Some(numbers.take_while(|number| *number <= end).take(MOST_LEVELS + 1).collect())
    }

    fn leads(start: u32, end: u32) -> bool {
        start <= end
    }
}

impl Level for Rate {
    const ACCEPTED: &str = "a number of requests per second above 0, or inf";
    const EXAMPLES: &str =
        "a list such as 1,2.5,10, or a range start:end[:step] such as 1:8, 0.5:2:0.5 or 1:64:*2 (without inf)";

    fn one(text: &str) -> Option<Rate> {
        text.parse().ok()
    }

    fn range(start: Rate, end: Rate, step: Step<'_>) -> Option<Vec<Rate>> {
        let finite = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite());
        let (first, last) = (start.per_second(), end.per_second());
        // Each number is computed from the start, so that rounding errors do not accumulate.
        let at: Box<dyn Fn(f64) -> f64> = match step {
            Step::Plus(text) => {
                let step = finite(text).filter(|step| *step > 0.0)?;
                Box::new(move |index| first + index * step)
            }
            Step::Times(text) => {
                let factor = finite(text).filter(|factor| *factor > 1.0)?;
                Box::new(move |index| first * factor.powf(index))
            }
        };
        let rates = (0..=MOST_LEVELS).map(|index| as_written(at(index as f64)));
        rates.take_while(|rate| *rate <= last).map(|rate| Rate::try_new(rate).ok()).collect()
    }

    fn leads(start: Rate, end: Rate) -> bool {
        start <= end && end.per_second().is_finite()
    }
}

/// The number that was meant: what ten times 0.1 leaves behind the twelfth digit was not.
fn as_written(number: f64) -> f64 {
    // A number's own digits always read back.
    format!("{number:.11e}").parse().unwrap_or(number)
}

impl<T: Level> FromStr for Levels<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Levels<T>, String> {
        let accepted = || format!("give {}, {}", T::ACCEPTED, T::EXAMPLES);
        let one = |text: &str| T::one(text).ok_or_else(accepted);
        let values = match text.split(':').collect::<Vec<_>>()[..] {
            [list] => list.split(',').map(one).collect::<Result<Vec<T>, String>>()?,
            [start, end, ..] if !T::leads(one(start)?, one(end)?) => {
                return Err(format!("a range must lead from its start up to its end; {}", accepted()));
            }
            [start, end] => T::range(one(start)?, one(end)?, Step::Plus("1")).ok_or_else(accepted)?,
            [start, end, step] => {
                let step = step.strip_prefix('*').map_or(Step::Plus(step), Step::Times);
                T::range(one(start)?, one(end)?, step).ok_or_else(|| {
                    format!(
                        "a step must lead upwards: a number that is added, or * and a factor above 1; {}",
                        accepted()
                    )
                })?
            }
            _ => return Err(accepted()),
        };
        if values.len() > MOST_LEVELS {
            return Err(format!("more than {MOST_LEVELS} levels, each of which is a run; {}", accepted()));
        }
        if (1..values.len()).any(|index| values[..index].contains(&values[index])) {
            return Err(format!("a level is there twice (--repeat runs each several times); {}", accepted()));
        }
        Ok(Levels(values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &str) -> Vec<u32> {
        text.parse::<Levels<u32>>().unwrap().0
    }

    fn rates(text: &str) -> Vec<f64> {
        text.parse::<Levels<Rate>>().unwrap().0.into_iter().map(Rate::per_second).collect()
    }

    #[test]
    fn numbers_lists_and_ranges() {
        assert_eq!(whole("4"), [4]);
        assert_eq!(whole("1,4,8"), [1, 4, 8]);
        assert_eq!(whole("8,1"), [8, 1], "in the order given");
        assert_eq!(whole("1:64:*2"), [1, 2, 4, 8, 16, 32, 64]);
        assert_eq!(whole("3:64:*3"), [3, 9, 27], "the end only where a step falls on it");
        assert_eq!(whole("6:8:1"), [6, 7, 8]);
        assert_eq!(whole("6:8"), [6, 7, 8]);
        assert_eq!(whole("1:8:3"), [1, 4, 7]);
        assert_eq!(whole("5:5"), [5]);
        assert_eq!(whole("1:1000000:*1000000"), [1, 1_000_000]);
        assert_eq!(whole("1:100").len(), MOST_LEVELS);
        assert_eq!(rates("2.5"), [2.5]);
        assert_eq!(rates("10,inf"), [10.0, f64::INFINITY]);
        assert_eq!(rates("0.1:0.5:0.1"), [0.1, 0.2, 0.3, 0.4, 0.5]);
        assert_eq!(rates("0.1:0.8:*2"), [0.1, 0.2, 0.4, 0.8]);
        assert_eq!(rates("1:3"), [1.0, 2.0, 3.0]);
        assert_eq!(rates("10:11:*1.05"), [10.0, 10.5]);
    }

    #[test]
    fn every_refusal_says_what_is_accepted() {
        let refused = |text: &str| text.parse::<Levels<u32>>().unwrap_err();
        for text in [
            "",
            "a",
            "0",
            "-4",
            "1.5",
            "0,2",
            "1,,2",
            "1,",
            "1:",
            ":4",
            "1:2:3:4",
            "1,4:8",
            "1000001",
            "0:4",
            "1:2000000",
        ] {
            assert!(refused(text).starts_with("give a whole number from 1 to 1000000, a list such as"), "{text}");
        }
        for (text, why) in [
            ("4:1", "a range must lead from its start up to its end"),
            ("1,1", "a level is there twice"),
            ("1:64:*1", "a step must lead upwards"),
            ("1:64:*0", "a step must lead upwards"),
            ("1:64:0", "a step must lead upwards"),
            ("1:64:-2", "a step must lead upwards"),
            ("1:64:", "a step must lead upwards"),
            ("1:64:*", "a step must lead upwards"),
            ("1:64:*1.5", "a step must lead upwards"),
            ("1:101", "more than 100 levels"),
        ] {
            let said = refused(text);
            assert!(
                said.starts_with(why) && said.contains("; give a whole number from 1 to 1000000"),
                "{text}: {said}"
            );
        }
        for text in [
            "0", "nan", "-1", "1,0", "0:4", "2:1", "1:inf", "inf:inf", "1:4:nan", "1:4:inf", "1:4:*inf", "1:4:*1",
            "1,1.0", "1:inf:2",
        ] {
            let said = text.parse::<Levels<Rate>>().unwrap_err();
            assert!(said.contains("give a number of requests per second above 0, or inf, a list"), "{text}: {said}");
        }
    }
}
