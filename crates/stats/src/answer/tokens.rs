//! The number of tokens of an answer, and the source of that count.

use crate::answer::shown::shown_tokens;
use crate::answer::token_source::TokenSource;
use crate::thresholds::{SHOWN_WHOLE, TOKEN_TOLERANCE};
use serde::{Deserialize, Serialize};
use std::ops::AddAssign;
use streamgauge_core::Record;
use streamgauge_core::plan::TokenCount;

/// The sources of the token counts that the figures of a run use, and whether the counts agree. All members are numbers of requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenSources {
    /// Requests counted by the server's usage.
    pub by_usage: u64,
    /// Requests counted by the client's tokenizer.
    pub by_tokenizer: u64,
    /// Requests counted as one token per output event.
    pub by_chunks: u64,
    /// Requests without the chosen count, which are therefore excluded from figures that need one.
    pub missing: u64,
    /// Requests whose two counts differ by more than [`TOKEN_TOLERANCE`].
    pub disagree: u64,
    /// Requests with both counts.
    pub compared: u64,
    /// Requests whose tokens the client did not count, because counting was behind and the server's count was there.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub not_compared: u64,
}

impl TokenSources {
    /// Counts one successful request. `policy` is the chosen count.
    pub(crate) fn add(&mut self, record: &Record, policy: TokenCount, source: Option<TokenSource>) {
        if policy == TokenCount::None {
            return;
        }
        match source {
            Some(TokenSource::Chunks) => self.by_chunks += 1,
            Some(TokenSource::Tokenizer) => self.by_tokenizer += 1,
            Some(TokenSource::Usage) => self.by_usage += 1,
            None => self.missing += 1,
        }
        match counts_disagree(record) {
            Some(disagree) => {
                self.compared += 1;
                self.disagree += u64::from(disagree);
            }
            None if policy == TokenCount::Auto && record.text_tokens.is_none() && is_counted_without_text(record) => {
                self.not_compared += 1;
            }
            None => {}
        }
    }
}

/// Compares shown output tokens with output events, over the requests whose tokens were not counted by events.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TokensPerEvent {
    /// The number of those requests.
    pub requests: u64,
    /// Their output tokens.
    pub tokens: u64,
    /// Their output events.
    pub events: u64,
    /// The sum of the absolute differences between the two, each reduced by one.
    pub apart: u64,
}

impl TokensPerEvent {
    /// Counts one successful request.
    pub fn add(&mut self, record: &Record, shown: Option<(u64, TokenSource)>) {
        let Some((tokens, TokenSource::Usage | TokenSource::Tokenizer)) = shown else { return };
        if record.chunks.is_empty() {
            return;
        }
        let events = record.chunks.len() as u64;
        self.requests += 1;
        self.tokens = self.tokens.saturating_add(tokens);
        self.events += events;
        self.apart = self.apart.saturating_add(tokens.abs_diff(events).saturating_sub(1));
    }
}

/// Returns the request's output tokens and the source of the count, or `None` if the chosen count is missing. An answer without
/// output has 0 tokens: a server may count the token that ends the text.
pub fn output_tokens(record: &Record, policy: TokenCount) -> Option<(u64, TokenSource)> {
    let usage = usage(record).map(|count| (count, TokenSource::Usage));
    let tokenizer = record.text_tokens.map(|count| (u64::from(count), TokenSource::Tokenizer));
    let chunks = (record.chunks.len() as u64, TokenSource::Chunks);
    let found = match policy {
        TokenCount::Auto => usage.or(tokenizer).or(Some(chunks)),
        TokenCount::Chunks => Some(chunks),
        TokenCount::Tokenizer => tokenizer,
        TokenCount::Usage => usage,
        TokenCount::None => None,
    };
    match record.chunks.is_empty() {
        true => found.map(|(_, source)| (0, source)),
        false => found,
    }
}

/// Whether the server's count settles how many output tokens a request has, and the events show that all of them were shown: then the text only
/// serves to check that count.
pub fn is_counted_without_text(record: &Record) -> bool {
    let events = record.chunks.len() as f64;
    usage(record).is_some_and(|count| !record.chunks.is_empty() && events >= SHOWN_WHOLE * count as f64)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// The server's count. A count of 0 for an answer with output means that the server did not count.
fn usage(record: &Record) -> Option<u64> {
    let count = record.usage.and_then(|usage| usage.completion_tokens);
    count.filter(|&count| count > 0 || record.chunks.is_empty())
}

/// Whether the server's count of the shown tokens and the client's differ by more than the tolerance. Returns `None` unless both exist and there is output.
fn counts_disagree(record: &Record) -> Option<bool> {
    if record.chunks.is_empty() {
        return None;
    }
    let (server, ours) = (usage(record)?, u64::from(record.text_tokens?));
    let server = shown_tokens(record, server, TokenSource::Usage);
    Some(server.abs_diff(ours) as f64 > TOKEN_TOLERANCE * server as f64)
}

impl AddAssign for TokenSources {
    fn add_assign(&mut self, other: TokenSources) {
        let TokenSources { by_usage, by_tokenizer, by_chunks, missing, disagree, compared, not_compared } = other;
        self.by_usage += by_usage;
        self.by_tokenizer += by_tokenizer;
        self.by_chunks += by_chunks;
        self.missing += missing;
        self.disagree += disagree;
        self.compared += compared;
        self.not_compared += not_compared;
    }
}

impl AddAssign for TokensPerEvent {
    fn add_assign(&mut self, TokensPerEvent { requests, tokens, events, apart }: TokensPerEvent) {
        self.requests += requests;
        self.tokens = self.tokens.saturating_add(tokens);
        self.events += events;
        self.apart = self.apart.saturating_add(apart);
    }
}
