//! TPOT, the time per output token of the serving benchmarks of TensorRT-LLM and vLLM.

use super::entry::{Better, Entry, Kind, Need, Use};

/// [`Metric::TimePerOutputToken`](super::Metric::TimePerOutputToken).
///
/// Both tools compute (latency - TTFT) / (output tokens - 1) for each request with more than one output token, and exclude the others
/// (`calculate_metrics` in their `benchmark_serving.py`). Unlike the inter token latency, it counts hidden tokens too,
/// it is not rounded to a nanosecond, and it is 0 for a stream that arrived in one event.
pub(super) const TIME_PER_OUTPUT_TOKEN: Entry = Entry {
    key: "time_per_output_token",
    title: "Time Per Output Token",
    unit: "ms",
    definition: "(last output event - first) / (output tokens - 1), of streams with two or more output tokens \
                 (TensorRT-LLM, vLLM)",
    kind: Kind::PerRequest(|answer| {
        let (tokens, _) = answer.output.filter(|&(tokens, _)| answer.streaming && tokens > 1)?;
        Some((answer.last - answer.first?).as_millis_f64() / (tokens - 1) as f64)
    }),
    better: Better::Lower,
    needs: &[Need::Tokens, Need::Stream, Need::OutputTokens],
    uses: &[Use::Limit, Use::Await],
};
