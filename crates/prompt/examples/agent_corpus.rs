//! How long a corpus of recorded sessions of agents takes to be read and made into prompts, and how much memory that takes:
//! `cargo run --release -p streamgauge-prompt --example agent_corpus -- 400 1000000 20`, for so many sessions of so many tokens and requests.

#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a program of its own that measures and prints")]

use std::error::Error;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Instant;
use streamgauge_core::plan::{ModelSelection, PromptPlan};
use streamgauge_prompt::{Completer, SourceOptions, Tokenizer, sources};

/// Tokens of a block.
const BLOCK: u64 = 64;

fn main() -> Result<(), Box<dyn Error>> {
    let mut numbers = std::env::args().skip(1).map(|number| number.parse::<u64>());
    let mut next = |usual| numbers.next().unwrap_or(Ok(usual));
    let (sessions, tokens, requests) = (next(400)?, next(1_000_000)?, next(20)?.max(1));
    let file = std::env::temp_dir().join(format!("agent_corpus_{}.jsonl", std::process::id()));
    write(&file, sessions, tokens, requests)?;
    let read = read(&file);
    let bytes = fs::metadata(&file)?.len();
    fs::remove_file(&file)?;
    let (prompts, made, seconds) = read?;
    println!(
        "{sessions} sessions, {} MB of JSON: {prompts} prompts of {made} new tokens in {seconds:.2} s",
        bytes / 1_000_000
    );
    if let Ok(status) = fs::read_to_string("/proc/self/status") {
        status.lines().filter(|line| line.starts_with("VmHWM")).for_each(|line| println!("{line}"));
    }
    Ok(())
}

/// Writes sessions whose contexts grow evenly to so many tokens.
fn write(file: &Path, sessions: u64, tokens: u64, requests: u64) -> std::io::Result<()> {
    let mut out = BufWriter::new(File::create(file)?);
    for session in 0..sessions {
        write!(out, r#"{{"id":"s{session}","block_size":{BLOCK},"hash_id_scope":"local","requests":["#)?;
        for request in 1..=requests {
            let input = (tokens * request / requests).max(1);
            let comma = if request == 1 { "" } else { "," };
            let start = request * 10;
            write!(out, r#"{comma}{{"t":{start},"type":"n","in":{input},"out":300,"api_time":6.5,"hash_ids":["#)?;
            for block in 0..input / BLOCK {
                let comma = if block == 0 { "" } else { "," };
                write!(out, "{comma}{block}")?;
            }
            out.write_all(b"]}")?;
        }
        out.write_all(b"]}\n")?;
    }
    out.flush()
}

/// Makes the prompts of a corpus, and returns their number, their tokens and the seconds that it took.
fn read(file: &Path) -> Result<(usize, u64, f64), Box<dyn Error>> {
    let start = Instant::now();
    let plan = serde_json::json!({
        "count": 1, "input": {"mean": 1.0, "stddev": 0.0}, "output": null, "output_exact": false, "batch": 1, "prefixes": 0,
        "prefix_tokens": 0, "seed": 0, "tokenizer": "", "tokenizer_revision": "",
    });
    let plan: PromptPlan = serde_json::from_value(plan)?;
    let models = ["model".to_owned()];
    let mut completer = Completer::new(&plan, &models, ModelSelection::RoundRobin, &Tokenizer::embedded())?;
    let mut source = sources::open(file, &SourceOptions::default())?;
    let (mut prompts, mut tokens) = (0, 0);
    while let Some(conversation) = source.next_conversation()? {
        let made = completer.complete(&conversation)?;
        prompts += made.len();
        tokens += made.iter().map(|prompt| u64::from(prompt.tokens)).sum::<u64>();
    }
    Ok((prompts, tokens, start.elapsed().as_secs_f64()))
}
