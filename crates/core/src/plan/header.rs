//! Headers of requests, and the values in them that no output may show.

use crate::hidden::HIDDEN;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// A header that every request has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The name, in the case in which the user wrote it.
    pub name: String,
    /// The value, which no output shows when it may be a secret.
    pub value: HeaderValue,
}

/// The value of a header.
#[derive(Clone, PartialEq, Eq)]
pub enum HeaderValue {
    /// A value that may be shown.
    Plain(String),
    /// A value that must never be shown.
    Secret(String),
}

impl HeaderValue {
    /// The value as it is sent. It must not be used for anything else.
    pub fn expose(&self) -> &str {
        match self {
            HeaderValue::Plain(value) | HeaderValue::Secret(value) => value,
        }
    }

    /// The value as people and files are shown it.
    pub fn shown(&self) -> &str {
        match self {
            HeaderValue::Plain(value) => value,
            HeaderValue::Secret(_) => HIDDEN,
        }
    }
}

impl fmt::Debug for HeaderValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.shown())
    }
}

impl Serialize for HeaderValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.shown())
    }
}

/// A hidden value is read back as a secret with unknown content, so that it stays hidden when it is written again.
impl<'de> Deserialize<'de> for HeaderValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<HeaderValue, D::Error> {
        let value = String::deserialize(deserializer)?;
        Ok(if value == HIDDEN { HeaderValue::Secret(value) } else { HeaderValue::Plain(value) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_never_shows() {
        let header = Header { name: "Authorization".into(), value: HeaderValue::Secret("Bearer k".into()) };
        assert!(!format!("{header:?}").contains("Bearer"));
        assert!(!serde_json::to_string(&header).unwrap().contains("Bearer"));
        assert_eq!(header.value.expose(), "Bearer k");
        let text = serde_json::to_string(&header).unwrap();
        let back: Header = serde_json::from_str(&text).unwrap();
        assert_eq!(back.value, HeaderValue::Secret(HIDDEN.into()));
        assert_eq!(serde_json::to_string(&back).unwrap(), text);
        let plain = Header { name: "X-Run".into(), value: HeaderValue::Plain("7".into()) };
        assert_eq!(serde_json::from_value::<Header>(serde_json::to_value(&plain).unwrap()).unwrap(), plain);
    }
}
