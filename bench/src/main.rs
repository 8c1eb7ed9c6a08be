//! Runs the release binary against its own simulated server, each pinned to a processor, and compares the client's
//! report with the true values from the server's log.

mod ledger;
mod still;

use crate::still::Between;
use anyhow::{Result, bail};
use clap::Parser;
use streamgauge_bench::pair::{Pair, Place, Ran};
use streamgauge_bench::truth::Truth;
use streamgauge_core::load::Load;
use streamgauge_core::schedule::Schedule;
use streamgauge_core::seed::Seed;

/// Accuracy and cost of the measurement itself.
#[derive(Debug, Parser)]
#[command(name = "streamgauge-bench", about)]
struct Args {
    /// Cases to run; without any, all: still, accuracy, thousand, ten-thousand, sixty-four-1ms, saturated, saturated-long, tiny, million, start, open-200, open-2000 and these with -poisson, open-streams-1000, open-streams-1500, grpc-saturated, grpc-accuracy, grpc-open, unary-http, unary-grpc
    cases: Vec<String>,
    /// The binary to run
    #[arg(long, default_value = "target/release/streamgauge")]
    binary: String,
    /// Times each case is run
    #[arg(long, default_value = "3")]
    rounds: u32,
    /// Processor of the client
    #[arg(long, default_value = "0")]
    client_cpu: u32,
    /// Processor of the server
    #[arg(long, default_value = "1")]
    server_cpu: u32,
}

/// The name, the server's arguments, the client's arguments, and the function that makes a row from a run.
struct Case {
    name: &'static str,
    columns: &'static str,
    place: Place,
    sim: &'static str,
    profile: &'static str,
    row: fn(&Ran, &Truth) -> Result<String>,
}

/// The one case without a server.
const STILL: &str = "still";

const PACED: &str = "--ttft 50 --itl 10 --itl-growth 0 --jitter 0 --prefill-rate 0";
const THOUSAND: &str = "--ttft 50 --itl 20 --itl-growth 0 --jitter 0 --prefill-rate 0 --max-batch 100000";
const TEN_THOUSAND: &str = "--ttft 50 --itl 200 --itl-growth 0 --jitter 0 --prefill-rate 0 --max-batch 100000";
const MILLISECOND: &str = "--ttft 50 --itl 1 --itl-growth 0 --jitter 0 --prefill-rate 0";
const INSTANT: &str = "--ttft 0 --itl 0 --itl-growth 0 --jitter 0 --prefill-rate 0 --max-batch 100000";

/// Replies of 35 ms: some dozens in flight, and a few events for each request.
const SHORT: &str = "--ttft 20 --itl 5 --itl-growth 0 --jitter 0 --prefill-rate 0 --max-batch 100000";
const OPEN: &str =
    "offered / asked - 1, % | gap CV at the server | of the schedule | sent - due, ms: p50 | p99 | client CPU-s";

const OPEN_STREAMS: &str = "sent - due, ms: p50 | p90 | p99 | max | load thread, % of the processor | reported - true, ms: TTFT p50 | TTFT p99 | ITL p50 | ITL p99 | truth: TTFT p99 | ITL p99 | client CPU-s per million tokens";

