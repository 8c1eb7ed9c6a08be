//! The input data: generated, or read from files.

use crate::faces::perf_analyzer::args::{PerfAnalyzerArgs, ServiceKind};
use anyhow::{Result, bail};
use std::path::PathBuf;
use streamgauge_core::kserve::ModelInfo;
use streamgauge_core::seed::Seed;
use streamgauge_prompt::tensors::{InputData, InputError, InputOptions, Made};

/// The input data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inputs {
    /// The source of the values.
    pub data: Data,
    /// Further requests about the values.
    pub options: InputOptions,
}

/// The source of values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// They are generated.
    Made(Made),
    /// They are read.
    Files(Vec<PathBuf>),
}

impl Inputs {
    /// The input data that the arguments ask for.
    ///
    /// # Errors
    /// A sentence that names the flag.
    pub fn of(args: &PerfAnalyzerArgs) -> Result<Inputs> {
        let request = &args.request;
        let mut files = Vec::new();
        let mut zero = request.zero;
        for data in &request.input_data {
            let path = PathBuf::from(data);
            match data.as_str() {
                _ if path.exists() => files.push(path),
                "zero" => zero = true,
                "random" => {}
                _ => {
                    bail!("--input-data {data}: the file does not exist; give random, zero, a JSON file or a directory")
                }
            }
        }
        if zero && let Some(file) = files.first() {
            bail!(
                "--input-data zero cannot be combined with the values in {}; leave out one of the two",
                file.display()
            );
        }
        if args.service_kind == ServiceKind::Openai && files.is_empty() {
            bail!("--input-data: --service-kind openai needs a file of payloads");
        }
        let data = match (files.is_empty(), zero) {
            (false, _) => Data::Files(files),
            (true, true) => Data::Made(Made::Zero),
            (true, false) => Data::Made(Made::Random),
        };
        let usual = InputOptions::default();
        let options = InputOptions {
            shapes: request.shape.clone(),
            batch: request.batch.unwrap_or(usual.batch),
            string_length: request.string_length.unwrap_or(usual.string_length),
            string_data: request.string_data.clone(),
            seed: Seed(0),
        };
        Ok(Inputs { data, options })
    }

    /// The inputs for `model`.
    ///
    /// # Errors
    /// When a file cannot be read, or values do not fit the model.
    pub fn read(&self, model: &ModelInfo) -> Result<InputData, InputError> {
        match &self.data {
            Data::Made(made) => InputData::made(*made, model, &self.options),
            Data::Files(files) => InputData::read(files, model, &self.options),
        }
    }

    /// The bodies for an OpenAI endpoint.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn payloads(&self, model: &str) -> Result<InputData, InputError> {
        match &self.data {
            Data::Files(files) => InputData::read_payloads(files, model),
            Data::Made(_) => Err(InputError::Asked("--input-data: payloads need a file".into())),
        }
    }
}
