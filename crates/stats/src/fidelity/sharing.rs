//! Counts events that shared a read, and therefore a stamp, because the client read late. Their order is known, but not their
//! individual times.
//!
//! A server may also write several events at once. Then they arrive together, their common stamp is correct, and the
//! client's lag is small compared with the gaps of the stream. Only if the lag is not small may the events have arrived
//! separately. Events that did arrive together are counted as well: their times are correct, but are not the times at which the model
//! produced the tokens.

use crate::thresholds::{
    LATE_SHARE_OF_GAP, LATE_SHARE_OF_SHORT_GAP, LATE_WITHOUT_GAP, QUICK_BY_CHANCE, TOGETHER, TOGETHER_SHARE_OF_GAP,
};
use streamgauge_core::{Chunk, Nanos};

/// Counts of events over a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sharing {
    /// Output events of successful streams.
    pub events: u64,
    /// Events that shared a late read.
    pub late: u64,
    /// The estimated number of further late events whose lag did not reveal it, in millionths, so that the sum does not depend on the
    /// order of streams.
    pub late_unseen: u64,
    /// Events that shared a read whose lag is unknown.
    pub unknown: u64,
    /// Events that arrived together with the previous one, according to kernel stamps of reads that were not late.
    pub together: u64,
    /// Successful streams.
    pub streams: u64,
    /// Streams whose first event shared a late read with the second: the stamp of the first token is that of the second event or of a
    /// later one.
    pub late_firsts: u64,
    /// The estimated number of further such streams, in millionths.
    pub late_firsts_unseen: u64,
    scratch: Vec<i64>,
}

impl Sharing {
    /// Counts the events of one stream, whose request was sent at `sent`.
    pub fn add(&mut self, chunks: &[Chunk], sent: Nanos) {
        self.events += chunks.len() as u64;
        self.streams += 1;
        // Nearly every stream takes this path: no event shared a read, so neither lateness nor gaps matter.
        if !chunks.iter().any(|chunk| chunk.shared) {
            self.together += together(chunks, |_| false);
            return;
        }
        // A stream that came in one read has no gap. If its events arrived separately, they did so after the request was sent, so
        // their mean gap was at most this long.
        let gap = self.pace(chunks).filter(|&gap| gap > 0).or_else(|| {
            let events = chunks.len() as i64;
            chunks.last().map(|last| (last.at - sent).0 / events)
        });
        let (limit, unseen) = late_limit(gap, shared_reads(chunks));
        let is_late = |chunk: &Chunk| chunk.shared && chunk.lag.is_some_and(|Nanos(lag)| lag as f64 > limit);
        let late = chunks.iter().filter(|chunk| is_late(chunk)).count() as u64;
        self.late += late;
        self.late_unseen += late * unseen;
        self.together += together(chunks, is_late);
        self.unknown += chunks.iter().filter(|chunk| chunk.shared && chunk.lag.is_none()).count() as u64;
        let late_first = chunks.get(1).is_some_and(is_late);
        self.late_firsts += u64::from(late_first);
        self.late_firsts_unseen += u64::from(late_first) * unseen;
    }

    /// Adds the counts of other streams.
    pub fn merge(&mut self, other: &Sharing) {
        let &Sharing {
            events,
            late,
            late_unseen,
            unknown,
            together,
            streams,
            late_firsts,
            late_firsts_unseen,
            scratch: _,
        } = other;
        self.events += events;
        self.late += late;
        self.late_unseen += late_unseen;
        self.unknown += unknown;
        self.together += together;
        self.streams += streams;
        self.late_firsts += late_firsts;
        self.late_firsts_unseen += late_firsts_unseen;
    }

    /// The number of events in late reads, including the estimate.
    pub fn all_late(&self) -> f64 {
        self.late as f64 + self.late_unseen as f64 / 1e6
    }

    /// The number of first tokens in late reads, including the estimate.
    pub fn all_late_firsts(&self) -> f64 {
        self.late_firsts as f64 + self.late_firsts_unseen as f64 / 1e6
    }

    /// The stream's median gap, in nanoseconds, where the gap before a read is divided evenly among the events of the
    /// read. (The median of plain gaps would be zero if most events share reads.) Returns `None` if all events came in one read.
    fn pace(&mut self, chunks: &[Chunk]) -> Option<i64> {
        self.scratch.clear();
        let mut reads = chunks.chunk_by(|_, next| next.shared);
        let mut before = reads.next()?.first()?.at;
        for read in reads {
            let (at, events) = (read.first()?.at, read.len());
            let gap = (at - before).0 / events as i64;
            self.scratch.extend(std::iter::repeat_n(gap, events));
            before = at;
        }
        let middle = self.scratch.len() / 2;
        (!self.scratch.is_empty()).then(|| *self.scratch.select_nth_unstable(middle).1)
    }
}

