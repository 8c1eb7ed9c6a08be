//! Fidelity: how far a run's figures can be trusted. Each check is a row with a grade, and the verdict is the worst grade.
//! The limits are in [`crate::thresholds`].

pub(crate) mod body_ends;
pub(crate) mod cached;
mod client;
mod endings;
pub(crate) mod hidden;
pub(crate) mod late_tail;
mod lengths;
pub(crate) mod opening;
pub(crate) mod paces;
mod prompts;
mod requests;
pub(crate) mod sharing;
pub(crate) mod unreadable;

use crate::answer::tokens::{TokenSources, TokensPerEvent};
use crate::config::AccumulatorConfig;
use crate::counts::{Counts, LengthAsked};
use crate::distribution::Distribution;
use crate::intervals::Estimate;
use crate::metrics::Metric;
use body_ends::BodyEnds;
use cached::CachedTokens;
use hidden::HiddenTokens;
use late_tail::LateTail;
use opening::OpeningBurst;
use paces::Paces;
use serde::{Deserialize, Serialize};
use sharing::Sharing;
use std::borrow::Cow;
use std::fmt;
use streamgauge_core::Message;
use streamgauge_core::record::RunFacts;
use unreadable::UnreadableParts;

/// How far a run's figures can be trusted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fidelity {
    /// The worst grade of any row.
    pub verdict: Grade,
    /// The checks that apply to the run.
    pub rows: Vec<FidelityRow>,
}

/// A grade of trust. The order is from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    /// The figures can be used as they are.
    Good,
    /// The figures can be used with the caveat in the row.
    Degraded,
    /// The figures should not be used.
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

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FidelityRow {
    /// Name in files.
    pub key: Cow<'static, str>,
    /// Name in reports.
    pub title: Cow<'static, str>,
    /// What was found, as reports show it. Settings appear under their published names.
    pub value: String,
    /// What was found, if it is a number.
    pub number: Option<f64>,
    /// The unit of the number; empty if there is no number.
    pub unit: Cow<'static, str>,
    /// The grade of the check.
    pub grade: Grade,
    /// What to do about it, unless it is good.
    pub remedy: Option<Message>,
}

/// All the data that the rows are computed from.
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
    /// Successful requests with a stamp that is earlier than the previous one.
    pub backward: u64,
    pub body_ends: BodyEnds,
    /// The requests sent together at the start, where some were.
    pub opening: Option<OpeningBurst>,
    /// The parts of successful answers that could not be parsed.
    pub unreadable: UnreadableParts,
    /// Successful requests without output.
    pub empty: u64,
    /// The figure that the run waited for, if it waited for one.
    pub awaited: Option<Estimate>,
}

impl Fidelity {
    /// Computes the rows that apply and the verdict.
    pub(crate) fn judge(evidence: &Evidence<'_>) -> Fidelity {
        let rows: Vec<FidelityRow> = CHECKS
            .iter()
            .filter_map(|Check { key, title, judge }| {
                let (key, title) = (Cow::Borrowed(*key), Cow::Borrowed(*title));
                Some(FidelityRow { key, title, ..judge(evidence)? })
            })
            .collect();
        Fidelity { verdict: rows.iter().map(|row| row.grade).max().unwrap_or(Grade::Good), rows }
    }
}

/// A check that a run may get a row for.
#[derive(Debug)]
pub struct Check {
    /// The name in files.
    pub key: &'static str,
    /// The name in reports.
    pub title: &'static str,
    /// Computes the row, or returns `None` if the check does not apply.
    judge: Judge,
}

