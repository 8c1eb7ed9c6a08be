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
            "the server does not honour min_tokens and ignore_eos, or counts differently; compare output_sequence_length before you compare latencies with other runs"
        ],
        false => message![
            "use ",
            Setting::OutputTokensMeanDeterministic,
            " if the server honours it, so that lengths are comparable"
        ],
    };
    let row = share_row(share, grade);
    Some(FidelityRow { value: format!("{} mean difference", hundredths(share)), ..row }.remedy(remedy))
}

pub(super) fn token_counts(evidence: &Evidence<'_>) -> Option<FidelityRow> {
    let TokenSources { disagree, compared, not_compared, .. } = evidence.tokens;
    let share = share(disagree, compared)?;
    let grade = caveat(share, limit::TOKENS_GOOD);
    let over = hundredths(limit::TOKEN_TOLERANCE);
    let value = format!("{disagree} of {} differ by more than {over}", counted(compared, "request"));
    let value = match not_compared {
        0 => value,
        _ => format!("{value}; a sample, since counting fell behind: {not_compared} were not compared"),
    };
    let row = FidelityRow { value, ..share_row(share, grade) };
    Some(row.remedy(message!["if ", Setting::Tokenizer, " is not the model's own, set it: prompt lengths are off by as much; if it is, the model emits text that does not re-tokenize to the same tokens"]))
}

/// An event is not a token. If their numbers differ, inter chunk latency is not a time per token, and inter token latency counts
/// the tokens of the first event as if they had come after it.
pub(super) fn tokens_per_event(evidence: &Evidence<'_>) -> Option<FidelityRow> {
    let TokensPerEvent { requests, tokens, events, apart } = evidence.tokens_per_event;
    // Tensors without a text have no tokens.
    if tokens == 0 {
        return None;
    }
    let share = share(apart, events).filter(|_| apart > 0)?;
    let mean = tokens as f64 / events as f64;
    // Inter token latency divides by tokens - 1, but the further tokens of the first event took no time.
    let low = (mean - 1.0) / (tokens as f64 / requests as f64 - 1.0);
    let row = text_row(format!("{mean:.2} on average"), caveat(share, limit::TOKENS_PER_EVENT_GOOD));
    let row = FidelityRow { number: Some(mean), unit: "tokens".into(), ..row };
    Some(match mean > 1.0 {
        true => row.remedy(format!(
            "inter chunk latency is per event, not per token; inter token latency is about {} too low if all events carry this many \
             tokens",
            hundredths(low)
        )),
        false => row.remedy("inter chunk latency is per event, not per token; inter token latency is per counted token"),
    })
}

/// Requests without the token count that the figures should use or, under `auto`, with no better count than chunks.
pub(super) fn uncounted(evidence: &Evidence<'_>) -> Option<FidelityRow> {
    let TokenSources { by_chunks, missing, .. } = evidence.tokens;
    let ok = evidence.counts.ok;
    let (count, value) = match evidence.config.token_count {
        TokenCount::Auto => (by_chunks, format!("{by_chunks} of {} counted by chunks", counted(ok, "request"))),
        _ => (missing, format!("{missing} of {} without that count", counted(ok, "request"))),
    };
    let share = share(count, ok).filter(|_| count > 0)?;
    let row = share_row(share, caveat(share, limit::UNCOUNTED_GOOD));
    let remedy = match evidence.config.token_count {
        TokenCount::Usage => {
            message!["the server sent no usage; ", Setting::TokenCount, " auto falls back to the client's tokenizer"]
        }
        _ => message!["the text could not be tokenized; give the model's tokenizer with ", Setting::Tokenizer],
    };
    Some(FidelityRow { value, ..row }.remedy(remedy))
}

/// Names the percentiles with too few values. The reports mark them, so this row is always good.
pub(super) fn samples(evidence: &Evidence<'_>) -> Option<FidelityRow> {
    let printed = Metric::with_use(Use::Samples);
    let least = printed.filter_map(|metric| evidence.distribution(metric)).map(|known| known.count).min()?;
    let short: Vec<String> = PERCENTILES.iter().filter(|&&p| !supports(least, p)).map(|p| format!("p{p}")).collect();
    let value = match short.is_empty() {
        true => format!("{least}, enough for every percentile"),
        false => format!("{least}, too few for {} (marked ~); send more requests", short.join(" ")),
    };
    let means = match least < limit::MEAN_VALUES {
        true => format!("; ±avg needs {}", limit::MEAN_VALUES),
        false => String::new(),
    };
    let value = value + &means;
    let row = text_row(value, Grade::Good);
    Some(FidelityRow { number: Some(least as f64), unit: "requests".into(), ..row })
}
