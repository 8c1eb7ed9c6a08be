//! The service model: how long a request takes and how many tokens it gets, as arithmetic. It has no clock and does not wait; random
//! numbers are an argument.

use crate::faults::Fault;
use crate::log::LogPlan;
use rand::{Rng, RngExt};
use rand_distr::StandardNormal;
use streamgauge_core::clock::Nanos;
use streamgauge_core::plan::Stamps;
use streamgauge_core::seed::Seed;
use streamgauge_prompt::Tokenizer;

/// The configuration of a simulated server.
#[derive(Clone, Debug)]
pub struct SimConfig {
    /// Names of its models. A request without a model gets the first.
    pub models: Vec<String>,
    /// How fast it is.
    pub service: Service,
    /// How long replies are when nobody asks for a length, and when they end early.
    pub lengths: Lengths,
    /// Fake GPUs on the metrics page.
    pub gpus: u32,
    /// The faults to inject.
    pub faults: Vec<Fault>,
    /// The tokenizer that counts prompts and whose tokens replies consist of.
    pub tokenizer: Tokenizer,
    /// The source of receive stamps.
    pub stamps: Stamps,
    /// The data that is kept of each request.
    pub log: LogPlan,
    /// Lengths, jitter, words and faults are drawn from it.
    pub seed: Seed,
}

impl SimConfig {
    /// A pleasant server, counting with `tokenizer`: the first token after some 30 ms, then one each 8 ms.
    pub fn new(tokenizer: Tokenizer) -> SimConfig {
        SimConfig {
            models: vec!["sim-model".to_owned()],
            service: Service::default(),
            lengths: Lengths::default(),
            gpus: 0,
            faults: Vec::new(),
            tokenizer,
            stamps: Stamps::Kernel,
            log: LogPlan::default(),
            seed: Seed(0),
        }
    }

    /// Refuses impossible configurations.
    ///
    /// # Errors
    /// The first thing that is wrong, and what is accepted.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.models.is_empty() {
            return Err(ConfigError::NoModel);
        }
        let Service { ttft, prefill_rate, itl, itl_growth, jitter, max_batch, tokens_per_event } = self.service;
        let spans = [("first token's time", ttft), ("time between tokens", itl)];
        if let Some((what, _)) = spans.into_iter().find(|(_, span)| *span < Nanos::ZERO) {
            return Err(ConfigError::Negative(what));
        }
        let factors = [("growth of the time between tokens", itl_growth), ("jitter", jitter)];
        if let Some((what, _)) = factors.into_iter().find(|(_, factor)| !factor.is_finite() || *factor < 0.0) {
            return Err(ConfigError::Negative(what));
        }
        if prefill_rate.is_nan() || prefill_rate <= 0.0 {
            return Err(ConfigError::Zero("prefill rate"));
        }
        if !(0.0..=1.0).contains(&self.lengths.early_stop) {
            return Err(ConfigError::Share(self.lengths.early_stop));
        }
        let counts = [
            ("batch", max_batch),
            ("tokens an event", tokens_per_event),
            ("context length", self.lengths.context),
            ("default output length", self.lengths.natural),
        ];
        match counts.into_iter().find(|(_, count)| *count == 0) {
            Some((what, _)) => Err(ConfigError::Zero(what)),
            None => Ok(()),
        }
    }
}

/// Why a configuration is refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ConfigError {
    /// A span or factor below zero, or not a number.
    #[error("the simulated server's {0} must be a number that is not negative")]
    Negative(&'static str),
    /// No model.
    #[error("the simulated server needs the name of at least one model")]
    NoModel,
    /// A probability outside 0 to 1.
    #[error("the simulated server's share of replies that end early must be from 0 to 1, not {0}")]
    Share(f64),
    /// A count or rate of zero.
    #[error("the simulated server's {0} must be greater than zero")]
    Zero(&'static str),
}

/// The speed of a server.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Service {
    /// Time to the first token of an empty prompt, on a free server.
    pub ttft: Nanos,
    /// Prompt tokens per second; infinity makes prompts take no time.
    pub prefill_rate: f64,
    /// Time between the tokens of a sequence that is alone.
    pub itl: Nanos,
    /// The share of `itl` by which each further sequence slows every sequence down.
    pub itl_growth: f64,
    /// Standard deviation of both times, as a share of them.
    pub jitter: f64,
    /// Sequences served at once; further requests wait in the order in which they came.
    pub max_batch: u32,
    /// Tokens that one decode step brings, all in one event, as with speculative decoding.
    pub tokens_per_event: u32,
}

