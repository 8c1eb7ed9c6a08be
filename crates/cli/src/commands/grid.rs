//! The loads of a calibration, and the settings of the engine for each.

use crate::args::levels::Levels;
use crate::args::{CalibrateArgs, LoadArgs, OpenLoop, Pattern, ProfileArgs, Ui, profile_defaults};
use anyhow::{Result, bail};
use streamgauge_core::arrival::Rate;
use streamgauge_core::clock::Nanos;
use streamgauge_prompt::tokenizer::EMBEDDED;
use streamgauge_stats::calibration::{Offered, Pace};

/// The model of the simulated server.
const MODEL: &str = "sim-model";
/// The length of a prompt in tokens.
const PROMPT: f64 = 20.0;

const STREAMS: [u32; 4] = [8, 64, 256, 1_024];
/// From models that people wait for to such as few serve.
const GAPS: [Nanos; 4] =
    [Nanos::from_millis(50), Nanos::from_millis(20), Nanos::from_millis(10), Nanos::from_millis(5)];
const RATES: [f64; 3] = [100.0, 500.0, 2_000.0];
const DURATION: Nanos = Nanos::from_millis(3_000);

const QUICK_STREAMS: [u32; 2] = [16, 256];
const QUICK_GAPS: [Nanos; 2] = [Nanos::from_millis(20), Nanos::from_millis(5)];
const QUICK_RATES: [f64; 1] = [500.0];
const QUICK_DURATION: Nanos = Nanos::from_millis(1_000);

/// First tokens of the streams come after this.
const TTFT: Nanos = Nanos::from_millis(30);
/// A reply takes about so long, so that a few seconds have several first tokens of each stream.
const REPLY: Nanos = Nanos::from_millis(300);
/// The minimum and the maximum number of tokens of a reply.
const TOKENS: (i64, i64) = (8, 128);
/// The requests of an open loop: replies of 35 ms, so that dozens are in flight at high rates.
const SHORT: (Pace, i64) = (Pace { ttft: Nanos::from_millis(20), itl: Nanos::from_millis(5) }, 4);

/// The loads to try, and the duration of each.
pub struct Grid {
    /// The loads, in order.
    pub loads: Vec<Load>,
    /// How long each is offered.
    pub duration: Nanos,
}

/// One of the loads.
#[derive(Clone, Copy)]
pub struct Load {
    /// The load.
    pub offered: Offered,
    /// Time between tokens; of an open loop too.
    itl: Nanos,
}

impl Grid {
    /// Takes the loads from the arguments, with defaults for those that are not given.
    ///
    /// # Errors
    /// When rates are given together with `none`.
    pub fn of(args: &CalibrateArgs) -> Result<Grid> {
        if args.request_rate.len() > 1 && args.request_rate.contains(&OpenLoop::No) {
            bail!("--request-rate: `none` stands alone; give rates, or none");
        }
        let (streams, gaps, rates, duration) = match args.quick {
            false => (&STREAMS[..], &GAPS[..], &RATES[..], DURATION),
            true => (&QUICK_STREAMS[..], &QUICK_GAPS[..], &QUICK_RATES[..], QUICK_DURATION),
        };
        let mut streams = if args.streams.is_empty() { streams.to_vec() } else { args.streams.clone() };
        let mut gaps = if args.itl.is_empty() { gaps.to_vec() } else { args.itl.clone() };
        let asked = args.request_rate.iter().filter_map(|rate| match rate {
            OpenLoop::At(rate) => Some(rate.per_second()),
            OpenLoop::No => None,
        });
        let mut rates = if args.request_rate.is_empty() { rates.to_vec() } else { asked.collect() };
        // Twice the same would be one line of the plot with two heights.
        streams.sort_unstable();
        streams.dedup();
        gaps.sort_unstable_by(|a, b| b.cmp(a));
        gaps.dedup();
        rates.sort_unstable_by(f64::total_cmp);
        rates.dedup();
        let closed = gaps.iter().flat_map(|&itl| {
            let itl_ms = itl.as_millis_f64();
            streams.iter().map(move |&streams| Load { offered: Offered::Streams { streams, itl_ms }, itl })
        });
        let open = rates.iter().map(|&per_second| Load { offered: Offered::Rate { per_second }, itl: SHORT.0.itl });
        Ok(Grid { loads: closed.chain(open).collect(), duration: args.duration.unwrap_or(duration) })
    }
}

