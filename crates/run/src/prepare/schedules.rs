//! The files that a schedule is made of: gaps between requests, and traces.

use crate::error::About;
use crate::listener::Listener;
use crate::prepare::conversations::{self, Conversations, Opened};
use crate::spec::{RunSpec, TracePart};
use anyhow::{Result, anyhow, bail};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use streamgauge_core::clock::Nanos;
use streamgauge_core::load::{Arrivals, Load};
use streamgauge_core::message;
use streamgauge_core::setting::{Message, Setting};
use streamgauge_core::stop::StopRule;
use streamgauge_prompt::{Contents, Conversation, SourceOptions, Timing};

/// Reads the files that the schedule and the prompts come from, where they come from files, and completes the plan of `spec` with
/// them. Returns the conversations that a file holds.
///
/// # Errors
/// A sentence that names the flag, the file and the line.
pub fn read(spec: &mut RunSpec, listener: &Arc<dyn Listener>) -> Result<Conversations> {
    let prompts = prompts(spec, listener)?;
    let trace_part = spec.trace_part;
    let options = SourceOptions { timing: Timing::Timed, ..spec.source.clone() };
    let Load::Open { arrivals, .. } = &mut spec.plan.load.mode else { return Ok(prompts) };
    let mut rows = match arrivals {
        Arrivals::Rate { .. } | Arrivals::Series { .. } => return Ok(prompts),
        Arrivals::Intervals { file, gaps } => {
            let named = || message![Setting::RequestIntervals, format!(" {}", file.display())];
            *gaps = intervals(&text(file).about(named)?).about(named)?;
            return Ok(prompts);
        }
        Arrivals::Trace { file, speedup, dues } => {
            let named = || conversations::named(file);
            let rows = trace(file, &options, trace_part, *speedup, &named, listener)?;
            *dues = rows.iter().map(Conversation::begins).collect();
            rows
        }
    };
    // A conversation begins at the time of its first turn, and its later turns follow.
    let there = Some(rows.iter().map(|conversation| conversation.turns.len() as u64).sum());
    match (spec.plan.load.stop.requests, there) {
        (Some(asked), Some(there)) if asked > there => {
            bail!(message![
                Setting::RequestCount,
                format!(" {asked}: the trace has {there} request(s) to send; give at most {there}"),
            ])
        }
        _ => {}
    }
    end_with(&mut spec.plan.load.stop, there);
    // What is not sent needs no prompt, and a prompt takes longer than a request.
    if let Some(sent) = spec.plan.load.stop.requests {
        let mut turns = 0;
        rows.retain(|conversation| {
            let begins = turns;
            turns += conversation.turns.len() as u64;
            begins < sent
        });
    }
    let conversations = Conversations::Read(rows.into());
    spec.plan.prompts.count = conversations.count().about(|| Setting::InputFile.into())?;
    Ok(conversations)
}

/// Ends a run with the last request of its schedule, if the schedule has a last one and nothing else ends the run.
pub fn end_with(stop: &mut StopRule, requests: Option<u64>) {
    if stop.requests.is_none() && stop.duration.is_none() {
        stop.requests = requests;
    }
}

/// The conversations that are held at the plan's own times: those of a file, or those of several turns that are made. Where prompts are made
/// that belong to no conversation there are none.
fn prompts(spec: &mut RunSpec, listener: &Arc<dyn Listener>) -> Result<Conversations> {
    let conversations = match &spec.prompt_file {
        Some(file) => {
            let named = || conversations::named(file);
            let mut options = spec.source.clone();
            options.agents.seed = spec.plan.prompts.seed;
            // In a closed loop each place holds a conversation from the start.
            if let Load::Concurrency(places) = &spec.plan.load.mode {
                options.agents.under_way = places.most.into();
            }
            let Opened { conversations, counts, notes } = Conversations::open(file, &options).about(named)?;
            let is_whole = !matches!(conversations, Conversations::File { .. });
            let rest = if is_whole { "" } else { " so far; the rest is read as the run goes on" };
            listener.detail(&message![named(), format!(": {counts}{rest}")]);
            notes.iter().for_each(|note| listener.note(&message!["note: ", named(), ": ", Message::parse(note)]));
            conversations
        }
        None if spec.plan.prompts.synthesis.conversations.is_some() => {
            let contents = Contents::made(&spec.plan.prompts)?;
            listener.detail(&format!("synthetic conversations: {}", contents.counts).into());
            Conversations::Read(contents.conversations.into())
        }
        None => return Ok(Conversations::Made),
    };
    spec.plan.prompts.count = conversations.count().about(|| Setting::InputFile.into())?;
    Ok(conversations)
}

