//! The fidelity row about prompt tokens that the server reports as cached. They are not computed again, so first tokens come sooner.
//!
//! Prefixes that prompts share by design, and the history of a conversation, are cached on purpose. Prompts that a run sends several
//! times, and those that an earlier run with the same seed sent, are not.

use crate::fidelity::{Evidence, FidelityRow, Grade, caveat, hundredths, share, share_row};
use crate::thresholds::CACHED_GOOD;
use streamgauge_core::{Setting, message};

/// Prompt tokens over the successful requests for which the server reported how many were cached, without later turns of conversations.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CachedTokens {
    cached: u64,
    prompt: u64,
}

impl CachedTokens {
    /// Counts one request.
    pub fn add(&mut self, cached: u64, prompt: u64) {
        self.cached = self.cached.saturating_add(cached.min(prompt));
        self.prompt = self.prompt.saturating_add(prompt);
    }
}

/// The share of the prompts that was not computed. If the plan asks for prompts with shared prefixes, any share is good.
pub(crate) fn cached_prompts(evidence: &Evidence<'_>) -> Option<FidelityRow> {
    let CachedTokens { cached, prompt } = evidence.cached;
    let share = share(cached, prompt).filter(|_| cached > 0)?;
    let grade = if evidence.config.shared_prefixes { Grade::Good } else { caveat(share, CACHED_GOOD) };
    let value = format!("{} of {prompt} prompt tokens", hundredths(share));
    let row = share_row(share, grade);
    let computed_in_part = "the server computed only a part of the prompts, so times to first token are shorter. ";
    let (prompts, requests) = (evidence.config.prompts, evidence.counts.requests);
    let remedy = match prompts > 0 && requests > u64::from(prompts) {
        true => message![
            computed_in_part,
            format!("The {prompts} prompts went to {requests} requests: give "),
            Setting::NumPrompts,
            format!(" {requests}, so that each is sent once, or turn the server's prefix cache off"),
        ],
        false => message![
            computed_in_part,
            "Another run with the same seed sends the same prompts: give each run a ",
            Setting::RandomSeed,
            format!(" of its own (this one had {}), empty the cache before it (", evidence.config.seed.0),
            Setting::ResetPrefixCache,
            "), or turn the server's prefix cache off",
        ],
    };
    Some(FidelityRow { value, ..row }.remedy(remedy))
}

impl std::ops::AddAssign for CachedTokens {
    fn add_assign(&mut self, CachedTokens { cached, prompt }: CachedTokens) {
        self.cached = self.cached.saturating_add(cached);
        self.prompt = self.prompt.saturating_add(prompt);
    }
}
