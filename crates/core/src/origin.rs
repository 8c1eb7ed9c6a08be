//! What was asked for, setting by setting, and where each value came from.

use crate::setting::Setting;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;

/// Where the value of a setting came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The user gave it on the command line.
    Flag,
    /// A variable of the environment holds it.
    Environment,
    /// Nobody gave it, so it is the usual one.
    Default,
    /// The face that was used sets it, because its tool does.
    Face,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Origin::Flag => "flag",
            Origin::Environment => "environment",
            Origin::Default => "default",
            Origin::Face => "face",
        })
    }
}

/// A value of a setting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// The value as it was given; `None` for a switch, which has no value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Where it came from.
    pub from: Origin,
}

/// The settings of a run with their values and where these came from. It holds no secret: whoever fills it hides them.
///
/// In files it is a JSON object with a member for each setting, by its name. A member that this version does not know is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins(BTreeMap<Setting, Asked>);

impl Origins {
    /// Notes where a setting's value came from, in place of what was noted before.
    pub fn set(&mut self, setting: Setting, value: Option<String>, from: Origin) {
        self.0.insert(setting, Asked { value, from });
    }

    /// Where the value of a setting came from, if it has one.
    pub fn of(&self, setting: Setting) -> Option<Origin> {
        self.0.get(&setting).map(|asked| asked.from)
    }

    /// Whether somebody chose the value, so that nothing else may take its place.
    pub fn is_chosen(&self, setting: Setting) -> bool {
        self.of(setting).is_some_and(|origin| origin != Origin::Default)
    }

    /// The settings that have values, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (Setting, &Asked)> {
        self.0.iter().map(|(setting, asked)| (*setting, asked))
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Origins {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(setting, asked)| (setting.name(), asked)))
    }
}

impl<'de> Deserialize<'de> for Origins {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Origins, D::Error> {
        let members = BTreeMap::<String, Asked>::deserialize(deserializer)?;
        let known = members.into_iter().filter_map(|(name, asked)| Some((Setting::from_name(&name)?, asked)));
        Ok(Origins(known.collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins() -> Origins {
        let mut origins = Origins::default();
        origins.set(Setting::Concurrency, Some("8".to_owned()), Origin::Flag);
        origins.set(Setting::ApiKey, Some("<hidden>".to_owned()), Origin::Environment);
        origins.set(Setting::RandomSeed, Some("0".to_owned()), Origin::Default);
        origins.set(Setting::NoProbe, None, Origin::Face);
        origins
    }

    #[test]
    fn only_a_default_may_be_replaced() {
        let origins = origins();
        let chosen = [Setting::Concurrency, Setting::ApiKey, Setting::NoProbe, Setting::RandomSeed, Setting::Url];
        assert_eq!(chosen.map(|setting| origins.is_chosen(setting)), [true, true, true, false, false]);
    }

    #[test]
    fn files_name_settings_and_what_is_not_known_is_left_out() {
        let stored = serde_json::to_string(&origins()).unwrap();
        let expected = r#"{"api-key":{"value":"<hidden>","from":"environment"},"concurrency":{"value":"8","from":"flag"},"no-probe":{"from":"face"},"random-seed":{"value":"0","from":"default"}}"#;
        assert_eq!(stored, expected);
        assert_eq!(serde_json::from_str::<Origins>(&stored).unwrap(), origins());
        let newer = r#"{"concurrency":{"value":"8","from":"flag"},"x":{"from":"flag"}}"#;
        assert_eq!(serde_json::from_str::<Origins>(newer).unwrap().iter().count(), 1);
    }
}
