//! The part of the plan that the fold over records needs.

use crate::goodput::{Goodput, GoodputError};
use streamgauge_core::RunPlan;
use streamgauge_core::plan::{Acknowledge, Stamps, TokenCount};
use streamgauge_core::seed::Seed;
use streamgauge_core::stop::{ConfidenceRule, StabilityRule};

/// The part of the plan that an [`Accumulator`](crate::Accumulator) needs.
#[derive(Clone, Debug, PartialEq)]
pub struct AccumulatorConfig {
    /// The count of output tokens that the figures use.
    pub token_count: TokenCount,
    /// The limits of a good request.
    pub goodput: Goodput,
    /// Whether requests ask for streams.
    pub streaming: bool,
    /// Whether requests ask for an exact output length rather than a maximum.
    pub output_exact: bool,
    /// The requested source of receive stamps.
    pub stamps: Stamps,
    /// When the client's kernel acknowledges received data.
    pub acknowledge: Acknowledge,
    /// The seed of all random numbers.
    pub seed: Seed,
    /// Whether prompts share prefixes by design, so that a server's cache should contain them.
    pub shared_prefixes: bool,
    /// The number of distinct prompts, which requests cycle through; 0 if it is not known.
    pub prompts: u32,
    /// The rule by which a run of windows ends, if it has one.
    pub stability: Option<StabilityRule>,
    /// The figure that the run waits for, with its precision, if it has one.
    pub confidence: Option<ConfidenceRule>,
    /// The number of slots of the measured load, if they go over to it from a warm-up one by one.
    pub handed_over: Option<u32>,
    /// The number of requests sent together at the start of the measured phase.
    pub opening_burst: u32,
}

impl AccumulatorConfig {
    /// Takes the configuration from a plan.
    ///
    /// # Errors
    /// When a goodput limit of the plan is invalid.
    pub fn of(plan: &RunPlan) -> Result<AccumulatorConfig, GoodputError> {
        Ok(AccumulatorConfig {
            token_count: plan.measure.token_count,
            goodput: Goodput::parse(&plan.measure.goodput)?,
            streaming: plan.endpoint.streaming,
            output_exact: plan.prompts.output_exact,
            stamps: plan.transport.stamps,
            acknowledge: plan.transport.acknowledge,
            seed: plan.prompts.seed,
            shared_prefixes: plan.prompts.prefixes > 0 || plan.prompts.synthesis.system_tokens.is_some(),
            prompts: plan.prompts.count,
            stability: plan.load.stop.stability,
            confidence: plan.load.stop.confidence.clone(),
            handed_over: plan.load.mode.most().filter(|_| plan.hands_over()),
            opening_burst: plan.opening_burst(),
        })
    }
}
