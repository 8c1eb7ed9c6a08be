//! How load is offered and when it ends: what the flags of load mean together.

use crate::args::{LoadArgs, MeasurementMode, Pattern, ProfileArgs};
use anyhow::{Result, bail};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use streamgauge_core::arrival::{Arrival, Shape};
use streamgauge_core::clock::Nanos;
use streamgauge_core::load::{Arrivals, Load, Places, Ramp, RampShape};
use streamgauge_core::plan::{Cancel, Warmup};
use streamgauge_core::stop::{ConfidenceRule, StabilityRule, StopRule, Window};
use streamgauge_run::TracePart;

/// The concurrency of `--sim` by default.
const SIM_STREAMS: u32 = 8;
/// How long `--sim` runs by default.
const SIM_DURATION: Nanos = Nanos::from_millis(10_000);
/// The greatest length of a run that waits for a narrow interval, by default. A run whose interval never gets narrow must end too.
const CONFIDENCE_DURATION: Nanos = Nanos::from_millis(600_000);
/// The defaults of windows, which are Perf Analyzer's: their length, their requests, the greatest number of windows, and by how many
/// percent three of them may differ.
const WINDOW: Nanos = Nanos::from_millis(5_000);
const WINDOW_REQUESTS: u64 = 50;
const WINDOWS: u32 = 10;
const STABILITY: f64 = 10.0;
/// The stability limit that GenAI-Perf gives if there is to be none.
const OFF: f64 = 999.0;

/// The part of the trace that the flags name.
pub fn trace_part(args: &LoadArgs) -> TracePart {
    TracePart {
        from: args.fixed_schedule_start_offset,
        to: args.fixed_schedule_end_offset,
        from_first: args.fixed_schedule_auto_offset,
    }
}

/// How load is offered at each level. A schedule makes an open loop, whose cap the concurrency then is.
pub fn loads(args: &ProfileArgs) -> Result<Vec<Load>> {
    let (flags, sim) = (&args.load, args.sim);
    if let (Some(rate), Some(users)) = (flags.user_centric_rate, flags.num_users) {
        if rate.per_second().is_infinite() {
            bail!(
                "--user-centric-rate inf: users keep to fixed times of their own; give a number of requests per second"
            );
        }
        no_arrival(flags)?;
        return Ok(vec![Load::Users { users, rate }]);
    }
    let places = |most: &u32| Places { most: *most, ramp: ramp(flags, flags.concurrency_ramp_duration) };
    let places: Option<Vec<Places>> =
        flags.concurrency.as_ref().map(|levels| levels.values().iter().map(places).collect());
    let schedules = arrivals(args)?;
    if schedules.is_empty() {
        no_arrival(flags)?;
        let places = places.unwrap_or_else(|| vec![Places::all(if sim { SIM_STREAMS } else { 1 })]);
        return Ok(places.into_iter().map(Load::Concurrency).collect());
    }
    if schedules.len() > 1 && places.as_ref().is_some_and(|caps| caps.len() > 1) {
        bail!("--concurrency and --request-rate are both given several levels; give one of them a single number");
    }
    let caps: Vec<Option<Places>> = places.map_or(vec![None], |caps| caps.into_iter().map(Some).collect());
    let open = |arrivals: &Arrivals, cap: &Option<Places>| Load::Open { arrivals: arrivals.clone(), cap: *cap };
    Ok(schedules.iter().flat_map(|arrivals| caps.iter().map(move |cap| open(arrivals, cap))).collect())
}

/// The schedules of an open loop. A closed loop has none.
fn arrivals(args: &ProfileArgs) -> Result<Vec<Arrivals>> {
    let flags = &args.load;
    if let Some(rates) = &flags.request_rate {
        let (arrival, ramp) = (arrival(flags)?, ramp(flags, flags.request_rate_ramp_duration));
        if ramp.is_some() && rates.values().iter().any(|rate| rate.per_second().is_infinite()) {
            bail!("--request-rate-ramp-duration: --request-rate inf is never reached; give a finite rate");
        }
        return Ok(rates.values().iter().map(|&rate| Arrivals::Rate { rate, arrival, ramp }).collect());
    }
    if !flags.request_rate_series.is_empty() {
        let points = flags.request_rate_series.clone();
        if points[0].at > Nanos::ZERO || !points.is_sorted_by(|a, b| a.at < b.at) {
            bail!(
                "--request-rate-series: the points must begin at 0 and follow each other in time, such as 0:1,30:10,60:10"
            );
        }
        if points.iter().all(|point| point.per_second == 0.0) {
            bail!("--request-rate-series: every rate is 0, so nothing would be sent");
        }
        return Ok(vec![Arrivals::Series { points, arrival: arrival(flags)? }]);
    }
    if let Some(file) = &flags.request_intervals {
        no_arrival(flags)?;
        return Ok(vec![Arrivals::Intervals { file: file.clone(), gaps: Arc::default() }]);
    }
    match &args.input_file {
        Some(file) if flags.fixed_schedule => {
            no_arrival(flags)?;
            let file = input_file(file);
            let speedup = flags.replay_speedup.unwrap_or(1.0);
            Ok(vec![Arrivals::Trace { file, speedup, dues: Arc::default() }])
        }
        _ => Ok(Vec::new()),
    }
}