impl Default for Service {
    fn default() -> Service {
        Service {
            ttft: Nanos::from_millis(30),
            prefill_rate: 20_000.0,
            itl: Nanos::from_millis(8),
            itl_growth: 0.01,
            jitter: 0.05,
            max_batch: 64,
            tokens_per_event: 1,
        }
    }
}

impl Service {
    /// A server that takes no time at all: its speed is that of its transport and its client.
    pub fn instant() -> Service {
        Service {
            ttft: Nanos::ZERO,
            prefill_rate: f64::INFINITY,
            itl: Nanos::ZERO,
            itl_growth: 0.0,
            jitter: 0.0,
            max_batch: u32::MAX,
            ..Service::default()
        }
    }

    /// From the beginning of service to the first token: `ttft + tokens / prefill_rate`, with jitter. Prompts do not slow
    /// each other down; what load does to the first token is the wait for a place in the batch.
    pub fn prefill(&self, prompt_tokens: u64, chance: &mut impl Rng) -> Nanos {
        let span = self.ttft + Nanos::from_secs_f64(prompt_tokens as f64 / self.prefill_rate);
        self.jittered(span, chance)
    }

    /// The time from one token to the next while `batch` sequences are served: `itl × (1 + growth × (batch − 1))`, with jitter.
    pub fn step(&self, batch: u32, chance: &mut impl Rng) -> Nanos {
        let others = f64::from(batch.saturating_sub(1));
        self.jittered(scaled(self.itl, 1.0 + self.itl_growth * others), chance)
    }

    /// Whether tokens follow each other without any time between them.
    pub fn is_saturated(&self) -> bool {
        self.itl == Nanos::ZERO
    }

    fn jittered(&self, span: Nanos, chance: &mut impl Rng) -> Nanos {
        if self.jitter == 0.0 || span == Nanos::ZERO {
            return span;
        }
        let normal: f64 = chance.sample(StandardNormal);
        scaled(span, (1.0 + self.jitter * normal).max(0.0))
    }
}

fn scaled(span: Nanos, factor: f64) -> Nanos {
    Nanos((span.0 as f64 * factor).round() as i64)
}

/// How long replies are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lengths {
    /// The mean length, in tokens, of a reply without a requested length, which is drawn uniformly from half to one and a half of it.
    pub natural: u32,
    /// Share of limited replies that end before their limit, evenly anywhere, unless the request forbids it.
    pub early_stop: f64,
    /// Tokens that prompt and reply have together.
    pub context: u32,
}

impl Default for Lengths {
    fn default() -> Lengths {
        Lengths { natural: 64, early_stop: 0.0, context: 131_072 }
    }
}

/// The part of a request that concerns the length of its reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LengthAsked {
    /// The maximum number of tokens (`max_tokens`, `max_completion_tokens`).
    pub most: Option<u32>,
    /// The minimum number of tokens (`min_tokens`).
    pub least: u32,
    /// The reply goes on to its limit (`ignore_eos`).
    pub ignore_end: bool,
}

/// How long a reply is and why it ends there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Length {
    /// Tokens.
    pub tokens: u32,
    /// The reason.
    pub finish: Finish,
}

/// Why a reply ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// It reached its limit.
    Length,
    /// The model had finished, or a stop text came up.
    Stop,
}

impl Finish {
    /// The word on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Finish::Length => "length",
            Finish::Stop => "stop",
        }
    }
}

