//! How many tokens an answer had, and by whose count.

use crate::answer::shown::shown_tokens;
use crate::answer::token_source::TokenSource;
use crate::thresholds::TOKEN_TOLERANCE;
use serde::{Deserialize, Serialize};
use std::ops::AddAssign;
use streamgauge_core::Record;
use streamgauge_core::plan::TokenCount;

/// Whose counts the figures of a run use, and whether the counts agree. In requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenSources {
    /// Counted by the server's usage.
    pub by_usage: u64,
    /// Counted by our tokenizer.
    pub by_tokenizer: u64,
    /// Counted as one token an output event.
    pub by_chunks: u64,
    /// Without the count that was asked for, and so in no figure that needs one.
    pub missing: u64,
    /// Whose two counts differ by more than [`TOKEN_TOLERANCE`].
    pub disagree: u64,
    /// That have both counts.
    pub compared: u64,
}

impl TokenSources {
    /// Counts one successful request in, whose output tokens were to be counted by `policy`.
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
        if let Some(disagree) = counts_disagree(record) {
            self.compared += 1;
            self.disagree += u64::from(disagree);
        }
    }
}

/// Output tokens that were shown against output events, over the requests whose tokens were counted otherwise than by events.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TokensPerEvent {
    /// Those requests.
    pub requests: u64,
    /// Their output tokens.
    pub tokens: u64,
    /// Their output events.
    pub events: u64,
    /// Sum of the differences between the two, each without its sign and less one.
    pub apart: u64,
}

impl TokensPerEvent {
    /// Counts one successful request in.
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

/// The request's output tokens, and whose count that is; none when the count that was asked for is not there. An answer without
/// output has none: what a server counts there is the token that ends the text.
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

/// The server's count. Zero beside output is none: the server has not counted.
fn usage(record: &Record) -> Option<u64> {
    let count = record.usage.and_then(|usage| usage.completion_tokens);
    count.filter(|&count| count > 0 || record.chunks.is_empty())
}

/// Whether the server's count of what was shown and ours differ by more than the tolerance; none without both, and without output.
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
        let TokenSources { by_usage, by_tokenizer, by_chunks, missing, disagree, compared } = other;
        self.by_usage += by_usage;
        self.by_tokenizer += by_tokenizer;
        self.by_chunks += by_chunks;
        self.missing += missing;
        self.disagree += disagree;
        self.compared += compared;
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
