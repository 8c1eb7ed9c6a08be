//! The fold over records that computes the summary of a run.

use crate::answer::tokens::{TokenSources, TokensPerEvent};
use crate::answer::{Answer, Lateness, lateness};
use crate::awaited::Wanted;
use crate::config::AccumulatorConfig;
use crate::conversations::ConversationSums;
use crate::counts::{Counts, LengthAsked, TargetCounts};
use crate::failures::{FailureKinds, Unfinished, WithFailures};
use crate::fidelity::body_ends::BodyEnds;
use crate::fidelity::cached::CachedTokens;
use crate::fidelity::hidden::HiddenTokens;
use crate::fidelity::late_tail::LateTail;
use crate::fidelity::opening::Opening;
use crate::fidelity::paces::Paces;
use crate::fidelity::sharing::Sharing;
use crate::fidelity::unreadable::UnreadableParts;
use crate::fidelity::{Evidence, Fidelity};
use crate::intervals::{Estimate, Interval};
use crate::metrics::{Collected, Kind, Metric, Seen};
use crate::repeats::PromptCounts;
use crate::scope::{Scope, SlotTimes, Span};
use crate::server::{GpuFold, ServerFigures};
use crate::summary::Summary;
use crate::thresholds::SEND_LATENESS_GOOD;
use crate::throughput::{Bins, Flow, Tally};
use crate::timeline::TimelineSums;
use streamgauge_core::record::RunFacts;
use streamgauge_core::seed::Seed;
use streamgauge_core::{Failure, FailureClass, Nanos, Outcome, Phase, Record, Stage};

/// The accumulators belong to different runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("summaries of different plans, or of different parts of a run, cannot be merged")]
pub struct MergeError;

/// Collects records in any order. Its memory is bounded, and it allocates nothing per chunk.
#[derive(Debug)]
pub struct Accumulator {
    config: AccumulatorConfig,
    scope: Scope,
    counts: Counts,
    targets: Vec<TargetCounts>,
    tokens: TokenSources,
    collected: Collected,
    unfinished: Vec<Unfinished>,
    bins: Bins,
    failures: FailureKinds,
    sharing: Sharing,
    tokens_per_event: TokensPerEvent,
    hidden: HiddenTokens,
    paces: Paces,
    cached: CachedTokens,
    length: LengthAsked,
    backward: u64,
    unreadable: UnreadableParts,
    /// Successful requests without output.
    empty: u64,
    body_ends: BodyEnds,
    /// The totals from which rates are computed.
    flow: Tally,
    /// Whether the tokens of any answer could be counted.
    counted: bool,
    span: Option<Span>,
    slot_times: Option<SlotTimes>,
    opening: Option<Opening>,
    timeline: TimelineSums,
    conversations: ConversationSums,
    prompts: PromptCounts,
}

impl Accumulator {
    /// Returns an empty accumulator for the whole run.
    pub fn new(config: AccumulatorConfig) -> Accumulator {
        Accumulator::of(config, Scope::Run)
    }

    /// Returns an empty accumulator for a part of the run.
    pub fn of(config: AccumulatorConfig, scope: Scope) -> Accumulator {
        let slot_times = config.handed_over.map(SlotTimes::new);
        let opening = Opening::of(config.opening_burst).filter(|_| config.streaming);
        Accumulator {
            config,
            scope,
            counts: Counts::default(),
            targets: Vec::new(),
            tokens: TokenSources::default(),
            collected: Collected::new(),
            unfinished: Unfinished::all(),
            bins: Bins::new(),
            failures: FailureKinds::default(),
            sharing: Sharing::default(),
            tokens_per_event: TokensPerEvent::default(),
            hidden: HiddenTokens::default(),
            paces: Paces::default(),
            cached: CachedTokens::default(),
            length: LengthAsked::default(),
            backward: 0,
            unreadable: UnreadableParts::default(),
            empty: 0,
            body_ends: BodyEnds::default(),
            flow: Tally::default(),
            counted: false,
            span: scope.span(),
            slot_times,
            opening,
            timeline: TimelineSums::new(),
            conversations: ConversationSums::default(),
            prompts: PromptCounts::default(),
        }
    }

