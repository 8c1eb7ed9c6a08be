//! What the fold over records must know of the plan.

use crate::goodput::{Goodput, GoodputError};
use streamgauge_core::RunPlan;
use streamgauge_core::plan::{Acknowledge, Stamps, TokenCount};
use streamgauge_core::seed::Seed;
use streamgauge_core::stop::{ConfidenceRule, StabilityRule};

/// What an [`Accumulator`](crate::Accumulator) must know of the plan.
#[derive(Clone, Debug, PartialEq)]
pub struct AccumulatorConfig {
    /// Which count of output tokens the figures use.
    pub token_count: TokenCount,
    /// The limits of a good request.
    pub goodput: Goodput,
    /// Whether answers were asked for as streams.
    pub streaming: bool,
    /// Whether output lengths were asked for exactly rather than as a maximum.
    pub output_exact: bool,
    /// Where receive stamps were to come from.
    pub stamps: Stamps,
    /// When the client acknowledged what it received.
    pub acknowledge: Acknowledge,
    /// Where chance comes from.
    pub seed: Seed,
    /// Whether prompts were to share prefixes, so that a server's cache is meant to have them.
    pub shared_prefixes: bool,
    /// By what a row of windows was to end.
    pub stability: Option<StabilityRule>,
    /// Which figure was to be known how well at the end.
    pub confidence: Option<ConfidenceRule>,
    /// Slots of the measured load, where they went over to it from a warm-up one by one.
    pub handed_over: Option<u32>,
    /// Requests that were sent at once at the start of the measured part.
    pub opening_burst: u32,
}

impl AccumulatorConfig {
    /// As the plan says.
    ///
    /// # Errors
    /// When the plan's goodput limits are not ones that can be kept.
    pub fn of(plan: &RunPlan) -> Result<AccumulatorConfig, GoodputError> {
        Ok(AccumulatorConfig {
            token_count: plan.measure.token_count,
            goodput: Goodput::parse(&plan.measure.goodput)?,
            streaming: plan.endpoint.streaming,
            output_exact: plan.prompts.output_exact,
            stamps: plan.transport.stamps,
            acknowledge: plan.transport.acknowledge,
            seed: plan.prompts.seed,
            shared_prefixes: plan.prompts.prefixes > 0,
            stability: plan.load.stop.stability,
            confidence: plan.load.stop.confidence.clone(),
            handed_over: plan.load.mode.most().filter(|_| plan.hands_over()),
            opening_burst: plan.opening_burst(),
        })
    }
}
