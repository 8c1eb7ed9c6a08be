//! Output tokens that the server counts and does not show, which are hidden reasoning. No event carries them, so they are excluded from times between
//! tokens.

use crate::answer::token_source::TokenSource;
use crate::thresholds as limit;
use streamgauge_core::{OutputKind, Record};

/// Returns how many of a request's `count` output tokens, counted by `source`, were shown.
///
/// Counts of events or of the text contain shown tokens only. The server's count may include hidden reasoning. The server's
/// `reasoning_tokens` are believed unless the text shows otherwise: a server may show its reasoning as ordinary text, or
/// a summary of it. If the server does not report them, tokens count as hidden only if both the events and the text are far too few for the
/// server's count, because several tokens may share an event, and a tokenizer that is not the model's may count fewer.
pub(crate) fn shown_tokens(record: &Record, count: u64, source: TokenSource) -> u64 {
    if source != TokenSource::Usage {
        return count;
    }
    let events = (record.chunks.len() as u64).min(count);
    let text = record.text_tokens.map(|tokens| u64::from(tokens).min(count));
    let seen = text.unwrap_or(0).max(events);
    if seen as f64 >= limit::SHOWN_WHOLE * count as f64 {
        return count;
    }
    let reasoning = record.usage.and_then(|usage| usage.reasoning_tokens).filter(|&tokens| tokens > 0);
    let Some(reasoning) = reasoning else {
        let hidden = text.is_some() && (seen as f64) < limit::HIDDEN_UNSAID * count as f64;
        return if hidden { seen } else { count };
    };
    // A server that excludes reasoning from its output count counts no more than the rest.
    let Some(answer) = count.checked_sub(reasoning) else { return count };
    let saw_reasoning = record.chunks.iter().any(|chunk| chunk.kind == OutputKind::Reasoning);
    match text {
        // More text than the answer alone: some of the reasoning, or a summary of it, was shown.
        Some(text) if text as f64 > limit::SHOWN_MORE * answer as f64 => text.max(events),
        Some(_) => answer.max(events),
        None if saw_reasoning => count,
        None => answer.max(events),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use OutputKind::{Reasoning, Text};
    use streamgauge_core::{Chunk, Nanos, Usage};

    /// A record with these events, token counts by the server, and tokens by our tokenizer.
    fn record(count: u64, reasoning: Option<u64>, text: Option<u32>, events: &[(usize, OutputKind)]) -> Record {
        let chunk = |(at, kind)| Chunk { at: Nanos(at), lag: None, shared: false, kind };
        Record {
            chunks: events
                .iter()
                .flat_map(|&(count, kind)| (0..count).map(move |at| (at as i64, kind)))
                .map(chunk)
                .collect(),
            usage: Some(Usage { completion_tokens: Some(count), reasoning_tokens: reasoning, ..Usage::default() }),
            text_tokens: text,
            ..streamgauge_testing::record()
        }
    }

    /// Of a request by usage, with that text and those events.
    fn shown(count: u64, reasoning: Option<u64>, text: Option<u32>, events: &[(usize, OutputKind)]) -> u64 {
        let record = record(count, reasoning, text, events);
        shown_tokens(&record, count, TokenSource::Usage)
    }

    #[test]
    fn reasoning_that_is_said_and_not_seen_is_hidden() {
        assert_eq!(shown(108, Some(100), Some(8), &[(8, Text)]), 8);
        assert_eq!(shown(108, Some(100), None, &[(8, Text)]), 8);
        // A tokenizer that is not the model's counts somewhat otherwise: the server's own count of the answer stands.
        assert_eq!(shown(108, Some(100), Some(10), &[(8, Text)]), 8);
        // Four tokens an event.
        assert_eq!(shown(140, Some(100), Some(39), &[(10, Text)]), 40);
        // All of it was reasoning, and yet something was shown.
        assert_eq!(shown(100, Some(100), Some(3), &[(2, Text)]), 3);
    }

    #[test]
    fn reasoning_that_is_seen_is_not_hidden() {
        assert_eq!(shown(108, Some(100), Some(108), &[(100, Reasoning), (8, Text)]), 108);
        assert_eq!(shown(108, Some(100), Some(90), &[(30, Reasoning), (8, Text)]), 108);
        assert_eq!(shown(108, Some(100), None, &[(30, Reasoning), (8, Text)]), 108);
        // As ordinary text, between tags.
        assert_eq!(shown(108, Some(100), Some(110), &[(110, Text)]), 108);
        // A summary of it.
        assert_eq!(shown(108, Some(100), Some(30), &[(20, Reasoning), (8, Text)]), 30);
        assert_eq!(shown(8, Some(100), Some(8), &[(8, Text)]), 8, "reasoning beside the output");
        assert_eq!(shown(8, Some(100), Some(2), &[(2, Text)]), 8, "reasoning beside the output");
        assert_eq!(shown(8, None, Some(8), &[(8, Text)]), 8);
        assert_eq!(shown(8, Some(0), Some(8), &[(8, Text)]), 8);
    }

    #[test]
    fn what_the_server_does_not_say_takes_both_witnesses() {
        assert_eq!(shown(108, None, Some(8), &[(8, Text)]), 8);
        assert_eq!(shown(108, None, Some(8), &[(100, Text)]), 108, "another tokenizer");
        assert_eq!(shown(108, None, Some(100), &[(4, Text)]), 108, "many tokens an event");
        assert_eq!(shown(108, None, Some(50), &[(40, Text)]), 108, "perhaps both");
        assert_eq!(shown(108, None, None, &[(4, Text)]), 108, "no second witness");
    }

    #[test]
    fn other_counts_are_of_what_was_shown() {
        let tokens = |source| {
            let record = record(108, Some(100), Some(8), &[]);
            shown_tokens(&record, 50, source)
        };
        assert_eq!((tokens(TokenSource::Tokenizer), tokens(TokenSource::Chunks)), (50, 50));
    }
}