    /// Adds one record.
    pub fn add(&mut self, record: &Record) {
        if let Some(slot_times) = &mut self.slot_times {
            slot_times.add(record);
        }
        if record.phase == Phase::Warmup {
            self.counts.warmup += 1;
            return;
        }
        let answer =
            record.is_ok().then(|| Answer::of(record, self.config.token_count, self.config.streaming)).flatten();
        if !self.scope.counts(record) {
            self.counts.outside += 1;
            if let (Some(answer), Scope::Held(_)) = (&answer, self.scope) {
                self.add_flow(answer);
            }
            return;
        }
        self.counts.requests += 1;
        self.counts.retried += u64::from(record.retries > 0);
        self.body_ends.add(record);
        if let Some(Lateness { late, never, .. }) = lateness(record) {
            self.counts.sent_late += u64::from(late > SEND_LATENESS_GOOD);
            self.counts.never_sent += u64::from(never);
        }
        match (&record.outcome, &answer) {
            (Outcome::Cancelled, _) => {
                self.counts.cancelled += 1;
                self.add_unfinished(record);
            }
            (Outcome::CutOff, _) => {
                self.counts.cut_off += 1;
                self.add_unfinished(record);
            }
            (Outcome::Failed(failure), _) => self.add_failure(record, failure),
            (Outcome::Ok, Some(answer)) => self.add_answer(record, answer),
            (Outcome::Ok, None) => self.add_failure(record, &empty_success()),
        }
        let failed = match record.outcome {
            Outcome::Failed(_) => true,
            Outcome::Ok => answer.is_none(),
            Outcome::CutOff | Outcome::Cancelled => false,
        };
        self.add_target(record.target, answer.is_some(), failed);
        self.collected.add(&Seen { record, answer: answer.as_ref(), failed });
        self.timeline.add(record, answer.as_ref(), failed);
        self.conversations.add(record, answer.as_ref(), failed);
        self.prompts.add(record);
    }

    fn add_target(&mut self, target: u16, ok: bool, failed: bool) {
        let index = usize::from(target);
        if self.targets.len() <= index {
            self.targets.resize(index + 1, TargetCounts::default());
        }
        let counts = &mut self.targets[index];
        counts.requests += 1;
        counts.ok += u64::from(ok);
        counts.failed += u64::from(failed);
    }

    /// Adds a request that would have taken longer: it was cut off by the end of the run, or cancelled by the plan.
    fn add_unfinished(&mut self, record: &Record) {
        self.unfinished.iter_mut().for_each(|wait| wait.add_cut_off(record, self.config.streaming));
    }

    fn add_failure(&mut self, record: &Record, failure: &Failure) {
        self.counts.failed += 1;
        self.unfinished.iter_mut().for_each(|wait| wait.add_failed(record));
        self.failures.add(record, failure);
    }

    fn add_answer(&mut self, record: &Record, answer: &Answer<'_>) {
        self.counts.ok += 1;
        self.unreadable.add(record);
        self.empty += u64::from(record.is_empty_reply());
        self.tokens.add(record, self.config.token_count, answer.output.map(|(_, source)| source));
        if let (Some(opening), Some(ttft)) = (&mut self.opening, Metric::TimeToFirstToken.value(answer)) {
            opening.add(record, ttft);
        }
        let backward = answer.first.is_some_and(|first| first < answer.sent);
        self.backward += u64::from(backward || answer.gaps().any(|(gap, _)| gap < Nanos::ZERO));
        if self.config.streaming && !record.chunks.is_empty() {
            self.sharing.add(&record.chunks, answer.sent);
            self.tokens_per_event.add(record, answer.shown.zip(answer.output.map(|(_, source)| source)));
        }
        if let (Some((output, _)), Some(shown)) = (answer.output, answer.shown) {
            self.hidden.add(output, shown);
        }
        // A later turn of a conversation begins with what the server has seen, which is meant.
        let is_first_turn = record.conversation.is_none_or(|turn| turn.turn == 0);
        if let Some(cached) = answer.cached_tokens().filter(|_| is_first_turn) {
            let prompt = answer.prompt_tokens().unwrap_or_else(|| u64::from(record.input_tokens));
            self.cached.add(cached, prompt);
        }
        if let Some((tokens, time)) = answer.pace() {
            self.paces.add(tokens, time);
        }
        if let Some((difference, asked)) = answer.length_against_asked() {
            self.length.difference = self.length.difference.saturating_add(difference);
            self.length.asked = self.length.asked.saturating_add(asked);
        }
        self.add_flow(answer);
        if self.scope == Scope::Run {
            let Span { from, to } = self.span.unwrap_or(Span { from: answer.sent, to: answer.last });
            self.span = Some(Span { from: from.min(answer.sent), to: to.max(answer.last) });
        }
    }

    /// Adds an answer to the totals of the rates.
    fn add_flow(&mut self, answer: &Answer<'_>) {
        let good = self.config.goodput.holds(answer);
        self.counted |= answer.output.is_some();
        self.flow += self.bins.add(answer, good, self.scope);
    }

