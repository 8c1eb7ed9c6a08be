//! Files of inputs, and what is read from them.

use std::fs;
use std::path::PathBuf;
use streamgauge_core::kserve::ModelInfo;
use streamgauge_core::tensor::Tensor;
use streamgauge_prompt::{InputData, InputOptions};
use tempfile::TempDir;

/// A directory with these files.
pub fn directory(files: &[(&str, &[u8])]) -> TempDir {
    let directory = TempDir::new().unwrap();
    for (name, bytes) in files {
        fs::write(directory.path().join(name), bytes).unwrap();
    }
    directory
}

/// What files with these texts give, or why nothing: their names in it are `0.json` and so on.
pub fn read_with(texts: &[&str], model: &ModelInfo, options: &InputOptions) -> Result<InputData, String> {
    let directory = TempDir::new().unwrap();
    let files: Vec<PathBuf> = (0..texts.len()).map(|i| directory.path().join(format!("{i}.json"))).collect();
    for (file, text) in files.iter().zip(texts) {
        fs::write(file, text).unwrap();
    }
    let place = format!("{}/", directory.path().display());
    InputData::read(&files, model, options).map_err(|error| error.to_string().replace(&place, ""))
}

/// The same without options.
pub fn read(texts: &[&str], model: &ModelInfo) -> Result<InputData, String> {
    read_with(texts, model, &InputOptions::default())
}

/// Inputs of each step of each stream.
pub fn inputs(data: &InputData) -> Vec<Vec<&[Tensor]>> {
    data.streams.iter().map(|steps| steps.iter().map(|step| step.prompt.payload.inputs()).collect()).collect()
}
