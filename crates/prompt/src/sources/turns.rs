//! The turns of a row: what an object says of the requests that are made from it. Every format whose rows are such objects reads them by
//! this: lines and arrays of JSON, tables, and lists of turns.

use super::media::{self, KINDS};
use super::messages::{messages, turns_of};
use super::object::{Fault, Object};
use super::sessions::{Row, RowReader, has_idle_delay};
use super::{Conversation, Timing, Turn, note_of_added_members, tokens};
use crate::body;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use streamgauge_core::Nanos;
use streamgauge_core::prompt::{Content, Message, Part};

/// Members that are the text of a prompt, or several texts.
pub(super) const TEXTS: [&str; 5] = ["text", "text_input", "prompt", "input", "texts"];
/// Members that ask for the output length.
const OUTPUT_LENGTHS: [&str; 4] = ["output_length", "output_tokens", "max_tokens", "max_completion_tokens"];
/// What a row may say, for messages.
const CONTENTS: &str = "text, text_input, prompt, input, texts, messages, payload, image, audio, video";
/// Members of other formats, which would be nonsense in a body, and the formats.
const OF_OTHER_FORMATS: [(&str, &str); 3] =
    [("turns", "multi_turn"), ("payloads", "inputs_json"), ("conversations", "sharegpt")];
/// Members by which traces say what belongs together.
const OF_TRACES: [&str; 2] = ["chat_id", "parent_chat_id"];
/// The longest delay, in milliseconds: a thousand days.
const LONGEST_DELAY: f64 = 86_400e6;
/// The latest time, in milliseconds: what a signed 64-bit number of nanoseconds holds.
const LATEST: f64 = 9e12;

/// Reads rows that are one turn, or the messages of a conversation.
pub(super) struct Turns {
    timing: Timing,
    /// Where files that rows name are looked for.
    directory: PathBuf,
    seen: Seen,
}

/// What the rows hold that people should know of.
#[derive(Default)]
struct Seen {
    answers: bool,
    idle_delays: bool,
    times: bool,
    lengths: bool,
    hashes: bool,
    members: BTreeSet<String>,
}

/// What a turn says, and the answer that its row has recorded.
type Said = (Option<Content>, Option<Message>);

impl Turns {
    /// A reader of the rows of `file`.
    pub fn new(file: &Path, timing: Timing) -> Turns {
        let directory = file.parent().map(Path::to_owned).unwrap_or_default();
        Turns { timing, directory, seen: Seen::default() }
    }

    /// The turns of a row that is part of another one, whose session is the other one's.
    pub fn turns(&mut self, object: &mut Object) -> Result<Vec<Turn>, Fault> {
        if let Some((name, format)) = OF_OTHER_FORMATS.iter().find(|(name, _)| object.has(name)) {
            return Err(object.fault(name, format!("`{name}` belongs to the format {format}")));
        }
        if let Some(name) = OF_TRACES.iter().find(|name| object.has(name)) {
            return Err(object.fault(name, format!("`{name}` belongs to the formats of traces")));
        }
        let at = self.time(object)?;
        let delay = delay(object)?;
        let requested_output_tokens = match object.take_one(&OUTPUT_LENGTHS)? {
            None => None,
            Some((name, length)) => Some(length_of(object, name, &length)?),
        };
        let input_length = object.take("input_length");
        self.seen.hashes |= object.take("hash_ids").is_some();
        let model = text(object, "model")?;
        if let Some(body) = object.take("payload") {
            let turn = whole_body(object, body)?;
            return Ok(vec![Turn { at, delay, ..turn }]);
        }
        let said = self.said(object, input_length.is_some() || requested_output_tokens.is_some())?;
        let has_text = said.iter().any(|(content, _)| content.is_some());
        self.seen.lengths |= has_text && input_length.is_some();
        // Beside a text the length means nothing.
        let input_tokens = match input_length.filter(|_| !has_text) {
            None => None,
            Some(length) => Some(length_of(object, "input_length", &length)?),
        };
        self.seen.answers |= said.iter().any(|(_, answer)| answer.is_some());
        let members = self.members(object)?;
        let turn = |(index, (content, answer))| Turn {
            at: at.filter(|_| index == 0),
            delay: if index == 0 { delay } else { Nanos::ZERO },
            content,
            answer,
            input_tokens,
            requested_output_tokens,
            model: model.clone(),
            members: members.clone(),
            ..Turn::default()
        };
        Ok(said.into_iter().enumerate().map(turn).collect())
    }

