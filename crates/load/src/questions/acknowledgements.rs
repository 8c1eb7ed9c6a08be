//! Finds out whether a server holds back the first event of an answer until the client has acknowledged the answer's head.
//!
//! A server that leaves Nagle's algorithm on (RFC 1122, section 4.2.3.4) sends a small write only when everything before it has been
//! acknowledged, and an ordinary client's kernel delays that on a kept connection (`TCP_DELACK_MIN`, 40 ms on Linux). The load
//! acknowledges at once, so its times are the server's own and do not show this. Requests before the load that acknowledge alternately
//! late and at once do. The probe is the first of them.

use super::probe::ProbeError;
use super::waiter::Waiter;
use crate::connection::Acks;
use crate::job::Job;
use crate::pacing::Ticket;
use crate::slot::Slot;
use std::rc::Rc;
use std::sync::Arc;
use streamgauge_core::clock::{Clock, Nanos};
use streamgauge_core::record::{DelayedAcks, Phase, Record};

/// The shortest time from the head to the first event that a delayed acknowledgement explains: Linux waits at least 40 ms, counted
/// in ticks of the kernel, of which the first may be nearly over. The longest tick is 10 ms.
const HELD_LEAST: Nanos = Nanos::from_millis(30);
/// The longest such time: `TCP_DELACK_MAX` of Linux, 200 ms.
const HELD_MOST: Nanos = Nanos::from_millis(200);
/// How far times that one timer made may lie apart: a tick, what the way adds, and a moment in which the machine is busy.
const HELD_SPREAD: Nanos = Nanos::from_millis(20);
/// The minimum time by which acknowledging at once must shorten the wait. Smaller differences occur between first events anyway.
const SHORTER_BY: Nanos = Nanos::from_millis(10);
/// The number of pairs of requests that must agree. If the first events of a server come at random between 10 and 200 ms after the head,
/// one pair in three agrees by chance, and three pairs that also agree with each other are found once in hundreds of runs.
const PAIRS: usize = 3;
/// Pairs that may disagree: one moment in which this machine or the server is busy makes a pair useless.
const STRAYS: usize = 1;

/// How the server's first events depend on acknowledgements, where they do. `probe` is what [`crate::probe`] left behind, which
/// acknowledged late. Where its first event came as late as a held one does, up to seven requests of the same prompt follow.
///
/// # Errors
/// When this machine cannot even try.
pub fn delayed_acks(job: &Arc<Job>, probe: &Record) -> Result<Option<DelayedAcks>, ProbeError> {
    if job.codec.spec().is_grpc() {
        // A record of gRPC does not tell the head from the first message.
        return Ok(None);
    }
    let Some(first) = to_first_event(probe).filter(may_be_held) else { return Ok(None) };
    let (mut pairs, mut late, mut strays) = (Vec::new(), Some(first), 0);
    while pairs.len() < PAIRS && strays <= STRAYS {
        let pair = match late.take() {
            Some(late) => Some(late),
            None => to_first_event(&trial(job, Acks::Delayed)?).filter(may_be_held),
        };
        let pair = match pair {
            Some(late) => to_first_event(&trial(job, Acks::AtOnce)?).map(|at_once| Pair { late, at_once }),
            None => None,
        };
        match pair.filter(Pair::shows_a_wait) {
            Some(pair) => pairs.push(pair),
            None => strays += 1,
        }
    }
    Ok(judged(&pairs))
}

/// The time to the first event where the head was acknowledged late, and where it was acknowledged at once.
#[derive(Clone, Copy, Debug)]
struct Pair {
    late: Nanos,
    at_once: Nanos,
}

impl Pair {
    fn shows_a_wait(&self) -> bool {
        may_be_held(&self.late) && self.at_once + SHORTER_BY <= self.late
    }
}

/// Returns the result of the pairs if there are enough of them and the late times look as if one timer had ended them.
fn judged(pairs: &[Pair]) -> Option<DelayedAcks> {
    let sorted = |time: fn(&Pair) -> Nanos| {
        let mut times: Vec<Nanos> = pairs.iter().map(time).collect();
        times.sort_unstable();
        times
    };
    let (late, at_once) = (sorted(|pair| pair.late), sorted(|pair| pair.at_once));
    let spread = *late.last()? - *late.first()?;
    let enough = pairs.len() >= PAIRS && spread <= HELD_SPREAD;
    enough.then(|| DelayedAcks { late: late[late.len() / 2], at_once: at_once[at_once.len() / 2] })
}

/// From the answer's first byte to the first event of its body, of whatever was answered.
fn to_first_event(record: &Record) -> Option<Nanos> {
    Some(record.first_event? - record.first_byte?)
}

fn may_be_held(time: &Nanos) -> bool {
    (HELD_LEAST..=HELD_MOST).contains(time)
}

/// One request to the first server that ends at its first output, as the probe does.
pub(crate) fn trial(job: &Arc<Job>, acks: Acks) -> Result<Record, ProbeError> {
    Ok(Waiter::new()?.wait(async {
        // Number 0 goes to the first server by either rule.
        let ticket = Ticket::at_once(0, job.clock.now());
        let mut slot = Slot::new(job.clone(), 0, 0, Rc::default(), Rc::default(), Rc::default());
        // A server that counts requests must be done with them before its counters are read.
        if !job.codec.spec().capabilities.describes_models {
            slot.stop_at_first_output();
        }
        slot.set_acks(acks);
        slot.request(&ticket, Phase::Warmup).await.record
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_times_that_a_timer_explains_are_held() {
        let judge = |late: &[i64], at_once: &[i64]| {
            let pairs = late.iter().zip(at_once);
            let pairs = pairs
                .map(|(late, at_once)| Pair { late: Nanos::from_millis(*late), at_once: Nanos::from_millis(*at_once) });
            judged(&pairs.filter(Pair::shows_a_wait).collect::<Vec<_>>())
        };
        let found =
            |late, at_once| Some(DelayedAcks { late: Nanos::from_millis(late), at_once: Nanos::from_millis(at_once) });
        assert_eq!(judge(&[42, 44, 41], &[20, 21, 20]), found(42, 20));
        assert_eq!(judge(&[40, 40, 40], &[30, 0, 1]), found(40, 1));
        // One pair of four met a busy moment.
        assert_eq!(judge(&[42, 44, 41, 43], &[20, 39, 20, 20]), found(42, 20));
        // The server itself takes that long.
        assert_eq!(judge(&[42, 44, 41], &[42, 41, 43]), None);
        assert_eq!(judge(&[42, 44, 41], &[20, 35, 20]), None);
        // Late ones that have nothing in common.
        assert_eq!(judge(&[42, 90, 41], &[20, 20, 20]), None);
        assert_eq!(judge(&[12, 12, 12], &[1, 1, 1]), None);
        assert_eq!(judge(&[400, 400, 400], &[1, 1, 1]), None);
    }
}
