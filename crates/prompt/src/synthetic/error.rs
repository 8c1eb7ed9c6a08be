//! What can be wrong with prompts that are made.

use crate::limits::LONGEST;
use crate::tokenizer::Tokenizer;
use streamgauge_core::message;
use streamgauge_core::plan::Length;
use streamgauge_core::setting::{Explain, Message, Setting};

/// The most text that is held for one run, in tokens: some five gigabytes.
pub const MOST_TEXT: u64 = 1_000_000_000;

/// Why prompts cannot be made.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{}", self.message())]
pub enum SynthesisError {
    /// No text has this number of tokens, as far as could be found.
    Impossible {
        /// What sets the length.
        setting: Setting,
        /// The length.
        tokens: u32,
        /// The tokenizer's name.
        tokenizer: String,
    },
    /// A length is not a sensible number.
    Length {
        /// What sets it.
        setting: Setting,
        /// The length.
        length: Length,
    },
    /// All texts together would be too long.
    TooMuch {
        /// What sets count and length.
        settings: &'static [Setting],
        /// How many texts.
        count: u64,
        /// Tokens of each.
        tokens: u64,
    },
    /// Token ids were asked for, and conversations whose later turns are made from answers, which are text.
    IdsOfConversation,
    /// A source gives a whole body, and something that would change it is asked for too.
    WholeBody {
        /// What asks for it.
        setting: Setting,
    },
    /// A request has several texts, and something that a conversation begins with is asked for too.
    SeveralTexts {
        /// What asks for it.
        setting: Setting,
    },
    /// There is no model to ask.
    NoModel,
}

impl Explain for SynthesisError {
    fn message(&self) -> Message {
        match self {
            SynthesisError::Impossible { setting, tokens, tokenizer } => message![
                *setting,
                format!(
                    " {tokens}: no text of exactly {tokens} tokens can be made with the tokenizer {tokenizer}; choose another length, or another "
                ),
                Setting::Tokenizer,
            ],
            SynthesisError::Length { setting, length: Length { mean, stddev } } => message![
                *setting,
                format!(": mean {mean} and standard deviation {stddev} must be numbers from 0 to {LONGEST}"),
            ],
            SynthesisError::TooMuch { settings, count, tokens } => listed(settings).then(format!(
                ": {count} texts of {tokens} tokens on average are over {MOST_TEXT} tokens of text; ask for fewer or shorter ones"
            )),
            SynthesisError::IdsOfConversation => message![
                Setting::PromptAsTokenIds,
                ": a conversation of several turns cannot be sent as token ids, because its history is text; leave it out",
            ],
            SynthesisError::WholeBody { setting } => {
                message![*setting, ": the input has whole bodies, which are sent as they are; leave it out"]
            }
            SynthesisError::SeveralTexts { setting } => {
                message![*setting, ": the input has requests of several texts, and a conversation has one; leave it out"]
            }
            SynthesisError::NoModel => message![Setting::Model, ": at least one model is needed"],
        }
    }
}

/// The settings, as a sentence lists them.
fn listed(settings: &[Setting]) -> Message {
    settings.iter().enumerate().fold(Message::default(), |message, (index, setting)| {
        if index > 0 { message.then(" and ").then(*setting) } else { message.then(*setting) }
    })
}

impl SynthesisError {
    /// No text of `tokens` tokens, which `setting` asks for, could be made.
    pub(super) fn impossible(setting: Setting, tokens: u32, tokenizer: &Tokenizer) -> SynthesisError {
        SynthesisError::Impossible { setting, tokens, tokenizer: tokenizer.name().to_owned() }
    }

    /// Refuses `count` texts, which `settings` ask for, of `tokens` tokens altogether if they are more than is held.
    pub(super) fn check_text(settings: &'static [Setting], count: u64, tokens: u64) -> Result<(), SynthesisError> {
        match tokens > MOST_TEXT {
            true => Err(SynthesisError::TooMuch { settings, count, tokens: tokens / count.max(1) }),
            false => Ok(()),
        }
    }
}
