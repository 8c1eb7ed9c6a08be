//! Which load comes next, by Perf Analyzer's rules. Pure.
//!
//! A level passes when it was stable and its latency below the limit. A linear search goes from the start by the step as long as
//! levels pass, up to the end, which an end of 0 leaves open; its first level is run wherever the end is. A binary search looks at the
//! start, which must pass, then at the end, which must not, and then halves what lies between until that is no longer than the step.

use super::args::Range;

/// A number that ranges consist of.
pub trait Load: Copy + PartialOrd + Default {
    /// The `n`-th level from `start` by `step`, or `None` if there is no such number.
    fn nth(start: Self, step: Self, n: u32) -> Option<Self>;
    /// Whether `level` is at most `end`, what arithmetic lost left aside.
    fn reaches(level: Self, end: Self) -> bool;
    /// Halfway between two, and how far they are apart.
    fn between(low: Self, high: Self) -> (Self, Self);
}

impl Load for u32 {
    fn nth(start: u32, step: u32, n: u32) -> Option<u32> {
        start.checked_add(step.checked_mul(n)?)
    }

    fn reaches(level: u32, end: u32) -> bool {
        level <= end
    }

    fn between(low: u32, high: u32) -> (u32, u32) {
        let apart = high.saturating_sub(low);
        (low + apart / 2, apart)
    }
}

impl Load for f64 {
    fn nth(start: f64, step: f64, n: u32) -> Option<f64> {
        Some(start + step * f64::from(n)).filter(|level| level.is_finite())
    }

    fn reaches(level: f64, end: f64) -> bool {
        level <= end * (1.0 + 1e-9)
    }

    fn between(low: f64, high: f64) -> (f64, f64) {
        (low + (high - low) / 2.0, high - low)
    }
}

/// A search over a range of loads.
#[derive(Clone, Copy, Debug)]
pub struct Search<T> {
    range: Range<T>,
    at: At<T>,
}

/// The state of a search.
#[derive(Clone, Copy, Debug)]
enum At<T> {
    /// The n-th level is next.
    Linear(u32),
    /// The start is next, then the end.
    Start,
    /// The start was last.
    End,
    /// The end was last.
    Ends,
    /// Between a load that passes and one that does not: one in the middle was last.
    Middle { low: T, high: T, middle: T },
    /// No level is left.
    Over,
}

impl<T: Load> Search<T> {
    /// From the range's start up, or by halving it.
    pub fn new(range: Range<T>, binary: bool) -> Search<T> {
        Search { range, at: if binary { At::Start } else { At::Linear(0) } }
    }

    /// The next level, where `passed` is whether the last did; of the first call it is not asked.
    pub fn next(&mut self, passed: bool) -> Option<T> {
        let Range { start, end, step } = self.range;
        let (level, at) = match self.at {
            At::Linear(0) => (Some(start), At::Linear(1)),
            At::Linear(n) => {
                let is_in = |level: &T| end == T::default() || T::reaches(*level, end);
                let level = T::nth(start, step, n).filter(|level| passed && is_in(level));
                (level, At::Linear(n.saturating_add(1)))
            }
            At::Start => (Some(start), At::End),
            At::End => (Some(end).filter(|_| passed), At::Ends),
            At::Ends if passed => (None, At::Over),
            At::Ends => halve(start, end, step),
            At::Middle { high, middle, .. } if passed => halve(middle, high, step),
            At::Middle { low, middle, .. } => halve(low, middle, step),
            At::Over => (None, At::Over),
        };
        self.at = if level.is_some() { at } else { At::Over };
        level
    }
}

fn halve<T: Load>(low: T, high: T, step: T) -> (Option<T>, At<T>) {
    let (middle, apart) = T::between(low, high);
    let level = (apart > step && middle > low && middle < high).then_some(middle);
    (level, At::Middle { low, high, middle })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The levels of a search in which those up to `good` pass.
    fn levels<T: Load>(text: &str, binary: bool, good: T) -> Vec<T>
    where
        Range<T>: std::str::FromStr<Err = String>,
    {
        let mut search = Search::new(text.parse().unwrap(), binary);
        let (mut levels, mut passed) = (Vec::new(), true);
        while let Some(level) = search.next(passed) {
            passed = level <= good;
            levels.push(level);
            assert!(levels.len() < 100, "it ends");
        }
        assert!(search.next(true).is_none(), "and stays so");
        levels
    }

    #[test]
    fn a_linear_search_goes_on_while_levels_pass() {
        assert_eq!(levels("1:8:3", false, 100_u32), [1, 4, 7]);
        assert_eq!(levels("1:8:3", false, 3_u32), [1, 4]);
        assert_eq!(levels("4", false, 100_u32), [4], "without an end there is one level");
        assert_eq!(levels("4:1", false, 0_u32), [4]);
        assert_eq!(levels("2:0:5", false, 11_u32), [2, 7, 12], "an open end goes on to the limit");
        assert_eq!(levels("0.1:0.5:0.1", false, 9.0).len(), 5, "no level is lost to rounding");
    }

    #[test]
    fn a_binary_search_halves_between_what_passes_and_what_does_not() {
        assert_eq!(levels("1:16", true, 11_u32), [1, 16, 8, 12, 10, 11]);
        assert_eq!(levels("1:16:4", true, 11_u32), [1, 16, 8, 12]);
        assert_eq!(levels("1:8", true, 8_u32), [1, 8], "all pass");
        assert_eq!(levels("1:8", true, 0_u32), [1], "none does");
        assert_eq!(levels("1:2", true, 1_u32), [1, 2]);
        assert_eq!(levels("10:20:2.5", true, 13.0), [10.0, 20.0, 15.0, 12.5]);
    }

    #[test]
    fn numbers_end_before_they_overflow() {
        let mut search = Search::new(Range { start: u32::MAX - 1, end: 0, step: 1 }, false);
        assert_eq!(
            [search.next(true), search.next(true), search.next(true)],
            [Some(u32::MAX - 1), Some(u32::MAX), None]
        );
    }
}
