//! Time. A run has one monotonic clock, anchored once to the wall clock; every stamp is nanoseconds since that anchor.
//!
//! The kernel stamps received bytes on the wall clock. [`Reading::place`] moves such a stamp onto the run's clock by its
//! distance from a pair of readings taken at the same moment, so that a step of the wall clock between two reads does
//! no harm. [`Reading::place_after`] does so too when the step came while the bytes waited to be read. (Slewing moves
//! neither: Linux slews both clocks alike.)

use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::{Add, AddAssign, Neg, Sub};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Nanoseconds: an instant on the run's clock (since its anchor), or the difference of two such instants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Nanos(pub i64);

impl Nanos {
    /// The zero duration, and the anchor of the clock.
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
    /// Converts the wall-clock stamp `stamp` to the run's clock. The result is never after this reading: a stamp that is (because the wall
    /// clock was set back in between) counts as just now.
    pub fn place(self, stamp: i64) -> Nanos {
        self.run - Nanos(self.wall.saturating_sub(stamp).max(0))
    }

    /// [`Reading::place`] for bytes that were read just before this reading and had not arrived at `before`, which is both clocks at that
    /// time. If the wall clock was stepped between the two readings, the bytes may have been stamped on either side of the step; since
    /// they arrived between the readings, usually only one side is possible. If both are, the later time is used: its error is at most the
    /// step, and never larger than that of the time of the read. Returns `None` if neither is possible.
    pub fn place_after(self, before: Reading, stamp: i64) -> Option<Reading> {
        let step = self.ahead().saturating_sub(before.ahead());
        if step.saturating_abs() <= STEP {
            return Some(self.moved_to(self.place(stamp)));
        }
        let sides = [self, before].map(|side| self.place_beside_step(before, side, stamp));
        sides.into_iter().flatten().max_by_key(|placed| placed.run)
    }

    /// The time of the bytes if the wall clock was ahead by as much as at `side`, or `None` if they cannot have arrived then.
    #[cold]
    fn place_beside_step(self, before: Reading, side: Reading, stamp: i64) -> Option<Reading> {
        let at = Nanos(stamp.saturating_sub(side.ahead()));
        let possible = before.run - Nanos(STEP)..=self.run + Nanos(STEP);
        possible.contains(&at).then(|| side.moved_to(at.min(self.run)))
    }

    /// The pair that would have been read at `run`.
    pub fn moved_to(self, run: Nanos) -> Reading {
        Reading { run, wall: self.wall.saturating_sub((self.run - run).0) }
    }

    /// How far the wall clock is ahead of the run's.
    fn ahead(self) -> i64 {
        self.wall.saturating_sub(self.run.0)
    }
}

/// Without a step, the difference of the two clocks changes by less than this between readings, in nanoseconds: ten times the time within
/// which both are read.
const STEP: i64 = 10 * READ_WIDTH.0;

/// The source of times. The real one is [`SystemClock`]; tests set a [`ManualClock`].
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
/// The number of attempts on a machine that keeps interrupting.
const READ_ATTEMPTS: u32 = 4;

/// The machine's clocks, anchored when it was made. Copies share the anchor.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    anchor: Instant,
    anchor_wall: i64,
    /// The steps that a test made the wall clock take; only tests make any.
    steps: Option<WallSteps>,
}

