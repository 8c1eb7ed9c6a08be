//! The settings that messages refer to, and messages that carry them as data.
//!
//! A message for people often says which setting to change. What that setting is called depends on the command line in use:
//! `--threads` natively is `--max-threads` for Perf Analyzer. So the layers below the command line write [`Message`]s, whose parts
//! are text and [`Setting`]s, and the front end renders them with its own [`Wording`].
//!
//! Displayed without a wording, a setting is written as `--name`. That is the published form: files hold it, and
//! [`Message::parse`] reads it back.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// Declares [`Setting`] from one list of variants and names.
macro_rules! settings {
    ($($(#[$doc:meta])* $setting:ident $name:literal,)+) => {
        /// Something that a user can set, whatever the front end calls it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Setting {
            $($(#[$doc])* $setting,)+
        }

        impl Setting {
            /// Every setting, in the order of names.
            pub const ALL: &'static [Setting] = &[$(Setting::$setting,)+];

            /// The setting's name: `warmup-request-count`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Setting::$setting => $name,)+
                }
            }
        }
    };
}

settings! {
    /// The key that requests are authorized with.
    ApiKey "api-key",
    /// The directory that a run's files are written to.
    ArtifactDir "artifact-dir",
    /// The backend of a Triton model.
    Backend "backend",
    /// How long a phase of load lasts.
    BenchmarkDuration "benchmark-duration",
    /// The composing models of a business logic script.
    BlsComposingModels "bls-composing-models",
    /// The file of trusted certificate authorities.
    CaFile "ca-file",
    /// The metric whose confidence interval ends the run.
    CiMetric "ci-metric",
    /// The client's certificate for mutual TLS.
    ClientCertificate "client-certificate",
    /// The client's private key for mutual TLS.
    ClientKey "client-key",
    /// Which receive stamps are used: the kernel's, or the time of the read.
    Clock "clock",
    /// The number of requests in flight.
    Concurrency "concurrency",
    /// How long opening a connection may take.
    ConnectTimeout "connect-timeout",
    /// Whether connections are kept between requests.
    Connections "connections",
    /// Whether the server reports its token counts in every event.
    ContinuousUsage "continuous-usage",
    /// Whether received data is acknowledged as the kernel sees fit instead of at once.
    DelayedAcks "delayed-acks",
    /// The path that requests are sent to.
    Endpoint "endpoint",
    /// The kind of endpoint.
    EndpointType "endpoint-type",
    /// Additional members or inputs of each request.
    ExtraInputs "extra-inputs",
    /// How long the first byte of an answer may take.
    FirstByteTimeout "first-byte-timeout",
    /// Whether a trace's own times are followed.
    FixedSchedule "fixed-schedule",
    /// Whether the times of a trace are counted from its first one.
    FixedScheduleAutoOffset "fixed-schedule-auto-offset",
    /// The time in a trace at which the run begins.
    FixedScheduleStartOffset "fixed-schedule-start-offset",
    /// The limits that a good request keeps.
    Goodput "goodput",
    /// How long requests in flight may take to finish after the end of load.
    GracePeriod "grace-period",
    /// An additional header of each request.
    Header "header",
    /// The file or directory of input tensors.
    InputData "input-data",
    /// The file of prompts or the trace.
    InputFile "input-file",
    /// How tensors are encoded in a request.
    InputTensorFormat "input-tensor-format",
    /// Whether any certificate is trusted.
    Insecure "insecure",
    /// The length of synthetic prompts in tokens.
    Isl "isl",
    /// How many windows of measurement there may be.
    MaxTrials "max-trials",
    /// The member of a request that limits the length of the output.
    MaxTokensField "max-tokens-field",
    /// The length of a window of measurement in time.
    MeasurementInterval "measurement-interval",
    /// The length of a window of measurement in requests.
    MeasurementRequestCount "measurement-request-count",
    /// The address of the server's metrics.
    MetricsUrl "metrics-url",
    /// The model that is measured.
    Model "model",
    /// Whether the test request before the load is skipped.
    NoProbe "no-probe",
    /// Whether the server's token counts are left out.
    NoUsage "no-usage",
    /// The number of prefixes that prompts share.
    NumPrefixPrompts "num-prefix-prompts",
    /// The number of different prompts.
    NumPrompts "num-prompts",
    /// The number of simulated users.
    NumUsers "num-users",
    /// The requested length of the output in tokens.
    Osl "osl",
    /// Whether the server is to generate exactly as many tokens as requested.
    OutputTokensMeanDeterministic "output-tokens-mean-deterministic",
    /// A number of requests in flight that grows during the run.
    PeriodicConcurrencyRange "periodic-concurrency-range",
    /// The length of the prefixes that prompts share, in tokens.
    PrefixPromptLength "prefix-prompt-length",
    /// The name of the export file.
    ProfileExportFile "profile-export-file",
    /// How much of each request is exported.
    ProfileExportLevel "profile-export-level",
    /// The seed of all random choices.
    RandomSeed "random-seed",
    /// How many requests are sent.
    RequestCount "request-count",
    /// The file of intervals between requests.
    RequestIntervals "request-intervals",
    /// How many requests are sent in a second.
    RequestRate "request-rate",
    /// The kind of service that is measured.
    ServiceKind "service-kind",
    /// The shape of an input tensor.
    Shape "shape",
    /// Whether tensors are passed in shared memory.
    SharedMemory "shared-memory",
    /// Whether a simulated server is measured.
    Sim "sim",
    /// Whether answers are streamed.
    Streaming "streaming",
    /// The output tensor that holds the text.
    TextOutput "text-output",
    /// The number of load threads.
    Threads "threads",
    /// Whose count of output tokens is used.
    TokenCount "token-count",
    /// The tokenizer that makes prompts and counts output.
    Tokenizer "tokenizer",
    /// The width of the confidence interval that ends the run.
    UntilCi "until-ci",
    /// The address of the server.
    Url "url",
    /// The number of requests in flight during warm-up.
    WarmupConcurrency "warmup-concurrency",
    /// How many warm-up requests are sent.
    WarmupRequestCount "warmup-request-count",
}

impl Setting {
    /// The setting of that name.
    pub fn from_name(name: &str) -> Option<Setting> {
        Setting::ALL.iter().copied().find(|setting| setting.name() == name)
    }
}

/// The published form, `--name`.
impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--{}", self.name())
    }
}

