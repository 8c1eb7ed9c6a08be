//! Text as a list of parts, which Mistral, gateways to Anthropic's models, and whole messages of multimodal models send in place of a
//! text.

use crate::json::{FromJson, Key, Member, Text, pass};
use serde::de::{MapAccess, SeqAccess};
use std::borrow::Cow;

/// The answer of a model, as a text or in parts.
pub(crate) enum Content<'a> {
    /// A text.
    Text(Text<'a>),
    /// A list of parts, or one part.
    Parts(Box<Parts<'a>>),
}

/// The texts of a list of parts, joined.
#[derive(Default)]
pub(crate) struct Parts<'a> {
    /// The answer for the user.
    pub(crate) answer: Cow<'a, str>,
    /// The thinking before the answer.
    pub(crate) thought: Cow<'a, str>,
    /// Some part could not be read, and its text may be missing.
    pub(crate) is_odd: bool,
}

impl<'de> FromJson<'de> for Content<'de> {
    fn from_text(text: Cow<'de, str>) -> Member<Content<'de>> {
        Member::Read(Content::Text(Text(text)))
    }

    fn from_list<A: SeqAccess<'de>>(mut list: A) -> Result<Member<Content<'de>>, A::Error> {
        let mut parts = Parts::default();
        while let Some(part) = list.next_element()? {
            parts.add(part);
        }
        Ok(Member::Read(Content::Parts(Box::new(parts))))
    }

    fn from_object<A: MapAccess<'de>>(object: A) -> Result<Member<Content<'de>>, A::Error> {
        let mut parts = Parts::default();
        parts.add(Part::from_object(object)?);
        Ok(Member::Read(Content::Parts(Box::new(parts))))
    }
}

impl<'a> Parts<'a> {
    fn add(&mut self, part: Member<Part<'a>>) {
        match part {
            Member::Absent => {}
            Member::Odd => self.is_odd = true,
            Member::Read(part) => {
                append(&mut self.answer, part.answer);
                append(&mut self.thought, part.thought);
                self.is_odd |= part.is_odd;
            }
        }
    }
}

fn append<'a>(text: &mut Cow<'a, str>, more: Cow<'a, str>) {
    if text.is_empty() {
        *text = more;
    } else if !more.is_empty() {
        text.to_mut().push_str(&more);
    }
}

/// A text that is known to be thinking, whatever the types of its parts are.
pub(crate) struct Thought<'a> {
    /// All of it.
    pub(crate) text: Cow<'a, str>,
    /// Some part could not be read, and its text may be missing.
    pub(crate) is_odd: bool,
}

impl<'de> FromJson<'de> for Thought<'de> {
    fn from_text(text: Cow<'de, str>) -> Member<Thought<'de>> {
        Member::Read(Thought { text, is_odd: false })
    }

    fn from_list<A: SeqAccess<'de>>(mut list: A) -> Result<Member<Thought<'de>>, A::Error> {
        let mut thought = Thought { text: Cow::Borrowed(""), is_odd: false };
        while let Some(part) = list.next_element()? {
            thought.add(part);
        }
        Ok(Member::Read(thought))
    }

    fn from_object<A: MapAccess<'de>>(object: A) -> Result<Member<Thought<'de>>, A::Error> {
        let mut thought = Thought { text: Cow::Borrowed(""), is_odd: false };
        thought.add(Part::from_object(object)?);
        Ok(Member::Read(thought))
    }
}

impl<'a> Thought<'a> {
    fn add(&mut self, part: Member<Part<'a>>) {
        match part {
            Member::Absent => {}
            Member::Odd => self.is_odd = true,
            Member::Read(part) => {
                append(&mut self.text, part.thought);
                append(&mut self.text, part.answer);
                self.is_odd |= part.is_odd;
            }
        }
    }
}

/// One part: a text, or an object that says what kind of text it holds. A part that holds none (an image, a reference, a
/// signature) says nothing here.
struct Part<'a> {
    answer: Cow<'a, str>,
    thought: Cow<'a, str>,
    is_odd: bool,
}

impl<'de> FromJson<'de> for Part<'de> {
    fn from_text(text: Cow<'de, str>) -> Member<Part<'de>> {
        Member::Read(Part { answer: text, thought: Cow::Borrowed(""), is_odd: false })
    }

    fn from_object<A: MapAccess<'de>>(mut object: A) -> Result<Member<Part<'de>>, A::Error> {
        let (mut kind, mut text, mut thought) = (Member::<Text<'de>>::Absent, None, None);
        let mut is_odd = false;
        while let Some(Key(name)) = object.next_key()? {
            let target = match &*name {
                "type" => {
                    kind = object.next_value()?;
                    continue;
                }
                "text" | "content" | "value" | "refusal" | "transcript" | "summary" => &mut text,
                "thinking" | "reasoning" | "reasoning_content" => &mut thought,
                _ => {
                    pass(&mut object)?;
                    continue;
                }
            };
            match object.next_value::<Member<Thought<'de>>>()? {
                Member::Absent => {}
                Member::Odd => is_odd = true,
                Member::Read(found) => {
                    is_odd |= found.is_odd;
                    // A part has one text, whatever it is called.
                    *target = target.take().filter(|text: &Cow<'_, str>| !text.is_empty()).or(Some(found.text));
                }
            }
        }
        let is_thought = kind.get().is_some_and(|Text(kind)| kind.contains("think") || kind.contains("reason"));
        let (mut answer, mut thought) = (text.unwrap_or_default(), thought.unwrap_or_default());
        if is_thought {
            append(&mut thought, std::mem::take(&mut answer));
        }
        Ok(Member::Read(Part { answer, thought, is_odd }))
    }
}
