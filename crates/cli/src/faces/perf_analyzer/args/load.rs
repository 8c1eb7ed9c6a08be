//! Arguments of load: how many requests at once, or when they are sent, and the sequences that they belong to.

use super::values::{Ids, ids, variation};
use crate::args::values::whole;
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use std::str::FromStr;

/// Arguments about the load. At most one kind of load may be given; the default is a concurrency of 1.
#[derive(Args, Debug)]
#[command(next_help_heading = "Load")]
pub struct LoadArgs {
    /// Number of requests in flight, `start[:end[:step]]`; with an end of 0 the search continues until --latency-threshold [default: 1]
    #[arg(long, value_name = "RANGE", group = "mode")]
    pub concurrency_range: Option<Range<u32>>,
    /// Requests per second, `start[:end[:step]]`; with an end of 0 the search continues until --latency-threshold
    #[arg(long, value_name = "RANGE", group = "mode")]
    pub request_rate_range: Option<Range<f64>>,
    /// How requests arrive at that rate: constant or poisson [default: constant]
    #[arg(long, value_enum, hide_possible_values = true, value_name = "DISTRIBUTION")]
    pub request_distribution: Option<Distribution>,
    /// File of gaps in whole microseconds, one per line; repeated from the start when used up
    #[arg(long, value_name = "FILE", group = "mode")]
    pub request_intervals: Option<PathBuf>,
    /// Send each request of the input data once, at its `timestamp`
    #[arg(long, group = "mode")]
    pub fixed_schedule: bool,
    /// Start with START requests and add STEP whenever the last ones have had --request-period responses, up to END; `start:end[:step]`; only for streams of decoupled models
    #[arg(long, value_name = "RANGE", group = "mode")]
    pub periodic_concurrency_range: Option<Range<u32>>,
    /// Number of responses that each of the last requests must have had before --periodic-concurrency-range adds further requests [default: 10]
    #[arg(long, value_name = "N", value_parser = whole::<u32>(1, u32::MAX))]
    pub request_period: Option<u32>,
    /// Number of concurrent sequences with a request rate [default: 4]
    #[arg(long, value_name = "N", value_parser = whole::<u32>(1, 1_000_000))]
    pub num_of_sequences: Option<u32>,
    /// Number of requests of a sequence [default: 20]
    #[arg(long, value_name = "N", value_parser = whole::<u32>(1, u32::MAX))]
    pub sequence_length: Option<u32>,
    /// Percentage by which the length of sequences varies [default: 20]
    #[arg(long, value_name = "PERCENT", value_parser = variation)]
    pub sequence_length_variation: Option<f64>,
    /// Ids of sequences, `start[:end]`, without the end itself [default: 1, without an end]
    #[arg(long, value_name = "RANGE", value_parser = ids)]
    pub sequence_id_range: Option<Ids>,
    /// Send no request of a sequence before the last one is answered
    #[arg(long)]
    pub serial_sequences: bool,
    /// Deprecated: --concurrency-range
    #[arg(short = 'd', hide = true)]
    pub dynamic: bool,
    /// Deprecated: the start of --concurrency-range
    #[arg(short = 't', hide = true, value_name = "N", value_parser = whole::<u32>(1, 1_000_000))]
    pub threads: Option<u32>,
    /// Deprecated: the end of --concurrency-range
    #[arg(short = 'c', hide = true, value_name = "N", value_parser = whole::<u32>(0, 1_000_000))]
    pub most: Option<u32>,
}

/// How requests arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Distribution {
    /// With equal gaps
    Constant,
    /// Independently of each other, like those of many users
    Poisson,
}

/// `start[:end[:step]]`. Without an end there is only the start; an end of 0 means no end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range<T> {
    /// The first level, above 0.
    pub start: T,
    /// The last level. 0 means no end; if it is below the start, there is only the start.
    pub end: T,
    /// The step between levels, above 0.
    pub step: T,
}

impl FromStr for Range<u32> {
    type Err = String;

    fn from_str(text: &str) -> Result<Range<u32>, String> {
        let number = |text: &str| text.parse().ok().filter(|number| *number <= 1_000_000);
        range(text, 1, number, "whole numbers up to 1000000, such as 1:8:2")
    }
}

impl FromStr for Range<f64> {
    type Err = String;

    fn from_str(text: &str) -> Result<Range<f64>, String> {
        let number = |text: &str| text.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0);
        range(text, 1.0, number, "numbers of requests per second, such as 10:50:10")
    }
}

/// Parses the range in `text` with `number` for each number. Missing numbers are `one`.
fn range<T: Copy + Default + PartialOrd>(
    text: &str,
    one: T,
    number: impl Fn(&str) -> Option<T>,
    accepted: &str,
) -> Result<Range<T>, String> {
    let refusal = || format!("`{text}` is not START[:END[:STEP]] with a start and a step above 0 and {accepted}");
    let parts: Option<Vec<T>> = text.split(':').map(number).collect();
    let (start, end, step) = match parts.ok_or_else(refusal)?[..] {
        [start] => (start, one, one),
        [start, end] => (start, end, one),
        [start, end, step] => (start, end, step),
        _ => return Err(refusal()),
    };
    if start <= T::default() || step <= T::default() {
        return Err(refusal());
    }
    Ok(Range { start, end, step })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_in_their_forms() {
        let of = |text: &str| text.parse::<Range<u32>>();
        assert_eq!(of("4"), Ok(Range { start: 4, end: 1, step: 1 }));
        assert_eq!(of("1:8:3"), Ok(Range { start: 1, end: 8, step: 3 }));
        assert_eq!(of("2:0"), Ok(Range { start: 2, end: 0, step: 1 }));
        for bad in ["", "0", "1:2:0", "1:2:3:4", "a", "1.5", "-1", "1:", "1000001"] {
            assert!(of(bad).unwrap_err().contains("START[:END[:STEP]]"), "{bad}");
        }
        assert_eq!("0.5:2:0.5".parse(), Ok(Range { start: 0.5, end: 2.0, step: 0.5 }));
        assert!(["inf", "nan", "0:1", "1:2:-1"].into_iter().all(|bad| bad.parse::<Range<f64>>().is_err()));
    }
}