impl Lengths {
    /// The length of the reply to a prompt of `prompt_tokens`, at least one token. What was asked has been checked
    /// against the context before.
    pub fn draw(&self, asked: LengthAsked, prompt_tokens: u32, chance: &mut impl Rng) -> Length {
        let room = self.context.saturating_sub(prompt_tokens).max(1);
        let length = match asked.most {
            None => {
                let natural = self.natural.max(2);
                let tokens = chance.random_range(natural.div_ceil(2)..=natural.saturating_add(natural / 2));
                Length { tokens: tokens.max(asked.least), finish: Finish::Stop }
            }
            Some(most) => {
                let least = asked.least.max(1);
                let may_stop = !asked.ignore_end && self.early_stop > 0.0 && least < most;
                if may_stop && chance.random::<f64>() < self.early_stop {
                    Length { tokens: chance.random_range(least..most), finish: Finish::Stop }
                } else {
                    Length { tokens: most.max(1), finish: Finish::Length }
                }
            }
        };
        if length.tokens > room { Length { tokens: room, finish: Finish::Length } } else { length }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steady(service: Service) -> Service {
        Service { jitter: 0.0, ..service }
    }

    #[test]
    fn first_token_waits_for_the_prompt() {
        let service = steady(Service::default());
        let mut chance = Seed(0).stream("test");
        assert_eq!(service.prefill(0, &mut chance), Nanos::from_millis(30));
        assert_eq!(service.prefill(1_000, &mut chance), Nanos::from_millis(80));
        assert_eq!(Service::instant().prefill(1_000_000, &mut chance), Nanos::ZERO);
    }

    #[test]
    fn a_step_grows_with_the_batch() {
        let service = steady(Service { itl: Nanos::from_millis(10), itl_growth: 0.02, ..Service::default() });
        let mut chance = Seed(0).stream("test");
        let steps = [0, 1, 2, 51].map(|batch| service.step(batch, &mut chance).as_millis_f64());
        assert_eq!(steps, [10.0, 10.0, 10.2, 20.0]);
    }

    #[test]
    fn jitter_has_the_mean_and_deviation_asked_for() {
        let service = Service { itl: Nanos::from_millis(10), jitter: 0.1, ..Service::default() };
        let mut chance = Seed(7).stream("test");
        let draws: Vec<f64> = (0..20_000).map(|_| service.step(1, &mut chance).as_millis_f64()).collect();
        let mean = draws.iter().sum::<f64>() / 20_000.0;
        let variance = draws.iter().map(|draw| (draw - mean).powi(2)).sum::<f64>() / 20_000.0;
        assert!((mean - 10.0).abs() < 0.03, "{mean}");
        assert!((variance.sqrt() - 1.0).abs() < 0.02, "{}", variance.sqrt());
        assert!(draws.iter().all(|draw| *draw >= 0.0));
    }

    #[test]
    fn a_limit_is_met_exactly() {
        let mut chance = Seed(0).stream("test");
        let asked = LengthAsked { most: Some(17), ..LengthAsked::default() };
        assert_eq!(Lengths::default().draw(asked, 5, &mut chance), Length { tokens: 17, finish: Finish::Length });
    }

    #[test]
    fn early_stops_keep_between_the_limits_and_obey_ignore_eos() {
        let mut chance = Seed(0).stream("test");
        let lengths = Lengths { early_stop: 1.0, ..Lengths::default() };
        let asked = LengthAsked { most: Some(20), least: 15, ignore_end: false };
        for _ in 0..200 {
            let length = lengths.draw(asked, 5, &mut chance);
            assert!((15..20).contains(&length.tokens), "{length:?}");
            assert_eq!(length.finish, Finish::Stop);
        }
        let exact = lengths.draw(LengthAsked { ignore_end: true, ..asked }, 5, &mut chance);
        assert_eq!(exact, Length { tokens: 20, finish: Finish::Length });
    }

    #[test]
    fn natural_lengths_surround_their_mean_and_fit_the_context() {
        let mut chance = Seed(0).stream("test");
        let lengths = Lengths::default();
        let draws: Vec<u32> =
            (0..10_000).map(|_| lengths.draw(LengthAsked::default(), 5, &mut chance).tokens).collect();
        assert_eq!((draws.iter().min(), draws.iter().max()), (Some(&32), Some(&96)));
        let mean = f64::from(draws.iter().sum::<u32>()) / 10_000.0;
        assert!((mean - 64.0).abs() < 0.6, "{mean}");
        let tight = Lengths { context: 20, ..lengths };
        assert_eq!(tight.draw(LengthAsked::default(), 12, &mut chance), Length { tokens: 8, finish: Finish::Length });
    }
}
