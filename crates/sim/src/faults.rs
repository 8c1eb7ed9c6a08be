//! Faults: what the simulated server does wrong on purpose, and to which requests.

use rand::{Rng, RngExt};
use std::fmt;
use std::str::FromStr;
use streamgauge_core::clock::Nanos;
use streamgauge_core::units::{Bare, parse_duration};

/// One fault and whom it hits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fault {
    /// What goes wrong.
    pub kind: FaultKind,
    /// For which requests; of the two faults that close connections, for which connections.
    pub when: When,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FaultKind {
    /// The count of output tokens off by so many, or `None`: all counts zero.
    BadUsage(Option<i64>),
    /// A connection is closed, without saying so, once it has carried so many requests.
    CloseAfter(u32),
    /// A connection is closed, without saying so, once it has been idle for so long.
    CloseIdle(Nanos),
    /// Half-way through a stream, or instead of a whole answer, an error object; the status was good.
    ErrorEvent,
    /// Another response after the final one. gRPC only.
    ExtraResponse,
    /// The length of the output is the server's choice, whatever was asked.
    IgnoreLength,
    /// Half-way through a stream, or in a whole answer, broken JSON.
    Malformed,
    /// The last output of an answer is missing: a choice, or an embedding. OpenAI endpoints only.
    MissingOutput,
    /// So many tokens an event.
    MultiToken(u32),
    /// The final response never comes, and no other says that it is the last. gRPC only.
    NoFinal,
    /// `stream_options` is refused with status 400 and a message that names it.
    RejectStreamOptions,
    /// The connection is reset.
    Reset(Place),
    /// The head of the answer comes a byte at a time, with this pause between bytes. HTTP/1.1 only.
    SlowHeaders(Nanos),
    /// Every event comes in several writes, cut at odd places, inside a character too.
    SplitWrites,
    /// Nothing comes for so long.
    Stall(Place, Nanos),
    /// This status and an error object; the gRPC status that is most like it.
    Status(u16),
    /// The connection is closed half-way through the answer. A gRPC call ends there as if its answer were whole.
    Truncate,
    /// Half-way through, a response with an id that no request has. gRPC only.
    UnknownId,
}

/// Where in an answer something goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Before its first byte.
    Start,
    /// Half-way through its events.
    Middle,
}

/// Whom a fault hits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum When {
    /// Every n-th, beginning with the n-th.
    Every(u64),
    /// Each with this probability, by the seed.
    Share(f64),
}

impl When {
    /// Whether it hits the thing with this number (from 0).
    pub fn hits(self, number: u64, chance: &mut impl Rng) -> bool {
        match self {
            When::Every(n) => number % n.max(1) == n.max(1) - 1,
            When::Share(share) if share >= 1.0 => true,
            When::Share(share) => chance.random::<f64>() < share,
        }
    }
}

impl FaultKind {
    /// Its name on the command line and in the log.
    pub fn name(self) -> &'static str {
        match self {
            FaultKind::BadUsage(_) => "bad-usage",
            FaultKind::CloseAfter(_) => "close-after",
            FaultKind::CloseIdle(_) => "close-idle",
            FaultKind::ErrorEvent => "error-event",
            FaultKind::ExtraResponse => "extra-response",
            FaultKind::IgnoreLength => "ignore-length",
            FaultKind::Malformed => "malformed",
            FaultKind::MissingOutput => "missing-output",
            FaultKind::MultiToken(_) => "multi-token",
            FaultKind::NoFinal => "no-final",
            FaultKind::RejectStreamOptions => "reject-stream-options",
            FaultKind::Reset(Place::Start) => "reset-headers",
            FaultKind::Reset(Place::Middle) => "reset-stream",
            FaultKind::SlowHeaders(_) => "slow-headers",
            FaultKind::SplitWrites => "split-writes",
            FaultKind::Stall(Place::Start, _) => "stall-first",
            FaultKind::Stall(Place::Middle, _) => "stall-stream",
            FaultKind::Status(_) => "status",
            FaultKind::Truncate => "truncate",
            FaultKind::UnknownId => "unknown-id",
        }
    }

    /// Whether it is about whole connections rather than requests.
    pub(crate) fn is_of_connection(self) -> bool {
        matches!(self, FaultKind::CloseAfter(_) | FaultKind::CloseIdle(_))
    }
}

/// How each fault is written.
const FORMS: &[&str] = &[
    "status=CODE",
    "reset-headers",
    "reset-stream",
    "stall-first=TIME",
    "stall-stream=TIME",
    "truncate",
    "malformed",
    "error-event",
    "slow-headers[=TIME A BYTE]",
    "split-writes",
    "close-after=REQUESTS",
    "close-idle=TIME",
    "reject-stream-options",
    "bad-usage=zero|OFFSET",
    "missing-output",
    "multi-token=TOKENS",
    "ignore-length",
    "no-final",
    "unknown-id",
    "extra-response",
];

