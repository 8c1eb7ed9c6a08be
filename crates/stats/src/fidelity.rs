//! Fidelity: how far a run's figures can be trusted, as rows with a grade each and a verdict, which is the worst of
//! them. The limits are in [`crate::thresholds`].

use crate::body_ends::{BodyEnds, body_ends};
use crate::cached::{self, CachedTokens};
use crate::confidence::Estimate;
use crate::distribution::{Distribution, PERCENTILES, supports};
use crate::endings;
use crate::hidden::{self, HiddenTokens};
use crate::late_tail::LateTail;
use crate::metric::Metric;
use crate::opening::{OpeningBurst, opening_burst};
use crate::paces::{self, Paces};
use crate::sharing::Sharing;
use crate::summary::{AccumulatorConfig, Counts, LengthAsked};
use crate::thresholds as limit;
use crate::tokens::{TokenSources, TokensPerEvent};
use crate::unreadable::{self, UnreadableParts};
use serde::{Deserialize, Serialize};
use std::fmt;
use streamgauge_core::plan::{Acknowledge, Stamps, TokenCount};
use streamgauge_core::record::{DelayedAcks, RunFacts};

/// How far a run's figures can be trusted.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Fidelity {
    /// The worst grade of any row.
    pub verdict: Grade,
    /// What was looked at; only what the run gave cause to look at.
    pub rows: Vec<FidelityRow>,
}

/// How far something can be trusted. The order is from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    /// As it stands.
    Good,
    /// With the caveat that the row names.
    Degraded,
    /// Not at all.
    Invalid,
}

impl fmt::Display for Grade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Grade::Good => "good",
            Grade::Degraded => "degraded",
            Grade::Invalid => "invalid",
        })
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FidelityRow {
    /// Name in files.
    pub key: &'static str,
    /// Name in reports.
    pub title: &'static str,
    /// What was found, as reports show it.
    pub value: String,
    /// What was found, where it is a number.
    pub number: Option<f64>,
    /// The number's unit; empty without a number.
    pub unit: &'static str,
    /// What it means for the figures.
    pub grade: Grade,
    /// What to do about it, unless it is good.
    pub remedy: Option<String>,
}

/// All that the rows are judged from.
pub(crate) struct Evidence<'a> {
    pub config: &'a AccumulatorConfig,
    pub facts: &'a RunFacts,
    pub counts: Counts,
    pub tokens: TokenSources,
    pub sharing: &'a Sharing,
    pub late_tails: &'a [LateTail],
    pub tokens_per_event: TokensPerEvent,
    pub hidden: HiddenTokens,
    pub paces: Paces,
    pub cached: CachedTokens,
    pub distributions: &'a [(Metric, Distribution)],
    pub length: LengthAsked,
    /// Successful requests with a stamp before the one that it follows.
    pub backward: u64,
    pub body_ends: BodyEnds,
    /// The requests that were sent at once at the start, where some were.
    pub opening: Option<OpeningBurst>,
    /// What of successful answers could not be read.
    pub unreadable: UnreadableParts,
    /// Successful requests without output.
    pub empty: u64,
    /// The figure that the run waited for, where it did.
    pub awaited: Option<Estimate>,
}

impl Fidelity {
    /// The rows that the evidence gives cause for.
    pub(crate) fn judge(evidence: &Evidence<'_>) -> Fidelity {
        let rows: Vec<FidelityRow> = JUDGES.iter().filter_map(|judge| judge(evidence)).collect();
        Fidelity { verdict: rows.iter().map(|row| row.grade).max().unwrap_or(Grade::Good), rows }
    }
}