/// Returns the lag, in nanoseconds, above which a shared read of a stream with this gap counts as late, and how many late reads below that
/// limit there are for each one above it, in millionths. The estimate holds because the lag of a late read is uniform over the gap.
///
/// If `reads` shared reads were late, the probability that none of their lags exceeded the longest one is
/// (longest / gap)^reads. If that is negligible, the server wrote those bursts at once, the
/// client woke up quickly, and none of these reads was late.
fn late_limit(gap: Option<i64>, reads: Reads) -> (f64, u64) {
    let punctual = LATE_WITHOUT_GAP.0 as f64;
    let Some(gap) = gap.filter(|&gap| gap > 0).map(|gap| gap as f64) else { return (punctual, 0) };
    let limit = punctual.min(gap * LATE_SHARE_OF_SHORT_GAP).max(gap * LATE_SHARE_OF_GAP);
    let longest = reads.longest_lag.0.max(0) as f64;
    if reads.count > 1 && longest < gap && reads.count as f64 * (longest / gap).ln() <= QUICK_BY_CHANCE.ln() {
        return (limit.max(longest), 0);
    }
    (limit, (1e6 * limit / (gap - limit)).round() as u64)
}

/// The reads of a stream that returned several events and have a kernel stamp.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Reads {
    count: u64,
    longest_lag: Nanos,
}

fn shared_reads(chunks: &[Chunk]) -> Reads {
    let mut reads = Reads::default();
    for pair in chunks.windows(2).filter(|pair| pair[1].shared) {
        let Some(lag) = pair[1].lag else { continue };
        reads.count += u64::from(!pair[0].shared);
        reads.longest_lag = reads.longest_lag.max(lag);
    }
    reads
}

