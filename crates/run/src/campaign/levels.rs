//! The strategy of a series: each level several times, one after another.

use crate::campaign::Strategy;
use crate::spec::{Level, Position, RunSpec, Subdirectory};

/// Runs each level the same number of times, whatever the results are.
///
/// Each run has its own prompts, because a server with a prefix cache would answer the same ones faster the next time. The first run has
/// the prompts that it would have alone.
#[derive(Clone, Debug)]
pub struct Levels {
    spec: RunSpec,
    levels: Vec<Level>,
    repeat: u32,
    /// The number of the next run, from 0.
    next: usize,
}

impl Levels {
    /// Each of `levels` is run as `spec` says all the rest, `repeat` times.
    pub fn new(spec: RunSpec, levels: Vec<Level>, repeat: u32) -> Levels {
        Levels { spec, levels, repeat, next: 0 }
    }

    /// The settings of each level.
    pub fn specs(&self) -> impl Iterator<Item = RunSpec> {
        self.levels.iter().map(|level| level.of_spec(&self.spec))
    }

    /// All runs, in their order.
    pub fn runs(&self) -> impl Iterator<Item = RunSpec> {
        (0..self.count()).map(|number| self.run(number))
    }

    /// The number of runs of each level.
    pub fn repeat(&self) -> u32 {
        self.repeat
    }

    /// The number of all runs.
    pub fn count(&self) -> usize {
        self.levels.len().saturating_mul(self.repeat as usize)
    }

    /// Goes on with the next level, whether or not there are runs left of the one that is being run.
    pub fn skip_level(&mut self) {
        self.next = self.next.next_multiple_of(self.repeat.max(1) as usize);
    }

    fn run(&self, number: usize) -> RunSpec {
        let repeat = self.repeat.max(1) as usize;
        let (level, run) = (number / repeat, u32::try_from(number % repeat).unwrap_or(u32::MAX));
        let mut spec = self.levels[level].of_spec(&self.spec);
        spec.position = Position { level, run };
        spec.plan.prompts.seed = spec.plan.prompts.seed.of_run(number as u64);
        spec.subdirectory = Subdirectory { run: (self.repeat > 1).then_some(run + 1), ..spec.subdirectory };
        spec
    }
}

impl<V> Strategy<V> for Levels {
    fn next(&mut self, _last: Option<&V>) -> Option<RunSpec> {
        let number = self.next;
        self.next += 1;
        (number < self.count()).then(|| self.run(number))
    }
}
