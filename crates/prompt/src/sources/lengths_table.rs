//! Traces in CSV that know of each request when it was made, and how long its prompt and its answer were.

use super::columns::Columns;
use super::object::{Fault, Object};
use super::sessions::{Row, RowReader, Sessions};
use super::times::{Times, Unit};
use super::{Input, Opened, SourceOptions, Turn, tokens};
use serde_json::{Number, Value};
use std::collections::BTreeSet;
use streamgauge_core::prompt::{Follows, History};

/// The columns of such a trace, in lower case.
pub(super) struct Table {
    /// The time of the request, in seconds or as a date.
    pub time: &'static str,
    /// Tokens of the prompt.
    pub input: &'static str,
    /// Tokens of the answer. A request that failed has none.
    pub output: &'static str,
    /// The session that the request belongs to, where there are any.
    pub session: Option<&'static str>,
    /// Columns that are known and not followed.
    pub others: &'static [&'static str],
}

/// Begins to read such a trace.
pub(super) fn open(table: &'static Table, input: Input, options: &SourceOptions) -> Opened {
    let times = Times::new(options.timing, Unit::Seconds);
    let reader = Lengths { table, times, failed: 0, has_sessions: false, others: BTreeSet::new() };
    Ok(Sessions::new(Box::new(Columns::new(input)?), reader))
}

struct Lengths {
    table: &'static Table,
    times: Times,
    /// Requests without an answer.
    failed: u64,
    has_sessions: bool,
    others: BTreeSet<String>,
}

impl RowReader for Lengths {
    fn read(&mut self, object: &mut Object) -> Result<Row, Fault> {
        let table = self.table;
        let time = object.take(table.time);
        let at = self.times.at(table.time, time.as_ref()).map_err(Fault::new)?;
        let (input, output) = (length(object, table.input)?, length(object, table.output)?);
        let session = table.session.and_then(|name| object.take(name)).and_then(|id| id.as_str().map(str::to_owned));
        self.others.extend(object.take_rest().into_iter().map(|(name, _)| name));
        let Some((input_tokens, output_tokens)) = input.zip(output) else {
            self.failed += 1;
            return Ok(Row::default());
        };
        self.has_sessions |= session.is_some();
        let turn = Turn {
            at,
            history: History { follows: Follows::Nothing, recorded_answer: false },
            input_tokens: Some(input_tokens),
            requested_output_tokens: Some(output_tokens),
            ..Turn::default()
        };
        Ok(Row { session, id: None, turns: vec![turn] })
    }

    fn finish(&mut self, conversation: &mut super::Conversation) {
        if let Some(first) = conversation.turns.first_mut() {
            first.history = History::default();
        }
    }

    fn notes(&self) -> Vec<String> {
        let mut notes: Vec<String> = self.times.note().into_iter().collect();
        if self.failed > 0 {
            notes.push(format!("{} row(s) without tokens are left out: their requests were not answered", self.failed));
        }
        if self.has_sessions {
            notes.push("requests of a session wait for the answer to the one before; each is a whole prompt of its recorded length".to_owned());
        }
        if !self.others.is_empty() {
            let known = |name: &String| self.table.others.contains(&name.as_str());
            let (known, unknown): (Vec<_>, Vec<_>) = self.others.iter().partition(|name| known(name));
            let list = |names: &[&String]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            let mut note = |names: &[&String], what: &str| {
                if !names.is_empty() {
                    notes.push(format!("the column(s) {} are {what}", list(names)));
                }
            };
            note(&known, "not followed");
            note(&unknown, "not known and not sent");
        }
        notes
    }
}

/// The tokens in a column; `None` where there are none.
fn length(object: &mut Object, name: &'static str) -> Result<Option<u32>, Fault> {
    let Some(field) = object.take(name) else {
        return Err(Fault::new(format!("there is no `{name}`, a number of tokens")));
    };
    let text = field.as_str().unwrap_or_default();
    match text.parse::<f64>() {
        Ok(0.0) => Ok(None),
        Ok(number) if number >= 1.0 && number.fract() == 0.0 && number < 1e15 => {
            tokens(name, &Number::from(number as u64)).map(Some).map_err(Fault::new)
        }
        _ => Err(Fault::new(format!("{name} {}: not a whole number of tokens", Value::String(text.to_owned())))),
    }
}