const CASES: &[Case] = &[
    Case {
        name: "accuracy",
        columns: "reported - true, ms: TTFT p50 | TTFT p99 | ITL p50 | ITL p99 | truth: TTFT p99 | ITL p99 | client CPU-s per million tokens",
        place: Place::Apart,
        sim: PACED,
        profile: "--concurrency 64 --isl 20 --osl 64 --benchmark-duration 20",
        row: accuracy,
    },
    // All thousand begin at once, twice more after it as their streams end: every reply of the first burst is in the figures.
    Case {
        name: "thousand",
        columns: "reported - true, ms: TTFT p50 | TTFT p99 | ITL p50 | ITL p99 | truth: TTFT p99 | ITL p99 | client CPU-s per million tokens",
        place: Place::Apart,
        sim: THOUSAND,
        profile: "--concurrency 1000 --isl 20 --osl 128 --request-count 3000",
        row: accuracy,
    },
    // Lengths differ, so that a request can be told from the others by what both sides know of it.
    Case {
        name: "ten-thousand",
        columns: "requests not answered | records unlike the log | reported - true, ms: TTFT p50 | TTFT p99 | ITL p50 | ITL p99 | truth: TTFT p99 | ITL p99 | client CPU-s per million tokens | peak MB",
        place: Place::Together,
        sim: TEN_THOUSAND,
        profile: "--concurrency 10000 --isl 20 --isl-stddev 5 --osl 32 --osl-stddev 8 --request-count 20000",
        row: ten_thousand,
    },
    // Tokens come faster than a client on one processor looks up.
    Case {
        name: "sixty-four-1ms",
        columns: "reported - true, ms: TTFT p50 | TTFT p99 | ITL p50 | ITL p99 | truth: TTFT p99 | ITL p99 | client CPU-s per million tokens | verdict",
        place: Place::Apart,
        sim: MILLISECOND,
        profile: "--concurrency 64 --isl 20 --osl 256 --benchmark-duration 20",
        row: judged,
    },
    Case {
        name: "saturated",
        columns: "client CPU-s per million tokens | tokens/s | peak MB",
        place: Place::Apart,
        sim: INSTANT,
        profile: "--concurrency 32 --isl 20 --osl 256 --request-count 8192",
        row: saturated,
    },
    Case {
        name: "saturated-long",
        columns: "client CPU-s per million tokens | tokens/s | peak MB",
        place: Place::Apart,
        sim: INSTANT,
        profile: "--concurrency 32 --isl 20 --osl 256 --request-count 65536",
        row: saturated,
    },
    Case {
        name: "tiny",
        columns: "requests/s | last reply to exit, s | client CPU-s | peak MB",
        place: Place::Apart,
        sim: INSTANT,
        profile: "--concurrency 32 --isl 20 --osl 2 --request-count 20000",
        row: tiny,
    },
    Case {
        name: "million",
        columns: "requests/s | last reply to exit, s | client CPU-s | peak MB",
        place: Place::Apart,
        sim: INSTANT,
        profile: "--concurrency 32 --isl 20 --osl 2 --request-count 1000000",
        row: tiny,
    },
    Case {
        name: "start",
        columns: "launch to first request (the probe), s | last reply to exit, s | peak MB",
        place: Place::Apart,
        sim: INSTANT,
        profile: "--request-count 10",
        row: start,
    },
    Case {
        name: "open-200",
        columns: OPEN,
        place: Place::Apart,
        sim: SHORT,
        profile: "--request-rate 200 --arrival-pattern constant --isl 20 --osl 4 --request-count 2000",
        row: open,
    },
    Case {
        name: "open-200-poisson",
        columns: OPEN,
        place: Place::Apart,
        sim: SHORT,
        profile: "--request-rate 200 --arrival-pattern poisson --isl 20 --osl 4 --request-count 2000",
        row: open,
    },
    Case {
        name: "open-2000",
        columns: OPEN,
        place: Place::Apart,
        sim: SHORT,
        profile: "--request-rate 2000 --arrival-pattern constant --isl 20 --osl 4 --request-count 20000",
        row: open,
    },
    Case {
        name: "open-2000-poisson",
        columns: OPEN,
        place: Place::Apart,
        sim: SHORT,
        profile: "--request-rate 2000 --arrival-pattern poisson --isl 20 --osl 4 --request-count 20000",
        row: open,
    },
    // Longer replies: a hundred and some streams in flight, whose events fill the larger part of a processor's time.
    Case {
        name: "open-streams-1000",
        columns: OPEN_STREAMS,
        place: Place::Apart,
        sim: SHORT,
        profile: "--request-rate 1000 --arrival-pattern constant --isl 20 --osl 32 --request-count 10000",
        row: open_streams,
    },
    Case {
        name: "open-streams-1500",
        columns: OPEN_STREAMS,
        place: Place::Apart,
        sim: SHORT,
        profile: "--request-rate 1500 --arrival-pattern constant --isl 20 --osl 32 --request-count 15000",
        row: open_streams,
    },
    // Responses of a decoupled model over gRPC, as fast as they go.
    Case {
        name: "grpc-saturated",
        columns: "client CPU-s per million responses | responses/s | peak memory, MB",
        place: Place::Apart,
        sim: INSTANT,
        profile: "--service-kind triton -m ensemble --concurrency 32 --isl 20 --osl 256 --request-count 16384",
        row: saturated,
    },
    Case {
        name: "grpc-accuracy",
        columns: "reported - true, ms: TTFT p50 | TTFT p99 | ITL p50 | ITL p99 | truth: TTFT p99 | ITL p99 | client CPU-s per million responses | lag p99, ms",
        place: Place::Apart,
        sim: PACED,
        profile: "--service-kind triton -m ensemble --concurrency 64 --isl 20 --osl 64 --benchmark-duration 20",
        row: grpc_accuracy,
    },
    Case {
        name: "grpc-open",
        columns: OPEN,
        place: Place::Apart,
        sim: SHORT,
        profile: "--service-kind triton -m ensemble --request-rate 200 --arrival-pattern constant --isl 20 --osl 4 --request-count 2000",
        row: open,
    },
];

