//! The names of all figures: key, title, unit and formula of each. The formulas themselves are in `answer`.

use serde::{Serialize, Serializer};
use std::fmt;

/// A figure that a run yields. The order is the order in which reports show them.
///
/// In the formulas t0 is `sent`, r1 to rk are the stamps of the output events, and O is the number of output tokens
/// by the chosen count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Metric {
    /// r1 - t0.
    #[doc(alias = "TTFT")]
    TimeToFirstToken,
    /// r1 - due, of an open loop.
    TimeToFirstTokenFromDue,
    /// r2 - r1.
    #[doc(alias = "TTST")]
    TimeToSecondToken,
    /// rk - t0.
    RequestLatency,
    /// rk - due, of an open loop.
    RequestLatencyFromDue,
    /// t0 - due, of an open loop, whatever became of the request; until the run was over where it was never sent.
    SendLateness,
    /// (rk - r1) / (O - 1), one value a request.
    #[doc(alias = "ITL")]
    InterTokenLatency,
    /// Every gap between neighbouring output events, pooled over requests.
    InterChunkLatency,
    /// The inverse of the same request's inter token latency.
    OutputTokenThroughputPerUser,
    /// O.
    #[doc(alias = "OSL")]
    OutputSequenceLength,
    /// Tokens of the prompt by our tokenizer.
    #[doc(alias = "ISL")]
    InputSequenceLength,
    /// First byte of the answer, headers included, - t0.
    TimeToFirstByte,
    /// First text that is not reasoning - t0, where reasoning came before it.
    TimeToFirstAnswer,
    /// Tokens of the prompt as the server reports them.
    PromptTokensByServer,
    /// The server's count of the prompt less ours: the chat template.
    TemplateTokens,
    /// Tokens of the prompt that the server had in its cache, as it reports them.
    CachedPromptTokens,
    /// How much later than the kernel this client read an output event, pooled over requests.
    ClientLag,
    /// From the end of a slot's previous reply to t0 in a closed loop: what the client itself took.
    Turnaround,
    /// How long opening a connection took, for the requests that had to.
    ConnectTime,
    /// How long a failed request took to fail, from when it was issued.
    TimeToFailure,
    /// Sum of O over the duration of the run.
    OutputTokenThroughput,
    /// Successful requests over the duration of the run.
    RequestThroughput,
    /// Requests that kept every limit over the duration of the run.
    RequestGoodput,
    /// Successful requests.
    RequestCount,
}

/// What is fixed about a metric.
struct Entry {
    key: &'static str,
    title: &'static str,
    unit: &'static str,
    definition: &'static str,
}

impl Metric {
    /// Every metric, in the order of reports.
    pub const ALL: [Metric; 24] = [
        Metric::TimeToFirstToken,
        Metric::TimeToFirstTokenFromDue,
        Metric::TimeToSecondToken,
        Metric::RequestLatency,
        Metric::RequestLatencyFromDue,
        Metric::SendLateness,
        Metric::InterTokenLatency,
        Metric::InterChunkLatency,
        Metric::OutputTokenThroughputPerUser,
        Metric::OutputSequenceLength,
        Metric::InputSequenceLength,
        Metric::TimeToFirstByte,
        Metric::TimeToFirstAnswer,
        Metric::PromptTokensByServer,
        Metric::TemplateTokens,
        Metric::CachedPromptTokens,
        Metric::ClientLag,
        Metric::Turnaround,
        Metric::ConnectTime,
        Metric::TimeToFailure,
        Metric::OutputTokenThroughput,
        Metric::RequestThroughput,
        Metric::RequestGoodput,
        Metric::RequestCount,
    ];

