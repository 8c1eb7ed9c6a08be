//! All limits of the fidelity rows, each with its reason. `streamgauge calibrate` tests them against a server
//! whose true times are known; `docs/calibrate.md` and `docs/fidelity.md` describe what was changed as a result.

use streamgauge_core::Nanos;

/// The confidence that the interval of a printed percentile must reach: the customary 95 %.
pub const INTERVAL_CONFIDENCE: f64 = 0.95;

/// The minimum number of values for the interval of a mean. With 150 values, an event that affects one request in fifty, such as a wait
/// in a queue, is seen with 95 % probability (ln 0.05 / ln 0.98 = 148). An interval from fewer values that missed it would be too low and too narrow.
pub const MEAN_VALUES: u64 = 150;
/// The minimum effective number of independent values (or of integrated autocorrelation times) of a run whose values depend on each other.
/// It is one and a half times the fifty after which `emcee` trusts its estimate (Foreman-Mackey et al. 2013). With fewer, runs that by
/// chance show little of their dependence would get intervals that are far too narrow: in simulations of queues one run in nine
/// had a wrong interval with fifty, and one in seventeen with this value.
pub const EFFECTIVE_VALUES: f64 = 75.0;
/// Values count as dependent if the inflation of their variance exceeds 1 + `DEPENDENT_SPREAD` / √n, clamped to the range from
/// `DEPENDENT_LEAST` to `DEPENDENT_MOST`. Runs of independent values exceed it by chance in fewer than one in ten cases with a hundred values,
/// and in fewer than one in a hundred cases with three hundred.
pub const DEPENDENT_SPREAD: f64 = 10.0;
/// See `DEPENDENT_SPREAD`. A variance that is less than half larger changes the width of an interval by a fifth at most.
pub const DEPENDENT_LEAST: f64 = 1.5;
/// See `DEPENDENT_SPREAD`. Only runs with so few values that just the median has an interval would allow more.
pub const DEPENDENT_MOST: f64 = 4.0;

/// Share of output events whose stamp may be wrong because they shared a late read. Up to this share they cannot affect percentiles
/// below p99.
pub const SHARED_GOOD: f64 = 0.01;
/// Above this share they affect p90 too, and with it the figures for which most reports are read.
pub const SHARED_DEGRADED: f64 = 0.10;
/// The lag from which a shared read counts as late, as a share of its stream's gap. All bytes that wait in a late read get the newest
/// stamp, so the observed lag is only the time since the last of them: in a steady stream it lies
/// between 0 and one gap, however late the client was. A twentieth misses one late read in twenty. A quarter
/// missed one in four, and since a stall delays all streams alike, whole stalls were missed, one of them with 20 ms of TTFT p99.
pub const LATE_SHARE_OF_GAP: f64 = 0.05;
/// If a twentieth of the gap is less than the lag of a punctual client (`LATE_WITHOUT_GAP`), that lag is the limit, but never more than
/// this share of the gap, so that at most a quarter of the late reads is missed.
pub const LATE_SHARE_OF_SHORT_GAP: f64 = 0.25;
/// The limit if no time passed between sending and the events, so that no gap is known: the error of p99 that
/// kernel stamps are meant to stay below.
pub const LATE_WITHOUT_GAP: Nanos = Nanos(100_000);

/// If a late client would have read all bursts of a stream this quickly with less than this probability, the bursts count as written at once by
/// the server. One in a thousand streams that a late client spoiled is therefore mistaken for one of a bursting server.
pub const QUICK_BY_CHANCE: f64 = 1e-3;

/// The relative amount by which a p99 may be too high because of late reads. One percent is less than runs differ anyway. The limits
/// above do not ensure it: 0.2 % of events in late reads are a fifth of the values on which a p99 rests, and moved one by 6 %.
pub const LATE_TAIL_GOOD: f64 = 0.01;

