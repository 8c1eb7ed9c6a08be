//! The times of answers: those of one request and the gaps within it.

use super::entry::{Better, Entry, Kind, Need, Use, Wait};
use super::figure::Statistic;
use super::figure::{P50, P99};
use crate::answer::Answer;
use streamgauge_core::Nanos;

/// [`Metric::TimeToFirstToken`](super::Metric::TimeToFirstToken).
pub(super) const TIME_TO_FIRST_TOKEN: Entry = Entry {
    key: "time_to_first_token",
    title: "Time To First Token",
    unit: "ms",
    definition: "first output event - sent; reasoning and tool calls are output (GenAI-Perf, AIPerf)",
    kind: Kind::PerRequest(|answer| Some((answer.first? - answer.sent).as_millis_f64())),
    better: Better::Lower,
    needs: &[Need::Tokens, Need::Stream],
    uses: &[
        Use::Console,
        Use::SteadyState,
        Use::GenaiPerf(4),
        Use::GenaiPerf2024(0, "Time to first token (ms)"),
        Use::Limit,
        Use::Await,
        Use::Compare(4, &[P50, P99]),
        Use::Intervals,
        Use::Samples,
        Use::WithFailures(Wait::FirstEvent),
    ],
};

/// [`Metric::TimeToFirstTokenFromDue`](super::Metric::TimeToFirstTokenFromDue).
pub(super) const TIME_TO_FIRST_TOKEN_FROM_DUE: Entry = Entry {
    key: "time_to_first_token_from_due",
    title: "Time To First Token From Due",
    unit: "ms",
    definition: "first output event - when the schedule wanted the request sent (wrk2)",
    kind: Kind::PerRequest(|answer| Some((answer.first? - answer.due()?).as_millis_f64())),
    better: Better::Lower,
    needs: &[Need::Tokens, Need::Stream, Need::Schedule],
    uses: &[
        Use::Console,
        Use::Levels,
        Use::Await,
        Use::Compare(5, &[P50, P99]),
        Use::Intervals,
        Use::WithFailures(Wait::FirstEvent),
    ],
};

/// [`Metric::TimeToSecondToken`](super::Metric::TimeToSecondToken).
pub(super) const TIME_TO_SECOND_TOKEN: Entry = Entry {
    key: "time_to_second_token",
    title: "Time To Second Token",
    unit: "ms",
    definition: "second output event - first, of streams with two or more (GenAI-Perf)",
    kind: Kind::PerRequest(|answer| answer.time_to_second_token().map(Nanos::as_millis_f64)),
    better: Better::Lower,
    needs: &[Need::Tokens, Need::Stream],
    uses: &[Use::Console, Use::GenaiPerf(5), Use::Limit, Use::Await],
};

/// [`Metric::RequestLatency`](super::Metric::RequestLatency).
pub(super) const REQUEST_LATENCY: Entry = Entry {
    key: "request_latency",
    title: "Request Latency",
    unit: "ms",
    definition: "last output event - sent (GenAI-Perf)",
    kind: Kind::PerRequest(|answer| Some((answer.last - answer.sent).as_millis_f64())),
    better: Better::Lower,
    needs: &[],
    uses: &[
        Use::Console,
        Use::SteadyState,
        Use::GenaiPerf(1),
        Use::GenaiPerf2024(2, "Request latency (ms)"),
        Use::Limit,
        Use::Await,
        Use::Compare(7, &[P50, P99]),
        Use::Intervals,
        Use::Samples,
        Use::WithFailures(Wait::LastEvent),
    ],
};

/// [`Metric::RequestLatencyFromDue`](super::Metric::RequestLatencyFromDue).
pub(super) const REQUEST_LATENCY_FROM_DUE: Entry = Entry {
    key: "request_latency_from_due",
    title: "Request Latency From Due",
    unit: "ms",
    definition: "last output event - when the schedule wanted the request sent (wrk2)",
    kind: Kind::PerRequest(|answer| Some((answer.last - answer.due()?).as_millis_f64())),
    better: Better::Lower,
    needs: &[Need::Schedule],
    uses: &[
        Use::Console,
        Use::Levels,
        Use::Await,
        Use::Compare(8, &[P50, P99]),
        Use::Intervals,
        Use::WithFailures(Wait::LastEvent),
    ],
};

