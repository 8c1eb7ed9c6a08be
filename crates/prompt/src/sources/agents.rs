//! How the recorded work of agents is replayed, whatever format it is recorded in.

use streamgauge_core::Nanos;
use streamgauge_core::seed::Seed;

/// The rules of a replay. Without other choices they are those of InferenceX AgentX: waits go from the end of an answer to the next request and
/// are at most 10 s, and the conversations with which the load begins start at a random point, as a server meets them that is in use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AgentRules {
    /// The longest wait between an answer and the next request. Recorded waits that are longer are cut to it.
    pub longest_wait: Nanos,
    /// The part of its recorded time that a conversation of the load's beginning has behind it, at least.
    pub start_from: f64,
    /// The same, at most.
    pub start_to: f64,
    /// With how many conversations the load begins. Later ones start at their beginning.
    pub under_way: u64,
    /// The seed of the random points.
    pub seed: Seed,
    /// Whether the user chose any of the rules. A file that they do not apply to is then refused.
    pub is_chosen: bool,
}

impl Default for AgentRules {
    fn default() -> AgentRules {
        AgentRules {
            longest_wait: Nanos::from_millis(10_000),
            start_from: 0.0,
            start_to: 1.0,
            under_way: 0,
            seed: Seed::default(),
            is_chosen: false,
        }
    }
}

impl AgentRules {
    /// The part of its recorded time after which conversation number `number` starts; `None` where it starts at its beginning.
    pub(super) fn start_of(&self, number: u64) -> Option<f64> {
        if number >= self.under_way || self.start_to <= 0.0 {
            return None;
        }
        let mut chance = self.seed.stream("trajectory starts");
        chance.set_stream(chance.get_stream() ^ number);
        // The 53 bits of a double's fraction.
        let point = (rand::Rng::next_u64(&mut chance) >> 11) as f64 / (1_u64 << 53) as f64;
        Some(self.start_from + point * (self.start_to - self.start_from).max(0.0))
    }

    /// A recorded wait in seconds as it is waited, and whether it was cut.
    pub(super) fn wait(&self, seconds: f64) -> (Nanos, bool) {
        let longest = self.longest_wait.as_secs_f64();
        match seconds > longest {
            true => (self.longest_wait, true),
            false => (Nanos::from_secs_f64(seconds.max(0.0)), false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_conversations_start_at_random_points_that_the_seed_repeats() {
        let rules = AgentRules { under_way: 100, start_from: 0.25, start_to: 0.75, ..AgentRules::default() };
        let points: Vec<f64> = (0..100).filter_map(|number| rules.start_of(number)).collect();
        assert_eq!(points.len(), 100);
        assert!(points.iter().all(|point| (0.25..0.75).contains(point)), "{points:?}");
        let mean = points.iter().sum::<f64>() / 100.0;
        assert!((0.4..0.6).contains(&mean) && points[0] != points[1], "{mean}");
        assert_eq!((rules.start_of(3), rules.start_of(100)), (Some(points[3]), None));
        assert_ne!(AgentRules { seed: Seed(1), ..rules }.start_of(3), Some(points[3]));
        assert_eq!(AgentRules { start_to: 0.0, ..rules }.start_of(3), None);
    }

    #[test]
    fn long_waits_are_cut() {
        let rules = AgentRules::default();
        assert_eq!(rules.wait(12.0), (Nanos::from_millis(10_000), true));
        assert_eq!(rules.wait(1.5), (Nanos::from_millis(1_500), false));
        assert_eq!(rules.wait(-3.0), (Nanos::ZERO, false));
    }
}
