//! A model's inputs as tensors: read from the files that Perf Analyzer's `--input-data` reads, made up, or made out of a prompt for
//! an LLM backend. Whatever does not fit the model is refused before anything is sent, by file, position and name.

mod batch;
mod directory;
mod element;
mod error;
mod json;
pub mod llm;
mod made;
mod payload;
pub mod shape;
mod steps;
mod value;

pub use error::InputError;
pub use llm::{LlmInputs, LlmOptions, llm_inputs};

use crate::tokenizer::Tokenizer;
use std::path::PathBuf;
use streamgauge_core::kserve::ModelInfo;
use streamgauge_core::seed::Seed;
use streamgauge_core::{Nanos, Prompt};

/// The input whose strings are a prompt's text, as LLM models on Triton call it.
pub const TEXT_INPUT: &str = "text_input";

/// The most bytes that a tensor of a request may have: what a gRPC message can hold.
pub const LARGEST: u64 = i32::MAX as u64;

/// What is asked of inputs beyond their data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputOptions {
    /// Shapes of inputs that have dimensions of any length, without that of the batch. See [`shape::parse`].
    pub shapes: Vec<(String, Vec<i64>)>,
    /// Inferences in a request, at least 1: consecutive steps that are joined along the batch dimension.
    pub batch: u32,
    /// Characters of a string that is made up.
    pub string_length: u32,
    /// What every string is, where strings are made up; none makes them at random.
    pub string_data: Option<String>,
    /// Where chance comes from.
    pub seed: Seed,
}

impl Default for InputOptions {
    /// Perf Analyzer's defaults.
    fn default() -> InputOptions {
        InputOptions { shapes: Vec::new(), batch: 1, string_length: 128, string_data: None, seed: Seed(0) }
    }
}

/// Values that are made up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// By chance; the numbers of all inputs begin alike, as Perf Analyzer's do.
    Random,
    /// Zeros. Strings are random, as Perf Analyzer's are.
    Zero,
}

/// Inputs of requests, in streams of steps.
#[derive(Clone, Debug, PartialEq)]
pub struct InputData {
    /// The streams, at least one, each with a step at least. A sequence takes its inputs from one of them.
    pub streams: Vec<Vec<Step>>,
    /// Whether a stream says how long a sequence is. It does in a file of JSON.
    pub sets_lengths: bool,
}

/// The inputs of one request.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// What is sent. Its tokens are not counted yet: see [`InputData::count_tokens`].
    pub prompt: Prompt,
    /// When it is due, from the schedule's zero.
    pub at: Option<Nanos>,
    /// How long after its answer the next of its session waits.
    pub delay: Option<Nanos>,
    /// The session that it belongs to.
    pub session: Option<String>,
}

impl InputData {
    /// Reads inputs for `model` from files of JSON in Perf Analyzer's form, whose steps or streams follow each other, or from one
    /// directory with a file for each input.
    ///
    /// # Errors
    /// When a file cannot be read, is not of that form, or does not fit the model.
    pub fn read(files: &[PathBuf], model: &ModelInfo, options: &InputOptions) -> Result<InputData, InputError> {
        batch::check(options.batch, model)?;
        shape::check(&options.shapes, model)?;
        let directory = files.iter().find(|path| path.is_dir());
        let drafts = match (directory, files.len()) {
            (None, _) => steps::read(files, model, options)?,
            (Some(path), 1) => vec![vec![directory::read(path, model, options)?]],
            (Some(path), _) => {
                let reason = "a directory is all the data of a run, and others are given beside it".to_owned();
                return Err(InputError::File { path: path.clone(), reason });
            }
        };
        let streams = batch::requests(drafts, model, options.batch)?;
        Ok(InputData { streams, sets_lengths: directory.is_none() })
    }

    /// Reads whole bodies for an OpenAI endpoint from files of JSON in Perf Analyzer's form: steps with a `payload`. A body that
    /// names no model asks for `model`.
    ///
    /// # Errors
    /// When a file cannot be read or is not of that form.
    pub fn read_payloads(files: &[PathBuf], model: &str) -> Result<InputData, InputError> {
        Ok(InputData { streams: payload::read(files, model)?, sets_lengths: true })
    }

    /// One step of values that are made up for all inputs of `model`.
    ///
    /// # Errors
    /// When an input's shape is not known, or cannot be made up.
    pub fn made(kind: Made, model: &ModelInfo, options: &InputOptions) -> Result<InputData, InputError> {
        batch::check(options.batch, model)?;
        shape::check(&options.shapes, model)?;
        let step = made::step(kind, model, options)?;
        Ok(InputData { streams: batch::requests(vec![vec![step]], model, options.batch)?, sets_lengths: false })
    }

    /// Lengths of the streams where they say how long a sequence is; otherwise empty.
    pub fn lengths(&self) -> Vec<u32> {
        match self.sets_lengths {
            true => self.streams.iter().map(|steps| u32::try_from(steps.len()).unwrap_or(u32::MAX)).collect(),
            false => Vec::new(),
        }
    }

    /// Counts the tokens of the steps' texts.
    pub fn count_tokens(&mut self, tokenizer: &Tokenizer) {
        for step in self.streams.iter_mut().flatten() {
            let texts = step.prompt.texts();
            let tokens = texts.iter().map(|text| tokenizer.count(text)).fold(0, u32::saturating_add);
            step.prompt.tokens = tokens;
        }
    }

    /// The prompts of all streams, one stream after the other.
    pub fn into_prompts(self) -> Vec<Prompt> {
        self.streams.into_iter().flatten().map(|step| step.prompt).collect()
    }
}
