//! The conversation that a slot holds: what was said so far, and the next turn that is made from it.

use crate::job::{Finished, Job, Prepared};
use streamgauge_core::clock::Nanos;
use streamgauge_core::event::OutputKind;
use streamgauge_core::prompt::{Content, Message, Prompt};
use streamgauge_core::received::Received;
use streamgauge_core::record::ConversationTurn;

/// A conversation that a slot holds, from its first request to its last.
pub(crate) struct Dialogue {
    /// The number of the request that is under way.
    seq: u64,
    turn: ConversationTurn,
    /// What was said so far, the answers included.
    messages: Vec<Message>,
}

/// The next turn of a conversation, ready to be sent.
pub(crate) struct NextTurn {
    /// The number of its request.
    pub seq: u64,
    /// Its place in the conversation.
    pub turn: ConversationTurn,
    /// How long after the end of the answer before it it is sent.
    pub delay: Nanos,
    /// What is sent.
    pub input: Box<Prepared>,
}

impl Dialogue {
    /// Conversation number `number`, of which the first request is under way; `None` where it has no other.
    pub fn begin(job: &Job, number: u64) -> Option<Box<Dialogue>> {
        let conversations = job.conversations()?;
        let (seq, turns) = (conversations.first_request(number), conversations.turns(number));
        let turn = ConversationTurn { number, turn: 0, turns, history_tokens: None };
        (turns > 1).then(|| Box::new(Dialogue { seq, turn, messages: Vec::new() }))
    }

    /// The turn that is under way.
    pub fn turn(&self) -> ConversationTurn {
        self.turn
    }

    /// Takes the answer to the request under way, and makes the next request from it. `None` where it is not answered well, or was the last
    /// one: then the conversation is over.
    pub fn answered(&mut self, job: &Job, finished: &Finished) -> Option<NextTurn> {
        if !finished.record.is_ok() || self.turn.turn + 1 >= self.turn.turns {
            return None;
        }
        let said = job.input(self.seq, None).1.dialogue.as_deref()?;
        self.messages.extend(said.prompt.messages().iter().cloned());
        self.messages.push(Message::text("assistant", answer(&finished.received)));
        self.seq += 1;
        self.turn.turn += 1;
        let prepared = job.input(self.seq, None).1;
        let next = prepared.dialogue.as_deref()?;
        let messages = self.messages.iter().chain(next.prompt.messages().iter()).cloned().collect();
        let prompt = Prompt { content: Content::Messages(messages), ..next.prompt.clone() };
        let input = Box::new(prepared.made_from(&prompt, job)?);
        Some(NextTurn { seq: self.seq, turn: self.turn, delay: next.delay, input })
    }
}

/// The text that goes into the history: that of the first answer, without its reasoning, as chat templates leave it out.
fn answer(received: &Received) -> &str {
    let is_answer = |kind: OutputKind| kind == OutputKind::Text;
    let text = received.texts.iter().find(|output| output.choice == 0 && is_answer(output.kind));
    text.map_or("", |output| output.text.as_str())
}
