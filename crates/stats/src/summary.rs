//! The fold over records: what a run's records come to.

use crate::answer::Answer;
use crate::distribution::{Distribution, Sampler};
use crate::fidelity::{Evidence, Fidelity};
use crate::goodput::{Goodput, GoodputError};
use crate::interval::Interval;
use crate::late_tail::LateTail;
use crate::metric::Metric;
use crate::sharing::Sharing;
use crate::thresholds::SEND_LATENESS_GOOD;
use crate::throughput::Bins;
use crate::tokens::{TokenSources, TokensPerEvent};
use crate::with_failures::{Unfinished, WAITS, WithFailures};
use serde::Serialize;
use std::collections::BTreeMap;
use streamgauge_core::plan::{Stamps, TokenCount};
use streamgauge_core::record::RunFacts;
use streamgauge_core::seed::Seed;
use streamgauge_core::{Failure, FailureClass, Nanos, Outcome, Phase, Record, RunPlan, Stage};

/// What a run's records come to. Only successful measured requests are in a distribution or a rate, save the time
/// to failure, which is of the failed ones, and the lateness of sending, which is of all.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Statistics of each metric that has values, in the order of [`Metric`].
    pub distributions: Vec<(Metric, Distribution)>,
    /// The figures of the whole run that could be computed, in the order of [`Metric`].
    pub scalars: Vec<(Metric, f64)>,
    /// How far chance may have moved those of them that are rates; none where the run is too short to tell.
    pub rate_intervals: Vec<(Metric, Interval)>,
    /// When requests failed, the waiting times in which each of those counts as one that took for ever.
    pub with_failures: Vec<(Metric, WithFailures)>,
    /// Requests by outcome.
    pub counts: Counts,
    /// What failed, most frequent first.
    pub failures: Vec<FailureGroup>,
    /// Whose token counts the figures use.
    pub tokens: TokenSources,
    /// From the first successful request's `sent` to the last output event of any.
    pub duration: Nanos,
    /// How far all this can be trusted.
    pub fidelity: Fidelity,
}

impl Summary {
    /// A metric's statistics, when it has values.
    pub fn distribution(&self, metric: Metric) -> Option<&Distribution> {
        self.distributions.iter().find(|(known, _)| *known == metric).map(|(_, distribution)| distribution)
    }

    /// A figure of the whole run, when it could be computed.
    pub fn scalar(&self, metric: Metric) -> Option<f64> {
        self.scalars.iter().find(|(known, _)| *known == metric).map(|&(_, value)| value)
    }

    /// How far chance may have moved a metric's mean, or its one figure.
    pub fn interval(&self, metric: Metric) -> Option<Interval> {
        match self.distribution(metric) {
            Some(distribution) => distribution.intervals.avg,
            None => self.rate_intervals.iter().find(|(known, _)| *known == metric).map(|&(_, interval)| interval),
        }
    }
}

/// Requests by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Measured, whatever became of them.
    pub requests: u64,
    /// Answered whole.
    pub ok: u64,
    /// Failed.
    pub failed: u64,
    /// Unfinished when the run was over.
    pub cut_off: u64,
    /// Given up on purpose, as the plan wanted.
    pub cancelled: u64,
    /// Sent before the measured ones, in no other count.
    pub warmup: u64,
    /// Measured and sent again after a kept connection died, whatever became of them.
    pub retried: u64,
    /// Measured and sent over [`SEND_LATENESS_GOOD`] later than the schedule wanted, whatever became of them, or by then
    /// not sent at all.
    pub sent_late: u64,
    /// Measured and due, but never sent before the run was over.
    pub never_sent: u64,
}

/// Failures of one kind.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FailureGroup {
    /// How far the requests had come.
    pub stage: Stage,
    /// What happened to them.
    pub class: FailureClass,
    /// How many.
    pub count: u64,
    /// The message of the earliest of them.
    pub sample: String,
    /// From when they were issued, in milliseconds.
    pub time_to_failure: Distribution,
}

