//! Records and runs to measure.

use streamgauge_core::load::Load;
use streamgauge_core::plan::RunPlan;
use streamgauge_core::record::{RunFacts, ThreadFacts};
use streamgauge_core::{Chunk, Failure, FailureClass, Nanos, Outcome, OutputKind, Record, Stage, Usage};
use streamgauge_stats::{Accumulator, AccumulatorConfig, FidelityRow, Goodput, Summary};

/// A successful record: sent at `sent`, output at `at`, all in nanoseconds. It has one token a chunk by every count.
pub fn answer(seq: u64, sent: i64, at: &[i64]) -> Record {
    let chunk = |&at: &i64| Chunk { at: Nanos(at), lag: Some(Nanos(20_000)), shared: false, kind: OutputKind::Text };
    let last = Nanos(at.last().copied().unwrap_or(sent));
    Record {
        seq,
        issued: Nanos(sent),
        sent: Some(Nanos(sent)),
        chunks: at.iter().map(chunk).collect(),
        end: last,
        status: Some(200),
        usage: Some(Usage { completion_tokens: Some(at.len() as u64), ..Usage::default() }),
        text_tokens: Some(at.len() as u32),
        ..streamgauge_testing::record()
    }
}

/// A stream of `tokens` tokens `gap` ms apart, the first `gap` ms after `sent`.
pub fn stream(seq: u64, sent_ms: i64, gap_ms: i64, tokens: i64) -> Record {
    let at: Vec<i64> = (1..=tokens).map(|index| (sent_ms + index * gap_ms) * 1_000_000).collect();
    answer(seq, sent_ms * 1_000_000, &at)
}

/// A record that failed `after_ms` ms after it was issued.
pub fn failure(seq: u64, after_ms: i64, stage: Stage, class: FailureClass, message: &str) -> Record {
    Record {
        chunks: Vec::new(),
        end: Nanos::from_millis(after_ms),
        usage: None,
        text_tokens: None,
        outcome: Outcome::Failed(Failure { stage, class, message: message.to_owned() }),
        ..answer(seq, 0, &[])
    }
}

/// Limits by key.
pub fn goodput(limits: &[(&str, f64)]) -> Goodput {
    let limits: Vec<(String, f64)> = limits.iter().map(|&(key, limit)| (key.to_owned(), limit)).collect();
    Goodput::parse(&limits).unwrap()
}

/// A streaming run that uses the best count there is.
pub fn config() -> AccumulatorConfig {
    // Each request has a prompt of its own.
    AccumulatorConfig { prompts: u32::MAX, ..AccumulatorConfig::of(&streamgauge_testing::plan()).unwrap() }
}

/// A run on one half-idle thread with kernel stamps.
pub fn facts() -> RunFacts {
    RunFacts {
        kernel_stamps: true,
        threads: vec![ThreadFacts { cpu: Nanos(50), wall: Nanos(100) }],
        ..RunFacts::default()
    }
}

/// The summary of these records in that run.
pub fn summary_of(config: AccumulatorConfig, facts: &RunFacts, records: &[Record]) -> Summary {
    let mut accumulator = Accumulator::new(config);
    records.iter().for_each(|record| accumulator.add(record));
    accumulator.close(facts)
}

/// The summary of these records in an ordinary run.
pub fn summary(records: &[Record]) -> Summary {
    summary_of(config(), &facts(), records)
}

/// The fidelity row of that key.
pub fn row<'a>(summary: &'a Summary, key: &str) -> Option<&'a FidelityRow> {
    summary.fidelity.rows.iter().find(|row| row.key == key)
}

/// A closed loop of streams without limits.
pub fn plan() -> RunPlan {
    let mut plan = streamgauge_testing::plan();
    plan.load.mode = Load::concurrency(2);
    plan
}
