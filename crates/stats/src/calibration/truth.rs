//! Computes the true times from a server's log, with the same statistics as those of a client's records, so that the two can be
//! compared.

use crate::distribution::{Distribution, Sampler};
use crate::metrics::Metric;
use streamgauge_core::Nanos;

/// The true times. Instants are nanoseconds since 1970.
#[derive(Clone, Debug, PartialEq)]
pub struct Truth {
    /// The time from each request's arrival to the write of its first token, in ms.
    pub ttft: Distribution,
    /// The times between tokens, pooled over requests, in ms.
    pub gaps: Distribution,
    /// For each request, the time between its first and last write of output, divided by the tokens written after the first event,
    /// in ms.
    pub tokens_apart: Distribution,
    /// When each request arrived, in the order in which they were added.
    pub arrivals: Vec<i64>,
    /// The number of tokens written.
    pub tokens: u64,
    /// The time of the last write.
    pub last_write: i64,
}

/// Collects a server's log, request by request.
#[derive(Debug)]
pub struct TruthSampler {
    ttft: Sampler,
    gaps: Sampler,
    tokens_apart: Sampler,
    arrivals: Vec<i64>,
    tokens: u64,
    last_write: i64,
}

impl Default for TruthSampler {
    fn default() -> TruthSampler {
        TruthSampler {
            ttft: Sampler::of(Metric::TimeToFirstToken),
            gaps: Sampler::of(Metric::InterChunkLatency),
            tokens_apart: Sampler::of(Metric::InterTokenLatency),
            arrivals: Vec::new(),
            tokens: 0,
            last_write: i64::MIN,
        }
    }
}

impl TruthSampler {
    /// Adds a request: its arrival, each write with its number of output events, and the total number of tokens.
    pub fn add(&mut self, received: i64, writes: &[(i64, u32)], output_tokens: u32) {
        self.arrivals.push(received);
        if let Some(apart) = tokens_apart(writes, output_tokens) {
            self.tokens_apart.add_nanos(apart);
        }
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

    /// Returns the statistics, or `None` if no answer had two tokens.
    pub fn close(self) -> Option<Truth> {
        Some(Truth {
            ttft: self.ttft.close()?,
            gaps: self.gaps.close()?,
            tokens_apart: self.tokens_apart.close()?,
            arrivals: self.arrivals,
            tokens: self.tokens,
            last_write: self.last_write,
        })
    }
}

/// The time per token after the first event, which is assumed to hold an equal share of the tokens.
fn tokens_apart(writes: &[(i64, u32)], output_tokens: u32) -> Option<Nanos> {
    let output = || writes.iter().filter(|(_, events)| *events > 0);
    let (&(first, _), &(last, _)) = (output().next()?, output().next_back()?);
    let events: u32 = writes.iter().map(|(_, events)| events).sum();
    let later = f64::from(output_tokens) * (1.0 - 1.0 / f64::from(events));
    (later > 0.0).then(|| Nanos(((last - first) as f64 / later) as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_of_two_events_is_a_gap_of_nothing() {
        let mut sampler = TruthSampler::default();
        let ms = 1_000_000;
        sampler.add(5 * ms, &[(6 * ms, 0), (8 * ms, 1), (10 * ms, 2), (11 * ms, 0)], 6);
        sampler.add(0, &[(7 * ms, 1), (9 * ms, 1)], 2);
        let truth = sampler.close().unwrap();
        assert_eq!((truth.ttft.count, truth.ttft.min, truth.ttft.max), (2, 3.0, 7.0));
        assert_eq!((truth.gaps.count, truth.gaps.min, truth.gaps.max), (3, 0.0, 2.0));
        // Four of six tokens came in the 2 ms after the first event's two, and one of two in 2 ms.
        assert_eq!((truth.tokens_apart.min, truth.tokens_apart.max), (0.5, 2.0));
        assert_eq!((truth.arrivals, truth.tokens, truth.last_write), (vec![5 * ms, 0], 5, 11 * ms));
    }

    #[test]
    fn an_account_without_tokens_is_no_truth() {
        let mut sampler = TruthSampler::default();
        sampler.add(1, &[(2, 1)], 1);
        assert_eq!(sampler.close(), None);
    }
}
