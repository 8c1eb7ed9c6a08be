//! Time. A run has one monotonic clock, anchored once to the wall clock; every stamp is nanoseconds since that anchor.
//!
//! The kernel stamps received bytes on the wall clock. [`Reading::place`] moves such a stamp onto the run's clock by its
//! distance from a pair of readings taken at the same moment, so that a step of the wall clock between two reads does
//! no harm.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::{Add, AddAssign, Neg, Sub};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Nanoseconds: an instant on the run's clock (since its anchor), or the difference of two such instants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Nanos(pub i64);

impl Nanos {
    /// No time at all, and the anchor itself.
    pub const ZERO: Nanos = Nanos(0);

    /// `ms` milliseconds.
    pub const fn from_millis(ms: i64) -> Nanos {
        Nanos(ms.saturating_mul(1_000_000))
    }

    /// `s` seconds, saturating; a number that is not one gives zero.
    pub fn from_secs_f64(s: f64) -> Nanos {
        Nanos((s * 1e9).round() as i64)
    }

    /// In milliseconds.
    pub fn as_millis_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// In seconds.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// As a standard duration; a negative span is zero.
    pub fn to_duration(self) -> Duration {
        Duration::from_nanos(self.0.max(0) as u64)
    }
}

impl From<Duration> for Nanos {
    fn from(d: Duration) -> Nanos {
        Nanos(i64::try_from(d.as_nanos()).unwrap_or(i64::MAX))
    }
}

impl Add for Nanos {
    type Output = Nanos;
    fn add(self, other: Nanos) -> Nanos {
        Nanos(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Nanos {
    fn add_assign(&mut self, other: Nanos) {
        *self = *self + other;
    }
}

impl Sub for Nanos {
    type Output = Nanos;
    fn sub(self, other: Nanos) -> Nanos {
        Nanos(self.0.saturating_sub(other.0))
    }
}

impl Neg for Nanos {
    type Output = Nanos;
    fn neg(self) -> Nanos {
        Nanos(self.0.saturating_neg())
    }
}

impl fmt::Display for Nanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} ms", self.as_millis_f64())
    }
}

/// Both clocks read at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// On the run's clock.
    pub run: Nanos,
    /// On the wall clock: nanoseconds since 1970.
    pub wall: i64,
}

impl Reading {
    /// Where on the run's clock the wall-clock stamp `stamp` lies. It is never after this reading: a stamp that claims
    /// to be (the wall clock was set back in between) counts as just now.
    pub fn place(self, stamp: i64) -> Nanos {
        self.run - Nanos(self.wall.saturating_sub(stamp).max(0))
    }
}

/// Where stamps come from. The real one is [`SystemClock`]; tests set a [`ManualClock`].
pub trait Clock: Clone + Send + Sync + 'static {
    /// Now, on the run's clock.
    fn now(&self) -> Nanos;
    /// Now, on both clocks.
    fn read(&self) -> Reading;
    /// The wall-clock time of the anchor, nanoseconds since 1970.
    fn anchor_wall(&self) -> i64;
    /// The wall-clock time of `at`, as if the wall clock had run evenly since the anchor.
    fn wall(&self, at: Nanos) -> i64 {
        self.anchor_wall().saturating_add(at.0)
    }
}

/// Two clocks count as read at one moment within this time; two readings in a row take a tenth of it.
const READ_WIDTH: Nanos = Nanos(2_000);
/// How often that is tried on a machine that keeps interrupting.
const READ_ATTEMPTS: u32 = 4;

/// The machine's clocks, anchored when it was made. Copies share the anchor.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    anchor: Instant,
    anchor_wall: i64,
}

impl SystemClock {
    /// A clock whose zero is now.
    #[allow(clippy::disallowed_methods)]
    pub fn start() -> SystemClock {
        let unanchored = SystemClock { anchor: Instant::now(), anchor_wall: 0 };
        let reading = unanchored.read();
        SystemClock { anchor_wall: reading.wall - reading.run.0, ..unanchored }
    }

    /// The standard instant of `at`, for timers.
    pub fn instant(&self, at: Nanos) -> Instant {
        self.anchor + at.to_duration()
    }
}

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods)]
    fn now(&self) -> Nanos {
        Nanos::from(Instant::now().duration_since(self.anchor))
    }

    fn read(&self) -> Reading {
        // A thread that loses its processor between the two clocks would move every stamp by the time it was away, so
        // the wall clock is read between two looks at the other one, again if they lie apart.
        let mut best = (Nanos(i64::MAX), Reading { run: Nanos::ZERO, wall: 0 });
        for _ in 0..READ_ATTEMPTS {
            let before = self.now();
            let wall = wall_now();
            let width = self.now() - before;
            if width < best.0 {
                best = (width, Reading { run: before + Nanos(width.0 / 2), wall });
            }
            if width <= READ_WIDTH {
                break;
            }
        }
        best.1
    }

    fn anchor_wall(&self) -> i64 {
        self.anchor_wall
    }
}

