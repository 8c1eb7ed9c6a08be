//! The part of a plan that says how conversations are held.

use serde::{Deserialize, Serialize};

/// How conversations of several turns are held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConversationRules {
    /// Whether all turns of a conversation go to the server that answered the first one.
    pub sticky: bool,
    /// The header of each request that names its conversation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// Whose answers stand before later turns.
    pub history: HistorySource,
}

/// Whose answers stand before the later turns of a conversation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HistorySource {
    /// Those of the server that is measured.
    #[default]
    Server,
    /// Those that the source of the conversations has recorded.
    Recorded,
}

impl Default for ConversationRules {
    fn default() -> ConversationRules {
        ConversationRules { sticky: true, header: None, history: HistorySource::Server }
    }
}

impl ConversationRules {
    pub(super) fn are_usual(&self) -> bool {
        *self == ConversationRules::default()
    }
}