/// One judge a row, in the order of reports. A judge without cause gives no row.
const JUDGES: &[fn(&Evidence<'_>) -> Option<FidelityRow>] = &[
    no_success,
    ended_early,
    endings::windows,
    endings::window_length,
    endings::confidence,
    clock,
    backward_stamps,
    shared_reads,
    late_firsts,
    late_tails,
    events_together,
    client_lag,
    turnaround,
    send_lateness,
    load_thread_cpu,
    opening_burst,
    failed,
    cut_off,
    unreadable::row,
    empty_replies,
    connections,
    acknowledgements,
    body_ends,
    output_length,
    token_counts,
    tokens_per_event,
    hidden::hidden_tokens,
    paces::throughput_per_user,
    cached::cached_prompts,
    uncounted,
    endings::too_short,
    samples,
];

fn no_success(evidence: &Evidence<'_>) -> Option<FidelityRow> {
    let Counts { requests, ok, .. } = evidence.counts;
    (ok == 0).then(|| {
        let row = text_row("successful_requests", "Successful requests", format!("none of {requests}"), Grade::Invalid);
        row.remedy("look at the failures first, or give the run more time (--benchmark-duration, --grace-period)")
    })
}

fn ended_early(evidence: &Evidence<'_>) -> Option<FidelityRow> {
    let facts = evidence.facts;
    let why = match &facts.ended_early {
        Some(why) => why.clone(),
        None if facts.interrupted => "interrupted".to_owned(),
        None => return None,
    };
    let row = text_row("ended_early", "Ended before its plan", why, Grade::Degraded);
    Some(row.remedy("the figures are of the part that ran; let the run reach its end to compare it with others"))
}

fn clock(evidence: &Evidence<'_>) -> Option<FidelityRow> {
    let (value, grade) = match evidence.facts.kernel_stamps {
        true => ("kernel receive stamps", Grade::Good),
        false => ("time of the read; how late the client was is not known", Grade::Degraded),
    };
    let remedy = match evidence.config.stamps {
        Stamps::User => "run with --clock kernel",
        Stamps::Kernel => "run the client on Linux, where the kernel stamps what it receives",
    };
    Some(text_row("clock", "Clock", value.to_owned(), grade).remedy(remedy))
}

/// The kernel stamps on the wall clock. When that is set while bytes wait to be read, their stamp lands in the wrong
/// place; where it lands before `sent` or before the event ahead of it, that shows.
fn backward_stamps(evidence: &Evidence<'_>) -> Option<FidelityRow> {
    let share = share(evidence.backward, evidence.counts.ok).filter(|_| evidence.backward > 0)?;
    let grade = graded(share, limit::BACKWARD_GOOD, limit::BACKWARD_DEGRADED);
    let value = format!("{} of {}", evidence.backward, counted(evidence.counts.ok, "successful request"));
    let row = share_row("backward_stamps", "Requests with stamps in the wrong order", share, grade);
    let remedy = "the machine's wall clock was set during the run; run again when it keeps still, or with --clock user";
    Some(FidelityRow { value, ..row }.remedy(remedy))
}

/// Without kernel stamps any shared event may be a late one, and none is known to be: more than a few are then a
/// caveat and no verdict.
fn shared_reads(evidence: &Evidence<'_>) -> Option<FidelityRow> {
    let sharing = evidence.sharing;
    let late = share(sharing.late, sharing.events)?;
    let unknown = share(sharing.unknown, sharing.events)?;
    let doubtful = if late + unknown <= limit::SHARED_GOOD { Grade::Good } else { Grade::Degraded };
    let grade = graded(late, limit::SHARED_GOOD, limit::SHARED_DEGRADED).max(doubtful);
    let found = if sharing.unknown > 0 { "events that shared a read, late or not" } else { "events" };
    let value = format!("{} of {} {found}", hundredths(late + unknown), sharing.events);
    let row = FidelityRow { value, ..share_row("shared_reads", "Events in late shared reads", late + unknown, grade) };
    Some(row.remedy(
        "first and inter token times are uncertain by the client's lateness; raise --threads, lower --concurrency or \
         give the client more processors",
    ))
}

/// A long stream has one first token among many events, so first tokens may be wrong in number while the share of all
/// events is small: they are judged by themselves.
fn late_firsts(evidence: &Evidence<'_>) -> Option<FidelityRow> {
    let sharing = evidence.sharing;
    let share = share(sharing.late_firsts, sharing.streams).filter(|_| sharing.late_firsts > 0)?;
    let grade = graded(share, limit::SHARED_GOOD, limit::SHARED_DEGRADED);
    let value = format!("{} of {}", hundredths(share), counted(sharing.streams, "stream"));
    let row =
        FidelityRow { value, ..share_row("late_first_tokens", "First tokens in late shared reads", share, grade) };
    Some(row.remedy(
        "these times to first token are too long, by up to the gap to the next token; give the client more processors, \
         raise --threads or lower --concurrency",
    ))
}

/// However small the shares of the two rows above, what a p99 rests on may be made of them.
fn late_tails(evidence: &Evidence<'_>) -> Option<FidelityRow> {
    let mut worst: Option<f64> = None;
    let mut found = Vec::new();
    for tail in evidence.late_tails {
        let reported = evidence.distribution(tail.metric)?.percentile(99);
        let least = tail.least.min(reported);
        let share = if reported > 0.0 { (reported - least) / reported } else { 0.0 };
        worst = Some(worst.unwrap_or(0.0).max(share));
        let title = tail.metric.title().to_lowercase();
        found.push(format!("{title} {reported:.3} ms, {least:.3} without late reads"));
    }
    let (share, value) = (worst?, found.join("; "));
    let row = share_row("late_reads_at_p99", "p99 and late shared reads", share, caveat(share, limit::LATE_TAIL_GOOD));
    Some(FidelityRow { value, ..row }.remedy(
        "late reads may have made this p99 of what it is; give the client more processors, raise --threads or lower \
         --concurrency",
    ))
}

/// What arrived together did so, and its stamps are true; but the model did not make it then. A client cannot tell a server
/// that writes several events at once from something on the way that gathers them, so it is a caveat and never a verdict.
fn events_together(evidence: &Evidence<'_>) -> Option<FidelityRow> {
    let Sharing { events, together, late_unseen, .. } = *evidence.sharing;
    // Late reads that the lag does not show look like this too.
    let share = share(together.saturating_sub(late_unseen.div_ceil(1_000_000)), events).filter(|&share| share > 0.0)?;
    let value = format!("{} of {events} events, with the one before", hundredths(share));
    let row = share_row("events_together", "Events that arrived together", share, caveat(share, limit::TOGETHER_GOOD));
    Some(FidelityRow { value, ..row }.remedy(
        "the server, or something on the way that buffers, sends several events at once: inter chunk latencies are its \
         bundles', and first tokens waited for the rest of theirs; turn buffering off to see the model's own times",
    ))
}

/// For information: with kernel stamps the lag is in no figure, and where it did harm the row of shared reads says
/// so.
fn client_lag(evidence: &Evidence<'_>) -> Option<FidelityRow> {
    let lag = evidence.distribution(Metric::ClientLag)?;
    let (p50, p99) = (lag.percentile(50), lag.percentile(99));
    let value = format!("p50 {p50:.3} ms, p99 {p99:.3} ms, max {:.3} ms (not in the figures)", lag.max);
    let row = text_row("client_lag", "Client lag", value, Grade::Good);
    Some(FidelityRow { number: Some(p99), unit: "ms", ..row })
}

fn turnaround(evidence: &Evidence<'_>) -> Option<FidelityRow> {
    let turnaround = evidence.distribution(Metric::Turnaround)?.avg;
    let latency = evidence.distribution(Metric::RequestLatency)?.avg;
    let share = if latency > 0.0 { turnaround / latency } else { return None };
    let grade = graded(share, limit::TURNAROUND_GOOD, limit::TURNAROUND_DEGRADED);
    let value = format!("{turnaround:.3} ms, {} of mean latency", hundredths(share));
    let row = FidelityRow { value, ..share_row("turnaround", "Turnaround between requests", share, grade) };
    Some(row.remedy(
        "the server had fewer requests at once than asked, and throughput is low by about this share; raise --threads \
         or lower --concurrency",
    ))
}

fn send_lateness(evidence: &Evidence<'_>) -> Option<FidelityRow> {
    let lateness = evidence.distribution(Metric::SendLateness)?;
    let p99 = lateness.percentile(99);
    let (good, degraded) = (limit::SEND_LATENESS_GOOD.as_millis_f64(), limit::SEND_LATENESS_DEGRADED.as_millis_f64());
    let grade = graded(p99, good, degraded);
    let Counts { sent_late, never_sent, .. } = evidence.counts;
    let of = counted(lateness.count, "request");
    let never = if never_sent > 0 { format!(", {never_sent} of them never sent") } else { String::new() };
    let value = format!("p99 {p99:.3} ms, max {:.3} ms; {sent_late} of {of} over {good} ms{never}", lateness.max);
    let row = text_row("send_lateness", "Sent after due", value, grade);
    Some(FidelityRow { number: Some(p99), unit: "ms", ..row }.remedy(
        "requests left later than scheduled, and latencies from sent leave that out: read those from due; raise the limit \
         on concurrency or the number of users if there is one, else --threads, or lower the rate",
    ))
}

fn load_thread_cpu(evidence: &Evidence<'_>) -> Option<FidelityRow> {
    let threads = &evidence.facts.threads;
    let shares =
        threads.iter().filter(|thread| thread.wall.0 > 0).map(|thread| thread.cpu.0 as f64 / thread.wall.0 as f64);
    let busiest = shares.reduce(f64::max)?;
    let grade = graded(busiest, limit::CPU_GOOD, limit::CPU_DEGRADED);
    let value = format!("{} of a processor, {} in all", hundredths(busiest), counted(threads.len() as u64, "thread"));
    let row = FidelityRow { value, ..share_row("load_thread_cpu", "Busiest load thread", busiest, grade) };
    Some(row.remedy("raise --threads, lower --concurrency or give the client more processors"))
}

fn failed(evidence: &Evidence<'_>) -> Option<FidelityRow> {
    let Counts { ok, failed, .. } = evidence.counts;
    let share = share(failed, ok + failed)?;
    let grade = graded(share, limit::FAILED_GOOD, limit::FAILED_DEGRADED);
    let value = format!("{failed} of {}", counted(ok + failed, "finished request"));
    let row = FidelityRow { value, ..share_row("failed_requests", "Failed requests", share, grade) };
    Some(row.remedy("the figures are of the successful requests only; the list of failures says why, and where the server is overloaded, try a lower --concurrency"))
}

fn cut_off(evidence: &Evidence<'_>) -> Option<FidelityRow> {
    let Counts { requests, cut_off, .. } = evidence.counts;
    let share = share(cut_off, requests).filter(|_| cut_off > 0)?;
    let grade = caveat(share, limit::CUT_OFF_GOOD);
    let value = format!("{cut_off} of {}", counted(requests, "request"));
    let row = FidelityRow { value, ..share_row("cut_off_requests", "Requests cut off at the end", share, grade) };
    Some(row.remedy(match evidence.facts.ended_early {
        Some(_) => "the longest requests of those that were in flight at the early end are missing from the figures",
        None => "the longest requests are missing from the figures; raise --grace-period or --benchmark-duration",
    }))
}

/// Replies that the model ended at once are answers; they are fast ones, and have no first token.
fn empty_replies(evidence: &Evidence<'_>) -> Option<FidelityRow> {
    let share = share(evidence.empty, evidence.counts.ok).filter(|_| evidence.empty > 0)?;
    let value = format!("{} of {}", evidence.empty, counted(evidence.counts.ok, "successful request"));
    let row = share_row("empty_replies", "Replies without output", share, caveat(share, limit::EMPTY_GOOD));
    Some(FidelityRow { value, ..row }.remedy(
        "the model ended these at once: they count as requests of no output tokens, lower the mean latency and have no time to \
         first token; make the server answer in full with --output-tokens-mean-deterministic where it honours it",
    ))
}

fn connections(evidence: &Evidence<'_>) -> Option<FidelityRow> {
    let Counts { requests, retried, .. } = evidence.counts;
    let replaced = evidence.facts.connections_replaced;
    let share = share(retried, requests).filter(|_| retried + replaced > 0)?;
    let grade = caveat(share, limit::RETRIED_GOOD);
    let value =
        format!("{} sent again, {} replaced before use", counted(retried, "request"), counted(replaced, "connection"));
    let row = FidelityRow { value, ..share_row("connections", "Kept connections lost", share, grade) };
    Some(row.remedy("the server, or something between, closes connections under load; raise its keep-alive limits"))
}

/// What an ordinary client would see that these figures do not show, or with `--delayed-acks` what the server's own times are.
fn acknowledgements(evidence: &Evidence<'_>) -> Option<FidelityRow> {
    let (key, title) = ("acknowledgements", "Late acknowledgements");
    let delayed = evidence.config.acknowledge == Acknowledge::Delayed;
    let Some(DelayedAcks { late, at_once }) = evidence.facts.delayed_acks else {
        let value = "left to the kernel (--delayed-acks)".to_owned();
        return delayed.then(|| text_row(key, title, value, Grade::Good));
    };
    let difference = (late - at_once).as_millis_f64();
    let (late, at_once) = (late.as_millis_f64(), at_once.as_millis_f64());
    let value = format!(
        "first event {late:.1} ms after the head of the answer, {at_once:.1} ms where it is acknowledged at once"
    );
    let row = FidelityRow { number: Some(difference), unit: "ms", ..text_row(key, title, value, Grade::Degraded) };
    Some(match delayed {
        true => row.remedy(&format!(
            "the server waits for the client's kernel (Nagle's algorithm), so first tokens come about {difference:.0} ms later on \
             kept connections than it makes them; leave --delayed-acks out to see its own times, or set TCP_NODELAY there"
        )),
        false => row.remedy(&format!(
            "the server waits for the client's kernel (Nagle's algorithm): an ordinary client on a kept connection sees first \
             tokens about {difference:.0} ms later than these figures say; set TCP_NODELAY there, or see it with --delayed-acks"
        )),
    })
}

fn output_length(evidence: &Evidence<'_>) -> Option<FidelityRow> {
    let share = share(evidence.length.difference, evidence.length.asked)?;
    let grade = caveat(share, limit::LENGTH_GOOD);
    let remedy = match evidence.config.output_exact {
        true => {
            "the server does not honour min_tokens and ignore_eos, or counts otherwise; compare output_sequence_length \
             with other runs before comparing latencies"
        }
        false => "add --output-tokens-mean-deterministic where the server honours it, so that lengths are comparable",
    };
    let row = share_row("output_length", "Output length against asked", share, grade);
    Some(FidelityRow { value: format!("{} mean difference", hundredths(share)), ..row }.remedy(remedy))
}

fn token_counts(evidence: &Evidence<'_>) -> Option<FidelityRow> {
    let TokenSources { disagree, compared, .. } = evidence.tokens;
    let share = share(disagree, compared)?;
    let grade = caveat(share, limit::TOKENS_GOOD);
    let over = hundredths(limit::TOKEN_TOLERANCE);
    let value = format!("{disagree} of {} differ by over {over}", counted(compared, "request"));
    let row = FidelityRow { value, ..share_row("token_counts", "Token counts, server against ours", share, grade) };
    Some(row.remedy("if --tokenizer is not the model's own, give that one: prompt lengths are off by as much; if it is, the model writes \
         text that no tokenizer would split so"))
}

/// An event is not a token. Where the two differ in number, inter chunk latency is no time of a token, and the tokens that
/// came with the first event count in inter token latency as if they had come after it.
fn tokens_per_event(evidence: &Evidence<'_>) -> Option<FidelityRow> {
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
        "Output tokens an event",
        format!("{mean:.2} on average"),
        caveat(share, limit::TOKENS_PER_EVENT_GOOD),
    );
    let row = FidelityRow { number: Some(mean), unit: "tokens", ..row };
    Some(match mean > 1.0 {
        true => row.remedy(&format!(
            "inter chunk latency is of events, not of tokens, and inter token latency is {} low if all events have so many \
             tokens",
            hundredths(low)
        )),
        false => row.remedy("inter chunk latency is of events, not of tokens; inter token latency is of tokens as counted"),
    })
}

