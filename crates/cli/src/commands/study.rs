//! `study`: a profile for each prompt length, and what first-token or token-to-token latency they come to.

use crate::args::StudyArgs;
use crate::console::Console;
use crate::exit::Exit;
use crate::printer::Printer;
use crate::settings::Settings;
use crate::signals::{self, Signals};
use anyhow::{Context, Error, Result, anyhow, bail};
use std::cell::OnceCell;
use std::collections::VecDeque;
use streamgauge_core::origin::Origins;
use streamgauge_report::artifacts::check_directory;
use streamgauge_report::artifacts::whole::{try_out, write_text};
use streamgauge_report::native::study::{self, Phase, StudyPoint};
use streamgauge_run::{
    Interrupted, Position, Preparation, RunSpec, Runner, Stage, StoredRun, Strategy, Subdirectory, Usage, drive, usage,
};
use streamgauge_stats::{Metric, Summary};

/// Studies an endpoint, as arguments say that came from where `origins` say.
pub fn run(args: StudyArgs, origins: &Origins, printer: &Printer) -> Result<Exit> {
    let phase = args.phase;
    let chart = args.chart.clone().unwrap_or_else(|| args.artifact_dir.join(format!("{}.svg", phase.name())));
    // Before any load: what cannot be written, and what cannot be asked.
    let settings =
        (0..args.isl.len()).map(|at| settings(&args, origins, at)).collect::<Result<Vec<_>>>().map_err(Usage)?;
    check_directory(&args.artifact_dir)?;
    let Some(first) = settings.first() else { return Ok(Exit::Done) };
    let signals = OnceCell::new();
    let mut runner = Runner::new(Console::listener(first, printer), |plan| signals::control(&signals, plan, printer));
    // No other study may replace the first lengths' files while the later ones are measured.
    runner.lock(&args.artifact_dir)?;
    try_out(&chart).map_err(|error| usage(anyhow!("--chart {}: {error}", chart.display())))?;
    let mut lengths = Lengths(settings.into_iter().map(|settings| settings.spec).collect());
    let mut study = Study { phase, isl: &args.isl, at: 0, points: Vec::new(), signals: &signals, printer };
    drive(&mut runner, &mut lengths, &mut study)?;
    let points = study.points;
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

/// The runs of a study: one for each prompt length, in their order.
struct Lengths(VecDeque<RunSpec>);

impl Strategy for Lengths {
    fn next(&mut self, _last: Option<&StoredRun>) -> Option<RunSpec> {
        self.0.pop_front()
    }

    fn shares_server(&self) -> bool {
        false
    }
}

/// The work around each run of a study.
struct Study<'a> {
    phase: Phase,
    /// The prompt lengths.
    isl: &'a [u32],
    /// The number of the run that is being made, from 0.
    at: usize,
    points: Vec<StudyPoint>,
    signals: &'a OnceCell<Signals>,
    printer: &'a Printer,
}

impl Stage for Study<'_> {
    fn before(&mut self, spec: RunSpec, runner: &mut Runner<'_>) -> Result<Option<RunSpec>> {
        self.at = spec.position.level;
        let (phase, number, all) = (self.phase.name(), self.at + 1, self.isl.len());
        self.printer.note(&format!("studying {phase}, {number} of {all}: {} input tokens", self.isl[self.at]));
        check_directory(&runner.plan(&spec)?.output.artifacts)?;
        Ok(Some(spec))
    }

    fn after(&mut self, mut run: StoredRun, _: &mut Preparation) -> Result<Option<StoredRun>> {
        let point = point(&mut run, self.phase, self.isl[self.at], self.printer)?;
        if self.signals.get().is_some_and(Signals::have_come) {
            return Ok(None);
        }
        self.printer.result(&study::sentence(self.phase, &point));
        self.points.push(point);
        Ok(Some(run))
    }

    fn failed(&mut self, error: Error) -> Result<()> {
        // The results of the lengths before it are reported.
        if error.is::<Interrupted>() { Ok(()) } else { Err(error) }
    }
}

/// The settings of the run for prompt length number `at`, from 0.
fn settings(args: &StudyArgs, origins: &Origins, at: usize) -> Result<Settings> {
    let isl = args.isl[at];
    let mut settings = Settings::resolve(args.profile(isl)?, origins.clone(), &|name| std::env::var(name).ok())?;
    let spec = &mut settings.spec;
    spec.subdirectory = Subdirectory { suffix: format!("-isl{isl}"), ..Subdirectory::default() };
    spec.position = Position { level: at, run: 0 };
    if at > 0 {
        // They are the same for all lengths.
        spec.notes.clear();
    }
    Ok(settings)
}

/// The result of the run with prompts of `isl` tokens.
fn point(run: &mut StoredRun, phase: Phase, isl: u32, printer: &Printer) -> Result<StudyPoint> {
    run.has_files()?;
    let StoredRun { summary, facts, .. } = run;
    if let Some(early) = facts.ended_early.as_ref().filter(|_| !facts.interrupted) {
        bail!("{isl} input tokens: {early}");
    }
    if let Some(group) = summary.failures.first() {
        printer
            .note(&format!("note: {} of {} requests failed: {}", group.count, summary.counts.requests, group.sample));
    }
    latency(summary, phase).ok_or_else(|| match summary.failures.first() {
        Some(group) => anyhow!("{isl} input tokens: no request was answered: {}", group.sample),
        None => anyhow!(
            "{isl} input tokens: no answer had {}",
            if phase == Phase::Prefill { "a token" } else { "two tokens; give a longer --osl" }
        ),
    })
}

fn latency(summary: &Summary, phase: Phase) -> Option<StudyPoint> {
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
