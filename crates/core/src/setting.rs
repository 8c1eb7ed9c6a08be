//! The settings that messages refer to, and messages that carry them as data.
//!
//! A message for people often says which setting to change. What that setting is called depends on the command line in use:
//! `--threads` natively is `--max-threads` for Perf Analyzer. So the layers below the command line write [`Message`]s, whose parts
//! are text and [`Setting`]s, and the front end renders them with its own [`Wording`].
//!
//! Displayed without a wording, a setting is written as `--name`. That is the published form: files hold it, and
//! [`Message::parse`] reads it back.

mod list;

pub use list::Setting;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// The name of a setting in a front end, or `None` if the front end does not have it.
pub type Wording = fn(Setting) -> Option<&'static str>;

/// One part of a [`Message`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Text as it is.
    Text(String),
    /// A setting, for the front end to word.
    Setting(Setting),
    /// A part that helps only if the front end has this setting.
    Where(Setting, Message),
}

impl From<&str> for Part {
    fn from(text: &str) -> Part {
        Part::Text(text.to_owned())
    }
}

impl From<String> for Part {
    fn from(text: String) -> Part {
        Part::Text(text)
    }
}

impl Part {
    /// A part that helps only if the front end has `setting`.
    pub fn only_where(setting: Setting, part: impl Into<Message>) -> Part {
        Part::Where(setting, part.into())
    }
}

impl From<Setting> for Part {
    fn from(setting: Setting) -> Part {
        Part::Setting(setting)
    }
}

/// Text for people that carries settings as data. Two messages are equal when their published forms are.
#[derive(Clone, Debug, Default)]
pub struct Message(Vec<Part>);

impl<P: Into<Part>> From<P> for Message {
    fn from(part: P) -> Message {
        Message(vec![part.into()])
    }
}

/// Makes a [`Message`] from its parts, which may be messages: `message!["raise ", Setting::Threads, " or lower the load"]`.
#[macro_export]
macro_rules! message {
    ($($part:expr),+ $(,)?) => {
        $crate::setting::Message::default()$(.then($part))+
    };
}

impl Message {
    /// The message followed by one more part, or by another message.
    #[must_use]
    pub fn then(mut self, next: impl Into<Message>) -> Message {
        self.0.extend(next.into().0);
        self
    }

    /// The message as a front end words it. A setting that the front end does not have keeps its published form.
    pub fn worded(&self, wording: Wording) -> String {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(part) => text.push_str(part),
                Part::Setting(setting) => match wording(*setting) {
                    Some(word) => text.push_str(word),
                    None => text.push_str(&setting.to_string()),
                },
                Part::Where(setting, part) if wording(*setting).is_some() => text.push_str(&part.worded(wording)),
                Part::Where(..) => {}
            }
        }
        text
    }

    /// Reads the published form back: each `--name` of a known setting becomes that setting, and the rest is text.
    pub fn parse(text: &str) -> Message {
        let (mut message, mut rest) = (Message::default(), text);
        let mut plain = String::new();
        while let Some(at) = rest.find("--") {
            let name = &rest[at + 2..];
            let joins = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            let (name, after) = name.split_at(name.find(|c| !joins(c)).unwrap_or(name.len()));
            plain.push_str(&rest[..at]);
            match Setting::from_name(name) {
                Some(setting) => {
                    if !plain.is_empty() {
                        message = message.then(std::mem::take(&mut plain));
                    }
                    message = message.then(setting);
                }
                None => {
                    plain.push_str("--");
                    plain.push_str(name);
                }
            }
            rest = after;
        }
        plain.push_str(rest);
        if plain.is_empty() { message } else { message.then(plain) }
    }
}

/// The published form, in which settings are written as `--name`.
impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| match part {
            Part::Text(text) => f.write_str(text),
            Part::Setting(setting) => setting.fmt(f),
            Part::Where(_, part) => part.fmt(f),
        })
    }
}

impl std::error::Error for Message {}

/// An error whose text refers to settings. Displayed, it is in the published form.
pub trait Explain {
    /// What is wrong and what to change, in a form that a front end words.
    fn message(&self) -> Message;
}

impl Explain for Message {
    fn message(&self) -> Message {
        self.clone()
    }
}

impl Eq for Message {}

impl PartialEq for Message {
    fn eq(&self, other: &Message) -> bool {
        self.to_string() == other.to_string()
    }
}

impl Serialize for Message {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Message {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Message, D::Error> {
        String::deserialize(deserializer).map(|text| Message::parse(&text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn other(setting: Setting) -> Option<&'static str> {
        match setting {
            Setting::Threads => Some("--max-threads"),
            Setting::NumUsers => None,
            _ => Some("the setting"),
        }
    }

    #[test]
    fn names_are_distinct_and_lead_back_to_their_settings() {
        for setting in Setting::ALL {
            assert_eq!(Setting::from_name(setting.name()), Some(*setting), "{setting}");
        }
        assert_eq!(Setting::from_name("thread"), None);
    }

    #[test]
    fn a_message_is_worded_by_the_front_end_and_published_by_name() {
        let users = Part::Where(Setting::NumUsers, message!["the number of users (", Setting::NumUsers, ") or "]);
        let message = message!["raise ", users, Setting::Threads, format!(" by {}", 2)];
        assert_eq!(message.to_string(), "raise the number of users (--num-users) or --threads by 2");
        assert_eq!(message.worded(other), "raise --max-threads by 2");
        assert_eq!(message!["give ", Setting::NumUsers].worded(other), "give --num-users");
        assert_eq!(serde_json::to_string(&message!["a ", Setting::Url]).unwrap(), r#""a --url""#);
    }

    #[test]
    fn the_published_form_is_read_back_with_its_settings() {
        let message = Message::parse("--threads, --threadsafe (--url): ---- --");
        assert_eq!(message.worded(other), "--max-threads, --threadsafe (the setting): ---- --");
        assert_eq!(message.0.len(), 4);
    }

    proptest! {
        #[test]
        fn reading_a_message_back_changes_no_byte(text in "[- a-z]{0,9}(--url|--threads|é|-){0,3}[- a-z]{0,9}") {
            prop_assert_eq!(Message::parse(&text).to_string(), text);
        }
    }
}