/// The share of TTFT p99 caused by the opening burst from which a warm-up is recommended. Runs differ by a tenth by
/// chance.
pub const OPENING_BURST: f64 = 0.10;

/// Two events count as arriving together if their stamps differ by less than this share of the stream's mean gap: an event that follows
/// another after a tenth of the usual time was not produced after it but sent with it. The mean is used because bundling does not change it;
/// the median gap of a bundled stream is almost zero.
pub const TOGETHER_SHARE_OF_GAP: f64 = 0.10;
/// The absolute limit for events that arrive together; without it, a stream with one long stall would look bundled from end to end. A bundle that
/// the network splits into segments arrives within tens of microseconds, and no model produces two tokens that fast.
pub const TOGETHER: Nanos = Nanos(100_000);
/// Share of output events that arrived together with the previous one. That share of the gaps is zero, and at most the same share is too long
/// because it spans several tokens. Up to this limit the gaps from p10 to p90 therefore belong to single tokens.
pub const TOGETHER_GOOD: f64 = 0.10;

/// Share of successful requests with a stamp earlier than the previous one. As for shared reads, they cannot affect a
/// percentile below p99 up to this limit.
pub const BACKWARD_GOOD: f64 = 0.01;
/// The same limit as for shared reads.
pub const BACKWARD_DEGRADED: f64 = 0.10;

/// Mean turnaround as a share of mean latency. Concurrency and throughput are lower than requested by this share.
/// One percent is less than runs differ anyway.
pub const TURNAROUND_GOOD: f64 = 0.01;
/// Five percent is a difference from which people draw conclusions.
pub const TURNAROUND_DEGRADED: f64 = 0.05;

/// Lateness of sending at p99. Up to a millisecond the arrivals follow the plan at any rate
/// that one machine sends to a model, and times to first token differ by more from run to run.
pub const SEND_LATENESS_GOOD: Nanos = Nanos::from_millis(1);
/// Ten milliseconds is the duration of a short time to first token. Beyond it the client determines the arrivals and the queues that they
/// cause.
pub const SEND_LATENESS_DEGRADED: Nanos = Nanos::from_millis(10);

/// Mean latency as a share of the total length of the windows. Streams in step end in waves that are one latency apart, and
/// one wave more or less in the windows changes throughput by this share. As for turnaround, five percent is a difference from which
/// people draw conclusions.
pub const WINDOW_LATENCY_GOOD: f64 = 0.05;

/// The processor share of the busiest load thread. Above this limit the time spent waiting for the processor grows fast (under a random
/// load of 80 %, four pieces of work are waiting or in progress on average).
pub const CPU_GOOD: f64 = 0.80;
/// Above this limit the thread is saturated, and the run measures the client.
pub const CPU_DEGRADED: f64 = 0.95;

/// Failed requests as a share of finished ones. The figures exclude them, which up to this limit does not affect percentiles
/// below p99.
pub const FAILED_GOOD: f64 = 0.01;
/// Above this limit the figures describe a server that did not work normally.
pub const FAILED_DEGRADED: f64 = 0.10;

/// The maximum number of kinds of failures. It is more than anybody reads, and it bounds memory if a server never sends the same message twice.
pub const FAILURE_KINDS: usize = 200;

/// Share of requests that were cut off at the end of the run. They are the longest ones, so excluding them lowers the
/// highest percentiles first.
pub const CUT_OFF_GOOD: f64 = 0.01;

/// Share of successful requests with parts that could not be parsed. As for failed requests, they cannot affect a percentile below p99 up to
/// this limit.
pub const UNREADABLE_GOOD: f64 = 0.01;
/// Unparsed parts that may have contained output, as a share of those and of output events. Above this share p90 of
/// the gaps between events may consist of gaps that are too long, as for shared reads.
pub const UNREADABLE_DEGRADED: f64 = 0.10;

/// Share of successful requests without any output. They are the fastest ones, and up to this limit they do not affect
/// percentiles above p1.
pub const EMPTY_GOOD: f64 = 0.01;

