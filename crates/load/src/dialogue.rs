//! The conversation that a slot holds: what was said so far, and the next turn that is made from it.

use crate::job::{Finished, Job};
use crate::prepared::Prepared;
use crate::supply::Taken;
use streamgauge_core::clock::Nanos;
use streamgauge_core::event::OutputKind;
use streamgauge_core::prompt::{Content, History, Message, Prompt};
use streamgauge_core::received::Received;
use streamgauge_core::record::ConversationTurn;

/// A conversation that a slot holds, from its first request to its last.
pub(crate) struct Dialogue {
    conversation: Taken,
    /// The turn that is under way.
    turn: ConversationTurn,
    /// What was said so far, by turn.
    said: Vec<Said>,
}

/// What was said in one turn.
struct Said {
    /// What stands before it.
    history: History,
    /// The words of the turn.
    messages: Vec<Message>,
    /// What the server answered.
    answer: Message,
}

/// The next turn of a conversation, ready to be sent.
pub(crate) struct NextTurn {
    /// The number of its request.
    pub seq: u64,
    /// Its place in the conversation.
    pub turn: ConversationTurn,
    /// How long after the end of the answer before it it is sent.
    pub delay: Nanos,
    /// The index of its prompt.
    pub index: u32,
    /// What is sent.
    pub input: Box<Prepared>,
}

impl Dialogue {
    /// The conversation, of which the first request is under way; `None` where it has no other.
    pub fn begin(conversation: &Taken) -> Option<Box<Dialogue>> {
        let Taken { number, turns, .. } = *conversation;
        let turn = ConversationTurn { number, turn: 0, turns, history: History::default(), history_tokens: None };
        (turns > 1).then(|| Box::new(Dialogue { conversation: conversation.clone(), turn, said: Vec::new() }))
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
        let said = self.conversation.input(&job.supply, self.turn.turn)?.1.dialogue.as_deref()?;
        self.said.push(Said {
            history: self.turn.history,
            messages: said.prompt.messages().into_owned(),
            answer: Message::text("assistant", answer(&finished.received)),
        });
        self.turn.turn += 1;
        let (index, prepared) = self.conversation.input(&job.supply, self.turn.turn)?;
        let next = prepared.dialogue.as_deref()?;
        self.turn.history = next.history;
        let mut messages = history(&self.said, next.history);
        messages.extend_from_slice(&next.prompt.messages());
        let prompt = Prompt { content: Content::Messages(messages), ..next.prompt.clone() };
        let input = Box::new(prepared.made_from(&prompt, &job.codec)?);
        let seq = self.conversation.first + u64::from(self.turn.turn);
        Some(NextTurn { seq, turn: self.turn, delay: next.delay, index, input })
    }
}

/// What stands before the words of the turn that comes after `said`.
fn history(said: &[Said], history: History) -> Vec<Message> {
    // From the turn back to the first one, with whether the server's answer is left out.
    let mut turns = Vec::new();
    let (mut child, mut parent) = (history, history.parent(said.len() as u32));
    while let Some((number, turn)) = parent.and_then(|number| said.get(number as usize).map(|turn| (number, turn))) {
        turns.push((turn, child.recorded_answer));
        (child, parent) = (turn.history, turn.history.parent(number));
    }
    let mut messages = Vec::new();
    for (turn, has_recorded_answer) in turns.into_iter().rev() {
        messages.extend_from_slice(&turn.messages);
        messages.extend((!has_recorded_answer).then(|| turn.answer.clone()));
    }
    messages
}

/// The text that goes into the history: that of the first answer, without its reasoning, as chat templates leave it out.
fn answer(received: &Received) -> &str {
    let is_answer = |kind: OutputKind| kind == OutputKind::Text;
    let text = received.texts.iter().find(|output| output.choice == 0 && is_answer(output.kind));
    text.map_or("", |output| output.text.as_str())
}