    /// When the row was made.
    fn time(&mut self, object: &mut Object) -> Result<Option<Nanos>, Fault> {
        match (self.timing, object.take("timestamp")) {
            (Timing::Untimed, timestamp) => {
                self.seen.times |= timestamp.is_some();
                Ok(None)
            }
            (Timing::Timed, None) => Ok(None),
            (Timing::Timed, Some(timestamp)) => match timestamp.as_f64() {
                Some(millis) if (0.0..=LATEST).contains(&millis) => Ok(Some(Nanos::from_secs_f64(millis / 1e3))),
                _ => {
                    let reason = format!("the timestamp {timestamp} is not a number of milliseconds from 0");
                    Err(object.fault("timestamp", reason))
                }
            },
        }
    }

    /// What the turns of a row say: one turn, or those of a chat. A row that has only lengths leaves the text to be made.
    fn said(&mut self, object: &mut Object, has_length: bool) -> Result<Vec<Said>, Fault> {
        let role = text(object, "role")?;
        if let Some(list) = object.take("messages") {
            if let Some(name) = TEXTS.iter().find(|name| object.has(name)) {
                return Err(object.fault(name, format!("`{name}` and `messages` are both given; give one of them")));
            }
            let messages = messages(list).map_err(|reason| object.fault("messages", reason))?;
            let turns = turns_of(messages).into_iter();
            return Ok(turns.map(|(messages, answer)| (Some(Content::Messages(messages)), answer)).collect());
        }
        let texts = match object.take_one(&TEXTS)? {
            None => Vec::new(),
            Some((name, value)) => strings(&value)
                .ok_or_else(|| object.fault(name, format!("`{name}` is neither a text nor a list of texts")))?,
        };
        let media = self.media(object)?;
        let content = match (texts.len(), media.is_empty()) {
            (0, true) if has_length => return Ok(vec![(None, None)]),
            (0, true) => return Err(Fault::new(format!("there is no prompt; give one of {CONTENTS}"))),
            (_, true) if role.as_deref().is_none_or(|role| role == "user") => Content::Texts(texts),
            _ => {
                let parts = texts.into_iter().map(Part::Text).chain(media).collect();
                let role = role.unwrap_or_else(|| "user".to_owned());
                Content::Messages(vec![Message { role, parts, members: Map::new() }])
            }
        };
        Ok(vec![(Some(content), None)])
    }

    /// The parts of a row that are not text.
    fn media(&self, object: &mut Object) -> Result<Vec<Part>, Fault> {
        let mut parts = Vec::new();
        for (kind, names) in KINDS {
            let Some((name, value)) = object.take_one(&names)? else { continue };
            let fault = |reason: String| object.fault(name, reason);
            let sources = strings(&value)
                .ok_or_else(|| fault(format!("`{name}` is neither a text (a link or a file) nor a list of them")))?;
            for source in sources {
                parts.push(Part::Other(media::part(kind, &source, &self.directory).map_err(fault)?));
            }
        }
        Ok(parts)
    }

    /// The members that are added to the body of the request.
    fn members(&mut self, object: &mut Object) -> Result<Map<String, Value>, Fault> {
        let (extra, tools) = (object.take("extra"), object.take("tools"));
        let mut members = object.take_rest();
        self.seen.members.extend(members.keys().cloned());
        members.extend(tools.map(|tools| ("tools".to_owned(), tools)));
        match extra {
            None => {}
            Some(Value::Object(extra)) => members.extend(extra),
            Some(other) => {
                return Err(object.fault("extra", format!("extra {other}: not an object of members of the body")));
            }
        }
        Ok(members)
    }
}

impl RowReader for Turns {
    fn read(&mut self, object: &mut Object) -> Result<Row, Fault> {
        let session = session(object)?;
        Ok(Row { session, id: None, turns: self.turns(object)? })
    }

    fn timing(&self) -> Timing {
        self.timing
    }