/// Requests without the count that the figures are meant to use, or under `auto` with no count better than chunks.
fn uncounted(evidence: &Evidence<'_>) -> Option<FidelityRow> {
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
        TokenCount::Usage => "the server sent no usage; --token-count auto falls back on our tokenizer",
        _ => "the text could not be counted; give the model's tokenizer with --tokenizer",
    };
    Some(FidelityRow { value, ..row }.remedy(remedy))
}

/// Says which percentiles too few values are behind. The reports mark those, so this lowers no verdict.
fn samples(evidence: &Evidence<'_>) -> Option<FidelityRow> {
    let printed = [Metric::TimeToFirstToken, Metric::RequestLatency, Metric::InterTokenLatency];
    let least = printed.iter().filter_map(|&metric| evidence.distribution(metric)).map(|known| known.count).min()?;
    let short: Vec<String> = PERCENTILES.iter().filter(|&&p| !supports(least, p)).map(|p| format!("p{p}")).collect();
    let value = match short.is_empty() {
        true => format!("{least}, enough for every percentile"),
        false => format!("{least}, too few for {}: marked ~, more requests firm them up", short.join(" ")),
    };
    let means = match least < limit::MEAN_VALUES {
        true => format!("; ±avg takes {}", limit::MEAN_VALUES),
        false => String::new(),
    };
    let value = value + &means;
    let row = text_row("samples", "Samples behind the percentiles", value, Grade::Good);
    Some(FidelityRow { number: Some(least as f64), unit: "requests", ..row })
}