/// The file that `--input-file` names; `payload:` in front of it is GenAI-Perf's way to say that it holds requests.
pub fn input_file(named: &Path) -> PathBuf {
    named.to_str().and_then(|name| name.strip_prefix("payload:")).map_or(named.to_owned(), Into::into)
}

/// Refuses a pattern of arrivals where nothing is drawn.
fn no_arrival(flags: &LoadArgs) -> Result<()> {
    match (flags.arrival_pattern, flags.arrival_smoothness) {
        (None, None) => Ok(()),
        (Some(_), _) => {
            bail!("--arrival-pattern: only a rate has a pattern; give --request-rate or --request-rate-series")
        }
        (None, Some(_)) => {
            bail!("--arrival-smoothness: only a rate has a pattern; give --request-rate or --request-rate-series")
        }
    }
}

fn arrival(flags: &LoadArgs) -> Result<Arrival> {
    Ok(match (flags.arrival_pattern, flags.arrival_smoothness) {
        (None, Some(shape)) => Arrival::Gamma { shape },
        (None, None) => Arrival::Constant,
        (Some(pattern), shape) => named(pattern, shape)?,
    })
}

/// GenAI-Perf's only pattern is constant; AIPerf's default is poisson.
fn named(pattern: Pattern, shape: Option<Shape>) -> Result<Arrival> {
    Ok(match (pattern, shape) {
        (Pattern::Gamma, shape) => Arrival::Gamma { shape: shape.unwrap_or(Shape::POISSON) },
        (Pattern::Constant, None) => Arrival::Constant,
        (Pattern::Poisson, None) => Arrival::Poisson,
        (_, Some(shape)) => bail!(
            "--arrival-smoothness {}: only gamma arrivals have a shape; give --arrival-pattern gamma, or leave one out",
            shape.value()
        ),
    })
}

fn ramp(flags: &LoadArgs, time: Option<Nanos>) -> Option<Ramp> {
    let shape = flags.ramp_shape.unwrap_or(RampShape::Linear);
    time.map(|time| Ramp { time, shape })
}

/// The cap on requests without a first token.
pub fn prefill(flags: &LoadArgs, streaming: bool) -> Result<Option<Places>> {
    let Some(most) = flags.prefill_concurrency else { return Ok(None) };
    if !streaming {
        bail!("--prefill-concurrency {most} needs streamed answers, which show the first token; add --streaming");
    }
    Ok(Some(Places { most, ramp: ramp(flags, flags.prefill_concurrency_ramp_duration) }))
}

/// Requests given up on purpose.
pub fn cancel(flags: &LoadArgs) -> Option<Cancel> {
    let delay = flags.request_cancellation_delay.unwrap_or_default();
    flags.request_cancellation_rate.map(|share| Cancel { share, delay })
}

/// The load before the measured one: as that, in what the flags do not say.
pub fn warmup(flags: &LoadArgs, load: &Load, prefill: Option<Places>, streaming: bool) -> Result<Option<Warmup>> {
    let requests = (flags.warmup_request_count > 0).then_some(flags.warmup_request_count);
    let asked = [
        (flags.warmup_concurrency.is_some(), "--warmup-concurrency"),
        (flags.warmup_prefill_concurrency.is_some(), "--warmup-prefill-concurrency"),
        (flags.warmup_request_rate.is_some(), "--warmup-request-rate"),
    ];
    if requests.is_none() && flags.warmup_duration.is_none() {
        return match asked.into_iter().find(|(asked, _)| *asked) {
            Some((_, flag)) => {
                bail!("{flag}: say how long to warm up, with --warmup-duration or --warmup-request-count")
            }
            None => Ok(None),
        };
    }
    let places = |most, time| Places { most, ramp: ramp(flags, time) };
    let cap = flags.warmup_concurrency.map(|most| places(most, flags.warmup_concurrency_ramp_duration));
    let load = match (flags.warmup_request_rate, cap) {
        (Some(rate), cap) => {
            let ramp = ramp(flags, flags.warmup_request_rate_ramp_duration);
            if ramp.is_some() && rate.per_second().is_infinite() {
                bail!(
                    "--warmup-request-rate-ramp-duration: --warmup-request-rate inf is never reached; give a finite rate"
                );
            }
            Load::Open { arrivals: Arrivals::Rate { rate, arrival: warmup_arrival(flags, load)?, ramp }, cap }
        }
        (None, Some(cap)) => Load::Concurrency(cap),
        (None, None) => as_measured(load)?,
    };
    if is_all_at_once(&load) && requests.is_none() {
        bail!(
            "--warmup-duration: a time makes no end of requests that are all due at once; give --warmup-request-count"
        );
    }
    let own = flags.warmup_prefill_concurrency;
    let prefill = match own {
        Some(most) if !streaming => {
            bail!("--warmup-prefill-concurrency {most} needs streamed answers, which show the first token")
        }
        Some(most) => Some(places(most, flags.warmup_prefill_concurrency_ramp_duration)),
        None => prefill.map(|places| Places::all(places.most)),
    };
    let grace = flags.warmup_grace_period.unwrap_or(flags.grace_period);
    Ok(Some(Warmup { load, prefill, requests, duration: flags.warmup_duration, grace, hands_over: true }))
}

