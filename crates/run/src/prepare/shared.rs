//! What all runs of a command share.

use crate::prepare::conversations::Conversations;
use crate::prepare::schedules::end_with;
use crate::prepare::settled::Settled;
use crate::prepare::shared_memory::Regions;
use crate::prepare::triton::Triton;
use crate::spec::RunSpec;
use streamgauge_core::Prompt;
use streamgauge_core::load::{Arrivals, Load};
use streamgauge_core::plan::{Endpoint, PromptPlan, RunPlan};
use streamgauge_core::record::DelayedAcks;
use streamgauge_load::Routes;
use streamgauge_prompt::Tokenizer;
use streamgauge_sim::Sim;

/// What all runs of a command share.
pub struct Preparation {
    /// Where requests go, with all that the server says about it.
    pub endpoint: Endpoint,
    /// What is sent, with all that the server and the input file say about it. Its lengths and its seed are those of the first run.
    pub(crate) prompts: PromptPlan,
    /// The times of requests, if they were read from a file.
    pub arrivals: Option<Arrivals>,
    /// Where connections go.
    pub routes: Routes,
    /// Counts tokens.
    pub tokenizer: Tokenizer,
    /// The conversations that requests are made from.
    pub conversations: Conversations,
    /// What a Triton server says about its model. Other servers say nothing.
    pub triton: Option<Triton>,
    /// What is sent, if the user gave it.
    pub given: Option<GivenInputs>,
    /// The places of tensors in memory that the server shares.
    pub memory: Option<Regions>,
    /// How the server wants to be asked, once the test request of a run has shown it.
    pub(crate) settled: Option<Settled>,
    /// How much later first events come to clients that acknowledge late, if the probe has measured that.
    pub delayed_acks: Option<DelayedAcks>,
    /// The simulated server of this process, which ends with this.
    pub(crate) _sim: Option<Sim>,
}

impl Preparation {
    /// Whether all texts are made, so that each run has prompts of its own.
    pub fn makes_texts(&self) -> bool {
        self.conversations.makes_texts()
    }

    /// The plan of a run, made of what was asked for, of what the server and the files say, and of what the test request has settled.
    /// Before the first run has sent that, the plan asks as the user wants it. `spec` asks for the endpoint and for the file of requests
    /// that this was prepared for; all else may differ.
    pub fn plan(&self, spec: &RunSpec) -> RunPlan {
        let mut plan = spec.plan.clone();
        plan.endpoint.clone_from(&self.endpoint);
        if let Some(settled) = &self.settled {
            settled.apply(&mut plan.endpoint);
        }
        let PromptPlan { count, output, tokenizer, .. } = &self.prompts;
        plan.prompts = PromptPlan {
            count: *count,
            output: plan.prompts.output.or(*output),
            tokenizer: tokenizer.clone(),
            ..plan.prompts
        };
        if let (
            Some(read),
            Load::Open { arrivals: arrivals @ (Arrivals::Intervals { .. } | Arrivals::Trace { .. }), .. },
        ) = (&self.arrivals, &mut plan.load.mode)
        {
            arrivals.clone_from(read);
            end_with(&mut plan.load.stop, self.conversations.requests(read.count()));
        }
        // Where nothing else ends the run, each conversation is held once.
        if plan.prompts.synthesis.conversations.is_some() {
            end_with(&mut plan.load.stop, Some(plan.prompts.count.into()));
        }
        plan.output.artifacts = spec.subdirectory.path(&plan);
        plan
    }
}

/// The inputs that the user gave.
#[derive(Clone, Debug, Default)]
pub struct GivenInputs {
    /// The requests' contents.
    pub prompts: Vec<Prompt>,
    /// The length of each stream, if the requests are streams that stand one after another.
    pub streams: Vec<u32>,
}
