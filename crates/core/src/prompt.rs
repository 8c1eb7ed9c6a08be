//! One prompt: what a request sends to a model, before it is encoded for an endpoint.

use crate::tensor::Tensor;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::borrow::Cow;

/// The content of one request to a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prompt {
    /// The words of the request.
    pub content: Content,
    /// The number of tokens of all texts together, as the client's tokenizer counts them, without special tokens.
    pub tokens: u32,
    /// The output length to ask for, in tokens. `None` leaves the length to the server.
    pub requested_output_tokens: Option<u32>,
    /// The model to ask.
    pub model: String,
    /// What is sent instead of, or beside, a body that is made from the content.
    #[serde(default, skip_serializing_if = "Payload::is_from_content")]
    pub payload: Payload,
}

/// The words of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// Texts that the model answers separately: one, or as many as the batch size.
    Texts(Vec<String>),
    /// The messages of a chat, the oldest first.
    Messages(Vec<Message>),
}

/// A message of a chat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks: `system`, `user`, `assistant`, `tool` or another role that the server knows.
    pub role: String,
    /// The parts of the message.
    pub parts: Vec<Part>,
    /// Further members of the message, such as `name` or `tool_call_id`.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub members: Map<String, Value>,
}

/// A part of a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Text.
    Text(String),
    /// Another part, such as an image, in the form in which OpenAI's chat API takes it.
    Other(Map<String, Value>),
}

/// What is sent instead of, or beside, a body that is made from the content.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Payload {
    /// Nothing: the body is made from the content.
    #[default]
    FromContent,
    /// A whole JSON body, which is sent as it is.
    Body(Value),
    /// Members of the JSON body, which replace ours of the same name. The rest of the body is made from the content.
    Members(Map<String, Value>),
    /// The inputs of a model.
    Tensors {
        /// The inputs.
        inputs: Vec<Tensor>,
        /// The required outputs, byte for byte. An output that is not named may be anything.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        expected: Vec<Tensor>,
    },
}

/// The messages before the words of a turn of a conversation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// The turn that it goes on from.
    #[serde(default, skip_serializing_if = "History::is_previous")]
    pub follows: Follows,
    /// Whether the words of the turn begin with a recorded answer to the turn that it follows. The server's own answer is left out then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub recorded_answer: bool,
}

/// The turn of a conversation that another turn goes on from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Follows {
    /// The turn before it.
    #[default]
    Previous,
    /// An earlier turn, by its number in the conversation from 0: the conversation branches there.
    Turn(u32),
    /// None: the turn starts from an empty history.
    Nothing,
}

impl History {
    /// Whether it is everything that was said before the turn: all turns, and the server's answers to them.
    pub fn is_everything(&self) -> bool {
        *self == History::default()
    }

    /// The number of the turn that turn number `turn` goes on from.
    pub fn parent(&self, turn: u32) -> Option<u32> {
        match self.follows {
            Follows::Previous => turn.checked_sub(1),
            Follows::Turn(parent) => (parent < turn).then_some(parent),
            Follows::Nothing => None,
        }
    }

    fn is_previous(follows: &Follows) -> bool {
        *follows == Follows::Previous
    }
}

impl Prompt {
    /// The texts of the prompt: each text of a batch, or all text of the messages of a chat as one text, with a line break between
    /// two parts. An endpoint that takes no messages is sent this.
    pub fn texts(&self) -> Cow<'_, [String]> {
        match &self.content {
            Content::Texts(texts) => Cow::Borrowed(texts),
            Content::Messages(messages) => {
                let parts: Vec<&str> = messages.iter().flat_map(Message::texts).collect();
                Cow::Owned(vec![parts.join("\n")])
            }
        }
    }

    /// The messages of a chat that this prompt is: all texts are parts of one message of the user, as AIPerf sends several texts to a chat.
    pub fn messages(&self) -> Cow<'_, [Message]> {
        match &self.content {
            Content::Texts(texts) => {
                let parts = texts.iter().cloned().map(Part::Text).collect();
                Cow::Owned(vec![Message { role: "user".to_owned(), parts, members: Map::new() }])
            }
            Content::Messages(messages) => Cow::Borrowed(messages),
        }
    }
}

impl Content {
    /// The messages of a chat that this is: each text is a message of the user.
    pub fn into_messages(self) -> Vec<Message> {
        match self {
            Content::Texts(texts) => texts.into_iter().map(|text| Message::text("user", text)).collect(),
            Content::Messages(messages) => messages,
        }
    }
}

impl Message {
    /// A message of one text.
    pub fn text(role: impl Into<String>, text: impl Into<String>) -> Message {
        Message { role: role.into(), parts: vec![Part::Text(text.into())], members: Map::new() }
    }

    /// The texts among the parts of the message.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Text(text) => Some(text.as_str()),
            Part::Other(_) => None,
        })
    }
}

impl Payload {
    /// Whether the body is made from the content alone.
    pub fn is_from_content(&self) -> bool {
        *self == Payload::FromContent
    }

    /// The inputs of the model, where the payload is tensors.
    pub fn inputs(&self) -> &[Tensor] {
        match self {
            Payload::Tensors { inputs, .. } => inputs,
            Payload::FromContent | Payload::Body(_) | Payload::Members(_) => &[],
        }
    }

    /// The required outputs, if the payload names them.
    pub fn expected(&self) -> &[Tensor] {
        match self {
            Payload::Tensors { expected, .. } => expected,
            Payload::FromContent | Payload::Body(_) | Payload::Members(_) => &[],
        }
    }
}