#[allow(clippy::disallowed_methods)]
fn wall_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// A clock that stands still until it is told otherwise.
#[derive(Clone, Debug, Default)]
pub struct ManualClock {
    run: Arc<AtomicI64>,
    wall: Arc<AtomicI64>,
}

impl ManualClock {
    /// Moves both clocks on by `span`.
    pub fn advance(&self, span: Nanos) {
        self.run.fetch_add(span.0, Ordering::Relaxed);
        self.wall.fetch_add(span.0, Ordering::Relaxed);
    }

    /// Steps the wall clock alone, as an administrator or a time server does.
    pub fn step_wall(&self, by: Nanos) {
        self.wall.fetch_add(by.0, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Nanos {
        Nanos(self.run.load(Ordering::Relaxed))
    }

    fn read(&self) -> Reading {
        Reading { run: self.now(), wall: self.wall.load(Ordering::Relaxed) }
    }

    fn anchor_wall(&self) -> i64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_stamp_lands_before_the_read() {
        let clock = ManualClock::default();
        clock.advance(Nanos::from_millis(100));
        let stamp = clock.read().wall;
        clock.advance(Nanos::from_millis(3));
        assert_eq!(clock.read().place(stamp), Nanos::from_millis(100));
    }

    #[test]
    fn a_wall_clock_set_back_never_puts_a_stamp_in_the_future() {
        let clock = ManualClock::default();
        clock.advance(Nanos::from_millis(100));
        let stamp = clock.read().wall;
        clock.step_wall(Nanos::from_millis(-5_000));
        assert_eq!(clock.read().place(stamp), Nanos::from_millis(100));
    }

    /// What a reader of stamped bytes sees when the wall clock is stepped by `step` before every third read: where its
    /// stamps land on the run's clock. Bytes arrive every 10 ms and are read 1 ms later.
    fn placed(step: Nanos) -> Vec<Nanos> {
        let clock = ManualClock::default();
        let arrival = |number| {
            clock.advance(Nanos::from_millis(9));
            if number % 3 == 0 {
                clock.step_wall(step);
            }
            let stamp = clock.read().wall;
            clock.advance(Nanos::from_millis(1));
            clock.read().place(stamp)
        };
        (0..12).map(arrival).collect()
    }

    #[test]
    fn steps_of_the_wall_clock_between_reads_change_nothing() {
        let still = placed(Nanos::ZERO);
        assert!(still.windows(2).all(|pair| pair[1] - pair[0] == Nanos::from_millis(10)));
        for step in [1, -1, 3_600_000, -3_600_000, 86_400_000 * 365].map(Nanos::from_millis) {
            assert_eq!(placed(step), still, "{step}");
        }
    }

    /// The one case in which a step does harm, and how far: bytes that wait to be read while it happens.
    #[test]
    fn a_step_while_bytes_wait_moves_their_stamp_alone() {
        let clock = ManualClock::default();
        clock.advance(Nanos::from_millis(100));
        let waiting = clock.read().wall;
        clock.step_wall(Nanos::from_millis(5_000));
        clock.advance(Nanos::from_millis(1));
        // Into the past, before the request was sent: what the row of stamps in the wrong order counts.
        assert_eq!(clock.read().place(waiting), Nanos::from_millis(-4_900));
        let next = clock.read().wall;
        assert_eq!(clock.read().place(next), clock.now());
    }

    #[test]
    fn files_show_the_wall_clock_of_the_anchor_whatever_becomes_of_it() {
        let clock = ManualClock::default();
        clock.advance(Nanos::from_millis(7));
        let before = clock.wall(clock.now());
        clock.step_wall(Nanos::from_millis(60_000));
        assert_eq!(clock.wall(clock.now()), before);
    }

    #[test]
    fn system_clock_moves_forward() {
        let clock = SystemClock::start();
        let first = clock.read();
        let second = clock.read();
        assert!(first.run >= Nanos::ZERO && second.run >= first.run);
        assert!((clock.wall(second.run) - second.wall).abs() < 1_000_000_000);
    }
}