/// Plain inference calls, by protocol: the client's cost of each.
const UNARY: [(&str, &str); 2] = [("unary-http", "http"), ("unary-grpc", "grpc")];
/// The number of calls per round.
const UNARY_CALLS: u32 = 100_000;

fn main() -> Result<()> {
    let args = Args::parse();
    let known = |name: &str| {
        name == STILL || CASES.iter().any(|case| case.name == name) || UNARY.iter().any(|(unary, _)| *unary == name)
    };
    if let Some(unknown) = args.cases.iter().find(|name| !known(name)) {
        let names: Vec<_> =
            [STILL].into_iter().chain(CASES.iter().map(|case| case.name)).chain(UNARY.map(|(name, _)| name)).collect();
        bail!("`{unknown}` is not a case: give some of {}", names.join(", "));
    }
    if args.cases.is_empty() || args.cases.iter().any(|name| name == STILL) {
        println!("{STILL} (2,000 dues a second on the client's processor, nothing else): gap CV | late, ms: p99 | max");
        for (between, name) in [(Between::Looks, "looks"), (Between::Sleeps, "sleeps")] {
            for _ in 0..args.rounds {
                println!("| {name} | {} |", still::row(args.client_cpu, between)?);
            }
        }
    }
    let pair = Pair { binary: args.binary, client_cpu: args.client_cpu, server_cpu: args.server_cpu };
    for case in CASES.iter().filter(|case| args.cases.is_empty() || args.cases.iter().any(|name| name == case.name)) {
        println!("{} ({}): {}", case.name, case.profile, case.columns);
        for _ in 0..args.rounds {
            let ran = pair.run_at(case.place, case.sim, case.profile)?;
            let truth = Truth::read(&ran.log, ran.requests())?;
            println!("| {} |", (case.row)(&ran, &truth)?);
        }
    }
    for (name, protocol) in
        UNARY.iter().filter(|(name, _)| args.cases.is_empty() || args.cases.iter().any(|case| case == name))
    {
        let calls = UNARY_CALLS.to_string();
        let words = ["-m", "add_sub", "-i", protocol, "--concurrency-range", "16", "--request-count", &calls];
        println!("{name} (perf-analyzer {}): client CPU-us a call", words.join(" "));
        for _ in 0..args.rounds {
            println!("| {:.1} |", pair.cpu_of_perf_analyzer(INSTANT, &words)? / f64::from(UNARY_CALLS) * 1e6);
        }
    }
    Ok(())
}

fn accuracy(ran: &Ran, truth: &Truth) -> Result<String> {
    let difference = |metric: &str, percentile: u8, truth: f64| -> Result<String> {
        Ok(format!("{:+.3}", ran.reported(metric, percentile)? - truth))
    };
    let (ttft, itl) = (&truth.measured.ttft, &truth.measured.gaps);
    Ok([
        difference("time_to_first_token", 50, ttft.percentile(50))?,
        difference("time_to_first_token", 99, ttft.percentile(99))?,
        difference("inter_chunk_latency", 50, itl.percentile(50))?,
        difference("inter_chunk_latency", 99, itl.percentile(99))?,
        format!("{:.3}", ttft.percentile(99)),
        format!("{:.3}", itl.percentile(99)),
        per_million(ran, truth),
    ]
    .join(" | "))
}

