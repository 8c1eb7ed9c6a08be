//! Tables: which of their columns are members of a row, and the turns of such a row.

use super::object::{Fault, Object};
use super::sessions::{Row, RowReader};
use super::turns::{TEXTS, Turns};
use super::{Conversation, Place, SourceError, Timing};
use serde_json::{Map, Value};
use std::str::FromStr;
use streamgauge_core::prompt::{Content, Message};

/// Members that a column can be, beside those that are the text of a prompt.
const MEMBERS: [&str; 18] = [
    "messages",
    "conversations",
    "system",
    "answer",
    "output_length",
    "output_tokens",
    "max_tokens",
    "input_length",
    "model",
    "session_id",
    "timestamp",
    "delay",
    "image",
    "images",
    "audio",
    "audios",
    "video",
    "videos",
];
/// Members whose values are numbers.
const NUMBERS: [&str; 6] = ["output_length", "output_tokens", "max_tokens", "input_length", "timestamp", "delay"];
/// Names of columns that hold the prompt in data sets, the surest first.
const PROMPTS: [&str; 10] =
    ["prompt", "text", "question", "instruction", "query", "text_input", "input", "content", "article", "problem"];
/// Names of columns that hold a chat, and the members that they are.
const CHATS: [(&str, &str); 3] =
    [("messages", "messages"), ("conversations", "conversations"), ("conversation", "conversations")];

/// Which columns are which members: `prompt=NAME,output_length=NAME`. Without any, columns are known by their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Columns(Vec<(String, String)>);

impl FromStr for Columns {
    type Err = String;

    fn from_str(text: &str) -> Result<Columns, String> {
        let mut columns: Vec<(String, String)> = Vec::new();
        for part in text.split(',') {
            match (part.split_once('='), columns.last_mut()) {
                (Some((member, column)), _) => columns.push((member.trim().to_owned(), column.to_owned())),
                // The name of a column may have a comma.
                (None, Some((_, column))) => {
                    column.push(',');
                    column.push_str(part);
                }
                (None, None) => return Err("give MEMBER=COLUMN, such as prompt=question".to_owned()),
            }
        }
        for (index, (member, _)) in columns.iter().enumerate() {
            if !MEMBERS.contains(&member.as_str()) && !TEXTS.contains(&member.as_str()) {
                let known: Vec<_> = TEXTS.iter().chain(&MEMBERS).copied().collect();
                return Err(format!("`{member}` is not known; known are {}", known.join(", ")));
            }
            if columns[..index].iter().any(|(other, _)| other == member) {
                return Err(format!("`{member}` is given two columns"));
            }
        }
        Ok(Columns(columns))
    }
}

impl Columns {
    /// Columns of a data set that is known.
    pub(super) fn known(pairs: &[(&str, &str)]) -> Columns {
        Columns(pairs.iter().map(|(member, column)| ((*member).to_owned(), (*column).to_owned())).collect())
    }

    /// Whether nothing is said about columns.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The member that each column of a table is, in the table's order.
    ///
    /// # Errors
    /// When a column that is named is not there, or none is known to be the prompt.
    pub(super) fn members(&self, table: &[String]) -> Result<Vec<Option<String>>, SourceError> {
        let listed = || table.join(", ");
        let place = |name: &str| table.iter().position(|column| column == name);
        let mut members = vec![None; table.len()];
        if self.is_empty() {
            for (index, column) in table.iter().enumerate() {
                members[index] = MEMBERS.contains(&column.as_str()).then(|| column.clone());
            }
            let chat = CHATS.iter().find_map(|(name, member)| Some((place(name)?, *member)));
            let prompt = || PROMPTS.iter().find_map(|name| Some((place(name)?, "prompt")));
            if let Some((index, member)) = chat.or_else(prompt) {
                members[index] = Some(member.to_owned());
            } else if place("input_length").is_none() && place("texts").is_none() {
                return Err(SourceError::File(format!(
                    "none of its columns is known to be the prompt; its columns are {}; say which one is, such as prompt={}",
                    listed(),
                    table.first().map_or("NAME", String::as_str)
                )));
            }
            return Ok(members);
        }
        for (member, column) in &self.0 {
            match place(column) {
                Some(index) => members[index] = Some(member.clone()),
                None => {
                    return Err(SourceError::File(format!(
                        "there is no column `{column}`; its columns are {}",
                        listed()
                    )));
                }
            }
        }
        Ok(members)
    }
}