/// What a front end calls a setting; `None` where it does not have it.
pub type Wording = fn(Setting) -> Option<&'static str>;

/// One part of a [`Message`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Text as it is.
    Text(String),
    /// A setting, for the front end to word.
    Setting(Setting),
    /// Text that only helps where the front end has this setting.
    Where(Setting, String),
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

impl From<Setting> for Part {
    fn from(setting: Setting) -> Part {
        Part::Setting(setting)
    }
}

/// Text for people that carries settings as data. Two messages are equal when their published forms are.
#[derive(Clone, Debug, Default)]
pub struct Message(Vec<Part>);

impl From<&str> for Message {
    fn from(text: &str) -> Message {
        Message::default().then(text)
    }
}

impl From<String> for Message {
    fn from(text: String) -> Message {
        Message::default().then(text)
    }
}

/// Makes a [`Message`] from its parts: `message!["raise ", Setting::Threads, " or lower the load"]`.
#[macro_export]
macro_rules! message {
    ($($part:expr),+ $(,)?) => {
        $crate::setting::Message::default()$(.then($part))+
    };
}

impl Message {
    /// The message followed by one more part.
    #[must_use]
    pub fn then(mut self, part: impl Into<Part>) -> Message {
        self.0.push(part.into());
        self
    }

    /// The message followed by another.
    #[must_use]
    pub fn and(mut self, other: Message) -> Message {
        self.0.extend(other.0);
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
                Part::Where(setting, part) => text.push_str(wording(*setting).map_or("", |_| part)),
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
            Part::Text(text) | Part::Where(_, text) => f.write_str(text),
            Part::Setting(setting) => setting.fmt(f),
        })
    }
}

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
        let users = Part::Where(Setting::NumUsers, "the number of users or ".to_owned());
        let message = message!["raise ", users, Setting::Threads, format!(" by {}", 2)];
        assert_eq!(message.to_string(), "raise the number of users or --threads by 2");
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