/// Says what was read.
fn say(contents: &Contents, named: &dyn Fn() -> Message, listener: &Arc<dyn Listener>) {
    listener.detail(&message![named(), format!(": {}", contents.counts)]);
    contents.notes.iter().for_each(|note| listener.note(&message!["note: ", named(), ": ", Message::parse(note)]));
}

/// The conversations of a file that are held at its own times.
fn trace(
    file: &Path,
    options: &SourceOptions,
    part: TracePart,
    speedup: f64,
    named: &dyn Fn() -> Message,
    listener: &Arc<dyn Listener>,
) -> Result<Vec<Conversation>> {
    let mut trace = Contents::read(file, options).about(named)?;
    say(&trace, named, listener);
    let first = trace.conversations.first().map(Conversation::begins);
    let is_since_1970 = first.is_some_and(is_since_1970) && part.from.is_none();
    if is_since_1970 && !part.from_first {
        let said = "its times are moments since 1970, and are counted from the first request's";
        listener.note(&message!["note: ", named(), ": ", said]);
    }
    let first = first.filter(|_| part.from_first || is_since_1970);
    trace.keep(first.or(part.from).unwrap_or_default(), part.to, speedup);
    if trace.conversations.is_empty() {
        bail!(message![named(), ": no request lies between the offsets"]);
    }
    let lead = trace.conversations[0].begins();
    if lead > LONGEST_LEAD {
        bail!(message![
            named(),
            format!(
                ": the first request would be sent {:.1} days after the start: give ",
                lead.as_secs_f64() / 86_400.0
            ),
            Setting::FixedScheduleAutoOffset,
            ", which counts times from the first request's, or ",
            Setting::FixedScheduleStartOffset,
        ]);
    }
    if lead > LONG_LEAD {
        listener.note(&message![
            "note: ",
            named(),
            format!(": the first request is sent {} s after the start; ", lead.as_secs_f64()),
            Setting::FixedScheduleAutoOffset,
            " counts times from the first request's",
        ]);
    }
    Ok(trace.conversations)
}

/// A first request later than this after the start is a mistake: a benchmark does not begin with a day of waiting.
const LONGEST_LEAD: Nanos = Nanos::from_millis(24 * 60 * 60 * 1_000);
/// A longer wait for the first request is reported, since nothing else shows it.
const LONG_LEAD: Nanos = Nanos::from_millis(60_000);

/// Whether a time is a moment since 1970 that lies between 2001 and 2096.
fn is_since_1970(at: Nanos) -> bool {
    (1e9..4e9).contains(&at.as_secs_f64())
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
    fn times_since_1970_are_known_by_their_size() {
        assert!(is_since_1970(Nanos::from_millis(1_732_000_000_000)));
        assert!(!is_since_1970(Nanos::from_millis(1_732_000_000)));
        assert!(!is_since_1970(Nanos::from_millis(86_400_000)));
    }

    #[test]
    fn gaps_are_microseconds_a_line() {
        assert_eq!(intervals("1000\n\n 250 \n").unwrap()[..], [Nanos(1_000_000), Nanos(250_000)]);
        for (text, words) in [("", "no gap"), ("0\n0", "no gap"), ("5\n1.5", "line 2: `1.5`"), ("-1", "line 1: `-1`")] {
            let error = intervals(text).unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