/// [`Metric::InterTokenLatency`](super::Metric::InterTokenLatency).
pub(super) const INTER_TOKEN_LATENCY: Entry = Entry {
    key: "inter_token_latency",
    title: "Inter Token Latency",
    unit: "ms",
    definition: "(last output event - first) / (output tokens that were shown - 1), to the nanosecond, one value a \
                     request (GenAI-Perf since 2025, of the tokens in the text)",
    kind: Kind::PerRequest(|answer| answer.inter_token_latency().map(Nanos::as_millis_f64)),
    better: Better::Lower,
    needs: &[Need::Tokens, Need::Stream, Need::ShownTokens],
    uses: &[
        Use::Console,
        Use::SteadyState,
        Use::GenaiPerf(6),
        Use::GenaiPerf2024(1, "Inter token latency (ms)"),
        Use::Limit,
        Use::Await,
        Use::Compare(6, &[P50, P99]),
        Use::Intervals,
        Use::Samples,
    ],
};

/// [`Metric::InterChunkLatency`](super::Metric::InterChunkLatency).
pub(super) const INTER_CHUNK_LATENCY: Entry = Entry {
    key: "inter_chunk_latency",
    title: "Inter Chunk Latency",
    unit: "ms",
    definition: "every gap between neighbouring output events of a stream, pooled over requests (AIPerf)",
    kind: Kind::Pooled(|seen, values| {
        for (gap, at) in seen.answer.into_iter().flat_map(Answer::gaps) {
            values.add_nanos_at(gap, at);
        }
    }),
    better: Better::Lower,
    needs: &[Need::Tokens, Need::Stream],
    uses: &[Use::Console, Use::FirstOfOurs, Use::Intervals, Use::ManyValues],
};

/// [`Metric::OutputTokenThroughputPerUser`](super::Metric::OutputTokenThroughputPerUser).
pub(super) const OUTPUT_TOKEN_THROUGHPUT_PER_USER: Entry = Entry {
    key: "output_token_throughput_per_user",
    title: "Output Token Throughput Per User",
    unit: "tokens/sec/user",
    definition: "1 / inter token latency of the same request (GenAI-Perf since 2025)",
    kind: Kind::PerRequest(|answer| answer.throughput_per_user()),
    better: Better::Higher,
    needs: &[Need::Tokens, Need::Stream, Need::ShownTokens],
    uses: &[Use::Console, Use::GenaiPerf(8), Use::Limit, Use::Await, Use::Compare(3, &[Statistic::Avg, P50])],
};

/// [`Metric::TimeToFirstByte`](super::Metric::TimeToFirstByte).
pub(super) const TIME_TO_FIRST_BYTE: Entry = Entry {
    key: "time_to_first_byte",
    title: "Time To First Byte",
    unit: "ms",
    definition: "first byte of the answer, headers included, - sent (Streamgauge)",
    kind: Kind::PerRequest(|answer| answer.time_to_first_byte().map(Nanos::as_millis_f64)),
    better: Better::Lower,
    needs: &[],
    uses: &[Use::Limit, Use::Await],
};

/// [`Metric::TimeToFirstAnswer`](super::Metric::TimeToFirstAnswer).
pub(super) const TIME_TO_FIRST_ANSWER: Entry = Entry {
    key: "time_to_first_answer",
    title: "Time To First Answer",
    unit: "ms",
    definition: "first text after the reasoning - sent, of streams that began with reasoning \
                     (AIPerf time_to_first_output_token)",
    kind: Kind::PerRequest(|answer| answer.time_to_first_answer().map(Nanos::as_millis_f64)),
    better: Better::Lower,
    needs: &[Need::Tokens, Need::Stream, Need::Reasoning],
    uses: &[Use::Limit],
};