    /// The name in files and on the command line: `time_to_first_token`.
    pub const fn key(self) -> &'static str {
        self.entry().key
    }

    /// The name in tables: `Time To First Token`.
    pub const fn title(self) -> &'static str {
        self.entry().title
    }

    /// The unit in files: `ms`, `tokens`, `tokens/sec`, `tokens/sec/user`, `requests/sec` or `count`.
    pub const fn unit(self) -> &'static str {
        self.entry().unit
    }

    /// The unit in tables, where GenAI-Perf writes `per sec` for rates of requests.
    pub const fn row_unit(self) -> &'static str {
        match self {
            Metric::RequestThroughput | Metric::RequestGoodput => "per sec",
            _ => self.unit(),
        }
    }

    /// The formula in one line, and whose definition it is.
    pub const fn definition(self) -> &'static str {
        self.entry().definition
    }

    /// Whether it is one number for the whole run rather than a distribution.
    pub const fn is_system(self) -> bool {
        matches!(
            self,
            Metric::OutputTokenThroughput | Metric::RequestThroughput | Metric::RequestGoodput | Metric::RequestCount
        )
    }

    /// Whether it counts from when the schedule wanted the request sent rather than from when it was.
    pub const fn is_from_due(self) -> bool {
        matches!(self, Metric::TimeToFirstTokenFromDue | Metric::RequestLatencyFromDue | Metric::SendLateness)
    }

    /// The metric of that key.
    pub fn from_key(key: &str) -> Option<Metric> {
        Metric::ALL.into_iter().find(|metric| metric.key() == key)
    }

    const fn entry(self) -> Entry {
        match self {
            Metric::TimeToFirstToken => Entry {
                key: "time_to_first_token",
                title: "Time To First Token",
                unit: "ms",
                definition: "first output event - sent; reasoning and tool calls are output (GenAI-Perf, AIPerf)",
            },
            Metric::TimeToFirstTokenFromDue => Entry {
                key: "time_to_first_token_from_due",
                title: "Time To First Token From Due",
                unit: "ms",
                definition: "first output event - when the schedule wanted the request sent (wrk2)",
            },
            Metric::TimeToSecondToken => Entry {
                key: "time_to_second_token",
                title: "Time To Second Token",
                unit: "ms",
                definition: "second output event - first, of streams with two or more (GenAI-Perf)",
            },
            Metric::RequestLatency => Entry {
                key: "request_latency",
                title: "Request Latency",
                unit: "ms",
                definition: "last output event - sent (GenAI-Perf)",
            },
            Metric::RequestLatencyFromDue => Entry {
                key: "request_latency_from_due",
                title: "Request Latency From Due",
                unit: "ms",
                definition: "last output event - when the schedule wanted the request sent (wrk2)",
            },
            Metric::SendLateness => Entry {
                key: "send_lateness",
                title: "Send Lateness",
                unit: "ms",
                definition: "sent, or the run's end for one never sent, - when the schedule wanted it sent; of all requests, \
                             failed ones too (Streamgauge)",
            },
            Metric::InterTokenLatency => Entry {
                key: "inter_token_latency",
                title: "Inter Token Latency",
                unit: "ms",
                definition: "(last output event - first) / (output tokens that were shown - 1), to the nanosecond, one value a \
                             request (GenAI-Perf since 2025, of the tokens in the text)",
            },
            Metric::InterChunkLatency => Entry {
                key: "inter_chunk_latency",
                title: "Inter Chunk Latency",
                unit: "ms",
                definition: "every gap between neighbouring output events of a stream, pooled over requests (AIPerf)",
            },
            Metric::OutputTokenThroughputPerUser => Entry {
                key: "output_token_throughput_per_user",
                title: "Output Token Throughput Per User",
                unit: "tokens/sec/user",
                definition: "1 / inter token latency of the same request (GenAI-Perf since 2025)",
            },
            Metric::OutputSequenceLength => Entry {
                key: "output_sequence_length",
                title: "Output Sequence Length",
                unit: "tokens",
                definition: "output tokens, reasoning and tool calls included, by the count chosen (GenAI-Perf)",
            },
            Metric::InputSequenceLength => Entry {
                key: "input_sequence_length",
                title: "Input Sequence Length",
                unit: "tokens",
                definition: "tokens of the prompt's text by our tokenizer, no special or template tokens (GenAI-Perf)",
            },
            Metric::TimeToFirstByte => Entry {
                key: "time_to_first_byte",
                title: "Time To First Byte",
                unit: "ms",
                definition: "first byte of the answer, headers included, - sent (Streamgauge)",
            },
            Metric::TimeToFirstAnswer => Entry {
                key: "time_to_first_answer",
                title: "Time To First Answer",
                unit: "ms",
                definition: "first text after the reasoning - sent, of streams that began with reasoning \
                             (AIPerf time_to_first_output_token)",
            },
            Metric::PromptTokensByServer => Entry {
                key: "prompt_tokens_by_server",
                title: "Prompt Tokens By Server",
                unit: "tokens",
                definition: "prompt_tokens of the server's usage (AIPerf usage_prompt_tokens)",
            },
            Metric::TemplateTokens => Entry {
                key: "template_tokens",
                title: "Template Tokens",
                unit: "tokens",
                definition: "prompt tokens by the server - input sequence length (Streamgauge)",
            },
            Metric::CachedPromptTokens => Entry {
                key: "cached_prompt_tokens",
                title: "Cached Prompt Tokens",
                unit: "tokens",
                definition: "tokens of the prompt that the server had in its cache, by its usage \
                             (AIPerf usage_prompt_cache_read_tokens)",
            },
            Metric::ClientLag => Entry {
                key: "client_lag",
                title: "Client Lag",
                unit: "ms",
                definition: "this client's read of an output event - its receipt by the kernel, pooled over requests; \
                             in no other figure (Streamgauge)",
            },
            Metric::Turnaround => Entry {
                key: "turnaround",
                title: "Turnaround",
                unit: "ms",
                definition: "sent - end of the slot's previous reply, in a closed loop (Streamgauge)",
            },
            Metric::ConnectTime => Entry {
                key: "connect_time",
                title: "Connect Time",
                unit: "ms",
                definition: "address, TCP and TLS, of the requests that opened a connection; before sent, so in no latency \
                             but those from due (Streamgauge)",
            },
            Metric::TimeToFailure => Entry {
                key: "time_to_failure",
                title: "Time To Failure",
                unit: "ms",
                definition: "when a failed request was given up - when it was issued (Streamgauge)",
            },
            Metric::OutputTokenThroughput => Entry {
                key: "output_token_throughput",
                title: "Output Token Throughput",
                unit: "tokens/sec",
                definition: "sum of output tokens / (last output event - first sent), successful requests (GenAI-Perf)",
            },
            Metric::RequestThroughput => Entry {
                key: "request_throughput",
                title: "Request Throughput",
                unit: "requests/sec",
                definition: "successful requests / (last output event - first sent) (GenAI-Perf)",
            },
            Metric::RequestGoodput => Entry {
                key: "request_goodput",
                title: "Request Goodput",
                unit: "requests/sec",
                definition: "successful requests that keep every limit / (last output event - first sent); a request \
                             that lacks a limited metric is not good (AIPerf)",
            },
            Metric::RequestCount => Entry {
                key: "request_count",
                title: "Request Count",
                unit: "count",
                definition: "successful requests (GenAI-Perf)",
            },
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key())
    }
}

impl Serialize for Metric {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.key())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_lists_each_metric_once_in_its_order() {
        assert!(Metric::ALL.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(Metric::ALL[23], Metric::RequestCount);
    }

    #[test]
    fn a_key_leads_back_to_its_metric() {
        for metric in Metric::ALL {
            assert_eq!(Metric::from_key(metric.key()), Some(metric));
            assert_eq!(metric.title().to_lowercase().replace(' ', "_"), metric.key());
        }
        assert_eq!(Metric::from_key("ttft"), None);
    }

    #[test]
    fn units_of_rows_follow_genai_perf() {
        assert_eq!(
            (Metric::RequestThroughput.unit(), Metric::RequestThroughput.row_unit()),
            ("requests/sec", "per sec")
        );
        assert_eq!(Metric::OutputTokenThroughputPerUser.row_unit(), "tokens/sec/user");
    }
}
