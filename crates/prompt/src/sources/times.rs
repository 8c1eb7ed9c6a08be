//! The times of the rows of a trace: numbers in one unit or another, or dates.

use super::Timing;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::Value;
use streamgauge_core::Nanos;
use streamgauge_core::setting::Setting;

/// The longest time: 285 years in nanoseconds, which fit into a signed 64-bit number.
const LATEST: f64 = 9e18;

/// Seconds from 1970 to 2001, and to 2096.
const SINCE_1970: std::ops::Range<f64> = 1e9..4e9;

/// Reads the times of rows. All of them are in the unit of the first one.
pub(super) struct Times {
    timing: Timing,
    /// What the format's times are in unless they are moments since 1970.
    usual: Unit,
    unit: Option<Unit>,
    /// Whether a row has a time that is not followed.
    unfollowed: bool,
}

/// A unit of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Seconds,
    Milliseconds,
    Microseconds,
    Nanoseconds,
}

impl Unit {
    const ALL: [Unit; 4] = [Unit::Seconds, Unit::Milliseconds, Unit::Microseconds, Unit::Nanoseconds];

    fn nanos(self) -> f64 {
        match self {
            Unit::Seconds => 1e9,
            Unit::Milliseconds => 1e6,
            Unit::Microseconds => 1e3,
            Unit::Nanoseconds => 1.0,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Unit::Seconds => "seconds",
            Unit::Milliseconds => "milliseconds",
            Unit::Microseconds => "microseconds",
            Unit::Nanoseconds => "nanoseconds",
        }
    }

    /// The unit in which a number is a moment since 1970, between 2001 and 2096.
    fn since_1970(number: f64) -> Option<Unit> {
        Unit::ALL.into_iter().find(|unit| SINCE_1970.contains(&(number * unit.nanos() / 1e9)))
    }
}

impl Times {
    /// Times that are `usual` unless the first of them is a moment since 1970.
    pub fn new(timing: Timing, usual: Unit) -> Times {
        Times { timing, usual, unit: None, unfollowed: false }
    }

    /// Whether times are followed.
    pub fn timing(&self) -> Timing {
        self.timing
    }

    /// The time of a row, which the row gives as `name`; `None` where times are not followed.
    ///
    /// # Errors
    /// What is wrong with it, and what is expected.
    pub fn at(&mut self, name: &str, time: Option<&Value>) -> Result<Option<Nanos>, String> {
        let time = match time {
            Some(Value::String(text)) => Some(text.trim()).filter(|text| !text.is_empty()).map(|text| self.read(text)),
            Some(Value::Number(number)) => number.as_f64().map(Time::Number).map(Some),
            Some(_) => Some(None),
            None => None,
        };
        let Some(time) = time else {
            return match self.timing {
                Timing::Untimed => Ok(None),
                Timing::Timed => Err(format!(
                    "there is no `{name}`, at which {} would send the request; give one in {}, or leave {0} out and give a load such as {}",
                    Setting::FixedSchedule,
                    self.usual.name(),
                    Setting::Concurrency
                )),
            };
        };
        if self.timing == Timing::Untimed {
            self.unfollowed = true;
            return Ok(None);
        }
        let wrong = || format!("`{name}` is not a number of {} from 0, or a date", self.usual.name());
        let nanos = match time.ok_or_else(wrong)? {
            Time::Date(nanos) => nanos,
            Time::Number(number) => {
                let usual = self.usual;
                let unit = *self.unit.get_or_insert_with(|| Unit::since_1970(number).unwrap_or(usual));
                let nanos = number * unit.nanos();
                if !(0.0..=LATEST).contains(&nanos) {
                    return Err(format!("the `{name}` {number} is not a number of {} from 0", unit.name()));
                }
                nanos
            }
        };
        Ok(Some(Nanos::from_secs_f64(nanos / 1e9)))
    }

    fn read(&self, text: &str) -> Option<Time> {
        match text.parse::<f64>() {
            Ok(number) => Some(Time::Number(number)),
            Err(_) => date(text).map(Time::Date),
        }
    }