/// Why a fault could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultError {
    /// There is no such fault.
    #[error("`{0}` is not a fault: give one of {forms}, each with an optional :SHARE (0 to 1) or :every=N", forms = FORMS.join(", "))]
    Unknown(String),
    /// The fault's value is missing, unwanted or wrong.
    #[error("fault `{fault}`: {problem}")]
    Value {
        /// The fault's name.
        fault: &'static str,
        /// What was given and what is accepted.
        problem: String,
    },
    /// Whom it hits is wrong.
    #[error(
        "fault `{fault}`: `{given}` does not say whom it hits: give a share from 0 to 1, such as :0.1, or :every=N with N from 1"
    )]
    When {
        /// The fault as given.
        fault: String,
        /// The wrong part.
        given: String,
    },
}

impl FromStr for Fault {
    type Err = FaultError;

    /// Reads `NAME[=VALUE][:SHARE|:every=N]`, such as `status=503:0.1`; without the last part it hits everyone.
    fn from_str(text: &str) -> Result<Fault, FaultError> {
        let text = text.trim();
        let (what, when) = match text.split_once(':') {
            Some((what, when)) => (what, parse_when(what, when)?),
            None => (text, When::Share(1.0)),
        };
        let (name, value) = match what.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (what, None),
        };
        Ok(Fault { kind: parse_kind(name, value).ok_or_else(|| FaultError::Unknown(text.to_owned()))??, when })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.name())?;
        match self.kind {
            FaultKind::BadUsage(None) => f.write_str("=zero")?,
            FaultKind::BadUsage(Some(offset)) => write!(f, "={offset}")?,
            FaultKind::CloseAfter(n) | FaultKind::MultiToken(n) => write!(f, "={n}")?,
            FaultKind::CloseIdle(span) | FaultKind::Stall(_, span) | FaultKind::SlowHeaders(span) => {
                write!(f, "={}ms", span.as_millis_f64())?;
            }
            FaultKind::Status(code) => write!(f, "={code}")?,
            _ => {}
        }
        match self.when {
            When::Every(n) => write!(f, ":every={n}"),
            When::Share(share) if share >= 1.0 => Ok(()),
            When::Share(share) => write!(f, ":{share}"),
        }
    }
}

fn parse_when(what: &str, when: &str) -> Result<When, FaultError> {
    let refusal = || FaultError::When { fault: what.to_owned(), given: when.to_owned() };
    match when.strip_prefix("every=") {
        Some(n) => n.parse().ok().filter(|n| *n > 0).map(When::Every).ok_or_else(refusal),
        None => {
            let share = when.parse::<f64>().ok().filter(|share| (0.0..=1.0).contains(share));
            share.map(When::Share).ok_or_else(refusal)
        }
    }
}

/// `None` when there is no fault of this name.
fn parse_kind(name: &str, value: Option<&str>) -> Option<Result<FaultKind, FaultError>> {
    Some(match name {
        "bad-usage" => offset("bad-usage", value).map(FaultKind::BadUsage),
        "close-after" => count("close-after", value).map(FaultKind::CloseAfter),
        "close-idle" => span("close-idle", value, None).map(FaultKind::CloseIdle),
        "error-event" => bare(FaultKind::ErrorEvent, value),
        "extra-response" => bare(FaultKind::ExtraResponse, value),
        "ignore-length" => bare(FaultKind::IgnoreLength, value),
        "malformed" => bare(FaultKind::Malformed, value),
        "missing-output" => bare(FaultKind::MissingOutput, value),
        "multi-token" => count("multi-token", value).map(FaultKind::MultiToken),
        "no-final" => bare(FaultKind::NoFinal, value),
        "reject-stream-options" => bare(FaultKind::RejectStreamOptions, value),
        "reset-headers" => bare(FaultKind::Reset(Place::Start), value),
        "reset-stream" => bare(FaultKind::Reset(Place::Middle), value),
        "slow-headers" => span("slow-headers", value, Some(Nanos::from_millis(1))).map(FaultKind::SlowHeaders),
        "split-writes" => bare(FaultKind::SplitWrites, value),
        "stall-first" => span("stall-first", value, None).map(|span| FaultKind::Stall(Place::Start, span)),
        "stall-stream" => span("stall-stream", value, None).map(|span| FaultKind::Stall(Place::Middle, span)),
        "status" => status(value).map(FaultKind::Status),
        "truncate" => bare(FaultKind::Truncate, value),
        "unknown-id" => bare(FaultKind::UnknownId, value),
        _ => return None,
    })
}

fn bare(kind: FaultKind, value: Option<&str>) -> Result<FaultKind, FaultError> {
    match value {
        None => Ok(kind),
        Some(value) => Err(wrong(kind.name(), format!("it takes no value, but `{value}` was given"))),
    }
}

fn count(fault: &'static str, value: Option<&str>) -> Result<u32, FaultError> {
    let number = value.and_then(|value| value.parse().ok()).filter(|n| *n > 0);
    number.ok_or_else(|| wrong(fault, format!("{}; give a number from 1, such as {fault}=3", given(value))))
}

fn offset(fault: &'static str, value: Option<&str>) -> Result<Option<i64>, FaultError> {
    match value {
        Some("zero") => Ok(None),
        Some(value) if value.parse::<i64>().is_ok_and(|k| k != 0) => Ok(value.parse().ok()),
        _ => Err(wrong(fault, format!("{}; give zero or by how much, such as {fault}=-3", given(value)))),
    }
}