/// What an [`Accumulator`] must know of the plan.
#[derive(Clone, Debug, PartialEq)]
pub struct AccumulatorConfig {
    /// Which count of output tokens the figures use.
    pub token_count: TokenCount,
    /// The limits of a good request.
    pub goodput: Goodput,
    /// Whether answers were asked for as streams.
    pub streaming: bool,
    /// Whether output lengths were asked for exactly rather than as a maximum.
    pub output_exact: bool,
    /// Where receive stamps were to come from.
    pub stamps: Stamps,
    /// Where chance comes from.
    pub seed: Seed,
}

impl AccumulatorConfig {
    /// As the plan says.
    ///
    /// # Errors
    /// When the plan's goodput limits are not ones that can be kept.
    pub fn of(plan: &RunPlan) -> Result<AccumulatorConfig, GoodputError> {
        Ok(AccumulatorConfig {
            token_count: plan.token_count,
            goodput: Goodput::parse(&plan.goodput)?,
            streaming: plan.endpoint.streaming,
            output_exact: plan.prompts.output_exact,
            stamps: plan.stamps,
            seed: plan.prompts.seed,
        })
    }
}

/// The metrics that each successful request has at most one value of.
const PER_REQUEST: [Metric; 15] = [
    Metric::TimeToFirstToken,
    Metric::TimeToFirstTokenFromDue,
    Metric::TimeToSecondToken,
    Metric::RequestLatency,
    Metric::RequestLatencyFromDue,
    Metric::InterTokenLatency,
    Metric::OutputTokenThroughputPerUser,
    Metric::OutputSequenceLength,
    Metric::InputSequenceLength,
    Metric::TimeToFirstByte,
    Metric::TimeToFirstAnswer,
    Metric::PromptTokensByServer,
    Metric::TemplateTokens,
    Metric::Turnaround,
    Metric::ConnectTime,
];

/// Takes records in, in any order. Its memory is bounded, and nothing is allocated for a chunk.
#[derive(Debug)]
pub struct Accumulator {
    config: AccumulatorConfig,
    counts: Counts,
    tokens: TokenSources,
    samplers: [Sampler; PER_REQUEST.len()],
    gaps: Sampler,
    lags: Sampler,
    times_to_failure: Sampler,
    lateness: Sampler,
    unfinished: [Unfinished; WAITS.len()],
    bins: Bins,
    failures: BTreeMap<(Stage, FailureClass), FailureKind>,
    sharing: Sharing,
    tokens_per_event: TokensPerEvent,
    length: LengthAsked,
    backward: u64,
    output_tokens: Option<u64>,
    good: u64,
    span: Option<(Nanos, Nanos)>,
}

/// Output lengths against the lengths asked for, in tokens over all requests that asked.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LengthAsked {
    /// Sum of the differences, each without its sign.
    pub difference: u64,
    /// Sum of the lengths asked for.
    pub asked: u64,
}

/// The failures of one kind so far.
#[derive(Debug)]
struct FailureKind {
    count: u64,
    first: u64,
    sample: String,
    times: Sampler,
}

impl Accumulator {
    /// Of no records yet.
    pub fn new(config: AccumulatorConfig) -> Accumulator {
        Accumulator {
            config,
            counts: Counts::default(),
            tokens: TokenSources::default(),
            samplers: PER_REQUEST.map(Sampler::of),
            gaps: Sampler::of(Metric::InterChunkLatency),
            lags: Sampler::of(Metric::ClientLag),
            times_to_failure: Sampler::of(Metric::TimeToFailure),
            lateness: Sampler::of(Metric::SendLateness),
            unfinished: WAITS.map(Unfinished::of),
            bins: Bins::new(),
            failures: BTreeMap::new(),
            sharing: Sharing::default(),
            tokens_per_event: TokensPerEvent::default(),
            length: LengthAsked::default(),
            backward: 0,
            output_tokens: None,
            good: 0,
            span: None,
        }
    }

    /// Takes one record in.
    pub fn add(&mut self, record: &Record) {
        if record.phase == Phase::Warmup {
            self.counts.warmup += 1;
            return;
        }
        self.counts.requests += 1;
        self.counts.retried += u64::from(record.retries > 0);
        self.add_lateness(record);
        match &record.outcome {
            Outcome::Cancelled => self.counts.cancelled += 1,
            Outcome::CutOff => {
                self.counts.cut_off += 1;
                self.unfinished.iter_mut().for_each(|wait| wait.add_cut_off(record, self.config.streaming));
            }
            Outcome::Failed(failure) => self.add_failure(record, failure),
            Outcome::Ok => match Answer::of(record, self.config.token_count, self.config.streaming) {
                Some(answer) => self.add_answer(record, &answer),
                None => self.add_failure(record, &empty_success()),
            },
        }
    }

