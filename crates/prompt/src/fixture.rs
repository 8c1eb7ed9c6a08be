//! The tokenizers that tests read.

use crate::tokenizer::Tokenizer;
use std::path::{Path, PathBuf};

pub fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

pub fn tokenizer(name: &str) -> Tokenizer {
    Tokenizer::from_file(&path(name)).unwrap()
}

/// A tokenizer written out for one test.
pub fn made(json: &serde_json::Value) -> Tokenizer {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokenizer.json");
    std::fs::write(&path, json.to_string()).unwrap();
    Tokenizer::from_file(&path).unwrap()
}
