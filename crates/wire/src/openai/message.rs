//! The output of a model in the members in which servers send it: the `delta` of a chunk, or the `message` of a whole answer.

use crate::json::{FromJson, Key, Member, Text, TextOrObject, pass};
use crate::openai::parts::{Content, Thought};
use crate::openai::piece::Piece;
use serde::de::{MapAccess, SeqAccess};
use std::borrow::Cow;
use streamgauge_core::OutputKind;

/// The output of the model. Thinking has several names, and some servers send the same text under two of them.
///
/// It is on the heap, since the JSON parser moves each value several times.
pub(crate) struct Message<'a>(Box<Fields<'a>>);

#[derive(Default)]
struct Fields<'a> {
    /// The answer, as a text or as a list of parts; OpenAI and Mistral.
    content: Member<Content<'a>>,
    /// The text with which the model declines to answer; OpenAI.
    refusal: Member<Text<'a>>,
    /// Thinking; DeepSeek, vLLM, SGLang and most others.
    reasoning_content: Member<Thought<'a>>,
    /// Thinking; OpenRouter, Groq and newer vLLM.
    reasoning: Member<Thought<'a>>,
    /// Thinking; GitHub's models.
    reasoning_text: Member<Thought<'a>>,
    /// Thinking; Ollama.
    thinking: Member<Thought<'a>>,
    /// Thinking as a list, most often beside the same as a text; OpenRouter (`reasoning_details`), LiteLLM (`thinking_blocks`).
    thinking_list: Member<Thought<'a>>,
    tool_calls: Member<ToolCalls<'a>>,
    /// The older form of a tool call, which is not a list.
    function_call: Member<Box<Function<'a>>>,
    /// Speech, whose text is output like any other; OpenAI.
    audio: Member<Box<Audio<'a>>>,
}

impl<'de> FromJson<'de> for Message<'de> {
    fn from_object<A: MapAccess<'de>>(mut object: A) -> Result<Member<Message<'de>>, A::Error> {
        let mut message = Box::<Fields<'de>>::default();
        while let Some(Key(name)) = object.next_key()? {
            match &*name {
                "content" => message.content = object.next_value()?,
                "refusal" => message.refusal = object.next_value()?,
                "reasoning_content" => message.reasoning_content = object.next_value()?,
                "reasoning" => message.reasoning = object.next_value()?,
                "reasoning_text" => message.reasoning_text = object.next_value()?,
                "thinking" => message.thinking = object.next_value()?,
                "reasoning_details" | "thinking_blocks" => message.thinking_list = object.next_value()?,
                "tool_calls" => message.tool_calls = object.next_value()?,
                "function_call" => message.function_call = object.next_value()?,
                "audio" => message.audio = object.next_value()?,
                _ => pass(&mut object)?,
            }
        }
        Ok(Member::Read(Message(message)))
    }
}

impl Message<'_> {
    /// Passes on each piece of output, none of which is empty: thinking, the answer, calls of tools.
    pub(crate) fn outputs<'s>(&'s self, put: &mut impl FnMut(Piece<'s>)) {
        self.0.outputs(put);
    }

    /// The first member that may hold output and cannot be read.
    pub(crate) fn odd(&self) -> Option<&'static str> {
        self.0.odd()
    }
}

