//! Fidelity rows about numbers of tokens and numbers of samples.

use crate::answer::tokens::{TokenSources, TokensPerEvent};
use crate::distribution::{PERCENTILES, supports};
use crate::fidelity::{Evidence, FidelityRow, Grade, caveat, counted, hundredths, share, share_row, text_row};
use crate::metrics::{Metric, Use};
use crate::thresholds as limit;
use streamgauge_core::plan::TokenCount;
use streamgauge_core::{Setting, message};

pub(super) fn output_length(evidence: &Evidence<'_>) -> Option<FidelityRow> {
    let share = share(evidence.length.difference, evidence.length.asked)?;
    let grade = caveat(share, limit::LENGTH_GOOD);
    let remedy = match evidence.config.output_exact {
        true => message![
            "the server does not honour min_tokens and ignore_eos, or counts otherwise; compare output_sequence_length with other runs before comparing latencies"
        ],
        false => message![
            "add ",
            Setting::OutputTokensMeanDeterministic,
            " where the server honours it, so that lengths are comparable"
        ],
    };
    let row = share_row("output_length", "Output length against requested length", share, grade);
    Some(FidelityRow { value: format!("{} mean difference", hundredths(share)), ..row }.remedy(remedy))
}

pub(super) fn token_counts(evidence: &Evidence<'_>) -> Option<FidelityRow> {
    let TokenSources { disagree, compared, .. } = evidence.tokens;
    let share = share(disagree, compared)?;
    let grade = caveat(share, limit::TOKENS_GOOD);
    let over = hundredths(limit::TOKEN_TOLERANCE);
    let value = format!("{disagree} of {} differ by over {over}", counted(compared, "request"));
    let row = FidelityRow { value, ..share_row("token_counts", "Token counts, server against client", share, grade) };
    Some(row.remedy(message!["if ", Setting::Tokenizer, " is not the model's own, give that one: prompt lengths are off by as much; if it is, the model emits text that does not re-tokenize to the same tokens"]))
}

/// An event is not a token. Where the two differ in number, inter chunk latency is no time of a token, and the tokens that
/// came with the first event count in inter token latency as if they had come after it.
pub(super) fn tokens_per_event(evidence: &Evidence<'_>) -> Option<FidelityRow> {
    let TokensPerEvent { requests, tokens, events, apart } = evidence.tokens_per_event;
    // Tensors without a text have no tokens to speak of.
    if tokens == 0 {
        return None;
    }
    let share = share(apart, events).filter(|_| apart > 0)?;
    let mean = tokens as f64 / events as f64;
    // Of (tokens - 1) times a token's latency, the first event's other tokens took none.
    let low = (mean - 1.0) / (tokens as f64 / requests as f64 - 1.0);
    let row = text_row(
        "tokens_per_event",
        "Output tokens per event",
        format!("{mean:.2} on average"),
        caveat(share, limit::TOKENS_PER_EVENT_GOOD),
    );
    let row = FidelityRow { number: Some(mean), unit: "tokens".into(), ..row };
    Some(match mean > 1.0 {
        true => row.remedy(format!(
            "inter chunk latency is of events, not of tokens, and inter token latency is {} low if all events have so many \
             tokens",
            hundredths(low)
        )),
        false => row.remedy("inter chunk latency is of events, not of tokens; inter token latency is of tokens as counted"),
    })
}

/// Requests without the count that the figures are meant to use, or under `auto` with no count better than chunks.
pub(super) fn uncounted(evidence: &Evidence<'_>) -> Option<FidelityRow> {
    let TokenSources { by_chunks, missing, .. } = evidence.tokens;
    let ok = evidence.counts.ok;
    let (count, value) = match evidence.config.token_count {
        TokenCount::Auto => (by_chunks, format!("{by_chunks} of {} counted by chunks", counted(ok, "request"))),
        _ => (missing, format!("{missing} of {} without that count", counted(ok, "request"))),
    };
    let share = share(count, ok).filter(|_| count > 0)?;
    let row =
        share_row("uncounted_requests", "Requests without a token count", share, caveat(share, limit::UNCOUNTED_GOOD));
    let remedy = match evidence.config.token_count {
        TokenCount::Usage => {
            message!["the server sent no usage; ", Setting::TokenCount, " auto falls back on our tokenizer"]
        }
        _ => message!["the text could not be counted; give the model's tokenizer with ", Setting::Tokenizer],
    };
    Some(FidelityRow { value, ..row }.remedy(remedy))
}

/// Says which percentiles too few values are behind. The reports mark those, so this lowers no verdict.
pub(super) fn samples(evidence: &Evidence<'_>) -> Option<FidelityRow> {
    let printed = Metric::with_use(Use::Samples);
    let least = printed.filter_map(|metric| evidence.distribution(metric)).map(|known| known.count).min()?;
    let short: Vec<String> = PERCENTILES.iter().filter(|&&p| !supports(least, p)).map(|p| format!("p{p}")).collect();
    let value = match short.is_empty() {
        true => format!("{least}, enough for every percentile"),
        false => format!("{least}, too few for {}: marked ~, send more requests to narrow them", short.join(" ")),
    };
    let means = match least < limit::MEAN_VALUES {
        true => format!("; ±avg takes {}", limit::MEAN_VALUES),
        false => String::new(),
    };
    let value = value + &means;
    let row = text_row("samples", "Samples behind the percentiles", value, Grade::Good);
    Some(FidelityRow { number: Some(least as f64), unit: "requests".into(), ..row })
}