fn grpc_accuracy(ran: &Ran, truth: &Truth) -> Result<String> {
    Ok(format!("{} | {:.3}", accuracy(ran, truth)?, ran.reported("client_lag", 99)?))
}

/// No stream may be lost, and the client's records must match the server's log.
fn ten_thousand(ran: &Ran, truth: &Truth) -> Result<String> {
    let unanswered = ran.asked()?.saturating_sub(ran.requests());
    let unlike = ledger::unlike(ran.records()?, &truth.requests)?;
    Ok(format!("{unanswered} | {unlike} | {} | {:.0}", accuracy(ran, truth)?, ran.peak_mb))
}

/// Figures that may be wrong as long as the verdict says so.
fn judged(ran: &Ran, truth: &Truth) -> Result<String> {
    Ok(format!("{} | {}", accuracy(ran, truth)?, ran.verdict()))
}

fn saturated(ran: &Ran, truth: &Truth) -> Result<String> {
    let rate = ran.average("output_token_throughput")?;
    Ok(format!("{} | {rate:.0} | {:.0}", per_million(ran, truth), ran.peak_mb))
}

fn tiny(ran: &Ran, truth: &Truth) -> Result<String> {
    let rate = ran.average("request_throughput")?;
    Ok(format!("{rate:.0} | {:.3} | {:.2} | {:.0}", ran.wind_up(truth), ran.cpu, ran.peak_mb))
}

fn start(ran: &Ran, truth: &Truth) -> Result<String> {
    Ok(format!("{:.3} | {:.3} | {:.0}", ran.start_up(truth), ran.wind_up(truth), ran.peak_mb))
}

/// Compares the arrivals at the server with the schedule that the client followed, whose few thousand gaps are random themselves.
fn open(ran: &Ran, truth: &Truth) -> Result<String> {
    let Load::Open { arrivals, .. } = ran.load()? else { bail!("the client did not keep to a rate") };
    let schedule = Schedule::new(&arrivals, Seed(0), "arrivals").take(truth.measured.arrivals.len());
    let planned = Gaps::of(&schedule.map(|due| due.at.0).collect::<Vec<_>>());
    let offered = Gaps::of(&truth.measured.arrivals);
    let late = |percentile| ran.reported("send_lateness", percentile);
    Ok(format!(
        "{:+.3} | {:.3} | {:.3} | {:.3} | {:.3} | {:.2}",
        100.0 * (planned.mean / offered.mean - 1.0),
        offered.variation,
        planned.variation,
        late(50)?,
        late(99)?,
        ran.cpu
    ))
}

/// How late requests are sent while many streams have events, and how accurate the figures of those streams are.
fn open_streams(ran: &Ran, truth: &Truth) -> Result<String> {
    let late = |percentile| ran.reported("send_lateness", percentile);
    let (most, busy) = (ran.most("send_lateness")?, ran.fidelity_number("load_thread_cpu")?);
    let lateness = format!("{:.3} | {:.3} | {:.3} | {most:.3}", late(50)?, late(90)?, late(99)?);
    Ok(format!("{lateness} | {busy:.0} | {}", accuracy(ran, truth)?))
}

/// Mean and coefficient of variation of the gaps between instants.
struct Gaps {
    mean: f64,
    variation: f64,
}

impl Gaps {
    fn of(instants: &[i64]) -> Gaps {
        let gaps: Vec<f64> = instants.windows(2).map(|two| (two[1] - two[0]) as f64).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        Gaps { mean, variation: variance.sqrt() / mean }
    }
}

fn per_million(ran: &Ran, truth: &Truth) -> String {
    format!("{:.2}", ran.cpu / (truth.measured.tokens as f64 / 1e6))
}
