//! Every limit that the fidelity rows are judged by, each with its reason. `streamgauge calibrate` holds them against a server
//! whose true times are known; `docs/calibrate.md` and `docs/fidelity.md` say what that changed.

use streamgauge_core::Nanos;

/// Confidence that a printed percentile's interval must reach with the samples there are: the customary 95 %.
pub const INTERVAL_CONFIDENCE: f64 = 0.95;

/// Fewest values whose mean has an interval. What happens to one request in fifty or more, such as a wait for a place, is then seen
/// with 95 % probability (ln 0.05 / ln 0.98 = 148); an interval of fewer values, in which it was not, is too low and too narrow.
pub const MEAN_VALUES: u64 = 150;
/// Independent values that a run must be worth where its values depend on each other, or so many integrated autocorrelation times: half
/// as many again as the fifty after which `emcee` trusts its estimate (Foreman-Mackey et al. 2013). With fewer, runs that by
/// chance show little of their dependence would have intervals that are far too narrow: of simulated queues one run in nine
/// had a wrong one with fifty, and with this one in seventeen.
pub const EFFECTIVE_VALUES: f64 = 75.0;
/// From which inflation of the variance on values count as dependent: 1 and this over the root of their number, but no less than
/// `DEPENDENT_LEAST` and no more than `DEPENDENT_MOST`. Of independent values fewer than a tenth of the runs of a hundred, and
/// fewer than one in a hundred of three hundred, come to more by chance.
pub const DEPENDENT_SPREAD: f64 = 10.0;
/// See `DEPENDENT_SPREAD`. Less than half more variance is a fifth of an interval's width.
pub const DEPENDENT_LEAST: f64 = 1.5;
/// See `DEPENDENT_SPREAD`. So few values as would be allowed more have no interval but the median's.
pub const DEPENDENT_MOST: f64 = 4.0;

/// Share of output events whose stamp may be wrong because they shared a late read: up to here no percentile below
/// p99 can rest on them.
pub const SHARED_GOOD: f64 = 0.01;
/// Beyond this share p90 too is made of them, and with it what most reports are read for.
pub const SHARED_DEGRADED: f64 = 0.10;
/// How late a shared read must be to be called late, as a share of its stream's gap. Bytes that arrive while we are
/// late get the newest stamp, so the lag that is seen is only the time since the last of them: in a steady stream
/// anything between none and one gap, however late the client was. A twentieth misses one late read in twenty. A quarter
/// missed one in four, and as one stall makes all streams late alike, whole stalls went unseen, 20 ms of TTFT p99 among them.
pub const LATE_SHARE_OF_GAP: f64 = 0.05;
/// Where a twentieth of the gap is less than a punctual client needs (`LATE_WITHOUT_GAP`), that is the limit, but never more than
/// this share of the gap: what is missed there is a quarter at most.
pub const LATE_SHARE_OF_SHORT_GAP: f64 = 0.25;
/// The same where no time passed between sending and the events, and so no gap is known: the error of p99 that
/// the kernel's stamps are there to stay below.
pub const LATE_WITHOUT_GAP: Nanos = Nanos(100_000);

/// How likely it may be that a late client read all bursts of a stream as soon after their last event as it did, for them not to be
/// bursts that the server wrote at once: one in a thousand streams that a late client spoiled passes for one of a bursting server.
pub const QUICK_BY_CHANCE: f64 = 1e-3;

/// By how much of itself a p99 may be too high because of late reads: a hundredth is below what runs differ by anyway. The shares
/// above do not see to that: 0.2 % of events in late reads is a fifth of what a p99 rests on, and did move one by 6 %.
pub const LATE_TAIL_GOOD: f64 = 0.01;

/// Share of TTFT p99 that is the opening burst's from which a warm-up is worth asking for: below a tenth runs differ as much by
/// chance.
pub const OPENING_BURST: f64 = 0.10;

/// How near two events' stamps must be to have come together, as a share of the stream's mean gap: what was made a tenth of
/// the usual time after another was not made after it but sent with it. The mean, which no bundling moves; the median of a
/// bundled stream is near nothing.
pub const TOGETHER_SHARE_OF_GAP: f64 = 0.10;
/// But never farther apart than this, or a stream with one long stall would seem bundled from end to end. A bundle that the
/// network cut into segments arrives within some tens of microseconds; no model makes two tokens so fast.
pub const TOGETHER: Nanos = Nanos(100_000);
/// Share of output events that came together with the one before: as many gaps are nothing, and at most as many are long
/// because they are of several tokens, so that up to here the gaps from p10 to p90 are of one token each.
pub const TOGETHER_GOOD: f64 = 0.10;

/// Successful requests with a stamp before the one that it follows, as a share of them: as for shared reads, no
/// percentile below p99 can rest on them.
pub const BACKWARD_GOOD: f64 = 0.01;
/// As for shared reads.
pub const BACKWARD_DEGRADED: f64 = 0.10;

/// Mean turnaround as a share of mean latency: the offered concurrency is lower than asked by this share, and the
/// throughput with it. One percent is below what runs differ by anyway.
pub const TURNAROUND_GOOD: f64 = 0.01;
/// Five percent is a difference that people draw conclusions from.
pub const TURNAROUND_DEGRADED: f64 = 0.05;

/// Lateness of sending against the schedule, at p99: up to a millisecond the pattern of arrivals is the plan's at any rate
/// that one machine asks of a model, and less than first tokens differ by from run to run.
pub const SEND_LATENESS_GOOD: Nanos = Nanos::from_millis(1);
/// Ten milliseconds are what a short first token takes: beyond them arrivals, and the queues that they make, are the
/// client's doing.
pub const SEND_LATENESS_DEGRADED: Nanos = Nanos::from_millis(10);

