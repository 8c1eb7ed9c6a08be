//! Refuses what does not go together: flags that would do nothing, and loads that could never become what they are called.

use crate::args::{LoadArgs, ProfileArgs};
use anyhow::{Result, bail};
use streamgauge_core::clock::Nanos;
use streamgauge_core::load::{Arrivals, Load, Places, Ramp, RatePoint};
use streamgauge_core::plan::{ExportLevel, JSONL, record_formats};
use streamgauge_run::Level;

/// Refuses flags that would do nothing, as far as the flags alone show it.
///
/// # Errors
/// A sentence that names the flag and what it needs.
pub fn flags(args: &ProfileArgs) -> Result<()> {
    needs(&args.load)?;
    idle_ramps(&args.load)?;
    formats(args)?;
    if args.url_strategy.is_some() && args.url.len() < 2 {
        bail!("--url-strategy: there is only one server; give --url several, or leave it out");
    }
    let of_files = [
        ("--custom-dataset-type", args.custom_dataset_type.is_some()),
        ("--column", args.column.is_some()),
        ("--skip-bad-rows", args.skip_bad_rows),
    ];
    let source = match (&args.input_file, &args.public_dataset) {
        (Some(_), _) => "--input-file",
        (None, Some(_)) => "--public-dataset",
        (None, None) => match of_files.into_iter().find(|(_, is_given)| *is_given) {
            Some((flag, _)) => bail!("{flag} does nothing without --input-file or --public-dataset; give one of them"),
            None => return Ok(()),
        },
    };
    if args.batch_size > 1 {
        bail!("--batch-size {}: a request of {source} is one text; give 1", args.batch_size);
    }
    match args.num_dataset_entries {
        Some(count) => bail!("--num-dataset-entries {count}: {source} has a prompt in each of its lines; leave it out"),
        None => Ok(()),
    }
}

/// Refuses flags without the one that they belong to.
fn needs(load: &LoadArgs) -> Result<()> {
    let (concurrency, rate) = (load.concurrency.is_some(), load.request_rate.is_some());
    let (users, schedule) = (load.user_centric_rate.is_some(), load.fixed_schedule);
    let needs = [
        ("--concurrency-ramp-duration", load.concurrency_ramp_duration.is_some(), "--concurrency", concurrency),
        ("--request-rate-ramp-duration", load.request_rate_ramp_duration.is_some(), "--request-rate", rate),
        ("--num-users", load.num_users.is_some(), "--user-centric-rate", users),
        ("--fixed-schedule-auto-offset", load.fixed_schedule_auto_offset, "--fixed-schedule", schedule),
        ("--fixed-schedule-start-offset", load.fixed_schedule_start_offset.is_some(), "--fixed-schedule", schedule),
        ("--fixed-schedule-end-offset", load.fixed_schedule_end_offset.is_some(), "--fixed-schedule", schedule),
        ("--replay-speedup", load.replay_speedup.is_some(), "--fixed-schedule", schedule),
    ];
    match needs.into_iter().find(|(_, given, _, is_there)| *given && !is_there) {
        Some((flag, _, needed, _)) => {
            bail!("{flag} does nothing without {needed}; give that too, or leave {flag} out")
        }
        None => Ok(()),
    }
}

/// Refuses formats of records without the one that reports are made from, and those that would not be written.
fn formats(args: &ProfileArgs) -> Result<()> {
    let given = args.record_formats.join(",");
    if !args.record_formats.iter().any(|format| format == JSONL) {
        bail!("--record-formats {given}: give {JSONL} too; every report is made from records.jsonl");
    }
    if args.export_level == ExportLevel::Summary && args.record_formats != record_formats() {
        bail!("--record-formats {given}: --export-level summary writes no records; give --export-level records or raw");
    }
    Ok(())
}

/// Refuses ramps to a single place, which is there from the start, and a shape without a ramp.
fn idle_ramps(load: &LoadArgs) -> Result<()> {
    let most = load.concurrency.as_ref().and_then(|levels| levels.values().iter().copied().max());
    let (prefill, time) = (load.prefill_concurrency, load.prefill_concurrency_ramp_duration);
    let (own_prefill, own_time) = (load.warmup_prefill_concurrency, load.warmup_prefill_concurrency_ramp_duration);
    let ramps = [
        ("--concurrency", most, load.concurrency_ramp_duration),
        ("--prefill-concurrency", prefill, time),
        ("--warmup-concurrency", load.warmup_concurrency, load.warmup_concurrency_ramp_duration),
        ("--warmup-prefill-concurrency", own_prefill, own_time),
    ];
    if let Some((flag, _, _)) = ramps.into_iter().find(|(_, most, time)| *most == Some(1) && time.is_some()) {
        bail!("{flag}-ramp-duration: {flag} 1 is there from the start; leave it out, or give more than 1");
    }
    let rates = [load.request_rate_ramp_duration, load.warmup_request_rate_ramp_duration];
    let mut times = ramps.into_iter().map(|(_, _, time)| time).chain(rates);
    if load.ramp_shape.is_some() && times.all(|time| time.is_none()) {
        bail!(
            "--ramp-shape: there is no ramp; give a time for one, such as --concurrency-ramp-duration, or leave it out"
        );
    }
    Ok(())
}

