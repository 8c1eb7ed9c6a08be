//! Chooses the server of each request if there are several.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use streamgauge_core::plan::Balance;

/// Gives requests their servers. All load threads share it.
pub(crate) struct Balancer {
    rule: Balance,
    servers: Vec<Server>,
    /// The server after the last one that was taken; the search among equal servers begins here.
    turn: AtomicUsize,
}

#[derive(Default)]
struct Server {
    in_flight: AtomicU32,
    /// A measured request to it has failed.
    failed: AtomicBool,
}

/// A request's claim on its server, for as long as it is in flight.
pub(crate) struct Seat<'a> {
    /// The server's index.
    pub target: usize,
    counted: Option<&'a AtomicU32>,
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.counted.inspect(|in_flight| {
            in_flight.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

impl Balancer {
    pub fn new(rule: Balance, servers: usize) -> Balancer {
        Balancer { rule, servers: (0..servers).map(|_| Server::default()).collect(), turn: AtomicUsize::new(0) }
    }

    /// The server that request number `seq` gets whatever happens; without such a rule the first.
    pub fn by_number(&self, seq: u64) -> usize {
        match self.rule {
            // Smaller than their number.
            Balance::RoundRobin => (seq % self.servers.len().max(1) as u64) as usize,
            Balance::LeastInFlight => 0,
        }
    }

    /// A server for request number `seq`, which is issued now: the one in turn; or the one with the fewest requests in flight,
    /// of several such the next in turn after the server that was taken last. A server that is down is taken only
    /// when all are: it fails at once, has nothing in flight ever, and would get them all.
    pub fn seat(&self, seq: u64, is_down: impl Fn(usize) -> bool) -> Seat<'_> {
        if self.rule == Balance::RoundRobin || self.servers.len() < 2 {
            return Seat { target: self.by_number(seq), counted: None };
        }
        loop {
            let start = self.turn.load(Ordering::Relaxed);
            let in_turn = (0..self.servers.len()).map(|step| start.wrapping_add(step) % self.servers.len());
            let busy =
                in_turn.map(|index| (is_down(index), self.servers[index].in_flight.load(Ordering::Relaxed), index));
            let Some((_, count, target)) = busy.min_by_key(|&(down, count, _)| (down, count)) else {
                return Seat { target: 0, counted: None };
            };
            // Another thread may have taken a place at that server meanwhile. Then the minimum is searched again.
            let in_flight = &self.servers[target].in_flight;
            if in_flight.compare_exchange(count, count + 1, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                self.turn.store(target + 1, Ordering::Relaxed);
                return Seat { target, counted: Some(in_flight) };
            }
        }
    }

    /// Server `target`, which the request goes to whatever else is in flight.
    pub fn seat_at(&self, target: usize) -> Seat<'_> {
        let is_counted = self.rule == Balance::LeastInFlight && self.servers.len() > 1;
        let counted = self.servers.get(target).filter(|_| is_counted).map(|server| &server.in_flight);
        counted.inspect(|in_flight| _ = in_flight.fetch_add(1, Ordering::Relaxed));
        Seat { target, counted }
    }

    /// Notes that a measured request to server `target` failed.
    pub fn note_failure(&self, target: usize) {
        self.servers[target].failed.store(true, Ordering::Relaxed);
    }

    /// Whether a measured request to each of the servers has failed: else one that answers slowly may be well.
    pub fn each_has_failed(&self) -> bool {
        self.servers.iter().all(|server| server.failed.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UP: fn(usize) -> bool = |_| false;

    fn least(servers: usize) -> Balancer {
        Balancer::new(Balance::LeastInFlight, servers)
    }

    #[test]
    fn round_robin_is_arithmetic() {
        let balancer = Balancer::new(Balance::RoundRobin, 3);
        let targets = [0, 1, 2, 3, 7, u64::MAX].map(|seq| balancer.seat(seq, |_| true).target);
        assert_eq!(targets, [0, 1, 2, 0, 1, 0]);
        assert_eq!(Balancer::new(Balance::RoundRobin, 1).seat(5, UP).target, 0);
    }

    #[test]
    fn a_request_that_must_go_to_a_server_counts_there() {
        let balancer = least(2);
        let seat = balancer.seat_at(0);
        assert_eq!((seat.target, balancer.seat(0, UP).target), (0, 1));
        drop(seat);
        assert_eq!(balancer.servers[0].in_flight.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn the_least_busy_is_taken_and_equals_in_turn() {
        let balancer = least(3);
        let mut seats: Vec<Seat<'_>> = (0..4).map(|seq| balancer.seat(seq, UP)).collect();
        assert_eq!(seats.iter().map(|seat| seat.target).collect::<Vec<_>>(), [0, 1, 2, 0]);
        // The second server is free now, the first has two, the third one.
        seats.remove(1);
        let next = balancer.seat(4, UP);
        assert_eq!(next.target, 1);
        // One at the second and third each: after the second comes the third.
        assert_eq!(balancer.seat(5, UP).target, 2);
    }

    #[test]
    fn with_nothing_in_flight_it_is_a_round_robin() {
        let balancer = least(3);
        assert_eq!([0, 1, 2, 3].map(|seq| balancer.seat(seq, UP).target), [0, 1, 2, 0]);
    }

    #[test]
    fn a_server_that_is_down_attracts_nothing_until_all_are() {
        let balancer = least(2);
        let seats: Vec<Seat<'_>> = (0..4).map(|seq| balancer.seat(seq, |index| index == 1)).collect();
        assert!(seats.iter().all(|seat| seat.target == 0));
        assert_eq!(balancer.seat(4, |_| true).target, 1);
    }

    #[test]
    fn threads_leave_no_count_behind_and_keep_the_balance() {
        let balancer = least(4);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1_000).for_each(|seq| drop(balancer.seat(seq, UP))));
            }
        });
        assert!(balancer.servers.iter().all(|server| server.in_flight.load(Ordering::Relaxed) == 0));
        let seats: Vec<Seat<'_>> = (0..8).map(|seq| balancer.seat(seq, UP)).collect();
        assert!(balancer.servers.iter().all(|server| server.in_flight.load(Ordering::Relaxed) == 2));
        drop(seats);
    }

    #[test]
    fn all_must_have_failed() {
        let balancer = least(2);
        balancer.note_failure(1);
        assert!(!balancer.each_has_failed());
        balancer.note_failure(0);
        assert!(balancer.each_has_failed());
    }
}
