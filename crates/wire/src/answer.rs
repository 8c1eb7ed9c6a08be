//! What the answers of all OpenAI-style endpoints share: the object around the choices, usage, error objects, and the
//! order in which one object's events are reported.

use crate::error_body::server_message;
use crate::template::Template;
use serde::de::{Deserializer, IgnoredAny, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};
use std::borrow::Cow;
use streamgauge_core::{Event, OutputKind, Usage};

/// One entry of `choices`, as an endpoint spells it.
pub(crate) trait Choice {
    /// Which of the answers asked for.
    fn index(&self) -> u32;

    /// Hands over each piece of output, none of them empty but a tool call that so far only has its name.
    fn outputs<'s>(&'s self, put: &mut impl FnMut(Piece<'s>));

    /// The server's word for why this answer ended; empty when it has not.
    fn finish_reason(&self) -> &str;
}

/// One piece of output.
#[derive(Clone, Copy)]
pub(crate) struct Piece<'a> {
    /// What it is.
    pub(crate) kind: OutputKind,
    /// Its text.
    pub(crate) text: &'a str,
    /// Whether the text is the very bytes of the event, and the event's meaning does not depend on it.
    pub(crate) in_place: bool,
}

impl<'a> Piece<'a> {
    /// A piece of output whose text is no concern of anything else in the event.
    pub(crate) fn new(kind: OutputKind, text: &'a Text<'_>) -> Piece<'a> {
        Piece { kind, text: &text.0, in_place: matches!(text.0, Cow::Borrowed(_)) }
    }
}

/// Reads one object, a chunk of a stream or (without a template) a whole answer, and reports what it says: outputs in
/// the order of the choices, then finishes, usage, and a failure. A chunk that does nothing but bring one text is learnt.
///
/// # Errors
/// When it is not JSON, or not of the promised shape. Nothing has been reported then.
pub(crate) fn read<'a, C: Choice + Deserialize<'a>>(
    text: &'a str,
    template: Option<&mut Template>,
    on: &mut impl FnMut(Event<'_>),
) -> Result<(), serde_json::Error> {
    let Object(answer): Object<Answer<'a, C>> = serde_json::from_str(text)?;
    let choices = answer.choices.unwrap_or_default();
    let mut sole = None;
    let mut outputs = 0_usize;
    for Object(choice) in &choices {
        choice.outputs(&mut |piece| {
            outputs += 1;
            sole = Some((piece, choice.index()));
            on(Event::Output { kind: piece.kind, choice: choice.index(), text: piece.text });
        });
    }
    let mut others = 0_usize;
    for Object(choice) in choices.iter().filter(|choice| !choice.0.finish_reason().is_empty()) {
        others += 1;
        on(Event::Finish { choice: choice.index(), reason: choice.finish_reason() });
    }
    if let Some(usage) = answer.usage.and_then(|Object(body)| body.counts()) {
        others += 1;
        on(Event::Usage { usage, alone: choices.is_empty() || template.is_none() });
    }
    if answer.error.is_some() || answer.object.is_some_and(|object| object.0 == "error") {
        others += 1;
        on(Event::Error { message: &failure_message(text.as_bytes()) });
    }
    match (outputs, others) {
        (0, 0) => on(Event::Empty),
        (1, 0) => {
            if let (Some(template), Some((piece, index))) = (template, sole)
                && piece.in_place
                && !piece.text.is_empty()
            {
                template.learn(text.as_bytes(), piece.text, piece.kind, index);
            }
        }
        _ => {}
    }
    Ok(())
}

/// The server's message in an error that came inside an answer, whatever its shape.
pub(crate) fn failure_message(body: &[u8]) -> String {
    server_message(body).unwrap_or_else(|| "the server reported an error without a message".into())
}

/// The object around the choices.
#[derive(Deserialize)]
#[serde(bound(deserialize = "C: Deserialize<'de>"))]
struct Answer<'a, C> {
    choices: Option<Vec<Object<C>>>,
    usage: Option<Object<UsageBody>>,
    /// Whatever it is: its message is read by the one function that knows the shapes.
    error: Option<IgnoredAny>,
    /// `error` in the answers of servers that put the message on the top level.
    #[serde(borrow)]
    object: Option<Text<'a>>,
}

/// Token counts as they are spelt.
#[derive(Deserialize)]
struct UsageBody {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    completion_tokens_details: Option<Object<CompletionDetails>>,
    prompt_tokens_details: Option<Object<PromptDetails>>,
}

#[derive(Deserialize)]
struct CompletionDetails {
    reasoning_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct PromptDetails {
    cached_tokens: Option<u64>,
}

impl UsageBody {
    /// The counts; none when the object holds none of them.
    fn counts(&self) -> Option<Usage> {
        let usage = Usage {
            prompt_tokens: self.prompt_tokens,
            completion_tokens: self.completion_tokens,
            reasoning_tokens: self.completion_tokens_details.as_ref().and_then(|details| details.0.reasoning_tokens),
            cached_tokens: self.prompt_tokens_details.as_ref().and_then(|details| details.0.cached_tokens),
        };
        (usage != Usage::default()).then_some(usage)
    }
}

/// A string, borrowed where the JSON has it unescaped. (`Option<Cow<str>>` would always be owned: serde borrows a `Cow`
/// only when it is the field itself.)
#[derive(Deserialize)]
#[serde(transparent)]
pub(crate) struct Text<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

/// A JSON object and nothing else. A derived struct also accepts an array of its members in order, which no server
/// means: `"delta":["x"]` is malformed, not the content `x`.
pub(crate) struct Object<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Object<T>, D::Error> {
        T::deserialize(StructAsMap(deserializer)).map(Object)
    }
}

/// A deserializer that takes the wish for a struct as the wish for a map.
struct StructAsMap<D>(D);

impl<'de, D: Deserializer<'de>> Deserializer<'de> for StructAsMap<D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_any(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}
