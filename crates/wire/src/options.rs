//! What is the same in all bodies of a run.

use streamgauge_core::kserve::Backend;
use streamgauge_core::plan::LengthField;

/// What all bodies of a run ask for.
#[derive(Clone, Debug)]
pub(crate) struct BodyOptions {
    pub(crate) streaming: bool,
    pub(crate) ask_usage: bool,
    pub(crate) continuous_usage: bool,
    pub(crate) length_field: LengthField,
    /// A request that asks for an output length asks for exactly that.
    pub(crate) output_exact: bool,
    /// The backend of the model, where one is known.
    pub(crate) backend: Option<Backend>,
}

/// How the texts of a body stand in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextForm {
    /// As GenAI-Perf's files show them: always a list.
    Listed,
    /// As they are sent: one text as such, which every server takes.
    Sent,
}
