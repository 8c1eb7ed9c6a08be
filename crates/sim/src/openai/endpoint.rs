//! The server's definition of one OpenAI endpoint.

use super::body::Body;
use crate::model::Finish;
use crate::refusal::Refusal;
use crate::tokens::Tokens;
use streamgauge_core::plan::EndpointKind;

/// Reads the tokens of each prompt from a body, which is given as it was read and as bytes.
pub(super) type ReadPrompts = fn(&Tokens, &Body<'_>, &[u8]) -> Result<Vec<u32>, Refusal>;

/// One endpoint: its path, how it reads requests, and the form of its answers.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// Its path.
    pub(crate) path: &'static str,
    /// Its kind in the log.
    pub(crate) kind: EndpointKind,
    /// The beginning of the identifiers of its answers.
    pub(crate) id_prefix: &'static str,
    /// Reads the tokens of a request's prompts. Each prompt is answered separately.
    pub(super) prompts: ReadPrompts,
    /// The kind of its answers.
    pub(super) answer: AnswerForm,
}

/// The kind of an endpoint's answers.
#[derive(Debug)]
pub(super) enum AnswerForm {
    /// Text that is generated token by token, in a stream where one is asked for.
    Text(&'static Spelling),
    /// A JSON document, which is complete when the model has read the prompts.
    Document(fn(&DocumentParts<'_>) -> Result<Vec<u8>, Refusal>),
}

/// The data from which a document is made.
#[derive(Debug)]
pub(super) struct DocumentParts<'a> {
    /// The body of the request.
    pub(super) body: &'a [u8],
    /// The number of the request.
    pub(super) number: u64,
    /// When it was received, in seconds since 1970.
    pub(super) created: i64,
    /// The name of the model.
    pub(super) model: &'a str,
    /// The tokens of each prompt.
    pub(super) prompts: &'a [u32],
}

impl PartialEq for Endpoint {
    /// No two endpoints have the same path.
    fn eq(&self, other: &Endpoint) -> bool {
        self.path == other.path
    }
}

impl Eq for Endpoint {}

/// How an endpoint spells generated text, after vLLM. What stands between these parts is the same for all endpoints.
#[derive(Debug)]
pub(super) struct Spelling {
    /// The `object` of an event.
    pub(super) event: &'static str,
    /// The `object` of an answer that is not streamed.
    pub(super) whole: &'static str,
    /// The event before any text, without its usage: the part in the choice, and the part after the choices.
    pub(super) first: Option<(&'static str, &'static str)>,
    /// The part of an event before its text.
    pub(super) before_delta: &'static str,
    /// The part of any event but the last after its text.
    pub(super) after_delta: &'static str,
    /// The part of the last event after its text: for a finish reason, and a stop reason as JSON.
    pub(super) after_last_delta: fn(Finish, &str) -> String,
    /// The part of an answer without streaming before its text.
    pub(super) before_text: &'static str,
    /// The part of that answer after its text: for a finish reason, and a stop reason as JSON.
    pub(super) after_text: fn(Finish, &str) -> String,
    /// Further members of an answer that is not streamed.
    pub(super) members: &'static str,
}
