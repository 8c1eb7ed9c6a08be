//! Arguments that say how conversations of several turns are held, and what they mean.

use crate::args::choice::{Choice, one_of};
use anyhow::{Result, bail};
use clap::Args;
use streamgauge_core::plan::{ConversationRules, Endpoint, HistorySource};
use streamgauge_wire::endpoints::spec;

/// Whose answers stand before later turns.
const HISTORY: &[Choice<HistorySource>] = &[
    ("server", "Those of the server that is measured", HistorySource::Server),
    ("recorded", "Those in the file", HistorySource::Recorded),
];

/// How conversations of several turns are held.
#[derive(Args, Debug)]
pub struct SessionArgs {
    /// Whose answers stand before the later turns of a conversation
    #[arg(long, value_parser = one_of(HISTORY), default_value = "server", help_heading = "Input")]
    pub history: HistorySource,
    /// Whether all turns of a conversation go to the server that answered the first one, when there are several servers [default: true]
    #[arg(long, value_name = "BOOL", help_heading = "Endpoint")]
    pub session_sticky: Option<bool>,
    /// Header of every request that names its conversation, with the same value for all turns and for no other conversation
    #[arg(long, value_name = "NAME", help_heading = "Endpoint")]
    pub session_header: Option<String>,
}

impl SessionArgs {
    /// The rules for conversations with `endpoint`. `has_file` says whether prompts come from a file.
    ///
    /// # Errors
    /// A sentence that names a flag that would have no effect.
    pub fn rules(&self, endpoint: &Endpoint, has_file: bool) -> Result<ConversationRules> {
        let header = self.session_header.as_deref();
        if let (Some(sticky), true) = (self.session_sticky, endpoint.others.is_empty()) {
            bail!("--session-sticky {sticky}: there is only one server; give several with --url");
        }
        if let (Some(header), true) = (header, spec(endpoint.kind).is_grpc()) {
            bail!("--session-header {header}: requests over gRPC share their headers; give an endpoint over HTTP");
        }
        if let Some(header) = header.filter(|header| header.parse::<http::HeaderName>().is_err()) {
            bail!("--session-header {header}: HTTP allows no such name of a header; give one such as X-Session-Id");
        }
        if self.history == HistorySource::Recorded && !has_file {
            bail!("--history recorded: recorded answers come from --input-file");
        }
        Ok(ConversationRules {
            sticky: self.session_sticky.unwrap_or(true),
            header: header.map(str::to_owned),
            history: self.history,
        })
    }
}
