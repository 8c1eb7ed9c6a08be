//! Chooses the requests that the client cancels on purpose. The choice follows from the seed and the number of a request alone, so it does
//! not depend on the number of threads.

use crate::plan::Cancel;
use crate::seed::Seed;
use rand::RngExt;

impl Cancel {
    /// Whether request number `seq` of the measured phase is cancelled.
    pub fn picks(&self, seed: Seed, seq: u64) -> bool {
        let mut chance = seed.stream("cancellations");
        // A draw takes two words.
        chance.set_word_pos(u128::from(seq) * 2);
        chance.random::<f64>() < self.share
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Nanos;

    fn picked(share: f64, seed: u64) -> Vec<bool> {
        let cancel = Cancel { share, delay: Nanos::ZERO };
        (0..10_000).map(|seq| cancel.picks(Seed(seed), seq)).collect()
    }

    #[test]
    fn the_share_is_kept_and_every_request_has_a_draw_of_its_own() {
        assert!(picked(1.0, 3).iter().all(|picked| *picked));
        for share in [0.01, 0.3, 0.9] {
            let all = picked(share, 3);
            let count = all.iter().filter(|picked| **picked).count() as f64;
            // Four standard deviations of a binomial count.
            assert!((count - 1e4 * share).abs() < 4.0 * (1e4 * share * (1.0 - share)).sqrt(), "{count} at {share}");
            // Neighbours know nothing of each other: both are picked as often as chance has it.
            let both = all.windows(2).filter(|pair| pair[0] && pair[1]).count() as f64;
            let expected = 1e4 * share * share;
            assert!((both - expected).abs() < 6.0 * expected.sqrt().max(1.0), "{both} at {share}");
        }
    }

    #[test]
    fn the_seed_decides() {
        assert_eq!(picked(0.5, 1), picked(0.5, 1));
        assert_ne!(picked(0.5, 1), picked(0.5, 2));
        let cancel = Cancel { share: 0.5, delay: Nanos::ZERO };
        // At the far end of what can be numbered too.
        assert_eq!(cancel.picks(Seed(0), u64::MAX), cancel.picks(Seed(0), u64::MAX));
    }
}
