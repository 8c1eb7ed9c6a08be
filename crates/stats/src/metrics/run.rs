//! Figures of the whole run: rates and counts.

use super::entry::{Better, Entry, Kind, Need, Use};
use super::figure::Statistic;
use crate::throughput::Flow;

/// [`Metric::OutputTokenThroughput`](super::Metric::OutputTokenThroughput).
pub(super) const OUTPUT_TOKEN_THROUGHPUT: Entry = Entry {
    key: "output_token_throughput",
    title: "Output Token Throughput",
    unit: "tokens/sec",
    definition: "sum of output tokens / (last output event - first sent), successful requests (GenAI-Perf)",
    kind: Kind::Rate(Flow::Tokens),
    better: Better::Higher,
    needs: &[Need::Tokens, Need::OutputTokens],
    uses: &[
        Use::Console,
        Use::GenaiPerf(7),
        Use::Throughput2024(0, "Output token throughput"),
        Use::Await,
        Use::Compare(2, &[Statistic::Avg]),
    ],
};

/// [`Metric::RequestThroughput`](super::Metric::RequestThroughput).
pub(super) const REQUEST_THROUGHPUT: Entry = Entry {
    key: "request_throughput",
    title: "Request Throughput",
    unit: "requests/sec",
    definition: "successful requests / (last output event - first sent) (GenAI-Perf)",
    kind: Kind::Rate(Flow::Requests),
    better: Better::Higher,
    needs: &[],
    uses: &[
        Use::Console,
        Use::GenaiPerf(0),
        Use::Throughput2024(1, "Request throughput"),
        Use::Await,
        Use::Compare(0, &[Statistic::Avg]),
    ],
};

/// [`Metric::RequestGoodput`](super::Metric::RequestGoodput).
pub(super) const REQUEST_GOODPUT: Entry = Entry {
    key: "request_goodput",
    title: "Request Goodput",
    unit: "requests/sec",
    definition: "successful requests that keep every limit / (last output event - first sent); a request \
                     that lacks a limited metric is not good (AIPerf)",
    kind: Kind::Rate(Flow::Good),
    better: Better::Higher,
    needs: &[Need::Limits],
    uses: &[Use::Console, Use::GenaiPerf(2), Use::Await, Use::Compare(1, &[Statistic::Avg])],
};

/// [`Metric::RequestCount`](super::Metric::RequestCount).
pub(super) const REQUEST_COUNT: Entry = Entry {
    key: "request_count",
    title: "Request Count",
    unit: "count",
    definition: "successful requests (GenAI-Perf)",
    kind: Kind::Count(|counts| counts.ok),
    better: Better::Neither,
    needs: &[],
    uses: &[Use::Console, Use::GenaiPerf(3)],
};
