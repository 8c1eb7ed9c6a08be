//! The throughput that a user gets: the tokens of all streams over the time in which they arrived, compared with the mean of the streams' rates.
//!
//! The mean of rates is GenAI-Perf's Output Token Throughput Per User. A stream that arrives in one piece has almost no time between its
//! tokens, so its rate can be arbitrarily large, and a few such streams among a hundred dominate the mean.
//! Tokens over time is the harmonic mean of the rates weighted by tokens, which no single stream can dominate.

use crate::fidelity::{Evidence, FidelityRow, Grade, share_row};
use crate::metrics::Metric;
use crate::thresholds::RATES_MEAN_GOOD;
use streamgauge_core::Nanos;

/// The tokens after the first of each stream, and the time in which they arrived.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Paces {
    tokens: u64,
    nanos: i128,
}

impl Paces {
    /// Counts one stream with an inter token latency: its shown tokens except the first, and the time from first to last output event.
    pub fn add(&mut self, tokens: u64, time: Nanos) {
        self.tokens = self.tokens.saturating_add(tokens);
        self.nanos += i128::from(time.0);
    }

    /// Tokens per second. Returns `None` if no time passed between them.
    fn rate(self) -> Option<f64> {
        (self.nanos > 0).then(|| self.tokens as f64 / (self.nanos as f64 / 1e9))
    }
}

/// Warns if the mean of the rates is not a rate that users got.
pub(crate) fn throughput_per_user(evidence: &Evidence<'_>) -> Option<FidelityRow> {
    let mean = evidence.distribution(Metric::OutputTokenThroughputPerUser)?.avg;
    let rate = evidence.paces.rate()?;
    let beyond = Some((mean - rate) / rate).filter(|&beyond| beyond > RATES_MEAN_GOOD)?;
    let row = share_row(beyond, Grade::Degraded);
    let value = format!("{rate:.2} tokens/sec/user over all streams; the mean of the per-request rates is {mean:.2}");
    Some(FidelityRow { value, number: Some(rate), unit: "tokens/sec/user".into(), ..row }.remedy(
        "some streams arrived in one piece or far faster than the rest and dominate the mean of rates: compare the figure in this row, \
         or the median of output token throughput per user, and not its avg",
    ))
}

impl std::ops::AddAssign for Paces {
    fn add_assign(&mut self, Paces { tokens, nanos }: Paces) {
        self.tokens = self.tokens.saturating_add(tokens);
        self.nanos += nanos;
    }
}