fn span(fault: &'static str, value: Option<&str>, default: Option<Nanos>) -> Result<Nanos, FaultError> {
    match (value, default) {
        (None, Some(default)) => Ok(default),
        (None, None) => Err(wrong(fault, format!("{}; give a time, such as {fault}=500ms", given(None)))),
        (Some(value), _) => parse_duration(value, Bare::Millis).map_err(|problem| wrong(fault, problem)),
    }
}

fn status(value: Option<&str>) -> Result<u16, FaultError> {
    let code = value.and_then(|value| value.parse().ok()).filter(|code| (400..=599).contains(code));
    code.ok_or_else(|| {
        wrong("status", format!("{}; give an error status from 400 to 599, such as status=503", given(value)))
    })
}

fn given(value: Option<&str>) -> String {
    value.map_or_else(|| "it needs a value".to_owned(), |value| format!("`{value}` was given"))
}

fn wrong(fault: &'static str, problem: String) -> FaultError {
    FaultError::Value { fault, problem }
}

/// Whether a fault strikes in the middle of a stream.
pub(crate) fn is_midway(fault: FaultKind) -> bool {
    matches!(
        fault,
        FaultKind::Stall(Place::Middle, _)
            | FaultKind::Reset(Place::Middle)
            | FaultKind::Truncate
            | FaultKind::Malformed
            | FaultKind::ErrorEvent
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use streamgauge_core::seed::Seed;

    #[test]
    fn every_form_is_read_and_written_back() {
        for text in [
            "status=503:0.1",
            "reset-headers",
            "reset-stream:every=3",
            "stall-first=2000ms",
            "stall-stream=1.5ms:0.25",
            "truncate:0.5",
            "malformed",
            "error-event",
            "slow-headers=1ms",
            "split-writes",
            "close-after=3",
            "close-idle=250ms:every=2",
            "reject-stream-options",
            "bad-usage=zero",
            "bad-usage=-3",
            "missing-output:0.5",
            "multi-token=4",
            "ignore-length",
            "no-final:0.5",
            "unknown-id",
            "extra-response",
        ] {
            assert_eq!(text.parse::<Fault>().unwrap().to_string(), text);
        }
        assert_eq!("stall-first=2s".parse::<Fault>().unwrap().to_string(), "stall-first=2000ms");
        assert_eq!("slow-headers".parse::<Fault>().unwrap().to_string(), "slow-headers=1ms");
        let kinds: std::collections::BTreeSet<&str> =
            FORMS.iter().map(|form| form.split(['=', '[']).next().unwrap()).collect();
        assert_eq!(kinds.len(), FORMS.len());
        assert!(kinds.iter().all(|name| parse_kind(name, None).is_some()));
    }

    #[test]
    fn nonsense_is_refused_in_a_sentence() {
        let message = |text: &str| text.parse::<Fault>().unwrap_err().to_string();
        assert_eq!(
            message("explode"),
            "`explode` is not a fault: give one of status=CODE, reset-headers, reset-stream, stall-first=TIME, \
             stall-stream=TIME, truncate, malformed, error-event, slow-headers[=TIME A BYTE], split-writes, \
             close-after=REQUESTS, close-idle=TIME, reject-stream-options, bad-usage=zero|OFFSET, missing-output, \
             multi-token=TOKENS, ignore-length, no-final, unknown-id, extra-response, each with an optional :SHARE (0 to 1) or :every=N"
        );
        assert_eq!(
            message("status=99"),
            "fault `status`: `99` was given; give an error status from 400 to 599, such as status=503"
        );
        assert_eq!(
            message("stall-first"),
            "fault `stall-first`: it needs a value; give a time, such as stall-first=500ms"
        );
        assert_eq!(message("truncate=3"), "fault `truncate`: it takes no value, but `3` was given");
        assert_eq!(
            message("truncate:2"),
            "fault `truncate`: `2` does not say whom it hits: give a share from 0 to 1, such as :0.1, or :every=N with N \
             from 1"
        );
        assert!(message("truncate:every=0").contains(":every=N with N from 1"));
        assert!(message("multi-token=0").contains("multi-token=3"));
        assert!(message("bad-usage=0").contains("bad-usage=-3"));
        assert!(message("stall-first=soon").contains("is not a duration"));
    }

    #[test]
    fn shares_are_drawn_and_turns_are_counted() {
        let mut chance = Seed(1).stream("test");
        let hits: Vec<u64> = (0..9).filter(|n| When::Every(3).hits(*n, &mut chance)).collect();
        assert_eq!(hits, [2, 5, 8]);
        assert!((0..100).all(|n| When::Share(1.0).hits(n, &mut chance)));
        assert!(!(0..100).any(|n| When::Share(0.0).hits(n, &mut chance)));
        let tenth = (0..10_000).filter(|n| When::Share(0.1).hits(*n, &mut chance)).count();
        assert!((900..1100).contains(&tenth), "{tenth}");
    }
}
