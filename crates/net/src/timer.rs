//! A timer for one thread's runtime that wakes within tens of microseconds of its deadline, where the runtime's own wheel
//! turns once a millisecond and rounds up.
//!
//! On Linux it is one timerfd for all sleeping tasks of the thread, always armed for the earliest deadline. Its wake-ups
//! come through the runtime's own poll, so it costs a system call a deadline and no thread. Elsewhere it is the runtime's
//! wheel.

#[cfg(not(target_os = "linux"))]
pub use portable::{Sleep, Timer};
#[cfg(target_os = "linux")]
pub use precise::{Sleep, Timer};

#[cfg(target_os = "linux")]
mod precise {
    use nix::sys::time::TimeSpec;
    use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
    use std::cell::RefCell;
    use std::cmp::Ordering;
    use std::collections::BinaryHeap;
    use std::io;
    use std::os::fd::{AsFd, AsRawFd, RawFd};
    use std::pin::Pin;
    use std::rc::Rc;
    use std::task::{Context, Poll, Waker};
    use streamgauge_core::clock::{Clock, Nanos, SystemClock};
    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;

    /// The timer of one thread; copies are the same timer. Nobody wakes unless [`Timer::run`] runs.
    #[derive(Clone, Debug)]
    pub struct Timer {
        shared: Rc<Shared>,
    }

    #[derive(Debug)]
    struct Shared {
        clock: SystemClock,
        alarm: AsyncFd<Alarm>,
        sleepers: RefCell<Sleepers>,
    }

    /// Who sleeps until when. While anyone sleeps, `armed` is the alarm's deadline and not after the earliest sleeper's.
    #[derive(Debug, Default)]
    struct Sleepers {
        heap: BinaryHeap<Sleeper>,
        armed: Option<Nanos>,
        next: u64,
    }

    impl Timer {
        /// A timer on `clock`, for the runtime that this is called within.
        ///
        /// # Errors
        /// When the system has no descriptor left.
        ///
        /// # Panics
        /// Outside a runtime with I/O enabled, as every socket of that runtime would.
        pub fn new(clock: SystemClock) -> io::Result<Timer> {
            let alarm =
                Alarm(TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?);
            let alarm = registered(alarm)?;
            Ok(Timer { shared: Rc::new(Shared { clock, alarm, sleepers: RefCell::default() }) })
        }

        /// Waits until the clock shows `deadline`; never ends before. Sleepers with the same deadline wake in the order
        /// in which they lay down.
        pub fn sleep_until(&self, deadline: Nanos) -> Sleep<'_> {
            Sleep { timer: self, deadline, waker: None }
        }

        /// Wakes sleepers when their time comes, for ever. It is spawned next to the tasks that sleep.
        ///
        /// # Errors
        /// When the system refuses to set the alarm. It ends only then.
        pub async fn run(self) -> io::Result<()> {
            loop {
                // The alarm's count is never read: setting it again clears it, and the poll is edge-triggered, so each
                // expiry makes an edge of its own. That saves a system call a wake-up.
                self.shared.alarm.readable().await?.clear_ready();
                self.wake_due()?;
            }
        }

        /// The earliest deadline of anybody who sleeps.
        pub fn next(&self) -> Option<Nanos> {
            self.shared.sleepers.borrow().heap.peek().map(|first| first.deadline)
        }

        /// Wakes the sleepers whose time has come. [`Timer::run`] does so when the runtime has noticed the alarm; code that reads the
        /// clock in between can do so earlier.
        ///
        /// # Errors
        /// When the system refuses to set the next alarm.
        pub fn wake_due(&self) -> io::Result<()> {
            let now = self.shared.clock.now();
            let mut sleepers = self.shared.sleepers.borrow_mut();
            while sleepers.heap.peek().is_some_and(|first| first.deadline <= now) {
                if let Some(due) = sleepers.heap.pop() {
                    due.waker.wake();
                }
            }
            sleepers.armed = sleepers.heap.peek().map(|first| first.deadline);
            match sleepers.armed {
                Some(deadline) => self.arm(deadline),
                None => Ok(()),
            }
        }

