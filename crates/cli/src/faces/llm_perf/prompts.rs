//! The file of prompts: a JSON object on each line, whose member `input` is the prompt. Other members, such as `output`, are not
//! used, and empty lines are passed over.

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// The texts of the prompts in `file`, in their order; at least one.
///
/// # Errors
/// When the file cannot be read or has no prompt, or a line is not as it must be; the message names the file and the line.
pub fn read(file: &Path) -> Result<Vec<String>> {
    let shown = file.display();
    let lines = File::open(file).with_context(|| format!("--input-data {shown}: cannot read the file"))?;
    let mut prompts = Vec::new();
    for (line, number) in BufReader::new(lines).lines().zip(1..) {
        let line = line.with_context(|| format!("--input-data {shown}: cannot read line {number}"))?;
        if !line.trim().is_empty() {
            prompts.push(prompt(&line).map_err(|error| anyhow!("--input-data {shown}: line {number}: {error}"))?);
        }
    }
    if prompts.is_empty() {
        bail!(
            "--input-data {shown}: there is no prompt in it; give a JSON object with the member `input` on each line"
        );
    }
    Ok(prompts)
}

fn prompt(line: &str) -> Result<String> {
    let object: Value = serde_json::from_str(line).context("this is not JSON")?;
    match object.get("input") {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => bail!("the member `input` is not a text"),
        None => bail!("there is no member `input`, which is the prompt"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Vec<String>, String> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("prompts.jsonl");
        std::fs::write(&file, text).unwrap();
        read(&file).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn each_line_is_a_prompt() {
        let text = "{\"input\": \"prompt 1...\", \"output\": \"...\"}\n\n{\"input\":\"zwei\"}";
        assert_eq!(read_text(text), Ok(vec!["prompt 1...".to_owned(), "zwei".to_owned()]));
    }

    #[test]
    fn what_is_no_prompt_is_refused_by_its_line() {
        for (text, expected) in [
            ("{\"input\":\"a\"}\n{\"output\":\"b\"}", "line 2: there is no member `input`"),
            ("{\"input\":3}", "line 1: the member `input` is not a text"),
            ("[\"a\"]", "line 1: there is no member `input`"),
            ("prompt", "line 1: this is not JSON"),
            ("\n", "there is no prompt in it"),
        ] {
            let error = read_text(text).unwrap_err();
            assert!(error.starts_with("--input-data ") && error.contains(expected), "{text}: {error}");
        }
    }
}
