//! The models that the server has, and the tokens of texts.

use crate::refusal::Refusal;
use std::cell::RefCell;
use std::collections::HashMap;
use streamgauge_prompt::Tokenizer;

/// What requests are checked against.
#[derive(Debug)]
pub(crate) struct Tokens {
    /// The names of the models.
    pub(crate) models: Vec<String>,
    /// The longest context of each model, in tokens.
    pub(crate) context: u32,
    tokenizer: Tokenizer,
    counts: RefCell<HashMap<Box<str>, u32>>,
}

/// Prompts whose counts are remembered. A benchmark goes round a few hundred; beyond this the memory starts afresh.
const REMEMBERED: usize = 4096;

impl Tokens {
    pub(crate) fn new(models: Vec<String>, context: u32, tokenizer: Tokenizer) -> Tokens {
        Tokens { models, context, tokenizer, counts: RefCell::default() }
    }

    /// The index of the model of that name; the first one without a name.
    pub(crate) fn model(&self, name: Option<&str>) -> Result<usize, Refusal> {
        let Some(name) = name else { return Ok(0) };
        self.models.iter().position(|model| model == name).ok_or_else(|| Refusal {
            status: 404,
            class: "NotFoundError",
            message: format!("The model `{name}` does not exist. Valid aliases: {}.", self.models.join(", ")),
            param: Some("model"),
        })
    }

    /// The length of a prompt that leaves room for output.
    pub(crate) fn fits(&self, tokens: u32) -> Result<u32, Refusal> {
        if tokens < self.context {
            return Ok(tokens);
        }
        let context = self.context;
        Err(Refusal::bad(
            "input_tokens",
            format!(
                "This model's maximum context length is {context} tokens. However, your prompt contains {tokens} input \
                 tokens. Please reduce the length of the input prompt."
            ),
        ))
    }

    /// Counts a text, or remembers its count: a saturated server must not be bound by its tokenizer.
    pub(crate) fn count(&self, text: &str) -> u32 {
        if let Some(count) = self.counts.borrow().get(text) {
            return *count;
        }
        let count = self.tokenizer.count(text);
        let mut counts = self.counts.borrow_mut();
        if counts.len() >= REMEMBERED {
            counts.clear();
        }
        counts.insert(text.into(), count);
        count
    }
}
