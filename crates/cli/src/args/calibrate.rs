//! Arguments of `calibrate`.

use crate::args::values::{limit, whole};
use clap::Args;
use std::path::PathBuf;
use streamgauge_core::arrival::Rate;
use streamgauge_core::clock::Nanos;
use streamgauge_core::units::{Bare, parse_duration};

/// Arguments of `calibrate`. Lists are between commas.
#[derive(Args, Debug)]
pub struct CalibrateArgs {
    /// Numbers of streams at once [default: 8,64,256,1024; with --quick 16,256]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = whole(1u32, 100_000u32))]
    pub streams: Vec<u32>,
    /// Times between the tokens of a stream, in ms unless a unit is given; each is combined with each number of streams [default: 50,20,10,5; with --quick 20,5]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = gap)]
    pub itl: Vec<Nanos>,
    /// Request rates of the open loops that are tried too, or none [default: 100,500,2000; with --quick 500]
    #[arg(long, value_name = "LIST|none", value_delimiter = ',', value_parser = rate)]
    pub request_rate: Vec<OpenLoop>,
    /// Duration of the load at each point, in seconds unless a unit is given [default: 3s; with --quick 1s]
    #[arg(long, value_name = "TIME", value_parser = limit)]
    pub duration: Option<Nanos>,
    /// Use a coarse grid, which takes about ten seconds in all
    #[arg(long)]
    pub quick: bool,
    /// File for the result, with the plot beside it as .svg [default: streamgauge/calibration.json in $XDG_DATA_HOME or ~/.local/share]
    #[arg(short, long, value_name = "FILE", env = "STREAMGAUGE_CALIBRATION")]
    pub output: Option<PathBuf>,
}

/// A rate to try, or the word for no open loop.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum OpenLoop {
    /// Try none.
    No,
    /// Try this one.
    At(Rate),
}

fn gap(text: &str) -> Result<Nanos, String> {
    let gap = parse_duration(text, Bare::Millis)?;
    // A microsecond is far below what one thread writes; nothing at all is no rate.
    if gap >= Nanos(1_000) { Ok(gap) } else { Err("give at least 0.001 ms between tokens".to_owned()) }
}

fn rate(text: &str) -> Result<OpenLoop, String> {
    if text == "none" {
        return Ok(OpenLoop::No);
    }
    match text.parse::<Rate>() {
        Ok(rate) if rate.per_second().is_finite() => Ok(OpenLoop::At(rate)),
        _ => Err("give numbers of requests per second above 0, or none".to_owned()),
    }
}