    fn finish(&mut self, conversation: &mut Conversation) {
        self.seen.idle_delays |= has_idle_delay(conversation);
    }

    fn notes(&self) -> Vec<String> {
        let Seen { answers, idle_delays, times, lengths, hashes, members } = &self.seen;
        let notes = [
            (
                *answers,
                "answers of the assistant in `messages` are sent only where recorded answers are asked for: else the server's own stand in their place",
            ),
            (
                *idle_delays,
                "delay is not followed in the first line of a conversation, before which there is no answer",
            ),
            (*times, "timestamp is not followed"),
            (*lengths, "input_length beside a text is not followed: the text's own length counts"),
            (*hashes, "hash_ids are not followed, so prompts share no beginnings"),
        ];
        let mut notes: Vec<_> =
            notes.into_iter().filter(|(is_so, _)| *is_so).map(|(_, note)| note.to_owned()).collect();
        notes.extend(note_of_added_members(members));
        notes
    }
}

/// The session that a row belongs to.
pub(super) fn session(object: &mut Object) -> Result<Option<String>, Fault> {
    match object.take("session_id") {
        None => Ok(None),
        Some(Value::String(id)) => Ok(Some(id)),
        Some(Value::Number(id)) => Ok(Some(id.to_string())),
        Some(other) => Err(object.fault("session_id", format!("session_id {other}: not a text or a number"))),
    }
}

/// The turn of a row that has a whole body.
fn whole_body(object: &Object, body: Value) -> Result<Turn, Fault> {
    let given = TEXTS.iter().chain(&["messages"]).find(|name| object.has(name));
    if let Some(name) = given {
        return Err(
            object.fault(name, format!("`payload` is the whole body and `{name}` is given too; give one of them"))
        );
    }
    // GenAI-Perf writes a list of one body.
    let body = match body {
        Value::Array(mut list) if list.len() == 1 => list.swap_remove(0),
        body => body,
    };
    turn_of_body(body).ok_or_else(|| object.fault("payload", "`payload` is not a body, which is an object"))
}

/// The turn that sends `body` as it is; `None` where it is not an object.
pub(super) fn turn_of_body(body: Value) -> Option<Turn> {
    if !body.is_object() {
        return None;
    }
    let model = body.get("model").and_then(Value::as_str).map(str::to_owned);
    let requested_output_tokens = body::requested_output_tokens(&body);
    Some(Turn { model, requested_output_tokens, body: Some(body), ..Turn::default() })
}

/// How long a row waits after the answer before it.
pub(super) fn delay(object: &mut Object) -> Result<Nanos, Fault> {
    match object.take("delay") {
        None => Ok(Nanos::ZERO),
        Some(delay) => match delay.as_f64() {
            Some(millis) if (0.0..=LONGEST_DELAY).contains(&millis) => Ok(Nanos::from_secs_f64(millis / 1e3)),
            _ => {
                let reason = format!("delay {delay}: not a number of milliseconds from 0 to {LONGEST_DELAY}");
                Err(object.fault("delay", reason))
            }
        },
    }
}

fn text(object: &mut Object, name: &'static str) -> Result<Option<String>, Fault> {
    match object.take(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(object.fault(name, format!("{name} {other}: not a text"))),
    }
}

fn length_of(object: &Object, name: &str, length: &Value) -> Result<u32, Fault> {
    match length {
        Value::Number(number) => tokens(name, number).map_err(|reason| object.fault(name, reason)),
        other => Err(object.fault(name, format!("{name} {other}: not a whole number of tokens"))),
    }
}

/// The texts of a member: a text, or a list of texts or of `{"name": .., "contents": [..]}`, as AIPerf has them.
fn strings(value: &Value) -> Option<Vec<String>> {
    let one = |value: &Value| match value {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Object(named) => {
            let contents = named.get("contents")?.as_array()?;
            contents.iter().map(|text| text.as_str().map(str::to_owned)).collect()
        }
        _ => None,
    };
    match value {
        Value::Array(values) if values.is_empty() => None,
        Value::Array(values) => Some(values.iter().map(one).collect::<Option<Vec<_>>>()?.concat()),
        value => one(value),
    }
}
