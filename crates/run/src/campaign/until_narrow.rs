//! The strategy that repeats each level until its runs agree well enough.

use crate::campaign::{Levels, Strategy};
use crate::spec::RunSpec;
use crate::stored::StoredRun;
use streamgauge_core::load::Load;
use streamgauge_stats::{Figure, spread};

/// Runs each level until the 95 % interval of the mean of a figure over its runs (Student's t, see [`spread`]) is narrow enough, at most
/// as often as the levels are repeated.
///
/// The runs of a level are independent, so their interval also covers what differs from run to run. Ending at the first narrow interval
/// is optimistic, as with every rule that looks at the data. [`UntilNarrow::FEWEST`] runs are made before the first look.
#[derive(Clone, Debug)]
pub struct UntilNarrow {
    levels: Levels,
    figure: Figure,
    within: f64,
    /// The figure in each run of the level that is being run.
    values: Vec<f64>,
    load: Option<Load>,
}

impl UntilNarrow {
    /// The fewest runs of a level. The width of an interval from two runs depends mostly on chance.
    pub const FEWEST: u32 = 3;

    /// Repeats each of `levels` until the interval of `figure` is within the share `within` of its mean, to each side.
    pub fn new(levels: Levels, figure: Figure, within: f64) -> UntilNarrow {
        UntilNarrow { levels, figure, within, values: Vec::new(), load: None }
    }

    /// Adds a run of the level. Returns whether the level has been run often enough.
    fn add(&mut self, load: &Load, value: Option<f64>) -> bool {
        if self.load.as_ref() != Some(load) {
            self.load = Some(load.clone());
            self.values.clear();
        }
        self.values.extend(value);
        if self.values.len() < Self::FEWEST as usize {
            return false;
        }
        let Some(spread) = spread(&self.values) else { return false };
        spread.interval.is_some_and(|interval| interval.reach(spread.mean) <= self.within * spread.mean.abs())
    }
}

impl Strategy for UntilNarrow {
    fn next(&mut self, last: Option<&StoredRun>) -> Option<RunSpec> {
        if let Some(run) = last
            && self.add(&run.plan.load.mode, self.figure.of(&run.summary))
        {
            self.levels.skip_level();
        }
        Strategy::<StoredRun>::next(&mut self.levels, last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::campaign::tests::{level, spec};
    use std::path::Path;
    use streamgauge_stats::{Metric, Statistic};

    /// The number of runs of each of two levels whose runs have these values.
    fn runs(within: f64, values: [&[f64]; 2], most: u32) -> [usize; 2] {
        let levels = Levels::new(spec(Path::new("d")), vec![level(1), level(2)], most);
        let figure = Figure { metric: Metric::RequestLatency, statistic: Statistic::Avg };
        let mut strategy = UntilNarrow::new(levels, figure, within);
        let mut made = [0, 0];
        let mut next = Strategy::<()>::next(&mut strategy.levels, None);
        while let Some(spec) = next {
            let position = spec.position;
            assert_eq!(position.run as usize, made[position.level], "runs of a level are counted from 0");
            made[position.level] += 1;
            if strategy.add(&spec.plan.load.mode, values[position.level].get(position.run as usize).copied()) {
                strategy.levels.skip_level();
            }
            next = Strategy::<()>::next(&mut strategy.levels, None);
        }
        made
    }

    #[test]
    fn a_level_is_repeated_until_its_interval_is_narrow() {
        // Three runs with a standard deviation of 1 have an interval of ± 4.303 / sqrt(3) = 2.48 around 100.
        let (even, uneven): (&[f64], &[f64]) = (&[99.0, 100.0, 101.0], &[80.0, 100.0, 120.0, 100.0, 100.0, 100.0]);
        assert_eq!(runs(0.025, [even, even], 6), [3, 3]);
        assert_eq!(runs(0.024, [even, even], 3), [3, 3], "the cap ends a level that is never narrow");
        assert_eq!(runs(0.025, [uneven, even], 6), [6, 3], "each level has runs of its own");
        // After four runs: a standard deviation of 16.33 and ± 3.182 / 2 of it.
        assert_eq!(runs(0.26, [uneven, even], 6), [4, 3]);
    }

    #[test]
    fn runs_without_the_figure_count_for_the_cap_only() {
        assert_eq!(runs(0.5, [&[], &[1.0]], 5), [5, 5]);
    }

    #[test]
    fn two_equal_runs_are_too_few() {
        assert_eq!(runs(0.01, [&[5.0; 9], &[5.0; 9]], 9), [3, 3]);
    }
}
