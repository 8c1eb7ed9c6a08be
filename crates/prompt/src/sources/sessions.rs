//! Rows of a file as conversations: rows of the same session are the turns of one conversation.

use super::object::{Fault, Object, Objects};
use super::{Conversation, Place, Source, SourceError, Timing, Turn};
use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use streamgauge_core::Nanos;

/// How far a source reads ahead of the conversation that it hands out, in bytes of what it holds. Rows of a session may stand so far from
/// each other.
const READ_AHEAD: usize = 64 << 20;
/// How many sessions that are over are remembered, so that a row that comes too late is noticed. They take some 20 MB.
const REMEMBERED: usize = 1_000_000;

/// What a format makes of one row.
pub(super) trait RowReader: Send {
    /// The turns of a row.
    ///
    /// # Errors
    /// What is wrong with the row, and what is expected.
    fn read(&mut self, object: &mut Object) -> Result<Row, Fault>;

    /// See [`Source::notes`].
    fn notes(&self) -> Vec<String>;

    /// Whether conversations begin at times that their rows give.
    fn timing(&self) -> Timing {
        Timing::Untimed
    }

    /// See [`Source::has_agents`].
    fn has_agents(&self) -> bool {
        false
    }

    /// Takes note of a conversation that is complete, and mends it where the format asks for that.
    fn finish(&mut self, _: &mut Conversation) {}
}

/// One row.
#[derive(Debug, Default)]
pub(super) struct Row {
    /// The session whose turns they are; without one the row is a conversation of its own.
    pub session: Option<String>,
    /// The name of the conversation of a row that is one of its own.
    pub id: Option<String>,
    /// The requests. A row may have none.
    pub turns: Vec<Turn>,
}

/// A source whose rows are gathered to conversations.
pub(super) struct Sessions {
    objects: Box<dyn Objects>,
    reader: Box<dyn RowReader>,
    rows: usize,
    read_ahead: usize,
    /// Conversations that were read and not handed out, in the order in which they begin.
    waiting: VecDeque<Waiting>,
    /// What the conversations that wait take, in bytes.
    held: usize,
    /// How many conversations were handed out.
    handed_out: u64,
    /// The number of the conversation of each session that waits.
    open: HashMap<String, u64>,
    over: Over,
    is_at_end: bool,
}

struct Waiting {
    conversation: Conversation,
    is_session: bool,
    bytes: usize,
}

/// The last sessions that are over.
#[derive(Default)]
struct Over {
    hasher: RandomState,
    known: HashSet<u64>,
    order: VecDeque<u64>,
}

impl Sessions {
    /// The conversations of the rows that `reader` makes of `objects`.
    pub fn new(objects: Box<dyn Objects>, reader: impl RowReader + 'static) -> Box<Sessions> {
        Box::new(Sessions {
            objects,
            reader: Box::new(reader),
            rows: 0,
            read_ahead: READ_AHEAD,
            waiting: VecDeque::new(),
            held: 0,
            handed_out: 0,
            open: HashMap::new(),
            over: Over::default(),
            is_at_end: false,
        })
    }

    /// Reads one row; false at the end.
    fn read_row(&mut self) -> Result<bool, SourceError> {
        let Some((place, mut object)) = self.objects.next_object()? else { return Ok(false) };
        self.rows += 1;
        let Row { session, id, turns } =
            self.reader.read(&mut object).map_err(|fault| fault.at_place(&place, object.text()))?;
        if turns.is_empty() {
            return Ok(true);
        }
        let bytes = held_by(object.text(), turns.len());
        let begins = session.as_ref().is_none_or(|session| !self.open.contains_key(session));
        if begins && self.reader.timing() == Timing::Timed && turns.first().is_some_and(|turn| turn.at.is_none()) {
            let reason = "there is no timestamp, at which the request would be sent; give one in ms";
            return Err(SourceError::Row { place, reason: reason.to_owned() });
        }
        let Some(session) = session else {
            self.wait(Conversation { id, turns }, false, bytes);
            return Ok(true);
        };
        match self.open.get(&session) {
            Some(number) => {
                let index = usize::try_from(number - self.handed_out).unwrap_or(usize::MAX);
                if let Some(waiting) = self.waiting.get_mut(index) {
                    waiting.conversation.turns.extend(turns);
                    waiting.bytes += bytes;
                    self.held += bytes;
                }
            }
            None if self.over.has(&session) => return Err(self.too_late(place, &session)),
            None => {
                self.open.insert(session.clone(), self.handed_out + self.waiting.len() as u64);
                self.wait(Conversation { id: Some(session), turns }, true, bytes);
            }
        }
        Ok(true)
    }

