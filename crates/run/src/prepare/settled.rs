//! How a server wants to be asked, as the test request has shown.

use streamgauge_core::plan::{Endpoint, LengthField, Target};

/// How the server wants to be asked, as the probe has shown.
#[derive(Clone, Debug)]
pub struct Settled {
    target: Target,
    path: String,
    wording: Wording,
}

impl Settled {
    /// What `endpoint` says.
    pub fn of(endpoint: &Endpoint) -> Settled {
        let Endpoint { target, path, .. } = endpoint.clone();
        Settled { target, path, wording: Wording::of(endpoint) }
    }

    /// Has `endpoint` asked so.
    pub fn apply(&self, endpoint: &mut Endpoint) {
        endpoint.target.clone_from(&self.target);
        endpoint.path.clone_from(&self.path);
        self.wording.apply(endpoint);
    }
}

/// The members of a body that servers differ in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wording {
    /// Whether `stream_options` is sent.
    pub(crate) ask_usage: bool,
    /// What says the output length.
    pub(crate) length_field: LengthField,
}

impl Wording {
    pub(crate) fn of(endpoint: &Endpoint) -> Wording {
        Wording { ask_usage: endpoint.ask_usage, length_field: endpoint.length_field }
    }

    pub(crate) fn apply(self, endpoint: &mut Endpoint) {
        endpoint.ask_usage = self.ask_usage;
        endpoint.length_field = self.length_field;
    }
}