    /// A request that was due and not sent before the run was over is as late as it could be seen to be; one that failed
    /// before it was sent is a failure and nothing else.
    fn add_lateness(&mut self, record: &Record) {
        let never = record.sent.is_none() && record.outcome == Outcome::CutOff;
        let left = if never { Some(record.end) } else { record.sent };
        if let (Some(due), Some(left)) = (record.due, left) {
            self.lateness.add_nanos(left - due);
            self.counts.sent_late += u64::from(left - due > SEND_LATENESS_GOOD);
            self.counts.never_sent += u64::from(never);
        }
    }

    fn add_failure(&mut self, record: &Record, failure: &Failure) {
        self.counts.failed += 1;
        self.unfinished.iter_mut().for_each(|wait| wait.add_failed(record));
        let time = record.end - record.issued;
        self.times_to_failure.add_nanos(time);
        let kind = self.failures.entry((failure.stage, failure.class)).or_insert_with(|| FailureKind {
            count: 0,
            first: u64::MAX,
            sample: String::new(),
            times: Sampler::of(Metric::TimeToFailure),
        });
        kind.count += 1;
        kind.times.add_nanos(time);
        // The earliest by number and not by arrival, so that the summary does not depend on the order of records.
        if record.seq < kind.first {
            kind.first = record.seq;
            kind.sample.clone_from(&failure.message);
        }
    }

    fn add_answer(&mut self, record: &Record, answer: &Answer<'_>) {
        self.counts.ok += 1;
        self.tokens.add(record, answer.output.map(|(_, source)| source));
        for (metric, sampler) in PER_REQUEST.into_iter().zip(&mut self.samplers) {
            if let Some(value) = answer.value(metric) {
                sampler.add(value);
            }
        }
        let mut backward = answer.first < answer.sent;
        for gap in answer.gaps() {
            backward |= gap < Nanos::ZERO;
            self.gaps.add_nanos(gap);
        }
        self.backward += u64::from(backward);
        answer.lags().for_each(|lag| self.lags.add_nanos(lag));
        if self.config.streaming {
            self.sharing.add(&record.chunks);
            self.tokens_per_event.add(record, answer.output);
        }
        if let Some((difference, asked)) = answer.length_against_asked() {
            self.length.difference = self.length.difference.saturating_add(difference);
            self.length.asked = self.length.asked.saturating_add(asked);
        }
        if let Some((count, _)) = answer.output {
            self.output_tokens = Some(self.output_tokens.unwrap_or(0).saturating_add(count));
        }
        let good = self.config.goodput.holds(answer);
        self.good += u64::from(good);
        self.bins.add(answer, good);
        let (start, end) = self.span.unwrap_or((answer.sent, answer.last));
        self.span = Some((start.min(answer.sent), end.max(answer.last)));
    }

    /// The summary of what was taken in, with the rest of the evidence about the run.
    pub fn close(mut self, facts: &RunFacts) -> Summary {
        let duration = self.span.map_or(Nanos::ZERO, |(start, end)| end - start);
        let scalars = self.scalars(duration);
        let with_failures = self.with_failures();
        let late_tails = self.late_tails();
        let pooled = [
            (Metric::SendLateness, self.lateness),
            (Metric::InterChunkLatency, self.gaps),
            (Metric::ClientLag, self.lags),
            (Metric::TimeToFailure, self.times_to_failure),
        ];
        let mut distributions: Vec<(Metric, Distribution)> = PER_REQUEST
            .into_iter()
            .zip(self.samplers)
            .chain(pooled)
            .filter_map(|(metric, sampler)| Some((metric, sampler.close()?)))
            .collect();
        distributions.sort_by_key(|&(metric, _)| metric);
        let rate_intervals = rate_intervals(&self.bins, self.span, &distributions, &scalars, self.config.seed);
        let fidelity = Fidelity::judge(&Evidence {
            config: &self.config,
            facts,
            counts: self.counts,
            tokens: self.tokens,
            sharing: &self.sharing,
            late_tails: &late_tails,
            tokens_per_event: self.tokens_per_event,
            distributions: &distributions,
            length: self.length,
            backward: self.backward,
        });
        let (counts, tokens) = (self.counts, self.tokens);
        let failures = groups(self.failures);
        Summary { distributions, scalars, rate_intervals, with_failures, counts, failures, tokens, duration, fidelity }
    }

