//! Requests that are ready to be sent.

use bytes::Bytes;
use std::sync::Arc;
use streamgauge_core::Prompt;
use streamgauge_core::clock::Nanos;
use streamgauge_core::prompt::{History, Message};
use streamgauge_core::tensor::Tensor;
use streamgauge_wire::{Codec, Encoded, Tag, TaggedRequest};

/// One request as the codec made it.
#[derive(Clone, Debug)]
pub struct Input {
    /// What is sent.
    pub encoded: Encoded,
    /// What the outputs must be.
    pub expected: Vec<Tensor>,
    /// Tokens of its prompt.
    pub tokens: u32,
    /// Output length that it asks for.
    pub requested_output_tokens: Option<u32>,
    /// Of a turn of a conversation with several turns: what the later turns need to know of it.
    pub dialogue: Option<DialogueTurn>,
    /// What a file that is written as the run goes shows as its input. Only requests that are streamed from their source have it.
    pub listed: Option<Arc<str>>,
}

/// What later turns of a conversation need to know of a turn.
#[derive(Clone, Debug, PartialEq)]
pub struct DialogueTurn {
    /// What the turn says beyond the turns before it.
    pub prompt: Prompt,
    /// What stands before that.
    pub history: History,
    /// How long after the answer before it the turn is sent.
    pub delay: Nanos,
    /// When it is sent at the earliest, from the schedule's zero. `None` if it has no time of its own.
    pub at: Option<Nanos>,
    /// The recorded answer that stands before later turns in the place of the server's, and its tokens.
    pub answer: Option<(Message, u32)>,
}

/// One request, ready for its sendings.
#[derive(Debug)]
pub(crate) struct Prepared {
    body: Body,
    /// As in [`Encoded::outputs`].
    pub outputs: u32,
    pub expected: Vec<Tensor>,
    pub tokens: u32,
    pub requested_output_tokens: Option<u32>,
    pub dialogue: Option<Box<DialogueTurn>>,
    pub listed: Option<Arc<str>>,
}

#[derive(Debug)]
enum Body {
    /// The same in each sending, and how much of it is JSON.
    Whole(Bytes, usize),
    /// Each time the request is sent it has a tag of its own.
    Tagged(Encoded),
}

impl Prepared {
    /// `any` is like the tags that its sendings will have.
    pub fn new(input: Input, codec: &Codec, any: &Tag) -> Prepared {
        let Input { encoded, expected, tokens, requested_output_tokens, dialogue, listed } = input;
        let outputs = encoded.outputs;
        let body = match codec.with_tag(&encoded, any) {
            None => Body::Whole(encoded.body.into(), encoded.json),
            Some(_) => Body::Tagged(encoded),
        };
        Prepared { body, outputs, expected, tokens, requested_output_tokens, dialogue: dialogue.map(Box::new), listed }
    }

    /// This request with `prompt`, which holds what was said before it. `None` where the endpoint cannot be sent it, which is found out before
    /// load: a turn without its history was encoded then.
    pub fn made_from(&self, prompt: &Prompt, codec: &Codec) -> Option<Prepared> {
        let Encoded { body, json, outputs } = codec.encode(prompt).ok()?;
        Some(Prepared {
            body: Body::Whole(body.into(), json),
            outputs,
            expected: self.expected.clone(),
            tokens: self.tokens,
            requested_output_tokens: self.requested_output_tokens,
            dialogue: None,
            listed: self.listed.clone(),
        })
    }

    /// The body of a sending with this tag, and how much of it is JSON.
    pub fn body(&self, codec: &Codec, tag: &Tag) -> (Bytes, usize) {
        match &self.body {
            Body::Whole(body, json) => (body.clone(), *json),
            Body::Tagged(encoded) => match codec.with_tag(encoded, tag) {
                Some(TaggedRequest { body, json }) => (body.into(), json),
                None => (Bytes::copy_from_slice(&encoded.body), encoded.json),
            },
        }
    }

    /// About how many bytes of memory it takes.
    pub fn size(&self) -> usize {
        let body = match &self.body {
            Body::Whole(body, _) => body.len(),
            Body::Tagged(encoded) => encoded.body.len(),
        };
        // What follow-ups are made from is about as long as the body.
        let said = if self.dialogue.is_some() { body } else { 0 };
        let expected: usize = self.expected.iter().map(|tensor| tensor.data.len()).sum();
        size_of::<Prepared>() + body + said + expected + self.listed.as_ref().map_or(0, |listed| listed.len())
    }
}
