//! Statistics by formulas written down here and with nothing of the program's own code, for the tests that compute every figure of a
//! run once more.

/// Python's `round`.
pub fn half_to_even(value: f64) -> f64 {
    let (low, part) = (value.floor(), value - value.floor());
    let up = part > 0.5 || (part == 0.5 && low % 2.0 != 0.0);
    if up { low + 1.0 } else { low }
}

pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// A statistic by its name: population deviation, percentiles at index (n - 1) p / 100 of the sorted values.
pub fn statistic(values: &[f64], name: &str) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let deviation = || {
        let middle = mean(values);
        mean(&values.iter().map(|value| (value - middle).powi(2)).collect::<Vec<_>>()).sqrt()
    };
    match name {
        "avg" => mean(values),
        "min" => sorted[0],
        "max" => sorted[sorted.len() - 1],
        "std" => deviation(),
        percentile => {
            let p: f64 = percentile.strip_prefix('p').unwrap().parse().unwrap();
            let index = (sorted.len() - 1) as f64 * p / 100.0;
            let (below, above) = (sorted[index.floor() as usize], sorted[index.ceil() as usize]);
            below + (above - below) * (index - index.floor())
        }
    }
}

/// The narrowest pairs of ranks, from 0, between which a percentile of `n` values' source lies with 95 % confidence: all
/// that are as likely as the likeliest. By the binomial distribution, every pair tried.
pub fn narrowest(n: usize, q: f64) -> Vec<(usize, usize)> {
    let logs: Vec<f64> = (0..=n)
        .scan(0.0, |sum: &mut f64, k| {
            *sum += (k.max(1) as f64).ln();
            Some(*sum)
        })
        .collect();
    let probability =
        |k: usize| (logs[n] - logs[k] - logs[n - k] + k as f64 * q.ln() + (n - k) as f64 * (1.0 - q).ln()).exp();
    // Sums up to and without k.
    let sums: Vec<f64> = (0..=n).scan(0.0, |sum, k| Some(std::mem::replace(sum, *sum + probability(k)))).collect();
    for span in 1..n {
        let confidence = |low: usize| sums[low + span + 1] - sums[low + 1];
        let best = (0..n - span).map(confidence).fold(0.0, f64::max);
        if best >= 0.95 {
            return (0..n - span).filter(|&low| confidence(low) > best - 1e-9).map(|low| (low, low + span)).collect();
        }
    }
    Vec::new()
}

/// The 97.5th percentile of Student's t. With x = sqrt(v) tan a its density is that of cos^(v - 1) a, which is summed up.
pub fn student(freedom: f64) -> f64 {
    const STEPS: usize = 100_000;
    let step = std::f64::consts::FRAC_PI_2 / STEPS as f64;
    let height = |index: usize| ((index as f64 + 0.5) * step).cos().powf(freedom - 1.0);
    let whole: f64 = (0..STEPS).map(height).sum();
    let (mut sum, mut index) = (0.0, 0);
    while sum + height(index) < 0.95 * whole {
        sum += height(index);
        index += 1;
    }
    let part = (0.95 * whole - sum) / height(index);
    freedom.sqrt() * ((index as f64 + part) * step).tan()
}

/// The least known value that no more than 1 - q are beyond (Kaplan and Meier's estimate); none where that is a failure.
pub fn product_limit(known: &[f64], open: &[f64], failed: u64, q: f64) -> Option<f64> {
    let mut values = known.to_vec();
    values.sort_by(f64::total_cmp);
    values.dedup();
    let mut beyond = 1.0;
    for value in values {
        let at_risk = known.iter().chain(open).filter(|other| **other >= value).count() as f64 + failed as f64;
        beyond *= 1.0 - known.iter().filter(|other| **other == value).count() as f64 / at_risk;
        if beyond <= 1.0 - q + 1e-12 {
            return Some(value);
        }
    }
    None
}
