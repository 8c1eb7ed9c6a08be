//! Output tokens that the server counts and does not show, such as hidden reasoning.

use crate::fidelity::{Evidence, FidelityRow, caveat, hundredths, share, share_row};
use crate::thresholds as limit;
use streamgauge_core::{Setting, message};

/// Tokens that were hidden, over a run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HiddenTokens {
    /// Successful requests with any.
    pub requests: u64,
    /// Those tokens.
    pub hidden: u64,
    /// All output tokens of all successful requests.
    pub output: u64,
}

impl HiddenTokens {
    /// Counts one successful request in.
    pub fn add(&mut self, output: u64, shown: u64) {
        self.requests += u64::from(shown < output);
        self.hidden = self.hidden.saturating_add(output.saturating_sub(shown));
        self.output = self.output.saturating_add(output);
    }
}

/// Says which figures are of which tokens where the two differ.
pub(crate) fn hidden_tokens(evidence: &Evidence<'_>) -> Option<FidelityRow> {
    let HiddenTokens { requests, hidden, output } = evidence.hidden;
    let share = share(hidden, output).filter(|_| hidden > 0)?;
    let value =
        format!("{} of {output} output tokens, in {requests} of {} requests", hundredths(share), evidence.counts.ok);
    let row = share_row("hidden_tokens", "Output tokens that were not shown", share, caveat(share, limit::HIDDEN_GOOD));
    Some(FidelityRow { value, ..row }.remedy(
        message!["the server counts reasoning that it does not show: times to first token include it; inter token latency and throughput per user are of the tokens that were shown, output lengths and output token throughput of all (", Setting::TokenCount, " tokenizer counts the shown ones only)"],
    ))
}

impl std::ops::AddAssign for HiddenTokens {
    fn add_assign(&mut self, HiddenTokens { requests, hidden, output }: HiddenTokens) {
        self.requests += requests;
        self.hidden = self.hidden.saturating_add(hidden);
        self.output = self.output.saturating_add(output);
    }
}
