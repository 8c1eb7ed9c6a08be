//! The usage traces of Alibaba's Bailian service: a line of JSON for each request, with times in seconds, blocks of 16 tokens, and the request
//! that it goes on from. Each row holds the whole context of its request.

use super::hash_id::hash_ids;
use super::object::{Fault, Object};
use super::sessions::{Row, RowReader, Sessions};
use super::times::{Times, Unit};
use super::{Blocks, Conversation, Format, Timing, Turn, tokens};
use serde_json::Value;
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use streamgauge_core::prompt::{Follows, History};

/// The format.
pub const FORMAT: Format = Format {
    name: "bailian_trace",
    aliases: &["bailian"],
    has_times: true,
    takes_directories: false,
    recognises: |sample| sample.has(&["chat_id"]) && sample.has(&["input_length"]),
    open: |input, options| Ok(Sessions::new(input.objects()?, Bailian::new(options.timing))),
};

/// Tokens of a block.
const BLOCK: u32 = 16;
/// How many requests are remembered that others may go on from. They take some 40 MB.
const REMEMBERED: usize = 500_000;

struct Bailian {
    times: Times,
    roots: Roots,
    /// Whether a row goes on from another one.
    has_turns: bool,
    /// Rows whose parent is not known.
    orphans: u64,
    kinds: BTreeSet<String>,
    others: BTreeSet<String>,
}

/// The first requests of the conversations that the last requests belong to.
#[derive(Default)]
struct Roots {
    of: HashMap<String, String>,
    order: VecDeque<String>,
    /// Those whose conversations can still go on.
    open: HashSet<String>,
}

impl Bailian {
    fn new(timing: Timing) -> Bailian {
        Bailian {
            times: Times::new(timing, Unit::Seconds),
            roots: Roots::default(),
            has_turns: false,
            orphans: 0,
            kinds: BTreeSet::new(),
            others: BTreeSet::new(),
        }
    }
}

impl RowReader for Bailian {
    fn read(&mut self, object: &mut Object) -> Result<Row, Fault> {
        let Some(chat) = id(object, "chat_id")? else { return Err(Fault::new("there is no `chat_id`")) };
        let parent = id(object, "parent_chat_id")?.filter(|parent| parent != "-1");
        let timestamp = object.take("timestamp");
        let at = self.times.at("timestamp", timestamp.as_ref()).map_err(|reason| object.fault("timestamp", reason))?;
        let mut length = |name: &'static str| match object.take(name) {
            None => Err(Fault::new(format!("there is no `{name}`, a number of tokens"))),
            Some(Value::Number(length)) => tokens(name, &length).map_err(|reason| object.fault(name, reason)),
            Some(other) => Err(object.fault(name, format!("{name} {other}: not a whole number of tokens"))),
        };
        let (input, output) = (length("input_length")?, length("output_length")?);
        let ids = object.take("hash_ids").map_or(Ok(Vec::new()), |ids| hash_ids(&ids));
        let ids = ids.map_err(|reason| object.fault("hash_ids", reason))?;
        self.kinds.extend(object.take("type").and_then(|kind| kind.as_str().map(str::to_owned)));
        object.take("turn");
        self.others.extend(object.take_rest().into_iter().map(|(name, _)| name));
        let root = parent.as_ref().and_then(|parent| self.roots.find(parent)).cloned();
        self.has_turns |= root.is_some();
        self.orphans += u64::from(parent.is_some() && root.is_none());
        let root = root.unwrap_or_else(|| chat.clone());
        self.roots.add(chat, root.clone());
        let turn = Turn {
            at,
            history: History { follows: Follows::Nothing, recorded_answer: false },
            input_tokens: Some(input),
            blocks: Some(Blocks { size: BLOCK, ids, ..Blocks::default() }),
            requested_output_tokens: Some(output),
            ..Turn::default()
        };
        Ok(Row { session: Some(root), id: None, turns: vec![turn] })
    }

    fn finish(&mut self, conversation: &mut Conversation) {
        if let Some(root) = &conversation.id {
            self.roots.open.remove(root);
        }
        if let Some(first) = conversation.turns.first_mut() {
            first.history = History::default();
        }
    }

    fn notes(&self) -> Vec<String> {
        let mut notes: Vec<String> = self.times.note().into_iter().collect();
        if self.has_turns {
            notes.push("each turn holds its whole recorded context, so nothing is put before it; it waits for the answer to the turn before".to_owned());
        }
        if self.orphans > 0 {
            notes.push(format!("{} row(s) go on from a row that is not in the file before them, or too far before them, and begin conversations", self.orphans));
        }
        if self.kinds.iter().any(|kind| kind != "text") {
            let kinds: Vec<_> = self.kinds.iter().map(|kind| format!("`{kind}`")).collect();
            notes.push(format!("requests of the types {} are all sent as text", kinds.join(", ")));
        }
        if !self.others.is_empty() {
            let names: Vec<_> = self.others.iter().map(|name| format!("`{name}`")).collect();
            notes.push(format!("{} of its rows are not known and not sent", names.join(", ")));
        }
        notes
    }
}

