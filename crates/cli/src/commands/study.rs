//! `study`: a profile for each prompt length, and what first-token or token-to-token latency they come to.

use crate::args::{self, StudyArgs};
use crate::console::Console;
use crate::exit::Exit;
use crate::printer::Printer;
use crate::settings::Settings;
use crate::signals::{self, Signals};
use anyhow::{Context, Result, anyhow, bail};
use std::cell::OnceCell;
use std::path::PathBuf;
use streamgauge_report::artifacts::whole::{try_out, write_text};
use streamgauge_report::artifacts::{ArtifactError, RunDirectory, check_directory};
use streamgauge_report::genai::names::directory_name;
use streamgauge_report::native::study::{self, Phase, StudyPoint};
use streamgauge_run::{Interrupted, Measured, Usage, measure, prepare, usage, write_summaries};
use streamgauge_stats::{Metric, Summary};

/// Studies an endpoint.
pub fn run(args: StudyArgs, printer: &Printer) -> Result<Exit> {
    let phase = Phase::from(args.phase);
    let chart = args.chart.clone().unwrap_or_else(|| args.artifact_dir.join(format!("{}.svg", phase.name())));
    // Before any load: what cannot be written, and what cannot be asked.
    let settings = args.isl.iter().map(|isl| settings(&args, *isl)).collect::<Result<Vec<_>>>().map_err(Usage)?;
    check_directory(&args.artifact_dir)?;
    // No other study may replace the first lengths' files while the later ones are measured.
    let _locked = RunDirectory::lock(&args.artifact_dir)?;
    try_out(&chart).map_err(|error| usage(anyhow!("--chart {}: {error}", chart.display())))?;
    let signals = OnceCell::new();
    let mut points = Vec::new();
    for (index, mut settings) in settings.into_iter().enumerate() {
        if index > 0 {
            settings.spec.notes.clear();
        }
        printer.note(&format!(
            "studying {}, {} of {}: {} input tokens",
            phase.name(),
            index + 1,
            args.isl.len(),
            args.isl[index]
        ));
        let point = match measured(&mut settings, args.isl[index], phase, &signals, printer) {
            // What the lengths before it came to is reported.
            Err(error) if error.is::<Interrupted>() => break,
            point => point?,
        };
        if signals.get().is_some_and(Signals::have_come) {
            break;
        }
        printer.result(&study::sentence(phase, &point));
        points.push(point);
    }
    if !points.is_empty() {
        printer.result(&study::render(phase, &points));
    }
    if signals.get().is_some_and(Signals::have_come) {
        return Ok(Exit::Interrupted);
    }
    if let Some(svg) = study::svg(phase, &points)? {
        write_text(&svg, &chart).with_context(|| format!("{} cannot be written", chart.display()))?;
        printer.result(&format!("Chart: {}", chart.display()));
    }
    Ok(Exit::Done)
}

fn settings(args: &StudyArgs, isl: u32) -> Result<Settings> {
    let typed = args::profile(args.profile_words(isl))
        .map_err(|error| anyhow!(error.to_string().trim_start_matches("error: ").to_owned()))?;
    let mut settings = Settings::resolve(*typed, &|name| std::env::var(name).ok())?;
    settings.spec.plan.output.artifacts = args.artifact_dir.clone();
    Ok(settings)
}

/// Runs one prompt length to its end.
fn measured(
    settings: &mut Settings,
    isl: u32,
    phase: Phase,
    signals: &OnceCell<Signals>,
    printer: &Printer,
) -> Result<StudyPoint> {
    let listener = Console::listener(settings, printer);
    let mut shared = prepare(&mut settings.spec, &listener)?;
    let mut plan = settings.spec.plan.clone();
    plan.output.artifacts = directory(&plan.output.artifacts, &directory_name(&plan), isl)?;
    let control = |plan: &_| signals::control(signals, plan, printer);
    let directory = RunDirectory::lock(&plan.output.artifacts)?;
    let Measured { plan, recorded, facts, mut artifacts, .. } =
        measure(plan, directory, &settings.spec, &mut shared, control, &listener)?;
    if let Some(error) = recorded.write_error {
        return Err(error).context("the records cannot be written");
    }
    let summary = &recorded.summary;
    write_summaries(&plan, summary, &facts, &mut artifacts).context("the summaries cannot be written")?;
    artifacts.commit(recorded.counts.requests)?;
    if let Some(early) = facts.ended_early.filter(|_| !facts.interrupted) {
        bail!("{isl} input tokens: {early}");
    }
    if let Some(group) = summary.failures.first() {
        printer
            .note(&format!("note: {} of {} requests failed: {}", group.count, summary.counts.requests, group.sample));
    }
    point(summary, phase).ok_or_else(|| match summary.failures.first() {
        Some(group) => anyhow!("{isl} input tokens: no request was answered: {}", group.sample),
        None => anyhow!(
            "{isl} input tokens: no answer had {}",
            if phase == Phase::Prefill { "a token" } else { "two tokens; give a longer --osl" }
        ),
    })
}

fn directory(base: &std::path::Path, name: &str, isl: u32) -> Result<PathBuf, ArtifactError> {
    let directory = base.join(format!("{name}-isl{isl}"));
    check_directory(&directory)?;
    Ok(directory)
}

fn point(summary: &Summary, phase: Phase) -> Option<StudyPoint> {
    let metric = match phase {
        Phase::Prefill => Metric::TimeToFirstToken,
        Phase::Generation => Metric::InterChunkLatency,
    };
    Some(StudyPoint {
        input_tokens: summary.distribution(Metric::InputSequenceLength)?.avg,
        requests: summary.counts.ok,
        latency: summary.distribution(metric)?.clone(),
        fidelity: summary.fidelity.verdict,
    })
}
