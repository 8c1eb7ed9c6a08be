//! Arguments that say how load is offered, how long, and how it is measured. A flag that needs another which a third one may
//! exclude is not held to it here but in `settings/checks`: clap gives up a need whose flag is excluded.

use crate::args::choice::{RAMP_SHAPE, STAMPS, one_of};
use crate::args::levels::Levels;
use crate::args::values::{factor, interval, limit, millis, percent, seconds, share, whole};
use crate::repeats::RepeatArgs;
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use streamgauge_core::arrival::{Rate, Shape};
use streamgauge_core::clock::Nanos;
use streamgauge_core::load::{RampShape, RatePoint};
use streamgauge_core::plan::Stamps;

/// How load is offered, how long, and how it is measured.
#[derive(Args, Debug)]
pub struct LoadArgs {
    /// Requests in flight at once [default: 1]; beside a schedule the most there may be [default: no limit]. A list (1,4,8)
    /// or a range START:END:STEP (6:8, 1:64:*2) is run level by level
    #[arg(long, value_name = "N", help_heading = "Load")]
    pub concurrency: Option<Levels<u32>>,
    /// Reach the concurrency over this time, in place of all at once; a bare number is in seconds
    #[arg(long, value_name = "TIME", value_parser = limit, help_heading = "Load")]
    pub concurrency_ramp_duration: Option<Nanos>,
    /// Most requests at once that have no first token yet; others wait
    #[arg(long, value_name = "N", value_parser = whole::<u32>(1, 1_000_000), help_heading = "Load")]
    pub prefill_concurrency: Option<u32>,
    /// Reach the prefill concurrency over this time
    #[arg(long, value_name = "TIME", value_parser = limit, requires = "prefill_concurrency", help_heading = "Load")]
    pub prefill_concurrency_ramp_duration: Option<Nanos>,
    /// Requests per second, each sent when it is due whatever became of those before; inf sends all at once. A list or a
    /// range is run level by level
    #[arg(long, value_name = "RATE", group = "schedule", help_heading = "Load")]
    pub request_rate: Option<Levels<Rate>>,
    #[command(flatten)]
    pub repeats: RepeatArgs,
    /// Reach the rate over this time
    #[arg(long, value_name = "TIME", value_parser = limit, help_heading = "Load")]
    pub request_rate_ramp_duration: Option<Nanos>,
    /// Requests per second that change, SECONDS:RATE,..: straight lines between the points, the last rate after them
    #[arg(long, value_name = "POINTS", value_delimiter = ',', value_parser = rate_point, group = "schedule", help_heading = "Load")]
    pub request_rate_series: Vec<RatePoint>,
    /// How requests arrive at that rate: constant, poisson or gamma [default: constant; gamma with --arrival-smoothness]
    #[arg(long, visible_aliases = ["request-rate-mode", "request-distribution"], value_enum, hide_possible_values = true, value_name = "PATTERN", help_heading = "Load")]
    pub arrival_pattern: Option<Pattern>,
    /// Shape of gamma arrivals: their gaps vary by 1/sqrt(shape); 1 is poisson, less is burstier [default: 1]
    #[arg(long, visible_aliases = ["burstiness", "vllm-burstiness"], value_name = "SHAPE", help_heading = "Load")]
    pub arrival_smoothness: Option<Shape>,
    /// File of gaps between requests in microseconds, one a line, which begin again when they are used up
    #[arg(long, value_name = "FILE", group = "schedule", help_heading = "Load")]
    pub request_intervals: Option<PathBuf>,
    /// Send each request of --input-file at its timestamp
    #[arg(long, requires = "input_file", group = "schedule", help_heading = "Load")]
    pub fixed_schedule: bool,
    /// Begin with the trace's first timestamp in place of 0
    #[arg(long, conflicts_with = "fixed_schedule_start_offset", help_heading = "Load")]
    pub fixed_schedule_auto_offset: bool,
    /// Begin at this timestamp of the trace, leaving out what is before; a bare number is in milliseconds
    #[arg(long, value_name = "TIME", value_parser = millis, help_heading = "Load")]
    pub fixed_schedule_start_offset: Option<Nanos>,
    /// Leave out what the trace has after this timestamp; a bare number is in milliseconds
    #[arg(long, value_name = "TIME", value_parser = millis, help_heading = "Load")]
    pub fixed_schedule_end_offset: Option<Nanos>,
    /// How many times as fast as it was to replay the trace [default: 1]
    #[arg(long, visible_alias = "synthesis-speedup-ratio", value_name = "FACTOR", value_parser = factor, help_heading = "Load")]
    pub replay_speedup: Option<f64>,
    /// Requests per second of --num-users users together, who each keep to fixed times of their own
    #[arg(
        long,
        value_name = "RATE",
        requires = "num_users",
        group = "schedule",
        conflicts_with = "concurrency",
        help_heading = "Load"
    )]
    pub user_centric_rate: Option<Rate>,
    /// Users
    #[arg(long, value_name = "N", value_parser = whole::<u32>(1, 1_000_000), help_heading = "Load")]
    pub num_users: Option<u32>,
    /// Shape of the ramps [default: linear]
    #[arg(long, value_parser = one_of(RAMP_SHAPE), help_heading = "Load")]
    pub ramp_shape: Option<RampShape>,
    /// Percentage of the requests that are given up on purpose
    #[arg(long, value_name = "PERCENT", value_parser = percent, help_heading = "Load")]
    pub request_cancellation_rate: Option<f64>,
    /// How long after they were sent; a bare number is in seconds [default: 0]
    #[arg(long, value_name = "TIME", value_parser = seconds, requires = "request_cancellation_rate", help_heading = "Load")]
    pub request_cancellation_delay: Option<Nanos>,
    /// Load threads [default: processors - 1, at least 1]
    #[arg(long, value_name = "N", value_parser = whole::<u16>(1, 1024), help_heading = "Load")]
    pub threads: Option<u16>,
    /// Where receive stamps come from
    #[arg(long, value_parser = one_of(STAMPS), default_value = "kernel", help_heading = "Load")]
    pub clock: Stamps,
    /// Leave it to the kernel when it acknowledges, as ordinary clients do, instead of having it acknowledge at once
    #[arg(long, help_heading = "Load")]
    pub delayed_acks: bool,

    /// Requests to measure [default: max(10, 2 x concurrency), or the whole trace]
    #[arg(long, visible_alias = "num-requests", value_name = "N", value_parser = whole(1, u64::MAX), help_heading = "End")]
    pub request_count: Option<u64>,
    /// How long to measure; a bare number is in seconds
    #[arg(long, value_name = "TIME", value_parser = limit, conflicts_with = "measurement_interval", help_heading = "End")]
    pub benchmark_duration: Option<Nanos>,
    /// How long to measure, or each window with --stability-percentage; a bare number is in milliseconds [default: 5s for windows]
    #[arg(short = 'p', long, value_name = "TIME", value_parser = interval, conflicts_with = "request_count", help_heading = "End")]
    pub measurement_interval: Option<Nanos>,
    /// How long requests in flight may take once time is up; a bare number is in seconds
    #[arg(long, visible_alias = "benchmark-grace-period", value_name = "TIME", default_value = "30s", value_parser = seconds, help_heading = "End")]
    pub grace_period: Nanos,
    /// End when throughput and latency of three windows differ by no more than this; 999 is off [default: 10 with --measurement-mode]
    #[arg(short, long, value_name = "PERCENT", value_parser = factor, help_heading = "End")]
    pub stability_percentage: Option<f64>,
    /// What a window ends by [default: time_windows]
    #[arg(long, value_enum, help_heading = "End")]
    pub measurement_mode: Option<MeasurementMode>,
    /// Requests that end a window of count_windows [default: 50]
    #[arg(long, value_name = "N", value_parser = whole(1, u64::MAX), help_heading = "End")]
    pub measurement_request_count: Option<u64>,
    /// Percentile of latency that must be stable, in place of the mean
    #[arg(long, value_name = "P", value_parser = whole::<u8>(1, 99), help_heading = "End")]
    pub percentile: Option<u8>,
    /// Most windows [default: 10]
    #[arg(short = 'r', long, value_name = "N", value_parser = whole::<u32>(3, 1_000_000), help_heading = "End")]
    pub max_trials: Option<u32>,
    /// End when a figure's ± (how far the farther end of its 95 % confidence interval is) is no more than this share of it, such as 2%
    #[arg(long, value_name = "SHARE", value_parser = share, help_heading = "End")]
    pub until_ci: Option<f64>,
    /// The figure: METRIC, for its mean, or METRIC:pN [default: request_latency]
    #[arg(long, value_name = "METRIC", requires = "until_ci", help_heading = "End")]
    pub ci_metric: Option<String>,
    /// End when more than this share of the requests has failed, such as 0.05 or 5%
    #[arg(long, visible_alias = "error-budget", value_name = "SHARE", value_parser = share, help_heading = "End")]
    pub failed_request_threshold: Option<f64>,
    /// Report the time in which the whole concurrency was held by itself, beside the whole run
    #[arg(long, help_heading = "End")]
    pub steady_state: bool,

    /// Requests sent before the measured ones, in no figure
    #[arg(long, visible_alias = "num-warmup-requests", value_name = "N", default_value = "0", value_parser = whole(0, u64::MAX), help_heading = "Warm-up")]
    pub warmup_request_count: u64,
    /// How long to send them; a bare number is in seconds
    #[arg(long, value_name = "TIME", value_parser = limit, help_heading = "Warm-up")]
    pub warmup_duration: Option<Nanos>,
    /// Requests in flight at once in the warm-up [default: as measured]
    #[arg(long, value_name = "N", value_parser = whole::<u32>(1, 1_000_000), help_heading = "Warm-up")]
    pub warmup_concurrency: Option<u32>,
    /// Reach it over this time
    #[arg(long, value_name = "TIME", value_parser = limit, requires = "warmup_concurrency", help_heading = "Warm-up")]
    pub warmup_concurrency_ramp_duration: Option<Nanos>,
    /// Most requests at once without a first token in the warm-up [default: as measured]
    #[arg(long, value_name = "N", value_parser = whole::<u32>(1, 1_000_000), help_heading = "Warm-up")]
    pub warmup_prefill_concurrency: Option<u32>,
    /// Reach it over this time
    #[arg(long, value_name = "TIME", value_parser = limit, requires = "warmup_prefill_concurrency", help_heading = "Warm-up")]
    pub warmup_prefill_concurrency_ramp_duration: Option<Nanos>,
    /// Requests per second in the warm-up [default: as measured]
    #[arg(long, value_name = "RATE", help_heading = "Warm-up")]
    pub warmup_request_rate: Option<Rate>,
    /// Reach it over this time
    #[arg(long, value_name = "TIME", value_parser = limit, requires = "warmup_request_rate", help_heading = "Warm-up")]
    pub warmup_request_rate_ramp_duration: Option<Nanos>,
    /// How requests arrive at that rate [default: as measured, else constant]
    #[arg(
        long,
        value_enum,
        hide_possible_values = true,
        value_name = "PATTERN",
        requires = "warmup_request_rate",
        help_heading = "Warm-up"
    )]
    pub warmup_arrival_pattern: Option<Pattern>,
    /// How long requests in flight may take once the warm-up's time is up [default: --grace-period]
    #[arg(long, value_name = "TIME", value_parser = seconds, requires = "warmup_duration", help_heading = "Warm-up")]
    pub warmup_grace_period: Option<Nanos>,
}

/// How requests arrive at a rate.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Pattern {
    /// With gaps that are all alike
    Constant,
    /// Like those of many users who know nothing of each other
    Poisson,
    /// In bursts, or more evenly
    Gamma,
}

/// What a window ends by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum MeasurementMode {
    /// Its length, --measurement-interval
    TimeWindows,
    /// Its requests, --measurement-request-count
    CountWindows,
}

fn rate_point(text: &str) -> Result<RatePoint, String> {
    let refusal = || format!("`{text}` is not SECONDS:RATE, such as 30:10 (the rate may be 0)");
    let (at, rate) = text.split_once(':').ok_or_else(refusal)?;
    let at = seconds(at).map_err(|_| refusal())?;
    let per_second = rate.trim().parse::<f64>().ok().filter(|rate| rate.is_finite() && *rate >= 0.0);
    Ok(RatePoint { at, per_second: per_second.ok_or_else(refusal)? })
}