/// Mean latency as a share of the length of the windows that the figures are of: streams in step end in waves a latency apart, and
/// one wave more or less in the windows moves throughput by this share. As for turnaround, five percent is a difference that
/// people draw conclusions from.
pub const WINDOW_LATENCY_GOOD: f64 = 0.05;

/// Busiest load thread's share of a processor: above this, waiting for the processor grows fast (under a random
/// load of 80 %, four pieces of work wait or are under way on average).
pub const CPU_GOOD: f64 = 0.80;
/// Here the thread is saturated, and the run measures the client.
pub const CPU_DEGRADED: f64 = 0.95;

/// Failed requests as a share of finished ones: the figures leave them out, and up to here that moves no percentile
/// below p99.
pub const FAILED_GOOD: f64 = 0.01;
/// Beyond this the figures describe a server that was mostly busy with something else than answering.
pub const FAILED_DEGRADED: f64 = 0.10;

/// Kinds of failures that are told apart: more than anybody reads, and few enough for a server that never says the same twice.
pub const FAILURE_KINDS: usize = 200;

/// Requests cut off at the run's end as a share of all: they are the longest ones, so leaving them out flatters the
/// highest percentiles first.
pub const CUT_OFF_GOOD: f64 = 0.01;

/// Successful requests with parts that could not be read, as a share of them: as for failed requests, no percentile below p99
/// can rest on them.
pub const UNREADABLE_GOOD: f64 = 0.01;
/// Parts that may have been output and could not be read, as a share of those and of output events: beyond this share p90 of
/// the gaps between events is made of gaps that are too long, as for shared reads.
pub const UNREADABLE_DEGRADED: f64 = 0.10;

/// Successful requests without any output, as a share of them: they are the fastest ones, and up to here they move no
/// percentile above p1.
pub const EMPTY_GOOD: f64 = 0.01;

/// Requests sent again after a kept connection died under them, as a share of all: the attempt that
/// was lost is part of their latencies.
pub const RETRIED_GOOD: f64 = 0.01;

/// Answers that were complete before their bodies ended, as a share of all: what clients wait for that read bodies to their ends is
/// then in no percentile below p99.
pub const LATE_BODIES_GOOD: f64 = 0.01;

/// Mean difference between output length and the length asked for, as a share of it: run to run, a difference
/// of this size moves latency by no more than ordinary noise.
pub const LENGTH_GOOD: f64 = 0.05;

/// Difference between the server's count and ours, as a share of the server's, from which they disagree: a stray
/// token in a text of fifty is no disagreement.
pub const TOKEN_TOLERANCE: f64 = 0.02;
/// Share of compared requests whose counts disagree: odd texts (bytes that are no valid character) do so now and then
/// with the right tokenizer, the wrong tokenizer does so nearly always.
pub const TOKENS_GOOD: f64 = 0.05;

/// Output tokens beyond one an event, or events beyond one a token, as a share of events: by so much the time between events
/// differs from that between tokens, which is less than it differs by from run to run. One token of each request is
/// not counted: many servers count the one that ends the text, and send no event for it.
pub const TOKENS_PER_EVENT_GOOD: f64 = 0.05;

/// Share of the server's count that events, or the text by our tokenizer, must reach for all of it to have been shown: tokenizers split
/// the same text into a quarter more or less.
pub const SHOWN_WHOLE: f64 = 0.75;
/// How much more than the answer's tokens the text must have for some of the reasoning to have been shown, for the same reason and
/// with room for an answer of few tokens.
pub const SHOWN_MORE: f64 = 1.5;
/// Below this share of the server's count tokens are taken for hidden although the server says nothing of it. Texts that a tokenizer
/// which is not the model's splits into half as many tokens exist (Chinese by an older vocabulary), into a third as many hardly.
pub const HIDDEN_UNSAID: f64 = 1.0 / 3.0;
/// Share of output tokens that were counted and not shown, up to which output token throughput is within what runs differ by.
pub const HIDDEN_GOOD: f64 = 0.01;

/// How much higher than tokens over time the mean of the requests' own rates may be. Streams whose paces differ by a third (deviation
/// over mean) are so by a tenth; a stream that was read in one go can make the mean of any size.
pub const RATES_MEAN_GOOD: f64 = 0.10;

/// Share of the prompts' tokens that the server had in its cache: a chat template of some tens of tokens before prompts of a few
/// hundred always is there; beyond, times to first token are by that share those of shorter prompts.
pub const CACHED_GOOD: f64 = 0.10;

/// Share of successful requests without the token count that the figures are meant to use: token rates are
/// wrong by this share.
pub const UNCOUNTED_GOOD: f64 = 0.01;

/// Error, reported less true, of p50 and p99 of TTFT and of the gaps between tokens up to which a calibrated load counts as
/// measured faithfully: the error of p99 that the kernel's stamps are there to stay below, a fiftieth of a gap of 5 ms,
/// and some ten times what the way through loopback adds on a busy machine.
pub const FAITHFUL_ERROR: Nanos = Nanos(100_000);
/// How late the simulated server's own writes may be at p99, as a share of the gap between tokens, before a calibrated
/// point is called noisy: then the load was not the one that was asked for, although its true times are known.
pub const SERVER_LATE_OF_GAP: f64 = 0.25;
/// The same for the shortest gaps: less than this no scheduler promises.
pub const SERVER_LATE_LEAST: Nanos = Nanos::from_millis(1);
