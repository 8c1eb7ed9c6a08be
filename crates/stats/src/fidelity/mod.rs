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
        let rows: Vec<FidelityRow> = JUDGES.iter().filter_map(|judge| judge(evidence)).collect();
        Fidelity { verdict: rows.iter().map(|row| row.grade).max().unwrap_or(Grade::Good), rows }
    }
}

/// One function per row, in the order of reports. A function returns `None` if its row does not apply.
const JUDGES: &[fn(&Evidence<'_>) -> Option<FidelityRow>] = &[
    requests::no_success,
    requests::ended_early,
    endings::windows,
    endings::window_length,
    endings::confidence,
    client::clock,
    client::backward_stamps,
    client::shared_reads,
    client::late_firsts,
    client::late_tails,
    client::events_together,
    client::client_lag,
    client::turnaround,
    client::send_lateness,
    client::load_thread_cpu,
    opening::opening_burst,
    requests::failed,
    requests::cut_off,
    unreadable::row,
    requests::empty_replies,
    requests::connections,
    requests::acknowledgements,
    body_ends::body_ends,
    lengths::output_length,
    lengths::token_counts,
    lengths::tokens_per_event,
    hidden::hidden_tokens,
    paces::throughput_per_user,
    cached::cached_prompts,
    lengths::uncounted,
    endings::too_short,
    lengths::samples,
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

pub(crate) fn text_row(key: &'static str, title: &'static str, value: String, grade: Grade) -> FidelityRow {
    FidelityRow { key: key.into(), title: title.into(), value, number: None, unit: "".into(), grade, remedy: None }
}

pub(crate) fn share_row(key: &'static str, title: &'static str, share: f64, grade: Grade) -> FidelityRow {
    FidelityRow { number: Some(share * 100.0), unit: "%".into(), ..text_row(key, title, hundredths(share), grade) }
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