    /// What late reads may have done to the times between events and to the first tokens.
    fn late_tails(&mut self) -> Vec<LateTail> {
        let (late, late_firsts) = (self.sharing.all_late(), self.sharing.all_late_firsts());
        let gaps = LateTail::of(Metric::InterChunkLatency, &mut self.gaps, late);
        let firsts = PER_REQUEST.iter().zip(&mut self.samplers).find(|(known, _)| **known == Metric::TimeToFirstToken);
        let firsts = firsts.and_then(|(&metric, values)| LateTail::of(metric, values, late_firsts));
        gaps.into_iter().chain(firsts).collect()
    }

    /// The waiting times with failures counted in, if there were any.
    fn with_failures(&mut self) -> Vec<(Metric, WithFailures)> {
        if self.counts.failed == 0 {
            return Vec::new();
        }
        let unfinished = std::mem::replace(&mut self.unfinished, WAITS.map(Unfinished::of));
        let close = |(metric, unfinished): (Metric, Unfinished)| {
            let (_, sampler) = PER_REQUEST.iter().zip(&mut self.samplers).find(|(known, _)| **known == metric)?;
            Some((metric, unfinished.close(sampler)?))
        };
        WAITS.into_iter().zip(unfinished).filter_map(close).collect()
    }

    /// The figures of the whole run. A run without duration has no rates.
    fn scalars(&self, duration: Nanos) -> Vec<(Metric, f64)> {
        let rate = |count: u64| (duration > Nanos::ZERO).then(|| count as f64 / duration.as_secs_f64());
        let good = (!self.config.goodput.is_empty()).then_some(self.good);
        [
            (Metric::OutputTokenThroughput, self.output_tokens.and_then(rate)),
            (Metric::RequestThroughput, rate(self.counts.ok)),
            (Metric::RequestGoodput, good.and_then(rate)),
            (Metric::RequestCount, Some(self.counts.ok as f64)),
        ]
        .into_iter()
        .filter_map(|(metric, value)| Some((metric, value?)))
        .collect()
    }
}

/// The intervals of those rates that the run has.
fn rate_intervals(
    bins: &Bins,
    span: Option<(Nanos, Nanos)>,
    distributions: &[(Metric, Distribution)],
    scalars: &[(Metric, f64)],
    seed: Seed,
) -> Vec<(Metric, Interval)> {
    let latency = distributions.iter().find(|(metric, _)| *metric == Metric::RequestLatency);
    let intervals = span.zip(latency).and_then(|((start, end), (_, latency))| {
        bins.intervals(start, end, Nanos::from_secs_f64(latency.avg / 1e3), seed)
    });
    let Some([requests, good, tokens]) = intervals else { return Vec::new() };
    [(Metric::OutputTokenThroughput, tokens), (Metric::RequestThroughput, requests), (Metric::RequestGoodput, good)]
        .into_iter()
        .filter(|(metric, _)| scalars.iter().any(|(known, _)| known == metric))
        .collect()
}

fn groups(failures: BTreeMap<(Stage, FailureClass), FailureKind>) -> Vec<FailureGroup> {
    let group = |((stage, class), kind): ((Stage, FailureClass), FailureKind)| {
        let time_to_failure = kind.times.close()?;
        Some(FailureGroup { stage, class, count: kind.count, sample: kind.sample, time_to_failure })
    };
    let mut groups: Vec<FailureGroup> = failures.into_iter().filter_map(group).collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.count));
    groups
}

/// A record that calls itself a success and has nothing to show for it (from a file; the load threads write none) is
/// not one.
fn empty_success() -> Failure {
    Failure {
        stage: Stage::Body,
        class: FailureClass::Empty,
        message: "the record says ok but has no output or no time of sending".to_owned(),
    }
}
