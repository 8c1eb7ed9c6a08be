//! What a user got: the tokens of all streams over the time in which they came, beside the mean of each stream's own rate.
//!
//! The mean of rates is GenAI-Perf's Output Token Throughput Per User. A stream that arrives in one go has next to no time between its
//! tokens, and the inverse of next to nothing is as large as chance makes it: a few such streams among a hundred make the mean.
//! Tokens over time is the harmonic mean of the rates, each with the weight of its tokens, and no stream can spoil it.

use crate::fidelity::{Evidence, FidelityRow, Grade, share_row};
use crate::metrics::Metric;
use crate::thresholds::RATES_MEAN_GOOD;
use streamgauge_core::Nanos;

/// Tokens after the first of each stream, and the time in which they came.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Paces {
    tokens: u64,
    nanos: i128,
}

impl Paces {
    /// Counts one stream in that has an inter token latency: its shown tokens but the first, and from first to last output event.
    pub fn add(&mut self, tokens: u64, time: Nanos) {
        self.tokens = self.tokens.saturating_add(tokens);
        self.nanos += i128::from(time.0);
    }

    /// Tokens a second; none where no time passed between them.
    fn rate(self) -> Option<f64> {
        (self.nanos > 0).then(|| self.tokens as f64 / (self.nanos as f64 / 1e9))
    }
}

/// Where the mean of the rates is no rate that a user got.
pub(crate) fn throughput_per_user(evidence: &Evidence<'_>) -> Option<FidelityRow> {
    let mean = evidence.distribution(Metric::OutputTokenThroughputPerUser)?.avg;
    let rate = evidence.paces.rate()?;
    let beyond = Some((mean - rate) / rate).filter(|&beyond| beyond > RATES_MEAN_GOOD)?;
    let row = share_row("throughput_per_user", "Throughput per user", beyond, Grade::Degraded);
    let value =
        format!("{rate:.2} tokens/sec/user, tokens over time; the mean of the requests' own rates is {mean:.2}");
    Some(FidelityRow { value, number: Some(rate), unit: "tokens/sec/user".into(), ..row }.remedy(
        "some streams came in one go or far faster than the rest, and the mean of rates is made of them: compare tokens over time, or \
         the median of output token throughput per user, and not its avg",
    ))
}

impl std::ops::AddAssign for Paces {
    fn add_assign(&mut self, Paces { tokens, nanos }: Paces) {
        self.tokens = self.tokens.saturating_add(tokens);
        self.nanos += nanos;
    }
}
