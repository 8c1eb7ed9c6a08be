//! Measures the machine's own effect on a schedule, with loops that do nothing but keep it, on the client's processor. No sender that
//! uses its processor like such a loop can be more regular.

use crate::Gaps;
use anyhow::{Result, anyhow};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use std::time::Duration;
use streamgauge_core::clock::{Clock, Nanos, SystemClock};

/// Dues of the loop: ten seconds of them.
const DUES: i64 = 20_000;
/// Between two of them: 2,000 a second.
const GAP: Nanos = Nanos(500_000);
/// A loop that sleeps wakes up so long before a due, as the client does.
const EARLY: Nanos = Nanos(50_000);

/// What a loop does between two dues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Between {
    /// It polls the clock, and its processor does nothing else.
    Looks,
    /// It sleeps until shortly before the next due.
    Sleeps,
}

/// Keeps the loop's dues on processor `cpu`, and says how well that went: CV of the gaps, lateness at p99 and at most in ms.
///
/// # Errors
/// When there is no such processor.
pub fn row(cpu: u32, between: Between) -> Result<String> {
    let looked = std::thread::spawn(move || looks(cpu, between)).join().map_err(|_| anyhow!("the loop stopped"))??;
    let mut late: Vec<i64> = (0..).zip(&looked).map(|(number, at)| at - looked[0] - number * GAP.0).collect();
    late.sort_unstable();
    let millis = |nanos: i64| nanos as f64 / 1e6;
    let p99 = late[late.len() * 99 / 100];
    Ok(format!(
        "{:.3} | {:.3} | {:.3}",
        Gaps::of(&looked).variation,
        millis(p99),
        millis(late.last().copied().unwrap_or_default())
    ))
}

/// When each due was first seen to be over.
fn looks(cpu: u32, between: Between) -> Result<Vec<i64>> {
    let mut only = CpuSet::new();
    only.set(cpu as usize)?;
    sched_setaffinity(Pid::from_raw(0), &only)?;
    let clock = SystemClock::start();
    let start = clock.now() + GAP;
    // A sleep may be longer by the kernel's slack for timers, which is 50 µs unless it is told otherwise.
    nix::sys::prctl::set_timerslack(1)?;
    let look = |number: i64| {
        let due = start + Nanos(number * GAP.0);
        let left = due - EARLY - clock.now();
        if between == Between::Sleeps && left > Nanos::ZERO {
            std::thread::sleep(Duration::from_nanos(left.0.unsigned_abs()));
        }
        loop {
            let now = clock.now();
            if now >= due {
                return now.0;
            }
            std::hint::spin_loop();
        }
    };
    Ok((0..DUES).map(look).collect())
}