/// The value of a member out of a text.
pub(super) fn of_text(member: &str, text: &str) -> Value {
    let is_json = || text.trim_start().starts_with(['[', '{']);
    match text {
        "" => Value::Null,
        _ if NUMBERS.contains(&member) => match serde_json::from_str::<Value>(text.trim()) {
            Ok(number @ Value::Number(_)) => number,
            _ => text.into(),
        },
        _ if matches!(member, "messages" | "conversations" | "texts" | "images" | "audios" | "videos") && is_json() => {
            serde_json::from_str(text).unwrap_or_else(|_| text.into())
        }
        _ => text.into(),
    }
}

/// The row of a table.
pub(super) fn row(place: Place, members: Map<String, Value>) -> (Place, Object) {
    (place, Object::of_members(members))
}

/// Reads the rows of a table.
pub(super) struct TableRows {
    turns: Turns,
    /// Columns that are no members.
    unused: Vec<String>,
}

impl TableRows {
    /// The reader of a table with these columns, which are these members.
    pub fn new(turns: Turns, table: &[String], members: &[Option<String>]) -> TableRows {
        let unused = table.iter().zip(members).filter(|(_, member)| member.is_none());
        TableRows { turns, unused: unused.map(|(column, _)| column.clone()).collect() }
    }
}

impl RowReader for TableRows {
    fn read(&mut self, object: &mut Object) -> Result<Row, Fault> {
        let (system, answer) = (object.take("system"), object.take("answer"));
        if let Some(chat) = object.take("conversations") {
            object.put("messages", messages_of(chat));
        }
        let mut row = self.turns.read(object)?;
        if let (Some(Value::String(system)), Some(first)) = (system, row.turns.first_mut())
            && let Some(content) = first.content.take()
        {
            first.content = Some(after(&system, content));
        }
        if let (Some(Value::String(answer)), Some(last)) = (answer, row.turns.last_mut()) {
            last.answer = Some(Message::text("assistant", answer));
        }
        for turn in &mut row.turns {
            turn.asks_for_answer_length = turn.answer.is_some();
        }
        Ok(row)
    }

    fn timing(&self) -> Timing {
        self.turns.timing()
    }

    fn finish(&mut self, conversation: &mut Conversation) {
        self.turns.finish(conversation);
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = self.turns.notes();
        if !self.unused.is_empty() {
            let names: Vec<_> = self.unused.iter().map(|name| format!("`{name}`")).collect();
            notes.push(format!("{} of its columns are not used", names.join(", ")));
        }
        notes
    }
}

/// A chat in the form of ShareGPT as one in OpenAI's; anything else as it is.
fn messages_of(chat: Value) -> Value {
    let Value::Array(list) = chat else { return chat };
    let message = |message: Value| {
        let said = (message.get("from").and_then(Value::as_str), message.get("value").and_then(Value::as_str));
        match said {
            (Some(from), Some(text)) => {
                let role = match from {
                    "human" => "user",
                    "gpt" => "assistant",
                    other => other,
                };
                serde_json::json!({"role": role, "content": text})
            }
            _ => message,
        }
    };
    Value::Array(list.into_iter().map(message).collect())
}

/// What a first turn says after a message of the system.
fn after(system: &str, content: Content) -> Content {
    let said = match content {
        Content::Messages(messages) => messages,
        Content::Texts(texts) => texts.into_iter().map(|text| Message::text("user", text)).collect(),
    };
    Content::Messages(std::iter::once(Message::text("system", system)).chain(said).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_given_or_known_by_their_names() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let of = |columns: &str, table: &[&str]| -> Result<Vec<String>, String> {
            let columns: Columns = if columns.is_empty() { Columns::default() } else { columns.parse()? };
            let members = columns.members(&names(table)).map_err(|error| error.to_string())?;
            Ok(members.into_iter().map(Option::unwrap_or_default).collect())
        };
        assert_eq!(of("", &["id", "question", "output_length"]).unwrap(), ["", "prompt", "output_length"]);
        assert_eq!(of("", &["instruction", "input", "output"]).unwrap(), ["prompt", "", ""]);
        assert_eq!(of("", &["conversation", "text"]).unwrap(), ["conversations", ""]);
        assert_eq!(of("", &["input_length", "x"]).unwrap(), ["input_length", ""]);
        assert_eq!(of("prompt=a, b,output_length=n", &["n", "a, b", "text"]).unwrap(), ["output_length", "prompt", ""]);
        for (columns, words) in [
            ("prompt", "give MEMBER=COLUMN"),
            ("colour=a", "`colour` is not known; known are text, text_input"),
            ("prompt=a,prompt=b", "`prompt` is given two columns"),
            ("prompt=c", "there is no column `c`; its columns are a, b"),
            (
                "",
                "none of its columns is known to be the prompt; its columns are a, b; say which one is, such as prompt=a",
            ),
        ] {
            let error = of(columns, &["a", "b"]).unwrap_err();
            assert!(error.starts_with(words), "{columns}: {error}");
        }
    }
}
