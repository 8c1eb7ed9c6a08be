//! Conversations that are made instead of read: how many turns each has, and the time between them. What the turns say is left open.

use super::{Contents, Conversation, Source, SourceError, Turn};
use rand_distr::{Distribution, Normal};
use streamgauge_core::Nanos;
use streamgauge_core::plan::PromptPlan;
use streamgauge_core::seed::RandomStream;
use streamgauge_core::synthesis::{ConversationPlan, Spread};

/// The most turns of a conversation.
const MOST_TURNS: f64 = 100_000.0;
/// The longest time between two turns, in milliseconds: a thousand days.
const LONGEST_DELAY: f64 = 86_400e6;

/// Conversations that are made.
pub struct Synthetic {
    plan: Option<ConversationPlan>,
    /// How many are still to come.
    left: u32,
    made: usize,
    turns: RandomStream,
    delays: RandomStream,
}

impl Synthetic {
    /// The conversations that `plan` asks for: those of several turns, or otherwise as many of one turn as it has prompts.
    pub fn new(plan: &PromptPlan) -> Synthetic {
        let conversations = plan.synthesis.conversations;
        Synthetic {
            plan: conversations,
            left: conversations.map_or(plan.count, |conversations| conversations.count),
            made: 0,
            turns: plan.seed.stream("conversation turns"),
            delays: plan.seed.stream("conversation delays"),
        }
    }

    fn conversation(&mut self) -> Conversation {
        let Some(ConversationPlan { turns, delay_ms, delay_ratio, .. }) = self.plan else {
            return Turn::default().into();
        };
        let count = draw(turns, &mut self.turns).clamp(1.0, MOST_TURNS) as usize;
        let mut made = vec![Turn::default(); count];
        for turn in made.iter_mut().skip(1) {
            let millis = draw(delay_ms, &mut self.delays).max(0.0) * delay_ratio;
            turn.delay = Nanos::from_secs_f64(millis.clamp(0.0, LONGEST_DELAY) / 1e3);
        }
        Conversation { id: None, turns: made }
    }
}

/// A value, rounded as GenAI-Perf rounds it. A distribution that is none gives its mean.
fn draw(spread: Spread, rng: &mut RandomStream) -> f64 {
    let drawn = Normal::new(spread.mean, spread.stddev).map_or(spread.mean, |normal| normal.sample(rng));
    drawn.round()
}

impl Source for Synthetic {
    fn next_conversation(&mut self) -> Result<Option<Conversation>, SourceError> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        self.made += 1;
        Ok(Some(self.conversation()))
    }

    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    fn rows(&self) -> usize {
        self.made
    }
}

impl Contents {
    /// All conversations that `plan` asks to be made.
    ///
    /// # Errors
    /// When it asks for none.
    pub fn made(plan: &PromptPlan) -> Result<Contents, SourceError> {
        Contents::of(Box::new(Synthetic::new(plan)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use streamgauge_core::plan::Length;
    use streamgauge_core::sampling::Sampling;
    use streamgauge_core::seed::Seed;
    use streamgauge_core::synthesis::Synthesis;

    fn plan(conversations: Option<ConversationPlan>) -> PromptPlan {
        PromptPlan {
            count: 5,
            input: Length { mean: 1.0, stddev: 0.0 },
            output: None,
            output_exact: false,
            batch: 1,
            prefixes: 0,
            prefix_tokens: 0,
            seed: Seed(0),
            tokenizer: String::new(),
            tokenizer_revision: String::new(),
            synthesis: Synthesis { conversations, ..Synthesis::default() },
            sampling: Sampling::default(),
        }
    }

    fn spread(mean: f64, stddev: f64) -> Spread {
        Spread { mean, stddev }
    }

    #[test]
    fn prompts_are_conversations_of_one_turn() {
        let made = Contents::made(&plan(None)).unwrap();
        assert_eq!((made.counts.conversations, made.counts.turns), (5, 5));
        assert!(Contents::made(&PromptPlan { count: 0, ..plan(None) }).is_err());
    }

    #[test]
    fn turns_and_delays_are_drawn() {
        let conversations =
            ConversationPlan { count: 400, turns: spread(3.0, 1.5), delay_ms: spread(100.0, 60.0), delay_ratio: 0.5 };
        let made = Contents::made(&plan(Some(conversations))).unwrap();
        assert_eq!(made, Contents::made(&plan(Some(conversations))).unwrap());
        let lengths: Vec<_> = made.conversations.iter().map(|conversation| conversation.turns.len()).collect();
        assert_eq!(lengths.iter().min(), Some(&1));
        let mean = lengths.iter().sum::<usize>() as f64 / 400.0;
        assert!((2.7..3.4).contains(&mean), "{mean}");
        assert!(made.conversations.iter().all(|conversation| conversation.turns[0].delay == Nanos::ZERO));
        let delays: Vec<f64> = made
            .conversations
            .iter()
            .flat_map(|conversation| &conversation.turns[1..])
            .map(|turn| turn.delay.as_millis_f64())
            .collect();
        assert!(delays.iter().all(|delay| *delay >= 0.0 && (delay * 2.0).fract() == 0.0));
        let mean = delays.iter().sum::<f64>() / delays.len() as f64;
        assert!((45.0..56.0).contains(&mean), "{mean}");
    }

    #[test]
    fn nonsense_is_bounded() {
        for mean in [f64::NAN, f64::INFINITY, -5.0] {
            let conversations =
                ConversationPlan { count: 1, turns: spread(2.0, 0.0), delay_ms: spread(mean, 0.0), delay_ratio: mean };
            assert_eq!(Contents::made(&plan(Some(conversations))).unwrap().counts.turns, 2);
        }
    }
}
