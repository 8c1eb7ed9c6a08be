//! Validates the fidelity verdict. Each case disturbs one thing about a run, compares the client's figures with the true values from
//! the server's log, and fails if figures are wrong or misleading and the fidelity block does not say so.

mod disturbance;

use anyhow::{Context, Result, bail};
use clap::Parser;
use disturbance::{Burners, coalesce};
use std::process::ExitCode;
use std::time::Duration;
use streamgauge_bench::pair::{Pair, Ran};
use streamgauge_bench::truth::Truth;
use streamgauge_stats::Distribution;

/// The fidelity verdict against the truth, with one thing disturbed at a time.
#[derive(Debug, Parser)]
#[command(name = "streamgauge-fidelity", about)]
struct Args {
    /// Cases to run; without any, all. A name that does not exist lists them
    cases: Vec<String>,
    /// The binary to run
    #[arg(long, default_value = "target/release/streamgauge")]
    binary: String,
    /// Processor of the client
    #[arg(long, default_value = "0")]
    client_cpu: u32,
    /// Processor of the server
    #[arg(long, default_value = "1")]
    server_cpu: u32,
}

/// The disturbance of a run, besides its arguments.
#[derive(Clone, Copy)]
enum Disturbance {
    /// Nothing.
    None,
    /// This number of busy loops on the client's processor, at the client's priority.
    Burners(usize),
    /// A proxy that passes answers on at intervals, in writes of at most this many bytes.
    Proxy(usize),
}

/// The expected result of the fidelity block.
enum Duty {
    /// The verdict is `good`, and the figures are right.
    Good,
    /// One of these rows is not good if the figures are wrong.
    IfWrong(&'static [&'static str]),
    /// This row is not good, whatever the figures.
    Always(&'static str),
}

struct Case {
    name: &'static str,
    /// The disturbance.
    what: &'static str,
    disturbance: Disturbance,
    sim: &'static str,
    profile: &'static str,
    duty: Duty,
}

/// How often the proxy comes by.
const HOLD: Duration = Duration::from_millis(100);
/// A proxy's buffer, which takes all that a stream sends meanwhile.
const WHOLE: usize = 1 << 16;
/// What an Ethernet frame carries.
const SEGMENT: usize = 1_448;

const STEADY: &str = "--ttft 50 --itl 20 --itl-growth 0 --jitter 0 --prefill-rate 0 --max-batch 100000";
const FAST: &str = "--ttft 20 --itl 2 --itl-growth 0 --jitter 0 --prefill-rate 0 --max-batch 100000";
const CLOSED: &str = "--concurrency 16 --isl 20 --osl 64 --request-count 320";

/// What a client without enough of its processor does wrong: it reads late, answers late, sends late.
const LATE: &[&str] =
    &["shared_reads", "late_first_tokens", "late_reads_at_p99", "turnaround", "load_thread_cpu", "send_lateness"];

const CASES: &[Case] = &[
    Case {
        name: "control",
        what: "nothing: 16 streams of 20 ms per token",
        disturbance: Disturbance::None,
        sim: STEADY,
        profile: CLOSED,
        duty: Duty::Good,
    },
    Case {
        name: "busy",
        what: "one busy loop shares the client's processor",
        disturbance: Disturbance::Burners(1),
        sim: STEADY,
        profile: CLOSED,
        duty: Duty::IfWrong(LATE),
    },
    Case {
        name: "starved",
        what: "three busy loops share the client's processor; 64 streams of 2 ms per token",
        disturbance: Disturbance::Burners(3),
        sim: FAST,
        profile: "--concurrency 64 --isl 20 --osl 256 --request-count 512",
        duty: Duty::IfWrong(LATE),
    },
    Case {
        name: "starved-rate",
        what: "the same under a schedule: 100 requests a second",
        disturbance: Disturbance::Burners(3),
        sim: FAST,
        profile: "--request-rate 100 --arrival-pattern poisson --isl 20 --osl 256 --request-count 500",
        duty: Duty::IfWrong(LATE),
    },
    Case {
        name: "slow-prompts",
        what: "2,000 prompts of 8,000 tokens to make before the first of 10 requests a second",
        disturbance: Disturbance::None,
        sim: STEADY,
        profile: "--request-rate 10 --isl 8000 --num-dataset-entries 2000 --osl 16 --request-count 100",
        duty: Duty::Good,
    },
    Case {
        name: "proxy",
        what: "a proxy passes on what has come, every 100 ms",
        disturbance: Disturbance::Proxy(WHOLE),
        sim: STEADY,
        profile: CLOSED,
        duty: Duty::Always("events_together"),
    },
    Case {
        name: "proxy-segments",
        what: "the same, cut into writes of 1,448 bytes, each of which may make a read of its own",
        disturbance: Disturbance::Proxy(SEGMENT),
        sim: "--ttft 50 --itl 5 --itl-growth 0 --jitter 0 --prefill-rate 0 --max-batch 100000",
        profile: CLOSED,
        duty: Duty::Always("events_together"),
    },
    Case {
        name: "ignored-length",
        what: "the server takes no notice of the length asked for",
        disturbance: Disturbance::None,
        sim: "--ttft 50 --itl 20 --itl-growth 0 --jitter 0 --prefill-rate 0 --fault ignore-length --output-tokens 32",
        profile: CLOSED,
        duty: Duty::Always("output_length"),
    },
    Case {
        name: "early-stop",
        what: "a fifth of the replies end before the length asked for",
        disturbance: Disturbance::None,
        sim: "--ttft 50 --itl 20 --itl-growth 0 --jitter 0 --prefill-rate 0 --early-stop 0.2",
        profile: CLOSED,
        duty: Duty::Always("output_length"),
    },
    Case {
        name: "several-tokens",
        what: "four tokens an event",
        disturbance: Disturbance::None,
        sim: "--ttft 50 --itl 20 --itl-growth 0 --jitter 0 --prefill-rate 0 --tokens-per-event 4",
        profile: CLOSED,
        duty: Duty::Always("tokens_per_event"),
    },
];

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    if let Some(unknown) = args.cases.iter().find(|name| !CASES.iter().any(|case| case.name == **name)) {
        let names: Vec<_> = CASES.iter().map(|case| case.name).collect();
        bail!("`{unknown}` is not a case: give some of {}", names.join(", "));
    }
    let pair = Pair { binary: args.binary, client_cpu: args.client_cpu, server_cpu: args.server_cpu };
    let mut failed = Vec::new();
    for case in CASES.iter().filter(|case| args.cases.is_empty() || args.cases.iter().any(|name| name == case.name)) {
        if !run(&pair, case).with_context(|| format!("case {}", case.name))? {
            failed.push(case.name);
        }
    }
    if failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    println!("FAILED: {}", failed.join(", "));
    Ok(ExitCode::FAILURE)
}