fn warmup_arrival(flags: &LoadArgs, load: &Load) -> Result<Arrival> {
    match (flags.warmup_arrival_pattern, load) {
        (Some(pattern), _) => named(pattern, flags.arrival_smoothness.filter(|_| matches!(pattern, Pattern::Gamma))),
        (None, Load::Open { arrivals: Arrivals::Rate { arrival, .. } | Arrivals::Series { arrival, .. }, .. }) => {
            Ok(*arrival)
        }
        (None, _) => Ok(Arrival::Constant),
    }
}

/// The measured load without its ramps: what it comes to.
fn as_measured(load: &Load) -> Result<Load> {
    let all = |places: &Places| Places::all(places.most);
    Ok(match load {
        Load::Concurrency(places) => Load::Concurrency(all(places)),
        Load::Growing(_) | Load::Users { .. } => load.clone(),
        Load::Open { arrivals: Arrivals::Rate { rate, arrival, .. }, cap } => {
            Load::Open { arrivals: Arrivals::steady(*rate, *arrival), cap: cap.as_ref().map(all) }
        }
        Load::Open { .. } => bail!(
            "warm-up: say at what load, with --warmup-concurrency or --warmup-request-rate; the schedule that is measured changes with time"
        ),
    })
}

/// When the run ends. `ends_itself` says that what is sent has an end, which is the run's where no flag gives one.
pub fn stop(flags: &LoadArgs, load: &Load, sim: bool, ends_itself: bool) -> Result<StopRule> {
    let stability = stability(flags)?;
    let confidence = confidence(flags)?;
    let duration = match stability {
        // It is the windows' length.
        Some(_) => flags.benchmark_duration,
        None => flags.benchmark_duration.or(flags.measurement_interval),
    };
    if let Load::Concurrency(Places { most, .. }) = load
        && let Some(count) = flags.request_count.filter(|count| *count < u64::from(*most))
    {
        bail!(
            "--request-count {count} is less than --concurrency {most}, which could then never be reached; give at least {most}"
        );
    }
    if let (Load::Users { users, .. }, Some(count)) = (load, flags.request_count)
        && count < u64::from(*users)
    {
        bail!(
            "--request-count {count} is less than --num-users {users}, some of whom would then never send; give at least {users}"
        );
    }
    let all_at_once = is_all_at_once(load);
    if all_at_once
        && flags.request_count.is_none()
        && (duration.is_some() || stability.is_some() || confidence.is_some())
    {
        bail!("--request-rate inf: a time makes no end of requests that are all due at once; give --request-count");
    }
    // Like the replaced tools: their default counts a rate without a cap as one stream.
    let default_count = 10.max(2 * u64::from(load.most().unwrap_or(1)));
    let (requests, duration) = match (flags.request_count, duration) {
        (None, None) if stability.is_some() => (None, None),
        (None, None) if confidence.is_some() => (None, Some(CONFIDENCE_DURATION)),
        (None, None) if ends_itself => (None, None),
        (None, None) if matches!(load, Load::Open { arrivals: Arrivals::Trace { .. }, .. }) => (None, None),
        (None, None) if let Some(end) = changes_until(load).max(flags.prefill_concurrency_ramp_duration) => {
            bail!(
                "the load changes until {} s: say when to end, with --benchmark-duration or --request-count",
                end.as_secs_f64()
            )
        }
        (None, None) if sim && !all_at_once => (None, Some(SIM_DURATION)),
        (None, None) => (Some(default_count), None),
        given => given,
    };
    let failed_share = flags.failed_request_threshold;
    Ok(StopRule { requests, duration, grace: flags.grace_period, failed_share, stability, confidence })
}

