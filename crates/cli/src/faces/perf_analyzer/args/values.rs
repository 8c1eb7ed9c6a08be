//! Parsers of values that only Perf Analyzer's flags have.

/// A percentage, 0 or more.
pub fn stability(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(percent) if percent.is_finite() && percent >= 0.0 => Ok(percent),
        _ => Err("give a percentage of at least 0".to_owned()),
    }
}

/// A percentile from 1 to 99, or -1.
pub fn percentile(text: &str) -> Result<i32, String> {
    match text.parse() {
        Ok(percentile @ (-1 | 1..=99)) => Ok(percentile),
        _ => Err("give a whole number from 1 to 99, or -1 for none".to_owned()),
    }
}

/// First id, and the one past the last where there is one.
pub type Ids = (u64, Option<u64>);

/// `start[:end]`, the end not among them.
pub fn ids(text: &str) -> Result<Ids, String> {
    let refusal = || format!("`{text}` is not START[:END] with whole numbers from 1 and an end above the start");
    let (start, end) = text.split_once(':').map_or((text, None), |(start, end)| (start, Some(end)));
    let start = start.parse::<u64>().ok().filter(|start| *start > 0).ok_or_else(refusal)?;
    let end = end.map(|end| end.parse::<u64>().ok().filter(|end| *end > start).ok_or_else(refusal)).transpose()?;
    Ok((start, end))
}

/// A percentage from 0 to 100, as a share.
pub fn variation(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(percent / 100.0),
        _ => Err("give a percentage from 0 to 100".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_percentiles() {
        assert_eq!([ids("3"), ids("3:9")], [Ok((3, None)), Ok((3, Some(9)))]);
        assert!(["0", "3:3", "9:3", "-1", "1:2:3", ""].into_iter().all(|bad| ids(bad).is_err()));
        assert_eq!([percentile("-1"), percentile("99")], [Ok(-1), Ok(99)]);
        assert!(["0", "100", "x", "-2", "95.5"].into_iter().all(|bad| percentile(bad).is_err()));
    }
}