/// Runs a case and prints it; whether the verdict did its duty.
fn run(pair: &Pair, case: &Case) -> Result<bool> {
    println!("\n## {}: {}", case.name, case.what);
    println!("sim {}\nprofile --streaming {}\n", case.sim, case.profile);
    let ran = match case.disturbance {
        Disturbance::None => pair.run(case.sim, case.profile),
        Disturbance::Burners(count) => {
            let _burning = Burners::light(count, pair.client_cpu as usize)?;
            pair.run(case.sim, case.profile)
        }
        Disturbance::Proxy(most) => {
            pair.run_through(case.sim, case.profile, |url| coalesce(&url, HOLD, most).map(|at| format!("http://{at}")))
        }
    }?;
    let truth = Truth::read(&ran.log, ran.requests())?;
    let wrong = compare(&ran, &truth)?;
    println!("launch to first request {:.3} s", ran.start_up(&truth));
    let verdict = ran.fidelity()["verdict"].as_str().context("the client gave no verdict")?;
    println!("verdict: {verdict}");
    let rows = ran.fidelity()["rows"].as_array().context("the client's verdict has no rows")?;
    for row in rows {
        let text = |key: &str| row[key].as_str().unwrap_or_default();
        println!("  {:8} {}: {}", text("grade"), text("key"), text("value"));
    }
    let is_said = |key: &str| rows.iter().any(|row| row["key"] == key && row["grade"] != "good");
    let says = |keys: &[&str]| keys.iter().any(|key| is_said(key));
    let (kept, duty) = match case.duty {
        Duty::Good => (verdict == "good" && !wrong, "the figures are right and the verdict is good".to_owned()),
        Duty::IfWrong(keys) if wrong => (says(keys), format!("the figures are wrong: one of {}", keys.join(", "))),
        Duty::IfWrong(_) => (true, "none: the figures are right all the same".to_owned()),
        Duty::Always(key) => (says(&[key]), key.to_owned()),
    };
    println!("{}; duty: {duty}", if kept { "kept" } else { "FAILED" });
    Ok(kept)
}

/// Prints what was reported beside what was true; whether any of it is wrong.
fn compare(ran: &Ran, truth: &Truth) -> Result<bool> {
    println!("| ms | reported | true | difference |\n| --- | --- | --- | --- |");
    let mut wrong = false;
    let metrics: [(&str, &Distribution); 3] = [
        ("time_to_first_token", &truth.measured.ttft),
        ("inter_chunk_latency", &truth.measured.gaps),
        ("inter_token_latency", &truth.measured.tokens_apart),
    ];
    for (metric, truth) in metrics {
        for percentile in [50, 99] {
            let (reported, truth) = (ran.reported(metric, percentile)?, truth.percentile(percentile));
            let off = is_wrong(reported, truth);
            wrong |= off;
            let mark = if off { " wrong" } else { "" };
            println!("| {metric} p{percentile} | {reported:.3} | {truth:.3} | {:+.3}{mark} |", reported - truth);
        }
    }
    Ok(wrong)
}

/// Wrong is what is off by more than a hundredth, which is less than runs differ by, and by more than the tenth of a
/// millisecond that this client is built to stay below.
fn is_wrong(reported: f64, truth: f64) -> bool {
    (reported - truth).abs() > (truth * 0.01).max(0.1)
}
