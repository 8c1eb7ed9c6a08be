//! The client's records against the server's log, one for one.

use anyhow::Result;
use std::collections::BTreeMap;
use std::io::BufRead;
use streamgauge_core::record::Phase;
use streamgauge_report::RecordReader;
use streamgauge_sim::LogLine;

/// Client and server read the wall clock by anchors of their own.
const CLOCKS_APART: i64 = 1_000_000;

/// The properties of a request that both sides know: prompt tokens as counted by the server, and output events.
type Likeness = (Option<u64>, u64);

/// How many records have no request of their own in the log, or requests no record: a pair has the same number of prompt
/// tokens and of output events, and was sent before it arrived. Among those alike the first sent is paired with the first to
/// arrive, which finds pairs for all if that can be done.
pub fn unlike(mut records: RecordReader<impl BufRead>, log: &[LogLine]) -> Result<u64> {
    let mut alike: BTreeMap<Likeness, (Vec<i64>, Vec<i64>)> = BTreeMap::new();
    let anchor = records.header().anchor_wall_ns;
    let mut unlike = 0;
    for record in &mut records {
        let record = record?;
        if record.phase != Phase::Profiling {
            continue;
        }
        let Some(sent) = record.sent.filter(|_| record.is_ok()) else {
            unlike += 1;
            continue;
        };
        let prompt = record.usage.and_then(|usage| usage.prompt_tokens);
        alike.entry((prompt, record.chunks.len() as u64)).or_default().0.push(anchor + sent.0);
    }
    for line in log {
        let events = line.writes.iter().map(|(_, events)| u64::from(*events)).sum();
        alike.entry((Some(u64::from(line.prompt_tokens)), events)).or_default().1.push(line.recv_ns);
    }
    for (sent, arrived) in alike.values_mut() {
        sent.sort_unstable();
        arrived.sort_unstable();
        unlike += sent.len().abs_diff(arrived.len()) as u64;
        unlike += sent.iter().zip(&*arrived).filter(|(sent, arrived)| **arrived + CLOCKS_APART < **sent).count() as u64;
    }
    Ok(unlike)
}