impl Load {
    /// How the server answers.
    pub fn pace(self) -> Pace {
        match self.offered {
            Offered::Streams { .. } => Pace { ttft: TTFT, itl: self.itl },
            Offered::Rate { .. } => SHORT.0,
        }
    }

    /// Tokens of a reply.
    fn tokens(self) -> i64 {
        match self.offered {
            // At least a microsecond, by the flag's own rule.
            Offered::Streams { .. } => (REPLY.0 / self.itl.0.max(1)).clamp(TOKENS.0, TOKENS.1),
            Offered::Rate { .. } => SHORT.1,
        }
    }

    /// Arguments of the server: as many streams as come, none slowing another, all as regular as it can.
    pub fn server_words(self) -> Vec<String> {
        let Pace { ttft, itl } = self.pace();
        let mut words = vec!["--ttft".to_owned(), ttft.as_millis_f64().to_string()];
        words.extend(["--itl".to_owned(), itl.as_millis_f64().to_string()]);
        let even = ["--itl-growth", "0", "--jitter", "0", "--prefill-rate", "0", "--max-batch", "1000000"];
        words.extend(even.map(str::to_owned));
        words
    }

    /// The arguments of the engine, except the address of the server.
    ///
    /// # Errors
    /// As [`profile_defaults`].
    pub fn profile(self, duration: Nanos) -> Result<ProfileArgs> {
        let usual = profile_defaults()?;
        let load = match self.offered {
            Offered::Streams { streams, .. } => LoadArgs { concurrency: Some(Levels::one(streams)), ..usual.load },
            Offered::Rate { per_second } => LoadArgs {
                request_rate: Some(Levels::one(Rate::try_new(per_second)?)),
                // Bunches of arrivals are what a sender can be late for.
                arrival_pattern: Some(Pattern::Poisson),
                ..usual.load
            },
        };
        Ok(ProfileArgs {
            streaming: true,
            isl: PROMPT,
            osl: Some(self.tokens() as f64),
            // Any address of this machine: nothing is sent there.
            url: vec!["http://127.0.0.1:9".to_owned()],
            model: vec![MODEL.to_owned()],
            tokenizer: Some(EMBEDDED.to_owned()),
            api_key: None,
            ui: Some(Ui::None),
            load: LoadArgs { benchmark_duration: Some(duration), ..load },
            ..usual
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(quick: bool) -> CalibrateArgs {
        CalibrateArgs { streams: vec![], itl: vec![], request_rate: vec![], duration: None, quick, output: None }
    }

    #[test]
    fn what_is_given_replaces_its_part_of_the_grid() {
        let offered = |args: &CalibrateArgs| -> Vec<String> {
            Grid::of(args).unwrap().loads.iter().map(|load| load.offered.to_string()).collect()
        };
        assert_eq!(offered(&args(false)).len(), 4 * 4 + 3);
        let given = CalibrateArgs {
            streams: vec![2, 1, 2],
            itl: vec![Nanos::from_millis(5), Nanos(500_000)],
            request_rate: vec![OpenLoop::No],
            ..args(true)
        };
        let expected = ["1 stream at 5 ms per token", "2 streams at 5 ms per token", "1 stream at 0.5 ms per token"];
        assert_eq!(offered(&given)[..3], expected);
        assert_eq!(offered(&given).len(), 4);
        assert_eq!(Grid::of(&given).unwrap().duration, QUICK_DURATION);
    }

    #[test]
    fn replies_are_neither_endless_nor_a_token_long() {
        let tokens = |itl: Nanos| Load { offered: Offered::Streams { streams: 1, itl_ms: 0.0 }, itl }.tokens();
        assert_eq!([1_000, 20, 5, 1].map(|ms| tokens(Nanos::from_millis(ms))), [8, 15, 60, 128]);
    }
}
