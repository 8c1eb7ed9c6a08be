//! The files that a schedule is made of: gaps between requests, and traces.

use crate::printer::Printer;
use crate::settings::{Settings, TracePart};
use anyhow::{Context, Result, anyhow, bail};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use streamgauge_core::clock::Nanos;
use streamgauge_core::load::{Arrivals, Load};
use streamgauge_prompt::{Trace, TraceRow};

/// Reads the file that the schedule comes from, if it comes from one, and completes the plan of each level with it; what the
/// rows of a trace say of their prompts.
///
/// # Errors
/// A sentence that names the flag, the file and the line.
pub fn read(settings: &mut Settings, printer: &Printer) -> Result<Vec<TraceRow>> {
    let Load::Open { arrivals, .. } = &settings.plan.load else { return Ok(Vec::new()) };
    let mut arrivals = arrivals.clone();
    let mut rows = match &mut arrivals {
        Arrivals::Rate { .. } | Arrivals::Series { .. } => return Ok(Vec::new()),
        Arrivals::Intervals { file, gaps } => {
            let named = || format!("--request-intervals {}", file.display());
            *gaps = intervals(&text(file).with_context(named)?).with_context(named)?;
            Vec::new()
        }
        Arrivals::Trace { file, speedup, dues } => {
            let named = || format!("--input-file {}", file.display());
            let rows = trace(&text(file).with_context(named)?, settings.trace_part, *speedup, &named, printer)?;
            *dues = rows.iter().map(|row| row.at).collect();
            rows
        }
    };
    let first = (&mut settings.plan.load, &mut settings.plan.stop);
    let levels = settings.levels.iter_mut().map(|level| (&mut level.load, &mut level.stop));
    for (load, stop) in std::iter::once(first).chain(levels) {
        if let Load::Open { arrivals: unread, .. } = load {
            unread.clone_from(&arrivals);
        }
        match (stop.requests, arrivals.count()) {
            (Some(asked), Some(there)) if asked > there => {
                bail!("--request-count {asked}: the trace has {there} request(s) to send; give at most {there}")
            }
            (None, there) if stop.duration.is_none() => stop.requests = there,
            _ => {}
        }
    }
    if !rows.is_empty() {
        // What is not sent needs no prompt, and a prompt takes longer than a request.
        if let Some(sent) = settings.levels.iter().map(|level| level.stop.requests).max().flatten() {
            rows.truncate(usize::try_from(sent).unwrap_or(usize::MAX));
        }
        settings.plan.prompts.count =
            u32::try_from(rows.len()).map_err(|_| anyhow!("--input-file: the trace has too many requests"))?;
    }
    Ok(rows)
}

fn trace(
    text: &str,
    part: TracePart,
    speedup: f64,
    named: &dyn Fn() -> String,
    printer: &Printer,
) -> Result<Vec<TraceRow>> {
    let mut trace = Trace::parse(text).with_context(named)?;
    if trace.hashes {
        printer.note(&format!("note: {}: hash_ids are not followed, so prompts share no beginnings", named()));
    }
    let first = trace.rows.first().map(|row| row.at).filter(|_| part.from_first);
    trace.part(first.or(part.from).unwrap_or_default(), part.to, speedup);
    if trace.rows.is_empty() {
        bail!("{}: no request lies between the offsets", named());
    }
    Ok(trace.rows)
}

fn text(file: &Path) -> Result<String> {
    fs::read_to_string(file).map_err(|error| anyhow!("the file cannot be read: {error}"))
}

/// Whole microseconds, one a line; empty lines count for nothing.
fn intervals(text: &str) -> Result<Arc<[Nanos]>> {
    let mut gaps = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        match line.trim().parse::<u32>() {
            Ok(micros) => gaps.push(Nanos(i64::from(micros) * 1_000)),
            Err(_) => bail!("line {}: `{}` is not a whole number of microseconds", index + 1, line.trim()),
        }
    }
    if gaps.iter().all(|gap| *gap == Nanos::ZERO) {
        bail!("there is no gap in it; give whole microseconds, one a line, not all of them 0");
    }
    Ok(gaps.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_microseconds_a_line() {
        assert_eq!(intervals("1000\n\n 250 \n").unwrap()[..], [Nanos(1_000_000), Nanos(250_000)]);
        for (text, words) in [("", "no gap"), ("0\n0", "no gap"), ("5\n1.5", "line 2: `1.5`"), ("-1", "line 1: `-1`")] {
            let error = intervals(text).unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
