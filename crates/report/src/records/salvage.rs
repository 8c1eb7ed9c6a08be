//! Reconstructs the facts of a run from records without an end.

use super::Header;
use std::collections::HashSet;
use streamgauge_core::record::RunFacts;
use streamgauge_core::{EarlyEnd, Nanos, Phase, Record};

/// Gathers from records, in any order, what a run's facts would have said. What no record knows stays out: how busy the
/// load threads were, and which idle connections were replaced.
#[derive(Debug)]
pub struct Salvage {
    anchor_wall: i64,
    kernel_stamps: bool,
    span: Option<(Nanos, Nanos)>,
    /// Slots and the servers that they have sent to.
    pairs: HashSet<(u32, u16)>,
    connections: u64,
}

impl Salvage {
    /// From no records yet of the file that begins so.
    pub fn new(header: &Header) -> Salvage {
        let anchor_wall = header.anchor_wall_ns;
        Salvage { anchor_wall, kernel_stamps: false, span: None, pairs: HashSet::new(), connections: 0 }
    }

    /// Adds one record.
    pub fn add(&mut self, record: &Record) {
        self.kernel_stamps |= record.chunks.iter().any(|chunk| chunk.lag.is_some());
        // A slot opens its first connection to a server before the load; a later connection is part of the request that needed it.
        if record.sent.is_some() && (self.pairs.insert((record.slot, record.target)) | record.connect.is_some()) {
            self.connections += 1;
        }
        if record.phase == Phase::Profiling {
            let (started, ended) = self.span.unwrap_or((record.issued, record.end));
            self.span = Some((started.min(record.issued), ended.max(record.end)));
        }
    }

    /// The facts, as far as they are known.
    pub fn facts(self) -> RunFacts {
        let (started, ended) = self.span.unwrap_or_default();
        RunFacts {
            started,
            ended,
            anchor_wall: self.anchor_wall,
            kernel_stamps: self.kernel_stamps,
            ended_early: Some(EarlyEnd::Killed),
            connections_opened: self.connections,
            ..RunFacts::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{plan, record};
    use streamgauge_core::plan::EndpointKind;
    use streamgauge_core::{Chunk, OutputKind};

    #[test]
    fn records_tell_when_they_were_by_which_clock_and_over_how_many_connections() {
        let header = Header { streamgauge: "0".into(), schema: 1, anchor_wall_ns: 9, plan: plan(EndpointKind::Chat) };
        let chunk = Chunk { at: Nanos(30), lag: Some(Nanos(1)), shared: false, kind: OutputKind::Text };
        let at = |slot, issued, end| Record {
            slot,
            issued: Nanos(issued),
            sent: Some(Nanos(issued)),
            end: Nanos(end),
            ..record()
        };
        let warmup = Record { phase: Phase::Warmup, ..at(0, 1, 5) };
        let reconnected = Record { connect: Some(Nanos(2)), chunks: vec![chunk], ..at(0, 20, 40) };
        let refused = Record { sent: None, ..at(7, 12, 13) };
        let mut salvage = Salvage::new(&header);
        let elsewhere = Record { target: 1, ..at(1, 31, 36) };
        [warmup, reconnected, at(1, 10, 30), at(1, 31, 35), elsewhere, refused]
            .iter()
            .for_each(|record| salvage.add(record));
        let facts = salvage.facts();
        assert_eq!((facts.started, facts.ended, facts.anchor_wall), (Nanos(10), Nanos(40), 9));
        assert!(facts.kernel_stamps && !facts.interrupted && facts.threads.is_empty());
        assert_eq!(facts.connections_opened, 4);
        assert_eq!(facts.ended_early, Some(EarlyEnd::Killed));
        let nothing = Salvage::new(&header).facts();
        assert_eq!((nothing.started, nothing.ended, nothing.kernel_stamps), (Nanos::ZERO, Nanos::ZERO, false));
    }
}