/// Refuses loads that could never become what they are called, and ends that do not go with them. `prefill` is the cap on
/// requests without a first token.
///
/// # Errors
/// A sentence that names the flags.
pub fn levels(args: &ProfileArgs, levels: &[Level], prefill: Option<Places>) -> Result<()> {
    for level in levels {
        ends(args, level)?;
        ramps(args, level, prefill)?;
        series(args, level)?;
    }
    // A level below the cap may stand beside one above it.
    let most = |load: &Load| load.most().unwrap_or(u32::MAX);
    above(prefill.map(|places| places.most), levels.iter().map(|level| most(&level.load)), "--prefill-concurrency")?;
    let warmups = levels.iter().filter_map(|level| level.warmup.as_ref());
    let own = args.load.warmup_prefill_concurrency;
    above(own, warmups.map(|warmup| most(&warmup.load)), "--warmup-prefill-concurrency")?;
    // Beside a rate it is a cap, which need not be reached.
    let warmup = (args.load.warmup_concurrency, args.load.warmup_request_count);
    if let ((Some(most), count), true) = (warmup, args.load.warmup_request_rate.is_none())
        && (1..u64::from(most)).contains(&count)
    {
        bail!(
            "--warmup-request-count {count} is less than --warmup-concurrency {most}, which could then never be reached; give at least {most}"
        );
    }
    Ok(())
}

/// Refuses a cap on prefills that is above the requests at once of every level.
fn above(prefill: Option<u32>, most: impl Iterator<Item = u32>, flag: &str) -> Result<()> {
    match (prefill, most.max()) {
        (Some(prefill), Some(most)) if prefill > most => bail!(
            "{flag} {prefill}: there are never more than {most} requests at once, so it would hold none up; give at most {most}"
        ),
        _ => Ok(()),
    }
}

fn ends(args: &ProfileArgs, level: &Level) -> Result<()> {
    let summary = args.export_level == ExportLevel::Summary;
    if args.load.steady_state {
        if !matches!(level.load, Load::Concurrency(_)) {
            bail!("--steady-state: only a closed loop holds a concurrency; give --concurrency without a rate");
        }
        if summary {
            bail!("--steady-state needs the records, which --export-level summary leaves out; give records or raw");
        }
    }
    if level.stop.stability.is_some() && summary {
        bail!("--stability-percentage needs the records, which --export-level summary leaves out; give records or raw");
    }
    Ok(())
}

/// Refuses ramps that the end of their phase would cut short: what a run is named after would never have been there.
fn ramps(args: &ProfileArgs, level: &Level, prefill: Option<Places>) -> Result<()> {
    let whole = |ramps: [(Option<Ramp>, &str); 3], end: Option<Nanos>, flag: &str| {
        for (ramp, name) in ramps {
            if let (Some(Ramp { time, .. }), Some(end)) = (ramp, end)
                && time > end
            {
                let (time, end) = (time.as_secs_f64(), end.as_secs_f64());
                bail!(
                    "{name}: {time} s are longer than the {end} s that there are ({flag}), so its end would never be reached; give a shorter time, or more of it"
                );
            }
        }
        Ok(())
    };
    let (places, rate) = ramps_of(&level.load);
    let measured = [
        (places, "--concurrency-ramp-duration"),
        (rate, "--request-rate-ramp-duration"),
        (prefill.and_then(|places| places.ramp), "--prefill-concurrency-ramp-duration"),
    ];
    let end = if args.load.measurement_interval.is_some() { "--measurement-interval" } else { "--benchmark-duration" };
    whole(measured, level.stop.duration, end)?;
    let Some(warmup) = &level.warmup else { return Ok(()) };
    let (places, rate) = ramps_of(&warmup.load);
    let before = [
        (places, "--warmup-concurrency-ramp-duration"),
        (rate, "--warmup-request-rate-ramp-duration"),
        (warmup.prefill.and_then(|places| places.ramp), "--warmup-prefill-concurrency-ramp-duration"),
    ];
    whole(before, warmup.duration, "--warmup-duration")
}

/// The ramps of a load: of its places, and of its rate.
fn ramps_of(load: &Load) -> (Option<Ramp>, Option<Ramp>) {
    match load {
        Load::Concurrency(places) => (places.ramp, None),
        Load::Growing(_) | Load::Users { .. } => (None, None),
        Load::Open { arrivals, cap } => {
            let rate = if let Arrivals::Rate { ramp, .. } = arrivals { *ramp } else { None };
            (cap.and_then(|cap| cap.ramp), rate)
        }
    }
}

/// Refuses a count that a rate which falls to 0 for good does not bring.
fn series(args: &ProfileArgs, level: &Level) -> Result<()> {
    let Load::Open { arrivals: Arrivals::Series { points, .. }, .. } = &level.load else { return Ok(()) };
    let (Some(count), Some(RatePoint { per_second: 0.0, .. })) = (args.load.request_count, points.last()) else {
        return Ok(());
    };
    // The area under straight lines.
    let area =
        |pair: &[RatePoint]| (pair[1].at - pair[0].at).as_secs_f64() * (pair[0].per_second + pair[1].per_second) / 2.0;
    let all = points.windows(2).map(area).sum::<f64>().ceil();
    if count as f64 > all {
        bail!(
            "--request-count {count}: --request-rate-series falls to 0 after {all} requests; give at most so many, or a last rate above 0"
        );
    }
    Ok(())
}
