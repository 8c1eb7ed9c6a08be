//! What can be wrong with prompts that are made.

use crate::limits::LONGEST;
use crate::tokenizer::Tokenizer;
use streamgauge_core::plan::Length;

/// The most text that is held for one run, in tokens: some five gigabytes.
pub const MOST_TEXT: u64 = 1_000_000_000;

/// Why prompts cannot be made.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SynthesisError {
    /// No text has this number of tokens, as far as could be found.
    #[error(
        "{flag} {tokens}: no text of exactly {tokens} tokens can be made with the tokenizer {tokenizer}; choose \
         another length, or another --tokenizer"
    )]
    Impossible {
        /// The flag that sets the length.
        flag: &'static str,
        /// The length.
        tokens: u32,
        /// The tokenizer's name.
        tokenizer: String,
    },
    /// A length is not a sensible number.
    #[error(
        "{flag}: mean {} and standard deviation {} must be numbers from 0 to {LONGEST}",
        length.mean, length.stddev
    )]
    Length {
        /// The flag that sets it.
        flag: &'static str,
        /// The length.
        length: Length,
    },
    /// All texts together would be too long.
    #[error(
        "{flags}: {count} texts of {tokens} tokens on average are over {MOST_TEXT} tokens of text; ask for fewer or shorter ones"
    )]
    TooMuch {
        /// The flags that set count and length.
        flags: &'static str,
        /// How many texts.
        count: u64,
        /// Tokens of each.
        tokens: u64,
    },
    /// Token ids were asked for, and conversations whose later turns are made from answers, which are text.
    #[error("a conversation of several turns cannot be sent as token ids: its history is text")]
    IdsOfConversation,
    /// A source gives a whole body, and something that would change it is asked for too.
    #[error("{flag}: the input has whole bodies, which are sent as they are; leave it out")]
    WholeBody {
        /// The flag that asks for it.
        flag: &'static str,
    },
    /// There is no model to ask.
    #[error("-m: at least one model is needed")]
    NoModel,
}

impl SynthesisError {
    /// No text of `tokens` tokens, which `flag` asks for, could be made.
    pub(super) fn impossible(flag: &'static str, tokens: u32, tokenizer: &Tokenizer) -> SynthesisError {
        SynthesisError::Impossible { flag, tokens, tokenizer: tokenizer.name().to_owned() }
    }

    /// Refuses `count` texts, which `flags` ask for, of `tokens` tokens altogether if they are more than is held.
    pub(super) fn check_text(flags: &'static str, count: u64, tokens: u64) -> Result<(), SynthesisError> {
        match tokens > MOST_TEXT {
            true => Err(SynthesisError::TooMuch { flags, count, tokens: tokens / count.max(1) }),
            false => Ok(()),
        }
    }
}