        fn lay_down(&self, deadline: Nanos, waker: Waker) -> io::Result<()> {
            let mut sleepers = self.shared.sleepers.borrow_mut();
            let turn = sleepers.next;
            sleepers.next += 1;
            sleepers.heap.push(Sleeper { deadline, turn, waker });
            if sleepers.armed.is_none_or(|armed| deadline < armed) {
                sleepers.armed = Some(deadline);
                self.arm(deadline)?;
            }
            Ok(())
        }

        /// Relative to a reading of the clock just before, so the alarm goes off late by what passes in between (well
        /// under a microsecond) and never early.
        fn arm(&self, deadline: Nanos) -> io::Result<()> {
            // A span of nothing would disarm it.
            let span = (deadline - self.shared.clock.now()).max(Nanos(1));
            let expiry = Expiration::OneShot(TimeSpec::from(span.to_duration()));
            Ok(self.shared.alarm.get_ref().0.set(expiry, TimerSetTimeFlags::empty())?)
        }
    }

    /// A wait for a deadline. Dropped early it leaves its place in the queue until the deadline: for waits that mostly end
    /// early, such as time-outs, the runtime's own timer is the better one.
    #[derive(Debug)]
    #[must_use = "a wait does nothing until it is awaited"]
    pub struct Sleep<'a> {
        timer: &'a Timer,
        deadline: Nanos,
        waker: Option<Waker>,
    }

    impl Future for Sleep<'_> {
        type Output = io::Result<()>;

        fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
            if self.timer.shared.clock.now() >= self.deadline {
                return Poll::Ready(Ok(()));
            }
            if !self.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
                self.timer.lay_down(self.deadline, context.waker().clone())?;
                self.waker = Some(context.waker().clone());
            }
            Poll::Pending
        }
    }

    #[derive(Debug)]
    struct Sleeper {
        deadline: Nanos,
        turn: u64,
        waker: Waker,
    }

    impl Sleeper {
        fn rank(&self) -> (Nanos, u64) {
            (self.deadline, self.turn)
        }
    }

    impl Ord for Sleeper {
        /// Reversed: the heap's greatest is the one to wake first.
        fn cmp(&self, other: &Sleeper) -> Ordering {
            other.rank().cmp(&self.rank())
        }
    }

    impl PartialOrd for Sleeper {
        fn partial_cmp(&self, other: &Sleeper) -> Option<Ordering> {
            Some(self.cmp(other))
        }
    }

    impl PartialEq for Sleeper {
        fn eq(&self, other: &Sleeper) -> bool {
            self.rank() == other.rank()
        }
    }

    impl Eq for Sleeper {}

    /// The timerfd, as the runtime wants to see it.
    #[derive(Debug)]
    struct Alarm(TimerFd);

    impl AsRawFd for Alarm {
        fn as_raw_fd(&self) -> RawFd {
            self.0.as_fd().as_raw_fd()
        }
    }

    /// The runtime deprecates this in favour of an unsafe function of the same work, whose contract is that the descriptor
    /// stays open and the same for as long as it is registered. [`Alarm`] keeps it: it owns its timerfd and never gives it
    /// away. Unsafe code is forbidden here, so the old name stays.
    #[allow(deprecated)]
    fn registered(alarm: Alarm) -> io::Result<AsyncFd<Alarm>> {
        AsyncFd::with_interest(alarm, Interest::READABLE)
    }
}

#[cfg(not(target_os = "linux"))]
mod portable {
    use std::io;
    use std::marker::PhantomData;
    use std::pin::Pin;
    use std::rc::Rc;
    use std::task::{Context, Poll};
    use streamgauge_core::clock::{Nanos, SystemClock};

    /// The timer of one thread; copies are the same timer.
    #[derive(Clone, Debug)]
    pub struct Timer {
        clock: SystemClock,
        one_thread: PhantomData<Rc<()>>,
    }

    impl Timer {
        /// A timer on `clock`.
        ///
        /// # Errors
        /// None on this system.
        pub fn new(clock: SystemClock) -> io::Result<Timer> {
            Ok(Timer { clock, one_thread: PhantomData })
        }