    /// Merges an accumulator with other records of the same run. The summary is then that of all records
    /// together. If there are more values than are kept exactly, means may differ in their last bits; if there are more kinds of failures
    /// than are kept apart, others of them may be kept.
    ///
    /// # Errors
    /// When the two belong to different plans or different parts of a run; `self` is then unchanged.
    pub fn merge(&mut self, other: Accumulator) -> Result<(), MergeError> {
        // All fields are listed, so that the compiler reports a new one that is not merged.
        let Accumulator {
            config,
            scope,
            counts,
            targets,
            tokens,
            collected,
            unfinished,
            bins,
            failures,
            sharing,
            tokens_per_event,
            hidden,
            paces,
            cached,
            length,
            backward,
            unreadable,
            empty,
            body_ends,
            flow,
            counted,
            span,
            slot_times,
            opening,
            timeline,
            conversations,
            prompts,
        } = other;
        if self.config != config || self.scope != scope {
            return Err(MergeError);
        }
        self.counts += counts;
        if self.targets.len() < targets.len() {
            self.targets.resize(targets.len(), TargetCounts::default());
        }
        self.targets.iter_mut().zip(targets).for_each(|(ours, theirs)| *ours += theirs);
        self.tokens += tokens;
        self.collected.merge(collected);
        self.unfinished.iter_mut().zip(unfinished).for_each(|(ours, theirs)| ours.merge(theirs));
        self.bins.merge(&bins);
        self.timeline.merge(&timeline);
        self.conversations.merge(conversations);
        self.prompts.merge(prompts);
        self.failures.merge(failures);
        self.sharing.merge(&sharing);
        self.tokens_per_event += tokens_per_event;
        self.hidden += hidden;
        self.paces += paces;
        self.cached += cached;
        self.length += length;
        self.backward += backward;
        self.unreadable += unreadable;
        self.empty += empty;
        self.body_ends += body_ends;
        self.flow += flow;
        self.counted |= counted;
        self.span = self.span.into_iter().chain(span).reduce(Span::hull);
        if let (Some(ours), Some(theirs)) = (&mut self.slot_times, slot_times) {
            ours.merge(theirs);
        }
        if let (Some(ours), Some(theirs)) = (&mut self.opening, opening) {
            ours.merge(theirs);
        }
        Ok(())
    }

    /// The number of requests so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The `percentile` of a metric so far, or its mean, or its single figure. Returns `None` as long as there is none. It equals
    /// the final figure if no further record is added.
    pub(crate) fn figure(&self, metric: Metric, percentile: Option<u8>) -> Option<Estimate> {
        if !metric.is_system() {
            return self.collected.sampler(metric)?.look(percentile);
        }
        let span = self.rate_span();
        let duration = span.map_or(Nanos::ZERO, |span| span.length());
        let scalars = self.scalars(duration);
        let &(_, value) = scalars.iter().find(|(known, _)| *known == metric)?;
        let latency =
            self.collected.sampler(Metric::RequestLatency).and_then(|sampler| sampler.look(None)).map(|avg| avg.value);
        let intervals = rate_intervals(&self.bins, span, latency, &scalars, self.config.seed);
        let interval = intervals.into_iter().find(|(known, _)| *known == metric).map(|(_, interval)| interval);
        Some(Estimate { value, interval, needed: None })
    }

    /// Computes the summary from the records and the facts of the run.
    pub fn close(mut self, facts: &RunFacts) -> Summary {
        let span = self.rate_span();
        let duration = span.map_or(Nanos::ZERO, |span| span.length());
        let scalars = self.scalars(duration);
        let wanted = self.config.confidence.as_ref().and_then(|rule| Wanted::of(rule).ok());
        let awaited = wanted.and_then(|wanted| self.figure(wanted.metric, wanted.percentile));
        let with_failures = self.with_failures();
        let late_tails = self.late_tails();
        let distributions = self.collected.close();
        let latency = distributions.iter().find(|(metric, _)| *metric == Metric::RequestLatency).map(|(_, d)| d.avg);
        let rate_intervals = rate_intervals(&self.bins, span, latency, &scalars, self.config.seed);
        let fidelity = Fidelity::judge(&Evidence {
            config: &self.config,
            facts,
            counts: self.counts,
            tokens: self.tokens,
            sharing: &self.sharing,
            late_tails: &late_tails,
            tokens_per_event: self.tokens_per_event,
            hidden: self.hidden,
            paces: self.paces,
            cached: self.cached,
            distributions: &distributions,
            length: self.length,
            backward: self.backward,
            body_ends: self.body_ends,
            opening: self.opening.take().and_then(Opening::close),
            unreadable: self.unreadable,
            empty: self.empty,
            awaited,
        });
        let (from, to) = self.scope.span().map_or((facts.started, facts.ended), |span| (span.from, span.to));
        let over = facts.server.as_ref().map(|server| (server, from, to));
        Summary {
            distributions,
            scalars,
            rate_intervals,
            with_failures,
            counts: self.counts,
            failures: self.failures.close(),
            tokens: self.tokens,
            duration,
            scope: self.scope,
            targets: self.targets,
            timeline: self.timeline.close(&self.bins),
            conversations: self.conversations.close().map(Box::new),
            repeats: self.prompts.close(),
            steady_state: None,
            server: over
                .and_then(|(server, from, to)| ServerFigures::over(server, from, to).ok().flatten())
                .map(Box::new),
            gpus: over.map(|(server, from, to)| GpuFold::over(server, from, to)).unwrap_or_default(),
            fidelity,
        }
    }

