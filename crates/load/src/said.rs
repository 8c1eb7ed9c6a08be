//! What an answer has said so far: its texts, and the server's counts. The work and the memory of both grow with what is said
//! and never faster, however a server cuts it.

use std::collections::HashMap;
use streamgauge_core::event::{OutputKind, Usage};
use streamgauge_core::received::{OutputText, TextParts};

/// So many texts are looked through one by one; an answer with more has an index.
const FEW: usize = 8;

/// The texts of an answer, one for each choice and kind.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    outputs: Vec<OutputText>,
    /// How the output events divide them, where that is kept.
    parts: Option<TextParts>,
    /// Where a text is, once there are more than [`FEW`].
    places: HashMap<(u32, OutputKind), usize>,
    /// How many texts were looked at.
    #[cfg(test)]
    looks: usize,
}

impl Texts {
    /// No text yet; how the events divide the texts will be kept.
    pub fn with_parts() -> Texts {
        Texts { parts: Some(TextParts::default()), ..Texts::default() }
    }

    /// Adds a piece of output.
    pub fn append(&mut self, choice: u32, kind: OutputKind, text: &str) {
        let place = self.find(choice, kind);
        if let Some(parts) = &mut self.parts {
            let short = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
            parts.push(short(place.unwrap_or(self.outputs.len())), short(text.len()));
        }
        match place {
            Some(place) => self.outputs[place].text.push_str(text),
            None => {
                if self.outputs.len() >= FEW {
                    if self.places.is_empty() {
                        let known = self.outputs.iter().enumerate();
                        self.places.extend(known.map(|(place, output)| ((output.choice, output.kind), place)));
                    }
                    self.places.insert((choice, kind), self.outputs.len());
                }
                self.outputs.push(OutputText { choice, kind, text: text.to_owned() });
            }
        }
    }

    fn find(&mut self, choice: u32, kind: OutputKind) -> Option<usize> {
        if self.outputs.len() > FEW {
            #[cfg(test)]
            (self.looks += 1);
            return self.places.get(&(choice, kind)).copied();
        }
        // Nearly always the newest: answers come one after another or few at a time.
        let place = self.outputs.iter().rposition(|output| output.choice == choice && output.kind == kind);
        #[cfg(test)]
        (self.looks += self.outputs.len() - place.unwrap_or(0));
        place
    }

    /// The texts, in the order in which they began, and how the events divide them, where that was kept.
    pub fn into_parts(self) -> (Vec<OutputText>, TextParts) {
        (self.outputs, self.parts.unwrap_or_default())
    }
}

/// The server's counts of one request. Running counts replace each other. Of several that stand alone, one for each answer
/// (llama.cpp with `n`), the output adds up; a repeated one (the same answer's) replaces.
#[derive(Debug, Default)]
pub(crate) struct UsageFold {
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

    #[test]
    fn each_choice_and_kind_has_its_text() {
        let mut texts = Texts::default();
        for choice in (0..20).chain(0..20) {
            texts.append(choice, OutputKind::Text, "a");
            texts.append(choice, OutputKind::Reasoning, "b");
        }
        let (outputs, parts) = texts.into_parts();
        assert!(parts.is_empty(), "they were not asked for");
        assert_eq!(outputs.len(), 40);
        for (index, output) in outputs.iter().enumerate() {
            let (kind, text) = if index % 2 == 0 { (OutputKind::Text, "aa") } else { (OutputKind::Reasoning, "bb") };
            assert_eq!((output.choice, output.kind, output.text.as_str()), (index as u32 / 2, kind, text));
        }
    }

    #[test]
    fn parts_are_kept_where_they_are_asked_for() {
        let mut texts = Texts::with_parts();
        texts.append(0, OutputKind::Text, "ab");
        texts.append(1, OutputKind::Text, "");
        texts.append(0, OutputKind::Text, "ü");
        let (outputs, parts) = texts.into_parts();
        assert_eq!(outputs.iter().map(|output| output.text.as_str()).collect::<Vec<_>>(), ["abü", ""]);
        assert_eq!(parts.iter().collect::<Vec<_>>(), [(0, 2), (1, 0), (0, 2)]);
    }

    #[test]
    fn the_work_grows_with_the_pieces_however_many_choices_there_are() {
        for choices in [1, 8, 9, 5_000] {
            let mut texts = Texts::default();
            for piece in 0..20_000 {
                texts.append(piece % choices, OutputKind::Text, "a");
            }
            assert!(texts.looks <= 20_000 * FEW, "{choices} choices: {} looks", texts.looks);
        }
    }
}
