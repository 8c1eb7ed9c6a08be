//! File descriptors: one at each end of a connection that is in this process, and the system's limit on them.

/// Descriptors that the rest of the process needs.
const OTHERS: u64 = 64;

/// Raises the process's limit on open files as far as the system lets it, and says how high it is then; none where the
/// system does not tell, which will tell it when it is reached.
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

/// Streams of `each` descriptors that the limit as it is leaves room for.
#[cfg(unix)]
pub(crate) fn room(each: u64) -> u32 {
    use nix::sys::resource::{Resource, getrlimit};
    getrlimit(Resource::RLIMIT_NOFILE).map_or(u32::MAX, |(soft, _)| room_within(soft, each))
}

/// Streams that the limit as it is leaves room for.
#[cfg(not(unix))]
pub(crate) fn room(_: u64) -> u32 {
    u32::MAX
}

/// Streams of `each` descriptors that a limit of `limit` leaves room for.
pub(crate) fn room_within(limit: u64, each: u64) -> u32 {
    u32::try_from(limit.saturating_sub(OTHERS) / each.max(1)).unwrap_or(u32::MAX)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_stream_may_take_several() {
        assert_eq!([room_within(80, 1), room_within(80, 3), room_within(80, 17), room_within(3, 1)], [16, 5, 0, 0]);
        assert_eq!(room_within(u64::MAX, 1), u32::MAX);
        let limit = raise_limit().unwrap();
        assert_eq!(room(2), room_within(limit, 2));
    }
}
