//! How much a figure differs from run to run. The intervals of one run cover only the chance within it. Changes of the server between runs
//! show only in repeats.

use crate::intervals::{Interval, mean_interval};
use serde::Serialize;

/// The same figure of several runs, in the figure's unit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The number of runs that have the figure.
    pub runs: u64,
    /// The unweighted mean over the runs.
    pub mean: f64,
    /// The sample standard deviation (over n - 1); 0 for a single run.
    pub std: f64,
    /// The coefficient of variation: the deviation over the magnitude of the mean. It is 0 if both are 0, and infinite if only
    /// the mean is.
    pub cv: f64,
    /// The minimum.
    pub min: f64,
    /// The maximum.
    pub max: f64,
    /// The 95 % confidence interval of the mean over all such runs: Student's t over the runs, which are assumed to be
    /// independent. `None` for a single run.
    pub interval: Option<Interval>,
}

/// Computes the spread of a figure over runs. NaN and infinities are ignored. Returns `None` if no value remains. The
/// order of the runs does not matter.
pub fn spread(values: &[f64]) -> Option<Spread> {
    let mut values: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    values.sort_unstable_by(f64::total_cmp);
    let (&min, &max) = (values.first()?, values.last()?);
    let runs = values.len() as u64;
    let n = runs as f64;
    // Summing differences from the minimum makes the mean of equal figures exact and their deviation 0.
    let mean = (min + values.iter().map(|value| (value - min) / n).sum::<f64>()).min(max);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let std = if runs > 1 { (squares / (n - 1.0)).sqrt() } else { 0.0 };
    let cv = if std == 0.0 { 0.0 } else { std / mean.abs() };
    Some(Spread { runs, mean, std, cv, min, max, interval: mean_interval(mean, (squares / n).sqrt(), runs) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    #[test]
    fn three_runs_by_hand() {
        // 10, 12, 14: mean 12, sample deviation 2, t of two degrees 4.302653.
        let found = spread(&[12.0, 10.0, 14.0]).unwrap();
        assert_eq!((found.runs, found.mean, found.std, found.min, found.max), (3, 12.0, 2.0, 10.0, 14.0));
        assert!((found.cv - 2.0 / 12.0).abs() < 1e-15);
        let reach = 4.302653 * 2.0 / 3f64.sqrt();
        let interval = found.interval.unwrap();
        assert!((interval.low - (12.0 - reach)).abs() < 1e-5 && (interval.high - (12.0 + reach)).abs() < 1e-5);
    }

    #[test]
    fn one_run_has_no_interval_and_none_has_no_spread() {
        let one = spread(&[7.5]).unwrap();
        let expected = Spread { runs: 1, mean: 7.5, std: 0.0, cv: 0.0, min: 7.5, max: 7.5, interval: None };
        assert_eq!(one, expected);
        assert_eq!(spread(&[]), None);
        assert_eq!(spread(&[f64::NAN, f64::INFINITY]), None);
        assert_eq!(spread(&[f64::NAN, 7.5]), Some(expected));
    }

    #[test]
    fn figures_around_zero_have_no_relative_spread() {
        assert_eq!(spread(&[0.0, 0.0]).unwrap().cv, 0.0);
        assert_eq!(spread(&[-1.0, 1.0]).unwrap().cv, f64::INFINITY);
        assert!((spread(&[-10.0, -12.0, -14.0]).unwrap().cv - 1.0 / 6.0).abs() < 1e-15);
    }

    proptest! {
        #[test]
        fn the_order_of_runs_does_not_matter(
            (values, shuffled) in vec(-1e6..1e6, 1..12)
                .prop_flat_map(|values| (Just(values.clone()), Just(values).prop_shuffle()))
        ) {
            let found = spread(&values).unwrap();
            prop_assert_eq!(Some(found), spread(&shuffled));
            prop_assert!(found.min <= found.mean && found.mean <= found.max && found.std >= 0.0);
        }

        #[test]
        fn equal_figures_have_no_spread(value in -1e6..1e6, runs in 2usize..12) {
            let found = spread(&vec![value; runs]).unwrap();
            prop_assert_eq!((found.mean, found.std, found.cv), (value, 0.0, 0.0));
            prop_assert_eq!(found.interval, Some(Interval { low: value, high: value }));
        }
    }
}
