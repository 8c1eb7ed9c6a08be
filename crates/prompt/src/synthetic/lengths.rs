//! Lengths in tokens that are drawn at random.

use super::error::SynthesisError;
use crate::limits::LONGEST;
use rand::{Rng, RngExt};
use rand_distr::{Distribution, Normal};
use streamgauge_core::plan::Length;
use streamgauge_core::setting::Setting;
use streamgauge_core::synthesis::{LengthPair, LengthRange};

/// A distribution of lengths that has been found sensible.
#[derive(Clone, Copy)]
pub(super) enum Lengths {
    /// A normal distribution, cut to whole numbers.
    Normal(Normal<f64>),
    /// Whole numbers that are equally likely.
    Range(LengthRange),
}

impl Lengths {
    /// Checks a distribution that `setting` sets.
    pub(super) fn of(setting: Setting, length: Length) -> Result<Lengths, SynthesisError> {
        let sensible = 0.0..=f64::from(LONGEST);
        match Normal::new(length.mean, length.stddev) {
            Ok(normal) if sensible.contains(&length.mean) && sensible.contains(&length.stddev) => {
                Ok(Lengths::Normal(normal))
            }
            _ => Err(SynthesisError::Length { setting, length }),
        }
    }

    /// A whole number of tokens, at least 1. What a normal distribution gives is cut towards zero, as the replaced tools do it.
    pub(super) fn draw(&self, rng: &mut impl Rng) -> u32 {
        let drawn = match self {
            Lengths::Normal(normal) => normal.sample(rng) as u32,
            Lengths::Range(LengthRange { least, most }) => rng.random_range(*least..=*most.max(least)),
        };
        drawn.clamp(1, LONGEST)
    }
}

/// Pairs of an input and an output length, of which one is drawn for each request.
pub(super) struct Pairs(Vec<Pair>);

struct Pair {
    /// The sum of the shares of this pair and those before it.
    up_to: f64,
    lengths: (Lengths, Lengths),
}

impl Pairs {
    /// Checks the pairs that `setting` sets.
    pub(super) fn of(setting: Setting, pairs: &[LengthPair]) -> Result<Pairs, SynthesisError> {
        let mut up_to = 0.0;
        let pair = |pair: &LengthPair| {
            up_to += pair.percent;
            Ok(Pair { up_to, lengths: (Lengths::of(setting, pair.input)?, Lengths::of(setting, pair.output)?) })
        };
        Ok(Pairs(pairs.iter().map(pair).collect::<Result<_, _>>()?))
    }

    /// The distributions of the input and the output length of one request; `None` where there are no pairs.
    pub(super) fn draw(&self, rng: &mut impl Rng) -> Option<(Lengths, Lengths)> {
        let all = self.0.last()?.up_to;
        let drawn = rng.random::<f64>() * all;
        // Rounding may lead past the last one.
        self.0.iter().find(|pair| drawn < pair.up_to).or(self.0.last()).map(|pair| pair.lengths)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use streamgauge_core::seed::Seed;

    #[test]
    fn pairs_come_as_often_as_their_shares_say() {
        let fixed = |mean| Length { mean, stddev: 0.0 };
        let pair = |percent, input| LengthPair { percent, input: fixed(input), output: fixed(1.0) };
        let pairs = Pairs::of(Setting::SeqDist, &[pair(25.0, 10.0), pair(75.0, 20.0)]).unwrap();
        let rng = &mut Seed(0).stream("test");
        let drawn = (0..4_000).filter(|_| pairs.draw(rng).unwrap().0.draw(&mut Seed(0).stream("a")) == 20).count();
        assert!((2_900..3_100).contains(&drawn), "{drawn}");
        assert!(Pairs::of(Setting::SeqDist, &[]).unwrap().draw(rng).is_none());
        assert!(Pairs::of(Setting::SeqDist, &[pair(100.0, f64::NAN)]).is_err());
    }

    #[test]
    fn all_lengths_of_a_range_come() {
        let range = Lengths::Range(LengthRange { least: 3, most: 5 });
        let rng = &mut Seed(0).stream("test");
        let drawn: std::collections::BTreeSet<u32> = (0..200).map(|_| range.draw(rng)).collect();
        assert_eq!(Vec::from_iter(drawn), [3, 4, 5]);
        assert_eq!(Lengths::Range(LengthRange { least: 9, most: 1 }).draw(rng), 9);
    }
}
