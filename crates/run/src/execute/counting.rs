//! Which answers the client's tokenizer counts.

use streamgauge_core::OutputKind;
use streamgauge_core::plan::TokenCount;
use streamgauge_core::received::OutputText;
use streamgauge_load::Finished;
use streamgauge_prompt::Tokenizer;
use streamgauge_stats::is_counted_without_text;

/// While counting is behind, one of so many answers is still compared with the server's count. At 100 requests a second that is about 6 a
/// second, enough to find a tokenizer that is not the model's own within seconds.
pub const SAMPLE: u32 = 16;

/// Counts the tokens of answers as far as the figures need it.
pub struct Counting {
    tokenizer: Tokenizer,
    asked: TokenCount,
    /// How many answers were left out since the last one of the sample.
    left_out: u32,
}

impl Counting {
    /// Counts with `tokenizer`, for figures that use the count of `asked`.
    pub fn new(tokenizer: Tokenizer, asked: TokenCount) -> Counting {
        Counting { tokenizer, asked, left_out: 0 }
    }

    /// Counts the tokens of an answer and stores the number in its record, if a figure or a check uses it. The server's usage and the number of chunks
    /// need no tokenizer. Under `auto` the tokenizer only checks the server's count; while counting is behind, it checks a sample.
    pub fn count(&mut self, finished: &mut Finished, is_behind: bool) {
        let is_needed = match self.asked {
            TokenCount::Usage | TokenCount::Chunks => false,
            TokenCount::Auto => !is_behind || !is_counted_without_text(&finished.record) || self.is_in_sample(),
            TokenCount::Tokenizer | TokenCount::None => true,
        };
        if is_needed {
            let texts = finished.received.texts.iter();
            finished.record.text_tokens = Some(texts.map(|output| self.tokenizer.count(&output.text)).sum());
        }
    }

    /// The number of tokens of an answer as later turns of its conversation repeat it: the text of the first choice, without reasoning and
    /// calls of tools. Returns `None` if the answer is not counted, or is not part of a conversation.
    pub fn said(&self, finished: &Finished) -> Option<u32> {
        finished.record.conversation?;
        let all = finished.record.text_tokens?;
        let is_said = |output: &&OutputText| output.choice == 0 && output.kind == OutputKind::Text;
        match finished.received.texts.as_slice() {
            [only] if is_said(&only) => Some(all),
            texts => Some(texts.iter().find(is_said).map_or(0, |output| self.tokenizer.count(&output.text))),
        }
    }

    fn is_in_sample(&mut self) -> bool {
        self.left_out = (self.left_out + 1) % SAMPLE;
        self.left_out == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use streamgauge_core::prompt::History;
    use streamgauge_core::record::{Chunk, ConversationTurn};
    use streamgauge_core::{Nanos, Received, Record, Usage};

    /// An answer of five tokens in as many chunks, with the server's count of them.
    fn answer(usage: Option<u64>) -> Finished {
        let chunk = |at| Chunk { at: Nanos(at), lag: None, shared: false, kind: OutputKind::Text };
        let record = Record { chunks: (1..=5).map(chunk).collect(), ..streamgauge_testing::record() };
        let usage = usage.map(|count| Usage { completion_tokens: Some(count), ..Usage::default() });
        let text = " one two three four five".to_owned();
        let texts = vec![OutputText { choice: 0, kind: OutputKind::Text, text }];
        Finished {
            record: Record { usage, ..record },
            received: Received { texts, ..Received::default() },
            listed: None,
        }
    }

    fn counted(counting: &mut Counting, mut finished: Finished, is_behind: bool) -> Option<u32> {
        counting.count(&mut finished, is_behind);
        finished.record.text_tokens
    }

    #[test]
    fn usage_and_chunks_need_no_tokenizer() {
        for (asked, expected) in [
            (TokenCount::Usage, None),
            (TokenCount::Chunks, None),
            (TokenCount::Tokenizer, Some(5)),
            (TokenCount::Auto, Some(5)),
        ] {
            let mut counting = Counting::new(Tokenizer::embedded(), asked);
            for usage in [None, Some(5)] {
                assert_eq!(counted(&mut counting, answer(usage), false), expected, "{asked:?}");
            }
        }
    }

    #[test]
    fn later_turns_repeat_the_text_of_the_first_choice() {
        let counting = Counting::new(Tokenizer::embedded(), TokenCount::Auto);
        let mut finished = answer(None);
        finished.record.text_tokens = Some(9);
        assert_eq!(counting.said(&finished), None, "it is no turn");
        let history = History::default();
        finished.record.conversation =
            Some(ConversationTurn { number: 0, turn: 0, turns: 2, history, history_tokens: None });
        assert_eq!(counting.said(&finished), Some(9), "all of the answer");
        let reasoning = OutputText { choice: 0, kind: OutputKind::Reasoning, text: " let me think".to_owned() };
        finished.received.texts.insert(0, reasoning);
        assert_eq!(counting.said(&finished), Some(5), "without its reasoning");
    }

    #[test]
    fn a_sample_is_checked_while_counting_is_behind() {
        let mut counting = Counting::new(Tokenizer::embedded(), TokenCount::Auto);
        let checked = (0..SAMPLE * 4).filter(|_| counted(&mut counting, answer(Some(5)), true).is_some()).count();
        assert_eq!(checked, 4);
        assert_eq!(counted(&mut counting, answer(None), true), Some(5), "the figures need it");
        assert_eq!(counted(&mut counting, answer(Some(50)), true), Some(5), "it says whether the rest was shown");
        assert_eq!(counted(&mut counting, answer(Some(5)), false), Some(5), "it has caught up");
        let mut all = Counting::new(Tokenizer::embedded(), TokenCount::Tokenizer);
        assert!((0..40).all(|_| counted(&mut all, answer(Some(5)), true).is_some()));
    }
}
