//! The ports that the system gives to outgoing connections. Each address and port of a server has the same number of them, and the port of
//! a connection that this client closed stays occupied for a while.

use std::net::IpAddr;
use streamgauge_core::clock::Nanos;

/// How long Linux keeps a connection that this side closed first (TCP_TIMEWAIT_LEN in include/net/tcp.h).
const TIME_WAIT: Nanos = Nanos::from_millis(60_000);
/// From when on a new connection may take its place where that is allowed (tcp_twsk_unique in net/ipv4/tcp_ipv4.c).
const TIME_WAIT_REUSED: Nanos = Nanos::from_millis(1_000);

/// The system's ports for outgoing connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// The number of ports for each address and port.
    pub count: u32,
    /// Which closed connections give theirs back early.
    pub early: Early,
}

/// The connections whose ports become free after a second instead of a minute (`net.ipv4.tcp_tw_reuse`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Early {
    /// All.
    All,
    /// Connections to the loopback interface.
    Loopback,
    /// None.
    None,
}

impl Ports {
    /// Reads the limits of this system, as far as it reports them.
    pub fn of_this_system() -> Option<Ports> {
        let read = |name: &str| std::fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).ok();
        let reserved = read("ip_local_reserved_ports").unwrap_or_default();
        let count = count(&read("ip_local_port_range")?, &reserved)?;
        // Whether a place is free is seen from timestamps.
        let stamped = read("tcp_timestamps").is_none_or(|on| on.trim() != "0");
        Some(Ports { count, early: early(&read("tcp_tw_reuse").unwrap_or_default(), stamped) })
    }

    /// How long a connection to `to` that this side closed keeps its port.
    pub fn kept(&self, to: IpAddr) -> Nanos {
        match self.early {
            Early::All => TIME_WAIT_REUSED,
            Early::Loopback if to.to_canonical().is_loopback() => TIME_WAIT_REUSED,
            Early::Loopback | Early::None => TIME_WAIT,
        }
    }
}

/// Ports in `range` ("first last") without those in `reserved` ("8080,9000-9010").
fn count(range: &str, reserved: &str) -> Option<u32> {
    let mut ends = range.split_whitespace().map(|end| end.parse::<u16>().ok());
    let (first, last) = (ends.next()??, ends.next()??);
    let reserved = reserved.trim().split(',').filter_map(|part| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        Some(from.trim().parse::<u16>().ok()?..=to.trim().parse::<u16>().ok()?)
    });
    let reserved: Vec<_> = reserved.collect();
    let free = (first..=last).filter(|port| !reserved.iter().any(|span| span.contains(port)));
    u32::try_from(free.count()).ok()
}

fn early(reuse: &str, stamped: bool) -> Early {
    match reuse.trim() {
        "1" if stamped => Early::All,
        "2" if stamped => Early::Loopback,
        _ => Early::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_ports_are_not_counted() {
        assert_eq!(count("32768\t60999\n", "\n"), Some(28_232));
        assert_eq!(count("100 109", "8080,101,108-120"), Some(7));
        assert_eq!(count("100 109", "101,101-102"), Some(8));
        assert_eq!((count("9 1", ""), count("", ""), count("1 99999", "")), (Some(0), None, None));
    }

    #[test]
    fn a_closed_connection_keeps_its_port_for_a_minute_or_a_second() {
        let kept = |early, to: &str| Ports { count: 1, early }.kept(to.parse().unwrap());
        assert_eq!(kept(Early::Loopback, "127.0.0.2"), TIME_WAIT_REUSED);
        assert_eq!(kept(Early::Loopback, "::ffff:127.0.0.1"), TIME_WAIT_REUSED);
        assert_eq!(kept(Early::Loopback, "10.0.0.1"), TIME_WAIT);
        assert_eq!(kept(Early::All, "10.0.0.1"), TIME_WAIT_REUSED);
        assert_eq!(kept(Early::None, "127.0.0.1"), TIME_WAIT);
        assert_eq!(
            [early("2\n", true), early("1", true), early("0", true)],
            [Early::Loopback, Early::All, Early::None]
        );
        assert_eq!([early("1", false), early("", true)], [Early::None; 2]);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_system_tells() {
        assert!(Ports::of_this_system().is_some_and(|ports| ports.count > 0));
    }
}
