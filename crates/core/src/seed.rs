//! Chance, from one seed. Each use draws from a stream of its own, named after the use, so that adding one use never
//! changes what another draws.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

/// A stream of random numbers.
pub type RandomStream = ChaCha8Rng;

/// The seed of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seed(pub u64);

impl Seed {
    /// The random stream called `name`: the same for the same seed and name, on every machine and in every version.
    pub fn stream(self, name: &str) -> RandomStream {
        let mut rng = ChaCha8Rng::seed_from_u64(self.0);
        rng.set_stream(fnv1a(name));
        rng
    }

    /// The seed of run number `run` of a series, counted from 0. The first run has the series' own seed, so it is the run that would be
    /// made alone. Each other run has a seed drawn from it, with which the same run can be repeated. Seeds have 53 bits, which every
    /// reader of JSON keeps exactly.
    pub fn of_run(self, run: u64) -> Seed {
        if run == 0 { self } else { Seed(self.stream(&format!("run {run}")).next_u64() >> 11) }
    }
}

/// FNV-1a, 64 bit: names to stream numbers. Stable by definition, which the standard hasher is not.
fn fnv1a(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn streams_are_stable_and_apart() {
        let draw = |seed, name| Seed(seed).stream(name).next_u64();
        assert_eq!(draw(1, "prompts"), draw(1, "prompts"));
        assert_ne!(draw(1, "prompts"), draw(1, "lengths"));
        assert_ne!(draw(1, "prompts"), draw(2, "prompts"));
    }

    #[test]
    fn runs_of_a_series_have_seeds_of_their_own() {
        let seeds: BTreeSet<u64> =
            [0, 1].iter().flat_map(|seed| (0..500).map(|run| Seed(*seed).of_run(run).0)).collect();
        assert_eq!(seeds.len(), 1_000);
        assert!(seeds.iter().all(|seed| *seed < 1 << 53));
        assert_eq!((Seed(7).of_run(0), Seed(7).of_run(3)), (Seed(7), Seed(7).of_run(3)));
    }
}