impl Evidence<'_> {
    pub(crate) fn distribution(&self, metric: Metric) -> Option<&Distribution> {
        self.distributions.iter().find(|(known, _)| *known == metric).map(|(_, distribution)| distribution)
    }
}

impl FidelityRow {
    /// With this remedy, if it needs one.
    pub(crate) fn remedy(self, remedy: &str) -> FidelityRow {
        FidelityRow { remedy: (self.grade > Grade::Good).then(|| remedy.to_owned()), ..self }
    }
}

pub(crate) fn text_row(key: &'static str, title: &'static str, value: String, grade: Grade) -> FidelityRow {
    FidelityRow { key, title, value, number: None, unit: "", grade, remedy: None }
}

pub(crate) fn share_row(key: &'static str, title: &'static str, share: f64, grade: Grade) -> FidelityRow {
    FidelityRow { number: Some(share * 100.0), unit: "%", ..text_row(key, title, hundredths(share), grade) }
}

/// `part` of `whole`; none of nothing.
pub(crate) fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

fn graded(found: f64, good: f64, degraded: f64) -> Grade {
    if found <= good {
        Grade::Good
    } else if found <= degraded {
        Grade::Degraded
    } else {
        Grade::Invalid
    }
}

/// For what may be a reason for care and never makes a run worthless.
pub(crate) fn caveat(share: f64, good: f64) -> Grade {
    graded(share, good, f64::INFINITY)
}

pub(crate) fn hundredths(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

pub(crate) fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