    /// The time by which rates are divided.
    fn rate_span(&self) -> Option<Span> {
        match (&self.slot_times, self.scope) {
            (Some(slot_times), Scope::Run) => self.span.and(slot_times.span()),
            _ => self.span,
        }
    }

    /// The effect that late reads may have had on the times between events and on the times to first token.
    fn late_tails(&self) -> Vec<LateTail> {
        let (late, late_firsts) = (self.sharing.all_late(), self.sharing.all_late_firsts());
        let tails = [(Metric::InterChunkLatency, late), (Metric::TimeToFirstToken, late_firsts)];
        let tail = |(metric, late)| LateTail::of(metric, self.collected.sampler(metric)?, late);
        tails.into_iter().filter_map(tail).collect()
    }

    /// The waiting times including failed requests, if there were any failures.
    fn with_failures(&mut self) -> Vec<(Metric, WithFailures)> {
        if self.counts.failed == 0 {
            return Vec::new();
        }
        let close = |unfinished: Unfinished| {
            let metric = unfinished.metric;
            Some((metric, unfinished.close(self.collected.sampler(metric)?)?))
        };
        std::mem::take(&mut self.unfinished).into_iter().filter_map(close).collect()
    }

    /// The figures of the whole run. A run without duration has no rates.
    fn scalars(&self, duration: Nanos) -> Vec<(Metric, f64)> {
        let seconds = Some(duration.as_secs_f64()).filter(|&seconds| seconds > 0.0);
        let known = |flow: Flow| match flow {
            Flow::Tokens => self.counted,
            Flow::Good => !self.config.goodput.is_empty(),
            Flow::Requests => true,
        };
        let value = |metric: Metric| match metric.kind() {
            Kind::Rate(flow) => seconds.filter(|_| known(flow)).map(|seconds| self.flow.amount(flow) as f64 / seconds),
            Kind::Count(count) => Some(count(&self.counts) as f64),
            Kind::PerRequest(_) | Kind::Pooled(_) => None,
        };
        Metric::ALL.into_iter().filter_map(|metric| Some((metric, value(metric)?))).collect()
    }
}

/// The intervals of the rates that the run has; `latency` is the mean latency in milliseconds. An interval of zero width,
/// which identical waves produce, is dropped, because no run is that precise.
fn rate_intervals(
    bins: &Bins,
    span: Option<Span>,
    latency: Option<f64>,
    scalars: &[(Metric, f64)],
    seed: Seed,
) -> Vec<(Metric, Interval)> {
    let intervals = span
        .zip(latency)
        .and_then(|(span, latency)| bins.intervals(span.from, span.to, Nanos::from_secs_f64(latency / 1e3), seed));
    let Some(intervals) = intervals else { return Vec::new() };
    let interval = |metric: Metric| match metric.kind() {
        Kind::Rate(flow) => Flow::ALL.iter().position(|&known| known == flow).map(|index| intervals[index]),
        Kind::Count(_) | Kind::PerRequest(_) | Kind::Pooled(_) => None,
    };
    scalars
        .iter()
        .filter_map(|&(metric, _)| Some((metric, interval(metric)?)))
        .filter(|(_, interval)| interval.low < interval.high)
        .collect()
}

/// The failure of a record that claims success without output or a time of sending. Load threads write no such record, but a file may
/// contain one.
fn empty_success() -> Failure {
    Failure {
        stage: Stage::Body,
        class: FailureClass::Empty,
        message: "the record says ok but has no output or no time of sending".to_owned(),
    }
}