/// Steps of the wall clock as one [`SystemClock`] and its copies see them; the machine's goes on as it is. For tests: with
/// it real sockets can be read while the wall clock moves.
#[derive(Clone, Copy, Debug)]
pub struct WallSteps(&'static RwLock<Vec<(i64, Nanos)>>);

impl WallSteps {
    /// Steps the wall clock.
    pub fn step(self, by: Nanos) {
        let mut steps = self.0.write().unwrap_or_else(PoisonError::into_inner);
        // Read under the lock: a thread that reads a later time waits for the lock and sees the step.
        steps.push((wall_now(), by));
    }

    /// The time on the stepped wall clock when the machine's clock shows `wall`.
    fn shown(self, wall: i64) -> i64 {
        let steps = self.0.read().unwrap_or_else(PoisonError::into_inner);
        steps.iter().filter(|(at, _)| *at <= wall).fold(wall, |wall, (_, by)| wall.saturating_add(by.0))
    }
}

impl SystemClock {
    /// A clock whose zero is now.
    #[allow(clippy::disallowed_methods)]
    pub fn start() -> SystemClock {
        let unanchored = SystemClock { anchor: Instant::now(), anchor_wall: 0, steps: None };
        let reading = unanchored.read();
        SystemClock { anchor_wall: reading.wall - reading.run.0, ..unanchored }
    }

    /// A clock whose zero is now and whose wall clock a test can step.
    pub fn with_steps() -> (SystemClock, WallSteps) {
        // Leaked, since clocks are copied freely; a test has few of them.
        let steps = WallSteps(Box::leak(Box::default()));
        (SystemClock { steps: Some(steps), ..SystemClock::start() }, steps)
    }

    /// A stamp of the kernel's on this clock's wall clock: the stamp itself, unless a test has stepped that.
    pub fn kernel_stamp(&self, stamp: i64) -> i64 {
        self.steps.map_or(stamp, |steps| steps.shown(stamp))
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
        Reading { wall: self.kernel_stamp(best.1.wall), ..best.1 }
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

/// A clock that stands still until a test advances it.
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

    /// The stamps of a reader of stamped bytes, on the run's clock, if the wall clock is stepped by `step` before every third read. Bytes
    /// arrive every 10 ms and are read 1 ms later.
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

    /// Bytes that wait to be read while the wall clock is stepped: they come 50 ms after the reader's last look, and are read
    /// `wait` later, the step in the middle of that time or, if not `before`, in the middle of the 50 ms.
    fn waiting(step: Nanos, wait: Nanos, before: bool) -> (Option<Nanos>, Nanos) {
        let clock = ManualClock::default();
        clock.advance(Nanos::from_millis(100));
        let last = clock.read();
        let part = |span: Nanos, stepped: bool| {
            clock.advance(Nanos(span.0 / 2));
            if stepped {
                clock.step_wall(step);
            }
            clock.advance(Nanos(span.0 / 2));
        };
        part(Nanos::from_millis(50), !before);
        let (came, stamp) = (clock.now(), clock.read().wall);
        part(wait, before);
        (clock.read().place_after(last, stamp).map(|placed| placed.run), came)
    }

    #[test]
    fn a_step_while_bytes_wait_is_told_from_one_before_them() {
        for step in [60, -60, 5_000, -5_000, 86_400_000, -86_400_000].map(Nanos::from_millis) {
            for before in [true, false] {
                let (placed, came) = waiting(step, Nanos::from_millis(8), before);
                assert_eq!(placed, Some(came), "{step} {before}");
            }
        }
    }

    #[test]
    fn of_two_places_that_a_small_step_leaves_the_later_is_taken() {
        let ms = Nanos::from_millis;
        // Forward by less than the bytes waited: they may have waited less.
        let (placed, came) = waiting(ms(3), ms(8), false);
        assert_eq!(placed, Some(came + ms(3)));
        let (placed, came) = waiting(ms(3), ms(8), true);
        assert_eq!(placed, Some(came));
        // Forward by more: they cannot have come after they were read.
        let (placed, came) = waiting(ms(9), ms(8), false);
        assert_eq!(placed, Some(came));
        // Back by less than the time since the last look.
        let (placed, came) = waiting(ms(-3), ms(8), false);
        assert_eq!(placed, Some(came));
        let (placed, came) = waiting(ms(-3), ms(8), true);
        assert_eq!(placed, Some(came + ms(3)));
    }

    #[test]
    fn a_stamp_that_fits_neither_side_of_a_step_has_no_place() {
        let clock = ManualClock::default();
        let last = clock.read();
        clock.advance(Nanos::from_millis(10));
        // There and back again and there: stamped in between, when neither end of the wait was.
        clock.step_wall(Nanos::from_millis(70_000));
        let stamp = clock.read().wall;
        clock.step_wall(Nanos::from_millis(-50_000));
        assert_eq!(clock.read().place_after(last, stamp), None);
        // If no step was seen, the known times of the bytes give no reason to doubt a stamp.
        let still = clock.read();
        let placed = clock.read().place_after(still, still.wall - 5_000_000).unwrap();
        assert_eq!(placed, still.moved_to(Nanos::from_millis(5)));
    }

    #[test]
    fn a_pair_can_be_moved_along_both_clocks() {
        let reading = Reading { run: Nanos(50), wall: 1_000 };
        assert_eq!(reading.moved_to(Nanos(20)), Reading { run: Nanos(20), wall: 970 });
    }

    #[test]
    fn steps_by_hand_move_the_wall_clock_and_later_stamps_alone() {
        let (clock, steps) = SystemClock::with_steps();
        let (copy, before) = (clock, clock.read());
        std::thread::sleep(Duration::from_millis(2));
        steps.step(Nanos::from_millis(-60_000));
        let after = copy.read();
        assert!(after.run > before.run && after.wall < before.wall - 50_000_000_000);
        assert_eq!(clock.kernel_stamp(before.wall), before.wall);
        assert_eq!(clock.kernel_stamp(before.wall + 3_600_000_000_000), before.wall + 3_540_000_000_000);
        assert_eq!(SystemClock::start().kernel_stamp(7), 7);
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