type Judge = fn(&Evidence<'_>) -> Option<FidelityRow>;

const fn check(key: &'static str, title: &'static str, judge: Judge) -> Check {
    Check { key, title, judge }
}

/// All checks, in the order of reports. Each has a row in `docs/fidelity.md` and in `docs/troubleshooting.md`.
pub static CHECKS: &[Check] = &[
    check("successful_requests", "Successful requests", requests::no_success),
    check("ended_early", "Ended early", requests::ended_early),
    check("windows", "Windows", endings::windows),
    check("window_length", "Length of the windows", endings::window_length),
    check("confidence", "Confidence", endings::confidence),
    check("clock", "Clock", client::clock),
    check("backward_stamps", "Requests with stamps in the wrong order", client::backward_stamps),
    check("shared_reads", "Events in late shared reads", client::shared_reads),
    check("late_first_tokens", "First tokens in late shared reads", client::late_firsts),
    check("late_reads_at_p99", "p99 and late shared reads", client::late_tails),
    check("events_together", "Events that arrived together", client::events_together),
    check("client_lag", "Client lag", client::client_lag),
    check("turnaround", "Turnaround between requests", client::turnaround),
    check("send_lateness", "Lateness of sending", client::send_lateness),
    check("prompt_waits", "Prompts ready in time", prompts::waits),
    check("follow_ups", "Later turns made too slowly", prompts::follow_ups),
    check("load_thread_cpu", "Busiest load thread", client::load_thread_cpu),
    check("opening_burst", "Opening burst", opening::opening_burst),
    check("failed_requests", "Failed requests", requests::failed),
    check("failed_conversations", "Conversations that ended with a failed turn", prompts::conversations),
    check("cut_off_requests", "Requests cut off at the end", requests::cut_off),
    check("unreadable", "Parts of answers that could not be read", unreadable::row),
    check("empty_replies", "Replies without output", requests::empty_replies),
    check("connections", "Kept connections lost", requests::connections),
    check("acknowledgements", "Late acknowledgements", requests::acknowledgements),
    check("body_ends", "Bodies that continue after the answer", body_ends::body_ends),
    check("output_length", "Output length against requested length", lengths::output_length),
    check("token_counts", "Token counts, server against client", lengths::token_counts),
    check("tokens_per_event", "Output tokens per event", lengths::tokens_per_event),
    check("hidden_tokens", "Output tokens that were not shown", hidden::hidden_tokens),
    check("throughput_per_user", "Throughput per user", paces::throughput_per_user),
    check("cached_prompts", "Prompts from the server's cache", cached::cached_prompts),
    check("uncounted_requests", "Requests without a token count", lengths::uncounted),
    check("run_length", "Run length against dependence in time", endings::too_short),
    check("samples", "Samples behind the percentiles", lengths::samples),
];

impl Evidence<'_> {
    pub(crate) fn distribution(&self, metric: Metric) -> Option<&Distribution> {
        self.distributions.iter().find(|(known, _)| *known == metric).map(|(_, distribution)| distribution)
    }
}

impl FidelityRow {
    /// Sets the remedy, unless the row is good.
    pub(crate) fn remedy(self, remedy: impl Into<Message>) -> FidelityRow {
        FidelityRow { remedy: (self.grade > Grade::Good).then(|| remedy.into()), ..self }
    }
}

/// A row with a value in words. The list of checks adds the names.
pub(crate) fn text_row(value: String, grade: Grade) -> FidelityRow {
    let nameless = Cow::Borrowed("");
    FidelityRow {
        key: nameless.clone(),
        title: nameless.clone(),
        value,
        number: None,
        unit: nameless,
        grade,
        remedy: None,
    }
}

/// A row with a share of 1, which is shown as a percentage. The list of checks adds the names.
pub(crate) fn share_row(share: f64, grade: Grade) -> FidelityRow {
    FidelityRow { number: Some(share * 100.0), unit: "%".into(), ..text_row(hundredths(share), grade) }
}

/// `part` as a share of `whole`. Returns `None` if `whole` is 0.
pub(crate) fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

pub(crate) fn graded(found: f64, good: f64, degraded: f64) -> Grade {
    if found <= good {
        Grade::Good
    } else if found <= degraded {
        Grade::Degraded
    } else {
        Grade::Invalid
    }
}

/// The grade of a row that can degrade a run but never make it invalid.
pub(crate) fn caveat(share: f64, good: f64) -> Grade {
    graded(share, good, f64::INFINITY)
}

pub(crate) fn hundredths(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

pub(crate) fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
