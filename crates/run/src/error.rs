//! The kinds of errors that a caller tells apart, and how a front end words what they say. All other errors mean that nothing could be
//! measured.

use anyhow::Error;
use std::error::Error as StdError;
use streamgauge_core::setting::{Explain, Message, Wording};
use streamgauge_load::{JobError, Refusal, TlsError};
use streamgauge_prompt::{InputError, SourceError, SynthesisError, TokenizerError};
use streamgauge_report::ArtifactError;
use streamgauge_stats::{ConfidenceError, GoodputError};
use streamgauge_wire::EncodeError;

/// The request cannot be carried out as given, for example because a tokenizer does not exist.
#[derive(Debug, thiserror::Error)]
#[error("{0:#}")]
pub struct Usage(pub Error);

/// The user ended the run before there was anything to report.
#[derive(Debug, thiserror::Error)]
#[error("interrupted while the test request was waited for: nothing was measured")]
pub struct Interrupted;

/// Marks `error` as a mistake in the request.
pub fn usage(error: impl Into<Error>) -> Error {
    Usage(error.into()).into()
}

/// An error with a message about where it happened, which refers to settings.
#[derive(Debug)]
struct Context {
    message: Message,
    cause: Error,
}

impl std::fmt::Display for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.message.fmt(f)
    }
}

impl StdError for Context {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(self.cause.as_ref())
    }
}

impl Explain for Context {
    fn message(&self) -> Message {
        self.message.clone()
    }
}

/// Says where an error happened by a message that refers to settings, as `anyhow::Context` does it by plain text.
pub(crate) trait About<T> {
    /// The result with `message` in front of its error.
    fn about(self, message: impl FnOnce() -> Message) -> anyhow::Result<T>;
}

impl<T, E: Into<Error>> About<T> for Result<T, E> {
    fn about(self, message: impl FnOnce() -> Message) -> anyhow::Result<T> {
        self.map_err(|error| about(error, message()))
    }
}

/// `cause` with `message` in front of it.
pub(crate) fn about(cause: impl Into<Error>, message: Message) -> Error {
    Context { message, cause: cause.into() }.into()
}

/// The error and its causes on one line, with settings as `wording` calls them. A cause that the error before it already ends with is not
/// repeated.
pub fn worded(error: &Error, wording: Wording) -> String {
    let mut texts: Vec<String> = Vec::new();
    for text in error.chain().map(|link| worded_link(link, wording)) {
        if !texts.last().is_some_and(|before| before.ends_with(&text)) {
            texts.push(text);
        }
    }
    texts.join(": ")
}

/// The outermost of the error and its causes alone, with settings as `wording` calls them.
pub fn worded_first(error: &Error, wording: Wording) -> String {
    error.chain().next().map(|link| worded_link(link, wording)).unwrap_or_default()
}

fn worded_link(link: &(dyn StdError + 'static), wording: Wording) -> String {
    if let Some(Usage(error)) = link.downcast_ref() {
        return worded(error, wording);
    }
    let message = MESSAGES.iter().find_map(|message| message(link));
    message.map_or_else(|| link.to_string(), |message| message.worded(wording))
}

type GetMessage = fn(&(dyn StdError + 'static)) -> Option<Message>;

/// The errors whose text refers to settings. A cause in a chain has lost its type, so each type is tried.
const MESSAGES: &[GetMessage] = &[
    of::<Message>,
    of::<Context>,
    of::<ArtifactError>,
    of::<ConfidenceError>,
    of::<EncodeError>,
    of::<GoodputError>,
    of::<InputError>,
    of::<JobError>,
    of::<Refusal>,
    of::<SourceError>,
    of::<SynthesisError>,
    of::<TlsError>,
    of::<TokenizerError>,
];

fn of<E: Explain + StdError + 'static>(link: &(dyn StdError + 'static)) -> Option<Message> {
    link.downcast_ref::<E>().map(E::message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;
    use streamgauge_core::{Setting, message};

    fn other(setting: Setting) -> Option<&'static str> {
        match setting {
            Setting::Goodput => Some("--limits"),
            Setting::InputFile => Some("-f"),
            _ => None,
        }
    }

    #[test]
    fn every_link_of_a_chain_is_worded_by_the_front_end() {
        let limit = GoodputError::Repeated { key: "x".to_owned() };
        let error = Err::<(), _>(limit).about(|| message![Setting::InputFile, " a.jsonl"]).context("outermost");
        let error = usage(error.unwrap_err());
        let natively = "outermost: --input-file a.jsonl: --goodput: `x` is given twice; give each metric one limit";
        assert_eq!(format!("{error:#}"), natively);
        assert_eq!(worded(&error, |_| None), natively);
        let elsewhere = "outermost: -f a.jsonl: --limits: `x` is given twice; give each metric one limit";
        assert_eq!(worded(&error, other), elsewhere);
        let row = SourceError::line(2, format!("there is no timestamp; leave out {}", Setting::Goodput));
        let error = about(row, message![Setting::InputFile, " a.jsonl"]);
        assert_eq!(worded(&error, other), "-f a.jsonl: line 2: there is no timestamp; leave out --limits");
    }

    #[test]
    fn a_cause_that_an_error_quotes_is_said_once() {
        let missing = std::io::Error::other("no such file");
        let error = about(SourceError::from(missing), message![Setting::InputFile, " a.jsonl"]);
        assert_eq!(worded(&error, other), "-f a.jsonl: the file cannot be read: no such file");
    }

    #[test]
    fn text_without_settings_stays_as_it_is() {
        let error =
            anyhow::anyhow!("--goodput of a server's message").context(message![Setting::Url, " x"].to_string());
        assert_eq!(worded(&error, other), "--url x: --goodput of a server's message");
    }
}
