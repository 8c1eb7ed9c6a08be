//! The server's token counts of one request.

use streamgauge_core::event::Usage;

/// The server's counts of one request. Running counts replace each other. Of several that stand alone, one for each answer
/// (llama.cpp with `n`), the output adds up; a repeated one (the same answer's) replaces.
#[derive(Debug, Default)]
pub(super) struct UsageFold {
    running: Option<Usage>,
    /// The last that stood alone.
    alone: Option<Usage>,
    /// How many stood alone.
    count: u32,
    /// What those come to.
    completion_tokens: Option<u64>,
    reasoning_tokens: Option<u64>,
    /// How many answers have ended.
    answers: u32,
}

impl UsageFold {
    /// Takes a count in, which stood alone after the output or beside it.
    ///
    /// Zeros are no count, and replace none: some servers send them last.
    pub fn add(&mut self, usage: Usage, alone: bool) {
        match self.total() {
            Some(known) if is_zero(&usage) && !is_zero(&known) => return,
            Some(known) if is_zero(&known) => *self = UsageFold { answers: self.answers, ..UsageFold::default() },
            _ => {}
        }
        if !alone {
            self.running = Some(usage);
            return;
        }
        let sum = |sum: Option<u64>, count: Option<u64>| match (sum, count) {
            (Some(sum), Some(count)) => Some(sum.saturating_add(count)),
            (sum, count) => sum.or(count),
        };
        self.alone = Some(usage);
        self.count = self.count.saturating_add(1);
        self.completion_tokens = sum(self.completion_tokens, usage.completion_tokens);
        self.reasoning_tokens = sum(self.reasoning_tokens, usage.reasoning_tokens);
    }

    /// Notes that the answer of this number has ended.
    pub fn end(&mut self, choice: u32) {
        self.answers = self.answers.max(choice.saturating_add(1));
    }

    /// The request's counts.
    pub fn total(&self) -> Option<Usage> {
        let last = self.alone.or(self.running)?;
        if self.answers < 2 || self.count != self.answers {
            return Some(last);
        }
        let UsageFold { completion_tokens, reasoning_tokens, .. } = *self;
        Some(Usage { completion_tokens, reasoning_tokens, ..last })
    }
}

/// Whether a usage counts nothing.
fn is_zero(usage: &Usage) -> bool {
    let Usage { prompt_tokens, completion_tokens, reasoning_tokens, cached_tokens } = *usage;
    [prompt_tokens, completion_tokens, reasoning_tokens, cached_tokens].into_iter().flatten().all(|count| count == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(completion: u64) -> Usage {
        Usage { prompt_tokens: Some(20), completion_tokens: Some(completion), ..Usage::default() }
    }

    #[test]
    fn running_usage_is_replaced_and_a_final_one_wins() {
        let mut fold = UsageFold::default();
        assert_eq!(fold.total(), None);
        fold.add(usage(1), false);
        fold.add(usage(2), false);
        assert_eq!(fold.total(), Some(usage(2)));
        fold.add(usage(3), true);
        assert_eq!(fold.total(), Some(usage(3)));
    }

    #[test]
    fn zeros_replace_no_count() {
        let zeros = Usage { prompt_tokens: Some(0), completion_tokens: Some(0), ..Usage::default() };
        for alone in [true, false] {
            let mut fold = UsageFold::default();
            fold.add(zeros, true);
            assert_eq!(fold.total(), Some(zeros));
            fold.add(usage(2), alone);
            fold.add(zeros, true);
            fold.add(zeros, false);
            assert_eq!(fold.total(), Some(usage(2)));
        }
    }

    #[test]
    fn one_usage_for_each_answer_adds_up() {
        let mut fold = UsageFold::default();
        fold.end(1);
        fold.add(usage(3), true);
        fold.add(usage(4), true);
        assert_eq!(fold.total(), Some(usage(7)));
        let mut whole = UsageFold::default();
        whole.end(1);
        whole.add(usage(6), true);
        assert_eq!(whole.total(), Some(usage(6)));
    }
}