impl Fields<'_> {
    fn outputs<'s>(&'s self, put: &mut impl FnMut(Piece<'s>)) {
        self.thoughts(put);
        match self.content.get() {
            Some(Content::Text(text)) => put_text(OutputKind::Text, &text.0, put),
            Some(Content::Parts(parts)) => {
                put_text(OutputKind::Reasoning, &parts.thought, put);
                put_text(OutputKind::Text, &parts.answer, put);
            }
            None => {}
        }
        let transcript = self.audio.get().and_then(|audio| audio.transcript.get());
        for Text(text) in self.refusal.get().into_iter().chain(transcript) {
            put_text(OutputKind::Text, text, put);
        }
        let calls = self.tool_calls.get().into_iter().flat_map(|ToolCalls(calls)| calls).filter_map(Member::get);
        for function in calls.chain(self.function_call.get().map(|function| &**function)) {
            function.call(put);
        }
    }

    fn thoughts<'s>(&'s self, put: &mut impl FnMut(Piece<'s>)) {
        // Most chunks have no thinking.
        if let (Member::Absent, Member::Absent, Member::Absent, Member::Absent, Member::Absent) =
            (&self.reasoning_content, &self.reasoning, &self.reasoning_text, &self.thinking, &self.thinking_list)
        {
            return;
        }
        let named = [&self.reasoning_content, &self.reasoning, &self.reasoning_text, &self.thinking];
        let texts = named.map(|member| member.get().map_or("", |thought| &thought.text));
        let said = texts.iter().filter(|text| !text.is_empty()).count();
        if said == 0 {
            // If there is a text as well, the list repeats it.
            if let Some(list) = self.thinking_list.get() {
                put_text(OutputKind::Reasoning, &list.text, put);
            }
            return;
        }
        for (index, (member, &text)) in named.into_iter().zip(&texts).enumerate() {
            if text.is_empty() || texts[..index].contains(&text) {
                continue;
            }
            // Two equal texts are one output. The template cannot know that, so the text is not in place.
            let in_place = said == 1 && matches!(member.get(), Some(Thought { text: Cow::Borrowed(_), .. }));
            put(Piece { kind: OutputKind::Reasoning, text: Cow::Borrowed(text), in_place });
        }
    }

    fn odd(&self) -> Option<&'static str> {
        let is_odd_function = |member: &Member<Function<'_>>| match member {
            Member::Absent => false,
            Member::Read(function) => function.is_odd(),
            Member::Odd => true,
        };
        let content = match &self.content {
            Member::Absent | Member::Read(Content::Text(_)) => false,
            Member::Read(Content::Parts(parts)) => parts.is_odd,
            Member::Odd => true,
        };
        if content {
            return Some("content");
        }
        for (member, name) in [
            (&self.reasoning_content, "reasoning_content"),
            (&self.reasoning, "reasoning"),
            (&self.reasoning_text, "reasoning_text"),
            (&self.thinking, "thinking"),
        ] {
            match member {
                Member::Absent | Member::Read(Thought { is_odd: false, .. }) => {}
                Member::Read(_) | Member::Odd => return Some(name),
            }
        }
        let calls = match &self.tool_calls {
            Member::Absent => false,
            Member::Read(ToolCalls(calls)) => calls.iter().any(is_odd_function),
            Member::Odd => true,
        };
        if calls {
            return Some("tool_calls");
        }
        match (&self.refusal, &self.function_call, &self.audio) {
            (Member::Absent, Member::Absent, Member::Absent) => None,
            (Member::Odd, ..) => Some("refusal"),
            (_, Member::Odd, _) => Some("function_call"),
            (_, Member::Read(function), _) if function.is_odd() => Some("function_call"),
            (_, _, Member::Odd) => Some("audio"),
            (_, _, Member::Read(audio)) if audio.transcript.is_odd() => Some("audio"),
            _ => None,
        }
    }
}

#[expect(clippy::ptr_arg, reason = "whether the text is borrowed is what matters")]
fn put_text<'s>(kind: OutputKind, text: &'s Cow<'_, str>, put: &mut impl FnMut(Piece<'s>)) {
    if !text.is_empty() {
        put(Piece { kind, text: Cow::Borrowed(text), in_place: matches!(text, Cow::Borrowed(_)) });
    }
}

/// Calls of tools, of which most chunks have one; some servers send it without the list.
struct ToolCalls<'a>(Vec<Member<Function<'a>>>);

