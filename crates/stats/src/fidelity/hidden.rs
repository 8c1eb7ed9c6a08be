//! The fidelity row about output tokens that the server counts and does not show, such as hidden reasoning.

use crate::fidelity::{Evidence, FidelityRow, caveat, hundredths, share, share_row};
use crate::thresholds as limit;
use streamgauge_core::{Setting, message};

/// Counts hidden tokens over a run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HiddenTokens {
    /// Successful requests with hidden tokens.
    pub requests: u64,
    /// The hidden tokens of those requests.
    pub hidden: u64,
    /// All output tokens of all successful requests.
    pub output: u64,
}

impl HiddenTokens {
    /// Counts one successful request.
    pub fn add(&mut self, output: u64, shown: u64) {
        self.requests += u64::from(shown < output);
        self.hidden = self.hidden.saturating_add(output.saturating_sub(shown));
        self.output = self.output.saturating_add(output);
    }
}

/// Says which figures count all tokens and which only those shown.
pub(crate) fn hidden_tokens(evidence: &Evidence<'_>) -> Option<FidelityRow> {
    let HiddenTokens { requests, hidden, output } = evidence.hidden;
    let share = share(hidden, output).filter(|_| hidden > 0)?;
    let value =
        format!("{} of {output} output tokens, in {requests} of {} requests", hundredths(share), evidence.counts.ok);
    let row = share_row(share, caveat(share, limit::HIDDEN_GOOD));
    Some(FidelityRow { value, ..row }.remedy(
        message!["the server counts reasoning that it does not show: times to first token include it; inter token latency and throughput per user count the shown tokens only, output lengths and output token throughput all of them (", Setting::TokenCount, " tokenizer counts only shown tokens everywhere)"],
    ))
}

impl std::ops::AddAssign for HiddenTokens {
    fn add_assign(&mut self, HiddenTokens { requests, hidden, output }: HiddenTokens) {
        self.requests += requests;
        self.hidden = self.hidden.saturating_add(hidden);
        self.output = self.output.saturating_add(output);
    }
}
