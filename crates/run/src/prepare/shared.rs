//! What all runs of a command share.

use crate::prepare::settled::Settled;
use crate::prepare::shared_memory::Regions;
use crate::prepare::triton::Triton;
use streamgauge_core::Prompt;
use streamgauge_core::record::DelayedAcks;
use streamgauge_load::Routes;
use streamgauge_prompt::{Conversation, Tokenizer};
use streamgauge_sim::Sim;

/// What all runs of a command share.
pub struct Preparation {
    /// Where connections go.
    pub routes: Routes,
    /// Counts tokens.
    pub tokenizer: Tokenizer,
    /// The conversations of the file that was named; none where prompts are synthetic.
    pub conversations: Vec<Conversation>,
    /// What a Triton server says of its model, where it is one.
    pub triton: Option<Triton>,
    /// What is sent, where the user gave it.
    pub given: Option<GivenInputs>,
    /// Where tensors lie in memory that the server shares.
    pub memory: Option<Regions>,
    /// How the server is asked, once a run has settled that.
    pub(crate) probed: Option<Settled>,
    /// How much later first events come to clients that acknowledge late, where the probe showed that they do.
    pub delayed_acks: Option<DelayedAcks>,
    /// The simulated server of this process, which ends with this.
    pub(crate) _sim: Option<Sim>,
}

impl Preparation {
    /// Whether all texts are made, so that each run has prompts of its own.
    pub fn makes_texts(&self) -> bool {
        self.conversations.iter().flat_map(|conversation| &conversation.turns).all(|turn| turn.content.is_none())
    }
}

/// What the user gave to be sent.
#[derive(Clone, Debug, Default)]
pub struct GivenInputs {
    /// The requests' contents.
    pub prompts: Vec<Prompt>,
    /// Where they are streams, one after another: how many of them each has.
    pub streams: Vec<u32>,
}
