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
    /// The answer.
    answer: Message,
    /// Tokens of the words and of the answer, if that is a recorded one.
    tokens: Option<[u64; 2]>,
}

/// The next turn of a conversation, ready to be sent.
pub(crate) struct NextTurn {
    /// The number of its request.
    pub seq: u64,
    /// Its place in the conversation.
    pub turn: ConversationTurn,
    /// How long after the end of the answer before it it is sent.
    pub delay: Nanos,
    /// When it is sent at the earliest, from the schedule's zero.
    pub at: Option<Nanos>,
    /// The server that answered the turn before it, if it is to go there too.
    pub target: Option<u16>,
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
        let recorded = said.answer.as_ref();
        self.said.push(Said {
            history: self.turn.history,
            messages: said.prompt.messages().into_owned(),
            answer: match recorded {
                Some((answer, _)) => answer.clone(),
                None => Message::text("assistant", answer(&finished.received)),
            },
            tokens: recorded.map(|(_, tokens)| [said.prompt.tokens.into(), (*tokens).into()]),
        });
        self.turn.turn += 1;
        let (index, prepared) = self.conversation.input(&job.supply, self.turn.turn)?;
        let next = prepared.dialogue.as_deref()?;
        self.turn.history = next.history;
        let (mut messages, tokens) = history(&self.said, next.history);
        self.turn.history_tokens = tokens;
        messages.extend_from_slice(&next.prompt.messages());
        let prompt = Prompt { content: Content::Messages(messages), ..next.prompt.clone() };
        let input = Box::new(prepared.made_from(&prompt, &job.codec)?);
        let seq = self.conversation.first + u64::from(self.turn.turn);
        let target = job.plan.load.conversations.sticky.then_some(finished.record.target);
        Some(NextTurn { seq, turn: self.turn, delay: next.delay, at: next.at, target, index, input })
    }
}

/// What stands before the words of the turn that comes after `said`, and its tokens if all answers in it are recorded ones.
fn history(said: &[Said], history: History) -> (Vec<Message>, Option<u64>) {
    // From the turn back to the first one, with whether the server's answer is left out.
    let mut turns = Vec::new();
    let (mut child, mut parent) = (history, history.parent(said.len() as u32));
    while let Some((number, turn)) = parent.and_then(|number| said.get(number as usize).map(|turn| (number, turn))) {
        turns.push((turn, child.recorded_answer));
        (child, parent) = (turn.history, turn.history.parent(number));
    }
    let mut messages = Vec::new();
    let mut tokens = Some(0);
    for (turn, has_recorded_answer) in turns.into_iter().rev() {
        messages.extend_from_slice(&turn.messages);
        messages.extend((!has_recorded_answer).then(|| turn.answer.clone()));
        tokens = tokens
            .zip(turn.tokens)
            .map(|(tokens, [words, answer])| tokens + words + if has_recorded_answer { 0 } else { answer });
    }
    (messages, tokens)
}

/// The text that goes into the history: that of the first answer, without its reasoning, as chat templates leave it out.
fn answer(received: &Received) -> &str {
    let is_answer = |kind: OutputKind| kind == OutputKind::Text;
    let text = received.texts.iter().find(|output| output.choice == 0 && is_answer(output.kind));
    text.map_or("", |output| output.text.as_str())
}
