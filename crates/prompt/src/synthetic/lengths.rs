//! Lengths in tokens that are drawn at random.

use super::error::SynthesisError;
use crate::limits::LONGEST;
use rand::Rng;
use rand_distr::{Distribution, Normal};
use streamgauge_core::plan::Length;

/// A distribution of lengths that has been found sensible.
pub(super) struct Lengths(Normal<f64>);

impl Lengths {
    /// Checks a distribution that `flag` sets.
    pub(super) fn of(flag: &'static str, length: Length) -> Result<Lengths, SynthesisError> {
        let sensible = 0.0..=f64::from(LONGEST);
        match Normal::new(length.mean, length.stddev) {
            Ok(normal) if sensible.contains(&length.mean) && sensible.contains(&length.stddev) => Ok(Lengths(normal)),
            _ => Err(SynthesisError::Length { flag, length }),
        }
    }

    /// A whole number of tokens, cut towards zero as the replaced tools do it, and at least 1.
    pub(super) fn draw(&self, rng: &mut impl Rng) -> u32 {
        (self.0.sample(rng) as u32).clamp(1, LONGEST)
    }
}