/// Counts the events of a stream whose stamp is so close to that of the previous event, in the same read or not, that the model did
/// not produce them separately. Events of late reads and events without kernel stamps are excluded, because their arrival times are unknown.
fn together(chunks: &[Chunk], is_late: impl Fn(&Chunk) -> bool) -> u64 {
    let [first, .., last] = chunks else { return 0 };
    let mean = (last.at - first.at).0 as f64 / (chunks.len() - 1) as f64;
    let limit = (mean * TOGETHER_SHARE_OF_GAP).min(TOGETHER.0 as f64);
    let is_near = |pair: &&[Chunk]| {
        let Nanos(gap) = pair[1].at - pair[0].at;
        pair[1].lag.is_some() && gap >= 0 && gap as f64 <= limit && !is_late(&pair[1])
    };
    chunks.windows(2).filter(is_near).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use streamgauge_core::OutputKind;

    /// Reads as (stamp in ms, events, lag in µs).
    fn stream(reads: &[(i64, usize, Option<i64>)]) -> Vec<Chunk> {
        let read = |&(at, events, lag): &(i64, usize, Option<i64>)| {
            (0..events).map(move |index| Chunk {
                at: Nanos::from_millis(at),
                lag: lag.map(|micros| Nanos(micros * 1_000)),
                shared: index > 0,
                kind: OutputKind::Text,
            })
        };
        reads.iter().flat_map(read).collect()
    }

    fn judge(reads: &[(i64, usize, Option<i64>)]) -> (u64, u64, u64) {
        let mut sharing = Sharing::default();
        sharing.add(&stream(reads), Nanos::ZERO);
        (sharing.events, sharing.late, sharing.unknown)
    }

    #[test]
    fn a_late_client_is_seen_although_the_lag_never_reaches_a_gap() {
        // Tokens every 10 ms, a client that comes by every 50 ms: the lag is that of the newest of five.
        let late = judge(&[(30, 1, Some(4_000)), (80, 5, Some(4_000)), (130, 5, Some(3_000)), (180, 5, Some(9_000))]);
        assert_eq!(late, (16, 12, 0));
    }

    #[test]
    fn a_first_token_read_together_with_the_second_is_counted() {
        let mut sharing = Sharing::default();
        sharing.add(&stream(&[(60, 2, Some(4_000)), (70, 1, Some(10)), (80, 1, Some(10))]), Nanos::ZERO);
        sharing.add(&stream(&[(60, 2, Some(100)), (70, 1, Some(10)), (80, 1, Some(10))]), Nanos::ZERO);
        sharing.add(&stream(&[(50, 1, Some(10)), (70, 2, Some(4_000)), (80, 1, Some(10))]), Nanos::ZERO);
        assert_eq!((sharing.streams, sharing.late_firsts, sharing.late), (3, 1, 2));
    }

    #[test]
    fn a_server_that_writes_several_events_at_once_is_not_our_lateness() {
        assert_eq!(judge(&[(30, 5, Some(40)), (80, 5, Some(60)), (130, 5, Some(30))]), (15, 0, 0));
    }

    /// Stamps in µs, each event in a read of its own to which the client came at once.
    fn apart(stamps: &[i64]) -> Vec<Chunk> {
        let chunk = |&at: &i64| Chunk {
            at: Nanos(at * 1_000),
            lag: Some(Nanos(10_000)),
            shared: false,
            kind: OutputKind::Text,
        };
        stamps.iter().map(chunk).collect()
    }

    fn came_together(chunks: &[Chunk]) -> u64 {
        let mut sharing = Sharing::default();
        sharing.add(chunks, Nanos::ZERO);
        sharing.together
    }

    #[test]
    fn events_that_arrived_together_are_counted_in_one_read_and_in_several() {
        assert_eq!(came_together(&stream(&[(30, 5, Some(40)), (80, 5, Some(60)), (130, 5, Some(30))])), 12);
        assert_eq!(came_together(&apart(&[0, 40, 90, 50_000, 50_100, 100_000, 100_101])), 3);
        assert_eq!(came_together(&stream(&[(30, 4, Some(40))])), 3);
        assert_eq!(came_together(&stream(&[(30, 1, Some(40))])), 0);
    }

    #[test]
    fn a_fast_stream_or_one_with_a_stall_is_no_bundle() {
        assert_eq!(came_together(&apart(&[0, 50, 100, 150, 200, 250])), 0);
        assert_eq!(came_together(&apart(&[0, 10_000, 20_000, 9_000_000, 9_010_000])), 0);
    }

    #[test]
    fn late_unknown_and_backward_stamps_are_no_bundle() {
        assert_eq!(came_together(&stream(&[(30, 1, Some(10)), (80, 5, Some(4_000)), (130, 5, Some(4_000))])), 0);
        assert_eq!(came_together(&stream(&[(30, 1, None), (80, 5, None)])), 0);
        assert_eq!(came_together(&apart(&[0, 10_000, 9_990, 20_000])), 0);
        let mut torn = stream(&[(30, 1, Some(10)), (80, 5, Some(4_000))]);
        torn[4].at = Nanos::from_millis(70);
        assert_eq!(came_together(&torn), 0);
    }

    #[test]
    fn a_stall_of_the_server_does_not_hide_late_reads() {
        let reads =
            [(30, 1, Some(0)), (40, 1, Some(0)), (50, 1, Some(0)), (5_000, 1, Some(0)), (5_020, 2, Some(3_000))];
        assert_eq!(judge(&reads), (6, 1, 0));
    }

    #[test]
    fn what_is_late_depends_on_the_gap() {
        let ms = |ms: f64| late_limit(Some((ms * 1e6) as i64), Reads::default());
        assert_eq!(ms(20.0), (1e6, 52_632));
        assert_eq!(ms(2.0), (1e5, 52_632));
        assert_eq!(ms(1.0), (1e5, 111_111));
        assert_eq!(ms(0.1), (25e3, 333_333));
        assert_eq!((late_limit(Some(0), Reads::default()), late_limit(None, Reads::default())), ((1e5, 0), (1e5, 0)));
        let one = [(30, 1, Some(10)), (50, 2, Some(450)), (60, 1, Some(10)), (80, 2, Some(550)), (90, 1, Some(10))];
        assert_eq!(judge(&one), (7, 1, 0));
    }

    #[test]
    fn an_answer_in_one_read_is_judged_by_the_slowest_pace_that_it_could_have_had() {
        // Two events in the 30 ms since it was sent: 15 ms apart at most, of which a twentieth is 0.75 ms.
        assert_eq!(judge(&[(30, 2, Some(740))]), (2, 0, 0));
        assert_eq!(judge(&[(30, 2, Some(760))]), (2, 1, 0));
        // Where that is next to no time, by the lag alone.
        assert_eq!(judge(&[(0, 2, Some(90))]), (2, 0, 0));
        assert_eq!(judge(&[(0, 2, Some(110))]), (2, 1, 0));
    }

    #[test]
    fn bursts_that_were_all_read_soon_after_their_last_event_are_the_servers() {
        let bursts = |lags: &[i64]| -> Vec<(i64, usize, Option<i64>)> {
            lags.iter().zip(1..).map(|(&lag, index)| (8 * index, 8, Some(lag))).collect()
        };
        // Eight events every 8 ms, a millisecond each; a late client's lags would lie anywhere in that millisecond.
        let quick = bursts(&[150, 300, 120, 400, 250, 180, 330, 90]);
        assert_eq!(judge(&quick), (64, 0, 0));
        assert_eq!(came_together(&stream(&quick)), 56);
        let late = bursts(&[150, 900, 120, 400, 650, 180, 830, 90]);
        assert!(judge(&late).1 > 35, "{:?}", judge(&late));
        // Two such reads are no proof: by chance one client in eleven reads them so.
        assert_eq!(judge(&bursts(&[150, 300])).1, 14);
        // One that was late by more than a gap puts all of them in doubt.
        assert_eq!(judge(&bursts(&[150, 300, 120, 400, 250, 180, 330, 2_000])).1, 56);
    }

    #[test]
    fn without_kernel_stamps_lateness_is_unknown() {
        assert_eq!(judge(&[(30, 1, None), (50, 2, None)]), (3, 0, 1));
        assert_eq!(judge(&[]), (0, 0, 0));
    }
}
