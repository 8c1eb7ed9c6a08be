//! Chance, from one seed. Each use draws from a stream of its own, named after the use, so that adding one use never
//! changes what another draws.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::{Deserialize, Serialize};

/// The seed of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seed(pub u64);

impl Seed {
    /// The random stream called `name`: the same for the same seed and name, on every machine and in every version.
    pub fn stream(self, name: &str) -> ChaCha8Rng {
        let mut rng = ChaCha8Rng::seed_from_u64(self.0);
        rng.set_stream(fnv1a(name));
        rng
    }
}

/// FNV-1a, 64 bit: names to stream numbers. Stable by definition, which the standard hasher is not.
fn fnv1a(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::rand_core::Rng;

    #[test]
    fn streams_are_stable_and_apart() {
        let draw = |seed, name| Seed(seed).stream(name).next_u64();
        assert_eq!(draw(1, "prompts"), draw(1, "prompts"));
        assert_ne!(draw(1, "prompts"), draw(1, "lengths"));
        assert_ne!(draw(1, "prompts"), draw(2, "prompts"));
    }
}