impl<'de> FromJson<'de> for ToolCalls<'de> {
    fn from_list<A: SeqAccess<'de>>(list: A) -> Result<Member<ToolCalls<'de>>, A::Error> {
        Ok(match Vec::<Member<ToolCall<'de>>>::from_list(list)? {
            Member::Read(calls) => Member::Read(ToolCalls(calls.into_iter().map(ToolCall::function).collect())),
            Member::Absent | Member::Odd => Member::Odd,
        })
    }

    fn from_object<A: MapAccess<'de>>(object: A) -> Result<Member<ToolCalls<'de>>, A::Error> {
        let call = ToolCall::from_object(object)?;
        Ok(Member::Read(ToolCalls(vec![ToolCall::function(call)])))
    }
}

/// One call, in which the function is a member or the object itself.
#[derive(Default)]
struct ToolCall<'a> {
    function: Member<Function<'a>>,
    own: Function<'a>,
}

impl<'de> FromJson<'de> for ToolCall<'de> {
    fn from_object<A: MapAccess<'de>>(mut object: A) -> Result<Member<ToolCall<'de>>, A::Error> {
        let mut call = ToolCall::default();
        while let Some(Key(name)) = object.next_key()? {
            match &*name {
                "function" | "custom" => call.function = object.next_value()?,
                "name" => call.own.name = object.next_value()?,
                "arguments" | "input" => call.own.arguments = object.next_value()?,
                _ => pass(&mut object)?,
            }
        }
        Ok(Member::Read(call))
    }
}

impl<'a> ToolCall<'a> {
    fn function(call: Member<ToolCall<'a>>) -> Member<Function<'a>> {
        match call {
            Member::Read(ToolCall { function: Member::Absent, own }) => Member::Read(own),
            Member::Read(ToolCall { function, .. }) => function,
            Member::Absent => Member::Absent,
            Member::Odd => Member::Odd,
        }
    }
}

#[derive(Default)]
struct Function<'a> {
    name: Member<Text<'a>>,
    arguments: Member<TextOrObject<'a>>,
}

impl<'de> FromJson<'de> for Function<'de> {
    fn from_object<A: MapAccess<'de>>(mut object: A) -> Result<Member<Function<'de>>, A::Error> {
        let mut function = Function::default();
        while let Some(Key(name)) = object.next_key()? {
            match &*name {
                "name" => function.name = object.next_value()?,
                "arguments" | "input" => function.arguments = object.next_value()?,
                _ => pass(&mut object)?,
            }
        }
        Ok(Member::Read(function))
    }
}

impl Function<'_> {
    /// The name is output as the arguments are: the model took tokens to produce it.
    fn call<'s>(&'s self, put: &mut impl FnMut(Piece<'s>)) {
        let name = self.name.get().map_or("", |Text(name)| name);
        match self.arguments.get() {
            Some(TextOrObject(arguments)) if name.is_empty() => put_text(OutputKind::ToolCall, arguments, put),
            Some(TextOrObject(arguments)) if !arguments.is_empty() => {
                let text = Cow::Owned([name, arguments].concat());
                put(Piece { kind: OutputKind::ToolCall, text, in_place: false });
            }
            _ if name.is_empty() => {}
            _ => put(Piece { kind: OutputKind::ToolCall, text: Cow::Borrowed(name), in_place: false }),
        }
    }

    fn is_odd(&self) -> bool {
        self.name.is_odd() || self.arguments.is_odd()
    }
}

#[derive(Default)]
struct Audio<'a> {
    transcript: Member<Text<'a>>,
}

impl<'de> FromJson<'de> for Audio<'de> {
    fn from_object<A: MapAccess<'de>>(mut object: A) -> Result<Member<Audio<'de>>, A::Error> {
        let mut audio = Audio::default();
        while let Some(Key(name)) = object.next_key()? {
            match &*name {
                "transcript" => audio.transcript = object.next_value()?,
                _ => pass(&mut object)?,
            }
        }
        Ok(Member::Read(audio))
    }
}
