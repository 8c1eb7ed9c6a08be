//! File descriptors: one at each end of a connection that is in this process, what the rest of the process needs, and the
//! system's limit on them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use streamgauge_core::plan::RunPlan;
use streamgauge_wire::endpoints::spec;

/// The descriptors that the program uses besides those of its load threads. In a run 17 were counted (standard streams, artifacts, the
/// threads that watch signals); some more are open for a moment (files that are read at the end, name look-ups).
const PROGRAM: u64 = 24;
/// The descriptors of a load thread: its polls, wakers and timer.
const THREAD: u64 = 5;
/// The descriptors of two observers of a KServe server, each with a runtime and a connection.
const OBSERVERS: u64 = 12;
/// The descriptors of a simulated server in the process, besides its connections.
const SIMULATED: u64 = 6;

/// Descriptors that a kernel's table is made large enough for before load, where the limit allows it: 128 KiB of memory.
const TABLE: u64 = 16 * 1024;

/// The descriptors that a run of `plan` needs besides its streams. `ends` is the number of ends of each connection that are in this process.
pub(crate) fn others(plan: &RunPlan, ends: u64) -> u64 {
    let observers = if spec(plan.endpoint.kind).capabilities.describes_models { OBSERVERS } else { 0 };
    let simulated = if ends > 1 { SIMULATED } else { 0 };
    PROGRAM + u64::from(plan.transport.threads) * THREAD + observers + simulated
}

/// Raises the process's limit on open files as far as the system allows, and returns it. Returns `None` if the system does not report the
/// limit; it then shows only when it is reached.
#[cfg(unix)]
pub(crate) fn raise_limit() -> Option<u64> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    Some(setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map_or(soft, |()| hard))
}

/// Raises the process's limit on open files; there is none here.
#[cfg(not(unix))]
pub(crate) fn raise_limit() -> Option<u64> {
    None
}

/// The current limit, or `None` if the system does not report it.
#[cfg(unix)]
fn limit() -> Option<u64> {
    use nix::sys::resource::{Resource, getrlimit};
    getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(soft, _)| soft)
}

/// There is none here.
#[cfg(not(unix))]
fn limit() -> Option<u64> {
    None
}

/// The number of streams with `each` descriptors that the current limit allows besides `others`.
pub(crate) fn room(others: u64, each: u64) -> u32 {
    limit().map_or(u32::MAX, |limit| room_within(limit, others, each))
}

/// The number of streams with `each` descriptors that a limit of `limit` allows besides `others`.
pub(crate) fn room_within(limit: u64, others: u64, each: u64) -> u32 {
    u32::try_from(limit.saturating_sub(others) / each.max(1)).unwrap_or(u32::MAX)
}

/// The number of streams that the limit on open files allows, and the number in use. All load threads share it: each slot takes a stream,
/// and so does each connection that is read to its end in the background.
#[derive(Debug)]
pub(crate) struct Budget {
    most: u32,
    taken: AtomicU32,
}

/// One stream of a budget, which is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Taken(Arc<Budget>);

impl Default for Budget {
    /// Room for any number of streams.
    fn default() -> Budget {
        Budget::new(u32::MAX, 0)
    }
}

impl Budget {
    /// Room for `most` streams, of which `taken` are in use for as long as the budget exists.
    pub(crate) fn new(most: u32, taken: u32) -> Budget {
        Budget { most, taken: AtomicU32::new(taken) }
    }

    /// Takes one more stream for as long as the budget exists. Returns whether there was room for it.
    pub(crate) fn take_for_good(&self) -> bool {
        let one_more = |taken: u32| (taken < self.most).then(|| taken + 1);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
    }

    /// Takes one more stream for a while; `None` if there is no room for it.
    pub(crate) fn take(self: &Arc<Budget>) -> Option<Taken> {
        self.take_for_good().then(|| Taken(self.clone()))
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Makes the kernel enlarge the process's table of descriptors for `wanted` of them, and for at least [`TABLE`]. Linux doubles the table
/// when it is full, and in a process with several threads the call that opens that descriptor then waits for about 10 to 20 ms
/// (`synchronize_rcu`). A load thread would send late by that time at 64 connections, 128, 256 and so on.
#[cfg(unix)]
pub(crate) fn grow_table(wanted: u64) {
    use nix::fcntl::{FcntlArg, fcntl};
    let Some(last) = limit().map(|limit| wanted.max(TABLE).min(limit).saturating_sub(1)) else { return };
    let Ok(last) = i32::try_from(last) else { return };
    // If it fails, the table grows later.
    if let Ok(copy) = fcntl(std::io::stderr(), FcntlArg::F_DUPFD_CLOEXEC(last)) {
        let _ = nix::unistd::close(copy);
    }
}

/// There is no such table here.
#[cfg(not(unix))]
pub(crate) fn grow_table(_: u64) {}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_stream_may_take_several() {
        let room_beside_64 = |limit, each| room_within(limit, 64, each);
        assert_eq!(
            [room_beside_64(80, 1), room_beside_64(80, 3), room_beside_64(80, 17), room_beside_64(3, 1)],
            [16, 5, 0, 0]
        );
        assert_eq!(room_beside_64(u64::MAX, 1), u32::MAX);
        let limit = raise_limit().unwrap();
        assert_eq!(room(64, 2), room_within(limit, 64, 2));
    }

    #[test]
    fn a_budget_gives_no_more_than_it_has() {
        let budget = Arc::new(Budget::new(3, 1));
        let (first, second) = (budget.take().unwrap(), budget.take().unwrap());
        assert!(budget.take().is_none());
        drop(first);
        assert!(budget.take_for_good());
        assert!(budget.take().is_none());
        drop(second);
        assert!(budget.take().is_some());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_table_holds_what_is_wanted_and_nothing_stays_open() {
        let size = || {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix("FDSize:")).unwrap();
            line.trim().parse::<u64>().unwrap()
        };
        grow_table(0);
        let expected = TABLE.min(limit().unwrap());
        assert!(size() >= expected, "{} {expected}", size());
        let highest = std::fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| {
            let name = entry.ok()?.file_name();
            name.to_str()?.parse::<u64>().ok()
        });
        assert!(highest.max().unwrap() < expected - 1);
    }
}
