//! Why a run ended before its plan did, or by a figure.
//!
//! Files and reports show these reasons as sentences. A reason that is read back from a file is recognised by its sentence; one of
//! another version of the program is kept as the text that it is.

use crate::units::percent;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Why a run ended before its plan did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "String", from = "String")]
pub enum EarlyEnd {
    /// Every request failed, and there were enough of them to expect nothing else.
    AllFailed {
        /// The requests that had ended.
        requests: u64,
    },
    /// More requests failed than the plan allows.
    OverBudget(OverBudget),
    /// The operating system refused something that a load thread needs.
    LoadThread {
        /// The system's error.
        error: String,
    },
    /// A load thread panicked.
    LoadThreadPanic,
    /// The source of the prompts could not be read on.
    Prompts {
        /// Where and why.
        error: String,
    },
    /// The file of records has no end: the program was killed, or it still runs.
    Killed,
    /// A reason that this version does not know, read from a file.
    Other(String),
}

/// More failed requests than a plan allows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OverBudget {
    /// The failed requests.
    pub failed: u64,
    /// The finished ones, failed or successful.
    pub finished: u64,
    /// The share of the finished requests that may fail, from 0 to 1.
    pub allowed: f64,
}

/// The figure that ended a run according to its plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "String", from = "String")]
pub enum Satisfied {
    /// The run's windows came to a verdict.
    Windows {
        /// The result of the windows.
        verdict: WindowVerdict,
        /// How many windows there were.
        windows: usize,
        /// How many of the last windows must agree.
        agree: usize,
        /// The share by which they may differ.
        within: f64,
    },
    /// The 95 % interval of a figure is narrow enough.
    Interval {
        /// The name of the figure.
        figure: String,
        /// The distance of the interval's farther end from the figure, as a share of the figure.
        precision: f64,
        /// The share that was asked for.
        within: f64,
    },
    /// A reason that was read from a file.
    Stored(String),
}

/// The result of a run of windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowVerdict {
    /// The last windows agree.
    Agree,
    /// The latency of one of the last windows is over the limit.
    OverLimit,
    /// All windows are over, and only the throughputs of the last ones agree.
    AgreeByThroughput,
    /// All windows are over, and there were fewer than must agree.
    TooFew,
    /// All windows are over, and the last ones do not agree.
    Disagree,
}

impl fmt::Display for EarlyEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EarlyEnd::AllFailed { requests } => write!(f, "the first {requests} requests all failed"),
            EarlyEnd::OverBudget(over) => over.fmt(f),
            EarlyEnd::LoadThread { error } => write!(f, "a load thread could not go on: {error}"),
            EarlyEnd::Prompts { error } => write!(f, "there were no more prompts: {error}"),
            EarlyEnd::LoadThreadPanic => f.write_str("a load thread stopped by an error of this program"),
            EarlyEnd::Killed => f.write_str("killed, or still going on: its records have no end"),
            EarlyEnd::Other(text) => f.write_str(text),
        }
    }
}

impl fmt::Display for OverBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let OverBudget { failed, finished, allowed } = *self;
        write!(f, "{failed} of {finished} requests failed, more than the {} allowed", percent(allowed))
    }
}

impl fmt::Display for Satisfied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Satisfied::Windows { verdict, windows, agree, within } => {
                let within = percent(*within);
                match verdict {
                    WindowVerdict::Agree => write!(f, "the last {agree} of {windows} windows agree within {within}"),
                    WindowVerdict::OverLimit => {
                        write!(f, "latency went over its limit in one of the last {agree} of {windows} windows")
                    }
                    WindowVerdict::AgreeByThroughput => {
                        write!(
                            f,
                            "all {windows} windows are over; by throughput alone the last {agree} agree within {within}"
                        )
                    }
                    WindowVerdict::TooFew => write!(f, "all {windows} windows are over, too few to agree"),
                    WindowVerdict::Disagree => {
                        write!(f, "all {windows} windows are over, and the last {agree} do not agree within {within}")
                    }
                }
            }
            Satisfied::Interval { figure, precision, within } => {
                let asked = percent(*within);
                write!(f, "the 95 % interval of {figure} is ±{:.2} %, {asked} was requested", precision * 100.0)
            }
            Satisfied::Stored(text) => f.write_str(text),
        }
    }
}

impl From<EarlyEnd> for String {
    fn from(end: EarlyEnd) -> String {
        end.to_string()
    }
}

