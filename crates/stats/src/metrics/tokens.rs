//! The numbers of tokens of prompts and answers, by different counts.

use super::entry::{Better, Entry, Kind, Need, Use};

/// [`Metric::OutputSequenceLength`](super::Metric::OutputSequenceLength).
pub(super) const OUTPUT_SEQUENCE_LENGTH: Entry = Entry {
    key: "output_sequence_length",
    title: "Output Sequence Length",
    unit: "tokens",
    definition: "output tokens, reasoning and tool calls included, by the count chosen (GenAI-Perf)",
    kind: Kind::PerRequest(|answer| answer.output.map(|(count, _)| count as f64)),
    better: Better::Neither,
    needs: &[Need::Tokens, Need::OutputTokens],
    uses: &[Use::Console, Use::GenaiPerf(9), Use::GenaiPerf2024(3, "Output sequence length"), Use::Await],
};

/// [`Metric::InputSequenceLength`](super::Metric::InputSequenceLength).
pub(super) const INPUT_SEQUENCE_LENGTH: Entry = Entry {
    key: "input_sequence_length",
    title: "Input Sequence Length",
    unit: "tokens",
    definition: "tokens of the prompt's text by the client's tokenizer, without special and template tokens (GenAI-Perf)",
    kind: Kind::PerRequest(|answer| answer.input_tokens()),
    better: Better::Neither,
    needs: &[Need::Tokens],
    uses: &[Use::Console, Use::GenaiPerf(10), Use::GenaiPerf2024(4, "Input sequence length")],
};

/// [`Metric::PromptTokensByServer`](super::Metric::PromptTokensByServer).
pub(super) const PROMPT_TOKENS_BY_SERVER: Entry = Entry {
    key: "prompt_tokens_by_server",
    title: "Prompt Tokens By Server",
    unit: "tokens",
    definition: "prompt_tokens of the server's usage (AIPerf usage_prompt_tokens)",
    kind: Kind::PerRequest(|answer| answer.prompt_tokens().map(|count| count as f64)),
    better: Better::Neither,
    needs: &[Need::Usage],
    uses: &[],
};

/// [`Metric::TemplateTokens`](super::Metric::TemplateTokens).
pub(super) const TEMPLATE_TOKENS: Entry = Entry {
    key: "template_tokens",
    title: "Template Tokens",
    unit: "tokens",
    definition: "prompt tokens by the server - input sequence length (Streamgauge)",
    kind: Kind::PerRequest(|answer| Some(answer.prompt_tokens()? as f64 - answer.input_tokens()?)),
    better: Better::Neither,
    needs: &[Need::Usage],
    uses: &[],
};

/// [`Metric::CachedPromptShare`](super::Metric::CachedPromptShare).
pub(super) const CACHED_PROMPT_SHARE: Entry = Entry {
    key: "cached_prompt_share",
    title: "Cached Prompt Share",
    unit: "%",
    definition: "cached prompt tokens / prompt tokens by the server, in percent and at most 100 (Streamgauge)",
    kind: Kind::PerRequest(|answer| {
        Some((answer.cached_tokens()? as f64 * 100.0 / answer.prompt_tokens()? as f64).min(100.0))
    }),
    better: Better::Neither,
    needs: &[Need::Usage],
    uses: &[],
};

/// [`Metric::CachedPromptTokens`](super::Metric::CachedPromptTokens).
pub(super) const CACHED_PROMPT_TOKENS: Entry = Entry {
    key: "cached_prompt_tokens",
    title: "Cached Prompt Tokens",
    unit: "tokens",
    definition: "tokens of the prompt that the server had in its cache, by its usage \
                     (AIPerf usage_prompt_cache_read_tokens)",
    kind: Kind::PerRequest(|answer| answer.cached_tokens().map(|count| count as f64)),
    better: Better::Neither,
    needs: &[Need::Usage],
    uses: &[],
};