/// Whether all requests are due at the start. The times of a file are not known yet, but they have an end, or at least one gap.
fn is_all_at_once(load: &Load) -> bool {
    matches!(load, Load::Open { arrivals: Arrivals::Rate { rate, .. }, .. } if rate.per_second().is_infinite())
}

/// Until when the load is another at each moment.
fn changes_until(load: &Load) -> Option<Nanos> {
    let ramp = |places: &Places| places.ramp.map(|ramp| ramp.time);
    let until = match load {
        Load::Concurrency(places) => ramp(places),
        Load::Growing(_) | Load::Users { .. } => None,
        Load::Open { arrivals, cap } => {
            let own = match arrivals {
                Arrivals::Rate { ramp, .. } => ramp.map(|ramp| ramp.time),
                Arrivals::Series { points, .. } => points.last().map(|point| point.at),
                Arrivals::Intervals { .. } | Arrivals::Trace { .. } => None,
            };
            own.max(cap.as_ref().and_then(ramp))
        }
    };
    // A series of one point is a rate.
    until.filter(|until| *until > Nanos::ZERO)
}

fn stability(flags: &LoadArgs) -> Result<Option<StabilityRule>> {
    let wanted = flags.stability_percentage.is_some_and(|percent| percent < OFF) || flags.measurement_mode.is_some();
    if !wanted {
        let idle = [
            (flags.measurement_request_count.is_some(), "--measurement-request-count"),
            (flags.percentile.is_some(), "--percentile"),
            (flags.max_trials.is_some(), "--max-trials"),
        ];
        return match idle.into_iter().find(|(given, _)| *given) {
            Some((_, flag)) => bail!(
                "{flag} belongs to windows, which are off; give --stability-percentage below {OFF} or --measurement-mode"
            ),
            None => Ok(None),
        };
    }
    for (given, flag) in [
        (flags.request_count.is_some(), "--request-count"),
        (flags.benchmark_duration.is_some(), "--benchmark-duration"),
        (flags.until_ci.is_some(), "--until-ci"),
    ] {
        if given {
            bail!(
                "{flag} ends a run by itself, and so do windows that agree (--stability-percentage, --measurement-mode); give one of them"
            );
        }
    }
    let mode = match (flags.measurement_mode, flags.measurement_request_count) {
        (Some(mode), _) => mode,
        (None, Some(_)) => MeasurementMode::CountWindows,
        (None, None) => MeasurementMode::TimeWindows,
    };
    let window = match (mode, flags.measurement_interval, flags.measurement_request_count) {
        (MeasurementMode::TimeWindows, _, Some(count)) => {
            bail!(
                "--measurement-request-count {count}: it is the length of count_windows; give --measurement-mode count_windows, or leave it out"
            )
        }
        (MeasurementMode::CountWindows, Some(_), _) => {
            bail!(
                "--measurement-interval: it is the length of time_windows; give --measurement-mode time_windows, or leave it out"
            )
        }
        (MeasurementMode::TimeWindows, interval, None) => Window::Time(interval.unwrap_or(WINDOW)),
        (MeasurementMode::CountWindows, None, count) => Window::Requests(count.unwrap_or(WINDOW_REQUESTS)),
    };
    Ok(Some(StabilityRule {
        window,
        within: flags.stability_percentage.unwrap_or(STABILITY) / 100.0,
        percentile: flags.percentile,
        most: flags.max_trials.unwrap_or(WINDOWS),
    }))
}

fn confidence(flags: &LoadArgs) -> Result<Option<ConfidenceRule>> {
    let Some(within) = flags.until_ci else { return Ok(None) };
    if within >= 1.0 {
        bail!("--until-ci: an interval as wide as the figure says nothing; give less than 100%");
    }
    let text = flags.ci_metric.as_deref().unwrap_or("request_latency");
    let (metric, statistic) =
        text.split_once(':').map_or((text, None), |(metric, statistic)| (metric, Some(statistic)));
    let percentile = match statistic {
        None | Some("avg" | "mean") => None,
        Some(statistic) => {
            match statistic.strip_prefix('p').and_then(|p| p.parse().ok()).filter(|p| (1..=99).contains(p)) {
                Some(percentile) => Some(percentile),
                None => bail!("--ci-metric {text}: give METRIC, METRIC:avg, or METRIC:pN with N from 1 to 99"),
            }
        }
    };
    Ok(Some(ConfidenceRule { metric: metric.to_owned(), percentile, within }))
}