    fn wait(&mut self, conversation: Conversation, is_session: bool, bytes: usize) {
        self.held += bytes;
        self.waiting.push_back(Waiting { conversation, is_session, bytes });
    }

    fn too_late(&self, place: Place, session: &str) -> SourceError {
        let reason = format!(
            "session `{session}` goes on here, more than {} MiB after it began, which is too far to wait for; sort the file by session",
            self.read_ahead >> 20
        );
        SourceError::Row { place, reason }
    }
}

impl Source for Sessions {
    fn next_conversation(&mut self) -> Result<Option<Conversation>, SourceError> {
        loop {
            let is_complete = match self.waiting.front() {
                None => self.is_at_end,
                Some(first) => !first.is_session || self.is_at_end || self.held > self.read_ahead,
            };
            if is_complete {
                break;
            }
            self.is_at_end = !self.read_row()?;
        }
        let Some(Waiting { mut conversation, is_session, bytes }) = self.waiting.pop_front() else { return Ok(None) };
        self.held -= bytes;
        self.handed_out += 1;
        if let Some(session) = conversation.id.as_ref().filter(|_| is_session) {
            self.open.remove(session);
            self.over.add(session);
        }
        self.reader.finish(&mut conversation);
        Ok(Some(conversation))
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn notes(&self) -> Vec<String> {
        self.reader.notes()
    }

    fn has_agents(&self) -> bool {
        self.reader.has_agents()
    }
}

impl Over {
    fn has(&self, session: &str) -> bool {
        self.known.contains(&self.hasher.hash_one(session))
    }

    fn add(&mut self, session: &str) {
        let hash = self.hasher.hash_one(session);
        if self.known.insert(hash) {
            self.order.push_back(hash);
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

/// About how many bytes the turns of a row take: twice its text, for members are kept with their names and in structures, and the turns.
fn held_by(text: &str, turns: usize) -> usize {
    2 * text.len() + turns * (size_of::<Turn>() + 64)
}

/// Whether there is a delay before the first answer of a conversation, where there is nothing that it could follow.
pub(super) fn has_idle_delay(conversation: &Conversation) -> bool {
    conversation.turns.first().is_some_and(|turn| turn.delay > Nanos::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::Lines;
    use streamgauge_core::prompt::Content;

    /// Rows of `{"s": SESSION, "t": TEXT}`.
    struct Plain;

    impl RowReader for Plain {
        fn read(&mut self, object: &mut Object) -> Result<Row, Fault> {
            let session = object.take("s").map(|session| session.to_string());
            let Some(text) = object.take("t") else { return Err(Fault::new("there is no text")) };
            let content = Some(Content::Texts(vec![text.to_string()]));
            Ok(Row { session, turns: vec![Turn { content, ..Turn::default() }], ..Row::default() })
        }

        fn notes(&self) -> Vec<String> {
            Vec::new()
        }
    }

    fn sessions(rows: &[(u32, u32)], read_ahead: usize) -> Sessions {
        let text: String =
            rows.iter().map(|(session, text)| format!("{{\"s\": {session}, \"t\": {text}}}\n")).collect();
        let lines = Box::new(Lines::new(std::io::Cursor::new(text)));
        Sessions { read_ahead, ..*Sessions::new(lines, Plain) }
    }

    #[test]
    fn what_is_held_is_bounded_however_long_the_file_is() {
        let rows: Vec<_> = (0..20_000).map(|row| (row / 2, row)).collect();
        let (mut sessions, mut most, mut read) = (sessions(&rows, 20_000), 0, 0);
        while let Some(conversation) = sessions.next_conversation().unwrap() {
            assert_eq!(conversation.turns.len(), 2, "{conversation:?}");
            most = most.max(sessions.held);
            read += 1;
        }
        assert_eq!(read, 10_000);
        let row = held_by(&" ".repeat(40), 1);
        assert!(most > 0 && most <= 20_000 + 2 * row, "{most} bytes were held");
        assert!(sessions.open.is_empty() && sessions.held == 0 && sessions.over.order.len() == 10_000);
    }

    #[test]
    fn a_row_that_comes_too_late_is_named_and_the_rest_can_be_read() {
        let mut rows: Vec<_> = (0..100).map(|row| (row, row)).collect();
        rows.extend([(0, 7), (1_000, 8)]);
        let mut sessions = sessions(&rows, 5_000);
        let (mut errors, mut conversations) = (Vec::new(), 0);
        loop {
            match sessions.next_conversation() {
                Ok(Some(_)) => conversations += 1,
                Ok(None) => break,
                Err(error) => errors.push(error.to_string()),
            }
        }
        assert_eq!((errors.len(), conversations), (1, 101), "{errors:?}");
        assert!(errors[0].starts_with("line 101: session `0` goes on here, more than 0 MiB after"), "{errors:?}");
    }
}
