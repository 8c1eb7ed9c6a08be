//! What the answers of all OpenAI-style endpoints share: the object around the choices, usage, error objects, and the
//! order in which one object's events are reported.

use crate::error_body::server_message;
use crate::json::template::Template;
use crate::json::{Count, FromJson, Index, Key, Member, Reason, Something, Text, pass};
use crate::openai::message::Message;
use crate::openai::piece::Piece;
use serde::de::MapAccess;
use std::borrow::Cow;
use streamgauge_core::{Event, OutputKind, Usage};

/// The members of a chunk that could not be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Odd {
    /// A member that cannot be read, and in which output may have been.
    pub(crate) output: Option<&'static str>,
    /// A member that cannot be read, and in which no output was.
    pub(crate) other: Option<&'static str>,
}

impl Odd {
    fn is_none(&self) -> bool {
        self.output.is_none() && self.other.is_none()
    }
}

/// Reports the events of one object, which is a chunk of a stream or (without a template) a whole answer: outputs in the order of the
/// choices, then finishes, usage and a failure. The template learns a chunk that holds one text and nothing else. `json` is the text of
/// the object.
pub(crate) fn report(
    answer: &Answer<'_>,
    texts_first: bool,
    json: &str,
    template: Option<&mut Template>,
    is_whole: bool,
    on: &mut impl FnMut(Event<'_>),
) -> Odd {
    let choices = answer.choices.get().map_or(&[][..], |choices| choices);
    let (mut sole, mut outputs) = (None, 0_usize);
    // In a whole answer, choices without an index are in the order of the texts.
    let number =
        |place: u32, choice: &Choice<'_>| choice.index.get().map_or(if is_whole { place } else { 0 }, |index| index.0);
    let numbered = || (0_u32..).zip(choices).filter_map(|(place, choice)| Some((place, choice.get()?)));
    for (place, choice) in numbered() {
        let index = number(place, choice);
        choice.outputs(texts_first, &mut |piece: Piece<'_>| {
            outputs += 1;
            on(Event::Output { kind: piece.kind, choice: index, text: &piece.text });
            sole = match piece {
                Piece { kind, text: Cow::Borrowed(text), in_place: true } if outputs == 1 => Some((kind, index, text)),
                _ => None,
            };
        });
    }
    let mut others = 0_usize;
    for (place, choice) in numbered() {
        if let Some(Reason(reason)) = choice.finish_reason.get() {
            others += 1;
            on(Event::Finish { choice: number(place, choice), reason });
        }
    }
    if let Some(usage) = answer.counts() {
        others += 1;
        on(Event::Usage { usage, alone: choices.is_empty() || is_whole });
    }
    if answer.is_error() {
        others += 1;
        on(Event::Error { message: &failure_message(json.as_bytes()) });
    }
    let odd = answer.odd();
    match (outputs, others, sole, template) {
        (0, 0, ..) if odd.is_none() => on(Event::Empty),
        (1, 0, Some((kind, index, text)), Some(template)) if odd.is_none() => {
            template.learn(json.as_bytes(), text, kind, index);
        }
        _ => {}
    }
    odd
}

/// The server's message in an error inside an answer, whatever its form.
pub(crate) fn failure_message(body: &[u8]) -> String {
    server_message(body).unwrap_or_else(|| "the server reported an error without a message".into())
}

/// The object around the choices.
#[derive(Default)]
pub(crate) struct Answer<'a> {
    choices: Member<Vec<Member<Choice<'a>>>>,
    usage: Member<UsageBody>,
    /// An error in any form; [`server_message`] reads its message.
    error: Member<Something>,
    /// `error` in the answers of servers that put the message on the top level.
    object: Member<Text<'a>>,
    /// What llama.cpp sends beside its usage, and also if no usage is requested.
    timings: Member<Timings>,
}

/// llama.cpp's figures of a request, as far as they are used.
#[derive(Default)]
struct Timings {
    /// Prompt tokens that came from its cache.
    cache_n: Member<Count>,
}

impl<'de> FromJson<'de> for Timings {
    fn from_object<A: MapAccess<'de>>(mut object: A) -> Result<Member<Timings>, A::Error> {
        let mut timings = Timings::default();
        while let Some(Key(name)) = object.next_key()? {
            match &*name {
                "cache_n" => timings.cache_n = object.next_value()?,
                _ => pass(&mut object)?,
            }
        }
        Ok(Member::Read(timings))
    }
}

