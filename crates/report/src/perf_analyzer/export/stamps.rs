//! Wall-clock times of the export, which has one for each event: most share their seconds with the one before, and many are the same.

use crate::text::compact::push_int;
use streamgauge_core::Nanos;

/// Nanoseconds in a second, and the digits of the part of a time that is below it.
const SECOND: i64 = 1_000_000_000;
const BELOW: usize = 9;

/// Writes times on the run's clock as nanoseconds since 1970.
#[derive(Debug)]
pub(super) struct WallStamps {
    /// The wall-clock time of the run clock's zero.
    anchor: i64,
    /// The newest time, and its digits; those of its seconds are kept for the next one.
    newest: i64,
    digits: Vec<u8>,
}

impl WallStamps {
    /// Begins with no time.
    pub fn new(anchor: i64) -> WallStamps {
        WallStamps { anchor, newest: 0, digits: b"0".to_vec() }
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
        let has_same_seconds = time >= SECOND && self.newest >= SECOND && time / SECOND == self.newest / SECOND;
        self.newest = time;
        if !has_same_seconds {
            self.digits.clear();
            return push_int(&mut self.digits, time);
        }
        let mut rest = (time % SECOND) as u32;
        for digit in self.digits.iter_mut().rev().take(BELOW) {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
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
