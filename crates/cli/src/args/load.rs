//! Arguments about the load, its duration and the measurement. If a flag requires another flag that a third one excludes, the requirement
//! is checked in `settings/checks`, because clap drops a requirement whose flag is excluded.

use crate::args::choice::{RAMP_SHAPE, STAMPS, one_of};
use crate::args::levels::Levels;
use crate::args::repeats::RepeatArgs;
use crate::args::values::{factor, interval, limit, millis, percent, seconds, share, whole};
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use streamgauge_core::arrival::{Rate, Shape};
use streamgauge_core::clock::Nanos;
use streamgauge_core::load::{RampShape, RatePoint};
use streamgauge_core::plan::Stamps;

/// Arguments about the load, its duration and the measurement.
#[derive(Args, Debug)]
pub struct LoadArgs {
    /// Number of requests in flight [default: 1]; with a schedule, the maximum number [default: no limit]. A list (1,4,8)
    /// or a range START:END:STEP (6:8, 1:64:*2) is run level by level. It is also the number of conversations at once, since each
    /// has one request in flight
    #[arg(long, visible_alias = "session-concurrency", value_name = "N", help_heading = "Load")]
    pub concurrency: Option<Levels<u32>>,
    /// Increase the concurrency to its full value over this time; a bare number is in seconds
    #[arg(long, value_name = "TIME", value_parser = limit, help_heading = "Load")]
    pub concurrency_ramp_duration: Option<Nanos>,
    /// Maximum number of requests in flight without a first token; further ones wait
    #[arg(long, value_name = "N", value_parser = whole::<u32>(1, 1_000_000), help_heading = "Load")]
    pub prefill_concurrency: Option<u32>,
    /// Increase the prefill concurrency to its full value over this time
    #[arg(long, value_name = "TIME", value_parser = limit, requires = "prefill_concurrency", help_heading = "Load")]
    pub prefill_concurrency_ramp_duration: Option<Nanos>,
    /// Requests per second, each sent when it is due, whether or not earlier ones were answered; inf sends all together.
    /// A list or a range is run level by level
    #[arg(long, value_name = "RATE", group = "schedule", help_heading = "Load")]
    pub request_rate: Option<Levels<Rate>>,
    #[command(flatten)]
    pub repeats: RepeatArgs,
    /// Increase the rate to its full value over this time
    #[arg(long, value_name = "TIME", value_parser = limit, help_heading = "Load")]
    pub request_rate_ramp_duration: Option<Nanos>,
    /// Rate that changes over time, SECONDS:RATE,..; it is interpolated linearly between the points and constant after the last
    #[arg(long, value_name = "POINTS", value_delimiter = ',', value_parser = rate_point, group = "schedule", help_heading = "Load")]
    pub request_rate_series: Vec<RatePoint>,
    /// How requests arrive at that rate: constant, poisson or gamma [default: constant; gamma with --arrival-smoothness]
    #[arg(long, visible_aliases = ["request-rate-mode", "request-distribution"], value_enum, hide_possible_values = true, value_name = "PATTERN", help_heading = "Load")]
    pub arrival_pattern: Option<Pattern>,
    /// Shape of gamma arrivals, whose gaps have a coefficient of variation of 1/sqrt(shape); 1 is poisson, less is burstier [default: 1]
    #[arg(long, visible_aliases = ["burstiness", "vllm-burstiness"], value_name = "SHAPE", help_heading = "Load")]
    pub arrival_smoothness: Option<Shape>,
    /// File of gaps in microseconds, one per line; repeated from the start when used up
    #[arg(long, value_name = "FILE", group = "schedule", help_heading = "Load")]
    pub request_intervals: Option<PathBuf>,
    /// Send each request of --input-file at its timestamp
    #[arg(long, requires = "input_file", group = "schedule", help_heading = "Load")]
    pub fixed_schedule: bool,
    /// Begin at the trace's first timestamp instead of 0
    #[arg(long, conflicts_with = "fixed_schedule_start_offset", help_heading = "Load")]
    pub fixed_schedule_auto_offset: bool,
    /// Begin at this timestamp of the trace and leave out earlier requests; a bare number is in milliseconds
    #[arg(long, value_name = "TIME", value_parser = millis, help_heading = "Load")]
    pub fixed_schedule_start_offset: Option<Nanos>,
    /// Leave out requests of the trace after this timestamp; a bare number is in milliseconds
    #[arg(long, value_name = "TIME", value_parser = millis, help_heading = "Load")]
    pub fixed_schedule_end_offset: Option<Nanos>,
    /// Factor by which the trace is replayed faster than it was recorded [default: 1]
    #[arg(long, visible_alias = "synthesis-speedup-ratio", value_name = "FACTOR", value_parser = factor, help_heading = "Load")]
    pub replay_speedup: Option<f64>,
    /// Total requests per second of --num-users users, each of whom sends at fixed times of its own
    #[arg(
        long,
        value_name = "RATE",
        requires = "num_users",
        group = "schedule",
        conflicts_with = "concurrency",
        help_heading = "Load"
    )]
    pub user_centric_rate: Option<Rate>,
    /// Number of users
    #[arg(long, value_name = "N", value_parser = whole::<u32>(1, 1_000_000), help_heading = "Load")]
    pub num_users: Option<u32>,
    /// Shape of the ramps [default: linear]
    #[arg(long, value_parser = one_of(RAMP_SHAPE), help_heading = "Load")]
    pub ramp_shape: Option<RampShape>,
    /// Percentage of requests that the client cancels on purpose
    #[arg(long, value_name = "PERCENT", value_parser = percent, help_heading = "Load")]
    pub request_cancellation_rate: Option<f64>,
    /// Time from sending to cancelling a request; a bare number is in seconds [default: 0]
    #[arg(long, value_name = "TIME", value_parser = seconds, requires = "request_cancellation_rate", help_heading = "Load")]
    pub request_cancellation_delay: Option<Nanos>,
    /// Load threads [default: processors - 1, at least 1]
    #[arg(long, value_name = "N", value_parser = whole::<u16>(1, 1024), help_heading = "Load")]
    pub threads: Option<u16>,
    /// Where receive stamps come from
    #[arg(long, value_parser = one_of(STAMPS), default_value = "kernel", help_heading = "Load")]
    pub clock: Stamps,
    /// Let the kernel delay acknowledgements, as ordinary clients do, instead of sending them at once
    #[arg(long, help_heading = "Load")]
    pub delayed_acks: bool,

    /// Number of requests to measure [default: max(10, 2 x concurrency), or the whole trace]
    #[arg(long, visible_alias = "num-requests", value_name = "N", value_parser = whole(1, u64::MAX), help_heading = "End")]
    pub request_count: Option<u64>,
    /// Duration of the measurement; a bare number is in seconds
    #[arg(long, value_name = "TIME", value_parser = limit, conflicts_with = "measurement_interval", help_heading = "End")]
    pub benchmark_duration: Option<Nanos>,
    /// Duration of the measurement, or of each window with --stability-percentage; a bare number is in milliseconds [default: 5s for windows]
    #[arg(short = 'p', long, value_name = "TIME", value_parser = interval, conflicts_with = "request_count", help_heading = "End")]
    pub measurement_interval: Option<Nanos>,
    /// Time that requests in flight may still take when the duration is over; a bare number is in seconds
    #[arg(long, visible_alias = "benchmark-grace-period", value_name = "TIME", default_value = "30s", value_parser = seconds, help_heading = "End")]
    pub grace_period: Nanos,
    /// End the run when throughput and latency of three windows differ by no more than this; 999 turns it off [default: 10 with --measurement-mode]
    #[arg(short, long, value_name = "PERCENT", value_parser = factor, help_heading = "End")]
    pub stability_percentage: Option<f64>,
    /// Rule by which a window ends [default: time_windows]
    #[arg(long, value_enum, help_heading = "End")]
    pub measurement_mode: Option<MeasurementMode>,
    /// Number of requests in a window of count_windows [default: 50]
    #[arg(long, value_name = "N", value_parser = whole(1, u64::MAX), help_heading = "End")]
    pub measurement_request_count: Option<u64>,
    /// Percentile of latency that must be stable, instead of the mean
    #[arg(long, value_name = "P", value_parser = whole::<u8>(1, 99), help_heading = "End")]
    pub percentile: Option<u8>,
    /// Maximum number of windows [default: 10]
    #[arg(short = 'r', long, value_name = "N", value_parser = whole::<u32>(3, 1_000_000), help_heading = "End")]
    pub max_trials: Option<u32>,
    /// End the run when the 95 % confidence interval of a figure (its larger half, ±) is no more than this share of the figure, such as 2%
    #[arg(long, value_name = "SHARE", value_parser = share, help_heading = "End")]
    pub until_ci: Option<f64>,
    /// Figure for --until-ci: METRIC for its mean, or METRIC:pN for a percentile [default: request_latency]
    #[arg(long, value_name = "METRIC", requires = "until_ci", help_heading = "End")]
    pub ci_metric: Option<String>,
    /// End the run when more than this share of the requests has failed, such as 0.05 or 5%
    #[arg(long, visible_alias = "error-budget", value_name = "SHARE", value_parser = share, help_heading = "End")]
    pub failed_request_threshold: Option<f64>,
    /// Also report the part of the run in which all slots were busy
    #[arg(long, help_heading = "End")]
    pub steady_state: bool,

    /// Number of warm-up requests before the measured ones; no figure includes them
    #[arg(long, visible_alias = "num-warmup-requests", value_name = "N", default_value = "0", value_parser = whole(0, u64::MAX), help_heading = "Warm-up")]
    pub warmup_request_count: u64,
    /// Duration of the warm-up; a bare number is in seconds
    #[arg(long, value_name = "TIME", value_parser = limit, help_heading = "Warm-up")]
    pub warmup_duration: Option<Nanos>,
    /// Number of requests in flight in the warm-up [default: as measured]
    #[arg(long, value_name = "N", value_parser = whole::<u32>(1, 1_000_000), help_heading = "Warm-up")]
    pub warmup_concurrency: Option<u32>,
    /// Increase it to its full value over this time
    #[arg(long, value_name = "TIME", value_parser = limit, requires = "warmup_concurrency", help_heading = "Warm-up")]
    pub warmup_concurrency_ramp_duration: Option<Nanos>,
    /// Maximum number of requests in flight without a first token in the warm-up [default: as measured]
    #[arg(long, value_name = "N", value_parser = whole::<u32>(1, 1_000_000), help_heading = "Warm-up")]
    pub warmup_prefill_concurrency: Option<u32>,
    /// Increase it to its full value over this time
    #[arg(long, value_name = "TIME", value_parser = limit, requires = "warmup_prefill_concurrency", help_heading = "Warm-up")]
    pub warmup_prefill_concurrency_ramp_duration: Option<Nanos>,
    /// Requests per second in the warm-up [default: as measured]
    #[arg(long, value_name = "RATE", help_heading = "Warm-up")]
    pub warmup_request_rate: Option<Rate>,
    /// Increase it to its full value over this time
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
    /// Time that requests in flight may still take when the warm-up's duration is over [default: --grace-period]
    #[arg(long, value_name = "TIME", value_parser = seconds, requires = "warmup_duration", help_heading = "Warm-up")]
    pub warmup_grace_period: Option<Nanos>,
}

/// How requests arrive at a rate.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Pattern {
    /// With equal gaps
    Constant,
    /// Independently of each other, like those of many users
    Poisson,
    /// In bursts, or more evenly
    Gamma,
}

/// The rule by which a window ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum MeasurementMode {
    /// After a time, --measurement-interval
    TimeWindows,
    /// After a number of requests, --measurement-request-count
    CountWindows,
}

fn rate_point(text: &str) -> Result<RatePoint, String> {
    let refusal = || format!("`{text}` is not SECONDS:RATE, such as 30:10 (the rate may be 0)");
    let (at, rate) = text.split_once(':').ok_or_else(refusal)?;
    let at = seconds(at).map_err(|_| refusal())?;
    let per_second = rate.trim().parse::<f64>().ok().filter(|rate| rate.is_finite() && *rate >= 0.0);
    Ok(RatePoint { at, per_second: per_second.ok_or_else(refusal)? })
}
