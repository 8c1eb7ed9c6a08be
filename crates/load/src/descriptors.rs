//! File descriptors: a connection each, and the system's limit on them.

use thiserror::Error;

/// Descriptors that the rest of the process needs.
const OTHERS: u64 = 64;

/// The limit is too low for the streams asked for.
#[derive(Debug, Error)]
#[error(
    "--concurrency {streams}: this system allows the process {limit} open files, and each stream takes one; raise the limit (ulimit -Hn) or give at most {most}"
)]
pub struct TooFewDescriptors {
    streams: u32,
    limit: u64,
    most: u64,
}

/// Raises the process's limit on open files as far as the system lets it.
///
/// # Errors
/// When even then it is too low for so many streams at once.
#[cfg(unix)]
pub fn raise_descriptor_limit(streams: u32) -> Result<(), TooFewDescriptors> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    // A system that does not tell its limit will tell it when it is reached.
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return Ok(()) };
    let limit = match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(_) => soft,
    };
    if u64::from(streams) + OTHERS <= limit {
        return Ok(());
    }
    Err(TooFewDescriptors { streams, limit, most: limit.saturating_sub(OTHERS) })
}

/// Raises the process's limit on open files as far as the system lets it.
///
/// # Errors
/// None here.
#[cfg(not(unix))]
pub fn raise_descriptor_limit(_: u32) -> Result<(), TooFewDescriptors> {
    Ok(())
}

/// Connections that the limit as it is leaves room for.
#[cfg(unix)]
pub(crate) fn room() -> u32 {
    use nix::sys::resource::{Resource, getrlimit};
    let room = getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(soft, _)| soft.saturating_sub(OTHERS));
    u32::try_from(room).unwrap_or(u32::MAX)
}

/// Connections that the limit as it is leaves room for.
#[cfg(not(unix))]
pub(crate) fn room() -> u32 {
    u32::MAX
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_few_streams_fit_and_too_many_are_refused_in_a_sentence() {
        assert!(raise_descriptor_limit(1).is_ok());
        if let Err(error) = raise_descriptor_limit(u32::MAX) {
            assert!(error.to_string().starts_with("--concurrency 4294967295: this system allows"), "{error}");
        }
    }
}