/// Share of requests that were sent again because their kept connection turned out to be closed. Their latencies include the lost
/// attempt.
pub const RETRIED_GOOD: f64 = 0.01;

/// Share of answers that were complete before their bodies ended. Up to this limit the longer wait of clients that read bodies to their ends does
/// not affect percentiles below p99.
pub const LATE_BODIES_GOOD: f64 = 0.01;

/// Mean difference between output length and requested length, as a share of the latter. A difference
/// of this size changes latency by no more than ordinary noise between runs.
pub const LENGTH_GOOD: f64 = 0.05;

/// The server's count and the client's disagree if they differ by more than this share of the server's count. One stray
/// token in a text of fifty is not a disagreement.
pub const TOKEN_TOLERANCE: f64 = 0.02;
/// Share of compared requests whose counts disagree. With the right tokenizer this happens occasionally for odd texts (bytes that are not valid
/// characters); with the wrong one it happens almost always.
pub const TOKENS_GOOD: f64 = 0.05;

/// The difference between the numbers of output tokens and of events, as a share of events. The time between events differs from the time between
/// tokens by this share, which is less than it varies from run to run. One token of each request is
/// ignored, because many servers count the token that ends the text and send no event for it.
pub const TOKENS_PER_EVENT_GOOD: f64 = 0.05;

/// All tokens count as shown if the number of events, or the client's token count of the text, reaches this share of the server's count. Tokenizers
/// differ by up to a quarter on the same text.
pub const SHOWN_WHOLE: f64 = 0.75;
/// A part of the reasoning counts as shown if the text has this many times the tokens of the answer. The factor allows for different tokenizers and
/// for answers of few tokens.
pub const SHOWN_MORE: f64 = 1.5;
/// If a server does not report reasoning tokens, tokens count as hidden only below this share of its count. A tokenizer that is not the model's may
/// split a text into half as many tokens (Chinese with an older vocabulary), but hardly into a third as many.
pub const HIDDEN_UNSAID: f64 = 1.0 / 3.0;
/// Share of output tokens that were counted and not shown. Up to this limit output token throughput varies more from run to run.
pub const HIDDEN_GOOD: f64 = 0.01;

/// How much the mean of the requests' rates may exceed tokens over time. It does so by a tenth if the rates of the streams vary by a third (deviation
/// over mean). A single stream that arrives in one piece can make the mean arbitrarily large.
pub const RATES_MEAN_GOOD: f64 = 0.10;

/// Share of the prompt tokens that the server had in its cache. A chat template of some tens of tokens in front of prompts of a few
/// hundred is always cached. Above this limit times to first token are those of prompts that are shorter by that share.
pub const CACHED_GOOD: f64 = 0.10;

/// Share of successful requests without the token count that the figures should use. Token rates are
/// wrong by this share.
pub const UNCOUNTED_GOOD: f64 = 0.01;

/// The maximum error (reported minus true) of p50 and p99 of TTFT and of the gaps between tokens with which a calibrated load counts as
/// measured accurately. It is the error of p99 that kernel stamps are meant to stay below, a fiftieth of a gap of 5 ms,
/// and about ten times the delay that the loopback interface adds on a busy machine.
pub const FAITHFUL_ERROR: Nanos = Nanos(100_000);
/// The maximum lateness of the simulated server's own writes at p99, as a share of the gap between tokens. Above it a calibrated
/// point is marked: its load was not the requested one, although its true times are known.
pub const SERVER_LATE_OF_GAP: f64 = 0.25;
/// The same limit for the shortest gaps. No scheduler guarantees less.
pub const SERVER_LATE_LEAST: Nanos = Nanos::from_millis(1);

/// Share of requests whose prompts were not ready in time, up to which no percentile below p99 can rest on them.
pub const PROMPT_WAITS_GOOD: f64 = 0.01;