        /// Waits until the clock shows `deadline`; never ends before.
        pub fn sleep_until(&self, deadline: Nanos) -> Sleep<'_> {
            let wait = tokio::time::sleep_until(self.clock.instant(deadline).into());
            Sleep { wait: Box::pin(wait), timer: PhantomData }
        }

        /// Not known on this system: the runtime has the sleepers.
        pub fn next(&self) -> Option<Nanos> {
            None
        }

        /// Nothing to do on this system: the runtime wakes the sleepers.
        ///
        /// # Errors
        /// None on this system.
        pub fn wake_due(&self) -> io::Result<()> {
            Ok(())
        }

        /// Nothing to do on this system: the runtime wakes the sleepers.
        ///
        /// # Errors
        /// None on this system.
        pub async fn run(self) -> io::Result<()> {
            std::future::pending().await
        }
    }

    /// A wait for a deadline.
    #[derive(Debug)]
    #[must_use = "a wait does nothing until it is awaited"]
    pub struct Sleep<'a> {
        wait: Pin<Box<tokio::time::Sleep>>,
        timer: PhantomData<&'a Timer>,
    }

    impl Future for Sleep<'_> {
        type Output = io::Result<()>;

        fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.wait.as_mut().poll(context).map(Ok)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::rc::Rc;
    use streamgauge_core::clock::{Clock, Nanos, SystemClock};

    /// Sleepers with these deadlines after now, in milliseconds; who woke, in order. Fails if anyone wakes early.
    fn wake_order(deadlines: &[i64]) -> Vec<usize> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let tasks = tokio::task::LocalSet::new();
        tasks.block_on(&runtime, async {
            let clock = SystemClock::start();
            let timer = Timer::new(clock).unwrap();
            tokio::task::spawn_local(timer.clone().run());
            let woken = Rc::new(RefCell::new(Vec::new()));
            let start = clock.now();
            let sleepers: Vec<_> = deadlines
                .iter()
                .enumerate()
                .map(|(sleeper, ms)| {
                    let (timer, woken, deadline) = (timer.clone(), woken.clone(), start + Nanos::from_millis(*ms));
                    tokio::task::spawn_local(async move {
                        timer.sleep_until(deadline).await.unwrap();
                        assert!(clock.now() >= deadline, "woke early");
                        woken.borrow_mut().push(sleeper);
                    })
                })
                .collect();
            for sleeper in sleepers {
                sleeper.await.unwrap();
            }
            Rc::unwrap_or_clone(woken).into_inner()
        })
    }

    #[test]
    fn sleepers_wake_in_the_order_of_their_deadlines() {
        assert_eq!(wake_order(&[40, 10, 30, 20]), [1, 3, 2, 0]);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn equal_deadlines_wake_in_the_order_of_arrival() {
        assert_eq!(wake_order(&[15, 15, 5, 15]), [2, 0, 1, 3]);
    }

    #[test]
    fn a_deadline_that_has_passed_is_no_wait() {
        assert_eq!(wake_order(&[-5, 0, 1]), [0, 1, 2]);
    }

    #[test]
    fn a_chain_of_deadlines_does_not_drift() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let clock = SystemClock::start();
            let timer = Timer::new(clock).unwrap();
            tokio::task::spawn_local(timer.clone().run());
            let mut due = clock.now();
            for _ in 0..200 {
                due += Nanos(100_000);
                timer.sleep_until(due).await.unwrap();
                assert!(clock.now() >= due);
            }
        });
    }

    #[test]
    fn a_wait_given_up_does_not_hold_back_others() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let clock = SystemClock::start();
            let timer = Timer::new(clock).unwrap();
            tokio::task::spawn_local(timer.clone().run());
            let start = clock.now();
            tokio::select! {
                biased;
                woken = timer.sleep_until(start + Nanos::from_millis(60_000)) => panic!("woke early: {woken:?}"),
                woken = timer.sleep_until(start + Nanos::from_millis(2)) => woken.unwrap(),
            }
            timer.sleep_until(start + Nanos::from_millis(4)).await.unwrap();
            assert!(clock.now() >= start + Nanos::from_millis(4));
        });
    }
}