impl<'de> FromJson<'de> for Answer<'de> {
    fn from_object<A: MapAccess<'de>>(mut object: A) -> Result<Member<Answer<'de>>, A::Error> {
        let mut answer = Answer::default();
        while let Some(Key(name)) = object.next_key()? {
            match &*name {
                "choices" => answer.choices = object.next_value()?,
                "usage" => answer.usage = object.next_value()?,
                "error" => answer.error = object.next_value()?,
                "object" => answer.object = object.next_value()?,
                "timings" => answer.timings = object.next_value()?,
                _ => pass(&mut object)?,
            }
        }
        Ok(Member::Read(answer))
    }
}

impl Answer<'_> {
    /// The server's counts. The number of prompt tokens from its cache may also stand beside the usage.
    fn counts(&self) -> Option<Usage> {
        let usage = self.usage.get().and_then(UsageBody::counts);
        let cached = self.timings.get().and_then(|timings| timings.cache_n.get()).map(|count| count.0);
        match usage {
            Some(usage) => Some(Usage { cached_tokens: usage.cached_tokens.or(cached), ..usage }),
            None => {
                cached.filter(|&count| count > 0).map(|count| Usage { cached_tokens: Some(count), ..Usage::default() })
            }
        }
    }

    fn is_error(&self) -> bool {
        self.error.get().is_some() || self.object.get().is_some_and(|Text(object)| object == "error")
    }

    fn odd(&self) -> Odd {
        let mut odd = Odd::default();
        match &self.choices {
            Member::Absent => {}
            Member::Odd => odd.output = Some("choices"),
            Member::Read(choices) => {
                for choice in choices {
                    match choice {
                        Member::Absent => {}
                        Member::Odd => odd.output = Some("choices"),
                        Member::Read(choice) => choice.odd(&mut odd),
                    }
                }
            }
        }
        match &self.usage {
            Member::Absent => {}
            Member::Odd => odd.other = Some("usage"),
            Member::Read(usage) => odd.other = usage.odd().or(odd.other),
        }
        odd
    }
}

/// One entry of `choices`: with a `delta` in a chat stream, a `message` in a whole answer of chat, a `text` in completions.
#[derive(Default)]
pub(crate) struct Choice<'a> {
    index: Member<Index>,
    delta: Member<Message<'a>>,
    message: Member<Message<'a>>,
    text: Member<Text<'a>>,
    finish_reason: Member<Reason<'a>>,
}

impl<'de> FromJson<'de> for Choice<'de> {
    fn from_object<A: MapAccess<'de>>(mut object: A) -> Result<Member<Choice<'de>>, A::Error> {
        let mut choice = Choice::default();
        while let Some(Key(name)) = object.next_key()? {
            match &*name {
                "index" => choice.index = object.next_value()?,
                "delta" => choice.delta = object.next_value()?,
                "message" => choice.message = object.next_value()?,
                "text" => choice.text = object.next_value()?,
                "finish_reason" => choice.finish_reason = object.next_value()?,
                _ => pass(&mut object)?,
            }
        }
        Ok(Member::Read(choice))
    }
}

impl Choice<'_> {
    /// Passes on each piece of output, none of which is empty. The endpoint's own members come first; those of the other endpoint are read
    /// only if they are empty, since some servers repeat an answer in both.
    fn outputs<'s>(&'s self, text_first: bool, put: &mut impl FnMut(Piece<'s>)) {
        let mut count = 0;
        let mut counted = |piece: Piece<'s>| {
            count += 1;
            put(piece);
        };
        if text_first {
            self.text(&mut counted);
        } else {
            self.messages(&mut counted);
        }
        match (count, text_first) {
            (0, true) => self.messages(put),
            (0, false) => self.text(put),
            _ => {}
        }
    }

    fn messages<'s>(&'s self, put: &mut impl FnMut(Piece<'s>)) {
        for message in self.delta.get().into_iter().chain(self.message.get()) {
            message.outputs(put);
        }
    }

    fn text<'s>(&'s self, put: &mut impl FnMut(Piece<'s>)) {
        if let Some(Text(text)) = self.text.get().filter(|Text(text)| !text.is_empty()) {
            let in_place = matches!(text, Cow::Borrowed(_));
            put(Piece { kind: OutputKind::Text, text: Cow::Borrowed(text), in_place });
        }
    }

    fn odd(&self, odd: &mut Odd) {
        if self.index.is_odd() {
            odd.other = Some("index");
        }
        if self.finish_reason.is_odd() {
            odd.other = Some("finish_reason");
        }
        odd.output = match (&self.delta, &self.message, &self.text) {
            (Member::Odd, ..) => Some("delta"),
            (_, Member::Odd, _) => Some("message"),
            (_, _, Member::Odd) => Some("text"),
            (delta, message, _) => {
                let message = || message.get().and_then(Message::odd);
                delta.get().and_then(Message::odd).or_else(message).or(odd.output)
            }
        };
    }
}