    /// What people should know of the times.
    pub fn note(&self) -> Option<String> {
        self.unfollowed.then(|| {
            format!("the times of its rows are not followed; {} sends each request at its own", Setting::FixedSchedule)
        })
    }
}

enum Time {
    Number(f64),
    /// Nanoseconds since 1970.
    Date(f64),
}

/// A date and a time of day, with an offset from UTC or in UTC, in nanoseconds since 1970.
fn date(text: &str) -> Option<f64> {
    let moment = match text.parse::<jiff::Timestamp>() {
        Ok(moment) => moment,
        Err(_) => text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp(),
    };
    (moment.as_nanosecond() >= 0).then_some(moment.as_nanosecond() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(usual: Unit, times: &[Value]) -> Vec<Result<Option<i64>, String>> {
        let mut reader = Times::new(Timing::Timed, usual);
        times.iter().map(|time| reader.at("t", Some(time)).map(|at| at.map(|at| at.0))).collect()
    }

    #[test]
    fn moments_since_1970_are_known_by_their_size() {
        for (first, second) in [
            (1_732_000_000.0, 1_732_000_001.0),
            (1_732e9, 1_732e9 + 1e3),
            (1_732e12, 1_732e12 + 1e6),
            (1_732e15, 1_732e15 + 1e9),
        ] {
            let times = read(Unit::Milliseconds, &[first.into(), second.into()]);
            assert_eq!(times, [Ok(Some(1_732_000_000_000_000_000)), Ok(Some(1_732_000_001_000_000_000))], "{first}");
        }
        assert_eq!(
            read(Unit::Milliseconds, &[27_482.into(), 3.into()]),
            [Ok(Some(27_482_000_000)), Ok(Some(3_000_000))]
        );
        assert_eq!(read(Unit::Seconds, &[61.5.into()]), [Ok(Some(61_500_000_000))]);
        // The first row decides, so a load of weeks is not read in two units.
        assert_eq!(read(Unit::Milliseconds, &[0.into(), 1_500_000_000.into()])[1], Ok(Some(1_500_000_000_000_000)));
    }

    #[test]
    fn dates_are_read_with_and_without_an_offset() {
        let dates = [
            ("2023-11-16 18:17:03.9799600", 1_700_158_623.979_96),
            ("2024-05-10 00:00:00.009930+00:00", 1_715_299_200.009_93),
            ("2024-05-10T02:00:00+02:00", 1_715_299_200.0),
        ];
        for (text, seconds) in dates {
            let at = read(Unit::Seconds, &[text.into()])[0].clone().unwrap().unwrap();
            assert!((at as f64 / 1e9 - seconds).abs() < 1e-6, "{text}: {at}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for (time, words) in [
            (Value::from(-1), "the `t` -1 is not a number of milliseconds from 0"),
            ("yesterday".into(), "`t` is not a number of milliseconds from 0, or a date"),
            (Value::Bool(true), "`t` is not a number"),
            (1e300.into(), "is not a number of milliseconds from 0"),
        ] {
            let error = read(Unit::Milliseconds, std::slice::from_ref(&time))[0].clone().unwrap_err();
            assert!(error.contains(words), "{time}: {error}");
        }
        let error = Times::new(Timing::Timed, Unit::Seconds).at("t", None).unwrap_err();
        assert!(error.starts_with("there is no `t`, at which --fixed-schedule would send"), "{error}");
        let mut untimed = Times::new(Timing::Untimed, Unit::Seconds);
        assert_eq!((untimed.at("t", None), untimed.note()), (Ok(None), None));
        assert_eq!(untimed.at("t", Some(&"nonsense".into())), Ok(None));
        assert!(untimed.note().unwrap().contains("are not followed"));
    }

    proptest! {
        #[test]
        fn no_time_makes_it_panic(number: f64, text in ".{0,40}") {
            read(Unit::Milliseconds, &[number.into(), text.into()]);
        }
    }
}
