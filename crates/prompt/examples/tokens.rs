//! What a file of a tokenizer comes to, for scripts and for figures.
//!
//!     tokens ids FILE                reads texts from stdin, as a JSON array of strings, and writes the token ids of each
//!     tokens time FILE TEXT          how long loading and counting take, beside the embedded vocabulary in the same run

use std::error::Error;
use std::io::{Read, Write};
use std::path::Path;
use streamgauge_core::clock::{Clock, SystemClock};
use streamgauge_prompt::Tokenizer;

/// Bytes of one text that is counted, about as many as an answer has.
const TEXT: usize = 1_000;
/// Each measurement is made so often, and the shortest counts.
const ROUNDS: usize = 7;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut out = std::io::stdout().lock();
    match args[..] {
        ["ids", file] => {
            let mut texts = String::new();
            std::io::stdin().read_to_string(&mut texts)?;
            let texts: Vec<String> = serde_json::from_str(&texts)?;
            let tokenizer = Tokenizer::from_file(Path::new(file))?;
            let ids: Vec<Vec<u32>> = texts.iter().map(|text| tokenizer.encode(text)).collect();
            serde_json::to_writer(out, &ids)?;
        }
        ["time", file, text] => {
            let clock = SystemClock::start();
            let text = std::fs::read_to_string(text)?;
            let embedded = per_token(&Tokenizer::embedded(), &text, &clock);
            let begun = clock.now();
            let tokenizer = Tokenizer::from_file(Path::new(file))?;
            let loaded = clock.now() - begun;
            let counted = per_token(&tokenizer, &text, &clock);
            let ratio = counted / embedded;
            writeln!(
                out,
                "loaded in {:.3} s; counting takes {counted:.0} ns a token, {ratio:.2} times as long as with the embedded vocabulary",
                loaded.as_secs_f64()
            )?;
        }
        _ => return Err("usage: tokens ids FILE | tokens time FILE TEXT".into()),
    }
    Ok(())
}

/// Nanoseconds that a token takes to count, in texts of about a kilobyte.
fn per_token(tokenizer: &Tokenizer, text: &str, clock: &SystemClock) -> f64 {
    let mut texts = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let cut = (TEXT.min(rest.len())..=rest.len()).find(|cut| rest.is_char_boundary(*cut)).unwrap_or(rest.len());
        let (first, more) = rest.split_at(cut);
        texts.push(first);
        rest = more;
    }
    let round = || {
        let begun = clock.now();
        let tokens: u64 = texts.iter().map(|text| u64::from(tokenizer.count(text))).sum();
        (clock.now() - begun).as_secs_f64() * 1e9 / tokens.max(1) as f64
    };
    (0..ROUNDS).map(|_| round()).fold(f64::INFINITY, f64::min)
}
