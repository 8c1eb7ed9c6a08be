//! Wall-clock times of the export, which has one for each event: most share their seconds with the one before, and many are the same.

use crate::text::compact::push_int;
use streamgauge_core::Nanos;

/// The nanoseconds in a second, and the number of digits below a second.
const SECOND: i64 = 1_000_000_000;
const BELOW: usize = 9;

/// Writes times on the run's clock as nanoseconds since 1970.
#[derive(Debug)]
pub(super) struct WallStamps {
    /// The wall-clock time of the run clock's zero.
    anchor: i64,
    /// The newest time, and its digits; those of its seconds are kept for the next one.
    newest: i64,
    /// The beginning of the newest time's second, where the digits have whole seconds in front of nine digits for the rest.
    second: Option<i64>,
    digits: Vec<u8>,
}

impl WallStamps {
    /// Begins with no time.
    pub fn new(anchor: i64) -> WallStamps {
        WallStamps { anchor, newest: 0, second: None, digits: b"0".to_vec() }
    }

    /// Appends a time.
    pub fn push(&mut self, line: &mut Vec<u8>, at: Nanos) {
        let time = self.anchor.saturating_add(at.0);
        if time != self.newest {
            self.update(time);
        }
        line.extend_from_slice(&self.digits);
    }

    fn update(&mut self, time: i64) {
        self.newest = time;
        if let Some(second) = self.second.filter(|&second| second <= time && time - second < SECOND) {
            // The second in front keeps the zeros that the rest begins with.
            let mut buffer = itoa::Buffer::new();
            let rest = &buffer.format((time - second + SECOND) as u32).as_bytes()[1..];
            let before = self.digits.len() - BELOW;
            return self.digits[before..].copy_from_slice(rest);
        }
        self.second = (time >= SECOND).then(|| time - time % SECOND);
        self.digits.clear();
        push_int(&mut self.digits, time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn times_are_the_digits_of_their_nanoseconds(
            anchor in prop_oneof![Just(0), Just(1_795_314_657_000_000_000), any::<i64>()],
            times in proptest::collection::vec(prop_oneof![any::<i64>(), -3_000_000_000_i64..3_000_000_000, 0_i64..3], 0..20),
        ) {
            let mut stamps = WallStamps::new(anchor);
            for time in times {
                let mut line = Vec::new();
                stamps.push(&mut line, Nanos(time));
                prop_assert_eq!(String::from_utf8(line).unwrap(), anchor.saturating_add(time).to_string());
            }
        }
    }
}
