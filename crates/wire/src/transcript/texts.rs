//! The texts of an answer. Work and memory grow in proportion to the output, however a server divides it.

use std::collections::HashMap;
use streamgauge_core::event::OutputKind;
use streamgauge_core::received::{OutputText, TextParts};

/// The number of texts that are searched one by one. An answer with more texts has an index.
const FEW: usize = 8;

/// The texts of an answer, one for each choice and kind.
#[derive(Debug, Default)]
pub(super) struct Texts {
    outputs: Vec<OutputText>,
    /// How the output events divide them, if that is kept.
    parts: Option<TextParts>,
    /// Where a text is, once there are more than [`FEW`].
    places: HashMap<(u32, OutputKind), usize>,
    /// The number of texts that were compared.
    #[cfg(test)]
    looks: usize,
}

impl Texts {
    /// An empty value that keeps how the events divide the texts.
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

    /// The choices that have output; one that has several kinds of output comes as often.
    pub fn choices(&self) -> impl Iterator<Item = u32> {
        self.outputs.iter().map(|output| output.choice)
    }

    fn find(&mut self, choice: u32, kind: OutputKind) -> Option<usize> {
        if self.outputs.len() > FEW {
            #[cfg(test)]
            (self.looks += 1);
            return self.places.get(&(choice, kind)).copied();
        }
        // It is nearly always the newest, since a server sends one answer after another or few at a time.
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

#[cfg(test)]
mod tests {
    use super::*;

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
