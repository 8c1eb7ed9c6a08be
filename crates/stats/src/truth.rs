//! What truly happened, from a server's own account: the same statistics as of a client's records, so that the two can be
//! held against each other.

use crate::distribution::{Distribution, Sampler};
use crate::metric::Metric;
use streamgauge_core::Nanos;

/// What truly happened. Instants are nanoseconds since 1970.
#[derive(Clone, Debug, PartialEq)]
pub struct Truth {
    /// From each request's arrival to the write of its first token, in ms.
    pub ttft: Distribution,
    /// Between tokens, pooled, in ms.
    pub gaps: Distribution,
    /// When each request arrived, in the order in which they were added.
    pub arrivals: Vec<i64>,
    /// Tokens written.
    pub tokens: u64,
    /// When the last write of all was made.
    pub last_write: i64,
}

/// Takes a server's account in, request by request.
#[derive(Debug)]
pub struct TruthSampler {
    ttft: Sampler,
    gaps: Sampler,
    arrivals: Vec<i64>,
    tokens: u64,
    last_write: i64,
}

impl Default for TruthSampler {
    fn default() -> TruthSampler {
        TruthSampler {
            ttft: Sampler::of(Metric::TimeToFirstToken),
            gaps: Sampler::of(Metric::InterChunkLatency),
            arrivals: Vec::new(),
            tokens: 0,
            last_write: i64::MIN,
        }
    }
}

impl TruthSampler {
    /// Takes in a request: when it arrived, and each write with its output events.
    pub fn add(&mut self, received: i64, writes: &[(i64, u32)]) {
        self.arrivals.push(received);
        let mut previous = None;
        for &(at, events) in writes {
            for _ in 0..events {
                match previous.replace(at) {
                    None => self.ttft.add_nanos(Nanos(at) - Nanos(received)),
                    Some(previous) => self.gaps.add_nanos(Nanos(at) - Nanos(previous)),
                }
                self.tokens += 1;
            }
            self.last_write = self.last_write.max(at);
        }
    }

    /// The statistics; none where no answer had two tokens.
    pub fn close(self) -> Option<Truth> {
        Some(Truth {
            ttft: self.ttft.close()?,
            gaps: self.gaps.close()?,
            arrivals: self.arrivals,
            tokens: self.tokens,
            last_write: self.last_write,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_of_two_events_is_a_gap_of_nothing() {
        let mut sampler = TruthSampler::default();
        let ms = 1_000_000;
        sampler.add(5 * ms, &[(6 * ms, 0), (8 * ms, 1), (10 * ms, 2), (11 * ms, 0)]);
        sampler.add(0, &[(7 * ms, 1), (9 * ms, 1)]);
        let truth = sampler.close().unwrap();
        assert_eq!((truth.ttft.count, truth.ttft.min, truth.ttft.max), (2, 3.0, 7.0));
        assert_eq!((truth.gaps.count, truth.gaps.min, truth.gaps.max), (3, 0.0, 2.0));
        assert_eq!((truth.arrivals, truth.tokens, truth.last_write), (vec![5 * ms, 0], 5, 11 * ms));
    }

    #[test]
    fn an_account_without_tokens_is_no_truth() {
        let mut sampler = TruthSampler::default();
        sampler.add(1, &[(2, 1)]);
        assert_eq!(sampler.close(), None);
    }
}