impl From<Satisfied> for String {
    fn from(satisfied: Satisfied) -> String {
        satisfied.to_string()
    }
}

impl From<String> for EarlyEnd {
    /// The reason that has this sentence.
    fn from(text: String) -> EarlyEnd {
        // A sentence is a reason's only if that reason is shown by exactly this sentence.
        match recognised(&text).filter(|end| end.to_string() == text) {
            Some(end) => end,
            None => EarlyEnd::Other(text),
        }
    }
}

impl From<String> for Satisfied {
    fn from(text: String) -> Satisfied {
        Satisfied::Stored(text)
    }
}

fn recognised(text: &str) -> Option<EarlyEnd> {
    if let Some(error) = text.strip_prefix("a load thread could not go on: ") {
        return Some(EarlyEnd::LoadThread { error: error.to_owned() });
    }
    if let Some(error) = text.strip_prefix("there were no more prompts: ") {
        return Some(EarlyEnd::Prompts { error: error.to_owned() });
    }
    if let Some(rest) = text.strip_prefix("the first ") {
        return Some(EarlyEnd::AllFailed { requests: rest.split_once(' ')?.0.parse().ok()? });
    }
    for end in [EarlyEnd::LoadThreadPanic, EarlyEnd::Killed] {
        if end.to_string() == text {
            return Some(end);
        }
    }
    let (counts, rest) = text.split_once(" requests failed, more than the ")?;
    let (failed, finished) = counts.split_once(" of ")?;
    let allowed: f64 = rest.split_once(' ')?.0.parse().ok()?;
    Some(EarlyEnd::OverBudget(OverBudget {
        failed: failed.parse().ok()?,
        finished: finished.parse().ok()?,
        allowed: allowed / 100.0,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_for_an_early_end_is_stored_as_its_sentence_and_read_back() {
        let over = |allowed| EarlyEnd::OverBudget(OverBudget { failed: 3, finished: 20, allowed });
        for (end, text) in [
            (EarlyEnd::AllFailed { requests: 20 }, "the first 20 requests all failed"),
            (over(0.125), "3 of 20 requests failed, more than the 12.5 % allowed"),
            (over(0.0), "3 of 20 requests failed, more than the 0 % allowed"),
            (EarlyEnd::LoadThread { error: "no space".into() }, "a load thread could not go on: no space"),
            (EarlyEnd::Prompts { error: "line 7: x".into() }, "there were no more prompts: line 7: x"),
            (EarlyEnd::LoadThreadPanic, "a load thread stopped by an error of this program"),
            (EarlyEnd::Killed, "killed, or still going on: its records have no end"),
            (EarlyEnd::Other("of another version".into()), "of another version"),
            (EarlyEnd::Other("the first 7 requests were odd".into()), "the first 7 requests were odd"),
            (EarlyEnd::Other(String::new()), ""),
        ] {
            let stored = serde_json::to_value(&end).unwrap();
            assert_eq!(stored, text);
            assert_eq!(serde_json::from_value::<EarlyEnd>(stored).unwrap(), end);
        }
    }

    #[test]
    fn what_figure_ended_a_run_is_said_in_a_sentence() {
        let windows = |verdict| Satisfied::Windows { verdict, windows: 5, agree: 3, within: 0.1 }.to_string();
        assert_eq!(windows(WindowVerdict::Agree), "the last 3 of 5 windows agree within 10 %");
        assert_eq!(windows(WindowVerdict::OverLimit), "latency went over its limit in one of the last 3 of 5 windows");
        assert_eq!(
            windows(WindowVerdict::AgreeByThroughput),
            "all 5 windows are over; by throughput alone the last 3 agree within 10 %"
        );
        assert_eq!(windows(WindowVerdict::TooFew), "all 5 windows are over, too few to agree");
        assert_eq!(windows(WindowVerdict::Disagree), "all 5 windows are over, and the last 3 do not agree within 10 %");
        let interval = Satisfied::Interval { figure: "ttft:p99".into(), precision: 0.0187, within: 0.02 };
        let text = "the 95 % interval of ttft:p99 is ±1.87 %, 2 % was requested";
        assert_eq!(serde_json::to_value(&interval).unwrap(), text);
        assert_eq!(serde_json::from_value::<Satisfied>(text.into()).unwrap(), Satisfied::Stored(text.into()));
    }
}
