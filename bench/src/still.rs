//! What the machine itself does to a schedule: a loop that does nothing but look at the clock, on the client's processor. No
//! sender can be more even than it.

use crate::Gaps;
use anyhow::{Result, anyhow};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use streamgauge_core::clock::{Clock, Nanos, SystemClock};

/// Dues of the loop: ten seconds of them.
const DUES: i64 = 20_000;
/// Between two of them: 2,000 a second.
const GAP: Nanos = Nanos(500_000);

/// Keeps the loop's dues on processor `cpu`, and says how well that went: CV of the gaps, lateness at p99 and at most in ms.
///
/// # Errors
/// When there is no such processor.
pub fn row(cpu: u32) -> Result<String> {
    let looked = std::thread::spawn(move || looks(cpu)).join().map_err(|_| anyhow!("the loop stopped"))??;
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
fn looks(cpu: u32) -> Result<Vec<i64>> {
    let mut only = CpuSet::new();
    only.set(cpu as usize)?;
    sched_setaffinity(Pid::from_raw(0), &only)?;
    let clock = SystemClock::start();
    let start = clock.now() + GAP;
    let look = |number: i64| loop {
        let now = clock.now();
        if now >= start + Nanos(number * GAP.0) {
            return now.0;
        }
        std::hint::spin_loop();
    };
    Ok((0..DUES).map(look).collect())
}
