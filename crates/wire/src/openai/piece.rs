//! One piece of output of a message or a choice.

use std::borrow::Cow;
use streamgauge_core::OutputKind;

/// One piece of output.
pub(crate) struct Piece<'a> {
    /// Its kind.
    pub(crate) kind: OutputKind,
    /// Its text.
    pub(crate) text: Cow<'a, str>,
    /// Whether the text is the very bytes of the event, and the event's meaning does not depend on it.
    pub(crate) in_place: bool,
}