impl Roots {
    /// The first request of the conversation that a request belongs to, if that can still go on.
    fn find(&self, chat: &String) -> Option<&String> {
        self.of.get(chat).filter(|root| self.open.contains(*root))
    }

    fn add(&mut self, chat: String, root: String) {
        self.open.insert(root.clone());
        if self.of.insert(chat.clone(), root).is_none() {
            self.order.push_back(chat);
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.of.remove(&oldest);
        }
    }
}

/// The id that a member holds.
fn id(object: &mut Object, name: &'static str) -> Result<Option<String>, Fault> {
    match object.take(name) {
        None => Ok(None),
        Some(Value::String(id)) => Ok(Some(id)),
        Some(Value::Number(id)) => Ok(Some(id.to_string())),
        Some(other) => Err(object.fault(name, format!("{name} {other}: not a number or a text"))),
    }
}

#[cfg(test)]
mod tests {
    use crate::sources::{Contents, Timing, read_text};
    use proptest::prelude::*;
    use streamgauge_core::Nanos;
    use streamgauge_core::prompt::Follows;

    const ROWS: [&str; 4] = [
        r#"{"chat_id": 159, "parent_chat_id": -1, "timestamp": 61.114, "input_length": 40, "output_length": 132, "type": "text", "turn": 1, "hash_ids": [1089, 1090, 1091]}"#,
        r#"{"chat_id": 7, "parent_chat_id": -1, "timestamp": 62, "input_length": 16, "output_length": 5, "type": "search", "turn": 1, "hash_ids": [1089]}"#,
        r#"{"chat_id": 160, "parent_chat_id": 159, "timestamp": 70.5, "input_length": 76, "output_length": 80, "type": "text", "turn": 2, "hash_ids": [1089, 1090, 1092, 1093, 1094]}"#,
        r#"{"chat_id": 200, "parent_chat_id": 8, "timestamp": 71, "input_length": 20, "output_length": 2, "type": "text", "turn": 3, "hash_ids": [5, 6]}"#,
    ];

    fn read(timing: Timing) -> Contents {
        read_text(&ROWS.join("\n"), timing).unwrap()
    }

    #[test]
    fn rows_that_go_on_from_each_other_are_a_conversation_of_whole_prompts() {
        let trace = read(Timing::Timed);
        let ids: Vec<_> = trace.conversations.iter().map(|conversation| conversation.id.as_deref()).collect();
        assert_eq!(ids, [Some("159"), Some("7"), Some("200")]);
        let turns = &trace.conversations[0].turns;
        let at: Vec<_> = turns.iter().map(|turn| turn.at).collect();
        assert_eq!(at, [Some(Nanos(61_114_000_000)), Some(Nanos(70_500_000_000))]);
        assert_eq!(
            turns.iter().map(|turn| turn.history.follows).collect::<Vec<_>>(),
            [Follows::Previous, Follows::Nothing]
        );
        assert_eq!(turns[1].blocks.as_ref().map(|blocks| (blocks.size, blocks.ids.len())), Some((16, 5)));
        assert_eq!((turns[1].input_tokens, turns[1].requested_output_tokens), (Some(76), Some(80)));
        let notes = [
            "each turn holds its whole",
            "1 row(s) go on from a row that is not",
            "requests of the types `search`, `text`",
        ];
        assert_eq!(trace.notes.len(), notes.len(), "{:?}", trace.notes);
        assert!(
            trace.notes.iter().zip(notes).all(|(note, beginning)| note.starts_with(beginning)),
            "{:?}",
            trace.notes
        );
        assert!(read(Timing::Untimed).notes[0].starts_with("the times of its rows are not followed"));
    }

    #[test]
    fn a_row_without_what_it_needs_is_refused_by_its_place() {
        for (row, words) in [
            (r#"{"chat_id": 1, "timestamp": 1, "input_length": 4}"#, "line 2: there is no `output_length`"),
            (r#"{"chat_id": [], "timestamp": 1}"#, "line 2, column 2: chat_id []: not a number"),
            (
                r#"{"chat_id": 1, "timestamp": "x", "input_length": 4}"#,
                "column 16: `timestamp` is not a number of seconds",
            ),
            (
                r#"{"chat_id": 1, "timestamp": 1, "input_length": 4, "output_length": 1, "hash_ids": 5}"#,
                "`hash_ids` is not a list",
            ),
        ] {
            let error = read_text(&format!("{}\n{row}", ROWS[0]), Timing::Timed).unwrap_err().to_string();
            assert!(error.contains(words), "{row}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in r#"(\{"chat_id": [0-9]{1,3}, "parent_chat_id": (-1|[0-9]|"a"), "input_length": [0-9]{0,3}, "output_length": 3\}|.{0,40}|\n){0,6}"#) {
            let _ = read_text(&text, Timing::Timed);
            let _ = read_text(&format!("{}\n{text}", ROWS[0]), Timing::Untimed);
        }
    }
}
