//! The options that all bodies of a run share.

use streamgauge_core::kserve::Backend;
use streamgauge_core::plan::LengthField;

/// The options that all bodies of a run share.
#[derive(Clone, Debug)]
pub(crate) struct BodyOptions {
    pub(crate) streaming: bool,
    pub(crate) ask_usage: bool,
    pub(crate) continuous_usage: bool,
    pub(crate) length_field: LengthField,
    /// A request that asks for an output length asks for exactly that.
    pub(crate) output_exact: bool,
    /// The backend of the model, if it is known.
    pub(crate) backend: Option<Backend>,
}

/// The form of the texts in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextForm {
    /// As GenAI-Perf's files show them: always a list.
    Listed,
    /// As they are sent: a single text as a text, which every server takes.
    Sent,
}
