//! Instruction counts of what runs once an event or once a request, under callgrind. Counts do not depend on how busy the
//! machine is, so unlike the other benchmarks these are a check: `.ci/run` holds them against the baseline in
//! `bench/icount/baseline.json`.

mod subjects;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use subjects::{SUBJECTS, Subject};

/// A count may be so much over its baseline. Counts of one binary repeat to a few instructions, but the optimiser may
/// inline otherwise after a change somewhere else in the crate.
const TOLERANCE: f64 = 0.10;
/// Exit code for "cannot be said here", as test runners use it.
const LEFT_OUT: u8 = 77;

/// Instruction counts of the hot paths.
#[derive(Debug, Parser)]
#[command(name = "streamgauge-icount", about)]
struct Args {
    #[command(subcommand)]
    command: What,
    /// The file of stored counts
    #[arg(long, default_value = "bench/icount/baseline.json")]
    baseline: PathBuf,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Count, and fail when a count is over its baseline by more than a tenth; exit code 77 where there is no valgrind, or
    /// no baseline for the toolchain
    Check,
    /// Count, and store the counts as this toolchain's baseline
    Bless,
    /// Run a subject so many times: what valgrind is given
    #[command(hide = true)]
    Run {
        /// The subject's name
        subject: String,
        /// How often; 0 is its preparation alone
        rounds: u64,
    },
}

/// Toolchain -> subject -> instructions per item. A toolchain's counts say nothing about another's.
type Baseline = BTreeMap<String, BTreeMap<String, f64>>;

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    match &args.command {
        What::Check => check(&args),
        What::Bless => bless(&args),
        What::Run { subject, rounds } => {
            let found = SUBJECTS.iter().find(|known| known.name == subject);
            found.with_context(|| format!("`{subject}` is not a subject"))?.run(*rounds)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn check(args: &Args) -> Result<ExitCode> {
    let (toolchain, stored) = (toolchain()?, read(args)?);
    let Some(baseline) = stored.get(&toolchain) else {
        return Ok(left_out(&format!(
            "no baseline for rustc {toolchain}; `streamgauge-icount bless` makes one (bench/README.md)"
        )));
    };
    let mut rows = Vec::new();
    for subject in SUBJECTS {
        let Some(now) = count(subject)? else { return Ok(left_out("valgrind is not installed")) };
        let Some(&before) = baseline.get(subject.name) else {
            bail!("{} has no baseline for this toolchain: bless it (bench/README.md)", subject.name);
        };
        rows.push((subject, now, before, now / before - 1.0));
    }
    println!("instructions per item | now | baseline | change");
    for (subject, now, before, change) in &rows {
        println!("{} per {} | {now:.1} | {before:.1} | {:+.1} %", subject.name, subject.item, change * 100.0);
    }
    let named = |chosen: fn(f64) -> bool| -> Vec<&str> {
        rows.iter().filter(|row| chosen(row.3)).map(|row| row.0.name).collect()
    };
    let (over, under) = (named(|change| change > TOLERANCE), named(|change| change < -TOLERANCE));
    if !under.is_empty() {
        println!("cheaper than the baseline by over a tenth: {}; bless it to keep the gain", under.join(", "));
    }
    if !over.is_empty() {
        println!("over the baseline by more than a tenth: {}", over.join(", "));
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn bless(args: &Args) -> Result<ExitCode> {
    let mut stored = read(args)?;
    let mut counts = BTreeMap::new();
    for subject in SUBJECTS {
        let count = count(subject)?.context("valgrind is not installed")?;
        println!("{} per {}: {count:.1} instructions", subject.name, subject.item);
        counts.insert(subject.name.to_owned(), (count * 10.0).round() / 10.0);
    }
    stored.insert(toolchain()?, counts);
    std::fs::write(&args.baseline, serde_json::to_string_pretty(&stored)? + "\n")?;
    Ok(ExitCode::SUCCESS)
}

fn left_out(why: &str) -> ExitCode {
    println!("left out: {why}");
    ExitCode::from(LEFT_OUT)
}

fn read(args: &Args) -> Result<Baseline> {
    let shown = args.baseline.display();
    let text = std::fs::read_to_string(&args.baseline).with_context(|| format!("{shown}"))?;
    serde_json::from_str(&text).with_context(|| format!("{shown} is not a file of counts"))
}

/// Instructions per item; none where there is no valgrind. What a run of no rounds takes (the program's start and the
/// subject's preparation) is taken off.
fn count(subject: &Subject) -> Result<Option<f64>> {
    let (Some(idle), Some(busy)) = (collected(subject, 0)?, collected(subject, subject.rounds)?) else {
        return Ok(None);
    };
    Ok(Some(busy.saturating_sub(idle) as f64 / (subject.rounds * subject.items) as f64))
}

fn collected(subject: &Subject, rounds: u64) -> Result<Option<u64>> {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--"]).arg(std::env::current_exe()?);
    valgrind.args(["run", subject.name, &rounds.to_string()]);
    let out = match valgrind.output() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        out => out.context("valgrind cannot be run")?,
    };
    let said = str::from_utf8(&out.stderr).context("valgrind said something that is not text")?;
    if !out.status.success() {
        bail!("{} under valgrind ended with {}: {said}", subject.name, out.status);
    }
    // `==123== Collected : 4567`
    let line = said.lines().find_map(|line| line.split_once("Collected :"));
    let number = line.and_then(|(_, number)| number.trim().parse().ok());
    number.map(Some).with_context(|| format!("valgrind gave no count: {said}"))
}

/// The compiler's version, commit and host.
fn toolchain() -> Result<String> {
    let out = Command::new("rustc").arg("-vV").output().context("rustc cannot be run")?;
    let said = str::from_utf8(&out.stdout)?;
    let after = |prefix| said.lines().find_map(|line| line.strip_prefix(prefix));
    let (version, host) = (after("rustc "), after("host: "));
    Ok(format!("{} {}", version.context("rustc gave no version")?, host.context("rustc gave no host")?))
}