/// Token counts under the names that servers use.
#[derive(Default)]
pub(crate) struct UsageBody {
    prompt_tokens: Member<Count>,
    completion_tokens: Member<Count>,
    completion_details: Member<Details>,
    prompt_details: Member<Details>,
    /// DeepSeek's name for the cached tokens of a prompt.
    cache_hit_tokens: Member<Count>,
}

impl<'de> FromJson<'de> for UsageBody {
    fn from_object<A: MapAccess<'de>>(mut object: A) -> Result<Member<UsageBody>, A::Error> {
        let mut usage = UsageBody::default();
        while let Some(Key(name)) = object.next_key()? {
            match &*name {
                "prompt_tokens" => usage.prompt_tokens = object.next_value()?,
                "completion_tokens" => usage.completion_tokens = object.next_value()?,
                "completion_tokens_details" => usage.completion_details = object.next_value()?,
                "prompt_tokens_details" => usage.prompt_details = object.next_value()?,
                "prompt_cache_hit_tokens" => usage.cache_hit_tokens = object.next_value()?,
                _ => pass(&mut object)?,
            }
        }
        Ok(Member::Read(usage))
    }
}

/// The parts of a count, as far as they are used.
#[derive(Default)]
struct Details {
    reasoning_tokens: Member<Count>,
    cached_tokens: Member<Count>,
}

impl<'de> FromJson<'de> for Details {
    fn from_object<A: MapAccess<'de>>(mut object: A) -> Result<Member<Details>, A::Error> {
        let mut details = Details::default();
        while let Some(Key(name)) = object.next_key()? {
            match &*name {
                "reasoning_tokens" => details.reasoning_tokens = object.next_value()?,
                "cached_tokens" => details.cached_tokens = object.next_value()?,
                _ => pass(&mut object)?,
            }
        }
        Ok(Member::Read(details))
    }
}

impl UsageBody {
    /// The counts. `None` if the object holds none of them.
    pub(crate) fn counts(&self) -> Option<Usage> {
        let count = |member: &Member<Count>| member.get().map(|count| count.0);
        let usage = Usage {
            prompt_tokens: count(&self.prompt_tokens),
            completion_tokens: count(&self.completion_tokens),
            reasoning_tokens: self.completion_details.get().and_then(|details| count(&details.reasoning_tokens)),
            cached_tokens: self
                .prompt_details
                .get()
                .and_then(|details| count(&details.cached_tokens))
                .or_else(|| count(&self.cache_hit_tokens)),
        };
        (usage != Usage::default()).then_some(usage)
    }

    /// The first count that cannot be read.
    pub(crate) fn odd(&self) -> Option<&'static str> {
        let detail = |details: &Member<Details>, count: fn(&Details) -> &Member<Count>| match details {
            Member::Read(details) => count(details).is_odd(),
            other => other.is_odd(),
        };
        [
            (self.prompt_tokens.is_odd(), "usage.prompt_tokens"),
            (self.completion_tokens.is_odd(), "usage.completion_tokens"),
            (detail(&self.completion_details, |details| &details.reasoning_tokens), "usage.completion_tokens_details"),
            (detail(&self.prompt_details, |details| &details.cached_tokens), "usage.prompt_tokens_details"),
            (self.cache_hit_tokens.is_odd(), "usage.prompt_cache_hit_tokens"),
        ]
        .into_iter()
        .find_map(|(is_odd, name)| is_odd.then_some(name))
    }
}
