//! Flags with a fixed set of names. Their parser returns the engine's own type, so that no second enum mirrors it.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use streamgauge_core::kserve::{Compression, TensorFormat};
use streamgauge_core::load::RampShape;
use streamgauge_core::plan::{Balance, ExportLevel, ModelSelection, Stamps, TokenCount};
use streamgauge_core::sampling::Sampling;
use streamgauge_report::Style;
use streamgauge_report::native::study::Phase;
use streamgauge_stats::Grade;

/// One choice: its name on the command line, its help text, and its value.
pub type Choice<T> = (&'static str, &'static str, T);

/// A parser of the names in `choices`, which the help lists.
pub fn one_of<T>(choices: &'static [Choice<T>]) -> impl TypedValueParser<Value = T>
where
    T: Clone + Send + Sync + 'static,
{
    let names = choices.iter().map(|(name, help, _)| PossibleValue::new(*name).help(*help));
    PossibleValuesParser::new(names).try_map(move |text| {
        let chosen = choices.iter().find(|(name, _, _)| *name == text);
        chosen.map(|(_, _, value)| value.clone()).ok_or("this value is not known")
    })
}

/// How a prompt gets its model.
pub const MODEL_SELECTION: &[Choice<ModelSelection>] =
    &[("round_robin", "In turn", ModelSelection::RoundRobin), ("random", "At random", ModelSelection::Random)];

/// The order in which prompts are taken.
pub const SAMPLING: &[Choice<Sampling>] = &[
    ("sequential", "In their own order, and again from the first", Sampling::Sequential),
    ("shuffle", "Each once in a random order, then each once in another", Sampling::Shuffle),
    ("random", "One at random each time", Sampling::Random),
];

/// How a request gets its server.
pub const BALANCE: &[Choice<Balance>] = &[
    ("round_robin", "In turn", Balance::RoundRobin),
    ("least_in_flight", "The server with the fewest requests in flight", Balance::LeastInFlight),
];

/// Which count of output tokens the figures use.
pub const TOKEN_COUNT: &[Choice<TokenCount>] = &[
    ("auto", "The server's count if it fits the text, otherwise the tokenizer's", TokenCount::Auto),
    ("usage", "The server's count", TokenCount::Usage),
    ("tokenizer", "The tokenizer's count", TokenCount::Tokenizer),
    ("chunks", "One token for each output event", TokenCount::Chunks),
];

/// How much is written about each request.
pub const EXPORT_LEVEL: &[Choice<ExportLevel>] = &[
    ("summary", "Only the summaries", ExportLevel::Summary),
    ("records", "Also a record for each request", ExportLevel::Records),
    ("raw", "Also the bytes of each answer", ExportLevel::Raw),
];

/// Layout of the console's table.
pub const STYLE: &[Choice<Style>] = &[
    ("native", "Streamgauge's own layout", Style::Native),
    ("genai-perf-2024", "GenAI-Perf's layout of 2024", Style::GenaiPerf2024),
    ("genai-perf-2024-early", "GenAI-Perf's first layout", Style::GenaiPerf2024Early),
];

/// The minimum verdict.
pub const GRADE: &[Choice<Grade>] =
    &[("good", "Only a good verdict", Grade::Good), ("degraded", "A good or a degraded verdict", Grade::Degraded)];

/// Where receive stamps come from.
pub const STAMPS: &[Choice<Stamps>] = &[
    ("kernel", "The kernel's receive stamps, if the system has them", Stamps::Kernel),
    ("user", "The time at which the client reads", Stamps::User),
];

/// The shape of a ramp.
pub const RAMP_SHAPE: &[Choice<RampShape>] = &[
    ("linear", "Equal steps in equal times", RampShape::Linear),
    ("exponential", "Equal factors in equal times", RampShape::Exponential),
];

/// How gRPC messages are compressed.
pub const COMPRESSION: &[Choice<Compression>] = &[
    ("none", "No compression", Compression::None),
    ("gzip", "gzip", Compression::Gzip),
    ("deflate", "zlib's format", Compression::Deflate),
];

/// How tensors are written over HTTP.
pub const TENSOR_FORMAT: &[Choice<TensorFormat>] =
    &[("binary", "As bytes", TensorFormat::Binary), ("json", "As JSON", TensorFormat::Json)];

/// The latency that is studied.
pub const PHASE: &[Choice<Phase>] = &[
    ("prefill", "Time to first token over prompt lengths", Phase::Prefill),
    ("generation", "Inter token latency over prompt lengths", Phase::Generation),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_becomes_the_value_of_the_engine() {
        let command =
            || clap::Command::new("x").arg(clap::Arg::new("export").long("export").value_parser(one_of(EXPORT_LEVEL)));
        let matches = command().try_get_matches_from(["x", "--export", "raw"]).unwrap();
        assert_eq!(matches.get_one("export"), Some(&ExportLevel::Raw));
        let refusal = command().try_get_matches_from(["x", "--export", "all"]).unwrap_err().to_string();
        assert!(refusal.contains("[possible values: summary, records, raw]"), "{refusal}");
    }
}
